//! This node as a member of the metadata quorum: its replica of the log behind one lock, and what
//! others watch of it.
//!
//! Every step is taken through [`QuorumMember::step`]. What follows from it elsewhere is woken
//! there: the task that makes the log durable, the one that publishes what has committed, those
//! that send to other replicas, and the fetches that wait. A step that fails ends the member, and
//! with it the node: what is on its disk is unknown, or the protocol is broken.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_clock::{Clock, Lane, Ring, Share};
use ottla_locks::Mutex;
use ottla_quorum::wire::Speaker;
use ottla_quorum::{
    Endpoint, LogEnd, PeerMessage, Quorum, QuorumError, ReplicaKey, RequestId, Standing, Voter,
};
use ottla_types::{Bug, ErrorCode, LeaderEpoch, NodeId, Offset, is_planted, join_host_port};
use tokio::sync::{Notify, oneshot, watch};

/// The share of the metadata lane for steps that follow upon what others say.
const STEPPING: Share = Share(3);

/// What others watch of a member, as of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuorumView {
    /// The epoch, and the leader that the member knows.
    pub standing: Standing,
    /// The epoch that this node leads as the active controller: see [`Quorum::leads`].
    pub leads: Option<LeaderEpoch>,
    /// Everything below is committed.
    pub committed: Offset,
    /// Where the log ends, durable or not.
    pub log_end: LogEnd,
    /// Where the log ends on the disk.
    pub stored: LogEnd,
    /// How many voters there are.
    pub voters: usize,
    /// The level of `kraft.version`.
    pub kraft_version: i16,
    /// Is there anything to ask others for? Not for a leader or a candidate, nor before all that
    /// there is of the log is on the disk. A follower whose candidacy the others refuse follows the
    /// same leader in the same epoch again: this alone says so.
    pub may_fetch: bool,
}

impl QuorumView {
    fn of(quorum: &Quorum) -> Self {
        Self {
            // Not what it tells others before that is on its disk: steps end with it there.
            standing: Standing { epoch: quorum.epoch(), leader: quorum.leader() },
            leads: quorum.leads(),
            committed: quorum.committed(),
            log_end: quorum.raft().log().end(),
            stored: quorum.raft().stored_end(),
            voters: quorum.voters().len(),
            kraft_version: quorum.kraft_version(),
            may_fetch: quorum.next_request().is_some() && !is_planted(Bug::RefusedStopsFetching),
        }
    }
}

/// The node's replica of the metadata log.
#[derive(Debug)]
pub struct QuorumMember {
    clock: Clock,
    own: Voter,
    /// Guards the replica: one step at a time, which writes the log, and waits for the disk when it
    /// promises something. `None` once it was closed.
    quorum: Mutex<Option<Quorum>>,
    view: watch::Sender<QuorumView>,
    /// What a step wakes; set once, before the node serves.
    bells: OnceLock<MemberBells>,
    /// Notified when there is something to be sent.
    outgoing: Notify,
    /// Notified when the next timer is due earlier than before.
    timer: Notify,
    /// Guards who has asked for other voters and waits; held for a look-up.
    changes: Mutex<PendingChanges>,
    /// Has a step failed?
    failed: watch::Sender<bool>,
}

/// What a step wakes on this node's lane.
#[derive(Debug)]
pub struct MemberBells {
    /// Makes the log durable.
    pub storing: Ring,
    /// Makes this node what has committed.
    pub publishing: Ring,
}

#[derive(Debug, Default)]
struct PendingChanges {
    last: RequestId,
    waiting: BTreeMap<RequestId, oneshot::Sender<ErrorCode>>,
}

impl QuorumMember {
    /// The member that was opened; `own` is what it says of itself.
    #[must_use]
    pub fn new(clock: Clock, own: Voter, quorum: Quorum) -> Self {
        let (view, _) = watch::channel(QuorumView::of(&quorum));
        let (failed, _) = watch::channel(false);
        Self {
            clock,
            own,
            quorum: Mutex::new(Some(quorum)),
            view,
            bells: OnceLock::new(),
            outgoing: Notify::new(),
            timer: Notify::new(),
            changes: Mutex::default(),
            failed,
        }
    }

    /// Which replica it is, and where it listens.
    #[must_use]
    pub const fn own(&self) -> &Voter {
        &self.own
    }

