//! Records of consumer groups in `__consumer_offsets`, key types 3, 5, 6, 7, 8 and 16 (KIP-848).

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ottla_protocol::group::{
    consumer_group_current_member_assignment_key as current_key,
    consumer_group_current_member_assignment_value as current,
    consumer_group_member_metadata_key as member_key, consumer_group_member_metadata_value as said,
    consumer_group_metadata_key as epoch_key, consumer_group_metadata_value as epoch,
    consumer_group_regular_expression_key as regex_key,
    consumer_group_regular_expression_value as regex,
    consumer_group_target_assignment_member_key as target_key,
    consumer_group_target_assignment_member_value as target,
    consumer_group_target_assignment_metadata_key as target_epoch_key,
    consumer_group_target_assignment_metadata_value as target_epoch,
};
use ottla_protocol::{
    DecodeError, Decoder, EncodeError, Message, decode_value, encode_key, encode_value,
};

use super::stored::{
    ClassicMetadata, ConsumerMember, CurrentAssignment, MemberState, Since, TopicIdPartitions,
};

type EpochKey = epoch_key::ConsumerGroupMetadataKey;
type EpochValue = epoch::ConsumerGroupMetadataValue;
type MemberKey = member_key::ConsumerGroupMemberMetadataKey;
type MemberValue = said::ConsumerGroupMemberMetadataValue;
type TargetEpochKey = target_epoch_key::ConsumerGroupTargetAssignmentMetadataKey;
type TargetEpochValue = target_epoch::ConsumerGroupTargetAssignmentMetadataValue;
type TargetKey = target_key::ConsumerGroupTargetAssignmentMemberKey;
type TargetValue = target::ConsumerGroupTargetAssignmentMemberValue;
type CurrentKey = current_key::ConsumerGroupCurrentMemberAssignmentKey;
type CurrentValue = current::ConsumerGroupCurrentMemberAssignmentValue;
type RegexKey = regex_key::ConsumerGroupRegularExpressionKey;
type RegexValue = regex::ConsumerGroupRegularExpressionValue;

/// Types of keys.
const EPOCH: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// One record of a consumer group; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub enum ConsumerRecord {
    /// The group epoch, and the hash of its topics.
    Epoch { group: String, value: Option<(i32, i64)> },
    /// A member's metadata.
    Member { group: String, member: String, value: Option<ConsumerMember> },
    /// The assignment epoch.
    TargetEpoch { group: String, value: Option<i32> },
    /// A member's target assignment.
    Target { group: String, member: String, value: Option<TopicIdPartitions> },
    /// A member's current assignment.
    Current { group: String, member: String, value: Option<CurrentAssignment> },
    /// The topics that a pattern was resolved to, as of a version of the topics.
    Regex { group: String, regex: String, value: Option<(BTreeSet<String>, i64)> },
}

impl ConsumerRecord {
    pub(super) fn epoch(group: &str, epoch: i32, hash: i64) -> Self {
        Self::Epoch { group: group.into(), value: Some((epoch, hash)) }
    }

    pub(super) fn current(group: &str, member: &str, value: CurrentAssignment) -> Self {
        Self::Current { group: group.into(), member: member.into(), value: Some(value) }
    }

