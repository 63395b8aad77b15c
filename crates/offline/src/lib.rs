//! Commands for a data directory that no node runs on. They read, and change nothing.
//!
//! [`Dump`] prints what is in the files of a log, word for word as Apache Kafka's
//! `kafka-dump-log.sh` does; [`Doctor`] what is wrong with a directory, and what a start would do.

mod doctor;
mod dump;
mod index;
mod lock;
mod log;
mod stored;

pub use doctor::{Doctor, Findings, Severity};
pub use dump::{Dump, DumpError};
