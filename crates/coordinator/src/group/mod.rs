//! The group coordinator: the members of a group, its assignments, and its offsets.
//!
//! What the log holds is [`StoredGroups`]: committed offsets, and each group as of its last written
//! generation. What only this leader knows (members between two generations, requests that wait for
//! an answer) is in `ClassicGroup`. A decision reads the first and changes the second, so that
//! membership becomes durable only through the record of its generation, as in Kafka.

mod classic;
mod command;
mod consumer;
mod live;
mod machine;
mod offsets;
mod record;
mod settings;
mod show;
mod stored;

pub use command::{DeletedTopic, GroupCommand, GroupReply, GroupTimer, JoinCommand, MemberClient};
pub use consumer::{
    ClassicMetadata, ConsumerGroup, ConsumerRecord, CurrentAssignment, MemberState, TopicCatalog,
    TopicIdPartitions,
};
pub use machine::GroupMachine;
pub use record::{GroupRecord, TransactionEnd};
pub use settings::{GroupSettings, Migration, OwnSettings};
pub use stored::{CommittedOffset, StoredGroups};
