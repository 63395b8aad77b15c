//! Names that say nothing, and leftovers that may not stay.

use crate::tree::Source;

/// Modules of these names collect what has no home.
const HOMELESS: [&str; 6] = ["prelude", "common", "util", "utils", "helpers", "misc"];

/// A type that ends so names a rank, not a job.
const RANKS: [&str; 8] =
    ["Manager", "Helper", "Util", "Utils", "Common", "Impl", "Info", "Processor"];

/// Text that may not reach main.
const LEFTOVERS: [&str; 6] =
    ["FIXME", "todo!(", "unimplemented!(", "dbg!(", "#[ignore", "thread::sleep("];

/// The places whose names or leftovers break the habits.
#[must_use]
pub fn name_breaches(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("crates/xtask/")) {
        let stem = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        let stem = stem.rsplit('/').next().unwrap_or(stem);
        if HOMELESS.contains(&stem) {
            wrong.push(format!("{}: a module named {stem} collects what has no home", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            let place = format!("{}:{}", source.path, number + 1);
            for leftover in LEFTOVERS.iter().filter(|leftover| line.contains(**leftover)) {
                wrong.push(format!("{place}: {leftover} may not reach main"));
            }
            if let Some(name) = defined_type(line)
                && RANKS.iter().any(|rank| name.ends_with(rank))
            {
                wrong.push(format!("{place}: {name} names a rank, not a job"));
            }
        }
    }
    wrong
}

/// Hosts of the broker that name the node or a handler: both stand above them.
#[must_use]
pub fn hosts_that_look_up(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|it| it.path.starts_with("crates/broker/src/hosts/")) {
        for (at, line) in source.text.lines().enumerate() {
            if line.contains("crate::node") || line.contains("crate::handlers") {
                found.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    found
}

/// Code that asks whether it is simulated, outside the seams (the clock, the network, the files): a
/// simulator that is asked for tests something else than what runs in production.
#[must_use]
pub fn code_that_knows_the_simulator(sources: &[Source]) -> Vec<String> {
    const SEAMS: [&str; 5] = [
        "crates/clock/",
        "crates/net/",
        "crates/storage/src/files/",
        "crates/sim/",
        "crates/xtask/",
    ];
    let mut found = Vec::new();
    for source in sources.iter().filter(|it| !SEAMS.iter().any(|seam| it.path.starts_with(seam))) {
        for (at, line) in source.text.lines().enumerate() {
            if ["cfg(sim", "is_simulated", "in_simulation"].iter().any(|it| line.contains(it)) {
                found.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    found
}

/// Commands that speak the protocol's messages themselves: what they ask for is an intent of the
/// client's admin, with types of its own.
#[must_use]
pub fn commands_that_speak_messages(sources: &[Source]) -> Vec<String> {
    const COMMANDS: [&str; 2] = ["crates/cli/src/", "crates/tools/src/"];
    let commands =
        sources.iter().filter(|source| COMMANDS.iter().any(|it| source.path.starts_with(it)));
    let mut wrong = Vec::new();
    for source in commands {
        for (number, line) in source.text.lines().enumerate() {
            if line.contains("ottla_protocol::messages") {
                wrong.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    wrong
}

/// Handlers of the broker that name another handler: one door per API, and no door opens another.
#[must_use]
pub fn handlers_that_name_handlers(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    let handlers = sources.iter().filter(|source| {
        source.path.starts_with("crates/broker/src/handlers/") && !source.path.ends_with("/mod.rs")
    });
    for source in handlers {
        let own = source.path.trim_start_matches("crates/broker/src/handlers/");
        let own = own.split(['/', '.']).next().unwrap_or(own);
        for (number, line) in source.text.lines().enumerate() {
            let named = line.split("handlers::").nth(1);
            if named.is_some_and(|rest| !rest.starts_with(own)) && !line.trim().starts_with("//") {
                wrong.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    wrong
}

fn defined_type(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
    let rest = ["struct ", "enum ", "trait "].iter().find_map(|word| line.strip_prefix(word))?;
    rest.split(|c: char| !c.is_alphanumeric()).next()
}
