//! Files that tests compare what they found with, and the one switch that renews all of them:
//! `UPDATE=1 cargo test` writes what was found. Read the diff before you commit it.
//!
//! A table begins with a legend, the lines up to the first that does not begin with `#`; it stays
//! as it is. A file that a program writes as a whole (a page, a script) has none.

use std::fs;
use std::path::{Path, PathBuf};

/// Compares a table with the lines behind the legend of this file, named from the root of the tree;
/// writes it instead, if `UPDATE` is set.
///
/// # Panics
/// A line is not as expected, or there is no legend.
pub fn check_table(path: &str, found: &str) {
    settle(&in_tree(path), found, is_update(), ExpectedKind::Table);
}

/// Compares a whole file, named from the root of the tree; writes it instead, if `UPDATE` is set.
///
/// # Panics
/// A line is not as expected.
pub fn check_file(path: &str, found: &str) {
    settle(&in_tree(path), found, is_update(), ExpectedKind::Whole);
}

/// Are expected files to be renewed?
#[must_use]
pub fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| !value.is_empty() && value != "0")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ExpectedKind {
    Table,
    Whole,
}

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn settle(path: &Path, found: &str, is_update: bool, kind: ExpectedKind) {
    let shown = path.display();
    let kept = fs::read_to_string(path).unwrap_or_default();
    let legend: String = match kind {
        ExpectedKind::Table => {
            kept.split_inclusive('\n').take_while(|line| line.starts_with('#')).collect()
        }
        ExpectedKind::Whole => String::new(),
    };
    assert!(kind == ExpectedKind::Whole || !legend.is_empty(), "{shown} begins with no legend");
    if is_update {
        let whole = format!("{legend}{found}");
        if whole != kept {
            fs::write(path, whole).unwrap_or_else(|error| panic!("{shown}: {error}"));
        }
        return;
    }
    let first = legend.lines().count() + 1;
    let mut expected = kept[legend.len()..].lines();
    for (at, line) in (first..).zip(found.lines()) {
        let wanted = expected.next();
        assert_eq!(Some(line), wanted, "{shown}, line {at}; UPDATE=1 writes what was found");
    }
    let more = expected.next();
    assert_eq!(more, None, "{shown} has more lines than were found; UPDATE=1 writes those");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("table.txt");
        fs::write(&path, text).expect("written");
        (folder, path)
    }

    #[test]
    fn what_is_as_expected_passes() {
        let (_folder, path) = file("# Legend.\na\nb\n");
        settle(&path, "a\nb\n", false, ExpectedKind::Table);
        let (_folder, path) = file("# a\nb\n");
        settle(&path, "# a\nb\n", false, ExpectedKind::Whole);
    }

    #[test]
    fn what_is_not_as_expected_fails() {
        for found in ["a\n", "a\nb\nc\n", "a\nc\n", ""] {
            let (_folder, path) = file("# Legend.\na\nb\n");
            let judged =
                std::panic::catch_unwind(|| settle(&path, found, false, ExpectedKind::Table));
            assert!(judged.is_err(), "{found:?}");
        }
        let (_folder, path) = file("a\n");
        let judged = std::panic::catch_unwind(|| settle(&path, "a\n", true, ExpectedKind::Table));
        assert!(judged.is_err(), "a table without a legend");
    }

    #[test]
    fn an_update_keeps_the_legend() {
        let (_folder, path) = file("# Legend.\n# More.\na\nb\n");
        settle(&path, "c\n", true, ExpectedKind::Table);
        assert_eq!(fs::read_to_string(path).expect("read"), "# Legend.\n# More.\nc\n");
    }
}
