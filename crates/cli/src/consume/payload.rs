//! Payloads that are JSON, passed on as they were written.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// How deep a payload may be nested to count as JSON: many readers stop at 128, and a line of
/// output is one level around it.
const DEPTH_MAX: usize = 100;

/// The text of a payload that is a JSON object or list, fit to stand in a line of JSON; `None` if
/// it is something else. A number or a word alone is text that happens to be JSON.
pub(crate) fn structured(text: &str) -> Option<Cow<'_, str>> {
    let is_whole = text.starts_with(['{', '[']) && text.ends_with(['}', ']']);
    if !is_whole || serde_json::from_str::<IgnoredAny>(text).is_err() || !is_readable(text) {
        return None;
    }
    // Line breaks stand between tokens only: within strings JSON wants them escaped.
    Some(match text.contains(['\n', '\r']) {
        true => text.replace(['\n', '\r'], " ").into(),
        false => text.into(),
    })
}

/// May every reader of JSON take it? Some refuse escapes of half a character, and great depth.
fn is_readable(json: &str) -> bool {
    let (mut depth, mut in_string) = (0_usize, false);
    let mut rest = json.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => {
                let Some((escaped, after)) = rest.split_first() else { return false };
                rest = after;
                if *escaped == b'u' {
                    let Some(after) = after_escape(after) else { return false };
                    rest = after;
                }
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return false;
        }
    }
    true
}

/// What follows the four digits of an escape, and of the second half of its pair if it needs one.
fn after_escape(digits: &[u8]) -> Option<&[u8]> {
    let unit =
        |digits: &[u8]| u16::from_str_radix(std::str::from_utf8(digits.get(..4)?).ok()?, 16).ok();
    match unit(digits)? {
        0xD800..0xDC00 => {
            let second = digits.get(4..)?.strip_prefix(b"\\u")?;
            matches!(unit(second)?, 0xDC00..0xE000).then_some(&second[4..])
        }
        0xDC00..0xE000 => None,
        _ => digits.get(4..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_as_it_was_written() {
        let same = [
            r#"{"a": 1, "a": 2}"#,
            r#"[1e999, 0.10, -0, 123456789012345678901234567890]"#,
            r#"{"z":"\u00e9\ud83d\ude00 \\\" ]"}"#,
            "[ ]",
        ];
        for text in same {
            assert_eq!(structured(text).as_deref(), Some(text));
        }
        assert_eq!(structured("{\r\n  \"a\": 1\n}").as_deref(), Some("{    \"a\": 1 }"));
        let deep = "[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX);
        assert_eq!(structured(&deep).as_deref(), Some(&*deep));
    }

    #[test]
    fn what_some_readers_refuse_is_text() {
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        let texts = [
            "17",
            "null",
            "\"word\"",
            "",
            "{",
            "{}x",
            "{} {}",
            " {}",
            "{\"a\":01}",
            "[NaN]",
            r#"["\ud800"]"#,
            r#"["\udc00"]"#,
            r#"["\ud800\u0041"]"#,
            "[\"\n\"]",
            &deep,
        ];
        for text in texts {
            assert_eq!(structured(text), None, "{text}");
        }
    }
}
