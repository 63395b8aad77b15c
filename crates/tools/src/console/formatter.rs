//! What the console consumer prints of a record, as Kafka's DefaultMessageFormatter does.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Write};

use bytes::Bytes;
use ottla_client::Received;

use super::stored::InternalFormatter;
use super::{is_on, java};
use crate::session::{ToolError, tool_failed};

/// What the bytes of a key, a value or a header are, by the names of Kafka's deserializers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Deserializer {
    /// Bytes that are printed as they are.
    #[default]
    Plain,
    Text,
    /// Bytes of which the printable ones are shown as letters.
    Bytes,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
}

impl Deserializer {
    /// The kind that a class stands for; with or without its package.
    fn named(class: &str) -> Result<Self, ToolError> {
        let name = class.rsplit('.').next().unwrap_or(class);
        Ok(match name.strip_suffix("Deserializer").unwrap_or(name) {
            "String" => Self::Text,
            "ByteArray" | "ByteBuffer" => Self::Plain,
            "Bytes" => Self::Bytes,
            "Short" => Self::Short,
            "Integer" => Self::Integer,
            "Long" => Self::Long,
            "Float" => Self::Float,
            "Double" => Self::Double,
            "Boolean" => Self::Boolean,
            "UUID" => Self::Uuid,
            _ => {
                return Err(tool_failed(format!(
                    "deserializer {class} is not supported; those for String, ByteArray, Bytes, Short, Integer, Long, Float, Double, Boolean and UUID are"
                )));
            }
        })
    }

    /// Bytes of this kind, for reading; others are an error, as to Kafka's tool.
    fn shown(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let wrong = || {
            Error::new(
                ErrorKind::InvalidData,
                format!("{} bytes are not a valid {self:?}", bytes.len()),
            )
        };
        let size = |_| wrong();
        let text = match self {
            Self::Plain => return Ok(bytes.to_vec()),
            Self::Text => java::text(bytes).into_owned(),
            Self::Bytes => escape_bytes(bytes),
            Self::Short => i16::from_be_bytes(bytes.try_into().map_err(size)?).to_string(),
            Self::Integer => i32::from_be_bytes(bytes.try_into().map_err(size)?).to_string(),
            Self::Long => i64::from_be_bytes(bytes.try_into().map_err(size)?).to_string(),
            Self::Float => {
                java::float(&format!("{:e}", f32::from_be_bytes(bytes.try_into().map_err(size)?)))
            }
            Self::Double => {
                java::float(&format!("{:e}", f64::from_be_bytes(bytes.try_into().map_err(size)?)))
            }
            Self::Boolean => match bytes {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                _ => return Err(wrong()),
            },
            Self::Uuid => uuid_text(bytes).ok_or_else(wrong)?,
        };
        Ok(text.into_bytes())
    }
}

