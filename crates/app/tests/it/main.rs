//! The program as a stranger runs it: our own binary, on a real disk, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod by_name;
mod calls;
mod commands;
mod consumers;
mod crash;
mod front;
mod hostile;
mod idle;
mod node;
mod raw;
mod reading;
mod signals;
mod talk;
mod together;
mod transactions;
