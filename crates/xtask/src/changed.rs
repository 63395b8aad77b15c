//! What a change touches: the crates that changed, and those that use them.

use std::collections::{BTreeMap, BTreeSet};

/// The crates of a change, by short name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Those with a changed file.
    pub own: BTreeSet<String>,
    /// Those that use one of them, also in their tests, and those themselves.
    pub with_users: BTreeSet<String>,
}

/// Files that all crates are built with.
const SHARED: [&str; 4] = ["Cargo.toml", "Cargo.lock", "clippy.toml", "rust-toolchain.toml"];

/// What these files touch. `uses` has each crate's own `ottla-*` crates, those of its tests too.
#[must_use]
pub fn touched_crates<'a>(
    files: impl IntoIterator<Item = &'a str>,
    uses: &BTreeMap<String, BTreeSet<String>>,
) -> Changed {
    let mut changed = Changed::default();
    for file in files {
        if SHARED.contains(&file) {
            changed.with_users.extend(uses.keys().cloned());
        }
        let name = file.strip_prefix("crates/").and_then(|rest| rest.split('/').next());
        changed.own.extend(name.filter(|name| uses.contains_key(*name)).map(str::to_owned));
    }
    changed.with_users.extend(changed.own.iter().cloned());
    loop {
        let is_user = |used: &BTreeSet<String>| !used.is_disjoint(&changed.with_users);
        let users = uses.iter().filter(|(_, used)| is_user(used)).map(|(name, _)| name.clone());
        let all: BTreeSet<String> = users.chain(changed.with_users.iter().cloned()).collect();
        if all == changed.with_users {
            return changed;
        }
        changed.with_users = all;
    }
}

/// The `ottla-*` crates that a manifest names anywhere, by short name.
#[must_use]
pub fn named_crates(manifest: &str) -> BTreeSet<String> {
    let names = manifest.lines().filter_map(|line| line.trim().strip_prefix("ottla-"));
    names.filter_map(|rest| rest.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_change_touches_what_uses_it_however_far_up() {
        let uses = BTreeMap::from([
            ("types".to_owned(), set(&[])),
            ("storage".to_owned(), set(&["types"])),
            ("partitions".to_owned(), set(&["storage"])),
            ("net".to_owned(), set(&[])),
        ]);
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&["README.md", "crates/gone/src/lib.rs"], &[], &[]),
            (&["crates/net/src/lib.rs"], &["net"], &["net"]),
            (&["crates/storage/a.rs"], &["storage"], &["partitions", "storage"]),
            (&["Cargo.lock"], &[], &["net", "partitions", "storage", "types"]),
        ];
        for (files, own, with_users) in cases {
            let changed = touched_crates(files.iter().copied(), &uses);
            assert_eq!(
                changed,
                Changed { own: set(own), with_users: set(with_users) },
                "{files:?}"
            );
        }
    }

    #[test]
    fn crates_of_tests_count() {
        let manifest = "[package]\nname = \"ottla-x\"\n[dependencies]\nottla-net.workspace = true\n\
            [dev-dependencies]\nottla-clock = { path = \"../clock\" }\n";
        assert_eq!(named_crates(manifest), set(&["clock", "net"]));
    }
}
