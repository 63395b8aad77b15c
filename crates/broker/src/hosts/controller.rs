//! The controller of this node: the machine of the cluster's metadata, on the metadata quorum.
//!
//! It is active while this node leads the quorum and has applied all that earlier leaders have
//! committed; each epoch has a machine of its own. A turn runs where the request is served, as with
//! every machine. Two tasks of a lane do what waits for disks, on every member: one makes durable
//! what was appended, as much at once as has come meanwhile; the other makes this node what has
//! committed. Then the answers leave.
//!
//! A member whose log fails is lost, and with it the node: see [`ControllerHandle::failed`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_clock::{Clock, Lane, Next, Ring, Share, Task};
use ottla_locks::Mutex;
use ottla_metadata::{Cluster, Controller, ControllerCommand, ControllerReply, with_versions};
use ottla_protocol::metadata::MetadataRecord;
use ottla_quorum::{
    CommittedLog, CommittedRecords, LogRetention, Quorum, QuorumError, Snapshot, SnapshotId,
};
use ottla_types::{Bug, ErrorCode, LeaderEpoch, Offset, TimestampMs, is_planted};
use tokio::sync::{oneshot, watch};

use super::host::{Host, Unanswered, Wake};
use super::quorum_journal::QuorumJournal;
use super::quorum_member::{MemberBells, SharedMember};

/// The shares of the controller's lane: none of them waits for another.
const STORING: Share = Share(0);
const PUBLISHING: Share = Share(1);
const SNAPSHOTS: Share = Share(2);

/// How often the metadata log is looked at for what is too old, as Apache Kafka does.
const CLEANING_INTERVAL: Duration = Duration::from_mins(1);

/// Metadata that has committed.
#[derive(Clone, Debug)]
pub struct News {
    /// The metadata.
    pub cluster: Cluster,
    /// The offset of the metadata log as of which it is.
    pub offset: Offset,
}

/// The metadata as of an offset of the committed log.
#[derive(Debug, Default)]
pub struct MetadataImage {
    /// With the records of a metadata transaction that is open.
    pub cluster: Cluster,
    /// The offset behind the last record in it.
    pub next: Offset,
    /// How many bytes of the log were read for it.
    pub read_bytes: u64,
    /// How many snapshots were read for it.
    pub read_snapshots: u64,
}

impl MetadataImage {
    /// Takes in what has committed since.
    fn advance(&mut self, log: &CommittedLog) -> Result<(), QuorumError> {
        while self.next < log.committed {
            match log.read(&mut self.next)? {
                CommittedRecords::Next { records, bytes } => {
                    self.read_bytes += bytes;
                    records.iter().for_each(|record| self.cluster.apply(record));
                }
                CommittedRecords::Snapshot(records) => {
                    self.read_snapshots += 1;
                    self.cluster = Cluster::default();
                    records.iter().for_each(|record| self.cluster.apply(record));
                }
            }
        }
        Ok(())
    }
}

/// When snapshots of the metadata are written, and what is kept.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotRules {
    /// How many bytes of records come between two snapshots
    /// (`metadata.log.max.record.bytes.between.snapshots`).
    pub between_bytes: u64,
    /// After how long there is another snapshot, however few records there are
    /// (`metadata.log.max.snapshot.interval.ms`); `None` is never.
    pub interval: Option<Duration>,
    /// What of the log and of older snapshots is kept.
    pub retention: LogRetention,
}

/// Makes a controller of the cluster as it is; the number is the level of `kraft.version`.
pub type MakeController = Box<dyn Fn(Cluster, i16) -> Controller + Send + Sync>;

/// The controller, and the way to it; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerHandle(Arc<ControllerInner>);

struct ControllerInner {
    clock: Clock,
    member: SharedMember,
    make: MakeController,
    /// What a new cluster begins with.
    bootstrap: Vec<MetadataRecord>,
    /// Guards which machine decides, if this node leads; held for a look.
    active: Mutex<Option<Arc<ActiveController>>>,
    /// The epoch in which this node's controller is active.
    active_epoch: watch::Sender<Option<LeaderEpoch>>,
    /// See [`QuorumJournal`].
    published: Arc<AtomicI64>,
    /// Nothing is published before the image is behind this offset. A round that reads it too early
    /// is followed by another.
    publish_from: AtomicI64,
    storing: Arc<StoreBell>,
}

impl std::fmt::Debug for ControllerInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("member", &self.member).finish_non_exhaustive()
    }
}

