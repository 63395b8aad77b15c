//! Records of internal topics, in words.

use bytes::Bytes;
use ottla_protocol::group;
use ottla_protocol::group::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::shared::consumer_protocol_assignment::ConsumerProtocolAssignment;
use ottla_protocol::shared::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ottla_protocol::{
    DecodeError, Decoder as Reader, Json, Message, ToJson, decode_key, decode_value,
};
use ottla_records::Record;

/// What the records of a log are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordDecoder {
    /// Records of no internal topic: shown as text.
    Text,
    /// `__consumer_offsets`.
    Groups,
    /// `__transaction_state`.
    Transactions,
    /// `__share_group_state`.
    Shares,
    /// `__cluster_metadata`.
    Metadata,
}

/// Key and value of a record, as far as they are to be shown.
pub(crate) fn record_texts(
    decoder: RecordDecoder,
    record: &Record<'_>,
) -> (Option<String>, Option<String>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let decoded = match decoder {
        RecordDecoder::Text => return (record.key.map(text), record.value.map(text)),
        RecordDecoder::Metadata => return (None, record.value.map(metadata_text)),
        RecordDecoder::Groups => coordinator_texts::<Groups>(record),
        RecordDecoder::Transactions => coordinator_texts::<Transactions>(record),
        RecordDecoder::Shares => coordinator_texts::<Shares>(record),
    };
    match decoded {
        Ok(Some((key, value))) => (Some(key), Some(value)),
        Ok(None) => (Some("<UNKNOWN>".to_owned()), Some("<UNKNOWN>".to_owned())),
        Err(error) => (Some(format!("({error})")), record.value.map(text)),
    }
}

fn metadata_text(value: &[u8]) -> String {
    let read = || {
        let mut d = Reader::new(Bytes::copy_from_slice(value));
        let (_frame, kind, version) = (d.uvarint()?, d.uvarint()?, d.uvarint()?);
        let short = |number: u32| i16::try_from(number).unwrap_or(i16::MAX);
        let (kind, version) = (short(kind), short(version));
        let record = MetadataRecord::decode(kind, &mut d, version)?;
        Ok::<_, DecodeError>(record.map(|record| (record, version)))
    };
    match read() {
        Ok(Some((record, version))) => {
            let mut json = Json::default();
            json.object(|json| {
                json.field("type", |json| json.string(&screaming_case(record.name())));
                json.field("version", |json| json.plain(version));
                json.field("data", |json| record.to_json(json, version));
            });
            json.into_text()
        }
        Ok(None) => "(unknown record type)".to_owned(),
        Err(error) => format!("({error})"),
    }
}

/// `NoOpRecord` as `NO_OP_RECORD`.
fn screaming_case(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

/// The keys and values of one internal topic.
trait StoredTopic {
    fn key(kind: i16, d: &mut Reader, json: &mut Json) -> Result<bool, DecodeError>;
    fn value(kind: i16, d: &mut Reader, version: i16, json: &mut Json) -> Result<(), DecodeError>;
}

macro_rules! stored {
    ($name:ident, $module:ident, $show:expr) => {
        struct $name;

        impl StoredTopic for $name {
            fn key(kind: i16, d: &mut Reader, json: &mut Json) -> Result<bool, DecodeError> {
                let key = ottla_protocol::$module::Key::decode(kind, d, 0)?;
                if let Some(key) = &key {
                    key.to_json(json, 0);
                }
                Ok(key.is_some())
            }

            fn value(
                kind: i16,
                d: &mut Reader,
                version: i16,
                json: &mut Json,
            ) -> Result<(), DecodeError> {
                let value = ottla_protocol::$module::Value::decode(kind, d, version)?;
                if let Some(value) = &value {
                    $show(value, json, version);
                }
                Ok(())
            }
        }
    };
}

stored!(Groups, group, group_json);
stored!(Transactions, transaction, ottla_protocol::transaction::Value::to_json);
stored!(Shares, share, ottla_protocol::share::Value::to_json);

/// The metadata of a consumer group's members is decoded too, not shown as bytes.
fn group_json(value: &group::Value, json: &mut Json, version: i16) {
    match value {
        group::Value::GroupMetadata(it) if it.protocol_type == "consumer" => {
            json.object(|json| classic_group(it, json, version));
        }
        other => other.to_json(json, version),
    }
}

fn classic_group(it: &GroupMetadataValue, json: &mut Json, version: i16) {
    let text = |json: &mut Json, text: &String| json.string(text);
    json.field("protocolType", |json| json.string(&it.protocol_type));
    json.field("generation", |json| json.plain(it.generation));
    json.field("protocol", |json| json.nullable(it.protocol.as_ref(), text));
    json.field("leader", |json| json.nullable(it.leader.as_ref(), text));
    if version >= 2 {
        json.field("currentStateTimestamp", |json| json.plain(it.current_state_timestamp));
    }
    let member = |json: &mut Json, member: &MemberMetadata| {
        json.field("memberId", |json| json.string(&member.member_id));
        if version >= 3 {
            let instance = member.group_instance_id.as_ref();
            json.field("groupInstanceId", |json| json.nullable(instance, text));
        }
        json.field("clientId", |json| json.string(&member.client_id));
        json.field("clientHost", |json| json.string(&member.client_host));
        if version >= 1 {
            json.field("rebalanceTimeout", |json| json.plain(member.rebalance_timeout));
        }
        json.field("sessionTimeout", |json| json.plain(member.session_timeout));
        let (wishes, given) = (member.subscription.clone(), member.assignment.clone());
        json.field("subscription", |json| {
            versioned_json::<ConsumerProtocolSubscription>(wishes, json)
        });
        json.field("assignment", |json| versioned_json::<ConsumerProtocolAssignment>(given, json));
    };
    json.field("members", |json| {
        json.array(&it.members, |json, it| json.object(|json| member(json, it)));
    });
}

/// A message behind its version, or its bytes if they cannot be decoded.
fn versioned_json<M: Message + ToJson>(bytes: Bytes, json: &mut Json) {
    let read = || {
        let (version, mut d) = decode_value(bytes.clone())?;
        // What a newer client says beyond what is known is left out.
        let version = version.min(*M::VERSIONS.end());
        Ok::<_, DecodeError>((M::decode(&mut d, version)?, version))
    };
    match read() {
        Ok((message, version)) => message.to_json(json, version),
        Err(_) => json.bytes(&bytes),
    }
}

/// Key and value; `None` if the key's type is not known.
fn coordinator_texts<S: StoredTopic>(
    record: &Record<'_>,
) -> Result<Option<(String, String)>, DecodeError> {
    let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
    let (kind, mut d) = decode_key(key)?;
    let mut data = Json::default();
    if !S::key(kind, &mut d, &mut data)? {
        return Ok(None);
    }
    let key = format!("{{\"type\":\"{kind}\",\"data\":{}}}", data.into_text());
    let Some(value) = record.value else { return Ok(Some((key, "<DELETE>".to_owned()))) };
    let (version, mut d) = decode_value(Bytes::copy_from_slice(value))?;
    let mut data = Json::default();
    S::value(kind, &mut d, version, &mut data)?;
    let value = format!("{{\"version\":\"{version}\",\"data\":{}}}", data.into_text());
    Ok(Some((key, value)))
}
