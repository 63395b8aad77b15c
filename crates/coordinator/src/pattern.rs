//! Patterns that clients send. They are matched in time that grows with the text alone, whatever
//! the pattern, as in RE2.

use regex::{Regex, RegexBuilder};

/// How much memory a pattern may take when it is compiled, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// What matches a whole text; `None` if it is no pattern, or too large a one.
pub(crate) fn whole(pattern: &str) -> Option<Regex> {
    let whole = alloc::format!("^(?:{pattern})$");
    RegexBuilder::new(&whole).size_limit(BYTES_MAX).build().ok()
}
