//! `cargo xtask`: what is done by hand, now and then.

mod dist;
mod profile;
mod show_counts;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask profile [LOAD] [SECONDS]

Runs a node under a load of bench/, and shows where its time goes: by perf where it is installed, by
samply, or else by valgrind's callgrind, which counts instructions. Everything that was recorded is
kept in target/profile.

cargo xtask dist [--check] [--binary FILE]

Makes what is given to users, in target/dist: a tarball in Apache Kafka's layout, a Debian
package, a folder to build a container image in, a bill of materials (CycloneDX) and
checksums. Builds a static program, unless one is given. With --check (as root) all of it is
tried on this machine.

cargo xtask counts [COMMIT]
cargo xtask counts --list NAME

Counts the habits that may not grow (crates/xtask/counts.txt), now or at a commit, or shows each
place of one. UPDATE=1 writes down what has fallen.
";

fn dist_options(words: &[&str]) -> dist::DistResult<dist::Dist> {
    let mut dist = dist::Dist { binary: None, check: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--check" => dist.check = true,
            "--binary" => dist.binary = Some(words.next().ok_or("--binary takes a file")?.into()),
            other => {
                return Err(format!("dist takes --check and --binary FILE, not {other}").into());
            }
        }
    }
    Ok(dist)
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, which only developers run")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["profile"] => profile::run("produce-16k", "5"),
        ["profile", load] if !load.starts_with('-') => profile::run(load, "5"),
        ["profile", load, seconds] => profile::run(load, seconds),
        ["counts"] if std::env::var_os("UPDATE").is_some() => show_counts::update(),
        ["counts"] => show_counts::show(None),
        ["counts", "--list", name] => show_counts::list(name),
        ["counts", commit] if !commit.starts_with('-') => show_counts::show(Some(commit)),
        ["dist", ref options @ ..] => dist_options(options).and_then(|it| dist::run(&it)),
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