/// The machine that decides in one epoch.
#[derive(Debug)]
struct ActiveController {
    epoch: LeaderEpoch,
    host: Host<Controller, QuorumJournal>,
}

/// Rings the task that fires timers and makes the log durable, from when there is one; set once.
/// What is appended before that is made durable by the task's first round.
#[derive(Debug, Default)]
struct StoreBell(OnceLock<Ring>);

impl Wake for StoreBell {
    fn wake(&self) {
        if let Some(ring) = self.0.get() {
            ring.ring();
        }
    }
}

impl ControllerHandle {
    /// The controller of this member. It works from when it has a lane:
    /// [`ControllerHandle::serve`].
    #[must_use]
    pub fn new(
        clock: Clock,
        member: SharedMember,
        bootstrap: Vec<MetadataRecord>,
        make: MakeController,
    ) -> Self {
        let (active_epoch, _) = watch::channel(None);
        Self(Arc::new(ControllerInner {
            clock,
            member,
            make,
            bootstrap,
            active: Mutex::new(None),
            active_epoch,
            published: Arc::new(AtomicI64::new(0)),
            publish_from: AtomicI64::new(-1),
            storing: Arc::default(),
        }))
    }

    /// Works on `lane` from now on, until that is stopped; `image` is what the node has read of the
    /// log. `publish` makes this node what the metadata says, which may take as long as opening
    /// logs does. It returns after how long it wants to be called again, then without news;
    /// `Duration::MAX` is not before there are some.
    pub fn serve(
        &self,
        lane: &Lane,
        mut image: MetadataImage,
        rules: SnapshotRules,
        mut publish: impl FnMut(Option<News>) -> Duration + Send + 'static,
    ) {
        let (inner, snapshots) = (Arc::clone(&self.0), lane.clone());
        let mut due = SnapshotDue::after(&image, rules, inner.clock.monotonic());
        let mut delivered = 0;
        let task = Task::new("metadata publishing", move || {
            let at_most = inner.publish_round(&mut image, &mut delivered, &mut publish);
            inner.begin_snapshot(&image, &mut due, &snapshots);
            inner.begin_cleaning(&mut due, &snapshots);
            Next::WhenRung { at_most }
        });
        let publishing = lane.start_task(PUBLISHING, task);
        let inner = Arc::clone(&self.0);
        let task = Task::new("metadata commits", move || inner.store_round());
        let storing = lane.start_task(STORING, task);
        assert!(self.0.storing.0.set(storing.clone()).is_ok(), "the controller is served once");
        self.0.member.set_bells(MemberBells { storing, publishing });
    }

    /// Publishes nothing before the image is behind this offset.
    pub fn publish_from(&self, offset: Offset) {
        self.0.publish_from.store(offset, Ordering::Release);
        self.0.member.ring_publishing();
    }

    /// Is the active controller on this node?
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.0.active_epoch.borrow().is_some()
    }

    /// Watches in which epoch the controller of this node is active.
    #[must_use]
    pub fn watch_active(&self) -> watch::Receiver<Option<LeaderEpoch>> {
        self.0.active_epoch.subscribe()
    }

    /// This node's replica of the metadata log.
    #[must_use]
    pub fn member(&self) -> &SharedMember {
        &self.0.member
    }

    /// Asks; the answer comes when everything it rests on is committed and in force on this node.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when the active controller is not here, or is gone before it could answer;
    /// another code if its log refuses the decision.
    pub async fn ask<T>(&self, command: ControllerCommand) -> Result<T, ErrorCode>
    where
        T: TryFrom<ControllerReply, Error = ControllerReply>,
    {
        let reply = self.start(command)?.await.map_err(|_| ErrorCode::NOT_CONTROLLER)?;
        Ok(ottla_machine::expect_reply(reply))
    }

    /// Like [`ControllerHandle::ask`], for a thread without a runtime.
    ///
    /// # Errors
    /// As [`ControllerHandle::ask`].
    pub fn ask_blocking<T>(&self, command: ControllerCommand) -> Result<T, ErrorCode>
    where
        T: TryFrom<ControllerReply, Error = ControllerReply>,
    {
        let answer = self.start(command)?.blocking_recv();
        Ok(ottla_machine::expect_reply(answer.map_err(|_| ErrorCode::NOT_CONTROLLER)?))
    }

    /// Asks without waiting for an answer.
    ///
    /// # Errors
    /// See [`ControllerHandle::ask`].
    pub fn tell(&self, command: ControllerCommand) -> Result<(), ErrorCode> {
        self.0.active()?.host.tell(command).map_err(|error| refusal_code(&error))
    }

    fn start(
        &self,
        command: ControllerCommand,
    ) -> Result<oneshot::Receiver<ControllerReply>, ErrorCode> {
        self.0.active()?.host.start(command).map_err(|error| refusal_code(&error))
    }

    /// Returns when this node's replica of the metadata log is lost, because its disk fails.
    pub async fn failed(&self) {
        self.0.member.failed().await;
    }

    /// Ends the controller and gives its quorum back, to be closed; `None` if it was lost. Its lane
    /// is stopped before.
    #[must_use]
    pub fn stop(&self) -> Option<Quorum> {
        self.0.unload(None);
        self.0.member.close()
    }
}

