//! The state machines behind the two coordinators: groups with their committed offsets
//! (`__consumer_offsets`), and transactions (`__transaction_state`). [`pattern`] compiles the topic
//! patterns that clients send.
#![no_std]

extern crate alloc;

pub mod group;
pub mod pattern;
pub mod transaction;
