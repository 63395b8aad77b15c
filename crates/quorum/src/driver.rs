//! One member of the quorum: raft's effects carried out on files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::{DecodeError, EncodeError};
use ottla_raft::{
    Candidacy, Durable, Effect, Input, LogBatch, LogEnd, Moment, QuorumControl, QuorumLog, Raft,
    RaftSetup, ReplicaKey, Role, SnapshotId, Timing, Voter, VoterSet,
};
use ottla_records::BadBatch;
use ottla_storage::{
    AppendError, Files, Log, LogOptions, Opening, PartitionMetadata, Slice, Stamp, StorageError,
    Sync,
};
use ottla_types::{Bug, LeaderEpoch, NodeId, Offset, Uuid, is_planted};

use crate::FOLDER;
use crate::batch::{self, BatchPlace};
use crate::replay::Replay;
use crate::snapshot::{self, read_file, replace_file, snapshot_path};
use crate::state;

/// How much of the log is read at a time, in bytes.
const READ_BYTES: usize = 8 << 20;

/// Why the quorum cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// The disk fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log refuses a batch.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A batch is broken.
    #[error("the metadata log: {0}")]
    Batch(#[from] BadBatch),
    /// A record is broken, or newer than this software.
    #[error("the metadata log: {0}")]
    Decode(#[from] DecodeError),
    /// A record has no form in its version.
    #[error("metadata record cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// The files contradict each other.
    #[error("the metadata log: {0}")]
    Corrupt(String),
    /// Another replica leads, or none does.
    #[error("this node does not lead the metadata quorum")]
    NotLeader,
}

impl QuorumError {
    /// Is it certain that an append which failed with this has written nothing, and that the log
    /// takes more?
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotLeader | Self::Encode(_) | Self::Append(AppendError::Producer(_)) => true,
            Self::Append(AppendError::Storage(error)) => error.is_shortage(),
            _ => false,
        }
    }
}

/// What must be known to open a member.
#[derive(Debug)]
pub struct Setup {
    /// The files it lies on.
    pub files: Arc<dyn Files>,
    /// The data directory with the metadata log.
    pub dir: PathBuf,
    /// Which replica this is.
    pub own: ReplicaKey,
    /// The voters, where the log does not say (kraft.version 0).
    pub static_voters: VoterSet,
    /// Was the log closed cleanly?
    pub clean: bool,
    /// When a segment is full, in bytes.
    pub segment_bytes: u64,
    /// The time.
    pub clock: Clock,
}

/// A member, and what it found.
#[derive(Debug)]
pub struct OpenedQuorum {
    /// The member.
    pub quorum: Quorum,
    /// All records so far, the newest snapshot's first.
    pub records: Vec<MetadataRecord>,
    /// Is there a transaction that was begun and not ended?
    pub unfinished: bool,
}

/// Makes durable what the metadata log held at one moment, beside its writer.
#[derive(Debug)]
pub struct Store {
    sync: Sync,
    end: LogEnd,
}

impl Store {
    /// Makes the records durable. This takes as long as the disk does.
    ///
    /// # Errors
    /// The disk fails.
    pub fn run(&self) -> Result<(), StorageError> {
        if is_planted(Bug::MetadataUnsynced) { Ok(()) } else { self.sync.run() }
    }
}

/// Writes a snapshot, beside the writer of the log.
#[derive(Debug)]
pub struct Snapshot {
    files: Arc<dyn Files>,
    folder: PathBuf,
    id: SnapshotId,
    more: Vec<batch::Control>,
    clock: Clock,
}

impl Snapshot {
    /// Writes the snapshot, with the records of the cluster as of its offset. This takes as long as
    /// the disk does.
    ///
    /// # Errors
    /// The disk fails; the log has everything still.
    pub fn run(&self, records: &[(MetadataRecord, i16)]) -> Result<SnapshotId, QuorumError> {
        let last_contained = self.clock.wall_ms();
        let now = &mut || self.clock.wall_ms();
        let bytes =
            snapshot::snapshot_bytes(self.id.epoch, now, last_contained, &self.more, records)?;
        replace_file(&*self.files, &snapshot_path(self.id, &self.folder), &bytes)?;
        Ok(self.id)
    }
}

/// A member of the metadata quorum.
#[derive(Debug)]
pub struct Quorum {
    files: Arc<dyn Files>,
    folder: PathBuf,
    log: Log,
    raft: Raft,
    own: ReplicaKey,
    committed: Offset,
    clock: Clock,
}

