//! A record on paper: for people, as JSON, or as it is.

use std::io::Write;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ottla_client::Received;
use serde_json::{Value, json};

use crate::output::Format;

/// How records are printed.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// In which form.
    pub format: Format,
    /// With time, place, key and headers?
    pub is_verbose: bool,
    /// Key and value with this between them.
    pub key_separator: Option<String>,
    /// Does somebody look, so that bytes that are no text are shown as hex?
    pub is_terminal: bool,
}

/// Bytes that are text as they are, others as hex.
fn readable(part: Option<&Bytes>) -> String {
    let Some(bytes) = part else { return "null".to_owned() };
    let is_control = |it: char| it.is_control() && !matches!(it, '\n' | '\t' | '\r');
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(is_control) => text.to_owned(),
        _ => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
    format!("0x{digits}")
}

/// JSON as JSON, other text as text, other bytes as an object with their hex digits.
fn decoded(part: Option<&Bytes>) -> Value {
    let Some(bytes) = part else { return Value::Null };
    // A number or a word alone is text that happens to be JSON.
    let is_structured = matches!(bytes.first(), Some(b'{' | b'['));
    if is_structured && let Ok(value) = serde_json::from_slice(bytes) {
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "hex": hex(bytes) }),
    }
}

/// A time in the zone of the reader.
fn time(ms: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

impl Style {
    /// Prints a record.
    pub(crate) fn print(&self, record: &Received, out: &mut impl Write) -> std::io::Result<()> {
        match self.format {
            Format::Json => writeln!(out, "{}", object(record)),
            _ if self.is_verbose => writeln!(out, "{}", line(record)),
            Format::Table if self.is_terminal => {
                if let Some(separator) = &self.key_separator {
                    write!(out, "{}{separator}", readable(record.key.as_ref()))?;
                }
                writeln!(out, "{}", readable(record.value.as_ref()))
            }
            _ => {
                if let Some(separator) = &self.key_separator {
                    out.write_all(record.key.as_deref().unwrap_or_default())?;
                    out.write_all(separator.as_bytes())?;
                }
                out.write_all(record.value.as_deref().unwrap_or_default())?;
                out.write_all(b"\n")
            }
        }
    }
}

fn object(record: &Received) -> Value {
    let header = |(name, value): &(String, Option<Bytes>)| json!({ "name": name, "value": decoded(value.as_ref()) });
    json!({
        "topic": &*record.place.topic,
        "partition": record.place.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": decoded(record.key.as_ref()),
        "value": decoded(record.value.as_ref()),
        "headers": record.headers.iter().map(header).collect::<Vec<_>>(),
    })
}

fn line(record: &Received) -> String {
    let mut parts = vec![time(record.timestamp), format!("{}@{}", record.place, record.offset)];
    if record.key.is_some() {
        parts.push(format!("key={}", readable(record.key.as_ref())));
    }
    parts.extend(
        record.headers.iter().map(|(name, value)| format!("{name}={}", readable(value.as_ref()))),
    );
    parts.push(readable(record.value.as_ref()));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use ottla_client::TopicPartition;

    use super::*;

    fn shown(style: &Style, value: &'static [u8]) -> String {
        let record = Received {
            place: TopicPartition::new("t", 3),
            offset: 9,
            leader_epoch: 0,
            timestamp: 1234,
            is_append_time: false,
            key: Some(Bytes::from_static(b"\x01")),
            value: Some(Bytes::from_static(value)),
            headers: vec![("h".to_owned(), Some(Bytes::from("x")))],
        };
        let mut out = Vec::new();
        style.print(&record, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn records_are_shown_as_their_reader_wants_them() {
        let plain = Style {
            format: Format::Table,
            is_verbose: false,
            key_separator: None,
            is_terminal: false,
        };
        assert_eq!(shown(&plain, b"v"), "v\n");
        let seen =
            Style { is_terminal: true, key_separator: Some("=".to_owned()), ..plain.clone() };
        assert_eq!(shown(&seen, b"\xff\x00"), "0x01=0xff00\n");
        let all = Style { is_verbose: true, ..plain.clone() };
        let line = shown(&all, b"v");
        assert!(line.ends_with("t-3@9  key=0x01  h=x  v\n"), "{line}");
        let json = Style { format: Format::Json, ..plain };
        let object: Value = serde_json::from_str(&shown(&json, br#"{"a": [1]}"#)).unwrap();
        assert_eq!(object["value"], json!({"a": [1]}));
        assert_eq!(object["headers"], json!([{"name": "h", "value": "x"}]));
        let object: Value = serde_json::from_str(&shown(&json, b"\xff")).unwrap();
        assert_eq!(object["value"], json!({"hex": "0xff"}));
        let object: Value = serde_json::from_str(&shown(&json, b"17")).unwrap();
        assert_eq!(object["value"], json!("17"));
    }
}
