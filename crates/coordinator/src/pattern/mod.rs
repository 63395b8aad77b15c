//! Patterns that clients send, in the syntax of RE2/J, which Kafka compiles them with.
//!
//! A pattern is read here, by RE2/J's rules, and written down again for the `regex` crate with
//! everything spelled out: no rule of the other syntax can then mean something else, and nothing in
//! a pattern can get out of the match of the whole text. Matching takes time in the size of the
//! text alone, whatever the pattern.

mod class;
mod parse;

use alloc::string::String;

use regex::{Regex, RegexBuilder};

/// How long a pattern may be, in bytes. RE2/J has no such limit.
const PATTERN_BYTES_MAX: usize = 16 << 10;
/// How much memory a compiled pattern may take, in bytes; compiling takes time in proportion.
/// RE2/J has no such limit.
const COMPILED_BYTES_MAX: usize = 2 << 20;
/// How deep the expression may be nested, where a group and what it holds count apart.
const DEPTH_MAX: u32 = 2_500;

/// What the texts are that a pattern is matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// ASCII, as topic names: classes are small then, and so is what is compiled from them.
    Ascii,
    /// All of Unicode.
    Unicode,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// What is wrong, in the words of RE2.
    pub reason: &'static str,
    /// The part that is wrong; empty if that is the end or the whole.
    pub part: String,
}

impl core::fmt::Display for BadPattern {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.reason)?;
        if self.part.is_empty() { Ok(()) } else { write!(f, ": `{}`", self.part) }
    }
}

impl BadPattern {
    const fn of(reason: &'static str) -> Self {
        Self { reason, part: String::new() }
    }
}

/// What matches a whole text if the pattern does.
///
/// # Errors
/// RE2/J would refuse the pattern, or it is too large.
pub fn compile_whole(pattern: &str, alphabet: Alphabet) -> Result<Regex, BadPattern> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(BadPattern::of("pattern too long"));
    }
    let whole = parse::translate_pattern(pattern, alphabet)?;
    RegexBuilder::new(&alloc::format!(r"\A(?:{whole})\z"))
        .size_limit(COMPILED_BYTES_MAX)
        .nest_limit(DEPTH_MAX)
        .build()
        .map_err(|_| BadPattern::of("pattern too large"))
}
