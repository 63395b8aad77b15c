//! KRaft: election, voters, commit point of the metadata quorum.
//!
//! [`Raft::step`] is the whole of it: an input goes in, effects come out. Making something durable
//! is an effect and its completion an input, so that an acknowledgement cannot run ahead of the
//! disk. Time and chance come in with each step ([`Moment`]). The core knows epochs and offsets of
//! the log, never its bytes ([`QuorumLog`]); [`Lineage`] says where two logs part. One voter elects
//! itself at once; several are the same steps with answers in between (KIP-595, KIP-630, KIP-853,
//! KIP-996).
#![no_std]

extern crate alloc;

mod cleaning;
mod effect;
mod election;
mod fetching;
mod following;
mod history;
mod input;
mod leading;
mod lineage;
mod membership;
mod quorum_log;
mod raft;
mod role;
mod starting;
mod voters;

pub use cleaning::{LogRetention, StoredSnapshot, is_start_covered, next_log_start};
pub use effect::{Effect, FatalReason};
pub use fetching::{
    FetchAnswer, FetchAnswered, FetchAsked, FetchVerdict, FollowerRequest, SnapshotAnswered,
    SnapshotAsked, SnapshotPart,
};
pub use history::OffsetHistory;
pub use input::{
    Ballot, BeginAsked, Durable, EndAsked, Input, LogEnd, Moment, Standing, Timing, VoteAnswer,
    VoteAsked,
};
pub use lineage::Lineage;
pub use membership::{Candidacy, ChangeAnswered, ChangeAsked, MembershipChange, RequestId};
pub use quorum_log::{LogBatch, QuorumControl, QuorumLog, SnapshotId};
pub use raft::{Raft, RaftSetup};
pub use role::{Following, Leadership, ReplicaProgress, Role, SnapshotDownload};
pub use voters::{Endpoint, KraftVersions, ReplicaKey, Voter, VoterSet};
