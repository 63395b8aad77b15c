//! Groups, as short plays: what each member asks and what each is told.

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
