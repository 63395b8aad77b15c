//! Chance that no seed reaches: a simulation repeats a history only if nothing draws it.
//!
//! `select!` looks at its branches in a random order unless it is `biased`, and a `HashMap` or
//! `HashSet` is walked in another order in each process. Both are refused outside tests. A walk
//! whose order cannot matter carries a comment above it that begins with `// any order:` and says
//! why.

use std::collections::BTreeSet;

use crate::tree::Source;

/// What walks over a map or set, if its name stands before it.
const WALKS: [&str; 12] = [
    ".iter()",
    ".iter_mut()",
    ".keys()",
    ".values()",
    ".values_mut()",
    ".into_iter()",
    ".into_keys()",
    ".into_values()",
    ".drain()",
    ".retain(",
    ".extract_if(",
    ".difference(",
];

/// The places outside tests where chance decides.
#[must_use]
pub fn chance_breaches(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| !is_exempt(source)) {
        let lines = source.production_lines();
        let wrong_lines = unbiased_selects(&lines).into_iter().chain(unordered_walks(&lines));
        wrong.extend(wrong_lines.map(|(at, what)| format!("{}:{}: {what}", source.path, at + 1)));
    }
    wrong
}

/// Whole files of tests, and the tools beside the product that are no part of a simulation.
fn is_exempt(source: &Source) -> bool {
    ["crates/xtask/", "crates/load/"].iter().any(|path| source.path.starts_with(path))
        || source.path.ends_with("_tests.rs")
}

/// Lines with a `select!` whose first word is not `biased`.
fn unbiased_selects(lines: &[&str]) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    for (at, line) in
        lines.iter().enumerate().filter(|(_, line)| without_comment(line).contains("select! {"))
    {
        let rest = without_comment(line).split("select! {").nth(1).unwrap_or_default();
        let inner =
            std::iter::once(rest).chain(lines[at + 1..].iter().map(|line| without_comment(line)));
        let first = inner.map(str::trim).find(|line| !line.is_empty());
        if !first.is_some_and(|first| first.starts_with("biased;")) {
            wrong.push((at, "select! without `biased;` chooses at random".to_owned()));
        }
    }
    wrong
}

/// Lines that walk over a name which the file declares as a `HashMap` or `HashSet`.
fn unordered_walks(lines: &[&str]) -> Vec<(usize, String)> {
    let hashed: BTreeSet<&str> =
        lines.iter().flat_map(|line| hashed_names(without_comment(line))).collect();
    let mut wrong = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let next = lines.get(at + 1).map_or("", |next| without_comment(next).trim());
        let walked = hashed.iter().find(|name| is_walked(without_comment(line), next, name));
        let is_excused = || at > 0 && lines[at - 1].trim().starts_with("// any order:");
        if let Some(name) = walked
            && !is_excused()
        {
            wrong.push((at, format!("the order of {name}, a HashMap or HashSet, is chance")));
        }
    }
    wrong
}

/// The names that a line declares as a map or set: fields, parameters and variables.
fn hashed_names(line: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for kind in ["HashMap", "HashSet"] {
        for (at, _) in line.match_indices(kind) {
            let before = &line[..at];
            // `name: HashMap<`, also behind `&`, `&mut`, `Mutex<`, `Option<` and paths.
            let declared = before.rsplit_once(": ").map(|(name, wrap)| (name, wrap.trim()));
            let is_wrapped =
                |wrap: &str| wrap.chars().all(|c| c.is_alphanumeric() || "&<:_' ".contains(c));
            let declared = declared.filter(|(_, wrap)| is_wrapped(wrap)).map(|(name, _)| name);
            // `let name = HashMap::new()`.
            let before = before.trim_end_matches("std::collections::").trim_end();
            let made = before.strip_suffix('=');
            names.extend(declared.or(made).and_then(last_word));
        }
    }
    names
}

fn last_word(text: &str) -> Option<&str> {
    let word = text.trim_end().rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (!word.is_empty()).then_some(word)
}

/// Does the line walk over this name, or begin a chain of calls whose next line does?
fn is_walked(line: &str, next: &str, name: &str) -> bool {
    let is_word = |at: usize| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && !line[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    };
    line.match_indices(name).filter(|(at, _)| is_word(*at)).any(|(at, _)| {
        let (before, behind) = (line[..at].trim_end(), &line[at + name.len()..]);
        // What is locked or borrowed first is walked all the same.
        let behind = [".lock()", ".read()", ".write()", ".borrow()", ".borrow_mut()"]
            .iter()
            .find_map(|door| behind.strip_prefix(door))
            .unwrap_or(behind);
        let behind = if behind.trim().is_empty() { next } else { behind };
        // `for x in &self.name {`
        let owner = before.rsplit([' ', '(']).next().unwrap_or_default();
        let path = before.strip_suffix(owner).unwrap_or(before).trim_end();
        let is_for = line.trim_start().starts_with("for ")
            && (path.ends_with(" in") || path.ends_with(" in &mut"))
            && behind.trim_start().starts_with('{');
        is_for || WALKS.iter().any(|walk| behind.starts_with(walk))
    })
}

/// A line without its comment.
fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Vec<usize> {
        let path = "crates/broker/src/example.rs".to_owned();
        let found = chance_breaches(&[Source { path, text: text.to_owned() }]);
        let line = |place: &String| place.split(':').nth(1).and_then(|it| it.parse().ok());
        found.iter().map(|place| line(place).expect("a line")).collect()
    }

    #[test]
    fn a_select_is_biased_or_refused() {
        let cases = [
            ("tokio::select! {\n    biased;\n    a => {}\n}", vec![]),
            ("let x = tokio::select! {\n    // Why.\n\n    biased;\n}", vec![]),
            ("select! { biased; a => {} }", vec![]),
            ("tokio::select! {\n    a => {}\n    b => {}\n}", vec![1]),
            ("fn f() {\n    select! { a => {} }\n}", vec![2]),
            ("// tokio::select! {\n", vec![]),
            ("#[cfg(test)]\nmod tests {\n    select! { a => {} }\n}", vec![]),
        ];
        for (text, wrong) in cases {
            assert_eq!(lines_of(text), wrong, "{text}");
        }
    }

    #[test]
    fn a_walk_over_what_is_hashed_is_refused() {
        let cases = [
            ("all: HashMap<u8, u8>,", "self.all.get(&1);", false),
            ("all: HashMap<u8, u8>,", "self.all.iter()", true),
            ("all: HashMap<u8, u8>,", "self.all\n    .values()", true),
            ("all: HashMap<u8, u8>,", "for (key, value) in &self.all {", true),
            ("all: HashMap<u8, u8>,", "for key in &mut all {", true),
            ("all: HashMap<u8, u8>,", "for key in 0..all.len() {", false),
            ("all: HashMap<u8, u8>,", "self.overall.iter()", false),
            ("all: BTreeMap<u8, u8>,", "self.all.iter()", false),
            ("all: &'a mut HashSet<u8>,", "all.drain()", true),
            ("all: Mutex<HashSet<u8>>,", "all.lock().retain(|it| *it > 1)", true),
            ("let mut all = HashMap::with_capacity(1);", "all.into_values()", true),
            ("let all: std::collections::HashSet<_> = x;", "all.keys()", true),
            ("all: HashMap<u8, u8>,", "// any order: a sum.\nself.all.values()", false),
            ("all: HashMap<u8, u8>,", "// A comment.\nself.all.values()", true),
        ];
        for (declared, used, is_wrong) in cases {
            let text = format!("{declared}\n{used}\n");
            assert_eq!(!lines_of(&text).is_empty(), is_wrong, "{text}");
        }
    }
}
