//! Writes the markers that end transactions, in the partitions that they have touched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_clock::Clock;
use ottla_coordinator::group::TransactionEnd;
use ottla_coordinator::transaction::{MarkerWork, TransactionCommand};
use ottla_metadata::Cluster;
use ottla_partitions::Partitions;
use ottla_types::{Bug, ErrorCode, LeaderEpoch, is_planted};

use super::groups::{self, Groups};
use super::host::Unanswered;
use super::shards::ask_coordinator;
use super::transactions::TransactionHost;
use crate::absent::{TopicKey, why_not_here};

/// How long a marker may take to be committed; it is written again then.
pub(super) const MARKER_WAIT: Duration = Duration::from_secs(10);

/// What it takes to write markers.
#[derive(Debug)]
pub struct Markers {
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The coordinators of the groups whose offsets a transaction commits.
    pub groups: Groups,
    /// The time.
    pub clock: Clock,
    /// The metadata as of now; the node replaces it as a whole.
    pub cluster: Arc<ArcSwap<Cluster>>,
}

impl Markers {
    /// Writes the markers of everything that was decided; was that all? What could not be written
    /// is tried again soon.
    pub async fn work_off(&self, host: &TransactionHost) -> bool {
        let taken = ask_coordinator(host, TransactionCommand::TakeWork);
        let Ok(taken): Result<Vec<MarkerWork>, ErrorCode> = taken.await else { return true };
        let mut taken = Taken { host, left: taken.into() };
        let epoch = host.look_at_journal(|journal| journal.led().epoch());
        let mut all = true;
        while let Some(work) = taken.left.front() {
            let is_marked = self.mark(work, epoch).await;
            let Some(work) = taken.left.pop_front() else { break };
            if is_marked {
                match host.ask(TransactionCommand::Marked(work.clone())).await {
                    Ok(_) => continue,
                    // Its next leader, or its next load, finds what is left.
                    Err(Unanswered::Lost) => return true,
                    Err(Unanswered::Refused(_)) => {}
                }
            }
            all = false;
            taken.give_back(work);
        }
        all
    }

    /// Writes one transaction's markers; are all of them written?
    async fn mark(&self, work: &MarkerWork, coordinator_epoch: LeaderEpoch) -> bool {
        let end = TransactionEnd {
            producer: work.producer,
            commit: work.commit,
            coordinator_epoch,
            is_bumped: work.version >= 2,
        };
        let mut all = true;
        for (topic, indexes) in &work.partitions {
            for index in indexes {
                if is_planted(Bug::MarkerLost) {
                    continue;
                }
                match self.write(topic, *index, &end).await {
                    Ok(()) => {}
                    // The transaction has ended already, or another request has ended it.
                    Err(
                        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                        | ErrorCode::INVALID_PRODUCER_EPOCH
                        | ErrorCode::TRANSACTION_COORDINATOR_FENCED,
                    ) => {}
                    Err(code) => {
                        log_waiting(work, topic, *index, code);
                        all = false;
                    }
                }
            }
        }
        all
    }

    /// Ends a producer's transaction in one partition, and waits until that is seen: a group's
    /// offsets are in force when this returns.
    ///
    /// # Errors
    /// The error code for the coordinator.
    pub async fn write(
        &self,
        topic: &str,
        index: i32,
        end: &TransactionEnd,
    ) -> Result<(), ErrorCode> {
        let Some(partition) = self.partitions.find(topic, index) else {
            return Err(self.why_not_here(topic, index));
        };
        let marker = groups::end_marker(end);
        if topic == groups::TOPIC {
            partition.may_end(&marker).map_err(|refused| refused.code())?;
            let host = self.groups.at(index)?;
            let command = ottla_coordinator::group::GroupCommand::EndTransaction(*end);
            return ask_coordinator(&host, command).await;
        }
        let now_ms = self.clock.wall_ms();
        let appended =
            partition.end_transaction(&marker, now_ms).map_err(|refused| refused.code())?;
        let deadline = self.clock.monotonic() + MARKER_WAIT;
        match partition.committed(&appended, &self.clock, deadline).await {
            ottla_partitions::Waited::Committed => Ok(()),
            _ => Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        }
    }

    fn why_not_here(&self, topic: &str, index: i32) -> ErrorCode {
        why_not_here(&self.partitions, &self.cluster.load(), TopicKey::Name(topic), index)
    }
}

/// Work that was taken from a coordinator. What is left of it when the request that writes the
/// markers is dropped, with its connection, goes back: or no other would ever be at it.
struct Taken<'a> {
    host: &'a TransactionHost,
    left: VecDeque<MarkerWork>,
}

impl Taken<'_> {
    fn give_back(&self, work: MarkerWork) {
        // A coordinator that was unloaded has no list of the markers in work.
        let _ = self.host.tell(TransactionCommand::Unmarked(work));
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        while let Some(work) = self.left.pop_front() {
            self.give_back(work);
        }
    }
}

/// Says once that a marker has to wait.
fn log_waiting(work: &MarkerWork, topic: &str, index: i32, code: ErrorCode) {
    let (transactional_id, error) = (&*work.id, code.name());
    let partition = format_args!("{topic}-{index}");
    if work.is_again {
        tracing::debug!(
            transactional_id,
            %partition,
            error,
            "transaction marker still cannot be written; retrying"
        );
    } else {
        tracing::warn!(
            transactional_id,
            %partition,
            error,
            "transaction marker cannot be written; retrying"
        );
    }
}
