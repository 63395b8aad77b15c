//! Partitions that become part of transactions whose coordinator is on another broker.
//!
//! A produce, or an offset commit, that begins a transaction in a partition here asks the
//! coordinator first (KIP-890). To each broker one request goes at a time, with everything that
//! waits for that broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_client::BrokerLink;
use ottla_coordinator::transaction::{AddPartitions, TransactionPartitions};
use ottla_locks::Mutex;
use ottla_metadata::Cluster;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResponse;
use ottla_types::{ErrorCode, NodeId, PartitionIndex, TRANSACTION_STATE, TopicPartition};
use tokio::sync::{Notify, oneshot};

use super::broker_links::{BrokerLinkUse, BrokerLinks};
use crate::waits::Waits;

/// How many transactions a request names at most.
const TRANSACTIONS_MAX: usize = 1_000;

/// The partitions that are not part of the transaction, each with its reason; none if all are.
pub type NotAdded = BTreeMap<TopicPartition, ErrorCode>;

/// The requests to coordinators on other brokers.
#[derive(Debug)]
pub struct AddQueue {
    brokers: Arc<BrokerLinks>,
    /// The metadata as of now; the node replaces it as a whole.
    cluster: Arc<ArcSwap<Cluster>>,
    /// Guards what is to be sent to each broker.
    waiting: Mutex<BTreeMap<NodeId, Vec<WaitingAdd>>>,
    /// Wakes the task that sends.
    bell: Notify,
}

/// What waits for a coordinator's answer.
#[derive(Debug)]
struct WaitingAdd {
    request: AddPartitions,
    /// Its partition of `__transaction_state`.
    shard: PartitionIndex,
    answer: oneshot::Sender<NotAdded>,
}

impl AddQueue {
    /// Nothing waits yet.
    pub fn new(brokers: Arc<BrokerLinks>, cluster: Arc<ArcSwap<Cluster>>) -> Self {
        Self { brokers, cluster, waiting: Mutex::default(), bell: Notify::new() }
    }

    /// Asks the coordinator on this broker, which leads this partition of `__transaction_state`.
    pub async fn add(
        &self,
        broker: NodeId,
        shard: PartitionIndex,
        request: AddPartitions,
    ) -> NotAdded {
        let all = request.partitions.clone();
        let (answer, answered) = oneshot::channel();
        let waiting = WaitingAdd { request, shard, answer };
        self.waiting.lock().entry(broker).or_default().push(waiting);
        self.bell.notify_one();
        answered.await.unwrap_or_else(|_| not_added(&all, ErrorCode::NETWORK_EXCEPTION))
    }

    /// Sends what waits; does not return.
    pub async fn run(&self) {
        let mut waits = Waits::default();
        let mut asked = BTreeSet::new();
        loop {
            for (broker, batch) in self.batches(&asked) {
                asked.insert(broker);
                waits.add(async move {
                    self.send(broker, batch).await;
                    broker
                });
            }
            tokio::select! {
                biased;
                broker = waits.next() => {
                    asked.remove(&broker);
                }
                () = self.bell.notified() => {}
            }
        }
    }

    /// Takes what is to be sent to brokers that have answered the last request. A transactional id
    /// stands in a request once, since the answer names it.
    fn batches(&self, asked: &BTreeSet<NodeId>) -> Vec<(NodeId, Vec<WaitingAdd>)> {
        let mut waiting = self.waiting.lock();
        let mut batches = Vec::new();
        for (broker, all) in waiting.iter_mut().filter(|(broker, _)| !asked.contains(broker)) {
            let mut ids = BTreeSet::new();
            let (now, later): (Vec<_>, Vec<_>) = all
                .drain(..)
                .partition(|it| ids.len() < TRANSACTIONS_MAX && ids.insert(it.request.id.clone()));
            *all = later;
            if !now.is_empty() {
                batches.push((*broker, now));
            }
        }
        waiting.retain(|_, all| !all.is_empty());
        batches
    }

    async fn send(&self, broker: NodeId, batch: Vec<WaitingAdd>) {
        let link = self.brokers.link(BrokerLinkUse::Coordinating, broker);
        let answered = match link {
            Some(link) => self.ask(broker, &link, &batch).await,
            None => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        };
        let answered = answered.map(|response| answers_of(&response));
        for WaitingAdd { request, answer, .. } in batch {
            let not_added = match &answered {
                Ok(answers) => answers.get(&request.id).cloned().unwrap_or_else(|| {
                    not_added(&request.partitions, ErrorCode::UNKNOWN_SERVER_ERROR)
                }),
                // A broker that cannot verify is not asked to, as in Kafka.
                Err(ErrorCode::UNSUPPORTED_VERSION) if request.verify_only => NotAdded::new(),
                Err(code) => not_added(&request.partitions, *code),
            };
            // A producer that has gone meanwhile needs no answer.
            let _ = answer.send(not_added);
        }
    }

