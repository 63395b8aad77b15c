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
    let (mut found, mut problems) = (None, Vec::new());
    for dir in &dirs {
        let file = Path::new(dir).join("meta.properties");
        if !Path::new(dir).is_dir() {
            problems.push(format!("{dir} is not a directory"));
        } else if file.exists() {
            let all: BTreeMap<String, String> =
                read_properties(&file.to_string_lossy())?.into_iter().collect();
            found = Some(all);
        } else {
            problems.push(format!("{dir} is not formatted."));
        }
    }
    let y = if dirs.len() == 1 { "y" } else { "ies" };
    writeln!(session.out, "Found log director{y}:\n  {}\n", dirs.join("\n  "))?;
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
