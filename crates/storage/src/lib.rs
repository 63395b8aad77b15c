//! One partition's log in files: append, read, recover.
//!
//! # What lies on disk
//! A data directory has one folder for each partition, `<topic>-<index>`, and beside them
//! `meta.properties`, the offset checkpoints, `.lock` and, after a clean stop,
//! `.kafka_cleanshutdown` ([`DataDir`]). A partition's folder has, for each segment, named by its
//! base offset in twenty digits:
//!
//! | file | holds | if it is missing or wrong |
//! |---|---|---|
//! | `.log` | batches, one after the other | nothing can be done |
//! | `.index` | (offset - base u32, position u32) every few KB | made again from the log |
//! | `.timeindex` | (largest timestamp so far i64, offset - base u32) | made again |
//! | `.txnindex` | aborted transactions, 34 bytes each | made again |
//! | `.snapshot` | producers as of that offset | made again |
//!
//! and `leader-epoch-checkpoint` and `partition.metadata`.
//!
//! # Invariants
//! - One [`Log`] writes; any number of [`LogView`]s read, and see only whole batches.
//! - An index is a hint where to begin a search; only the log is authoritative.
//! - A write that failed ends the log's life: nothing is appended behind bytes of unknown content.
//!
//! # What runs where
//! The writer appends and rolls; it waits for no disk but the cache. Whatever may take long is
//! begun and ended under the writer's lock and runs outside it: [`Flush`] (records, indexes,
//! producers, epochs: moves the recovery point), [`Sync`] (records only: lets a producer's answer
//! go), [`Truncation`] (cutting a log off), [`Retired`] (renaming and unlinking), [`Cleaning`] and
//! [`Swap`] (compaction), [`Preparation`] and [`LogView::trim_cache`] (the cache window).
//!
//! # Order after an unclean stop
//! Unfinished swaps of the cleaner are finished or undone. Segments below the recovery point are
//! trusted; from the recovery point on the log is read and cut at the first batch whose length or
//! checksum is wrong; then indexes, producers and epochs are made to fit what is left.

mod append;
mod checkpoint;
mod compact;
mod copy;
mod dirs;
mod epochs;
mod error;
mod files;
mod flush;
mod folder;
mod follow;
mod index;
mod log;
mod open;
mod options;
mod places;
mod producers;
mod recovery;
mod retire;
mod segment;
mod spare;
mod truncate;
mod view;
mod window;

pub use append::{AppendError, Appended, Stamp};
pub use checkpoint::{OffsetCheckpoint, PartitionMetadata};
pub use compact::{Cleaning, CleaningStep, CleaningTerms, Compaction, Dirt, Swap};
pub use copy::{LogCopy, LogFolder, Pace};
pub use dirs::{CleanShutdown, DataDir, DirState, MetaProperties};
pub use epochs::{EpochStart, Epochs};
pub use error::StorageError;
pub use files::{
    DiskCall, DiskFiles, DiskOperation, Fate, Fault, FaultyFiles, File, FileRef, Files, Listed,
    Lock, OnDiskCall, SimDisk,
};
pub use flush::{Flush, Sync};
pub use follow::{FetchedBatches, FetchedError, FetchedSummary, FollowerAppended};
pub use index::AbortedTransaction;
pub use log::Log;
pub use options::LogOptions;
pub use producers::{ProducerEntry, ProducerError};
pub use recovery::Opening;
pub use retire::{Retention, Retired};
pub use spare::{Preparation, Spare};
pub use truncate::{TruncatedLog, Truncation};
pub use view::{BatchesRead, LogView, ReadError, Slice};
