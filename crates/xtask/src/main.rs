//! `cargo xtask`: what is done by hand, now and then.

mod profile;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask profile [LOAD] [SECONDS]

Runs a node under a load of bench/, and shows where its time goes: by perf where it is installed, by
samply, or else by valgrind's callgrind, which counts instructions. Everything that was recorded is
kept in target/profile.
";

#[expect(clippy::disallowed_methods, reason = "a program of its own, which only developers run")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["profile"] => profile::run("produce-16k", "5"),
        ["profile", load] if !load.starts_with('-') => profile::run(load, "5"),
        ["profile", load, seconds] => profile::run(load, seconds),
        _ => {
            print!("{USAGE}\n{}", profile::loads());
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cargo xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
