//! Habits that are counted: each number may fall and may not rise.
//!
//! `crates/xtask/counts.txt` holds the numbers. A test fails where one has risen; `UPDATE=1 cargo
//! xtask counts` writes down those that have fallen, and refuses to write a higher one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::code::{blank_comments, closing_bracket, find_functions, is_word_char};
use crate::tree::Source;

/// One habit: what is counted, and where it was found.
#[derive(Debug)]
pub struct Habit {
    /// Its name in `counts.txt`.
    pub name: &'static str,
    /// What it counts.
    pub text: &'static str,
    /// A line for each: `path:line: what`.
    pub found: Vec<String>,
}

/// Files with fewer lines are read at one glance, whatever their functions are called.
const FILE_LINES_SMALL: usize = 100;

/// Counts the habits in the production lines of all files.
#[must_use]
pub fn count_habits(sources: &[Source]) -> Vec<Habit> {
    let mut kinds = [
        ("bool-parameters", "parameters of type bool in public functions", Vec::new()),
        ("tuple-parameters", "parameters that are tuples, of any function", Vec::new()),
        ("one-word-functions", "free functions of one word in files of over 100 lines", Vec::new()),
        ("long-it-closures", "closures with `it` of more than one line", Vec::new()),
        ("silent-returns", "`else { return }` without a value", Vec::new()),
    ];
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let lines = source.production_lines();
        let code = blank_comments(&lines.join("\n"));
        let place = |at: usize| line_of(&code, at);
        for (name, line) in defined_types(&code) {
            types.entry(name.to_owned()).or_default().push(format!("{}:{line}", source.path));
        }
        for function in find_functions(&code) {
            let what = format!("{}:{}: {}", source.path, function.line, function.name);
            for parameter in &function.parameters {
                if parameter.kind == "bool" && function.is_public {
                    kinds[0].2.push(format!("{what}({}: bool)", parameter.pattern));
                }
                let kind = parameter.kind.trim_start_matches(['&', ' ']);
                if kind.starts_with('(') && kind.contains(',') {
                    let parameter = format!("{}: {}", parameter.pattern, parameter.kind);
                    kinds[1].2.push(format!("{what}({parameter})"));
                }
            }
            let is_one_word = !function.name.contains('_') && function.name != "main";
            if function.is_free && is_one_word && lines.len() > FILE_LINES_SMALL {
                kinds[2].2.push(what);
            }
        }
        let mut add = |kind: usize, at: usize| {
            let line = lines.get(place(at) - 1).map_or("", |line| line.trim());
            kinds[kind].2.push(format!("{}:{}: {line}", source.path, place(at)));
        };
        long_it_closures(&code).into_iter().for_each(|at| add(3, at));
        silent_returns(&code).into_iter().for_each(|at| add(4, at));
    }
    let doubled = types.into_iter().filter(|(_, places)| places.len() > 1);
    let doubled = doubled.map(|(name, places)| format!("{name}: {}", places.join(", "))).collect();
    let mut all = vec![Habit {
        name: "duplicate-types",
        text: "names that two or more types share",
        found: doubled,
    }];
    all.extend(kinds.map(|(name, text, found)| Habit { name, text, found }));
    all
}

/// The line of a byte, from 1.
fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The structs, enums, traits and unions that a blanked text defines, with their lines.
fn defined_types(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let text = text.trim_start();
        let text = text.strip_prefix("pub").map_or(text, |rest| {
            let inside = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            inside.map_or(rest, |(_, rest)| rest).trim_start()
        });
        let text = text.strip_prefix("unsafe ").unwrap_or(text);
        let words = ["struct ", "enum ", "trait ", "union "];
        let Some(name) = words.iter().find_map(|word| text.strip_prefix(word)) else { continue };
        let name = name.split(|c| !is_word_char(c)).next().unwrap_or_default();
        if !name.is_empty() {
            found.push((name, line));
        }
    }
    found
}

/// Where closures begin that name a parameter `it` and do not end on the same line.
fn long_it_closures(code: &str) -> Vec<usize> {
    let opens = code.match_indices('|').filter(|(at, _)| {
        let before = code[..*at].trim_end();
        before.ends_with(['(', ',', '=', '{', '&']) || before.ends_with("move")
    });
    let closures = opens.filter_map(|(at, _)| {
        let close = at + 1 + code[at + 1..].find('|')?;
        let mut words = code[at + 1..close].split(|c| !is_word_char(c));
        let body = words.any(|word| word == "it").then(|| &code[close + 1..])?;
        let end = expression_end(body);
        body[..end].trim_end().contains('\n').then_some(at)
    });
    closures.collect()
}

