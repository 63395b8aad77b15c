//! Rust source with comments and the text of literals blanked, and the functions found in it.
//!
//! This is no parser: it knows brackets, words and commas, which is enough to count habits.

/// A function: where it stands, and what its head says.
#[derive(Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// How many lines it has, from its `fn` to its last bracket; 1 without a body.
    pub lines: usize,
    /// Does its head begin with `pub`, in any form?
    pub is_public: bool,
    /// Does it stand at the left margin, in no `impl` and no inner module?
    pub is_free: bool,
    /// Its parameters, each `pattern: Type`, without `self`.
    pub parameters: Vec<Parameter<'a>>,
}

/// One parameter of a function.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// What stands before the colon.
    pub pattern: &'a str,
    /// What comes after it.
    pub kind: &'a str,
}

/// The same text, byte for byte as long, with blanks for comments and for what is inside strings
/// and characters.
#[must_use]
pub fn blank_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_or_comment(&bytes[at..], out.last().copied());
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            let quote = bytes[at] == b'"' || bytes[at] == b'\'';
            out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            if quote {
                out[at] = bytes[at];
                out[end - 1] = bytes[at];
            }
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How long the comment or literal is that begins here; 0 where neither does.
fn literal_or_comment(text: &[u8], before: Option<u8>) -> usize {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match text {
        [b'/', b'/', ..] => text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len()),
        [b'/', b'*', ..] => block_comment(text),
        [b'"', ..] => 1 + quoted_length(&text[1..]),
        [b'r', b'"' | b'#', ..] if !before.is_some_and(|byte| is_word(byte) && byte != b'b') => {
            raw_string(text)
        }
        // A character, not a lifetime: 'x' or '\n'.
        [b'\'', b'\\', _, rest @ ..] => {
            3 + rest.iter().position(|byte| *byte == b'\'').map_or(rest.len(), |end| end + 1)
        }
        [b'\'', first, rest @ ..] => {
            let rest_of_char = match first {
                0..0x80 => 0,
                0x80..0xe0 => 1,
                0xe0..0xf0 => 2,
                0xf0.. => 3,
            };
            if rest.get(rest_of_char) == Some(&b'\'') { 3 + rest_of_char } else { 0 }
        }
        _ => 0,
    }
}

fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of a string's rest, with its closing quote.
fn quoted_length(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of `r"..."` or `r#"..."#`; 0 for a raw identifier.
fn raw_string(text: &[u8]) -> usize {
    let hashes = text[1..].iter().take_while(|byte| **byte == b'#').count();
    if text.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let start = 2 + hashes;
    let end = text[start..].windows(close.len()).position(|window| window == close);
    end.map_or(text.len(), |end| start + end + close.len())
}

/// The functions of a blanked text, in their order.
#[must_use]
pub fn find_functions(code: &str) -> Vec<Function<'_>> {
    let starts = code.match_indices("fn ").map(|(at, _)| at);
    let starts = starts.filter(|at| !code[..*at].ends_with(is_word_char));
    starts.filter_map(|at| function_at(code, at)).collect()
}

fn function_at(code: &str, at: usize) -> Option<Function<'_>> {
    let head = &code[at + 3..];
    let name = &head[..head.find(|c| !is_word_char(c))?];
    let open = at + 3 + open_parenthesis(head)?;
    let close = open + closing_bracket(&code[open..])?;
    let margin = code[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = code[margin..at].trim_start();
    let parts = split_at_commas(&code[open + 1..close]);
    let parameters = parts.into_iter().filter_map(read_parameter).collect();
    let body = code[close..].find(['{', ';']).map(|found| close + found);
    let end = body.filter(|body| code[*body..].starts_with('{'));
    let end = end.and_then(|body| Some(body + closing_bracket(&code[body..])?)).unwrap_or(close);
    (!name.is_empty()).then(|| Function {
        name,
        line: code[..at].lines().count().max(1),
        lines: code[at..end].matches('\n').count() + 1,
        is_public: before.starts_with("pub"),
        is_free: code[margin..at].len() == before.len(),
        parameters,
    })
}

/// Where the parameters open, behind the name and its generics.
fn open_parenthesis(head: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in head.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' && before != '=' => depth -= 1,
            '(' if depth == 0 => return Some(at),
            '{' | ';' if depth == 0 => return None,
            _ => {}
        }
        before = c;
    }
    None
}

/// Where the bracket closes with which the text begins.
#[must_use]
pub fn closing_bracket(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The parts between the commas that stand in no bracket.
fn split_at_commas(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut before) = (0_i32, 0, ' ');
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            '>' if before == '-' || before == '=' => {}
            ')' | ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    parts.push(&text[start..]);
    parts
}

/// `pattern: Type`, if it is not `self`.
fn read_parameter(text: &str) -> Option<Parameter<'_>> {
    let mut depth = 0_i32;
    let colon = text.char_indices().find(|(at, c)| {
        depth += i32::from(matches!(c, '(' | '[' | '{' | '<'));
        depth -= i32::from(matches!(c, ')' | ']' | '}' | '>'));
        let is_path = text[at + 1..].starts_with(':') || text[..*at].ends_with(':');
        *c == ':' && depth == 0 && !is_path
    });
    let (colon, _) = colon?;
    let (pattern, kind) = (text[..colon].trim(), text[colon + 1..].trim());
    (pattern != "self").then_some(Parameter { pattern, kind })
}

/// May the character stand in an identifier?
#[must_use]
pub fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("a\"b", 'c', '\n', 'a)"#, r#"f("    ", ' ', '  ', 'a)"#),
            ("r#\"a\"b\"# c", "         c"),
            ("'ä' x", "'  ' x"),
        ];
        for (text, blank) in cases {
            assert_eq!(blank_comments(text), blank, "{text}");
        }
    }

    #[test]
    fn a_function_is_read_with_its_parameters() {
        let code = "pub(crate) fn send<F: Fn(u8) -> bool>(\n    (a, b): (u8, &B),\n    \
            is_last: bool,\n    map: Map<A, B>,\n) -> u8 {\n    1\n}\n\nimpl X {\n    fn y(&self);\n}\n";
        let found = find_functions(code);
        let [send, y] = &found[..] else { panic!("{found:?}") };
        assert_eq!((send.name, send.line, send.lines), ("send", 1, 7));
        assert!(send.is_public && send.is_free);
        let of = |at: usize| (send.parameters[at].pattern, send.parameters[at].kind);
        assert_eq!(of(0), ("(a, b)", "(u8, &B)"));
        assert_eq!(of(1), ("is_last", "bool"));
        assert_eq!(of(2), ("map", "Map<A, B>"));
        assert_eq!((y.name, y.line, y.is_free, y.parameters.len()), ("y", 10, false, 0));
    }
}
