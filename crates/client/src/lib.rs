//! The public Rust client of Kafka's protocol: producer, consumer, admin.
//!
//! Everything begins with a [`Client`], which is cheap to clone and takes `&self`:
//!
//! ```no_run
//! # async fn example() -> Result<(), ottla_client::ClientError> {
//! use ottla_client::{Client, Producer, ProducerOptions, ProducerRecord};
//!
//! let clock = ottla_clock::Clock::real();
//! let client = Client::connect("localhost:9092", "my-program", clock).await?;
//! let mut producer = Producer::new(client.clone(), ProducerOptions::default());
//! let record = ProducerRecord { value: Some("hello".into()), ..Default::default() };
//! producer.send("greetings", record).await?;
//! producer.flush().await?;
//! # Ok(()) }
//! ```
//!
//! - **Producer.** [`Producer::send`] collects records in a batch for each partition and sends
//!   those that are full; [`Producer::flush`] writes the rest. Up to five batches of a partition
//!   are in flight, and by default each record is written once and in order
//!   (`enable.idempotence`).
//! - **Consumer.** [`Consumer`] reads partitions ([`Consumer::assign`]) or a group's share of
//!   topics ([`Consumer::subscribe`]), in both group protocols ([`GroupProtocol`]).
//!   [`Consumer::poll`] gives the next record and sends heartbeats: it has to be called more often
//!   than every `max.poll.interval.ms`.
//! - **Transactions.** A producer with [`ProducerOptions::transactional_id`]:
//!   [`Producer::begin_transaction`], [`Producer::send_offsets_to_transaction`],
//!   [`Producer::commit_transaction`] or [`Producer::abort_transaction`]. A consumer with
//!   [`IsolationLevel::Committed`] sees what was committed.
//! - **Admin.** Methods of [`Client`], such as [`Client::create_topic`],
//!   [`Client::describe_group`], [`Client::set_configs`]. Their inputs and outcomes are types of
//!   this crate. [`Client::ask`] sends any request of the protocol.
//!
//! `examples/` of this crate has a program for each.
//!
//! # Errors
//!
//! [`ClientError`]. A broker's refusal has a [`code`](ClientError::code). Calls retry transient
//! errors (a leader that moved, a broken connection) for as long as the options say;
//! [`ClientError::is_passing`] is true for such an error. After
//! [`ClientError::Connection`] the broker has not seen the request, after
//! [`ClientError::Unanswered`] it may have carried it out.
//!
//! # Threads and runtimes
//!
//! A client has no thread and no task of its own: its connections read and write while a call is
//! awaited. It can be used from many tasks and threads at once, as long as the runtime in which it
//! opened its connections runs; it needs tokio's time and, with [`Transport::Tcp`], its network
//! driver. Futures can be dropped at any time: the answer to a request that was sent is then
//! discarded.
//!
//! # Connections
//!
//! A [`Dialer`] makes them. [`Transport::Tcp`] is the usual one; a process that holds a node can
//! hand out streams in memory instead and let the node serve them.

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
pub use client::{BootstrapNodes, Client, ClientOptions, CoordinatorOf};
pub use consumer::{Consumer, Received};
pub use dialer::Dialer;
pub use error::ClientError;
pub use link::{BrokerLink, Greeting, PendingReply, VersionRange};
pub use obstacle::TooFewBrokers;
pub use options::{ConsumerOptions, GroupProtocol, IsolationLevel, OptionError, Start};
pub use ottla_net::transport::{ByteStream, Connecting, Transport};
pub use ottla_records::Compression;
pub use ottla_types::TopicPartition;
pub use partitions::{CommittedPosition, CommittedPositions, PartitionOffsets};
pub use producer::{
    Acks, OnFailure, ProduceFailure, Producer, ProducerOptions, ProducerRecord, RecordMetadata,
};
pub use stop::{Stop, StopSignal, hangup_is_ignored};
pub use transaction::GroupMember;
