//! Stored records as JSON, in the words of Kafka's own tools.
//!
//! Names begin with a small letter, bytes are in base64, ids in their short form. A field that the
//! version does not have is left out, and so is a tagged field that has its default.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use ottla_types::Uuid;

/// Something that has a form in JSON.
pub trait ToJson {
    /// Writes what `version` of its message holds.
    fn to_json(&self, json: &mut Json, version: i16);
}

/// JSON in the making.
#[derive(Clone, Debug, Default)]
pub struct Json {
    text: String,
    /// Does the next item need a comma before it?
    comma: bool,
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Json {
    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn item(&mut self, text: &str) {
        if core::mem::replace(&mut self.comma, true) {
            self.text.push(',');
        }
        self.text.push_str(text);
    }

    /// Writes an object, whose fields `fields` writes.
    pub fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.item("{");
        self.comma = false;
        fields(self);
        self.text.push('}');
        self.comma = true;
    }

    /// Writes a field, whose value `value` writes.
    pub fn field(&mut self, name: &str, value: impl FnOnce(&mut Self)) {
        self.item(&format!("\"{name}\":"));
        self.comma = false;
        value(self);
    }

    /// Writes an array.
    pub fn array<T>(&mut self, all: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.item("[");
        self.comma = false;
        all.iter().for_each(|it| each(self, it));
        self.text.push(']');
        self.comma = true;
    }

    /// Writes what is there, or null.
    pub fn nullable<T>(&mut self, it: Option<&T>, value: impl FnOnce(&mut Self, &T)) {
        match it {
            Some(it) => value(self, it),
            None => self.item("null"),
        }
    }

    /// Writes a number, or `true` or `false`.
    pub fn plain(&mut self, it: impl core::fmt::Display) {
        self.item(&format!("{it}"));
    }

    /// Writes a number with a fraction, as Java does.
    pub fn double(&mut self, it: f64) {
        let is_plain = it == 0.0 || (1e-3..1e7).contains(&it.abs());
        if is_plain || !it.is_finite() {
            return self.item(&format!("{it:?}"));
        }
        let text = format!("{it:E}");
        let (digits, power) = text.split_once('E').unwrap_or((&text, "0"));
        let point = if digits.contains('.') { "" } else { ".0" };
        self.item(&format!("{digits}{point}E{power}"));
    }

    /// Writes an id.
    pub fn uuid(&mut self, id: Uuid) {
        self.item(&format!("\"{id}\""));
    }

    /// Writes a text.
    pub fn string(&mut self, text: &str) {
        let mut out = String::with_capacity(text.len() + 2);
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if u32::from(c) < 0x20 => {
                    let _ = write!(out, "\\u{:04X}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        out.push('"');
        self.item(&out);
    }

    /// Writes bytes, in base64.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut out = String::with_capacity(bytes.len() * 4 / 3 + 6);
        out.push('"');
        for three in bytes.chunks(3) {
            let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for place in 0..4 {
                let digit = DIGITS[usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0)];
                out.push(if place > three.len() { '=' } else { char::from(digit) });
            }
        }
        out.push('"');
        self.item(&out);
    }
}
