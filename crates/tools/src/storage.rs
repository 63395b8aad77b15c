//! The actions of kafka-storage that need no server.

use std::collections::BTreeMap;
use std::path::Path;

use crate::options::{Opt, Parsed, last};
use crate::session::{ToolError, ToolSession, read_properties};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-storage-info",
    about: "Show which data directories a file of settings names, and how they are formatted.",
    options: OPTIONS,
    run,
}];

const OPTIONS: &[Opt] = &[last("config", "FILE", "The settings.")];

fn run(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let settings = read_properties(args.required("config").map_err(ToolError::Usage)?)?;
    let named = |name: &str| settings.get(name).filter(|it| !it.trim().is_empty());
    let dirs = named("log.dirs").or_else(|| named("log.dir"));
    let dirs = dirs.map_or("/tmp/kafka-logs", String::as_str).split(',');
    let mut dirs: Vec<&str> = dirs.map(str::trim).filter(|it| !it.is_empty()).collect();
    dirs.extend(named("metadata.log.dir").map(|it| it.trim()));
    dirs.sort_unstable();
    dirs.dedup();
    let (mut present, mut problems) = (Vec::new(), Vec::new());
    let mut found: Option<BTreeMap<String, String>> = None;
    for dir in &dirs {
        let path = Path::new(dir);
        if !path.exists() {
            problems.push(format!("{dir} does not exist"));
            continue;
        }
        if !path.is_dir() {
            problems.push(format!("{dir} is not a directory"));
            continue;
        }
        present.push(*dir);
        let file = path.join("meta.properties");
        if !file.exists() {
            problems.push(format!("{dir} is not formatted."));
            continue;
        }
        let own: BTreeMap<_, _> = read_properties(&file.to_string_lossy())?.into_iter().collect();
        // The first counts, and the others must agree with it.
        let first = found.get_or_insert_with(|| own.clone());
        for (name, what) in [("cluster.id", "cluster"), ("node.id", "node")] {
            if first.get(name) != own.get(name) {
                problems.push(format!("Mismatched {what} IDs between storage directories."));
                break;
            }
        }
    }
    if !present.is_empty() {
        let y = if present.len() == 1 { "y" } else { "ies" };
        writeln!(session.out, "Found log director{y}:\n  {}\n", present.join("\n  "))?;
    }
    if let Some(found) = found {
        let all: Vec<String> =
            found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        writeln!(session.out, "Found metadata: {{{}}}\n", all.join(", "))?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    let s = if problems.len() == 1 { "" } else { "s" };
    writeln!(session.out, "Found problem{s}:\n  {}\n", problems.join("\n  "))?;
    Err(ToolError::Told)
}
