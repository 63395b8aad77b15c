//! The markers of transactions that are to end, on their way to the leaders of their partitions.
//!
//! A decision that has committed becomes a job here. What this node leads is written at once, on
//! the thread of the request that has decided; all else is sent by one task: to each broker one
//! request at a time, with everything that waits for that broker. When the last marker of a job is
//! written, the coordinator completes the transaction. What cannot be written is tried again until
//! the coordinator is unloaded; the next one hands the job out again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_client::BrokerLink;
use ottla_coordinator::group::TransactionEnd;
use ottla_coordinator::transaction::{MarkerWork, TransactionCommand, TransactionReply};
use ottla_locks::Mutex;
use ottla_machine::expect_reply;
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ottla_protocol::messages::write_txn_markers_response::WriteTxnMarkersResponse;
use ottla_types::{Bug, ErrorCode, NodeId, ProducerId, TopicPartition, is_planted};
use tokio::sync::Notify;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use super::broker_links::{ANSWER_LIMIT, BrokerLinkUse, BrokerLinks};
use super::host::Unanswered;
use super::markers::{LocalMarkers, MARKER_WAIT, MarkerBegun};
use super::transactions::TransactionHost;
use crate::waits::Waits;

/// After how long a marker that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How many partitions a request names at most.
const PLACES_MAX: usize = 2_000;

const _: () = assert!(RETRY.as_millis() < MARKER_WAIT.as_millis());
const _: () = assert!(MARKER_WAIT.as_millis() < ANSWER_LIMIT.as_millis());

/// The markers that are to be written.
#[derive(Debug)]
pub struct MarkerQueue {
    id: NodeId,
    local: LocalMarkers,
    brokers: Arc<BrokerLinks>,
    /// Guards what is to be done. No coordinator and no partition is asked while it is held.
    jobs: Mutex<MarkerJobs>,
    /// Wakes the task that sends.
    bell: Notify,
}

/// What is to be done.
#[derive(Debug, Default)]
struct MarkerJobs {
    next: u64,
    /// By their numbers, which grow.
    by_number: BTreeMap<u64, MarkerJob>,
    /// To be written or sent now.
    due: BTreeSet<MarkerPlace>,
    /// Written here, and not yet committed.
    begun: Vec<(MarkerPlace, MarkerBegun)>,
    /// Could not be written: to be tried again at `again_at`.
    later: BTreeSet<MarkerPlace>,
    /// The jobs whose markers are written, and whose coordinator could not write that down.
    unmarked: BTreeSet<u64>,
    again_at: Option<Duration>,
    /// Coordinators that answer, with what they have decided, when it has committed.
    taking: Vec<(Arc<TransactionHost>, Receiver<TransactionReply>)>,
}

/// One transaction whose markers are not all written.
#[derive(Debug)]
struct MarkerJob {
    host: Arc<TransactionHost>,
    work: MarkerWork,
    end: TransactionEnd,
    /// The partitions that have no marker yet.
    left: BTreeSet<TopicPartition>,
    /// Does the node's log say that it has to wait?
    is_logged: bool,
}

/// A marker to be written: of which job, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MarkerPlace {
    job: u64,
    partition: TopicPartition,
}

/// What has become of markers.
type MarkerResults = Vec<(MarkerPlace, Result<(), ErrorCode>)>;

/// Markers for one broker.
type MarkerBatch = Vec<(MarkerPlace, TransactionEnd)>;

/// Where a partition's marker is to be written.
enum MarkerTarget {
    /// The partition no longer exists.
    Gone,
    /// It has no leader at the moment.
    Nowhere,
    Here,
    Broker(NodeId),
}

/// What one of the waits of the task that sends has come to.
enum MarkerEvent {
    /// A coordinator has handed this out.
    Taken(Arc<TransactionHost>, Vec<MarkerWork>),
    /// Markers were written here, or not.
    Written(MarkerResults),
    /// This broker has answered, or not.
    Answered(NodeId, MarkerResults),
}

impl MarkerQueue {
    /// Nothing is to be written yet; `id` is this node.
    pub fn new(id: NodeId, local: LocalMarkers, brokers: Arc<BrokerLinks>) -> Self {
        Self { id, local, brokers, jobs: Mutex::default(), bell: Notify::new() }
    }

    /// Writes markers here.
    pub const fn local(&self) -> &LocalMarkers {
        &self.local
    }

