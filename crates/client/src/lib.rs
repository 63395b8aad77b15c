//! Producer, consumer, admin: the way in from outside.
//!
//! Everything runs on the caller's task: there is no thread behind a [`Producer`] or a
//! [`Consumer`]. A [`Cluster`] keeps one connection to each broker and what it knows of topics.

mod admin;
mod assign;
mod cluster;
mod configs;
mod connection;
mod consumer;
mod describe;
mod ends;
mod error;
mod group;
mod groups;
mod member;
mod modern;
mod obstacle;
mod options;
mod producer;
mod producer_options;
mod producer_write;
mod stop;
mod transaction;

pub use admin::{NewTopic, TopicListing};
pub use assign::Assignor;
pub use cluster::{Cluster, CoordinatorOf};
pub use configs::{ConfigEntry, ConfigKind, ConfigSynonym};
pub use connection::Connection;
pub use consumer::{Consumer, Received};
pub use describe::{GroupDescription, MemberDescription};
pub use error::ClientError;
pub use groups::{CommittedOffsets, GroupListing};
pub use member::PartitionOffsets;
pub use obstacle::TooFewBrokers;
pub use options::{ConsumerOptions, GroupProtocol, IsolationLevel, OptionError, Start};
pub use ottla_records::Compression;
pub use ottla_types::TopicPartition;
pub use producer::{Lost, ProduceFailure, Producer, ProducerRecord, RecordMetadata};
pub use producer_options::{Acks, OnFailure, ProducerOptions};
pub use stop::{Stop, StopSignal, hangup_is_ignored};
pub use transaction::GroupMember;