/// When the next snapshot is due, and when old ones are looked at.
struct SnapshotDue {
    rules: SnapshotRules,
    /// How much of the log had been read when the last snapshot was begun or read.
    from_bytes: u64,
    /// When that was.
    from: Duration,
    /// How many snapshots had been read then.
    read_snapshots: u64,
    /// When old ones were last looked at.
    cleaned: Duration,
}

impl SnapshotDue {
    /// From now on, by the clock's monotonic time.
    const fn after(image: &MetadataImage, rules: SnapshotRules, now: Duration) -> Self {
        let (from_bytes, read_snapshots) = (image.read_bytes, image.read_snapshots);
        Self { rules, from_bytes, from: now, read_snapshots, cleaned: now }
    }

    /// A snapshot was begun, or read in the place of the log.
    const fn restart(&mut self, image: &MetadataImage, now: Duration) {
        (self.from_bytes, self.from) = (image.read_bytes, now);
        self.read_snapshots = image.read_snapshots;
    }

    /// Is there enough in the log, or is there anything and the last snapshot is old enough?
    fn is_due(&self, image: &MetadataImage, now: Duration) -> bool {
        let bytes = image.read_bytes.saturating_sub(self.from_bytes);
        let age = now.saturating_sub(self.from);
        let is_old = self.rules.interval.is_some_and(|interval| age >= interval);
        bytes >= self.rules.between_bytes || bytes > 0 && is_old
    }
}

impl ControllerInner {
    fn active(&self) -> Result<Arc<ActiveController>, ErrorCode> {
        self.active.lock().clone().ok_or(ErrorCode::NOT_CONTROLLER)
    }

    /// Fires the timers that are due and makes durable what was appended.
    fn store_round(&self) -> Next {
        let active = self.active.lock().clone();
        let next_ms = active.as_ref().and_then(|active| active.host.fire());
        // A failure ends the member, which says so; a refusal is that it was closed.
        let _ = self.store();
        if self.member.is_failed() {
            self.unload(None);
            return Next::End;
        }
        Next::WhenRung { at_most: next_ms.map_or(Duration::MAX, |next_ms| self.until(next_ms)) }
    }

    /// Makes durable what was appended before this call.
    fn store(&self) -> Result<(), QuorumError> {
        let begin = |quorum: &mut Quorum| {
            if quorum.has_unstored() { quorum.begin_store().map(Some) } else { Ok(None) }
        };
        let Some(store) = self.member.step(begin)? else { return Ok(()) };
        let done = store.run();
        self.member.step(|quorum| quorum.end_store(&store, done))
    }

    /// Makes this node what the newest committed metadata says, and lets the answers go.
    fn publish_round(
        &self,
        image: &mut MetadataImage,
        delivered: &mut Offset,
        publish: &mut impl FnMut(Option<News>) -> Duration,
    ) -> Duration {
        let seen = self.member.look(|quorum| (quorum.committed_log(), quorum.leads()));
        let Some((log, leads)) = seen.filter(|_| !self.member.is_failed()) else {
            // Those that wait for an answer would wait for good.
            self.unload(None);
            return Duration::MAX;
        };
        if !is_planted(Bug::StaysActive) {
            self.unload(leads);
        }
        match image.advance(&log) {
            Ok(()) => {}
            // What has come in the place of the log is read at once.
            Err(QuorumError::Moved) => return Duration::ZERO,
            Err(error) => {
                self.member.fail(&error);
                return Duration::MAX;
            }
        }
        let is_held_back = image.next <= self.publish_from.load(Ordering::Acquire);
        let has_news = image.next > *delivered && !is_held_back;
        if has_news {
            *delivered = image.next;
        }
        let news =
            has_news.then(|| News { cluster: image.cluster.settled().clone(), offset: image.next });
        let again = publish(news);
        self.published.store(image.next, Ordering::Release);
        let active = self.active.lock().clone();
        match (active, leads) {
            (Some(active), _) => {
                active.host.committed();
            }
            (None, Some(epoch)) => self.activate(epoch, image),
            (None, None) => {}
        }
        again
    }

