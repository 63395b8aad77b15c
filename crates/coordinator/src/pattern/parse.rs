//! The syntax of RE2/J, read by its rules and written for the `regex` crate.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::class::{Class, ClassSide};
use super::{Alphabet, BadPattern};

/// The most that a repetition may ask for.
const REPEAT_MAX: u32 = 1000;
/// How deep groups may be nested as they are written, before those of groups alone are left out.
const OPEN_MAX: usize = 2_500;

/// What `(?flags)` sets.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// `i`: letters stand for all their cases.
    folds: bool,
    /// `m`: `^` and `$` match at lines.
    lines: bool,
    /// `s`: `.` matches a line feed.
    dot_all: bool,
}

/// A group that is open.
#[derive(Debug, Default)]
struct PatternGroup {
    /// What it holds so far, in the other syntax.
    text: String,
    /// Where in `text` its last part begins, which a repetition would repeat.
    last: Option<usize>,
    /// Is there more than that part?
    has_more: bool,
    /// The flags of what encloses it.
    flags: Flags,
}

impl PatternGroup {
    fn push(&mut self, part: &str) {
        self.has_more |= !self.text.is_empty();
        self.last = Some(self.text.len());
        self.text.push_str(part);
    }

    fn alternative(&mut self) {
        self.text.push('|');
        self.last = None;
        self.has_more = true;
    }

    /// The group as a part of another.
    fn closed(self) -> String {
        // One part that stands alone needs no parentheses.
        let is_part = self.last == Some(0) && !self.has_more;
        if is_part { self.text } else { format!("(?:{})", self.text) }
    }
}

/// Whether a token was one that repeats: two in a row are refused.
#[derive(Clone, Copy, Debug, Default)]
struct Repeats {
    /// Where the one before began.
    before: Option<usize>,
    /// Where this one began.
    now: Option<usize>,
}

struct Parser<'a> {
    pattern: &'a str,
    at: usize,
    alphabet: Alphabet,
    flags: Flags,
    outer: Vec<PatternGroup>,
    group: PatternGroup,
    names: BTreeSet<&'a str>,
    repeats: Repeats,
}

