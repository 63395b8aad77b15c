//! This node's partitions: own, read, wait.
//!
//! [`Partitions`] finds a partition and keeps the set of them as the metadata says. A
//! [`Partition`] is a handle, cheap to clone: appending takes its owner's lock and runs the
//! owner's turn on the caller's thread; reading goes past the owner, through the log's view, up to
//! what [`Progress`] says is committed; waiting is a [`Wait`] on the progress of any number of
//! them.

mod bells;
mod bin;
mod checkpoints;
mod cleaner;
mod dir;
mod following;
mod index;
mod inspect;
mod keeper;
mod lanes;
mod leading;
mod led;
mod marker;
mod moves;
mod numbers;
mod opening;
mod owner;
mod partition;
mod partitions;
mod progress;
mod reading;
mod rules;
mod strays;
mod times;
mod trouble;
mod upkeep;
mod waiting;

pub use dir::Directory;
pub use following::{FetchedRecords, FollowRefused, FollowerPosition, LeaderEpochEnd};
pub use inspect::{Effort, Inspected, claims_compression};
pub use keeper::{Keeper, KeeperSettings, KeeperSettingsSource};
pub use lanes::Lanes;
pub use leading::FetchNoted;
pub use led::LedPartition;
pub use marker::{Guard, Marker};
pub use moves::{MoveRefused, Moving};
pub use owner::{AppendRefusal, AppendResult, AppendedBatch, Terms};
pub use partition::Partition;
pub use partitions::{Assigned, Partitions};
pub use progress::{Ends, EpochRefused, Interest, Progress, Wait};
pub use reading::{Isolation, PartitionRead, PartitionSlice, ReadRefused, ServedFrom};
pub use rules::{PartitionRules, ThrottledRoles, TimestampKind};
pub use waiting::Waited;

pub use ottla_replication::{
    Assignment, FollowerFetch, InSyncMember, InSyncProposal, InSyncTerms, ReadableReplica,
    StaleFetch,
};
pub use ottla_storage::{
    AbortedTransaction, CleanShutdown, Compaction, DataDir, DirState, DiskFiles, Fault,
    FaultyFiles, Files, LogOptions, MetaProperties, Pace, ProducerEntry, Retention, StorageError,
};
