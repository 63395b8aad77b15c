//! What the console consumer prints of the records of internal topics: one object of JSON each.

use std::io::{Error, ErrorKind, Write};

use bytes::Bytes;
use ottla_client::Received;
use ottla_protocol::{DecodeError, Json, decode_key, decode_value, group, transaction};

/// Records of an internal topic, by the names of Kafka's formatters; others are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalFormatter {
    /// `OffsetsMessageFormatter`: committed offsets, in `__consumer_offsets`.
    Offsets,
    /// `GroupMetadataMessageFormatter`: groups of the classic protocol, in the same topic.
    Groups,
    /// `ShareGroupMessageFormatter`: share groups, in the same topic.
    ShareGroups,
    /// `TransactionLogMessageFormatter`: `__transaction_state`.
    Transactions,
}

impl InternalFormatter {
    /// By the name of Kafka's class, without its package.
    pub fn named(class: &str) -> Option<Self> {
        match class {
            "OffsetsMessageFormatter" => Some(Self::Offsets),
            "GroupMetadataMessageFormatter" => Some(Self::Groups),
            "ShareGroupMessageFormatter" => Some(Self::ShareGroups),
            "TransactionLogMessageFormatter" => Some(Self::Transactions),
            _ => None,
        }
    }

    /// Is a record with a key of this type printed?
    const fn prints(self, kind: i16) -> bool {
        match self {
            Self::Offsets => matches!(kind, 0 | 1),
            Self::Groups => kind == 2,
            Self::ShareGroups => matches!(kind, 10..=15),
            Self::Transactions => true,
        }
    }

    /// Prints a record, if it is of those that this formatter prints. Nothing divides one from the
    /// next, as with Kafka's tool.
    ///
    /// # Errors
    /// It cannot be written; or (`InvalidData`) it cannot be read.
    pub fn print(self, record: &Received, out: &mut dyn Write) -> std::io::Result<()> {
        let Some(key) = &record.key else { return Ok(()) };
        let json = self.json(key, record.value.as_ref()).map_err(|error| {
            let why = format!("Could not read record at offset {} due to: {error}", record.offset);
            Error::new(ErrorKind::InvalidData, why)
        })?;
        out.write_all(json.unwrap_or_default().as_bytes())
    }

    /// `None` for a record that is not to be printed.
    fn json(self, key: &Bytes, value: Option<&Bytes>) -> Result<Option<String>, DecodeError> {
        let (kind, mut d) = decode_key(key.clone())?;
        if !self.prints(kind) {
            return Ok(None);
        }
        let mut key_data = Json::default();
        let is_known = match self {
            Self::Transactions => {
                let key = transaction::Key::decode(kind, &mut d, 0)?;
                key.inspect(|key| key.to_json(&mut key_data, 0)).is_some()
            }
            Self::Offsets | Self::Groups | Self::ShareGroups => {
                let key = group::Key::decode(kind, &mut d, 0)?;
                key.inspect(|key| key.to_json(&mut key_data, 0)).is_some()
            }
        };
        if !is_known {
            return Ok(None);
        }
        let key = format!("{{\"type\":{kind},\"data\":{}}}", key_data.into_text());
        let value = value.map(|value| self.value(kind, value)).transpose()?;
        let value = value.unwrap_or_else(|| "null".to_owned());
        Ok(Some(format!("{{\"key\":{key},\"value\":{value}}}")))
    }

    fn value(self, kind: i16, value: &Bytes) -> Result<String, DecodeError> {
        let (version, mut d) = decode_value(value.clone())?;
        let mut data = Json::default();
        match self {
            Self::Transactions => {
                let value = transaction::Value::decode(kind, &mut d, version)?;
                value.inspect(|value| value.to_json(&mut data, version));
            }
            Self::Offsets | Self::Groups | Self::ShareGroups => {
                let value = group::Value::decode(kind, &mut d, version)?;
                value.inspect(|value| value.to_json(&mut data, version));
            }
        }
        Ok(format!("{{\"version\":{version},\"data\":{}}}", data.into_text()))
    }
}

#[cfg(test)]
mod tests {
    use ottla_client::TopicPartition;

    use super::*;

    fn printed(class: &str, key: &[u8], value: Option<&[u8]>) -> std::io::Result<String> {
        let record = Received {
            place: TopicPartition::new("__consumer_offsets", 3),
            offset: 9,
            leader_epoch: 0,
            timestamp: 1234,
            is_append_time: false,
            key: Some(Bytes::copy_from_slice(key)),
            value: value.map(Bytes::copy_from_slice),
            headers: Vec::new(),
        };
        let mut out = Vec::new();
        InternalFormatter::named(class).unwrap().print(&record, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn committed_offsets_are_objects_and_other_records_nothing() {
        // Type 1: group "g", topic "t", partition 2; version 3: offset 5, epoch -1, "m", a time.
        let key = b"\0\x01\0\x01g\0\x01t\0\0\0\x02";
        let value = b"\0\x03\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\0\x01m\0\0\0\0\0\0\0\x07";
        let name = "OffsetsMessageFormatter";
        let key_json =
            r#"{"key":{"type":1,"data":{"group":"g","topic":"t","partition":2}},"value":"#;
        assert_eq!(
            printed(name, key, Some(value)).unwrap(),
            format!(
                "{key_json}{}",
                r#"{"version":3,"data":{"offset":5,"leaderEpoch":-1,"metadata":"m","commitTimestamp":7}}}"#
            )
        );
        assert_eq!(printed(name, key, None).unwrap(), format!("{key_json}null}}"));
        for other in ["GroupMetadataMessageFormatter", "ShareGroupMessageFormatter"] {
            assert_eq!(printed(other, key, Some(value)).unwrap(), "");
        }
        // A type that does not exist is nothing, a record that is cut is an error.
        let unknown = b"\0\x63\0\x01g";
        assert_eq!(printed("TransactionLogMessageFormatter", unknown, None).unwrap(), "");
        let error = printed(name, key, Some(&value[..9])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().starts_with("Could not read record at offset 9 due to: "));
        assert!(printed(name, b"\0", None).is_err());
    }

    #[test]
    fn transactions_are_objects() {
        // Type 0: transactional id "x"; a tombstone.
        let name = "TransactionLogMessageFormatter";
        let found = printed(name, b"\0\0\0\x01x", None).unwrap();
        assert_eq!(found, r#"{"key":{"type":0,"data":{"transactionalId":"x"}},"value":null}"#);
    }
}
