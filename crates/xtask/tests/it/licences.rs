//! Everything the binary and its tests are made of may be used under the licence we give it out.

use std::process::Command;

use ottla_xtask::tree;
use serde_json::Value;

/// Licences that ask no more than to be named.
const ALLOWED: [&str; 8] = [
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn is_allowed(licence: &str) -> bool {
    let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
    expression.is_ok_and(|it| {
        it.evaluate(|part| part.license.id().is_some_and(|id| ALLOWED.contains(&id.name)))
    })
}

#[test]
fn every_dependency_has_a_licence_that_we_may_pass_on() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--format-version", "1"]);
    command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(tree::tree_root());
    let answer = command.output().expect("cargo metadata runs");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let metadata: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100);
    let wrong: Vec<String> = packages
        .iter()
        .map(|it| (it["name"].as_str().unwrap_or(""), it["license"].as_str().unwrap_or("none")))
        .filter(|(_, licence)| !is_allowed(licence))
        .map(|(name, licence)| format!("{name}: {licence}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_licence_that_binds_is_told_from_one_that_does_not() {
    assert!(is_allowed("MIT OR GPL-3.0-only"));
    assert!(is_allowed("MIT/Apache-2.0"));
    assert!(!is_allowed("MIT AND GPL-3.0-only"));
    assert!(!is_allowed("BUSL-1.1"));
    assert!(!is_allowed("none"));
}
