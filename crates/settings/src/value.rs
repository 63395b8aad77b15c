//! The value of a setting: read as Kafka reads it, shown as Kafka shows it.
//!
//! Every door goes through here: the file of a node, the creation of a topic, each change of a
//! setting. What is accepted is therefore what is obeyed: `TRUE` is true, `007` is 7.

use std::fmt;

use crate::table::ConfigType;

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
    pub fn read(kind: ConfigType, text: &str) -> Result<Self, String> {
        // Java's trim takes away every character up to the blank.
        let text = text.trim_matches(|it| it <= ' ');
        let no_number = || format!("Not a number of type {}", kind.name().to_uppercase());
        let whole = |number: Option<i64>| number.map(Self::Whole).ok_or_else(no_number);
        match kind {
            ConfigType::Boolean if text.eq_ignore_ascii_case("true") => Ok(Self::Boolean(true)),
            ConfigType::Boolean if text.eq_ignore_ascii_case("false") => Ok(Self::Boolean(false)),
            ConfigType::Boolean => Err("Expected value to be either true or false".to_owned()),
            ConfigType::Short => whole(text.parse::<i16>().ok().map(Into::into)),
            ConfigType::Int => whole(text.parse::<i32>().ok().map(Into::into)),
            ConfigType::Long => whole(text.parse().ok()),
            ConfigType::Double => java_double(text).map(Self::Double).ok_or_else(no_number),
            ConfigType::List if text.is_empty() => Ok(Self::List(Vec::new())),
            ConfigType::List => Ok(Self::List(text.split(',').map(list_item).collect())),
            ConfigType::Class if !is_class_name(text) => {
                Err(format!("Class {text} could not be found."))
            }
            ConfigType::String | ConfigType::Class | ConfigType::Password => {
                Ok(Self::Text(text.to_owned()))
            }
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
fn list_item(text: &str) -> String {
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
            (ConfigType::Boolean, "TRUE", Some("true")),
            (ConfigType::Boolean, " False ", Some("false")),
            (ConfigType::Boolean, "yes", None),
            (ConfigType::Boolean, "", None),
            (ConfigType::Int, " 5 ", Some("5")),
            (ConfigType::Int, "007", Some("7")),
            (ConfigType::Int, "+7", Some("7")),
            (ConfigType::Int, "-0", Some("0")),
            (ConfigType::Int, "2147483648", None),
            (ConfigType::Int, "5.0", None),
            (ConfigType::Int, "1_000", None),
            (ConfigType::Int, "", None),
            (ConfigType::Short, "40000", None),
            (ConfigType::Long, "2147483648", Some("2147483648")),
            (ConfigType::Double, ".5", Some("0.5")),
            (ConfigType::Double, "1", Some("1.0")),
            (ConfigType::Double, "1e-5", Some("1.0E-5")),
            (ConfigType::Double, "12345678", Some("1.2345678E7")),
            (ConfigType::Double, "0.5d", Some("0.5")),
            (ConfigType::Double, "NaN", Some("NaN")),
            (ConfigType::Double, "nan", None),
            (ConfigType::Double, "inf", None),
            (ConfigType::Double, "--1", None),
            (ConfigType::Double, "-0", Some("-0.0")),
            (ConfigType::List, "a , b,c ", Some("a,b,c")),
            (ConfigType::List, " ", Some("")),
            (ConfigType::List, "a,,b", Some("a,,b")),
            (ConfigType::String, " a b ", Some("a b")),
            (ConfigType::Class, "a.b.C$D", Some("a.b.C$D")),
            (ConfigType::Class, "", None),
            (ConfigType::Class, "a b", None),
            (ConfigType::Class, "a..b", None),
            (ConfigType::Class, "5", None),
        ];
        for (kind, typed, shown) in cases {
            let value = Value::read(kind, typed).ok().map(|value| value.to_string());
            assert_eq!(value.as_deref(), shown, "{} {typed:?}", kind.name());
        }
    }
}