impl Quorum {
    /// Opens the metadata log and stands for election; the only voter leads when this returns.
    ///
    /// # Errors
    /// The files cannot be read or written, or contradict each other.
    pub fn open(setup: Setup) -> Result<OpenedQuorum, QuorumError> {
        let folder = setup.dir.join(FOLDER);
        let files = &setup.files;
        let failed = |source| StorageError::Io { path: folder.clone(), source };
        files.make_dir(&folder).map_err(failed)?;
        let mut replay = Replay::over(QuorumLog::new(setup.static_voters.clone()));
        let newest = snapshot::newest_snapshot(&**files, &folder)?;
        if let Some(id) = newest {
            let bytes = read_file(&**files, &snapshot_path(id, &folder))?;
            replay.take_snapshot(id, &bytes.unwrap_or_default())?;
        }
        let log = Self::open_log(&setup, &folder)?;
        let start = newest.map_or(0, |id| id.end);
        if log.log_start() > start {
            let why = format!(
                "it starts at offset {}, and no snapshot has the records before",
                log.log_start()
            );
            return Err(QuorumError::Corrupt(why));
        }
        if log.log_end() < start {
            let why = format!("it ends at {}, before its snapshot at {start}", log.log_end());
            return Err(QuorumError::Corrupt(why));
        }
        read_log(&log, start, &mut replay)?;
        let unfinished = replay.finish();
        let known = replay.log.voters().of_node(setup.own.id);
        let Some(known) = known.filter(|_| replay.log.voters().has(setup.own)) else {
            let why = format!("node {} is not among its voters", setup.own.id);
            return Err(QuorumError::Corrupt(why));
        };
        // What the log says of this node stays as it is until the node has peers to tell.
        let own = Voter { key: setup.own, ..known.clone() };
        let durable = state::read_state(&**files, &folder)?;
        let mut quorum = Self {
            files: Arc::clone(files),
            raft: Raft::new(RaftSetup {
                own,
                candidacy: Candidacy::ByOperator,
                log: replay.log,
                timing: Timing::default(),
            }),
            folder,
            log,
            own: setup.own,
            committed: 0,
            clock: setup.clock,
        };
        quorum.step(Input::Started(durable))?;
        Ok(OpenedQuorum { quorum, records: replay.records, unfinished })
    }

    fn open_log(setup: &Setup, folder: &Path) -> Result<Log, StorageError> {
        let options = LogOptions { segment_bytes: setup.segment_bytes, ..LogOptions::default() };
        let log = Log::open(Opening {
            files: Arc::clone(&setup.files),
            folder: folder.to_owned(),
            options,
            clean: setup.clean,
            recovery_point: 0,
            log_start: 0,
            has_gaps: false,
            now_ms: setup.clock.wall_ms(),
        })?;
        if PartitionMetadata::read(&*setup.files, folder)?.is_none() {
            PartitionMetadata { topic_id: Uuid::ONE }.write(&*setup.files, folder)?;
        }
        Ok(log)
    }

