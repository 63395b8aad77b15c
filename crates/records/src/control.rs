//! Control records: batches that brokers write about the log, not for readers.
//!
//! The key is two numbers of two bytes: version 0, and the type. The value is a message of the
//! protocol, which this crate does not know.

use crate::record::Record;

/// What a control record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum ControlKind {
    /// A transaction was aborted.
    Abort = 0,
    /// A transaction was committed.
    Commit = 1,
    /// The metadata quorum has a leader.
    LeaderChange = 2,
    /// A snapshot starts.
    SnapshotHeader = 3,
    /// A snapshot ends.
    SnapshotFooter = 4,
    /// The version of the quorum's protocol.
    KraftVersion = 5,
    /// The voters of the quorum.
    KraftVoters = 6,
}

impl ControlKind {
    /// The key of a record of this kind.
    #[must_use]
    pub const fn key(self) -> [u8; 4] {
        let kind = (self as i16).to_be_bytes();
        [0, 0, kind[0], kind[1]]
    }

    /// The kind that a control record's key names; `None` if there is no such kind.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Option<Self> {
        let all = [
            Self::Abort,
            Self::Commit,
            Self::LeaderChange,
            Self::SnapshotHeader,
            Self::SnapshotFooter,
            Self::KraftVersion,
            Self::KraftVoters,
        ];
        let key = record.key?;
        all.into_iter().find(|kind| key.get(2..4) == Some(&(*kind as i16).to_be_bytes()[..]))
    }
}

/// The coordinator's epoch in the value of an abort or a commit: version i16, epoch i32.
#[must_use]
pub fn coordinator_epoch(record: &Record<'_>) -> Option<i32> {
    let bytes = record.value?.get(2..6)?;
    Some(i32::from_be_bytes(bytes.try_into().ok()?))
}
