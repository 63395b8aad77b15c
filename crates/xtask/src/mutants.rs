//! `cargo xtask mutants`: are the tests tested? A sample of mutants of cores, records and storage.

use std::error::Error;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_xtask::tree;
use serde_json::Value;

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// Whose code is changed.
const PACKAGES: [&str; 7] =
    ["types", "machine", "replication", "raft", "coordinator", "metadata", "records"];
/// Parts of storage that no mutant is made of: fakes and faults for tests.
const LEFT_OUT: [&str; 2] =
    ["crates/storage/src/files/memory.rs", "crates/storage/src/files/faulty.rs"];
/// How many parts all mutants are divided into: one of them is a night's sample.
const SHARDS: u64 = 40;

/// Tries the mutants of one part, another each day, for at most that many minutes; prints how many
/// were caught, and each that lives.
pub fn run(minutes: u64, shard: Option<u64>) -> Done {
    let shard = shard.unwrap_or_else(day) % SHARDS;
    let out = tree::tree_root().join("target/mutants");
    fs::create_dir_all(&out)?;
    let mut command = Command::new("timeout");
    command.args([&format!("{minutes}m"), "cargo", "mutants", "--no-shuffle", "--jobs", "1"]);
    command.args(["--baseline", "skip", "--timeout", "120"]);
    command.args(["--shard", &format!("{shard}/{SHARDS}")]);
    for name in PACKAGES.iter().chain(&["storage"]) {
        command.args(["--package", &format!("ottla-{name}")]);
    }
    for file in LEFT_OUT {
        command.args(["--exclude", file]);
    }
    command.arg("--output").arg(&out).current_dir(tree::tree_root());
    // It ends with 2 if mutants live, and with 124 when the time is over: both are results.
    let status = command.status()?;
    if !matches!(status.code(), Some(0 | 2 | 3 | 124)) {
        return Err(format!("cargo mutants: {status}").into());
    }
    let text = fs::read_to_string(out.join("mutants.out/outcomes.json"))?;
    println!("\n{}", score(&serde_json::from_str(&text)?));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, which only developers run")]
fn day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400)
}

/// The score, and the mutants that live.
fn score(outcomes: &Value) -> String {
    let mutants: Vec<&Value> = outcomes["outcomes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|outcome| outcome["scenario"]["Mutant"].is_object())
        .collect();
    let with = |summary: &'static str| {
        mutants.iter().filter(move |outcome| outcome["summary"] == summary).copied()
    };
    let (caught, missed) = (with("CaughtMutant").count(), with("MissedMutant").count());
    let (slow, unviable) = (with("Timeout").count(), with("Unviable").count());
    let tried = caught + slow + missed;
    let percent = ((caught + slow) * 100).checked_div(tried).unwrap_or(100);
    let mut text = format!(
        "mutants: {percent} % caught: {caught} by a failing test, {slow} by a test that does not \
            end, {missed} live, {unviable} do not compile\n"
    );
    for outcome in with("MissedMutant") {
        let mutant = &outcome["scenario"]["Mutant"];
        let name = mutant["name"].as_str().unwrap_or("a mutant without a name");
        text.push_str(&format!("  lives: {name}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_counts_what_compiles_and_names_what_lives() {
        let outcome = |summary: &str, name: &str| serde_json::json!({"scenario": {"Mutant": {"name": name}}, "summary": summary});
        let outcomes = serde_json::json!({"outcomes": [
            {"scenario": "Baseline", "summary": "Success"},
            outcome("CaughtMutant", "a"), outcome("CaughtMutant", "b"), outcome("Timeout", "c"),
            outcome("MissedMutant", "x.rs:1: replace == with !="), outcome("Unviable", "e"),
        ]});
        let text = score(&outcomes);
        assert!(text.starts_with("mutants: 75 % caught: 2 by a failing test, 1 by"), "{text}");
        assert!(
            text.ends_with("1 do not compile\n  lives: x.rs:1: replace == with !=\n"),
            "{text}"
        );
    }
}
