//! The group coordinator: who is in a group, who decides for it, and how far it has read.
//!
//! What the log knows is [`Stored`]: offsets, and each group as its last generation left it. What
//! only this leader knows, members between two generations and requests that wait, is in
//! `Live`. A decision reads the first and changes the second, so that membership
//! becomes durable only through the record of its generation, as in Kafka.

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

pub use command::{Client, Command, DeletedTopic, Join, Reply, Timer};
pub use consumer::{
    ClassicMember, ConsumerGroup, ConsumerRecord, Current, MemberState, Places, Topics,
};
pub use machine::GroupMachine;
pub use record::{Record, TransactionEnd};
pub use settings::{GroupSettings, Migration, OwnSettings};
pub use stored::{Committed, Stored};
