//! The metadata quorum as the journal of the controller.
//!
//! An append is in the log at once, and not durable. A [`QuorumCommit`] makes durable what was
//! appended before it began, however many turns that were; the metadata that the controller had
//! then is kept until the commit has ended, for the brokers to be what it says.

use std::collections::VecDeque;

use ottla_metadata::{Cluster, METADATA_VERSION_FEATURE, with_versions};
use ottla_protocol::metadata::MetadataRecord;
use ottla_quorum::{Quorum, QuorumError, Snapshot, Store};
use ottla_types::{LeaderEpoch, Offset, TimestampMs};

use super::host::{AppendFailed, Journal};

/// How many bytes of records come between two snapshots.
const SNAPSHOT_BYTES: u64 = 20 << 20;

/// Metadata that has committed.
#[derive(Clone, Debug)]
pub struct News {
    /// The metadata.
    pub cluster: Cluster,
    /// The offset of the metadata log as of which it is.
    pub offset: Offset,
    /// The quorum's epoch.
    pub epoch: LeaderEpoch,
}

/// A member of the quorum that leads it, and what it has not committed yet.
#[derive(Debug)]
pub struct QuorumJournal {
    /// `None` once it was closed.
    quorum: Option<Quorum>,
    /// The metadata of each commit that has begun, in order, until a broker takes it.
    images: VecDeque<News>,
    /// Up to which offset commits have begun.
    begun: Offset,
    /// Up to which offset the broker of this node is what the metadata says.
    published: Offset,
    /// The level of `metadata.version` behind the last record: it says how records are written.
    metadata_version: i16,
    /// How large the log is when the next snapshot is due, in bytes.
    snapshot_at: u64,
}

/// Makes durable what was appended before it began, beside the turns that append more.
#[derive(Debug)]
pub struct QuorumCommit(Store);

impl QuorumCommit {
    /// Makes the records durable, which takes as long as the disk does;
    /// [`QuorumJournal::end_commit`] takes the outcome.
    pub fn run(self) -> Committed {
        let done = self.0.run();
        Committed { store: self.0, done }
    }
}

/// How a commit went.
#[derive(Debug)]
pub struct Committed {
    store: Store,
    done: Result<(), ottla_partitions::StorageError>,
}

impl QuorumJournal {
    /// The journal of a quorum that this node leads, with the metadata's version at its end.
    #[must_use]
    pub fn new(quorum: Quorum, metadata_version: i16) -> Self {
        let end = quorum.log_end();
        let snapshot_at = quorum.size_bytes() + SNAPSHOT_BYTES;
        let images = VecDeque::new();
        let (begun, published) = (end, end);
        Self { quorum: Some(quorum), images, begun, published, metadata_version, snapshot_at }
    }

    fn quorum(&mut self) -> &mut Quorum {
        self.quorum.as_mut().expect("a machine takes no turn after its journal was closed")
    }

    /// What must be done to commit what was appended so far; `None` if nothing was since the last
    /// commit began. `cluster` is the metadata with all of it.
    ///
    /// # Errors
    /// An earlier write failed.
    pub fn begin_commit(&mut self, cluster: &Cluster) -> Result<Option<QuorumCommit>, QuorumError> {
        let Some(quorum) = &mut self.quorum else { return Ok(None) };
        let offset = quorum.log_end();
        if offset == self.begun {
            return Ok(None);
        }
        let store = quorum.begin_store()?;
        self.begun = offset;
        self.images.push_back(News { cluster: cluster.clone(), offset, epoch: quorum.epoch() });
        Ok(Some(QuorumCommit(store)))
    }

    /// A commit has ended.
    ///
    /// # Errors
    /// It has failed: what is durable is unknown then.
    pub fn end_commit(&mut self, committed: Committed) -> Result<(), QuorumError> {
        self.quorum().end_store(&committed.store, committed.done)
    }

    /// The newest metadata that has committed, if it was not taken before.
    pub fn take_news(&mut self) -> Option<News> {
        let committed = self.quorum.as_ref()?.committed();
        let mut newest = None;
        while let Some(news) = self.images.pop_front_if(|news| news.offset <= committed) {
            newest = Some(news);
        }
        newest
    }

    /// The broker of this node is what the metadata says up to this offset.
    pub fn published(&mut self, offset: Offset) {
        self.published = self.published.max(offset);
    }

    /// The snapshot that is due now, if one is, of the metadata up to this offset.
    ///
    /// # Errors
    /// The voters have no form in their version.
    pub fn begin_snapshot(&mut self, offset: Offset) -> Result<Option<Snapshot>, QuorumError> {
        let Some(quorum) = &self.quorum else { return Ok(None) };
        if quorum.size_bytes() < self.snapshot_at {
            return Ok(None);
        }
        self.snapshot_at = quorum.size_bytes() + SNAPSHOT_BYTES;
        quorum.begin_snapshot(offset).map(Some)
    }

    /// The quorum, to be closed: no turn follows.
    pub fn take_quorum(&mut self) -> Option<Quorum> {
        self.quorum.take()
    }
}

impl Journal<MetadataRecord> for QuorumJournal {
    type Error = QuorumError;

    /// Never for certain. What is volatile of the controller is small, so that a copy of it to take
    /// a decision back costs next to nothing.
    fn accepts(&self) -> bool {
        false
    }

    fn append(
        &mut self,
        records: &[MetadataRecord],
        _now_ms: TimestampMs,
    ) -> Result<Offset, AppendFailed<QuorumError>> {
        let versioned = with_versions(records.iter().cloned(), self.metadata_version);
        let end = self.quorum().append(&versioned).map_err(|error| {
            if error.is_refusal() {
                AppendFailed::Refused(error)
            } else {
                AppendFailed::Unknown(error)
            }
        })?;
        for record in records {
            if let MetadataRecord::FeatureLevel(level) = record
                && level.name == METADATA_VERSION_FEATURE
            {
                self.metadata_version = level.feature_level;
            }
        }
        Ok(end)
    }

    fn end(&self) -> Offset {
        self.quorum.as_ref().map_or(self.begun, Quorum::log_end)
    }

    /// What has committed, and is in force on this node: a client that has created a topic may
    /// produce to it as soon as the answer is there.
    fn committed(&self) -> Offset {
        self.published
    }

    fn log_refused(&self, error: &QuorumError) {
        tracing::warn!(%error, "metadata log append refused; the request fails, nothing has changed");
    }

    fn log_failed(&self, error: &QuorumError) {
        tracing::error!(%error, "metadata log append failed; the controller stops, and the node with it");
    }
}
