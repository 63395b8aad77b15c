//! Text and numbers as Java makes them of bytes, since that is what scripts of Kafka's tools know.

use std::borrow::Cow;

/// The text of bytes: what is not UTF-8 becomes U+FFFD, as many as Java's decoder puts.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let mut rest = bytes;
    let mut all = String::new();
    loop {
        let error = match std::str::from_utf8(rest) {
            Ok(good) if all.is_empty() => return Cow::Borrowed(good),
            Ok(good) => {
                all.push_str(good);
                return Cow::Owned(all);
            }
            Err(error) => error,
        };
        let (good, bad) = rest.split_at(error.valid_up_to());
        all.push_str(&String::from_utf8_lossy(good));
        all.push('\u{fffd}');
        // Half of a UTF-16 pair is one mistake to Java, and one for each byte to Rust.
        let surrogate = bad.first() == Some(&0xed) && is_between(bad.get(1), 0xa0, 0xbf);
        let length = match error.error_len() {
            _ if surrogate => 2 + usize::from(is_between(bad.get(2), 0x80, 0xbf)),
            Some(length) => length,
            None => bad.len(),
        };
        rest = &bad[length..];
        if rest.is_empty() {
            return Cow::Owned(all);
        }
    }
}

fn is_between(byte: Option<&u8>, low: u8, high: u8) -> bool {
    byte.is_some_and(|it| (low..=high).contains(it))
}

/// A floating point number as `Double.toString` has it; `shortest` is its form `d.ddde±n`.
pub fn float(shortest: &str) -> String {
    let (sign, digits) = match shortest.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", shortest),
    };
    let Some((mantissa, exponent)) = digits.split_once('e') else {
        return match digits {
            "inf" => format!("{sign}Infinity"),
            _ => "NaN".to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (first, more) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !(-3..7).contains(&exponent) {
        let more = if more.is_empty() { "0" } else { more };
        return format!("{sign}{first}.{more}E{exponent}");
    }
    let all = format!("{first}{more}");
    let Ok(whole) = usize::try_from(exponent) else {
        let zeros = usize::try_from(-exponent).unwrap_or(1) - 1;
        return format!("{sign}0.{}{all}", "0".repeat(zeros));
    };
    let padded = format!("{all:0<width$}", width = whole + 2);
    let (before, after) = padded.split_at(whole + 1);
    format!("{sign}{before}.{after}")
}

/// A text cut wherever a pattern matches, as `Pattern.split` does: nothing is left of what is empty
/// at the end, and a match of nothing at the start does not count.
pub fn split<'a>(by: &regex::Regex, text: &'a str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for found in by.find_iter(text).filter(|it| it.end() > 0) {
        parts.push(&text[from..found.start()]);
        from = found.end();
    }
    if from == 0 {
        return vec![text];
    }
    parts.push(&text[from..]);
    while parts.last().is_some_and(|it| it.is_empty()) {
        parts.pop();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_utf8_becomes_as_many_marks_as_in_java() {
        // What JDK 21 makes of these bytes; F is U+FFFD.
        for (bytes, right) in [
            (&b"abc"[..], "abc"),
            (b"a\xffb", "aFb"),
            (b"\xff\xfe", "FF"),
            (b"\xed\xa0\x80x", "Fx"),
            (b"\xed\xa0x", "Fx"),
            (b"\xed\xa0", "F"),
            (b"\xe0\x80\x80", "FFF"),
            (b"\xe1\x80x", "Fx"),
            (b"\xf0\x9f\x98", "F"),
            (b"\xf4\x90\x80\x80", "FFFF"),
            (b"\xc0\xaf", "FF"),
            (b"", ""),
        ] {
            assert_eq!(text(bytes).replace('\u{fffd}', "F"), right, "{bytes:x?}");
        }
    }

    #[test]
    fn numbers_have_javas_form() {
        for (number, right) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (100.0, "100.0"),
            (123.456, "123.456"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1.25e10, "1.25E10"),
            (0.001, "0.001"),
            (0.0123, "0.0123"),
            (0.000_99, "9.9E-4"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float(&format!("{number:e}")), right);
        }
        assert_eq!(float(&format!("{:e}", 0.1_f32)), "0.1");
    }

    #[test]
    fn a_text_is_cut_as_in_java() {
        let cut = |by: &str, text: &'static str| split(&regex::Regex::new(by).unwrap(), text);
        assert_eq!(cut(",", "a,b"), ["a", "b"]);
        assert_eq!(cut(",", ",a,,b,,"), ["", "a", "", "b"]);
        assert_eq!(cut(",", ""), [""]);
        assert_eq!(cut(",", ",,").len(), 0);
        assert_eq!(cut("|", "abc"), ["a", "b", "c"]);
        assert_eq!(cut("[;,]", "a;b,c"), ["a", "b", "c"]);
    }
}
