//! The transaction coordinators of this node, in `__transaction_state`, and the writing of markers.

use std::collections::VecDeque;
use std::time::Duration;

use ottla_coordinator::group::TransactionEnd;
use ottla_coordinator::transaction::{
    Add, Command, Partitions, Record, TransactionMachine, TransactionSettings, Work,
};
use ottla_partitions::{Partition, Refused};
use ottla_records::{Batch, BatchOptions};
use ottla_types::{
    ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TRANSACTION_STATE, TimestampMs,
};

use super::groups;
use super::host::{AppendFailed, Unanswered};
use super::shards::{Kind, ShardHost, Shards, ask, batch_of, each_record, failed, unanswered};
use crate::node::Node;

/// The topic that transactional ids live in.
pub const TOPIC: &str = TRANSACTION_STATE;

/// After how long a marker that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How long a marker may take to be committed; it is written again then.
const MARKER_WAIT: Duration = Duration::from_secs(10);

const _: () = assert!(RETRY.as_millis() < MARKER_WAIT.as_millis());

/// Transactional ids.
#[derive(Debug)]
pub struct TransactionKind;

/// One coordinator.
pub type TransactionHost = ShardHost<TransactionKind>;
/// All coordinators of this node.
pub type Transactions = Shards<TransactionKind>;

impl Kind for TransactionKind {
    type Machine = TransactionMachine;
    type Record = Record;
    type Settings = TransactionSettings;
    const TOPIC: &'static str = TOPIC;

    fn machine(settings: TransactionSettings) -> TransactionMachine {
        TransactionMachine::new(settings)
    }

    fn loaded() -> Command {
        Command::Loaded
    }

    fn changed(settings: TransactionSettings) -> Command {
        Command::Settings(settings)
    }

    fn read(batch: &Batch<'_>, take: &mut dyn FnMut(&Record)) -> Result<(), String> {
        if batch.is_control() {
            return Ok(());
        }
        each_record(batch, |offset, key, value| {
            // A transaction that is not understood must not be forgotten.
            match Record::decode(key, value).map_err(|error| format!("offset {offset}: {error}"))? {
                Some(record) => take(&record),
                None => tracing::warn!(
                    offset,
                    "__transaction_state holds a record that is not a transaction's; it is skipped"
                ),
            }
            Ok(())
        })
    }

    fn write(
        partition: &Partition,
        records: &[Record],
        now_ms: TimestampMs,
    ) -> Result<Offset, AppendFailed<Refused>> {
        let options = BatchOptions::default();
        let batch = batch_of(options, records.iter().map(Record::encode), now_ms);
        batch.and_then(|batch| groups::append(partition, &batch, now_ms)).map_err(failed)
    }
}

impl Transactions {
    /// Fires timers and writes what markers are left, for ever.
    pub async fn tick(&self, node: &Node) {
        loop {
            self.load_again();
            let (mut next_ms, mut is_done) = (TimestampMs::MAX, true);
            for (index, host) in self.all() {
                next_ms = next_ms.min(host.fire().unwrap_or(TimestampMs::MAX));
                is_done &= !host.committed();
                is_done &= work_off(node, index, &host).await;
            }
            self.rest(next_ms, (!is_done).then_some(RETRY)).await;
        }
    }
}