    /// Takes an input in and carries out everything that follows from it.
    fn step(&mut self, input: Input) -> Result<(), QuorumError> {
        let mut todo = VecDeque::from(self.decide(input));
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Persist(durable) => {
                    self.persist(&durable)?;
                    let more = self.decide(Input::Persisted(durable));
                    more.into_iter().rev().for_each(|it| todo.push_front(it));
                }
                Effect::OpenEpoch { epoch, granted, controls } => {
                    let batch = self.open_epoch(epoch, &granted, controls)?;
                    todo.extend(self.decide(Input::Appended(batch)));
                    todo.extend(self.decide(Input::Stored(self.end())));
                }
                Effect::Committed(end) => self.committed = end,
                Effect::Fatal(reason) => return Err(QuorumError::Corrupt(reason.to_string())),
                // A single voter asks no other voter and waits for none. The peers of a larger
                // quorum are the next thing to be built here.
                _ => {}
            }
        }
        Ok(())
    }

    /// What follows from an input at this moment.
    fn decide(&mut self, input: Input) -> Vec<Effect> {
        let now_ms = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let moment = Moment { now_ms, draw: self.clock.random_below(u64::MAX) };
        let mut effects = Vec::new();
        self.raft.step(moment, input, &mut effects);
        effects
    }

    fn persist(&self, durable: &Durable) -> Result<(), StorageError> {
        state::write_state(&*self.files, &self.folder, durable, self.kraft_version())
    }

    fn end(&self) -> LogEnd {
        LogEnd { epoch: self.log.view().latest_epoch().max(0), offset: self.log.log_end() }
    }

    fn place(&self, epoch: LeaderEpoch) -> BatchPlace {
        BatchPlace {
            base_offset: self.log.log_end(),
            leader_epoch: epoch,
            now_ms: self.clock.wall_ms(),
        }
    }

    /// The batch that opens an epoch; the first of all also has the voters.
    fn open_epoch(
        &mut self,
        epoch: LeaderEpoch,
        granted: &[NodeId],
        controls: Vec<QuorumControl>,
    ) -> Result<LogBatch, QuorumError> {
        let mut all = vec![batch::leader_change(self.own.id, self.raft.voters(), granted)?];
        for control in &controls {
            all.push(batch::quorum_control(control)?);
        }
        let place = self.place(epoch);
        let bytes = batch::of_controls(place, &all)?;
        self.write(&bytes, place)?;
        self.log.flush()?;
        let base = place.base_offset;
        let controls = (base + 1..).zip(controls).collect();
        Ok(LogBatch { base, end: self.log.log_end(), epoch, controls })
    }

    fn write(&mut self, bytes: &[u8], place: BatchPlace) -> Result<(), QuorumError> {
        let stamp =
            Stamp { leader_epoch: place.leader_epoch, append_time: None, max_timestamp: None };
        self.log.append_as_leader(bytes, stamp, place.now_ms)?;
        Ok(())
    }

    /// Appends records as one atomic batch and returns the log's end after them. A power cut may
    /// take them back until they are stored: [`Quorum::begin_store`].
    ///
    /// # Errors
    /// See [`QuorumError::is_refusal`].
    pub fn append(&mut self, records: &[(MetadataRecord, i16)]) -> Result<Offset, QuorumError> {
        if !matches!(self.raft.role(), Role::Leader(_)) {
            return Err(QuorumError::NotLeader);
        }
        let place = self.place(self.raft.epoch());
        let bytes = batch::of_records(place, records)?;
        self.write(&bytes, place)?;
        let (base, end, epoch) = (place.base_offset, self.log.log_end(), place.leader_epoch);
        self.step(Input::Appended(LogBatch { base, end, epoch, controls: Vec::new() }))?;
        Ok(end)
    }

    /// What must be done to make durable what was appended so far.
    ///
    /// # Errors
    /// An earlier write failed.
    pub fn begin_store(&self) -> Result<Store, QuorumError> {
        Ok(Store { sync: self.log.begin_sync()?, end: self.end() })
    }

    /// It has been done, or has failed. With one voter, what is durable is committed.
    ///
    /// # Errors
    /// Those of the store: what is durable is unknown then, and the log accepts no more appends.
    pub fn end_store(
        &mut self,
        store: &Store,
        done: Result<(), StorageError>,
    ) -> Result<(), QuorumError> {
        self.log.end_sync(&store.sync, done)?;
        self.step(Input::Stored(store.end))
    }

    /// What must be done to write a snapshot of everything below `end`, which has committed.
    ///
    /// # Errors
    /// The voters have no form in their version.
    pub fn begin_snapshot(&self, end: Offset) -> Result<Snapshot, QuorumError> {
        let more = if self.kraft_version() >= 1 {
            vec![
                batch::kraft_version(self.kraft_version())?,
                batch::voters_record(self.raft.voters())?,
            ]
        } else {
            Vec::new()
        };
        Ok(Snapshot {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            id: SnapshotId { end, epoch: self.raft.epoch() },
            more,
            clock: self.clock.clone(),
        })
    }

    /// Where the next record goes.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.log.log_end()
    }

    /// Everything below is committed.
    #[must_use]
    pub const fn committed(&self) -> Offset {
        self.committed
    }

    /// How many bytes the log has.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.log.view().size_bytes()
    }

    /// The level of `kraft.version`: 1 where the voters are in the log, 0 where settings name
    /// them.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.raft.log().kraft_version()
    }

    /// The epoch.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.raft.epoch()
    }

    /// The leader, if one is known.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.raft.leader()
    }

    /// The voters.
    #[must_use]
    pub fn voters(&self) -> &VoterSet {
        self.raft.voters()
    }

    /// Closes the log so that the next open needs no recovery.
    ///
    /// # Errors
    /// The disk fails.
    pub fn close(self) -> Result<(), StorageError> {
        self.log.close_clean().map(|_| ())
    }
}

fn read_log(log: &Log, from: Offset, replay: &mut Replay) -> Result<(), QuorumError> {
    let view = log.view();
    let mut at = from;
    while at < view.log_end() {
        let slice =
            Slice { offset: at, bytes_max: READ_BYTES, at_least_one: true, upper: Offset::MAX };
        let bytes = view.read(slice).map_err(|error| QuorumError::Corrupt(error.to_string()))?;
        let Some(Ok(last)) = ottla_records::batches_in(&bytes).last() else {
            return Err(QuorumError::Corrupt(format!("no batch can be read at offset {at}")));
        };
        replay.take_log(&bytes)?;
        at = last.next_offset();
    }
    Ok(())
}