    /// The tombstones that delete a member.
    pub(super) fn no_member(group: &str, member: &str) -> [Self; 3] {
        let (group, member) = (|| String::from(group), || String::from(member));
        [
            Self::Current { group: group(), member: member(), value: None },
            Self::Target { group: group(), member: member(), value: None },
            Self::Member { group: group(), member: member(), value: None },
        ]
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &str {
        match self {
            Self::Epoch { group, .. }
            | Self::Member { group, .. }
            | Self::TargetEpoch { group, .. }
            | Self::Target { group, .. }
            | Self::Current { group, .. }
            | Self::Regex { group, .. } => group,
        }
    }

    /// The record of a key of this type; `None` if the type is another's.
    ///
    /// # Errors
    /// Key or value are broken, or of a version that is not known.
    pub(crate) fn decode(
        kind: i16,
        key: &mut Decoder,
        value: Option<Bytes>,
    ) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match kind {
            EPOCH => {
                let value = decode_body::<EpochValue>(value)?;
                let group = EpochKey::decode(key, 0)?.group_id;
                Self::Epoch { group, value: value.map(|it| (it.epoch, it.metadata_hash)) }
            }
            MEMBER => {
                let key = MemberKey::decode(key, 0)?;
                let value = decode_body::<MemberValue>(value)?.map(member_from_record);
                Self::Member { group: key.group_id, member: key.member_id, value }
            }
            TARGET_EPOCH => {
                let value = decode_body::<TargetEpochValue>(value)?.map(|it| it.assignment_epoch);
                Self::TargetEpoch { group: TargetEpochKey::decode(key, 0)?.group_id, value }
            }
            TARGET => {
                let key = TargetKey::decode(key, 0)?;
                let places = |target: TargetValue| {
                    let all = target.topic_partitions.into_iter();
                    all.map(|it| (it.topic_id, it.partitions.into_iter().collect())).collect()
                };
                let value = decode_body::<TargetValue>(value)?.map(places);
                Self::Target { group: key.group_id, member: key.member_id, value }
            }
            CURRENT => {
                let key = CurrentKey::decode(key, 0)?;
                let value = decode_body::<CurrentValue>(value)?.map(assignment_from_record);
                Self::Current { group: key.group_id, member: key.member_id, value }
            }
            REGEX => {
                let key = RegexKey::decode(key, 0)?;
                let value = decode_body::<RegexValue>(value)?;
                let value = value.map(|it| (it.topics.into_iter().collect(), it.version));
                Self::Regex { group: key.group_id, regex: key.regular_expression, value }
            }
            _ => return Ok(None),
        }))
    }

    /// Key and value of the record.
    ///
    /// # Errors
    /// Only for texts that are longer than a request can have them.
    pub(crate) fn encode(&self, now_ms: i64) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let group_id = String::from(self.group());
        let none = Default::default;
        Ok(match self {
            Self::Epoch { value, .. } => {
                let key = encode_key(EPOCH, &EpochKey { group_id, unknown_tags: none() })?;
                let value = value.map(|(epoch, metadata_hash)| {
                    encode_value(&EpochValue { epoch, metadata_hash, ..none_of() }, 0)
                });
                (key, value.transpose()?)
            }
            Self::Member { member, value, .. } => {
                let member_id = member.clone();
                let key = encode_key(MEMBER, &MemberKey { group_id, member_id, ..none_of() })?;
                let value = value.as_ref().map(|it| encode_value(&member_to_record(it), 0));
                (key, value.transpose()?)
            }
            Self::TargetEpoch { value, .. } => {
                let key = encode_key(TARGET_EPOCH, &TargetEpochKey { group_id, ..none_of() })?;
                let value = value.map(|assignment_epoch| {
                    let assignment_timestamp = now_ms;
                    let value =
                        TargetEpochValue { assignment_epoch, assignment_timestamp, ..none_of() };
                    encode_value(&value, 0)
                });
                (key, value.transpose()?)
            }
            Self::Target { member, value, .. } => {
                let member_id = member.clone();
                let key = encode_key(TARGET, &TargetKey { group_id, member_id, ..none_of() })?;
                let value = value.as_ref().map(|places| {
                    let topic_partitions =
                        places.iter().map(|(topic, partitions)| target::TopicPartition {
                            topic_id: *topic,
                            partitions: partitions.iter().copied().collect(),
                            ..none_of()
                        });
                    let topic_partitions = topic_partitions.collect();
                    encode_value(&TargetValue { topic_partitions, ..none_of() }, 0)
                });
                (key, value.transpose()?)
            }
            Self::Current { member, value, .. } => {
                let member_id = member.clone();
                let key = encode_key(CURRENT, &CurrentKey { group_id, member_id, ..none_of() })?;
                let value = value.as_ref().map(|it| encode_value(&assignment_to_record(it), 0));
                (key, value.transpose()?)
            }
            Self::Regex { regex, value, .. } => {
                let regular_expression = regex.clone();
                let key = RegexKey { group_id, regular_expression, ..none_of() };
                let value = value.as_ref().map(|(topics, version)| {
                    let topics = topics.iter().cloned().collect();
                    let (version, timestamp) = (*version, now_ms);
                    encode_value(&RegexValue { topics, version, timestamp, ..none_of() }, 0)
                });
                (encode_key(REGEX, &key)?, value.transpose()?)
            }
        })
    }
}

