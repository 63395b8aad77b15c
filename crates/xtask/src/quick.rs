//! `cargo xtask quick`: the loop beside the editor.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::process::Command;

use ottla_xtask::changed::{Changed, named_crates, touched_crates};
use ottla_xtask::steps::{Step, run_all};
use ottla_xtask::tree;

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// Format, clippy of what changed and of what uses it, the tests of what changed, law and tidy.
pub fn run() -> Done {
    let files = changed_files()?;
    let changed = touched_crates(files.iter().map(String::as_str), &crates_in_use()?);
    println!("changed: {}", joined(&changed.own, " "));
    println!("with what uses it: {}", joined(&changed.with_users, " "));
    if run_all(&tree::tree_root(), &steps_for(&changed)) { Ok(()) } else { Err("not clean".into()) }
}

fn joined(names: &BTreeSet<String>, between: &str) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(String::as_str).collect::<Vec<_>>().join(between)
}

fn steps_for(changed: &Changed) -> Vec<Step> {
    let mut steps = vec![Step::new("format", "cargo fmt --all --check")];
    let packages = |names: &BTreeSet<String>| -> String {
        names.iter().map(|name| format!(" -p ottla-{name}")).collect()
    };
    if !changed.with_users.is_empty() {
        let packages = packages(&changed.with_users);
        let line = format!("cargo clippy --quiet --locked --all-targets{packages} -- -D warnings");
        steps.push(Step::new("clippy", &line));
    }
    // Their own tests run below in any case; those of `app` start processes, `full` runs them.
    let mut tested = changed.own.clone();
    let slow = ["app", "xtask"].map(|name| tested.remove(name));
    if !tested.is_empty() {
        let line = format!("cargo test --quiet --locked{}", packages(&tested));
        steps.push(Step::new("tests", &line));
    }
    if slow[0] {
        steps.push(Step::new("tests of app", "cargo test --quiet --locked -p ottla-app --bins"));
    }
    steps.push(Step::new("law and tidy", "cargo test --quiet --locked -p ottla-xtask"));
    steps
}

/// What `HEAD` and the work tree have changed since they left `main`.
fn changed_files() -> Done<Vec<String>> {
    let base = git(&["merge-base", "main", "HEAD"]).or_else(|_| git(&["rev-parse", "HEAD"]))?;
    let changed = git(&["diff", "--name-only", base.trim()])?;
    let new = git(&["ls-files", "--others", "--exclude-standard"])?;
    Ok(changed.lines().chain(new.lines()).map(str::to_owned).collect())
}

fn git(arguments: &[&str]) -> Done<String> {
    let answer = Command::new("git").args(arguments).current_dir(tree::tree_root()).output()?;
    if !answer.status.success() {
        let why = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        return Err(format!("git {}: {why}", arguments.join(" ")).into());
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

fn crates_in_use() -> Done<BTreeMap<String, BTreeSet<String>>> {
    let mut uses = BTreeMap::new();
    for entry in fs::read_dir(tree::tree_root().join("crates"))? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        uses.insert(name, named_crates(&manifest));
    }
    Ok(uses)
}
