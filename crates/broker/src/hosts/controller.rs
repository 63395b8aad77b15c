//! The controller of this node: the machine of the cluster's metadata, on the metadata quorum.
//!
//! A turn runs where the request is served, as with every machine. Two tasks of a lane do what
//! waits for disks: one commits what was appended, as much at once as has come meanwhile; the other
//! makes this node what the committed metadata says. Then the answers leave.
//!
//! A controller whose log fails is lost, and with it the node: see [`ControllerHandle::failed`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_clock::{Clock, Lane, Next, Ring, Share, Task};
use ottla_metadata::{Cluster, Controller, ControllerCommand, ControllerReply, with_versions};
use ottla_quorum::{Quorum, QuorumError, Snapshot};
use ottla_types::{ErrorCode, TimestampMs};
use tokio::sync::{oneshot, watch};

use super::host::{Host, Unanswered, Wake};
use super::quorum_journal::{News, QuorumJournal};

/// The shares of the controller's lane: none of them waits for another.
const COMMITTING: Share = Share(0);
const PUBLISHING: Share = Share(1);
const SNAPSHOTS: Share = Share(2);

/// The controller, and the way to it; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerHandle(Arc<ControllerInner>);

#[derive(Debug)]
struct ControllerInner {
    clock: Clock,
    host: Host<Controller, QuorumJournal>,
    committing: Arc<CommitBell>,
    /// Is the controller lost, because its log fails?
    failed: watch::Sender<bool>,
}

/// Rings the task that commits, from when there is one; set once. What is appended before that is
/// committed by the task's first round.
#[derive(Debug, Default)]
struct CommitBell(OnceLock<Ring>);

impl Wake for CommitBell {
    fn wake(&self) {
        if let Some(ring) = self.0.get() {
            ring.ring();
        }
    }
}

impl ControllerHandle {
    /// A controller with the state as of the end of `quorum`'s log. It answers from when it has a
    /// lane: [`ControllerHandle::serve`].
    #[must_use]
    pub fn new(clock: Clock, controller: Controller, quorum: Quorum) -> Self {
        let committing = Arc::<CommitBell>::default();
        let wake = Arc::clone(&committing) as Arc<dyn Wake>;
        let journal = QuorumJournal::new(quorum, controller.cluster().metadata_version());
        let host = Host::new(clock.clone(), controller, journal, wake);
        let (failed, _) = watch::channel(false);
        Self(Arc::new(ControllerInner { clock, host, committing, failed }))
    }

    /// Commits on `lane` from now on, until that is stopped; `publish` makes this node what the
    /// metadata says, which may take as long as opening logs does. It returns after how long it
    /// wants to be called again, then without news; `Duration::MAX` is not before there are some.
    pub fn serve(
        &self,
        lane: &Lane,
        mut publish: impl FnMut(Option<News>) -> Duration + Send + 'static,
    ) {
        let (inner, snapshots) = (Arc::clone(&self.0), lane.clone());
        let task = Task::new("metadata publishing", move || {
            let at_most = inner.publish(&mut publish, &snapshots);
            Next::WhenRung { at_most }
        });
        let publishing = lane.start_task(PUBLISHING, task);
        let inner = Arc::clone(&self.0);
        let task = Task::new("metadata commits", move || inner.commit_round(&publishing));
        let committing = lane.start_task(COMMITTING, task);
        assert!(self.0.committing.0.set(committing).is_ok(), "the controller is served once");
    }