/// Where the expression ends with which the text begins.
fn expression_end(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return at,
            ')' | ']' | '}' => depth -= 1,
            ',' | ';' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// Where an `else` does nothing but return nothing.
fn silent_returns(code: &str) -> Vec<usize> {
    let blocks = code.match_indices("else {").filter(|(at, text)| {
        let open = at + text.len() - 1;
        let Some(close) = closing_bracket(&code[open..]) else { return false };
        let inside: String = code[open + 1..open + close].split_whitespace().collect();
        matches!(inside.as_str(), "return" | "return;")
    });
    blocks.map(|(at, _)| at).collect()
}

/// The numbers of `counts.txt`, by name.
///
/// # Errors
/// A line that is neither a comment nor `name number`.
pub fn read_agreed(text: &str) -> Result<BTreeMap<String, usize>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let rows = lines.map(|line| {
        let (name, number) = line.split_once(' ').ok_or(format!("{line:?} has no number"))?;
        let number = number.trim().parse().map_err(|_| format!("{line:?} has no number"))?;
        Ok((name.to_owned(), number))
    });
    rows.collect()
}

/// `counts.txt` with these numbers.
#[must_use]
pub fn write_agreed(all: &[Habit]) -> String {
    let mut text =
        "# Habits that are counted, by `cargo xtask counts` (`--list NAME` shows each place).\n\
        # A number may fall and may not rise: the test `no_counted_habit_grows` compares.\n\
        # `UPDATE=1 cargo xtask counts` writes down what has fallen.\n"
            .to_owned();
    for count in all {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{} {}", count.name, count.found.len());
    }
    text
}

/// The counts that are higher than agreed.
#[must_use]
pub fn risen_counts(all: &[Habit], agreed: &BTreeMap<String, usize>) -> Vec<String> {
    let mut wrong = Vec::new();
    for count in all {
        let most = agreed.get(count.name).copied().unwrap_or(0);
        if count.found.len() > most {
            let (name, now) = (count.name, count.found.len());
            let how = format!("cargo xtask counts --list {name} shows them");
            wrong.push(format!("{name}: {now}, {most} at most ({}); {how}", count.text));
        }
    }
    wrong
}

/// The longest of something: how many lines, and where.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Longest {
    /// Lines.
    pub lines: usize,
    /// `path`, or `path:line name`.
    pub place: String,
}

/// The file and the function with the most production lines.
#[must_use]
pub fn longest_parts(sources: &[Source]) -> (Longest, Longest) {
    let (mut file, mut function) = (Longest::default(), Longest::default());
    for source in sources {
        let lines = source.production_lines();
        file = file.max(Longest { lines: lines.len(), place: source.path.clone() });
        let code = blank_comments(&lines.join("\n"));
        for found in find_functions(&code) {
            let place = format!("{}:{} {}", source.path, found.line, found.name);
            function = function.max(Longest { lines: found.lines, place });
        }
    }
    (file, function)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Vec<(&'static str, usize)> {
        let path = "crates/broker/src/example.rs".to_owned();
        let all = count_habits(&[Source { path, text: text.to_owned() }]);
        all.iter().map(|it| (it.name, it.found.len())).filter(|it| it.1 > 0).collect()
    }

    #[test]
    fn each_habit_is_counted() {
        let long = "\n".repeat(100);
        let cases = [
            ("struct A;\nmod x {\n    pub(super) enum A {}\n}", vec![("duplicate-types", 1)]),
            ("pub fn a_b(c: bool) {}\nfn c_d(e: bool) {}", vec![("bool-parameters", 1)]),
            ("fn a_b((c, d): (u8, u8), e: &(u8, u8)) {}", vec![("tuple-parameters", 2)]),
            ("fn one() {}", vec![]),
            (&format!("fn one() {{}}\nfn main() {{}}{long}"), vec![("one-word-functions", 1)]),
            ("x.map(|it| it + 1)\n", vec![]),
            ("x.map(|it| {\n    it + 1\n})", vec![("long-it-closures", 1)]),
            ("x.map(move |(it, _)|\n    it + 1\n)", vec![("long-it-closures", 1)]),
            ("let Some(a) = b else { return };", vec![("silent-returns", 1)]),
            ("let Some(a) = b else {\n    // Why.\n    return;\n};", vec![("silent-returns", 1)]),
            ("let Some(a) = b else { return c };", vec![]),
            ("// else { return }\nlet a = \"else { return }\";", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(counted(text), expected, "{text}");
        }
    }

    #[test]
    fn a_number_may_fall_and_may_not_rise() {
        let found = |places: usize| vec!["a".to_owned(); places];
        let count = |places| [Habit { name: "x", text: "", found: found(places) }];
        let agreed = read_agreed("# A comment.\nx 2\n").expect("a table");
        assert!(risen_counts(&count(2), &agreed).is_empty());
        assert!(risen_counts(&count(1), &agreed).is_empty());
        assert_eq!(risen_counts(&count(3), &agreed).len(), 1);
        assert!(read_agreed("x\n").is_err());
    }
}
