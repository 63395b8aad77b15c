//! What a leader asks the controller for: other in-sync sets (AlterPartition, KIP-497).
//!
//! A follower that has caught up is noticed by its fetch; one that lags is found by a look at all
//! partitions, twice in `replica.lag.time.max.ms`. One request at a time, for all partitions that
//! have something to ask. What the controller has decided comes with the metadata.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_metadata::{BrokerRegistration, Cluster, ControllerCommand};
use ottla_partitions::{InSyncMember, InSyncProposal, InSyncTerms, Partition, Partitions};
use ottla_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_types::{ErrorCode, NodeId, TopicPartition};
use tokio::sync::Notify;

use super::controller_channel::ControllerChannel;

/// How long the controller may take to answer.
const ASKING_LIMIT: Duration = Duration::from_secs(10);
/// After how long is asked again what has not been decided.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How many partitions one request names at most.
const ASKED_MAX: usize = 5000;

/// The version of the request that names broker epochs (KIP-903).
const VERSION: i16 = 3;

/// Looks after the in-sync sets of the partitions that this broker leads.
#[derive(Debug)]
pub struct InSyncKeeper {
    parts: InSyncParts,
    /// Guards the partitions to look at, because a follower of theirs has caught up, or because
    /// what they have asked for is not decided; held to put one in or to take all out.
    due: Mutex<BTreeMap<TopicPartition, Partition>>,
    /// Notified when there is one.
    come: Notify,
}

/// What it takes to look after in-sync sets.
#[derive(Debug)]
pub struct InSyncParts {
    /// This broker.
    pub id: NodeId,
    /// The time.
    pub clock: Clock,
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// The metadata as of now; the node replaces it as a whole.
    pub cluster: Arc<ArcSwap<Cluster>>,
    /// The way to the active controller.
    pub channel: ControllerChannel,
    /// `replica.lag.time.max.ms`
    pub lag_max: Duration,
}

/// A partition, and what it asks for.
type Asked = (Partition, InSyncProposal);

impl InSyncKeeper {
    /// Asks for nothing yet.
    #[must_use]
    pub fn new(parts: InSyncParts) -> Self {
        Self { parts, due: Mutex::default(), come: Notify::new() }
    }

    /// A follower of the partition may have caught up.
    pub fn ask_for(&self, partition: &Partition) {
        let is_news = {
            let mut due = self.due.lock();
            due.insert(partition.name().clone(), partition.clone()).is_none()
        };
        if is_news {
            self.come.notify_one();
        }
    }