    /// Rings these from now on.
    pub fn set_bells(&self, bells: MemberBells) {
        assert!(self.bells.set(bells).is_ok(), "the member is served once");
    }

    /// Rings the task that publishes what has committed.
    pub fn ring_publishing(&self) {
        if let Some(bells) = self.bells.get() {
            bells.publishing.ring();
        }
    }

    /// Takes a step, or several.
    ///
    /// # Errors
    /// The step is refused, or has failed: then the member takes no other.
    pub fn step<T>(
        &self,
        step: impl FnOnce(&mut Quorum) -> Result<T, QuorumError>,
    ) -> Result<T, QuorumError> {
        let mut held = self.quorum.lock();
        let Some(quorum) = held.as_mut() else { return Err(QuorumError::NotLeader) };
        let was_due = quorum.wake_ms();
        let done = step(quorum);
        let view = QuorumView::of(quorum);
        let before = *self.view.borrow();
        let is_earlier = match (was_due, quorum.wake_ms()) {
            (Some(was), Some(is)) => is < was,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let (says, answers) = (quorum.has_outgoing(), quorum.take_change_answers());
        if view != before {
            self.view.send_replace(view);
        }
        drop(held);
        if view.standing != before.standing {
            let Standing { epoch, leader } = view.standing;
            match leader {
                Some(leader) => tracing::info!(epoch, leader, "metadata quorum has a leader"),
                None => tracing::info!(epoch, "metadata quorum has no leader; waiting for one"),
            }
        }
        if says {
            self.outgoing.notify_one();
        }
        if is_earlier {
            self.timer.notify_one();
        }
        if let Some(bells) = self.bells.get() {
            if view.log_end != before.log_end {
                bells.storing.ring();
            }
            if view.committed != before.committed || view.leads != before.leads {
                bells.publishing.ring();
            }
        }
        self.answer_changes(answers);
        if let Err(error) = &done
            && !error.is_refusal()
        {
            self.fail(error);
        }
        done
    }

    /// As [`QuorumMember::step`], where it may wait for the disk; `None` once the lane has stopped.
    pub async fn step_on<T: Send + 'static>(
        self: &Arc<Self>,
        lane: &Lane,
        step: impl FnOnce(&mut Quorum) -> Result<T, QuorumError> + Send + 'static,
    ) -> Option<Result<T, QuorumError>> {
        let member = Arc::clone(self);
        lane.run(STEPPING, move || member.step(step)).await
    }

    /// Ends the member: its log fails, or the protocol is broken.
    pub fn fail(&self, error: &QuorumError) {
        if !self.failed.send_replace(true) {
            tracing::error!(%error, "metadata quorum cannot go on; the node stops");
            self.ring_publishing();
        }
    }

    /// Has a step failed?
    #[must_use]
    pub fn is_failed(&self) -> bool {
        *self.failed.borrow()
    }

    /// Returns when the member cannot go on: a node without one must not go on either, since
    /// brokers and clients would take it for one that has.
    pub async fn failed(&self) {
        // The sender is held by this member.
        let _ = self.failed.subscribe().wait_for(|failed| *failed).await;
    }

    /// Looks at the replica; `None` once it was closed.
    pub fn look<T>(&self, look: impl FnOnce(&Quorum) -> T) -> Option<T> {
        self.quorum.lock().as_ref().map(look)
    }

    /// What others watch of it.
    #[must_use]
    pub fn view(&self) -> QuorumView {
        *self.view.borrow()
    }