fn none_of<T: Default>() -> T {
    T::default()
}

fn decode_body<M: Message>(value: Option<Bytes>) -> Result<Option<M>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let (version, mut d) = decode_value(value)?;
    M::decode(&mut d, version).map(Some)
}

fn member_from_record(it: MemberValue) -> ConsumerMember {
    ConsumerMember {
        instance: it.instance_id,
        rack: it.rack_id,
        client_id: it.client_id,
        client_host: it.client_host,
        topics: it.subscribed_topic_names.into_iter().collect(),
        regex: it.subscribed_topic_regex.filter(|it| !it.is_empty()),
        rebalance_timeout_ms: it.rebalance_timeout_ms,
        assignor: it.server_assignor,
        classic: it.classic_member_metadata.and_then(classic_from_record),
    }
}

/// A record without the field has its default, which has no protocols.
fn classic_from_record(it: said::ClassicMemberMetadata) -> Option<ClassicMetadata> {
    let all = it.supported_protocols.into_iter();
    let protocols: Vec<_> = all.map(|it| (it.name, it.metadata)).collect();
    let session_timeout_ms = it.session_timeout_ms;
    (!protocols.is_empty()).then_some(ClassicMetadata { session_timeout_ms, protocols })
}

fn member_to_record(it: &ConsumerMember) -> MemberValue {
    let protocol = |(name, metadata): &(String, Bytes)| said::ClassicProtocol {
        name: name.clone(),
        metadata: metadata.clone(),
        ..Default::default()
    };
    MemberValue {
        instance_id: it.instance.clone(),
        rack_id: it.rack.clone(),
        client_id: it.client_id.clone(),
        client_host: it.client_host.clone(),
        subscribed_topic_names: it.topics.iter().cloned().collect(),
        // Kafka writes an empty text where there is none.
        subscribed_topic_regex: Some(it.regex.clone().unwrap_or_default()),
        rebalance_timeout_ms: it.rebalance_timeout_ms,
        server_assignor: it.assignor.clone(),
        classic_member_metadata: it.classic.as_ref().map(|classic| said::ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            supported_protocols: classic.protocols.iter().map(protocol).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn assignment_from_record(it: CurrentValue) -> CurrentAssignment {
    let mut since = Since::new();
    let mut places = |all: Vec<current::TopicPartitions>| {
        let mut places = TopicIdPartitions::new();
        for topic in all {
            let known = topic.assignment_epochs.unwrap_or_default();
            let epochs = known.into_iter().chain(core::iter::repeat(it.member_epoch));
            let dated = topic.partitions.iter().copied().zip(epochs);
            since.entry(topic.topic_id).or_default().extend(dated);
            places.entry(topic.topic_id).or_default().extend(topic.partitions);
        }
        places
    };
    CurrentAssignment {
        epoch: it.member_epoch,
        previous: it.previous_member_epoch,
        state: MemberState::of(it.state),
        assigned: places(it.assigned_partitions),
        revoking: places(it.partitions_pending_revocation),
        since,
    }
}

fn assignment_to_record(it: &CurrentAssignment) -> CurrentValue {
    let all = |places: &TopicIdPartitions| {
        let one =
            |(topic, partitions): (&ottla_types::Uuid, &BTreeSet<i32>)| current::TopicPartitions {
                topic_id: *topic,
                partitions: partitions.iter().copied().collect(),
                assignment_epochs: Some(
                    partitions.iter().map(|at| it.since(*topic, *at).unwrap_or(it.epoch)).collect(),
                ),
                ..Default::default()
            };
        places.iter().map(one).collect()
    };
    CurrentValue {
        member_epoch: it.epoch,
        previous_member_epoch: it.previous,
        state: it.state as i8,
        assigned_partitions: all(&it.assigned),
        partitions_pending_revocation: all(&it.revoking),
        ..Default::default()
    }
}
