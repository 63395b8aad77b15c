//! Transactional producers, of clients of before KIP-890 and after: each writes to some partitions,
//! commits an offset at times, and commits or aborts.

use std::collections::BTreeMap;

use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ottla_protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnResponse;
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::txn_offset_commit_response::TxnOffsetCommitResponse;
use ottla_types::ErrorCode;

use super::offsets::CoordinatorKind;
use super::produce::{outcome_of, request_of};
use super::{Asked, SimClient, is_passing};
use crate::nodes::model::{KnownEnd, Place, TransactionId};
use crate::nodes::value::{BatchWriter, batch_of};

/// After how long the coordinator gives a transaction up, in milliseconds.
const TIMEOUT_MS: i32 = 8_000;

/// Which protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionProtocol {
    /// It says beforehand which partitions it will write to.
    Announced,
    /// Writing says it, and each end gives the producer a new epoch (KIP-890).
    Implied,
}

/// A transactional producer's id and epoch, until it is fenced or an era ends.
struct TransactSession {
    id: String,
    group: String,
    protocol: TransactionProtocol,
    era: u32,
    producer_id: i64,
    epoch: i16,
    sequences: BTreeMap<Place, i32>,
    /// A request to end a transaction was lost, and may still arrive. Where one epoch has many
    /// transactions (before KIP-890), it would then end a later one: a careful producer goes on
    /// with a new epoch.
    may_be_ended_late: bool,
}

/// Why a session is over: it is fenced, or its era is.
struct SessionOver;

type Step<T> = Result<T, SessionOver>;

/// Runs transactions.
pub async fn run_transactions(client: &mut SimClient, protocol: TransactionProtocol) {
    let id = format!("transactional-{}", client.number);
    let group = format!("group-of-{}", client.number);
    client.find_coordinator(CoordinatorKind::Group, &group).await;
    client.find_coordinator(CoordinatorKind::Transaction, &id).await;
    let (mut numbers, mut transactions, mut offset) = (0, 0, 0);
    // What a power cut leaves of several logs need not agree: nothing is promised from then on.
    while !client.is_over() && client.shared.era.get() == 0 {
        let Some(mut session) = begin_session(client, &id, &group, protocol).await else {
            client.rest().await;
            continue;
        };
        while !client.is_over() {
            transactions += 1;
            offset += 1;
            let id = TransactionId { writer: client.number, number: transactions };
            client.shared.model.borrow_mut().transactions.begin(id);
            let done = run_one(client, &mut session, id, (&mut numbers, offset)).await;
            if done.is_err() || session.may_be_ended_late {
                break;
            }
            client.rest().await;
        }
    }
    if client.shared.era.get() > 0 {
        return;
    }
    // The last one is left behind at times: its coordinator has to end it.
    if client.dice.chance(500) {
        while begin_session(client, &id, &group, protocol).await.is_none() {
            client.rest().await;
        }
    }
    let topics = client.shared.topics.clone();
    let place = (topics[0].name.clone(), 0);
    while client.committed(&group, &place).await.is_none() {
        client.rest().await;
    }
}

async fn begin_session(
    client: &mut SimClient,
    id: &str,
    group: &str,
    protocol: TransactionProtocol,
) -> Option<TransactSession> {
    client.connect().await.ok()?;
    let era = client.shared.era.get();
    let request = InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answer = client.ask_in(era, &request, 5).await.ok()?;
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => Some(TransactSession {
            id: id.to_owned(),
            group: group.to_owned(),
            protocol,
            era,
            producer_id: answer.producer_id,
            epoch: answer.producer_epoch,
            sequences: BTreeMap::new(),
            may_be_ended_late: false,
        }),
        code if is_passing(code) => None,
        code => {
            client.unexpected("InitProducerId with a transactional id", code);
            None
        }
    }
}

/// Codes that end a session: the coordinator has ended its transaction, or another has its place.
const fn is_fenced(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::PRODUCER_FENCED
            | ErrorCode::INVALID_TXN_STATE
            | ErrorCode::INVALID_PRODUCER_ID_MAPPING
            | ErrorCode::TRANSACTION_ABORTABLE
    )
}

impl TransactSession {
    /// Asks until there is an answer that does not pass by itself; how many attempts were lost, and
    /// the answer's code.
    async fn insist<R: Asked>(
        &self,
        client: &mut SimClient,
        request: &R,
        version: i16,
        code_of: impl Fn(&R::Response) -> ErrorCode,
    ) -> Step<(u32, R::Response)> {
        let mut lost = 0;
        loop {
            if client.shared.era.get() != self.era {
                return Err(SessionOver);
            }
            let asked = match client.connect().await {
                Ok(()) => {
                    let asked = client.ask_in(self.era, request, version).await;
                    lost += u32::from(asked.is_err());
                    asked
                }
                Err(error) => Err(error),
            };
            if let Ok(answer) = asked {
                let code = code_of(&answer);
                // A produce that timed out may have been appended, as one that was lost.
                lost += u32::from(code == ErrorCode::REQUEST_TIMED_OUT);
                if code == ErrorCode::NONE || !is_passing(code) {
                    return Ok((lost, answer));
                }
            }
            client.rest().await;
        }
    }
}

