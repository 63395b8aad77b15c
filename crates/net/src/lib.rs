//! Listeners, connections, frames: the only crate that opens a socket.
//!
//! A connection is read, served and written by one task on one thread
//! ([`connection::serve_requests`]); threads are started by [`threads::Threads`], one
//! single-threaded runtime each, and a connection never changes its thread. What a frame means is
//! not known here: the handler is an async closure from bytes to an [`connection::Outcome`].
//!
//! - [`frame`]: the 4-byte length and the bytes after it, bounded by what has really arrived
//! - [`connection`]: requests in, replies out in request order, back-pressure both ways
//! - [`listener`]: bind, accept, limits per node and per address
//! - [`names`]: what this machine is called
//! - [`page`]: a page of text over HTTP, for metrics
//! - [`peer`]: the other side: requests out, answers in, many in flight, to another node
//! - [`supervisor`]: says to systemd, or whatever started this process, that it is ready
//! - [`threads`]: one runtime per core, or where a simulation runs tasks
//! - [`transport`]: sockets, or streams in memory

pub mod connection;
mod dial;
pub mod frame;
pub mod listener;
pub mod names;
pub mod page;
pub mod peer;
pub mod supervisor;
pub mod threads;
pub mod transport;
