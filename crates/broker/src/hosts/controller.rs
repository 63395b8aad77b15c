//! The controller, on a thread of its own: one command at a time, on the disk before it is
//! answered.
//!
//! A turn is decide, append to the quorum, apply, publish the new `Cluster`, make this node's
//! partitions what it says, answer. Nothing of this touches a serving thread.

use ottla_clock::Clock;
use ottla_machine::{Machine, Ticket, Turn};
use ottla_metadata::{Cluster, Controller, ControllerCommand, ControllerReply, version_of};
use ottla_protocol::metadata::MetadataRecord;
use ottla_quorum::{Quorum, QuorumError};
use ottla_types::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait.
const WAITING_MAX: usize = 1024;
/// How many bytes of records come between two snapshots.
const SNAPSHOT_BYTES: u64 = 20 << 20;

/// What is told after every turn.
#[derive(Clone, Debug)]
pub struct News {
    /// The metadata.
    pub cluster: Cluster,
    /// As of which offset.
    pub offset: Offset,
    /// The quorum's epoch.
    pub epoch: LeaderEpoch,
}

enum Job {
    Ask(Box<ControllerCommand>, oneshot::Sender<ControllerReply>),
    Stop,
}

/// The way to the controller; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    jobs: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl ControllerHandle {
    /// Asks; the answer comes when everything it rests on is on the disk and published.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when the controller is gone.
    pub async fn ask<T>(&self, command: ControllerCommand) -> Result<T, ErrorCode>
    where
        T: TryFrom<ControllerReply, Error = ControllerReply>,
    {
        let (sender, answer) = oneshot::channel();
        let job = Job::Ask(Box::new(command), sender);
        self.jobs.send(job).await.map_err(|_| ErrorCode::NOT_CONTROLLER)?;
        let reply = answer.await.map_err(|_| ErrorCode::NOT_CONTROLLER)?;
        Ok(ottla_machine::answer(reply))
    }

    /// Like [`ControllerHandle::ask`], for a thread without a runtime.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when the controller is gone.
    pub fn ask_blocking<T>(&self, command: ControllerCommand) -> Result<T, ErrorCode>
    where
        T: TryFrom<ControllerReply, Error = ControllerReply>,
    {
        let (sender, answer) = oneshot::channel();
        let job = Job::Ask(Box::new(command), sender);
        self.jobs.blocking_send(job).map_err(|_| ErrorCode::NOT_CONTROLLER)?;
        let reply = answer.blocking_recv().map_err(|_| ErrorCode::NOT_CONTROLLER)?;
        Ok(ottla_machine::answer(reply))
    }

    /// Asks without waiting for an answer; whether there was room for it in the queue.
    #[must_use]
    pub fn tell(&self, command: ControllerCommand) -> bool {
        let (sender, _) = oneshot::channel();
        self.jobs.try_send(Job::Ask(Box::new(command), sender)).is_ok()
    }

    /// Ends the controller after what was asked before.
    pub async fn stop(&self) {
        // If it is gone already, all the better.
        let _ = self.jobs.send(Job::Stop).await;
    }
}

/// A controller that waits to be asked.
pub struct ControllerQueue(mpsc::Receiver<Job>);

/// A controller's queue, and the way to it.
#[must_use]
pub fn controller_queue() -> (ControllerHandle, ControllerQueue) {
    let (jobs, queue) = mpsc::channel(WAITING_MAX);
    (ControllerHandle { jobs }, ControllerQueue(queue))
}

/// A controller, what it writes to, and whom it tells.
pub struct ControllerDriver<T> {
    clock: Clock,
    controller: Controller,
    quorum: Quorum,
    tell: T,
    snapshot_at: u64,
}

impl<T: FnMut(News)> ControllerDriver<T> {
    /// `tell` is called after every turn that changed something.
    pub fn new(clock: Clock, controller: Controller, quorum: Quorum, tell: T) -> Self {
        let snapshot_at = quorum.size_bytes() + SNAPSHOT_BYTES;
        Self { clock, controller, quorum, tell, snapshot_at }
    }

    /// Runs the controller until it is stopped, or its log cannot be written, and gives the quorum
    /// back.
    pub async fn run(mut self, queue: ControllerQueue) -> Quorum {
        let ControllerQueue(mut queue) = queue;
        while let Some(job) = queue.recv().await {
            let done = match job {
                Job::Ask(command, asker) => self.turn(*command, asker),
                Job::Stop => break,
            };
            if let Err(error) = done {
                // Nobody may be told anything that rests on a log of unknown content.
                tracing::error!(%error, "metadata log append failed; the controller has stopped");
                break;
            }
        }
        self.quorum
    }

    fn turn(
        &mut self,
        mut command: ControllerCommand,
        asker: oneshot::Sender<ControllerReply>,
    ) -> Result<(), QuorumError> {
        if let ControllerCommand::RegisterBroker { offset, .. } = &mut command {
            *offset = self.quorum.log_end();
        }
        let mut turn = Turn::new(self.clock.wall_ms(), Ticket(0));
        self.controller.decide(command, &mut turn);
        self.write(&turn.records)?;
        if let Some((_, reply)) = turn.replies.pop() {
            // Whoever hung up meanwhile does not need the answer.
            let _ = asker.send(reply);
        }
        Ok(())
    }

    fn write(&mut self, records: &[MetadataRecord]) -> Result<(), QuorumError> {
        if records.is_empty() {
            return Ok(());
        }
        let versioned: Vec<_> = records.iter().map(|it| (it.clone(), version_of(it))).collect();
        let offset = self.quorum.append(&versioned)?;
        let mut changed = false;
        for record in records {
            changed |= !matches!(record, MetadataRecord::NoOp(_));
            self.controller.apply(record);
        }
        if changed {
            let cluster = self.controller.cluster().clone();
            (self.tell)(News { cluster, offset, epoch: self.quorum.epoch() });
        }
        if self.quorum.size_bytes() >= self.snapshot_at {
            self.snapshot_at = self.quorum.size_bytes() + SNAPSHOT_BYTES;
            let all = self.controller.cluster().to_records();
            let versioned = |it| {
                let version = version_of(&it);
                (it, version)
            };
            let all: Vec<_> = all.into_iter().map(versioned).collect();
            self.quorum.write_snapshot(&all)?;
        }
        Ok(())
    }
}
