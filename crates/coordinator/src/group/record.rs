//! What the machine writes down, in Kafka's records.

use alloc::string::String;

use bytes::Bytes;
use ottla_protocol::group::group_metadata_key::GroupMetadataKey;
use ottla_protocol::group::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use ottla_protocol::group::legacy_offset_commit_key::LegacyOffsetCommitKey;
use ottla_protocol::group::offset_commit_key::OffsetCommitKey;
use ottla_protocol::group::offset_commit_value::OffsetCommitValue;
use ottla_protocol::{DecodeError, Message, decode_key, decode_value, encode_key, encode_value};
use ottla_types::{ProducerEpoch, ProducerId, TimestampMs};

use super::consumer::ConsumerRecord;

/// Types of keys.
const OFFSET_OLD: i16 = 0;
const OFFSET: i16 = 1;
const GROUP: i16 = 2;
/// The versions that values are written in.
const OFFSET_VERSION: i16 = 4;
const GROUP_VERSION: i16 = 3;

/// More than what numbers and lengths take in a record, in bytes.
const FIXED_BYTES: usize = 96;

/// How a producer's transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionEnd {
    /// The producer.
    pub producer: (ProducerId, ProducerEpoch),
    /// Commit, or abort?
    pub commit: bool,
    /// The epoch of the coordinator that has decided it.
    pub coordinator_epoch: i32,
    /// Is the epoch larger than that of the transaction's records?
    pub is_bumped: bool,
}

/// One record of `__consumer_offsets`. Without a value it says that there is nothing any more.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRecord {
    /// A group's committed offset of a partition.
    Offset {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// Which of its partitions.
        partition: i32,
        /// The offset.
        value: Option<OffsetCommitValue>,
    },
    /// A group's offset of a partition, if a producer's transaction commits.
    Pending {
        /// The producer.
        producer: (ProducerId, ProducerEpoch),
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// Which of its partitions.
        partition: i32,
        /// The offset.
        value: OffsetCommitValue,
    },
    /// Of a group whose coordinator assigns.
    Consumer(ConsumerRecord),
    /// A producer's transaction has ended: a marker in the log, not a record with a key.
    Ended(TransactionEnd),
    /// A generation of a group.
    Group {
        /// The group.
        group: String,
        /// Its members.
        value: Option<GroupMetadataValue>,
    },
}

impl GroupRecord {
    /// The record of this key and value; `None` if it belongs to another kind of group.
    ///
    /// # Errors
    /// Key or value are broken.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, DecodeError> {
        let (kind, mut key) = decode_key(key)?;
        match kind {
            OFFSET_OLD => {
                let key = LegacyOffsetCommitKey::decode(&mut key, 0)?;
                let value = decode_body(value)?;
                let (group, topic, partition) = (key.group, key.topic, key.partition);
                Ok(Some(Self::Offset { group, topic, partition, value }))
            }
            OFFSET => {
                let key = OffsetCommitKey::decode(&mut key, 0)?;
                let value = decode_body(value)?;
                let (group, topic, partition) = (key.group, key.topic, key.partition);
                Ok(Some(Self::Offset { group, topic, partition, value }))
            }
            GROUP => {
                let key = GroupMetadataKey::decode(&mut key, 0)?;
                Ok(Some(Self::Group { group: key.group, value: decode_body(value)? }))
            }
            _ => Ok(ConsumerRecord::decode(kind, &mut key, value)?.map(Self::Consumer)),
        }
    }

    /// The same as part of the transaction of this producer: an offset is pending, other records
    /// are as they were.
    #[must_use]
    pub fn in_transaction(self, id: ProducerId, epoch: ProducerEpoch) -> Self {
        let producer = (id, epoch);
        match self {
            Self::Offset { group, topic, partition, value: Some(value) } => {
                Self::Pending { producer, group, topic, partition, value }
            }
            other => other,
        }
    }

    /// About how many bytes it takes in the log, not less than it does.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Ended(_) => FIXED_BYTES,
            Self::Offset { group, topic, value, .. } => {
                let note = value.as_ref().map_or(0, |it| it.metadata.len());
                FIXED_BYTES + group.len() + topic.len() + note
            }
            Self::Pending { group, topic, value, .. } => {
                FIXED_BYTES + group.len() + topic.len() + value.metadata.len()
            }
            Self::Group { group, value } => {
                let members = value.iter().flat_map(|it| &it.members);
                let member = |member: &MemberMetadata| {
                    let instance = member.group_instance_id.as_ref().map_or(0, String::len);
                    FIXED_BYTES
                        + member.member_id.len()
                        + instance
                        + member.client_id.len()
                        + member.client_host.len()
                        + member.subscription.len()
                        + member.assignment.len()
                };
                let names = |metadata: &GroupMetadataValue| {
                    let names = [metadata.protocol.as_ref(), metadata.leader.as_ref()];
                    metadata.protocol_type.len()
                        + names.iter().flatten().map(|it| it.len()).sum::<usize>()
                };
                let head = FIXED_BYTES + group.len() + value.as_ref().map_or(0, names);
                head + members.map(member).sum::<usize>()
            }
            Self::Consumer(record) => {
                let (key, value) = record.encode(0).unwrap_or_default();
                FIXED_BYTES + key.len() + value.map_or(0, |it| it.len())
            }
        }
    }

    /// Key and value of the record; a marker has none.
    #[must_use]
    pub fn encode(&self, now_ms: TimestampMs) -> (Bytes, Option<Bytes>) {
        let fits = "a group's texts came in a request and fit a record";
        // No text here is longer than those that came in a request, and no version lacks a form.
        let key = match self {
            Self::Ended(_) => return (Bytes::new(), None),
            Self::Consumer(record) => return record.encode(now_ms).expect(fits),
            Self::Offset { group, topic, partition, .. }
            | Self::Pending { group, topic, partition, .. } => {
                let key = OffsetCommitKey {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    ..Default::default()
                };
                encode_key(OFFSET, &key)
            }
            Self::Group { group, .. } => {
                let key = GroupMetadataKey { group: group.clone(), ..Default::default() };
                encode_key(GROUP, &key)
            }
        };
        let value = match self {
            Self::Ended(_) | Self::Consumer(_) => None,
            Self::Pending { value, .. } => Some(encode_value(value, OFFSET_VERSION)),
            Self::Offset { value, .. } => {
                value.as_ref().map(|value| encode_value(value, OFFSET_VERSION))
            }
            Self::Group { value, .. } => {
                value.as_ref().map(|value| encode_value(value, GROUP_VERSION))
            }
        };
        (key.expect(fits), value.map(|value| value.expect(fits)))
    }
}

fn decode_body<M: Message>(value: Option<Bytes>) -> Result<Option<M>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let (version, mut d) = decode_value(value)?;
    M::decode(&mut d, version).map(Some)
}
