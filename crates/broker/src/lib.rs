//! The broker: dispatch, a handler for each API, the hosts of coordinators and controller.
//!
//! # How a request travels
//! `net` hands `dispatch` a frame. The table there finds the handler by key and version, decodes
//! the body and calls it with the `node`, which is all a handler may touch: partitions to append
//! to and to read from, the group coordinators, the controller, the metadata as of now. What the
//! handler returns is encoded and goes back to `net`, which keeps replies in the order of the
//! requests.
//!
//! [`assemble()`] builds all of that in order and stops it in reverse; [`Broker`] gives it
//! threads, disks and sockets.

mod absent;
mod acls;
mod alter_settings;
mod assemble;
mod audit;
#[cfg(test)]
mod authorisation_tests;
mod broker;
mod controllers;
mod decoded;
mod dirs;
mod dispatch;
mod enlist;
mod envelope;
mod formatting;
pub mod forming;
mod forwarding;
mod guard;
mod handlers;
#[cfg(test)]
mod harness;
mod hosts;
#[cfg(test)]
mod in_process_tests;
mod lanes;
mod levels;
mod listening;
mod loggers;
mod lost;
mod metrics_page;
mod node;
mod numbers;
mod preferred_replica;
mod produce_enlist;
mod produce_wire;
mod quorum_upgrade;
mod record_deletion;
mod recovering;
mod register;
mod register_controller;
mod replica_fetch;
mod reply;
mod request;
mod rules;
mod scram;
mod seldom;
#[cfg(test)]
mod several_brokers_tests;
mod slow;
#[cfg(test)]
mod slow_disk_tests;
mod start_error;
#[cfg(test)]
mod throttle_tests;
mod voter;
mod voter_refusals;
mod waits;

pub use assemble::{Assembled, Formatting, NodeFailure, Seams, StartFacts, StartOptions, assemble};
pub use broker::Broker;
pub use formatting::{
    ChosenVoters, FeatureChoice, FormatReport, FormatRequest, FormattedDirs, NewDirectory,
    ReleaseChoice, format_node,
};
pub use guard::{Authorizer, Operation, Principal, Requester, Resource, ResourceType};
pub use hosts::quorum_member::QuorumView;
pub use lanes::NodeLanes;
pub use levels::{LogLevel, LogLevels, NoLevels};
pub use ottla_net::names::{canonical_host_name, is_local_host};
pub use ottla_net::supervisor::Supervisor;
pub use recovering::{
    BackupReport, BrokenTail, RecoverMode, RecoverRequest, RecoveryReport, back_up_node,
    recover_node,
};
pub use start_error::{LostDirectory, NotFormatted, StartError};
