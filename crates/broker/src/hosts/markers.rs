//! Writes the markers that end transactions, in the partitions that this node leads.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_clock::Clock;
use ottla_coordinator::group::{GroupCommand, GroupReply, TransactionEnd};
use ottla_machine::expect_reply;
use ottla_metadata::Cluster;
use ottla_partitions::{AppendedBatch, LedPartition, Partition, Partitions, Waited};
use ottla_types::ErrorCode;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use super::groups::{self, Groups};
use super::shards::unanswered_code;
use crate::absent::{TopicKey, why_not_here};

/// How long a marker may take to be committed; the coordinator sends it again then.
pub(super) const MARKER_WAIT: Duration = Duration::from_secs(10);

/// What it takes to write markers.
#[derive(Debug)]
pub struct LocalMarkers {
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The coordinators of the groups whose offsets a transaction commits.
    pub groups: Groups,
    /// The time.
    pub clock: Clock,
    /// The metadata as of now; the node replaces it as a whole.
    pub cluster: Arc<ArcSwap<Cluster>>,
}

/// A marker that is being written.
#[derive(Debug)]
pub enum MarkerBegun {
    /// It is written, or never will be.
    Done(Result<(), ErrorCode>),
    /// It is appended, and has to commit.
    Appended(Partition, AppendedBatch),
    /// The group's coordinator answers when it has committed and the offsets are in force.
    InGroup(Receiver<GroupReply>),
}

impl LocalMarkers {
    /// Ends a producer's transaction in one partition; see [`LocalMarkers::finish`].
    pub fn begin(&self, topic: &str, index: i32, end: &TransactionEnd) -> MarkerBegun {
        self.try_begin(topic, index, end).unwrap_or_else(|code| MarkerBegun::Done(Err(code)))
    }

    fn try_begin(
        &self,
        topic: &str,
        index: i32,
        end: &TransactionEnd,
    ) -> Result<MarkerBegun, ErrorCode> {
        let found = self.partitions.find(topic, index);
        let partition = found.ok_or_else(|| self.why_not_here(topic, index))?;
        let marker = groups::end_marker(end);
        if topic == groups::TOPIC {
            partition.may_end(&marker).map_err(|refused| refused.code())?;
            let host = self.groups.at(index).map_err(group_marker_code)?;
            let started = host.start(GroupCommand::EndTransaction(*end));
            let mut answer = started.map_err(|error| group_marker_code(unanswered_code(&error)))?;
            return Ok(match answer.try_recv() {
                Ok(reply) => {
                    let () = expect_reply(reply);
                    MarkerBegun::Done(Ok(()))
                }
                Err(TryRecvError::Empty) => MarkerBegun::InGroup(answer),
                Err(TryRecvError::Closed) => {
                    MarkerBegun::Done(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER))
                }
            });
        }
        let now_ms = self.clock.wall_ms();
        let appended =
            partition.end_transaction(&marker, now_ms).map_err(|refused| refused.code())?;
        let led = LedPartition::new(partition, appended.leader_epoch);
        let is_committed = led.ends().is_some_and(|ends| ends.high_watermark >= appended.end);
        Ok(if is_committed {
            MarkerBegun::Done(Ok(()))
        } else {
            MarkerBegun::Appended(led.partition().clone(), appended)
        })
    }

    /// Waits until a marker is seen: it has committed, and a group's offsets are in force.
    ///
    /// # Errors
    /// The error code for the transaction's coordinator.
    pub async fn finish(&self, begun: MarkerBegun, deadline: Duration) -> Result<(), ErrorCode> {
        match begun {
            MarkerBegun::Done(done) => done,
            MarkerBegun::Appended(partition, appended) => {
                match partition.committed(&appended, &self.clock, deadline).await {
                    Waited::Committed => Ok(()),
                    Waited::LeaderMoved => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
                    Waited::TooFewReplicas | Waited::TimedOut => {
                        Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND)
                    }
                }
            }
            MarkerBegun::InGroup(answer) => tokio::select! {
                biased;
                reply = answer => {
                    reply.map(expect_reply).map_err(|_| ErrorCode::NOT_LEADER_OR_FOLLOWER)
                }
                () = self.clock.sleep_until(deadline) => {
                    Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND)
                }
            },
        }
    }

    /// Until when a marker that begins now is waited for.
    pub fn deadline(&self) -> Duration {
        self.clock.monotonic() + MARKER_WAIT
    }

    fn why_not_here(&self, topic: &str, index: i32) -> ErrorCode {
        why_not_here(&self.partitions, &self.cluster.load(), TopicKey::Name(topic), index)
    }
}

/// What is wrong with a group's coordinator, in a code that Kafka's coordinators of transactions
/// know from the answers to markers.
const fn group_marker_code(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::NOT_COORDINATOR => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        code => code,
    }
}
