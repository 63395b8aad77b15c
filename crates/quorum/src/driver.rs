//! One member of the quorum: raft's effects carried out on files.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::{DecodeError, EncodeError};
use ottla_raft::{
    Candidacy, Durable, Effect, Input, LogBatch, LogEnd, Moment, QuorumControl, QuorumLog, Raft,
    RaftSetup, ReplicaKey, SnapshotId, Timing, Voter, VoterSet,
};
use ottla_records::BadBatch;
use ottla_storage::{AppendError, Files, Log, Stamp, StorageError, Sync};
use ottla_types::{Bug, LeaderEpoch, NodeId, Offset, is_planted};

use crate::FOLDER;
use crate::batch::{self, BatchPlace};
use crate::committed::read_batches;
use crate::opening::{LogOpening, open_log};
use crate::outgoing::{Answers, PeerMessage, PeerRequest};
use crate::replay::Replay;
use crate::snapshot::{self, Download, read_file, replace_file, snapshot_path};
use crate::state;

/// Why the quorum cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// The disk fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log refuses a batch.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log refuses a batch that the replica counts on: the next ones of its leader, or the one
    /// that opens its own epoch. What it takes for its log is not what it has.
    #[error("the metadata log cannot be continued: {0}")]
    Demanded(#[source] AppendError),
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
    /// The log is not as it was any more: it has grown, or a snapshot has taken its place.
    #[error("the metadata log has moved on meanwhile; retry")]
    Moved,
}

