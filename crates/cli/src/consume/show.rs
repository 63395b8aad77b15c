//! A record on paper: for people, as JSON, or as it is.

use std::borrow::Cow;
use std::io::Write;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ottla_client::Received;
use serde_json::Value;

use super::payload;
use crate::output::OutputFormat;

/// How records are printed.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// In which form.
    pub format: OutputFormat,
    /// With time, place, key and headers?
    pub is_verbose: bool,
    /// Key and value with this between them.
    pub key_separator: Option<String>,
    /// Is the output a terminal, so that bytes that are no text are shown as hex?
    pub is_terminal: bool,
}

/// Bytes that are text as they are, others as hex.
fn readable_bytes(part: Option<&Bytes>) -> String {
    let Some(bytes) = part else { return "null".to_owned() };
    let is_control = |it: char| it.is_control() && !matches!(it, '\n' | '\t' | '\r');
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(is_control) => text.to_owned(),
        _ => hex_text(bytes),
    }
}

fn hex_text(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
    format!("0x{digits}")
}

/// A key, value or header value in JSON, and in which encoding it stands there.
struct JsonPart<'a> {
    encoding: Option<&'static str>,
    text: Cow<'a, str>,
}

impl<'a> JsonPart<'a> {
    /// An object or list is JSON and stays as it was written, to the letter: numbers of any size,
    /// the order of keys, keys that come twice. Other text is a string, other bytes are a string in
    /// base64.
    fn of(part: Option<&'a Bytes>) -> Self {
        let Some(bytes) = part else { return Self { encoding: None, text: "null".into() } };
        let Ok(text) = std::str::from_utf8(bytes) else {
            let text = format!("\"{}\"", encode_base64(bytes)).into();
            return Self { encoding: Some("base64"), text };
        };
        match payload::structured(text) {
            Some(text) => Self { encoding: Some("json"), text },
            None => Self { encoding: Some("text"), text: quote_json(text).into() },
        }
    }
}

fn quote_json(text: &str) -> String {
    Value::from(text).to_string()
}

/// Bytes in base64, with padding (RFC 4648, section 4).
fn encode_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let all = three.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let all = all << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(all >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// A time in this machine's zone, which is named by its distance from UTC.
fn local_time(ms: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f%:z").to_string()
}

impl Style {
    /// Prints a record.
    pub(crate) fn print(&self, record: &Received, out: &mut impl Write) -> std::io::Result<()> {
        match self.format {
            OutputFormat::Json => writeln!(out, "{}", record_object(record)),
            _ if self.is_verbose => writeln!(out, "{}", record_line(record)),
            OutputFormat::Table if self.is_terminal => {
                if let Some(separator) = &self.key_separator {
                    write!(out, "{}{separator}", readable_bytes(record.key.as_ref()))?;
                }
                writeln!(out, "{}", readable_bytes(record.value.as_ref()))
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

/// A record in one line of JSON. It is written by hand, because payloads that are JSON must not
/// be read and written again.
fn record_object(record: &Received) -> String {
    let encoding =
        |part: &JsonPart<'_>| part.encoding.map_or_else(|| "null".to_owned(), quote_json);
    let header = |(name, value): &(String, Option<Bytes>)| {
        let value = JsonPart::of(value.as_ref());
        let (name, how) = (quote_json(name), encoding(&value));
        format!("{{\"name\":{name},\"value\":{},\"value_encoding\":{how}}}", value.text)
    };
    let headers: Vec<String> = record.headers.iter().map(header).collect();
    let (key, value) = (JsonPart::of(record.key.as_ref()), JsonPart::of(record.value.as_ref()));
    let kind = if record.is_append_time { "log_append_time" } else { "create_time" };
    format!(
        "{{\"topic\":{},\"partition\":{},\"offset\":{},\"timestamp_ms\":{},\"timestamp_type\":\"{kind}\",\"key\":{},\"key_encoding\":{},\"value\":{},\"value_encoding\":{},\"headers\":[{}]}}",
        quote_json(&record.place.topic),
        record.place.partition,
        record.offset,
        record.timestamp,
        key.text,
        encoding(&key),
        value.text,
        encoding(&value),
        headers.join(","),
    )
}

fn record_line(record: &Received) -> String {
    let mut parts =
        vec![local_time(record.timestamp), format!("{}@{}", record.place, record.offset)];
    if record.key.is_some() {
        parts.push(format!("key={}", readable_bytes(record.key.as_ref())));
    }
    parts.extend(
        record
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", readable_bytes(value.as_ref()))),
    );
    parts.push(readable_bytes(record.value.as_ref()));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use ottla_client::TopicPartition;
    use serde_json::json;

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
            format: OutputFormat::Table,
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
        let json = Style { format: OutputFormat::Json, ..plain };
        let object: Value = serde_json::from_str(&shown(&json, br#"{"a": [1]}"#)).unwrap();
        assert_eq!(object["value"], json!({"a": [1]}));
        assert_eq!((&object["timestamp_ms"], &object["offset"]), (&1234.into(), &9.into()));
        assert_eq!(
            object["headers"],
            json!([{"name": "h", "value": "x", "value_encoding": "text"}])
        );
        // What is in a record, and what stands in the line: value and encoding.
        let cases: [(&[u8], &str, &str); 9] = [
            (b"17", "\"17\"", "\"text\""),
            (b"", "\"\"", "\"text\""),
            (b"null", "\"null\"", "\"text\""),
            (b"say \"hi\"\n", "\"say \\\"hi\\\"\\n\"", "\"text\""),
            (b"\xff\x00", "\"/wA=\"", "\"base64\""),
            (
                b"{\"n\": 12345678901234567890123, \"f\": 1.10}",
                "{\"n\": 12345678901234567890123, \"f\": 1.10}",
                "\"json\"",
            ),
            (b"{\"b\":1,\"a\":2,\"b\":3}", "{\"b\":1,\"a\":2,\"b\":3}", "\"json\""),
            (b"{\"hex\": \"0xff\"}", "{\"hex\": \"0xff\"}", "\"json\""),
            (b"[1,", "\"[1,\"", "\"text\""),
        ];
        for (value, text, encoding) in cases {
            let line = shown(&json, value);
            let wanted = format!(",\"value\":{text},\"value_encoding\":{encoding},\"headers\":[");
            assert!(line.contains(&wanted), "{line}");
            assert!(line.contains("\"key\":\"\\u0001\",\"key_encoding\":\"text\""), "{line}");
            assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
            serde_json::from_str::<Value>(&line).unwrap();
        }
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"]
            .map(|it| encode_base64(it.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    #[test]
    fn a_time_says_its_zone() {
        let text = local_time(1_700_000_000_123);
        let zone = &text[text.len() - 6..];
        assert!(zone.starts_with(['+', '-']) && zone.as_bytes()[3] == b':', "{text}");
        let again: Timestamp = text.parse().unwrap();
        assert_eq!(again.as_millisecond(), 1_700_000_000_123);
    }
}
