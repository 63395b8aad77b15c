//! The program as a stranger runs it: our own binary, on a real disk, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod answers;
mod balancing;
mod batches;
mod by_name;
mod calls;
mod commands;
mod consumers;
mod crash;
mod directories;
mod events;
mod formatting;
mod forming;
mod front;
mod hostile;
mod idle;
mod node;
mod quorum;
mod quorum_tools;
mod racks;
mod raw;
mod readiness;
mod reading;
mod recovery;
mod repeats;
mod replicas;
mod schemas;
mod settings;
mod signals;
mod talk;
mod throttles;
mod together;
mod tools;
mod transactions;
mod up;