    /// Takes what this coordinator has decided: at once, if that has committed. Then what this node
    /// leads is written before this returns, as far as it need not wait.
    pub fn take_from(&self, host: &Arc<TransactionHost>) {
        // A coordinator that was unloaded hands out nothing; the next one does it again.
        if let Ok(mut answer) = host.start(TransactionCommand::TakeWork) {
            match answer.try_recv() {
                Ok(reply) => self.add(host, expect_reply(reply)),
                Err(TryRecvError::Empty) => {
                    self.jobs.lock().taking.push((Arc::clone(host), answer));
                    self.bell.notify_one();
                }
                Err(TryRecvError::Closed) => {}
            }
        }
    }

    fn add(&self, host: &Arc<TransactionHost>, works: Vec<MarkerWork>) {
        if works.is_empty() {
            return;
        }
        let coordinator_epoch = host.look_at_journal(|journal| journal.led().epoch());
        let mut bare = Vec::new();
        for work in works {
            let end = TransactionEnd {
                producer: work.producer,
                commit: work.commit,
                coordinator_epoch,
                is_bumped: work.version >= 2,
            };
            let of_topic = |(topic, indexes): (&String, &BTreeSet<i32>)| {
                let topic: Arc<str> = topic.as_str().into();
                indexes
                    .iter()
                    .map(move |index| TopicPartition::new(Arc::clone(&topic), *index))
                    .collect::<Vec<_>>()
            };
            let mut left: BTreeSet<_> = work.partitions.iter().flat_map(of_topic).collect();
            if is_planted(Bug::MarkerLost) {
                left.clear();
            }
            let mut jobs = self.jobs.lock();
            let number = jobs.next;
            jobs.next += 1;
            if left.is_empty() {
                bare.push(number);
            }
            let places =
                left.iter().cloned().map(|partition| MarkerPlace { job: number, partition });
            jobs.due.extend(places);
            let host = Arc::clone(host);
            let job = MarkerJob { host, work, end, left, is_logged: false };
            jobs.by_number.insert(number, job);
        }
        self.complete(&bare);
        self.begin_here();
        if self.jobs.lock().has_something() {
            self.bell.notify_one();
        }
    }

    /// Sends markers, and waits for those that are written here; does not return.
    pub async fn run(&self) {
        let mut waits = Waits::default();
        // The brokers that have not answered yet.
        let mut asked = BTreeSet::new();
        loop {
            self.begin_here();
            self.depart(&mut waits, &mut asked);
            let again_at = self.jobs.lock().again_at;
            tokio::select! {
                biased;
                event = waits.next() => match event {
                    MarkerEvent::Taken(host, works) => self.add(&host, works),
                    MarkerEvent::Written(results) => self.settle(results),
                    MarkerEvent::Answered(broker, results) => {
                        asked.remove(&broker);
                        self.settle(results);
                    }
                },
                () = self.bell.notified() => {}
                () = self.local.clock.sleep_until_due(again_at) => self.try_again(),
            }
        }
    }