impl QuorumError {
    /// Is it certain that an append which failed with this has written nothing, and that the log
    /// takes more?
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotLeader
            | Self::Moved
            | Self::Encode(_)
            | Self::Append(AppendError::Producer(_)) => true,
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
    /// Which replica this is, and where it listens.
    pub own: Voter,
    /// May it vote?
    pub candidacy: Candidacy,
    /// How long it waits for what.
    pub timing: Timing,
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
    /// All records so far, the newest snapshot's first, committed or not; those that begin and end
    /// metadata transactions among them.
    pub records: Vec<MetadataRecord>,
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

/// A member of the metadata quorum: a voter, or an observer.
#[derive(Debug)]
pub struct Quorum {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) folder: PathBuf,
    pub(crate) log: Log,
    pub(crate) raft: Raft,
    pub(crate) own: ReplicaKey,
    committed: Offset,
    pub(crate) clock: Clock,
    /// When [`Quorum::wake_up`] is to be called, on the clock's monotonic time in milliseconds.
    wake_ms: Option<u64>,
    /// What is to be sent to others, since [`Quorum::take_outgoing`] was last called.
    pub(crate) outgoing: Vec<PeerMessage>,
    /// What the last step answers to others.
    pub(crate) answers: Answers,
    /// The batches of the fetch that is being answered, each whole.
    pub(crate) fetched: Vec<Bytes>,
    /// The bytes of the part of a snapshot that has just come.
    pub(crate) part: Bytes,
    /// The snapshot that is being fetched.
    pub(crate) download: Option<Download>,
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
        let mut log = open_log(LogOpening {
            files,
            folder: &folder,
            clean: setup.clean,
            segment_bytes: setup.segment_bytes,
            now_ms: setup.clock.wall_ms(),
        })?;
        let start = newest.map_or(0, |id| id.end);
        if log.log_start() > start {
            let why = format!(
                "it starts at offset {}, and no snapshot has the records before",
                log.log_start()
            );
            return Err(QuorumError::Corrupt(why));
        }
        // A snapshot that was fetched takes the place of the log; a crash may have come between.
        if let Some(id) = newest.filter(|id| log.log_end() < id.end) {
            log.reset_to(id.end, id.epoch)?;
        }
        read_batches(&log.view(), start..log.log_end(), |bytes| replay.take_log(bytes))?;
        let key = setup.own.key;
        let voters = replay.log.voters();
        // A lone voter has no peers that would have to know where it listens now.
        let own = match voters.of_node(key.id) {
            Some(known) if voters.is_only(key) => Voter { key, ..known.clone() },
            _ => setup.own,
        };
        let durable = state::read_state(&**files, &folder)?;
        let mut quorum = Self {
            files: Arc::clone(files),
            raft: Raft::new(RaftSetup {
                own,
                candidacy: setup.candidacy,
                log: replay.log,
                timing: setup.timing,
            }),
            folder,
            log,
            own: key,
            committed: 0,
            clock: setup.clock,
            wake_ms: None,
            outgoing: Vec::new(),
            answers: Answers::default(),
            fetched: Vec::new(),
            part: Bytes::new(),
            download: None,
        };
        quorum.step(Input::Started(durable))?;
        Ok(OpenedQuorum { quorum, records: replay.records })
    }

    /// Takes an input in and carries out everything that follows from it.
    pub(crate) fn step(&mut self, input: Input) -> Result<(), QuorumError> {
        let mut todo = VecDeque::from(self.decide(input));
        while let Some(effect) = todo.pop_front() {
            match effect {
                Effect::Persist(durable) => {
                    self.persist(&durable)?;
                    let more = self.decide(Input::Persisted(durable));
                    more.into_iter().rev().for_each(|it| todo.push_front(it));
                }
                Effect::OpenEpoch { epoch, granted, controls } => {
                    let batch =
                        self.open_epoch(epoch, &granted, controls).map_err(demanded_write)?;
                    todo.extend(self.decide(Input::Appended(batch)));
                    todo.extend(self.decide(Input::Stored(self.end())));
                }
                Effect::AppendControls(controls) => {
                    let batch = self.append_controls(controls).map_err(demanded_write)?;
                    todo.extend(self.decide(Input::Appended(batch)));
                }
                Effect::Append { batches } => {
                    self.append_fetched(batches).map_err(demanded_write)?
                }
                Effect::Truncate { end } => self.log.truncate_to(end)?,
                Effect::Committed(end) => self.committed = self.committed.max(end),
                Effect::WriteSnapshot { id, position } => self.write_part(id, position)?,
                Effect::FreezeSnapshot(id) => {
                    let controls = self.freeze_snapshot(id)?;
                    todo.extend(self.decide(Input::SnapshotFrozen { id, controls }));
                }
                Effect::ReplaceLog(id) => self.log.reset_to(id.end, id.epoch)?,
                Effect::Wait { until_ms } => self.wake_ms = until_ms,
                // What is left of a leader's work its host finds in `Quorum::leads`.
                Effect::StepDown => {}
                Effect::Fatal(reason) => return Err(QuorumError::Corrupt(reason.to_string())),
                message => self.say(message),
            }
        }
        Ok(())
    }

    /// Keeps what is to be sent to another replica, until its host takes it.
    fn say(&mut self, effect: Effect) {
        let mut all = |voters: Vec<ReplicaKey>, request: &dyn Fn(ReplicaKey) -> PeerRequest| {
            self.outgoing.extend(
                voters.into_iter().map(|to| PeerMessage { to: to.id, request: request(to) }),
            );
        };
        match effect {
            Effect::AskVotes { asked, voters } => {
                all(voters, &|voter| PeerRequest::Vote { asked, voter });
            }
            Effect::BeginEpoch { epoch, voters } => {
                all(voters, &|voter| PeerRequest::BeginEpoch { epoch, voter });
            }
            Effect::EndEpoch { epoch, voters } => {
                let preferred = voters.clone();
                all(voters, &|_| PeerRequest::EndEpoch { epoch, preferred: preferred.clone() });
            }
            Effect::AskChange { leader, change } => {
                self.outgoing
                    .push(PeerMessage { to: leader, request: PeerRequest::Change(change) });
            }
            Effect::AskVersions(voter) => {
                let to = voter.key.id;
                self.outgoing.push(PeerMessage { to, request: PeerRequest::Versions(voter) });
            }
            Effect::AnswerVote { answer, .. } => self.answers.vote = Some(answer),
            Effect::AnswerBegin { error, .. } | Effect::AnswerEnd { error, .. } => {
                self.answers.epoch = Some(error);
            }
            Effect::AnswerChange { request, error } => self.answers.changes.push((request, error)),
            other => unreachable!("{other:?} is carried out by the step"),
        }
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

    /// Where the log ends, and of which epoch its last record is.
    pub(crate) fn end(&self) -> LogEnd {
        LogEnd { epoch: self.raft.log().end().epoch, offset: self.log.log_end() }
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

    /// A batch that changes the quorum; a power cut may take it back until it is stored.
    fn append_controls(&mut self, controls: Vec<QuorumControl>) -> Result<LogBatch, QuorumError> {
        let all = controls.iter().map(batch::quorum_control).collect::<Result<Vec<_>, _>>()?;
        let place = self.place(self.raft.epoch());
        let bytes = batch::of_controls(place, &all)?;
        self.write(&bytes, place)?;
        let (base, epoch) = (place.base_offset, place.leader_epoch);
        let controls = (base..).zip(controls).collect();
        Ok(LogBatch { base, end: self.log.log_end(), epoch, controls })
    }

    fn write(&mut self, bytes: &[u8], place: BatchPlace) -> Result<(), QuorumError> {
        let stamp =
            Stamp { leader_epoch: place.leader_epoch, append_time: None, max_timestamp: None };
        self.log.append_as_leader(bytes, stamp, place.now_ms)?;
        Ok(())
    }

    /// Appends records as one atomic batch of the leader of `epoch` at offset `base` and returns
    /// the log's end after them. A power cut may take them back until they are stored:
    /// [`Quorum::begin_store`].
    ///
    /// # Errors
    /// See [`QuorumError::is_refusal`].
    pub fn append(
        &mut self,
        epoch: LeaderEpoch,
        base: Offset,
        records: &[(MetadataRecord, i16)],
    ) -> Result<Offset, QuorumError> {
        if self.raft.leads() != Some(epoch) {
            return Err(QuorumError::NotLeader);
        }
        if self.log.log_end() != base {
            return Err(QuorumError::Moved);
        }
        let place = self.place(epoch);
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

    /// A snapshot was written, by [`Snapshot::run`].
    ///
    /// # Errors
    /// The protocol is broken.
    pub fn snapshot_taken(&mut self, id: SnapshotId) -> Result<(), QuorumError> {
        self.step(Input::SnapshotTaken(id))
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
        // What was cut off meanwhile is not there any more.
        let lineage = self.raft.log().lineage();
        let is_there = store.end.offset <= self.log.log_end()
            && lineage.end_of(store.end.epoch).epoch == store.end.epoch
            && lineage.end_of(store.end.epoch).offset >= store.end.offset;
        if is_there { self.step(Input::Stored(store.end)) } else { Ok(()) }
    }

    /// Is there anything in the log that is not known to be durable?
    #[must_use]
    pub fn has_unstored(&self) -> bool {
        self.raft.stored_end() != self.raft.log().end()
    }

    /// When [`Quorum::wake_up`] is to be called, on the clock's monotonic time in milliseconds.
    #[must_use]
    pub const fn wake_ms(&self) -> Option<u64> {
        self.wake_ms
    }

    /// The time for which this replica has waited has come.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn wake_up(&mut self) -> Result<(), QuorumError> {
        self.step(Input::TimedOut)
    }

    /// The node shuts down, or its controller cannot go on: another replica is to lead.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn resign(&mut self) -> Result<(), QuorumError> {
        self.step(Input::Resign)
    }

    /// What must be done to write a snapshot of everything below `end`, which has committed.
    ///
    /// # Errors
    /// The voters have no form in their version.
    pub fn begin_snapshot(&self, end: Offset) -> Result<Snapshot, QuorumError> {
        let known = self.raft.log();
        let version = known.kraft_version_at(end - 1);
        let mut more = Vec::new();
        if version >= 1 {
            more.push(batch::kraft_version(version)?);
            let voters = known.voters_at(end - 1);
            more.extend(voters.map(batch::voters_record).transpose()?);
        }
        Ok(Snapshot {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            id: SnapshotId { end, epoch: self.log.view().epoch_of(end - 1).max(0) },
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

    /// The epoch that this replica leads and in which it has committed something, so that all of
    /// earlier epochs has committed, too.
    #[must_use]
    pub fn leads(&self) -> Option<LeaderEpoch> {
        self.raft.committed().and(self.raft.leads())
    }

    /// The core, to look at.
    #[must_use]
    pub const fn raft(&self) -> &Raft {
        &self.raft
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

/// A refusal of the log is none where the replica counts on what is appended.
fn demanded_write(error: QuorumError) -> QuorumError {
    match error {
        QuorumError::Append(error) if !is_planted(Bug::LackBelieved) => {
            QuorumError::Demanded(error)
        }
        error => error,
    }
}