    /// Is this the active controller? The only voter of a quorum always is.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        true
    }

    /// Asks; the answer comes when everything it rests on is committed and in force on this node.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when the controller is gone; another code if its log refuses the decision.
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
        self.0.host.tell(command).map_err(|error| refusal_code(&error))
    }

    fn start(
        &self,
        command: ControllerCommand,
    ) -> Result<oneshot::Receiver<ControllerReply>, ErrorCode> {
        self.0.host.start(command).map_err(|error| refusal_code(&error))
    }

    /// Returns when the controller is lost because it cannot write: a node without one must not go
    /// on, since brokers and clients would take it for one that has.
    pub async fn failed(&self) {
        // The sender is held by this handle.
        let _ = self.0.failed.subscribe().wait_for(|failed| *failed).await;
    }

    /// Ends the controller and gives its quorum back, to be closed; `None` if it was lost. Its lane
    /// is stopped before.
    #[must_use]
    pub fn stop(&self) -> Option<Quorum> {
        let was_lost = self.0.host.is_lost();
        self.0.host.unload();
        let quorum = self.0.host.between_turns(|_, journal| journal.take_quorum());
        quorum.filter(|_| !was_lost)
    }
}

impl ControllerInner {
    /// Fires the timers that are due and commits what was appended.
    fn commit_round(&self, publishing: &Ring) -> Next {
        let next_ms = self.host.fire();
        let is_lost = self.host.is_lost();
        match if is_lost { Ok(false) } else { self.commit() } {
            Ok(true) => publishing.ring(),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(
                    %error,
                    "metadata log cannot be made durable; the controller stops, and the node with it"
                );
                self.host.unload();
            }
        }
        if self.host.is_lost() {
            self.failed.send_replace(true);
            return Next::End;
        }
        Next::WhenRung { at_most: next_ms.map_or(Duration::MAX, |next_ms| self.until(next_ms)) }
    }

    /// Commits what was appended before this call; was there anything?
    fn commit(&self) -> Result<bool, QuorumError> {
        let begin = |controller: &Controller, journal: &mut QuorumJournal| {
            journal.begin_commit(controller.cluster())
        };
        let Some(commit) = self.host.between_turns(begin)? else { return Ok(false) };
        let committed = commit.run();
        self.host.between_turns(|_, journal| journal.end_commit(committed))?;
        Ok(true)
    }

    /// Makes this node what the newest committed metadata says, and lets the answers go.
    fn publish(&self, publish: &mut impl FnMut(Option<News>) -> Duration, lane: &Lane) -> Duration {
        let news = self.host.between_turns(|_, journal| journal.take_news());
        // Two commits may have rung for the news that the first round has taken.
        let Some(news) = news else { return publish(None) };
        let (cluster, offset) = (news.cluster.clone(), news.offset);
        let again = publish(Some(news));
        self.host.between_turns(|_, journal| journal.published(offset));
        self.host.committed();
        let snapshot = self.host.between_turns(|_, journal| journal.begin_snapshot(offset));
        match snapshot {
            Ok(None) => {}
            Ok(Some(snapshot)) => {
                lane.start(SNAPSHOTS, move || write_snapshot(&snapshot, &cluster));
            }
            Err(error) => {
                tracing::error!(%error, offset, "metadata snapshot cannot be begun; retrying later")
            }
        }
        again
    }

    fn until(&self, at_ms: TimestampMs) -> Duration {
        let ms = at_ms.saturating_sub(self.clock.wall_ms());
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

/// Writes a snapshot. If that fails the log has everything still, and the next one is tried when
/// the log has grown by as much again.
fn write_snapshot(snapshot: &Snapshot, cluster: &Cluster) {
    if let Err(error) =
        snapshot.run(&with_versions(cluster.to_records(), cluster.metadata_version()))
    {
        tracing::error!(
            %error,
            "metadata snapshot cannot be written; retrying when the metadata log has grown"
        );
    }
}

/// The error code for a request whose command gets no reply.
fn refusal_code(error: &Unanswered<QuorumError>) -> ErrorCode {
    match error {
        Unanswered::Lost | Unanswered::Refused(QuorumError::NotLeader) => ErrorCode::NOT_CONTROLLER,
        Unanswered::Refused(QuorumError::Append(error)) => error.code(),
        Unanswered::Refused(_) => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