    /// This node leads, and its image has all that has committed before: it decides from now on.
    fn activate(&self, epoch: LeaderEpoch, image: &MetadataImage) {
        let kraft_version = self.member.look(Quorum::kraft_version).unwrap_or(0);
        let controller = (self.make)(image.cluster.clone(), kraft_version);
        let published = Arc::clone(&self.published);
        let version = controller.cluster().metadata_version();
        let journal = QuorumJournal::new(Arc::clone(&self.member), epoch, published, version);
        let wake = Arc::clone(&self.storing) as Arc<dyn Wake>;
        let host = Host::new(self.clock.clone(), controller, journal, wake);
        let records = self.bootstrap.clone();
        if host.tell(ControllerCommand::Activate { records }).is_err() {
            // Another leads already.
            return;
        }
        tracing::debug!(epoch, offset = image.next, "controller is active");
        *self.active.lock() = Some(Arc::new(ActiveController { epoch, host }));
        self.active_epoch.send_replace(Some(epoch));
        // Its timers.
        self.storing.wake();
    }

    /// Ends the machine of another epoch than the one that this node leads: its requests are
    /// answered, and the metadata is again what has committed.
    fn unload(&self, leads: Option<LeaderEpoch>) {
        let gone = self.active.lock().take_if(|active| Some(active.epoch) != leads);
        if let Some(gone) = gone {
            self.active_epoch.send_replace(None);
            gone.host.unload();
            tracing::debug!(epoch = gone.epoch, "controller is not active any more");
        }
    }

    /// Writes a snapshot beside everything else, if one is due.
    fn begin_snapshot(self: &Arc<Self>, image: &MetadataImage, due: &mut SnapshotDue, lane: &Lane) {
        let now = self.clock.monotonic();
        if image.read_snapshots != due.read_snapshots {
            due.restart(image, now);
        }
        // None lies within a metadata transaction.
        if !due.is_due(image, now) || image.cluster.has_open_transaction() {
            return;
        }
        due.restart(image, now);
        let offset = image.next;
        match self.member.look(|quorum| quorum.begin_snapshot(offset)) {
            None => {}
            Some(Ok(snapshot)) => {
                let (this, cluster) = (Arc::clone(self), image.cluster.clone());
                let retention = due.rules.retention;
                lane.start(SNAPSHOTS, move || this.write_snapshot(&snapshot, &cluster, retention));
            }
            Some(Err(error)) => {
                tracing::error!(%error, offset, "metadata snapshot cannot be begun; retrying later");
            }
        }
    }

    /// Gives up what is too old, beside everything else, once in a while.
    fn begin_cleaning(self: &Arc<Self>, due: &mut SnapshotDue, lane: &Lane) {
        let now = self.clock.monotonic();
        if now.saturating_sub(due.cleaned) < CLEANING_INTERVAL {
            return;
        }
        due.cleaned = now;
        let (this, retention) = (Arc::clone(self), due.rules.retention);
        // A failure ends the member, which says so.
        lane.start(SNAPSHOTS, move || drop(this.member.step(|quorum| quorum.clean(retention))));
    }

    /// Writes a snapshot. If that fails the log has everything still, and the next one is tried
    /// when the log has grown by as much again.
    fn write_snapshot(&self, snapshot: &Snapshot, cluster: &Cluster, retention: LogRetention) {
        let records = with_versions(cluster.to_records(), cluster.metadata_version());
        let written = snapshot.run(&records);
        let taken = |id: SnapshotId| {
            self.member.step(|quorum| {
                quorum.snapshot_taken(id)?;
                quorum.clean(retention)
            })
        };
        if let Err(error) = written.and_then(taken) {
            tracing::error!(
                %error,
                "metadata snapshot cannot be written; retrying when the metadata log has grown"
            );
        }
    }

    fn until(&self, at_ms: TimestampMs) -> Duration {
        let ms = at_ms.saturating_sub(self.clock.wall_ms());
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

/// The error code for a request whose command gets no reply.
fn refusal_code(error: &Unanswered<QuorumError>) -> ErrorCode {
    match error {
        Unanswered::Lost | Unanswered::Refused(QuorumError::NotLeader | QuorumError::Moved) => {
            ErrorCode::NOT_CONTROLLER
        }
        Unanswered::Refused(QuorumError::Append(error)) => error.code(),
        Unanswered::Refused(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
