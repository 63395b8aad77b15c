//! Notes the commit that the program is built from, for its version.

use std::process::Command;

fn git(words: &[&str]) -> Option<String> {
    let out = Command::new("git").args(words).output().ok().filter(|out| out.status.success())?;
    Some(String::from_utf8(out.stdout).ok()?.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-env-changed=OTTLA_COMMIT");
    // Changes with every commit, also in a work tree of its own.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    // A source archive has no repository: the commit is then given by the environment of the build.
    let commit = option_env!("OTTLA_COMMIT").map(str::to_owned);
    let commit = commit.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=OTTLA_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}