    /// Looks after the in-sync sets; does not return.
    pub async fn run(&self) {
        let clock = &self.parts.clock;
        let every = (self.parts.lag_max / 2).max(Duration::from_millis(1));
        let mut next_look = clock.monotonic() + every;
        loop {
            tokio::select! {
                biased;
                () = self.come.notified() => {}
                () = clock.sleep_until(next_look) => {
                    next_look = clock.monotonic() + every;
                    self.look_at_all();
                }
            }
            let due = std::mem::take(&mut *self.due.lock());
            let due: Vec<Partition> = due.into_values().collect();
            for some in due.chunks(ASKED_MAX) {
                if !self.ask(some).await {
                    // The controller is busy, or another is elected.
                    clock.sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    fn look_at_all(&self) {
        let all = self.parts.partitions.all().into_iter().filter(|it| it.ends().leading);
        self.due.lock().extend(all.map(|it| (it.name().clone(), it)));
    }

    /// Asks for what these partitions want; is all of it decided?
    async fn ask(&self, due: &[Partition]) -> bool {
        let proposed = self.proposals(due);
        if proposed.is_empty() {
            return true;
        }
        let (cluster, id) = (self.parts.cluster.load_full(), self.parts.id);
        let broker_epoch = cluster.broker(id).map_or(-1, |it| it.epoch);
        let request = || alter_request(id, broker_epoch, &proposed);
        let command = |request| ControllerCommand::AlterPartition { request, version: VERSION };
        let code = |it: &AlterPartitionResponse| it.error_code;
        let asked = self.parts.channel.request(ASKING_LIMIT, request, command, code);
        match asked.await {
            Ok(response) => self.answered(proposed, &response),
            Err(code) => {
                let partitions = proposed.len();
                tracing::warn!(
                    error = code.name(),
                    partitions,
                    "controller has not decided on in-sync replicas; asking again"
                );
                self.again(proposed.into_iter().map(|(partition, _)| partition));
                false
            }
        }
    }

    fn proposals(&self, due: &[Partition]) -> Vec<Asked> {
        let cluster = self.parts.cluster.load();
        let own_epoch = cluster.broker(self.parts.id).map_or(-1, |it| it.epoch);
        let may_join = |id: NodeId, epoch: i64| {
            let serves =
                |it: &BrokerRegistration| it.is_active() && (epoch == -1 || epoch == it.epoch);
            cluster.broker(id).is_some_and(serves)
        };
        let lag_max_ms = u64::try_from(self.parts.lag_max.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.parts.clock.monotonic_ms();
        let terms = InSyncTerms { now_ms, lag_max_ms, own_epoch, may_join: &may_join };
        let propose = |it: &Partition| Some((it.clone(), it.propose_in_sync(&terms)?));
        due.iter().filter_map(propose).collect()
    }

    /// Takes in what the controller has answered; is all of it decided?
    fn answered(&self, proposed: Vec<Asked>, response: &AlterPartitionResponse) -> bool {
        let mut codes = BTreeMap::new();
        for topic in &response.topics {
            for one in &topic.partitions {
                let answer = (ErrorCode(one.error_code), one.partition_epoch);
                codes.insert((topic.topic_id, one.partition_index), answer);
            }
        }
        let mut undecided = Vec::new();
        for (partition, proposal) in proposed {
            let key = (partition.topic_id(), partition.index());
            // One that is not named was not looked at.
            let known = codes.get(&key).copied();
            let (code, epoch) = known.unwrap_or((ErrorCode::OPERATION_NOT_ATTEMPTED, -1));
            log_answer(&partition, &proposal, code);
            match code {
                // It had this set already.
                ErrorCode::NONE if epoch == proposal.partition_epoch => {
                    partition.proposal_refused(proposal.partition_epoch);
                }
                ErrorCode::INELIGIBLE_REPLICA | ErrorCode::OPERATION_NOT_ATTEMPTED => {
                    partition.proposal_refused(proposal.partition_epoch);
                }
                // What is true comes with the metadata.
                ErrorCode::NONE
                | ErrorCode::UNKNOWN_TOPIC_ID
                | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                | ErrorCode::FENCED_LEADER_EPOCH
                | ErrorCode::INVALID_UPDATE_VERSION
                | ErrorCode::INVALID_REQUEST
                | ErrorCode::NEW_LEADER_ELECTED => {}
                _ => undecided.push(partition),
            }
        }
        let is_decided = undecided.is_empty();
        self.again(undecided.into_iter());
        is_decided
    }

    fn again(&self, partitions: impl Iterator<Item = Partition>) {
        let mut due = self.due.lock();
        due.extend(partitions.map(|it| (it.name().clone(), it)));
        drop(due);
        self.come.notify_one();
    }
}

fn log_answer(partition: &Partition, proposal: &InSyncProposal, code: ErrorCode) {
    let in_sync: Vec<NodeId> = proposal.in_sync.iter().map(|it| it.id).collect();
    let partition = partition.name();
    if code == ErrorCode::NEW_LEADER_ELECTED {
        tracing::info!(%partition, "reassignment completed; another broker leads the partition");
    } else if code == ErrorCode::NONE {
        tracing::info!(%partition, ?in_sync, "in-sync replicas changed");
    } else {
        let error = code.name();
        tracing::info!(%partition, ?in_sync, error, "controller refuses these in-sync replicas");
    }
}

fn alter_request(broker_id: NodeId, broker_epoch: i64, asked: &[Asked]) -> AlterPartitionRequest {
    let mut topics: Vec<TopicData> = Vec::new();
    for (partition, proposal) in asked {
        let topic_id = partition.topic_id();
        if topics.last().is_none_or(|topic| topic.topic_id != topic_id) {
            topics.push(TopicData { topic_id, ..Default::default() });
        }
        let member = |member: &InSyncMember| BrokerState {
            broker_id: member.id,
            broker_epoch: member.broker_epoch,
            ..Default::default()
        };
        let data = PartitionData {
            partition_index: partition.index(),
            leader_epoch: proposal.leader_epoch,
            new_isr_with_epochs: proposal.in_sync.iter().map(member).collect(),
            partition_epoch: proposal.partition_epoch,
            ..Default::default()
        };
        topics.last_mut().expect("one was put there").partitions.push(data);
    }
    AlterPartitionRequest { broker_id, broker_epoch, topics, ..Default::default() }
}
