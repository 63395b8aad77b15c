//! Tells the program which commit it is built from: what `OTTLA_COMMIT` says (a package's build has no
//! repository around it), or what git says, or `unknown`.

use std::process::Command;

fn git(words: &[&str]) -> Option<String> {
    let out = Command::new("git").args(words).output().ok().filter(|out| out.status.success())?;
    let text = String::from_utf8(out.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "a build script is told by its environment")]
fn main() {
    println!("cargo::rerun-if-env-changed=OTTLA_COMMIT");
    // HEAD names a branch; its log grows with each commit and each change of branch.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    let named = std::env::var("OTTLA_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = named.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=OTTLA_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}
