//! The kafka-* commands, by Apache Kafka's names and flags.
//!
//! Same flags, same columns, same exit codes as Apache Kafka's. Every tool is a [`Tool`]: its
//! options as data, and what it does with them. Long-gone flags (`--zookeeper`, `--broker-list`)
//! work, with one warning that names today's flag.

/// As `eprintln!`, but a standard error that was closed is no reason to panic.
macro_rules! tell {
    ($($words:tt)*) => { $crate::print_to_stderr(&format!($($words)*)) };
}

mod client_metrics;
mod cluster;
mod configs;
mod console;
mod election;
mod exceptions;
mod features;
mod groups;
mod json;
mod layout;
mod metadata_quorum;
mod offsets;
mod options;
mod perf;
mod reassign;
mod security;
mod session;
mod storage;
mod table;
mod tool;
mod topics;
mod transactions;
mod verifiable;

use std::io::Write;

pub use features::{ReleaseFeatures, release_features};
pub use layout::{install_layout, not_built};
pub use options::{Opt, Parsed, Takes, with_common};
pub use session::{ToolError, ToolSession};
pub use tool::Tool;

/// All of them.
#[must_use]
pub fn all_tools() -> Vec<&'static Tool> {
    [
        topics::TOOLS,
        console::TOOLS,
        groups::TOOLS,
        configs::TOOLS,
        offsets::TOOLS,
        cluster::TOOLS,
        metadata_quorum::TOOLS,
        transactions::TOOLS,
        election::TOOLS,
        perf::TOOLS,
        reassign::TOOLS,
        storage::TOOLS,
        verifiable::TOOLS,
        features::TOOLS,
        client_metrics::TOOLS,
        security::TOOLS,
    ]
    .concat()
}

/// The tool of this name, with or without `.sh`, and with the folder before it.
#[must_use]
pub fn find_tool(name: &str) -> Option<&'static Tool> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.strip_suffix(".sh").unwrap_or(name);
    all_tools().into_iter().find(|tool| tool.name == name)
}

/// The name of a tool, or one of these others, that looks most like this one.
#[must_use]
pub fn nearest_tool(name: &str, others: &[&'static str]) -> Option<&'static str> {
    let tools = all_tools().into_iter().map(|tool| tool.name);
    ottla_types::nearest(tools.chain(others.iter().copied()), name)
}

/// Runs a tool; its exit code. `default_server` is where the cluster is if the command line does
/// not say (`KAFKA_SERVER`).
pub fn run_tool(
    tool: &Tool,
    args: &[String],
    default_server: Option<&str>,
    out: &mut dyn Write,
) -> u8 {
    let parsed = match Parsed::read(args, tool.options) {
        Ok(parsed) => parsed,
        Err(wrong) => {
            print_to_stderr(&format!("{wrong}\n\n{}", options::help_text(tool)));
            return 1;
        }
    };
    if parsed.has("help") {
        print_to_stderr(&options::help_text(tool));
        return u8::from(!args.is_empty() && args != ["--help"]);
    }
    if parsed.has("version") {
        // The version whose flags and columns these are.
        let _ = writeln!(out, "4.3.1 (ottla {})", env!("CARGO_PKG_VERSION"));
        return 0;
    }
    let mut session = match ToolSession::new(&parsed, default_server, out) {
        Ok(session) => session,
        Err(error) => {
            print_to_stderr(&error.to_string());
            return 1;
        }
    };
    let done = (tool.run)(&parsed, &mut session);
    let flushed = session.out.flush();
    match done.and_then(|()| Ok(flushed?)) {
        Ok(()) => 0,
        Err(ToolError::Usage(why)) => {
            print_to_stderr(&format!("{why}\n\n{}", options::help_text(tool)));
            1
        }
        // The reader of the pipe has read enough.
        Err(ToolError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(ToolError::Told) => 1,
        Err(ToolError::Stopped(code)) => code,
        Err(error) => {
            print_to_stderr(&error.to_string());
            1
        }
    }
}

/// Says something on the standard error. Where that is closed, the exit code has to do.
pub(crate) fn print_to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