/// Bytes with `\xNN` for each that is no printable letter of ASCII.
fn escape_bytes(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b' '..=b'~' if *byte != b'\\' => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

/// A UUID of five groups of hexadecimal digits, each filled up to its length.
fn uuid_text(bytes: &[u8]) -> Option<String> {
    const LENGTHS: [usize; 5] = [8, 4, 4, 4, 12];
    let text = std::str::from_utf8(bytes).ok()?;
    let groups: Vec<&str> = text.split('-').collect();
    if groups.len() != LENGTHS.len() {
        return None;
    }
    let one = |(group, length): (&&str, usize)| {
        let is_good =
            (1..=length).contains(&group.len()) && group.bytes().all(|it| it.is_ascii_hexdigit());
        is_good.then(|| format!("{:0>length$}", group.to_ascii_lowercase()))
    };
    let all: Option<Vec<String>> = groups.iter().zip(LENGTHS).map(one).collect();
    Some(all?.join("-"))
}

/// The formatters that are known, by the names of Kafka's classes.
pub const FORMATTERS: &str = "DefaultMessageFormatter, LoggingMessageFormatter, NoOpMessageFormatter, OffsetsMessageFormatter, GroupMetadataMessageFormatter, ShareGroupMessageFormatter and TransactionLogMessageFormatter";

/// What is printed of a record.
pub struct Formatter {
    /// Nothing at all.
    silent: bool,
    /// The records of an internal topic, and nothing else.
    stored: Option<InternalFormatter>,
    key_kind: Deserializer,
    value_kind: Deserializer,
    header_kind: Deserializer,
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    header_separator: Vec<u8>,
    null: Vec<u8>,
}

impl Formatter {
    /// A formatter with these settings.
    ///
    /// # Errors
    /// A deserializer is not known here.
    pub fn new(settings: &BTreeMap<String, String>) -> Result<Self, ToolError> {
        let kind = |name| {
            settings.get(name).map_or(Ok(Deserializer::Plain), |class| Deserializer::named(class))
        };
        let text = |name: &str, or: &str| settings.get(name).map_or(or, String::as_str).into();
        if let Some((name, value)) = settings.iter().find(|(name, value)| {
            name.ends_with("deserializer.encoding") && !value.trim().eq_ignore_ascii_case("UTF-8")
        }) {
            return Err(tool_failed(format!("{name}={value}: only UTF-8 is supported")));
        }
        Ok(Self {
            silent: false,
            stored: None,
            key_kind: kind("key.deserializer")?,
            value_kind: kind("value.deserializer")?,
            header_kind: kind("headers.deserializer")?,
            timestamp: is_on(settings, "print.timestamp"),
            partition: is_on(settings, "print.partition"),
            offset: is_on(settings, "print.offset"),
            delivery: is_on(settings, "print.delivery"),
            epoch: is_on(settings, "print.epoch"),
            headers: is_on(settings, "print.headers"),
            key: is_on(settings, "print.key"),
            value: !settings.contains_key("print.value") || is_on(settings, "print.value"),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            header_separator: text("headers.separator", ","),
            null: text("null.literal", "null"),
        })
    }

    /// The formatter of a class, by its name; with these settings if it has some.
    ///
    /// # Errors
    /// The class is not known here.
    pub fn of_class(
        class: Option<&str>,
        settings: &BTreeMap<String, String>,
    ) -> Result<Self, ToolError> {
        let mut formatter = Self::new(settings)?;
        match class.and_then(|it| it.rsplit('.').next()) {
            // The logging one prints the same, and logs below the level that Kafka's tools show.
            None | Some("DefaultMessageFormatter" | "LoggingMessageFormatter") => {}
            Some("NoOpMessageFormatter") => formatter.silent = true,
            Some(class) => {
                formatter.stored = Some(InternalFormatter::named(class).ok_or_else(|| {
                    tool_failed(format!("--formatter {class}: only {FORMATTERS} are supported"))
                })?);
            }
        }
        Ok(formatter)
    }

    /// Prints a record.
    ///
    /// # Errors
    /// It cannot be written; or (`InvalidData`) it is not what the settings say it is, and then
    /// no part of it has been written.
    pub fn print(&self, record: &Received, out: &mut dyn Write) -> std::io::Result<()> {
        if let Some(stored) = self.stored {
            return stored.print(record, out);
        }
        let parts = if self.silent { Vec::new() } else { self.parts(record)? };
        // With all print options off nothing is printed, and no empty lines either.
        if parts.is_empty() {
            return Ok(());
        }
        out.write_all(&parts.join(&*self.key_separator))?;
        out.write_all(&self.line_separator)
    }

    fn parts(&self, record: &Received) -> std::io::Result<Vec<Vec<u8>>> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let kind = if record.is_append_time { "LogAppendTime" } else { "CreateTime" };
            parts.push(format!("{kind}:{}", record.timestamp).into());
        }
        if self.partition {
            parts.push(format!("Partition:{}", record.place.partition).into());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset).into());
        }
        // Kafka's console consumer knows neither, and says so.
        if self.delivery {
            parts.push(b"Delivery:NOT_PRESENT".to_vec());
        }
        if self.epoch {
            parts.push(b"Epoch:NOT_PRESENT".to_vec());
        }
        if self.headers {
            parts.push(self.headers(record)?);
        }
        if self.key {
            parts.push(self.shown(self.key_kind, record.key.as_ref())?);
        }
        if self.value {
            parts.push(self.shown(self.value_kind, record.value.as_ref())?);
        }
        Ok(parts)
    }

    fn headers(&self, record: &Received) -> std::io::Result<Vec<u8>> {
        if record.headers.is_empty() {
            return Ok(b"NO_HEADERS".to_vec());
        }
        let one = |(name, value): &(String, Option<Bytes>)| {
            let value = self.shown(self.header_kind, value.as_ref())?;
            Ok([name.as_bytes(), b":", &value].concat())
        };
        let all: std::io::Result<Vec<Vec<u8>>> = record.headers.iter().map(one).collect();
        Ok(all?.join(&*self.header_separator))
    }

    fn shown(&self, kind: Deserializer, part: Option<&Bytes>) -> std::io::Result<Vec<u8>> {
        part.map_or_else(|| Ok(self.null.clone()), |bytes| kind.shown(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::TopicPartition;

    fn formatter(text: &str) -> Result<Formatter, ToolError> {
        let pairs = text.split(';').filter_map(|it| it.split_once('='));
        Formatter::new(&pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
    }

    fn record() -> Received {
        Received {
            place: TopicPartition::new("t", 3),
            offset: 9,
            leader_epoch: 0,
            timestamp: 1234,
            is_append_time: false,
            key: None,
            value: Some(Bytes::from("v")),
            headers: vec![("h".to_owned(), Some(Bytes::from("x"))), ("i".to_owned(), None)],
        }
    }

    #[test]
    fn records_become_lines() {
        let all = "print.key=TRUE;print.headers= true;print.timestamp=true;print.offset=true;print.partition=true;print.delivery=true;print.epoch=true";
        // Settings, and what Apache Kafka 4.3.1 prints.
        for (text, right) in [
            (
                all,
                "CreateTime:1234\tPartition:3\tOffset:9\tDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\th:x,i:null\tnull\tv\n",
            ),
            ("print.key=true;key.separator=-;null.literal=?;line.separator=;", "?-v"),
            ("print.headers=true;headers.separator=;", "h:xi:null\tv\n"),
            ("print.key=true;key.separator=\\t", "null\\tv\n"),
            ("print.value=false", ""),
            ("print.value=no;print.key=true", "null\n"),
            ("print.key=yes", "v\n"),
            ("", "v\n"),
        ] {
            let mut out = Vec::new();
            formatter(text).unwrap().print(&record(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), right, "{text}");
        }
        let old = Received { timestamp: -1, is_append_time: false, ..record() };
        let mut out = Vec::new();
        formatter("print.timestamp=true").unwrap().print(&old, &mut out).unwrap();
        assert_eq!(out, b"CreateTime:-1\tv\n");
    }

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        let shown = |class: &str, bytes: &[u8]| {
            Deserializer::named(class)
                .unwrap()
                .shown(bytes)
                .map(|it| String::from_utf8(it).unwrap())
                .ok()
        };
        let long = "org.apache.kafka.common.serialization.LongDeserializer";
        for (class, bytes, right) in [
            (long, &7i64.to_be_bytes()[..], Some("7")),
            (long, b"v", None),
            ("Integer", &(-2i32).to_be_bytes(), Some("-2")),
            ("Short", &[1, 0], Some("256")),
            ("Double", &1.5f64.to_be_bytes(), Some("1.5")),
            ("Double", &1e10f64.to_be_bytes(), Some("1.0E10")),
            ("Float", &0.25f32.to_be_bytes(), Some("0.25")),
            ("Boolean", &[1], Some("true")),
            ("Boolean", &[0], Some("false")),
            ("Boolean", &[2], None),
            ("String", b"a\xff", Some("a\u{fffd}")),
            ("Bytes", b"a\\\x00\xff", Some("a\\x5C\\x00\\xFF")),
            ("UUID", b"1-2-3-4-ABC", Some("00000001-0002-0003-0004-000000000abc")),
            ("UUID", b"1-2-3-4", None),
        ] {
            assert_eq!(shown(class, bytes).as_deref(), right, "{class} {bytes:?}");
        }
        assert!(formatter("value.deserializer=a.b.ListDeserializer").is_err());
        assert!(formatter("value.deserializer.deserializer.encoding=UTF-16").is_err());
    }

    #[test]
    fn a_record_that_cannot_be_shown_is_not_shown_in_part() {
        let formatter = formatter("print.offset=true;value.deserializer=Long").unwrap();
        let mut out = Vec::new();
        let error = formatter.print(&record(), &mut out).unwrap_err();
        assert_eq!((error.kind(), out.len()), (ErrorKind::InvalidData, 0));
    }
}
