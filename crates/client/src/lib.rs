//! Producer, consumer, admin: the way in from outside.

mod addresses;
mod admin;
mod assign;
mod classic_member;
mod client;
mod consumer;
mod consumer_member;
mod dialer;
mod error;
mod link;
mod membership;
mod metadata;
mod obstacle;
mod options;
mod partitions;
mod producer;
mod stop;
mod subscription;
mod transaction;

pub use admin::*;
pub use assign::Assignor;
pub use client::{Client, ClientOptions, CoordinatorOf};
pub use consumer::{Consumer, Received};
pub use dialer::{ByteStream, Dialer, Dialing, Tcp};
pub use error::ClientError;
pub use link::VersionRange;
pub use obstacle::TooFewBrokers;
pub use options::{ConsumerOptions, GroupProtocol, IsolationLevel, OptionError, Start};
pub use ottla_records::Compression;
pub use ottla_types::TopicPartition;
pub use partitions::{CommittedPosition, CommittedPositions, PartitionOffsets};
pub use producer::{
    Acks, OnFailure, ProduceFailure, Producer, ProducerOptions, ProducerRecord, RecordMetadata,
};
pub use stop::{Stop, StopSignal, hangup_is_ignored};
pub use transaction::GroupMember;
