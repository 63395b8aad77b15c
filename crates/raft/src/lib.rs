//! KRaft: election, voters, commit point of the metadata quorum.
//!
//! [`Raft::step`] is the whole of it: an input goes in, effects come out. Making something durable
//! is an effect and its completion an input, so that an acknowledgement cannot run ahead of the
//! disk. Time and chance come in with each step ([`Moment`]). The core knows epochs and offsets of
//! the log, never its bytes; [`Lineage`] says where two logs part. One voter elects itself at
//! once; several are the same steps with answers in between (KIP-595, KIP-853, KIP-996).
#![no_std]

extern crate alloc;

mod election;
mod input;
mod leading;
mod lineage;
mod raft;
mod role;
mod voters;

pub use input::{Ballot, Durable, Effect, Input, LogEnd, Moment, Timing, VoteAnswer, VoteAsked};
pub use lineage::Lineage;
pub use raft::Raft;
pub use role::Role;
pub use voters::{Endpoint, ReplicaKey, Voter, VoterSet};
