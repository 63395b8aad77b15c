//! Patterns of RE2/J. `patterns.txt` says what RE2/J 1.8 itself answers; `conformance/run patterns`
//! asks it again.

use ottla_coordinator::pattern::{Alphabet, compile_whole};

/// The reasons of RE2/J that have other words here.
const OTHER_WORDS: [(&str, &str); 1] = [("regexp/syntax: internal error", "unexpected )")];

/// `%COUNT%OPEN%MIDDLE%CLOSE` stands for so many repetitions.
fn spelled(pattern: &str) -> String {
    match pattern.split('%').collect::<Vec<_>>()[..] {
        ["", count, open, middle, close] => {
            let count = count.parse().unwrap();
            format!("{}{middle}{}", open.repeat(count), close.repeat(count))
        }
        _ => pattern.to_owned(),
    }
}

fn answer(pattern: &str, names: &[&str], alphabet: Alphabet) -> String {
    match compile_whole(pattern, alphabet) {
        Ok(regex) => {
            let found: Vec<&str> =
                names.iter().filter(|name| regex.is_match(name)).copied().collect();
            found.join(" ")
        }
        Err(bad) => format!("refused: {}", bad.reason),
    }
}

#[test]
fn patterns_match_and_are_refused_as_by_re2j() {
    let mut lines = include_str!("patterns.txt").lines().filter(|line| !line.starts_with("# "));
    let names = lines.next().unwrap().strip_prefix("names\t").unwrap();
    let names: Vec<&str> = names.split(' ').collect();
    let mut wrong = Vec::new();
    for line in lines {
        let (pattern, agreed) = line.split_once('\t').unwrap();
        let agreed = OTHER_WORDS
            .iter()
            .fold(agreed.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
        let found = answer(&spelled(pattern), &names, Alphabet::Ascii);
        if found != agreed {
            wrong.push(format!("{pattern}: {found}; RE2/J: {agreed}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Transactional ids need not be ASCII; where they are, both ways of matching are one.
#[test]
fn both_alphabets_agree_on_ascii() {
    // What RE2/J's tables of cases lack, and what is too large with classes of Unicode.
    let apart = [r"(?i)\p{Ll}+", r"(?i)\P{Ll}+", r"(?i)[^\p{Ll}]+"];
    let mut lines = include_str!("patterns.txt").lines().filter(|line| !line.starts_with("# "));
    let names = lines.next().unwrap().strip_prefix("names\t").unwrap();
    let names: Vec<&str> = names.split(' ').collect();
    for line in lines {
        let pattern = line.split_once('\t').unwrap().0;
        let ascii = answer(&spelled(pattern), &names, Alphabet::Ascii);
        let unicode = answer(&spelled(pattern), &names, Alphabet::Unicode);
        if !apart.contains(&pattern) {
            assert_eq!(unicode, ascii, "{pattern}");
        }
    }
}

#[test]
fn texts_that_are_not_ascii_are_matched_by_character() {
    let cases = [
        (r".", "é", true),
        (r"..", "é", false),
        (r"[^a]", "日", true),
        (r"\w", "é", false),
        (r"\W", "é", true),
        (r"\p{Han}+", "日本", true),
        (r"\P{Han}+", "日本", false),
        (r"\p{Lu}", "É", true),
        (r"(?i)É", "é", true),
        (r"É", "é", false),
        (r"(?i)k", "\u{212a}", true),
        (r"[[:alpha:]]", "é", false),
        (r"é\b", "é", false),
        (r"\Q日本\E", "日本", true),
        (r"\x{65e5}.", "日本", true),
        (r"\p{Any}", "😀", true),
        (r"\p{C}", "\u{378}", false),
        (r"(?s).", "\n", true),
        (r".", "\n", false),
    ];
    for (pattern, text, matches) in cases {
        let regex = compile_whole(pattern, Alphabet::Unicode).unwrap();
        assert_eq!(regex.is_match(text), matches, "{pattern} and {text}");
    }
}

/// RE2/J would compile each of these, some of them in more memory and time than there is.
#[test]
fn patterns_that_are_too_large_are_refused_soon() {
    let nested = |times: usize, inner: &str, outer: &str| {
        format!("{}{inner}{}", "(".repeat(times), outer.repeat(times))
    };
    let hostile = [
        ("(a{1000}){1000}".to_owned(), "pattern too large"),
        ("((a{1,100}){1,100}){1,100}".to_owned(), "pattern too large"),
        (nested(100, "a", "){0,2}"), "pattern too large"),
        (nested(100, "", "){1000}"), ""),
        (nested(3000, "a", ")"), "expression nests too deeply"),
        ("(".repeat(10_000), "expression nests too deeply"),
        ("a".repeat(20_000), "pattern too long"),
        (r"\p{L}".repeat(3_000), ""),
        ("[^a]".repeat(4_000), ""),
        ("a|".repeat(8_000), ""),
        ("(a|b|c)?".repeat(2_000), ""),
        ("(?i)".repeat(4_000), ""),
        ("a*".repeat(8_000), ""),
        (".{1000}".repeat(100), "pattern too large"),
        ("(.*)".repeat(4_000), ""),
    ];
    // What a node's threads have.
    let check = move || {
        for (pattern, reason) in hostile {
            let found = compile_whole(&pattern, Alphabet::Ascii);
            let found = found.map_or_else(|bad| bad.reason, |_| "");
            let name: String = pattern.chars().take(30).collect();
            assert_eq!(found, reason, "{name}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(check).unwrap();
    thread.join().unwrap();
}
