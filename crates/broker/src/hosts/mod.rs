//! The hosts that run the machines, and the state that is kept between requests.

pub mod add_queue;
pub mod broker_links;
pub mod controller;
pub mod controller_channel;
pub mod directory_reports;
pub mod groups;
pub mod host;
pub mod in_sync;
pub mod kind;
pub mod lanes;
pub mod marker_queue;
pub mod markers;
pub mod mover;
pub mod peer_watch;
pub mod producer_ids;
pub mod quorum_journal;
pub mod quorum_member;
pub mod quorum_peers;
pub mod quorum_serving;
pub mod replica_fetching;
pub mod sessions;
pub mod shards;
pub mod telemetry;
pub mod topic_journal;
pub mod transactions;
pub mod unpacking;
