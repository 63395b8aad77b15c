//! Producer, consumer, admin: the way in from outside.
//!
//! Everything runs on the caller's task: there is no thread behind a [`Producer`] or a
//! [`Consumer`]. A [`Cluster`] keeps one connection to each broker and what it knows of topics.

mod admin;
mod cluster;
mod connection;
mod consumer;
mod error;
mod group;
mod modern;
mod producer;
mod transaction;

pub use admin::{NewTopic, TopicListing};
pub use cluster::Cluster;
pub use connection::Connection;
pub use consumer::{Consumer, GroupProtocol, Isolation, Received, Start};
pub use error::ClientError;
pub use ottla_records::Compression;
pub use producer::{Message, Producer, ProducerOptions};
pub use transaction::GroupMember;