/// Writes the markers of everything that was decided; was that all? What could not be written is
/// tried again soon.
pub async fn work_off(node: &Node, index: i32, host: &TransactionHost) -> bool {
    let taken = ask(host, Command::TakeWork);
    let Ok(taken): Result<Vec<Work>, ErrorCode> = taken.await else { return true };
    let mut taken = Taken { host, left: taken.into() };
    let Some(partition) = node.partitions.find(TOPIC, index) else { return true };
    let epoch = partition.ends().leader_epoch;
    let mut all = true;
    while let Some(work) = taken.left.front() {
        let is_marked = mark(node, work, epoch).await;
        let Some(work) = taken.left.pop_front() else { break };
        if is_marked {
            match host.ask(Command::Marked(work.clone())).await {
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

/// Work that was taken from a coordinator. What is left of it when the request that is at it is
/// dropped, with its connection, goes back: or no other would ever be at it.
struct Taken<'a> {
    host: &'a TransactionHost,
    left: VecDeque<Work>,
}

impl Taken<'_> {
    fn give_back(&self, work: Work) {
        // A coordinator that is lost remembers nothing of who is at what.
        let _ = self.host.tell(Command::Unmarked(work));
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
fn tell(work: &Work, topic: &str, index: i32, code: ErrorCode) {
    let (id, why) = (&work.id, code.name());
    if work.is_again {
        tracing::debug!(id, topic, index, why, "transaction marker not written yet; retrying");
    } else {
        tracing::warn!(id, topic, index, why, "transaction marker cannot be written; retrying");
    }
}

/// Writes one transaction's markers; are all of them written?
async fn mark(node: &Node, work: &Work, coordinator_epoch: LeaderEpoch) -> bool {
    let end = TransactionEnd {
        producer: work.producer,
        commit: work.commit,
        coordinator_epoch,
        is_bumped: work.version >= 2,
    };
    let mut all = true;
    for (topic, indexes) in &work.partitions {
        for index in indexes {
            match write_marker(node, topic, *index, &end).await {
                Ok(()) => {}
                // There is nothing to end any more, or somebody else has ended it.
                Err(
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                    | ErrorCode::INVALID_PRODUCER_EPOCH
                    | ErrorCode::TRANSACTION_COORDINATOR_FENCED,
                ) => {}
                Err(code) => {
                    tell(work, topic, *index, code);
                    all = false;
                }
            }
        }
    }
    all
}

/// Ends a producer's transaction in one partition, and waits until that is seen: a group's offsets
/// are in force when this returns.
///
/// # Errors
/// What a coordinator is told.
pub async fn write_marker(
    node: &Node,
    topic: &str,
    index: i32,
    end: &TransactionEnd,
) -> Result<(), ErrorCode> {
    let Some(partition) = node.partitions.find(topic, index) else {
        return Err(node.why_not_here(topic, Default::default(), false, index));
    };
    let marker = groups::marker(end);
    if topic == groups::TOPIC {
        partition.may_end(&marker).map_err(|refused| refused.code())?;
        let host = node.groups.at(index)?;
        let command = ottla_coordinator::group::Command::EndTransaction(*end);
        return ask(&host, command).await;
    }
    let now_ms = node.clock.wall_ms();
    let appended = partition.end_transaction(&marker, now_ms).map_err(|refused| refused.code())?;
    let deadline = node.clock.monotonic() + MARKER_WAIT;
    match partition.committed(appended.end, &node.clock, deadline).await {
        ottla_partitions::Waited::Committed => Ok(()),
        _ => Err(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
    }
}

/// Makes partitions part of a transaction, or asks whether they are.
///
/// # Errors
/// What a client is told.
pub async fn add(node: &Node, request: Add) -> Result<(), ErrorCode> {
    let (_, host) = node.transaction(&request.id)?;
    let added = ask(&host, Command::Add(request));
    added.await?
}

/// Asks what may need a fresh producer id: who the producer is from now on.
///
/// # Errors
/// What a client is told.
pub async fn ask_for_producer(
    node: &Node,
    host: &TransactionHost,
    command: impl Fn(Option<ProducerId>) -> Command,
) -> Result<(ProducerId, ProducerEpoch), ErrorCode> {
    let told: Option<Result<_, ErrorCode>> = ask(host, command(None)).await?;
    if let Some(told) = told {
        return told;
    }
    let fresh = fresh_producer(node).await?;
    let told: Option<Result<_, ErrorCode>> = ask(host, command(Some(fresh))).await?;
    told.expect("it has got a fresh id")
}

/// A producer id that was never given away before.
///
/// # Errors
/// What a client is told.
pub async fn fresh_producer(node: &Node) -> Result<ProducerId, ErrorCode> {
    node.producer_id().await.map_err(|code| match code {
        ErrorCode::NOT_CONTROLLER => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        code => code,
    })
}

/// As [`add`], on this thread; `None` if the answer has to be waited for.
///
/// # Errors
/// What a client is told.
pub fn add_now(node: &Node, request: Add) -> Option<Result<(), ErrorCode>> {
    let host = match node.transaction(&request.id) {
        Ok((_, host)) => host,
        Err(code) => return Some(Err(code)),
    };
    let mut answer = match host.start(Command::Add(request)) {
        Ok(answer) => answer,
        Err(error) => return Some(Err(unanswered(&error))),
    };
    // An empty channel: it has not committed yet.
    answer.try_recv().ok().map(ottla_machine::answer)
}

/// The partition that a group's offsets live in.
///
/// # Errors
/// There is none yet.
pub fn offsets_of(node: &Node, group: &str) -> Result<Partitions, ErrorCode> {
    let index = node.group_shard(group)?;
    Ok([(groups::TOPIC.to_owned(), [index].into())].into())
}

/// What a client is told: those of before version 2 know only the code of idempotent producers.
pub const fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED if version < 2 => ErrorCode::INVALID_PRODUCER_EPOCH,
        code => code,
    }
}
