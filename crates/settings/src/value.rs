//! The value of a setting: read as Kafka reads it, shown as Kafka shows it.
//!
//! Every door goes through here: the file of a node, the creation of a topic, each change of a
//! setting. What is accepted is therefore what is obeyed: `TRUE` is true, `007` is 7.

use std::fmt;

use crate::table::Kind;

/// A value that has been read.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 16, 32 or 64 bits.
    Whole(i64),
    /// A fraction.
    Double(f64),
    /// A text, without the blanks around it.
    Text(String),
    /// Texts, without the blanks around each.
    List(Vec<String>),
}

impl Value {
    /// Reads a value of this type.
    ///
    /// # Errors
    /// Why it is no value of the type, in Kafka's words.
    pub fn read(kind: Kind, text: &str) -> Result<Self, String> {
        // Java's trim takes away every character up to the blank.
        let text = text.trim_matches(|it| it <= ' ');
        let no_number = || format!("Not a number of type {}", kind.name().to_uppercase());
        let whole = |number: Option<i64>| number.map(Self::Whole).ok_or_else(no_number);
        match kind {
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Ok(Self::Boolean(true)),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Ok(Self::Boolean(false)),
            Kind::Boolean => Err("Expected value to be either true or false".to_owned()),
            Kind::Short => whole(text.parse::<i16>().ok().map(Into::into)),
            Kind::Int => whole(text.parse::<i32>().ok().map(Into::into)),
            Kind::Long => whole(text.parse().ok()),
            Kind::Double => java_double(text).map(Self::Double).ok_or_else(no_number),
            Kind::List if text.is_empty() => Ok(Self::List(Vec::new())),
            Kind::List => Ok(Self::List(text.split(',').map(item).collect())),
            Kind::Class if !is_class_name(text) => Err(format!("Class {text} could not be found.")),
            Kind::String | Kind::Class | Kind::Password => Ok(Self::Text(text.to_owned())),
        }
    }
}

/// Could a Java class be called this? No class is loaded: one that does not exist is not noticed.
fn is_class_name(text: &str) -> bool {
    let is_letter = |it: char| it.is_alphanumeric() || it == '_' || it == '$';
    let is_part = |part: &str| {
        part.chars().all(is_letter)
            && part.starts_with(|it: char| is_letter(it) && !it.is_numeric())
    };
    text.split('.').all(is_part)
}

/// One item of a list, without the blanks that a regular expression of Java's takes for such.
fn item(text: &str) -> String {
    text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']).to_owned()
}

/// A fraction as Java writes it: `1e3`, `.5`, `2d`, `NaN`, `-Infinity`.
fn java_double(text: &str) -> Option<f64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match rest {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(sign * f64::INFINITY),
        _ => {}
    }
    let digits = rest.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(rest);
    // What Rust reads beside digits, such as `inf` or a second sign, is no number in Java.
    let known = |it: char| it.is_ascii_digit() || matches!(it, '.' | 'e' | 'E' | '+' | '-');
    if !digits.starts_with(|it: char| it.is_ascii_digit() || it == '.')
        || !digits.chars().all(known)
    {
        return None;
    }
    digits.parse::<f64>().ok().map(|number| sign * number)
}

/// A fraction as Java shows it: always with a point, and with an exponent outside 0.001 to 10⁷.
fn shown_double(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(out, "{value}"),
            Self::Whole(value) => write!(out, "{value}"),
            Self::Double(value) => out.write_str(&shown_double(*value)),
            Self::Text(value) => out.write_str(value),
            Self::List(items) => out.write_str(&items.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_and_shown_as_in_kafka() {
        // Type, as typed, as shown; none is refused. Each row was compared with Apache's.
        let cases = [
            (Kind::Boolean, "TRUE", Some("true")),
            (Kind::Boolean, " False ", Some("false")),
            (Kind::Boolean, "yes", None),
            (Kind::Boolean, "", None),
            (Kind::Int, " 5 ", Some("5")),
            (Kind::Int, "007", Some("7")),
            (Kind::Int, "+7", Some("7")),
            (Kind::Int, "-0", Some("0")),
            (Kind::Int, "2147483648", None),
            (Kind::Int, "5.0", None),
            (Kind::Int, "1_000", None),
            (Kind::Int, "", None),
            (Kind::Short, "40000", None),
            (Kind::Long, "2147483648", Some("2147483648")),
            (Kind::Double, ".5", Some("0.5")),
            (Kind::Double, "1", Some("1.0")),
            (Kind::Double, "1e-5", Some("1.0E-5")),
            (Kind::Double, "12345678", Some("1.2345678E7")),
            (Kind::Double, "0.5d", Some("0.5")),
            (Kind::Double, "NaN", Some("NaN")),
            (Kind::Double, "nan", None),
            (Kind::Double, "inf", None),
            (Kind::Double, "--1", None),
            (Kind::Double, "-0", Some("-0.0")),
            (Kind::List, "a , b,c ", Some("a,b,c")),
            (Kind::List, " ", Some("")),
            (Kind::List, "a,,b", Some("a,,b")),
            (Kind::String, " a b ", Some("a b")),
            (Kind::Class, "a.b.C$D", Some("a.b.C$D")),
            (Kind::Class, "", None),
            (Kind::Class, "a b", None),
            (Kind::Class, "a..b", None),
            (Kind::Class, "5", None),
        ];
        for (kind, typed, shown) in cases {
            let value = Value::read(kind, typed).ok().map(|value| value.to_string());
            assert_eq!(value.as_deref(), shown, "{} {typed:?}", kind.name());
        }
    }
}