    /// Asks, as long as the coordinators are there.
    async fn ask(
        &self,
        broker: NodeId,
        link: &BrokerLink,
        batch: &[WaitingAdd],
    ) -> Result<AddPartitionsToTxnResponse, ErrorCode> {
        let request = add_request(batch);
        let is_there = |it: &WaitingAdd| self.leader(it.shard) == Some(broker);
        let answered = self.brokers.ask_while(link, &request, || batch.iter().all(is_there));
        let response = answered.await.map_err(|code| match code {
            ErrorCode::NOT_LEADER_OR_FOLLOWER => ErrorCode::NOT_COORDINATOR,
            ErrorCode::REQUEST_TIMED_OUT => ErrorCode::NETWORK_EXCEPTION,
            other => other,
        })?;
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => Ok(response),
            // The client has nothing to do with the rights of brokers.
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED => Err(ErrorCode::INVALID_TXN_STATE),
            code => Err(code),
        }
    }

    fn leader(&self, shard: PartitionIndex) -> Option<NodeId> {
        let cluster = self.cluster.load();
        Some(cluster.topic(TRANSACTION_STATE)?.partitions.get(&shard)?.leader)
    }
}

/// All of these partitions, for one reason.
#[must_use]
pub fn not_added(partitions: &TransactionPartitions, code: ErrorCode) -> NotAdded {
    let of_topic = |(topic, indexes): (&String, &BTreeSet<PartitionIndex>)| {
        let topic: Arc<str> = topic.as_str().into();
        let place = move |index: &PartitionIndex| TopicPartition::new(Arc::clone(&topic), *index);
        indexes.iter().map(place).collect::<Vec<_>>()
    };
    partitions.iter().flat_map(of_topic).map(|partition| (partition, code)).collect()
}

fn add_request(batch: &[WaitingAdd]) -> AddPartitionsToTxnRequest {
    let topic = |(name, indexes): (&String, &BTreeSet<PartitionIndex>)| AddPartitionsToTxnTopic {
        name: name.clone(),
        partitions: indexes.iter().copied().collect(),
        ..Default::default()
    };
    let transaction = |WaitingAdd { request, .. }: &WaitingAdd| AddPartitionsToTxnTransaction {
        transactional_id: request.id.clone(),
        producer_id: request.producer.0,
        producer_epoch: request.producer.1,
        verify_only: request.verify_only,
        topics: request.partitions.iter().map(topic).collect(),
        ..Default::default()
    };
    AddPartitionsToTxnRequest {
        transactions: batch.iter().map(transaction).collect(),
        ..Default::default()
    }
}

/// What is refused of each transactional id.
fn answers_of(response: &AddPartitionsToTxnResponse) -> BTreeMap<String, NotAdded> {
    let mut answers = BTreeMap::new();
    for result in &response.results_by_transaction {
        let mut not_added = NotAdded::new();
        for topic in &result.topic_results {
            for it in &topic.results_by_partition {
                if it.partition_error_code != 0 {
                    let place = TopicPartition::new(topic.name.as_str(), it.partition_index);
                    not_added.insert(place, ErrorCode(it.partition_error_code));
                }
            }
        }
        answers.insert(result.transactional_id.clone(), not_added);
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::add_partitions_to_txn_response::{
        AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
    };

    fn adding(id: &str, topic: &str, indexes: &[i32]) -> AddPartitions {
        AddPartitions {
            id: id.to_owned(),
            producer: (7, 3),
            partitions: [(topic.to_owned(), indexes.iter().copied().collect())].into(),
            verify_only: false,
            client_version: 2,
        }
    }

    fn waiting_add(id: &str) -> WaitingAdd {
        let request = adding(id, "t", &[0, 2]);
        WaitingAdd { request, shard: 0, answer: oneshot::channel().0 }
    }

    #[test]
    fn transactions_that_wait_go_in_one_request() {
        let request = add_request(&[waiting_add("a"), waiting_add("b")]);
        let [a, b] = &request.transactions[..] else { panic!("two transactions") };
        assert_eq!((&*a.transactional_id, a.producer_id, a.producer_epoch), ("a", 7, 3));
        assert_eq!((&*b.transactional_id, b.verify_only), ("b", false));
        assert_eq!((&*a.topics[0].name, &a.topics[0].partitions[..]), ("t", &[0, 2][..]));
    }

    #[test]
    fn an_answer_names_what_is_refused_of_each_transaction() {
        let partition = |partition_index, code: ErrorCode| AddPartitionsToTxnPartitionResult {
            partition_index,
            partition_error_code: code.0,
            ..Default::default()
        };
        let topic = AddPartitionsToTxnTopicResult {
            name: "t".to_owned(),
            results_by_partition: vec![
                partition(0, ErrorCode::NONE),
                partition(2, ErrorCode::TRANSACTION_ABORTABLE),
            ],
            ..Default::default()
        };
        let result = AddPartitionsToTxnResult {
            transactional_id: "a".to_owned(),
            topic_results: vec![topic],
            ..Default::default()
        };
        let response = AddPartitionsToTxnResponse {
            results_by_transaction: vec![result],
            ..Default::default()
        };
        let refused = (TopicPartition::new("t", 2), ErrorCode::TRANSACTION_ABORTABLE);
        assert_eq!(answers_of(&response), [("a".to_owned(), [refused].into())].into());
    }
}