    /// Begins all waits that can begin.
    fn depart<'a>(&'a self, waits: &mut Waits<'a, MarkerEvent>, asked: &mut BTreeSet<NodeId>) {
        let (taking, begun) = {
            let mut jobs = self.jobs.lock();
            (std::mem::take(&mut jobs.taking), std::mem::take(&mut jobs.begun))
        };
        for (host, answer) in taking {
            waits.add(async move {
                let works = answer.await.map(expect_reply).unwrap_or_default();
                MarkerEvent::Taken(host, works)
            });
        }
        if !begun.is_empty() {
            let deadline = self.local.deadline();
            waits.add(async move {
                let mut results = MarkerResults::new();
                for (place, begun) in begun {
                    results.push((place, self.local.finish(begun, deadline).await));
                }
                MarkerEvent::Written(results)
            });
        }
        for (broker, batch) in self.batches(asked) {
            let Some(link) = self.brokers.link(BrokerLinkUse::Marking, broker) else {
                let unknown = |(place, _)| (place, Err(ErrorCode::BROKER_NOT_AVAILABLE));
                self.settle(batch.into_iter().map(unknown).collect());
                continue;
            };
            asked.insert(broker);
            waits.add(async move {
                MarkerEvent::Answered(broker, self.send(broker, &link, batch).await)
            });
        }
    }

    /// Takes what is to be sent to brokers that have answered the last request. A producer stands
    /// in a request once, since the answer names it by its id.
    fn batches(&self, asked: &BTreeSet<NodeId>) -> BTreeMap<NodeId, MarkerBatch> {
        let mut batches: BTreeMap<NodeId, MarkerBatch> = BTreeMap::new();
        let mut producers: BTreeMap<(NodeId, ProducerId), u64> = BTreeMap::new();
        let mut settled = MarkerResults::new();
        let mut jobs = self.jobs.lock();
        let due = std::mem::take(&mut jobs.due);
        for place in due {
            let Some(job) = jobs.by_number.get(&place.job) else { continue };
            match self.target(&place.partition) {
                MarkerTarget::Gone => settled.push((place, Ok(()))),
                MarkerTarget::Nowhere => {
                    settled.push((place, Err(ErrorCode::LEADER_NOT_AVAILABLE)));
                }
                MarkerTarget::Broker(broker) if !asked.contains(&broker) => {
                    let end = job.end;
                    let of_producer = producers.entry((broker, end.producer.0));
                    let is_its_own = *of_producer.or_insert(place.job) == place.job;
                    let batch = batches.entry(broker).or_default();
                    if is_its_own && batch.len() < PLACES_MAX {
                        batch.push((place, end));
                    } else {
                        jobs.due.insert(place);
                    }
                }
                MarkerTarget::Broker(_) | MarkerTarget::Here => {
                    jobs.due.insert(place);
                }
            }
        }
        drop(jobs);
        self.settle(settled);
        batches
    }

    fn target(&self, partition: &TopicPartition) -> MarkerTarget {
        let cluster = self.local.cluster.load();
        let topic = cluster.topic(&partition.topic);
        match topic.and_then(|topic| topic.partitions.get(&partition.partition)) {
            None => MarkerTarget::Gone,
            Some(state) if state.leader == self.id => MarkerTarget::Here,
            Some(state) if state.leader < 0 => MarkerTarget::Nowhere,
            Some(state) => MarkerTarget::Broker(state.leader),
        }
    }

    /// Writes what this node leads.
    fn begin_here(&self) {
        let mut here = Vec::new();
        {
            let mut jobs = self.jobs.lock();
            if jobs.due.is_empty() {
                return;
            }
            let is_here =
                |place: &MarkerPlace| matches!(self.target(&place.partition), MarkerTarget::Here);
            let due = std::mem::take(&mut jobs.due);
            let (own, others): (BTreeSet<_>, BTreeSet<_>) = due.into_iter().partition(is_here);
            jobs.due = others;
            for place in own {
                let Some(end) = jobs.by_number.get(&place.job).map(|job| job.end) else { continue };
                here.push((place, end));
            }
        }
        let (mut results, mut begun) = (MarkerResults::new(), Vec::new());
        for (place, end) in here {
            let partition = &place.partition;
            match self.local.begin(&partition.topic, partition.partition, &end) {
                MarkerBegun::Done(done) => results.push((place, done)),
                waiting => begun.push((place, waiting)),
            }
        }
        self.jobs.lock().begun.append(&mut begun);
        self.settle(results);
    }

    /// Sends markers to a broker. It is not waited for any longer when one of the partitions is led
    /// by another one.
    async fn send(&self, broker: NodeId, link: &BrokerLink, batch: MarkerBatch) -> MarkerResults {
        let request = markers_request(&batch);
        let is_there = |(place, _): &(MarkerPlace, TransactionEnd)| {
            let target = self.target(&place.partition);
            matches!(target, MarkerTarget::Broker(at) if at == broker)
        };
        let answered = self.brokers.ask_while(link, &request, || batch.iter().all(is_there));
        let codes = answered.await.map(|response| codes_of(&response));
        let result = |(place, end): (MarkerPlace, TransactionEnd)| {
            let done = match &codes {
                Ok(codes) => {
                    let key = (end.producer.0, place.partition.clone());
                    // A partition that the answer leaves out is asked about again.
                    codes.get(&key).copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR).check()
                }
                Err(code) => Err(*code),
            };
            (place, done)
        };
        batch.into_iter().map(result).collect()
    }

    /// Takes note of what has become of markers.
    fn settle(&self, results: MarkerResults) {
        if results.is_empty() {
            return;
        }
        let mut written = Vec::new();
        {
            let mut jobs = self.jobs.lock();
            for (place, done) in results {
                let Some(job) = jobs.by_number.get_mut(&place.job) else { continue };
                if job.host.is_lost() {
                    jobs.by_number.remove(&place.job);
                    continue;
                }
                match done {
                    // The transaction has ended already, or another request has ended it; or the
                    // partition's messages are so old that none is transactional.
                    Ok(())
                    | Err(
                        ErrorCode::INVALID_PRODUCER_EPOCH
                        | ErrorCode::TRANSACTION_COORDINATOR_FENCED
                        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
                    ) => {
                        job.left.remove(&place.partition);
                        if job.left.is_empty() {
                            written.push(place.job);
                        }
                    }
                    Err(code) => {
                        job.log_waiting(&place.partition, code);
                        jobs.later.insert(place);
                        self.set_again(&mut jobs);
                    }
                }
            }
        }
        self.complete(&written);
    }

    /// All markers of these jobs are written: their transactions are complete.
    fn complete(&self, written: &[u64]) {
        for number in written {
            let job = self.jobs.lock().by_number.remove(number);
            let Some(job) = job else { continue };
            match job.host.tell(TransactionCommand::Marked(job.work.clone())) {
                // A coordinator that was unloaded hands it out again.
                Ok(()) | Err(Unanswered::Lost) => {}
                Err(Unanswered::Refused(_)) => {
                    let mut jobs = self.jobs.lock();
                    jobs.by_number.insert(*number, job);
                    jobs.unmarked.insert(*number);
                    self.set_again(&mut jobs);
                }
            }
        }
    }

    fn set_again(&self, jobs: &mut MarkerJobs) {
        jobs.again_at.get_or_insert_with(|| self.local.clock.monotonic() + RETRY);
    }

    /// Makes due what could not be written; forgets what coordinators that were unloaded have left.
    fn try_again(&self) {
        let unmarked = {
            let mut jobs = self.jobs.lock();
            jobs.again_at = None;
            let later = std::mem::take(&mut jobs.later);
            jobs.due.extend(later);
            jobs.by_number.retain(|_, job| !job.host.is_lost());
            std::mem::take(&mut jobs.unmarked)
        };
        self.complete(&unmarked.into_iter().collect::<Vec<_>>());
    }
}

