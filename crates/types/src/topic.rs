//! Topic names: which are legal, which are ours.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::PartitionIndex;

/// The topic that holds groups and committed offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic that holds transactions.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// The topic that holds the state of share groups.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The metadata log.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// The longest name that a topic may have, in bytes.
pub const TOPIC_NAME_LENGTH_MAX: usize = 249;

/// One partition of one topic, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: PartitionIndex) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Why a topic may not have this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidTopicName {
    /// The name is empty.
    Empty,
    /// The name is `.` or `..`, which a directory may not be called.
    Dots,
    /// The name is longer than 249 characters.
    TooLong {
        /// How many characters it has.
        length: usize,
    },
    /// A character is outside ASCII letters, digits, `.`, `_` and `-`.
    IllegalCharacter {
        /// The whole name.
        name: String,
    },
}

impl fmt::Display for InvalidTopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the topic name is empty"),
            Self::Dots => f.write_str("the topic name cannot be \".\" or \"..\""),
            Self::TooLong { length } => {
                write!(
                    f,
                    "the topic name has {length} characters where {TOPIC_NAME_LENGTH_MAX} are the most"
                )
            }
            Self::IllegalCharacter { name } => write!(
                f,
                "topic name {name:?} contains a character other than ASCII letters, digits, '.', '_' and '-'"
            ),
        }
    }
}

impl core::error::Error for InvalidTopicName {}

/// Is `name` legal for a topic?
///
/// # Errors
/// Says which rule the name breaks.
pub fn check_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    if name.is_empty() {
        return Err(InvalidTopicName::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidTopicName::Dots);
    }
    if name.len() > TOPIC_NAME_LENGTH_MAX {
        return Err(InvalidTopicName::TooLong { length: name.len() });
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(InvalidTopicName::IllegalCharacter { name: name.into() });
    }
    Ok(())
}

/// Would the two topics' metrics collide? Metric names write `.` as `_`.
#[must_use]
pub fn topic_names_collide(a: &str, b: &str) -> bool {
    let same = |(x, y): (u8, u8)| x == y || matches!((x, y), (b'.', b'_') | (b'_', b'.'));
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(same)
}

/// Is this a topic that the brokers write for themselves?
#[must_use]
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn legal_names_pass_and_others_say_why_not() {
        assert_eq!(check_topic_name("peter-basic01"), Ok(()));
        assert_eq!(check_topic_name(&"a".repeat(249)), Ok(()));
        let long = InvalidTopicName::TooLong { length: 250 };
        assert_eq!(check_topic_name(&"a".repeat(250)), Err(long));
        assert_eq!(check_topic_name(""), Err(InvalidTopicName::Empty));
        assert_eq!(check_topic_name(".."), Err(InvalidTopicName::Dots));
        let illegal = InvalidTopicName::IllegalCharacter { name: "a b".to_string() };
        assert_eq!(check_topic_name("a b"), Err(illegal));
    }

    #[test]
    fn a_dot_and_an_underscore_collide() {
        assert!(topic_names_collide("a.b", "a_b"));
        assert!(!topic_names_collide("a.b", "a-b"));
        assert!(!topic_names_collide("a.b", "a_bc"));
    }
}