/// The pattern for the `regex` crate.
///
/// # Errors
/// RE2/J would refuse it.
pub(super) fn translate_pattern(pattern: &str, alphabet: Alphabet) -> Result<String, BadPattern> {
    let mut parser = Parser {
        pattern,
        at: 0,
        alphabet,
        flags: Flags::default(),
        outer: Vec::new(),
        group: PatternGroup::default(),
        names: BTreeSet::new(),
        repeats: Repeats::default(),
    };
    while let Some(next) = parser.peek() {
        parser.repeats.now = None;
        parser.token(next)?;
        parser.repeats.before = parser.repeats.now;
    }
    if parser.outer.is_empty() {
        Ok(parser.group.text)
    } else {
        Err(parser.bad("missing closing )", 0))
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn pop(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// What has been read since `from` is wrong.
    fn bad(&self, reason: &'static str, from: usize) -> BadPattern {
        BadPattern { reason, part: self.pattern[from..self.at].to_owned() }
    }

    fn token(&mut self, next: char) -> Result<(), BadPattern> {
        match next {
            '(' => return self.open(),
            '[' => return self.brackets(),
            '\\' => return self.escaped(),
            '*' | '+' | '?' => {
                let from = self.at;
                self.repeats.now = Some(from);
                self.at += 1;
                let mut sign = [0; 4];
                return self.repeat(next.encode_utf8(&mut sign), from);
            }
            '{' => return self.counted(),
            _ => self.at += next.len_utf8(),
        }
        match next {
            '|' => self.group.alternative(),
            ')' => self.close()?,
            '^' => self.group.push(if self.flags.lines { "(?m:^)" } else { r"\A" }),
            '$' => self.group.push(if self.flags.lines { "(?m:$)" } else { r"\z" }),
            '.' => {
                let mut class = Class::exact();
                if !self.flags.dot_all {
                    class.add_range(0x0A, 0x0A);
                }
                if self.flags.dot_all {
                    class.add_range(0, 0x10_FFFF);
                }
                let side = if self.flags.dot_all { ClassSide::Inside } else { ClassSide::Outside };
                self.push_class(&class, side);
            }
            _ => self.literal(u32::from(next)),
        }
        Ok(())
    }

    fn literal(&mut self, number: u32) {
        let plain = u8::try_from(number).ok().filter(u8::is_ascii_alphanumeric);
        if let Some(plain) = plain.filter(|_| !self.flags.folds) {
            let mut text = [0; 4];
            self.group.push(char::from(plain).encode_utf8(&mut text));
            return;
        }
        let mut class = self.new_class();
        class.add_range(number, number);
        self.push_class(&class, ClassSide::Inside);
    }

    fn push_class(&mut self, class: &Class, side: ClassSide) {
        let part = class.expression(side, self.alphabet);
        self.group.push(&part);
    }

    /// An empty class, as the flags are here.
    fn new_class(&self) -> Class {
        if self.flags.folds { Class::folding() } else { Class::exact() }
    }

    fn enter(&mut self) -> Result<(), BadPattern> {
        if self.outer.len() >= OPEN_MAX {
            return Err(BadPattern::of("expression nests too deeply"));
        }
        let inner = PatternGroup { flags: self.flags, ..PatternGroup::default() };
        self.outer.push(core::mem::replace(&mut self.group, inner));
        Ok(())
    }

    fn close(&mut self) -> Result<(), BadPattern> {
        let Some(outer) = self.outer.pop() else {
            return Err(BadPattern { reason: "unexpected )", part: self.pattern.to_owned() });
        };
        let inner = core::mem::replace(&mut self.group, outer);
        self.flags = inner.flags;
        let part = inner.closed();
        self.group.push(&part);
        Ok(())
    }

    fn open(&mut self) -> Result<(), BadPattern> {
        let from = self.at;
        let prefix = ["(?P<", "(?<"].into_iter().find(|it| self.rest().starts_with(it));
        if let Some(prefix) = prefix {
            return self.named(prefix);
        }
        if !self.eat("(?") {
            self.at += 1;
            return self.enter();
        }
        let (mut flags, mut is_on, mut has_flag) = (self.flags, true, false);
        while let Some(next) = self.pop() {
            match next {
                'i' => flags.folds = is_on,
                'm' => flags.lines = is_on,
                's' => flags.dot_all = is_on,
                // Which of several matches is preferred does not matter to a match of the whole.
                'U' => {}
                '-' if is_on => (is_on, has_flag) = (false, false),
                ':' | ')' if is_on || has_flag => {
                    if next == ':' {
                        self.enter()?;
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            has_flag |= next != '-';
        }
        Err(self.bad("invalid or unsupported Perl syntax", from))
    }

    fn named(&mut self, prefix: &str) -> Result<(), BadPattern> {
        let from = self.at;
        self.at += prefix.len();
        let Some(length) = self.rest().find('>') else {
            self.at = self.pattern.len();
            return Err(self.bad("invalid named capture", from));
        };
        let name = &self.rest()[..length];
        self.at += length + 1;
        let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(self.bad("invalid named capture", from));
        }
        if !self.names.insert(name) {
            return Err(self.bad("duplicate capture group name", from));
        }
        self.enter()
    }

    /// `sign` is what repeats, and may be followed by the sign of the shortest match.
    fn repeat(&mut self, sign: &str, from: usize) -> Result<(), BadPattern> {
        self.eat("?");
        if let Some(before) = self.repeats.before {
            return Err(self.bad("invalid nested repetition operator", before));
        }
        let Some(last) = self.group.last else {
            return Err(self.bad("missing argument to repetition operator", from));
        };
        let part = self.group.text.split_off(last);
        self.group.text.push_str(&format!("(?:{part}){sign}"));
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is a brace.
    fn counted(&mut self) -> Result<(), BadPattern> {
        let from = self.at;
        // Even a brace that stands for itself may not be repeated at once.
        self.repeats.now = Some(from);
        let Some((least, most)) = self.counts() else {
            self.at = from + 1;
            self.literal(u32::from(b'{'));
            return Ok(());
        };
        let is_valid =
            least <= REPEAT_MAX && most.is_none_or(|most| most <= REPEAT_MAX && least <= most);
        if !is_valid {
            return Err(self.bad("invalid repeat count", from));
        }
        let most = most.map_or_else(String::new, |most| format!("{most}"));
        self.repeat(&format!("{{{least},{most}}}"), from)
    }

    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        self.at += 1;
        let least = self.count()?;
        let most = if self.eat(",") {
            if self.rest().starts_with('}') { None } else { Some(self.count()?) }
        } else {
            Some(least)
        };
        self.eat("}").then_some((least, most))
    }

    /// A number without leading zeros; one that is too large is too large for a repetition.
    fn count(&mut self) -> Option<u32> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let text = &self.rest()[..digits];
        self.at += digits;
        if digits == 0 || digits > 1 && text.starts_with('0') {
            return None;
        }
        Some(text.parse().unwrap_or(u32::MAX))
    }

    fn escaped(&mut self) -> Result<(), BadPattern> {
        let from = self.at;
        let kind = self.rest().chars().nth(1);
        let anchor = match kind {
            Some('A') => r"\A",
            Some('z') => r"\z",
            Some('b') => r"(?-u:\b)",
            Some('B') => r"(?-u:\B)",
            Some('Q') => {
                self.quoted();
                return Ok(());
            }
            _ => "",
        };
        if !anchor.is_empty() {
            self.at += 2;
            self.group.push(anchor);
            return Ok(());
        }
        let mut class = self.new_class();
        if self.class_escape(&mut class)? {
            self.push_class(&class, ClassSide::Inside);
            return Ok(());
        }
        self.at = from;
        let number = self.character_escape()?;
        self.literal(number);
        Ok(())
    }

    /// `\Q` up to `\E` or the end: every character stands for itself.
    fn quoted(&mut self) {
        self.at += 2;
        let rest = self.rest();
        let quoted = rest.find(r"\E").map_or(rest, |end| &rest[..end]);
        self.at += quoted.len();
        self.eat(r"\E");
        for it in quoted.chars() {
            self.literal(u32::from(it));
        }
    }

    /// Takes a class such as `\d` or `\p{Greek}` in, if one is next.
    fn class_escape(&mut self, class: &mut Class) -> Result<bool, BadPattern> {
        let from = self.at;
        if !self.rest().starts_with('\\') {
            return Ok(false);
        }
        match self.rest().chars().nth(1) {
            Some(it @ ('d' | 's' | 'w' | 'D' | 'S' | 'W')) => {
                self.at += 2;
                let mut name = [0; 4];
                let name = it.to_ascii_lowercase().encode_utf8(&mut name);
                let side =
                    if it.is_ascii_uppercase() { ClassSide::Outside } else { ClassSide::Inside };
                Ok(class.add_named(name, side).is_some())
            }
            Some(it @ ('p' | 'P')) => {
                self.at += 2;
                let name = self.unicode_name(from)?;
                let side = if it == 'P' { ClassSide::Outside } else { ClassSide::Inside };
                let (name, side) = match name.strip_prefix('^') {
                    Some(name) => (name, side.turned()),
                    None => (name, side),
                };
                match class.add_unicode(name, side) {
                    Some(()) => Ok(true),
                    None => Err(self.bad("invalid character class range", from)),
                }
            }
            _ => Ok(false),
        }
    }

    /// One letter, or a name in braces.
    fn unicode_name(&mut self, from: usize) -> Result<&'a str, BadPattern> {
        let rest = self.rest();
        if !self.eat("{") {
            self.pop();
            let name = &rest[..rest.len() - self.rest().len()];
            let missing = name.is_empty();
            return if missing {
                Err(self.bad("invalid character class range", from))
            } else {
                Ok(name)
            };
        }
        let rest = self.rest();
        let Some(length) = rest.find('}') else {
            self.at = self.pattern.len();
            return Err(self.bad("invalid character class range", from));
        };
        self.at += length + 1;
        Ok(&rest[..length])
    }

    /// The number of the character that an escape stands for.
    fn character_escape(&mut self) -> Result<u32, BadPattern> {
        let from = self.at;
        self.at += 1;
        let Some(next) = self.pop() else {
            return Err(BadPattern::of("trailing backslash at end of expression"));
        };
        let octal = |it: Option<char>| it.and_then(|it| it.to_digit(8));
        let found = match next {
            'a' => Some(0x07),
            't' => Some(0x09),
            'n' => Some(0x0A),
            'v' => Some(0x0B),
            'f' => Some(0x0C),
            'r' => Some(0x0D),
            'x' => self.hexadecimal(),
            // One digit that is not 0 would be a reference to a group, which RE2 does not have.
            '0'..='7' if next == '0' || octal(self.peek()).is_some() => {
                let mut number = octal(Some(next)).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = octal(self.peek()) else { break };
                    number = number * 8 + digit;
                    self.at += 1;
                }
                Some(number)
            }
            _ if !next.is_ascii_alphanumeric() => Some(u32::from(next)),
            _ => None,
        };
        found.ok_or_else(|| self.bad("invalid escape sequence", from))
    }

    /// Two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        if !self.eat("{") {
            let (high, low) = (self.pop()?.to_digit(16)?, self.pop()?.to_digit(16)?);
            return Some(high * 16 + low);
        }
        let mut number: Option<u32> = None;
        loop {
            let next = self.pop()?;
            if next == '}' {
                return number;
            }
            let more = number.unwrap_or(0) * 16 + next.to_digit(16)?;
            number = Some(more).filter(|it| *it <= 0x10_FFFF);
            number?;
        }
    }

    fn brackets(&mut self) -> Result<(), BadPattern> {
        let from = self.at;
        self.at += 1;
        let mut class = self.new_class();
        let side = if self.eat("^") { ClassSide::Outside } else { ClassSide::Inside };
        let mut is_first = true;
        while is_first || self.peek() != Some(']') {
            is_first = false;
            if self.posix_class(&mut class)? || self.class_escape(&mut class)? {
                continue;
            }
            let start = self.at;
            let low = self.bracketed(from)?;
            let mut high = low;
            if self.rest().starts_with('-') && !self.rest().starts_with("-]") {
                self.at += 1;
                high = self.bracketed(from)?;
                if high < low {
                    return Err(self.bad("invalid character class range", start));
                }
            }
            class.add_range(low, high);
        }
        self.at += 1;
        self.push_class(&class, side);
        Ok(())
    }

    /// One character in brackets.
    fn bracketed(&mut self, from: usize) -> Result<u32, BadPattern> {
        if self.rest().starts_with('\\') {
            return self.character_escape();
        }
        match self.pop() {
            Some(next) => Ok(u32::from(next)),
            None => Err(self.bad("missing closing ]", from)),
        }
    }

    /// Takes a class such as `[:alpha:]` in, if one is next.
    fn posix_class(&mut self, class: &mut Class) -> Result<bool, BadPattern> {
        let from = self.at;
        let Some(inner) = self.rest().strip_prefix("[:") else { return Ok(false) };
        let Some(length) = inner.find(":]") else { return Ok(false) };
        let name = &inner[..length];
        self.at += length + 4;
        let (name, side) = match name.strip_prefix('^') {
            Some(name) => (name, ClassSide::Outside),
            None => (name, ClassSide::Inside),
        };
        // Perl's short names are not names of POSIX.
        let found = (name.len() > 1).then(|| class.add_named(name, side)).flatten();
        if found.is_some() {
            Ok(true)
        } else {
            Err(self.bad("invalid character class range", from))
        }
    }
}
