//! Rule 7: nothing is reached by two paths.
//!
//! Inside a crate, a name that is handed up (`pub use room::Name`) comes from a private module.
//! Between crates, what a crate hands up from one below it is named by that path only where the
//! crate below cannot be named: a crate with both in its manifest goes to the origin. The client is
//! the SDK, and hands up what its callers need: they should need no other crate.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::blank_comments;
use crate::tree::Source;

/// The crate whose callers may be outside this workspace.
const SDK: &str = "client";

/// A name that a crate hands up: `crate_name::name`, from which crate.
type HandedUp = BTreeMap<(String, String), String>;

/// Every name with two paths, and every use of one by the longer way. `may_use` is the law table:
/// short names of crates, and those each may use.
#[must_use]
pub fn second_paths(
    sources: &[Source],
    may_use: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut handed_up = HandedUp::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let code = blank_comments(&source.production_lines().join("\n"));
        let public: Vec<&str> = code
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub mod ")?.split([';', ' ']).next())
            .collect();
        for path in used_paths(&code, "pub use ") {
            let (first, name) = ends_of(&path);
            let own = path.strip_prefix("self::").map_or(first, |rest| ends_of(rest).0);
            if public.contains(&own) && path.contains("::") {
                wrong.push(format!("{}: {name} is also {own}::{name}", source.path));
            }
            if let Some(below) = first.strip_prefix("ottla_").filter(|_| crate_of(source) != SDK) {
                let key = (crate_of(source).to_owned(), name.to_owned());
                handed_up.insert(key, below.to_owned());
            }
        }
    }
    for source in sources.iter().filter(|source| !source.is_test()) {
        let code = blank_comments(&source.text);
        let Some(reachable) = may_use.get(crate_of(source)) else { continue };
        for path in used_paths(&code, "use ") {
            let (first, name) = ends_of(&path);
            let Some(above) = first.strip_prefix("ottla_") else { continue };
            let origin = handed_up.get(&(above.to_owned(), name.to_owned()));
            if let Some(below) = origin.filter(|below| reachable.contains(*below)) {
                let path = &source.path;
                wrong.push(format!("{path}: {name} is ottla_{below}'s, not ottla_{above}'s"));
            }
        }
    }
    wrong
}

fn crate_of(source: &Source) -> &str {
    source.path.strip_prefix("crates/").and_then(|path| path.split('/').next()).unwrap_or_default()
}

/// The first and the last part of a path.
fn ends_of(path: &str) -> (&str, &str) {
    (path.split("::").next().unwrap_or(path), path.rsplit("::").next().unwrap_or(path))
}

/// The paths of every `use` that begins with these words, one for each name.
fn used_paths(code: &str, words: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(words) {
        let begins_line = rest[..at].rsplit('\n').next().is_some_and(|it| it.trim().is_empty())
            || words == "use " && rest[..at].ends_with("pub ");
        rest = &rest[at + words.len()..];
        if begins_line && let Some(end) = rest.find(';') {
            let tree: String = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
            expand_tree("", &tree, &mut all);
        }
    }
    all
}

/// `a::{b, c::d}` becomes `a::b` and `a::c::d`; `as` is left out.
fn expand_tree(before: &str, tree: &str, all: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((path, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        if !path.is_empty() {
            all.push(format!("{before}{path}"));
        }
        return;
    };
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let (mut depth, mut start) = (0_i32, 0);
    let before = format!("{before}{path}");
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand_tree(&before, &inside[start..at], all);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand_tree(&before, &inside[start..], all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_tree_becomes_paths() {
        let code = "use a::{b, c::{d, e as f}};\n    pub use g::h;\nlet because = 1;\n";
        assert_eq!(used_paths(code, "use "), ["a::b", "a::c::d", "a::c::e", "g::h"]);
        assert_eq!(used_paths(code, "pub use "), ["g::h"]);
    }

    #[test]
    fn two_paths_to_one_name_are_found() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources = [
            source(
                "crates/a/src/lib.rs",
                "pub mod open;\nmod shut;\npub use open::X;\npub use shut::Y;\n",
            ),
            source("crates/b/src/lib.rs", "pub use ottla_low::Z;\n"),
            source("crates/c/src/lib.rs", "use ottla_b::{Z, W};\n"),
            source("crates/d/src/lib.rs", "use ottla_b::Z;\n"),
        ];
        let set = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let law =
            BTreeMap::from([("c".to_owned(), set(&["b", "low"])), ("d".to_owned(), set(&["b"]))]);
        let wrong = second_paths(&sources, &law);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("X is also open::X"));
        assert!(wrong[1].starts_with("crates/c/src/lib.rs: Z is ottla_low's"));
    }
}
