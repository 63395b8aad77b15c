//! Documents and comments name only what is there.

use std::fs;
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
        for target in in_backticks(text).filter(|it| is_of_the_root(it, folders)) {
            let (path, heading) = parts(target);
            if !root.join(path).exists() && !is_built(path) {
                miss(path);
            } else if !has_heading(&root.join(path), heading) {
                miss(target);
            }
        }
        for target in links(text).filter(|_| is_document) {
            let (path, heading) = parts(target);
            let file = if path.is_empty() { &source.path } else { &join(beside, path) };
            if !root.join(file).exists() {
                miss(path);
            } else if !has_heading(&root.join(file), heading) {
                miss(target);
            }
        }
        if let Some(section) = section(text).filter(|_| !text.contains("RFC ")) {
            miss(section);
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

fn join(folder: &Path, path: &str) -> String {
    folder.join(path).to_string_lossy().into_owned()
}

/// A path and the heading behind its `#`.
fn parts(target: &str) -> (&str, Option<&str>) {
    target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)))
}

/// Does a document have this heading, by the name that Markdown's links give it?
fn has_heading(file: &Path, heading: Option<&str>) -> bool {
    let Some(heading) = heading.filter(|_| file.extension().is_some_and(|it| it == "md")) else {
        return true;
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| line.starts_with('#')).any(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        let slug = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
        slug.eq(heading.chars())
    })
}

/// A section by its number: nothing here is numbered, so it stands in a text that is not here.
fn section(text: &str) -> Option<&str> {
    if let Some(at) = text.find('\u{a7}') {
        return Some(&text[at..]);
    }
    let at = text.to_lowercase().find("section ")?;
    let number = text.get(at + "section ".len()..)?;
    number.starts_with(|c: char| c.is_ascii_digit()).then_some(&text[at..])
}

/// The first words of what stands in backticks, without what follows a `:`.
fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|it| it.split([' ', ':', ',']).next())
}

/// The targets of links to files and headings.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|it| it.split(')').next());
    targets.filter(|it| !it.is_empty() && !it.contains("://") && !it.starts_with("mailto:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    fn dead_of(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        dead(&tree::tree_root(), &["crates".to_owned(), "docs".to_owned()], &source)
    }

    #[test]
    fn what_is_there_is_not_reported() {
        let text = "`crates/xtask/src/paths.rs:3` and `cargo run`, `crates/NAME/src`,\n\
            [the map](../ARCHITECTURE.md#the-law), [Kafka](https://kafka.apache.org), `other/x`";
        assert_eq!(dead_of("docs/a.md", text), [""; 0]);
    }

    #[test]
    fn what_is_gone_is_reported_with_its_line() {
        // Written so that this file does not name what is not there.
        let gone = ["crates", "xtask/src/gone.rs"].join("/");
        let text = format!("\n`{gone}`, [x](gone.md#y)");
        let found = dead_of("docs/a.md", &text);
        assert_eq!(found, [format!("docs/a.md:2: {gone}"), "docs/a.md:2: gone.md".to_owned()]);
        let found = dead_of("crates/a/src/b.rs", &text);
        assert_eq!(found, [format!("crates/a/src/b.rs:2: {gone}")], "links are Markdown's");
    }

    #[test]
    fn a_heading_or_a_section_that_is_gone_is_reported() {
        let cases = [
            ("[x](../ARCHITECTURE.md#the-law)", true),
            ("[x](../ARCHITECTURE.md#the-lore)", false),
            ("`docs/simulation.md#a-seed-is-a-history`", true),
            // Written so that this file does not name them.
            (concat!("`", "docs/simulation.md#a-seed-is-a-tale`"), false),
            (concat!("the sec", "tion 3.2 of the specification"), false),
            (concat!("cluster.md ", "\u{a7}4"), false),
            ("RFC 5802, section 3", true),
            ("this section is about", true),
        ];
        for (text, is_there) in cases {
            assert_eq!(dead_of("docs/a.md", text).is_empty(), is_there, "{text}");
        }
    }
}
