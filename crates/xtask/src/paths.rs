//! Documents and comments name only what is there.

use std::path::Path;

use crate::tree::Source;

/// Words that hold a place for a name.
const PLACEHOLDERS: &[char] = &['*', '<', '>', '{', '}', '$', '…'];

/// The paths that a text names and the work tree does not have. Looked at are the targets of
/// Markdown's links, beside the text or from the root, and words in backticks that begin with one
/// of the root's own folders.
#[must_use]
pub fn dead(root: &Path, folders: &[String], source: &Source) -> Vec<String> {
    let beside = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    let is_document = source.path.ends_with(".md");
    let mut dead = Vec::new();
    for (line, text) in (1..).zip(source.text.lines()) {
        let mut miss = |path: &str| dead.push(format!("{}:{line}: {path}", source.path));
        for path in in_backticks(text).filter(|it| is_of_the_root(it, folders)) {
            if !root.join(path).exists() && !is_built(path) {
                miss(path);
            }
        }
        for path in links(text).filter(|_| is_document) {
            if !root.join(beside).join(path).exists() {
                miss(path);
            }
        }
    }
    dead
}

/// What a build or a run makes need not be there.
fn is_built(path: &str) -> bool {
    path.starts_with("target/") || path.contains("/.cache") || path.starts_with("bench/runs")
}

fn is_of_the_root(path: &str, folders: &[String]) -> bool {
    let first = path.split_once('/').map(|(first, _)| first);
    first.is_some_and(|first| folders.iter().any(|it| it == first))
        && !path.contains(PLACEHOLDERS)
        && !path.split('/').any(|part| part.starts_with("NN") || part.contains("NAME"))
}

/// The first words of what stands in backticks, without what follows a `:` or `#`.
fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|it| it.split([' ', ':', '#', ',']).next())
}

/// The targets of links to files, without anchors.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|it| it.split([')', '#']).next());
    targets.filter(|it| !it.is_empty() && !it.contains("://") && !it.starts_with("mailto:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    fn dead_of(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        dead(&tree::root(), &["crates".to_owned(), "docs".to_owned()], &source)
    }

    #[test]
    fn what_is_there_is_not_reported() {
        let text = "`crates/xtask/src/paths.rs:3` and `cargo run`, `crates/NAME/src`,\n\
            [the map](../ARCHITECTURE.md#the-law), [Kafka](https://kafka.apache.org), `other/x`";
        assert_eq!(dead_of("docs/a.md", text), [""; 0]);
    }

    #[test]
    fn what_is_gone_is_reported_with_its_line() {
        let text = "\n`crates/xtask/src/gone.rs`, [x](gone.md#y)";
        let wanted = ["docs/a.md:2: crates/xtask/src/gone.rs", "docs/a.md:2: gone.md"];
        assert_eq!(dead_of("docs/a.md", text), wanted);
        assert_eq!(
            dead_of("crates/a/src/b.rs", text),
            ["crates/a/src/b.rs:2: crates/xtask/src/gone.rs"]
        );
    }
}
