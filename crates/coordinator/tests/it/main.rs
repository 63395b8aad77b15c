//! Groups, as short plays: the requests of each member and its answers.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod consumer;
mod genuine;
mod groups;
mod migration;
mod offsets;
mod patterns;
mod pending;
mod play;
mod rebalance;
mod transactions;