    /// Watches it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<QuorumView> {
        self.view.subscribe()
    }

    /// The epoch and the leader, as every answer to another replica says them.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        let told = self.look(|quorum| {
            let standing = quorum.standing();
            let endpoint = standing.leader.and_then(|leader| match leader == self.own.key.id {
                true => self.own.endpoints.first().cloned(),
                false => endpoint_of(quorum, leader),
            });
            Speaker { standing, endpoint }
        });
        told.unwrap_or_default()
    }

    /// Where a voter's controller listens, as far as the log or the settings say.
    #[must_use]
    pub fn endpoint(&self, node: NodeId) -> Option<Endpoint> {
        self.look(|quorum| endpoint_of(quorum, node)).flatten()
    }

    /// The other voters.
    #[must_use]
    pub fn other_voters(&self) -> Vec<ReplicaKey> {
        self.look(|quorum| quorum.voters().others(self.own.key).collect()).unwrap_or_default()
    }

    /// Waits until something is to be sent to others, and takes it.
    pub async fn outgoing(&self) -> Vec<PeerMessage> {
        loop {
            let taken = self.quorum.lock().as_mut().map(Quorum::take_outgoing);
            match taken {
                Some(taken) if !taken.is_empty() => return taken,
                _ => self.outgoing.notified().await,
            }
        }
    }

    /// Waits until the next timer is due.
    pub async fn timer_due(&self) {
        loop {
            let wake_ms = self.look(Quorum::wake_ms).flatten();
            let at = wake_ms.map_or(Duration::MAX, Duration::from_millis);
            if self.clock.monotonic() >= at {
                return;
            }
            if at == Duration::MAX {
                self.timer.notified().await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.timer.notified() => {}
                () = self.clock.sleep_until(at) => {}
            }
        }
    }

    /// A request for other voters: its number, and where its answer comes.
    pub fn pending_change(&self) -> (RequestId, oneshot::Receiver<ErrorCode>) {
        let (sender, answer) = oneshot::channel();
        let mut changes = self.changes.lock();
        changes.last += 1;
        let request = changes.last;
        changes.waiting.insert(request, sender);
        (request, answer)
    }

    fn answer_changes(&self, answers: Vec<(RequestId, ErrorCode)>) {
        for (request, error) in answers {
            if let Some(asker) = self.changes.lock().waiting.remove(&request) {
                // One that waits no longer needs no answer.
                let _ = asker.send(error);
            }
        }
    }

    /// The replica, to be closed: no step follows.
    pub fn close(&self) -> Option<Quorum> {
        self.quorum.lock().take().filter(|_| !self.is_failed())
    }
}

fn endpoint_of(quorum: &Quorum, node: NodeId) -> Option<Endpoint> {
    quorum.voters().of_node(node)?.endpoints.first().cloned()
}

/// `host:port`.
#[must_use]
pub fn address_of(endpoint: &Endpoint) -> String {
    join_host_port(&endpoint.host, endpoint.port)
}

/// A member that several tasks share.
pub type SharedMember = Arc<QuorumMember>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use ottla_partitions::{DiskFiles, Files};
    use ottla_quorum::{Candidacy, Setup, Timing, VoterSet};
    use ottla_types::Uuid;

    /// Node 1 of three.
    fn one_of_three(folder: &Path, clock: &Clock) -> QuorumMember {
        let voter = |id: NodeId| {
            let key = ReplicaKey { id, directory: Uuid::ZERO };
            Voter { key, endpoints: Vec::new(), kraft_versions: (0, 1) }
        };
        let own = Voter { key: ReplicaKey { id: 1, directory: Uuid::of(5) }, ..voter(1) };
        let opened = Quorum::open(Setup {
            files: Arc::new(DiskFiles) as Arc<dyn Files>,
            dir: folder.to_owned(),
            own: own.clone(),
            candidacy: Candidacy::ByOperator,
            timing: Timing::default(),
            static_voters: VoterSet::of([1, 2, 3].map(voter)),
            clean: false,
            segment_bytes: 1 << 20,
            clock: clock.clone(),
        });
        QuorumMember::new(clock.clone(), own, opened.expect("opens").quorum)
    }

    #[test]
    fn the_task_that_fetches_sees_that_a_candidacy_has_ended() {
        // The epoch and its leader are the same before and after: that alone wakes nothing.
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(1_000);
        let member = one_of_three(folder.path(), &clock);
        let standing = Standing { epoch: 4, leader: Some(2) };
        member.step(|quorum| quorum.heard(standing)).expect("taken");
        let (follows, mut seen) = (member.view(), member.watch());
        assert!(follows.may_fetch);
        let time_out = || {
            clock.advance(10_000);
            member.step(Quorum::wake_up).expect("taken");
        };
        time_out();
        assert_eq!(member.view(), QuorumView { may_fetch: false, ..follows }, "it asks for votes");
        seen.mark_unchanged();
        time_out();
        assert!(seen.has_changed().expect("the member is there"));
        assert_eq!(member.view(), follows);
    }
}