impl MarkerJobs {
    /// Is there something for the task that sends?
    fn has_something(&self) -> bool {
        !self.due.is_empty() || !self.begun.is_empty() || self.again_at.is_some()
    }
}

impl MarkerJob {
    /// Says once that a marker has to wait.
    fn log_waiting(&mut self, partition: &TopicPartition, code: ErrorCode) {
        let (transactional_id, error) = (&*self.work.id, code.name());
        if std::mem::replace(&mut self.is_logged, true) {
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
}

/// The request that writes these markers; those of one job stand together.
fn markers_request(batch: &[(MarkerPlace, TransactionEnd)]) -> WriteTxnMarkersRequest {
    let mut markers: Vec<WritableTxnMarker> = Vec::new();
    let mut last = None;
    for (place, end) in batch {
        if last.replace(place.job) != Some(place.job) {
            markers.push(WritableTxnMarker {
                producer_id: end.producer.0,
                producer_epoch: end.producer.1,
                transaction_result: end.commit,
                coordinator_epoch: end.coordinator_epoch,
                transaction_version: if end.is_bumped { 2 } else { 0 },
                ..Default::default()
            });
        }
        let Some(marker) = markers.last_mut() else { continue };
        let (topic, index) = (&*place.partition.topic, place.partition.partition);
        match marker.topics.last_mut().filter(|it| it.name == topic) {
            Some(known) => known.partition_indexes.push(index),
            None => marker.topics.push(WritableTxnMarkerTopic {
                name: topic.to_owned(),
                partition_indexes: vec![index],
                ..Default::default()
            }),
        }
    }
    WriteTxnMarkersRequest { markers, ..Default::default() }
}

/// What a broker says of each partition, by the producer.
fn codes_of(
    response: &WriteTxnMarkersResponse,
) -> BTreeMap<(ProducerId, TopicPartition), ErrorCode> {
    let mut codes = BTreeMap::new();
    for marker in &response.markers {
        for topic in &marker.topics {
            for it in &topic.partitions {
                let partition = TopicPartition::new(topic.name.as_str(), it.partition_index);
                codes.insert((marker.producer_id, partition), ErrorCode(it.error_code));
            }
        }
    }
    codes
}

#[cfg(test)]
#[path = "marker_queue_tests.rs"]
mod tests;
