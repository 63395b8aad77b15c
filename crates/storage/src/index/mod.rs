//! The three indexes of a segment: by offset, by time, and of aborted transactions.

mod aborted;
mod table;

pub(crate) use aborted::AbortedIndex;
pub use aborted::AbortedTransaction;
pub(crate) use table::{IndexTable, OffsetEntry, Saved, TimeEntry};
