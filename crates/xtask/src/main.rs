//! `cargo xtask`: commands for developers of Ottla.

mod dist;
mod mutants;
mod nightly;
mod profile;
mod quick;
mod show_counts;

use std::error::Error;
use std::process::{Command, ExitCode};

use ottla_xtask::{scaffold, tree};

type Done<T = ()> = Result<T, Box<dyn Error>>;

const USAGE: &str = "\
cargo xtask quick

The loop beside the editor, a minute after a small change: format, clippy of what changed and of
what uses it, the tests of what changed, law and tidy. What changed is what differs from main.

cargo xtask full

All of CI: the same as .ci/run.

cargo xtask nightly [--minutes N] [--only JOB] [--list]

Simulation, planted bugs, fuzzing, exactly-once, crashes, soak, bench and mutants, one after the
other, also after one has failed; prints a table. Jobs that can take any time take N minutes (5).

cargo xtask mutants [--minutes N] [--shard K]

Changes the code of cores, records and storage in one place after the other, and prints how many of
the changes a test notices, and which none does. A fortieth of all, another one each day.

cargo xtask new-api NAME
cargo xtask new-setting NAME

Makes the files and rows of an API, by the name of its schema in crates/protocol/schemas/rpc, or of
a setting of brokers. docs/howto says how to go on.

cargo xtask counts [COMMIT]
cargo xtask counts --list NAME

Counts the habits that may not grow (crates/xtask/counts.txt), now or at a commit, or shows each
place of one. UPDATE=1 writes down what has fallen.

cargo xtask profile [LOAD] [SECONDS]

Runs a node under a load of bench/, and shows where its time goes: by perf where it is installed, by
samply, or else by valgrind's callgrind, which counts instructions. Everything that was recorded is
kept in target/profile.

cargo xtask dist [--check] [--binary FILE]

Makes what is given to users, in target/dist: a tarball in Apache Kafka's layout, a Debian
package, a folder to build a container image in, a bill of materials (CycloneDX) and
checksums. Builds a static program, unless one is given. With --check (as root) all of it is
tried on this machine.
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

fn nightly_options(words: &[&str]) -> Done<nightly::Nightly> {
    let mut nightly = nightly::Nightly::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--minutes" => nightly.minutes = Some(read_number("--minutes", words.next())?),
            "--only" => {
                nightly.only = Some((*words.next().ok_or("--only takes a job")?).to_owned());
            }
            "--list" => nightly.is_list = true,
            other => {
                let known = "--minutes N, --only JOB and --list";
                return Err(format!("nightly takes {known}, not {other}").into());
            }
        }
    }
    Ok(nightly)
}

fn run_mutants(words: &[&str]) -> Done {
    let (mut minutes, mut shard) = (10, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--minutes" => minutes = read_number("--minutes", words.next())?,
            "--shard" => shard = Some(read_number("--shard", words.next())?),
            other => {
                return Err(format!("mutants takes --minutes N and --shard K, not {other}").into());
            }
        }
    }
    mutants::run(minutes, shard)
}

fn read_number(option: &str, word: Option<&&str>) -> Done<u64> {
    let word = word.ok_or(format!("{option} takes a number"))?;
    word.parse().map_err(|_| format!("{option} takes a number, not {word}").into())
}

fn run_ci() -> Done {
    let status = Command::new(".ci/run").current_dir(tree::tree_root()).status()?;
    if status.success() { Ok(()) } else { Err(format!(".ci/run: {status}").into()) }
}

/// Adds to the tree, formats it, and says what to do next.
fn add_files(add: impl FnOnce() -> Result<Vec<std::path::PathBuf>, String>, how_to: &str) -> Done {
    for file in add()? {
        println!("{}", file.display());
    }
    Command::new("cargo").args(["fmt", "--all"]).current_dir(tree::tree_root()).status()?;
    println!("\nGo on with {how_to}.");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, which only developers run")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let root = tree::tree_root();
    let done = match words[..] {
        ["quick"] => quick::run(),
        ["full"] => run_ci(),
        ["nightly", ref options @ ..] => nightly_options(options).and_then(|it| nightly::run(&it)),
        ["mutants", ref options @ ..] => run_mutants(options),
        ["new-api", name] => {
            add_files(|| scaffold::add_api(&root, name), "docs/howto/add-an-api.md")
        }
        ["new-setting", name] => {
            add_files(|| scaffold::add_setting(&root, name), "docs/howto/add-a-setting.md")
        }
        ["profile"] => profile::run_profile("produce-16k", "5"),
        ["profile", load] if !load.starts_with('-') => profile::run_profile(load, "5"),
        ["profile", load, seconds] => profile::run_profile(load, seconds),
        ["counts"] if std::env::var_os("UPDATE").is_some() => show_counts::update(),
        ["counts"] => show_counts::show(None),
        ["counts", "--list", name] => show_counts::list(name),
        ["counts", commit] if !commit.starts_with('-') => show_counts::show(Some(commit)),
        ["dist", ref options @ ..] => {
            dist_options(options).and_then(|it| dist::make_distribution(&it))
        }
        _ => {
            print!("{USAGE}\n{}", profile::list_loads());
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