async fn run_one(
    client: &mut SimClient,
    session: &mut TransactSession,
    id: TransactionId,
    (numbers, offset): (&mut u64, i64),
) -> Step<()> {
    for _ in 0..client.dice.between(1, 3) {
        let place = client.some_partition();
        add_to_transaction(client, session, &place).await?;
        produce_batch(client, session, id, &place, numbers).await?;
    }
    let commits_offset = client.dice.chance(400);
    if commits_offset {
        commit_offset(client, session, offset).await?;
    }
    let is_commit = client.dice.chance(700);
    let place = (client.shared.topics[0].name.clone(), 0);
    {
        let mut model = client.shared.model.borrow_mut();
        let known = if is_commit { KnownEnd::InDoubt } else { KnownEnd::Aborted };
        model.transactions.ends(id, known);
        if is_commit && commits_offset {
            model.offset(&session.group, &place).send(offset);
        }
    }
    end_transaction(client, session, id, is_commit).await?;
    let mut model = client.shared.model.borrow_mut();
    if is_commit {
        model.transactions.ends(id, KnownEnd::Committed);
        if commits_offset {
            model.offset(&session.group, &place).acknowledged(offset);
        }
    }
    Ok(())
}

async fn add_to_transaction(
    client: &mut SimClient,
    session: &TransactSession,
    place: &Place,
) -> Step<()> {
    if session.protocol == TransactionProtocol::Implied {
        return Ok(());
    }
    let topic = AddPartitionsToTxnTopic {
        name: place.0.clone(),
        partitions: vec![place.1],
        ..Default::default()
    };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: session.id.clone(),
        v3_and_below_producer_id: session.producer_id,
        v3_and_below_producer_epoch: session.epoch,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    let code_of = |answer: &AddPartitionsToTxnResponse| {
        let topic = answer.results_by_topic_v3_and_below.first();
        let partition = topic.and_then(|topic| topic.results_by_partition.first());
        ErrorCode(partition.map_or(-1, |it| it.partition_error_code))
    };
    let (_, answer) = session.insist(client, &request, 3, code_of).await?;
    check_settled(client, "AddPartitionsToTxn", code_of(&answer))
}

/// A code of a request that was insisted upon.
fn check_settled(client: &SimClient, what: &str, code: ErrorCode) -> Step<()> {
    match code {
        ErrorCode::NONE => Ok(()),
        code if is_fenced(code) => Err(SessionOver),
        code => {
            client.unexpected(what, code);
            Err(SessionOver)
        }
    }
}

async fn produce_batch(
    client: &mut SimClient,
    session: &mut TransactSession,
    id: TransactionId,
    place: &Place,
    numbers: &mut u64,
) -> Step<()> {
    let values = client.some_values(numbers, session.era, id.number);
    let sequence = session.sequences.get(place).copied().unwrap_or(0);
    let writer = BatchWriter { producer_id: session.producer_id, epoch: session.epoch, sequence };
    let packing = client.some_packing();
    let batch = batch_of(&values, writer, client.clock.wall_ms(), packing);
    let request = request_of(place, batch, -1, Some(&session.id));
    let version = if session.protocol == TransactionProtocol::Implied { 12 } else { 11 };
    let asked = session.insist(client, &request, version, |answer| outcome_of(answer).0).await;
    let (_, answer) = asked?;
    let (code, offset) = outcome_of(&answer);
    check_settled(client, "a transactional Produce", code)?;
    client.wrote(place, offset, &values);
    let mut model = client.shared.model.borrow_mut();
    for value in &values {
        model.transactions.wrote(id, place.clone(), *value);
    }
    let count = i32::try_from(values.len()).unwrap_or(0);
    session.sequences.insert(place.clone(), sequence + count);
    Ok(())
}

async fn commit_offset(client: &mut SimClient, session: &TransactSession, offset: i64) -> Step<()> {
    let is_implied = session.protocol == TransactionProtocol::Implied;
    if !is_implied {
        let request = AddOffsetsToTxnRequest {
            transactional_id: session.id.clone(),
            producer_id: session.producer_id,
            producer_epoch: session.epoch,
            group_id: session.group.clone(),
            ..Default::default()
        };
        let asked = session.insist(client, &request, 3, |it| ErrorCode(it.error_code)).await;
        let (_, answer) = asked?;
        check_settled(client, "AddOffsetsToTxn", ErrorCode(answer.error_code))?;
    }
    let partition = TxnOffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        ..Default::default()
    };
    let topic = TxnOffsetCommitRequestTopic {
        name: client.shared.topics[0].name.clone(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = TxnOffsetCommitRequest {
        transactional_id: session.id.clone(),
        group_id: session.group.clone(),
        producer_id: session.producer_id,
        producer_epoch: session.epoch,
        topics: vec![topic],
        ..Default::default()
    };
    let code_of = |answer: &TxnOffsetCommitResponse| {
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        ErrorCode(partition.map_or(-1, |it| it.error_code))
    };
    let version = if is_implied { 5 } else { 3 };
    let (_, answer) = session.insist(client, &request, version, code_of).await?;
    check_settled(client, "TxnOffsetCommit", code_of(&answer))
}

async fn end_transaction(
    client: &mut SimClient,
    session: &mut TransactSession,
    id: TransactionId,
    is_commit: bool,
) -> Step<()> {
    let request = EndTxnRequest {
        transactional_id: session.id.clone(),
        producer_id: session.producer_id,
        producer_epoch: session.epoch,
        committed: is_commit,
        ..Default::default()
    };
    let is_implied = session.protocol == TransactionProtocol::Implied;
    let version = if is_implied { 5 } else { 3 };
    let asked = session.insist(client, &request, version, |it| ErrorCode(it.error_code)).await;
    let (lost, answer) = asked?;
    session.may_be_ended_late |= lost > 0 && !is_implied;
    let code = ErrorCode(answer.error_code);
    if lost == 0 && is_fenced(code) {
        // No other request has asked for the commit.
        client.shared.model.borrow_mut().transactions.ends(id, KnownEnd::Open);
    }
    check_settled(client, "EndTxn", code)?;
    if is_implied {
        (session.producer_id, session.epoch) = (answer.producer_id, answer.producer_epoch);
        session.sequences.clear();
    }
    Ok(())
}
