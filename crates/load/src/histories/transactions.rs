//! Transactions of both versions, zombies, and what may not be asked.

use bytes::Bytes;
use ottla_protocol::messages::add_offsets_to_txn_request::AddOffsetsToTxnRequest;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ottla_protocol::messages::describe_producers_request::{
    DescribeProducersRequest, TopicRequest,
};
use ottla_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use ottla_protocol::messages::end_txn_request::EndTxnRequest;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_types::Uuid;

use super::History;
use super::player::Player;
use crate::wire::LoadError;

pub const ALL: &[History] = &[
    ("transactions of version 2", transactions_version_2),
    ("transactions of version 1", transactions_version_1),
    ("transaction offsets", transaction_offsets),
    ("transaction refusals", transaction_refusals),
    ("idempotent sequences", idempotent_sequences),
];

/// A producer: its id and epoch.
pub type Who = (i64, i16);

pub fn init_request(id: &str, known: Who, timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: timeout_ms,
        producer_id: known.0,
        producer_epoch: known.1,
        ..Default::default()
    }
}

pub fn init_producer(play: &mut Player, id: &str) -> Result<Who, LoadError> {
    let told = play.insist(&init_request(id, (-1, -1), 60_000), 5, |it| it.error_code)?;
    Ok((told.producer_id, told.producer_epoch))
}

pub fn end_request(id: &str, who: Who, committed: bool) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: who.0,
        producer_epoch: who.1,
        committed,
        ..Default::default()
    }
}

fn producer_batch(who: Who, sequence: i32, transactional: bool) -> Result<Bytes, LoadError> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: who.0,
        producer_epoch: who.1,
        base_sequence: sequence,
        transactional,
        ..BatchOptions::default()
    });
    let value = Some(&b"value"[..]);
    builder.push(&NewRecord { timestamp: 1_700_000_000_000, value, ..NewRecord::default() });
    Ok(Bytes::from(builder.build().map_err(std::io::Error::other)?))
}

fn produce_request(id: Option<&str>, topic: (&str, Uuid), records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData { index: 0, records: Some(records), ..Default::default() };
    ProduceRequest {
        transactional_id: id.map(str::to_owned),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.0.to_owned(),
            topic_id: topic.1,
            partition_data: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// An offset of partition 0 of a topic, from a client that is no member.
pub fn txn_offset_request(
    id: &str,
    who: Who,
    group: &str,
    topic: &str,
    offset: i64,
) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: id.to_owned(),
        group_id: group.to_owned(),
        producer_id: who.0,
        producer_epoch: who.1,
        generation_id_or_member_epoch: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                committed_offset: offset,
                committed_metadata: Some(String::new()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub fn add_request(
    id: &str,
    who: Who,
    topic: &str,
    partitions: &[i32],
) -> AddPartitionsToTxnRequest {
    let topic = AddPartitionsToTxnTopic {
        name: topic.to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.to_owned(),
        v3_and_below_producer_id: who.0,
        v3_and_below_producer_epoch: who.1,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    }
}

fn describe_transaction(play: &mut Player, id: &str) -> Result<(), LoadError> {
    let transactional_ids = vec![id.to_owned()];
    let request = DescribeTransactionsRequest { transactional_ids, ..Default::default() };
    play.ask(&request, 0).map(drop)
}

/// Waits until the markers are written: then a description shows no partitions.
pub fn await_markers(play: &mut Player, id: &str) -> Result<(), LoadError> {
    let transactional_ids = vec![id.to_owned()];
    let request = DescribeTransactionsRequest { transactional_ids, ..Default::default() };
    for _ in 0..10_000 {
        let told = play.quietly(&request, 0)?;
        let is_done = |it: &str| it.starts_with("Complete") || it == "Empty";
        if told.transaction_states.iter().all(|it| is_done(&it.transaction_state)) {
            play.note(&told);
            return Ok(());
        }
    }
    Err(LoadError::Refused(0))
}

/// What a reader sees of partition 0, how far it may read, and who has written.
fn look_at_partition(play: &mut Player, topic: (&str, Uuid)) -> Result<(), LoadError> {
    for isolation_level in [0, 1] {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
        let topic =
            FetchTopic { topic_id: topic.1, partitions: vec![partition], ..Default::default() };
        let request = FetchRequest {
            max_bytes: 1 << 20,
            isolation_level,
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let mut told = play.quietly(&request, 13)?;
        for it in told.responses.iter_mut().flat_map(|it| &mut it.partitions) {
            // Both have the same batches, but for the producer's id.
            it.records = it.records.take().map(|it| Bytes::from(format!("{} bytes", it.len())));
        }
        play.note(&told);
    }
    for (isolation_level, timestamp) in [(0, -1), (1, -1), (1, -2)] {
        play.ask(&list_offsets(topic.0, isolation_level, timestamp), 7)?;
    }
    let asked = TopicRequest {
        name: topic.0.to_owned(),
        partition_indexes: vec![0, 9],
        ..Default::default()
    };
    let request = DescribeProducersRequest { topics: vec![asked], ..Default::default() };
    play.ask(&request, 0).map(drop)
}

fn list_offsets(topic: &str, isolation_level: i8, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition { timestamp, ..Default::default() };
    let (name, partitions) = (topic.to_owned(), vec![partition]);
    let topic = ListOffsetsTopic { name, partitions, ..Default::default() };
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level,
        topics: vec![topic],
        ..Default::default()
    }
}

fn transactions_version_2(play: &mut Player) -> Result<(), LoadError> {
    let (name, topic_id) = play.topic("t", 2)?;
    let topic = (name.as_str(), topic_id);
    let id = &play.name.clone();
    play.coordinator(id, 1)?;
    describe_transaction(play, id)?;
    let one = init_producer(play, id)?;
    describe_transaction(play, id)?;
    play.about("an abort of nothing, then a commit of nothing");
    let told = play.ask(&end_request(id, one, false), 5)?;
    let one = (told.producer_id, told.producer_epoch);
    await_markers(play, id)?;
    play.ask(&end_request(id, one, true), 5)?;
    play.about("it writes, and commits");
    play.ask(&produce_request(Some(id), topic, producer_batch(one, 0, true)?), 13)?;
    describe_transaction(play, id)?;
    look_at_partition(play, topic)?;
    for (isolation_level, timestamp) in [(0, -3), (1, -3), (0, 0), (1, 0)] {
        play.ask(&list_offsets(topic.0, isolation_level, timestamp), 7)?;
    }
    let told = play.ask(&end_request(id, one, true), 5)?;
    let two = (told.producer_id, told.producer_epoch);
    await_markers(play, id)?;
    look_at_partition(play, topic)?;
    play.about("the same again: the answer was lost");
    play.ask(&end_request(id, one, true), 5)?;
    play.ask(&end_request(id, one, false), 5)?;
    play.about("a write of the transaction before");
    play.ask(&produce_request(Some(id), topic, producer_batch(one, 1, true)?), 13)?;
    play.about("it writes, and aborts");
    play.ask(&produce_request(Some(id), topic, producer_batch(two, 0, true)?), 13)?;
    let told = play.ask(&end_request(id, two, false), 5)?;
    await_markers(play, id)?;
    look_at_partition(play, topic)?;
    let three = (told.producer_id, told.producer_epoch);
    play.about("another takes over while it writes");
    play.ask(&produce_request(Some(id), topic, producer_batch(three, 0, true)?), 13)?;
    play.ask(&init_request(id, (-1, -1), 60_000), 5)?;
    let four = init_producer(play, id)?;
    await_markers(play, id)?;
    play.about("the one before is a zombie");
    play.ask(&produce_request(Some(id), topic, producer_batch(three, 1, true)?), 13)?;
    play.ask(&end_request(id, three, true), 5)?;
    play.ask(&add_request(id, three, &name, &[1]), 3)?;
    play.ask(&init_request(id, three, 60_000), 5)?;
    play.about("it comes back with its id and epoch");
    play.ask(&init_request(id, four, 60_000), 5)?;
    look_at_partition(play, topic)?;
    let list = ListTransactionsRequest::default();
    let mut told = play.quietly(&list, 1)?;
    told.transaction_states.retain(|it| it.transactional_id == *id);
    play.note(&told);
    Ok(())
}

fn transactions_version_1(play: &mut Player) -> Result<(), LoadError> {
    let (name, topic_id) = play.topic("t", 2)?;
    let topic = (name.as_str(), topic_id);
    let id = &play.name.clone();
    play.coordinator(id, 1)?;
    let one = play.insist(&init_request(id, (-1, -1), 60_000), 4, |it| it.error_code)?;
    let one = (one.producer_id, one.producer_epoch);
    play.about("a write before the partition is added");
    play.ask(&produce_request(Some(id), topic, producer_batch(one, 0, true)?), 11)?;
    play.about("it adds, writes, commits, twice with one epoch");
    for sequence in [0, 1] {
        play.insist(&add_request(id, one, &name, &[0]), 3, |answer| {
            let all =
                answer.results_by_topic_v3_and_below.iter().flat_map(|it| &it.results_by_partition);
            all.map(|it| it.partition_error_code).next().unwrap_or(0)
        })?;
        describe_transaction(play, id)?;
        play.ask(&produce_request(Some(id), topic, producer_batch(one, sequence, true)?), 11)?;
        play.ask(&end_request(id, one, true), 3)?;
        await_markers(play, id)?;
    }
    play.about("an end of what has ended");
    play.ask(&end_request(id, one, true), 3)?;
    play.ask(&end_request(id, one, false), 3)?;
    play.about("partitions that are not there, among some that are");
    let mut told = play.quietly(&add_request(id, one, &name, &[0, 9]), 3)?;
    for topic in &mut told.results_by_topic_v3_and_below {
        topic.results_by_partition.sort_by_key(|it| it.partition_index);
    }
    play.note(&told);
    play.ask(&add_request(id, one, "absent", &[0]), 3)?;
    look_at_partition(play, topic)
}

fn transaction_offsets(play: &mut Player) -> Result<(), LoadError> {
    let (name, _) = play.topic("t", 2)?;
    let id = &play.name.clone();
    let group = &format!("{id}-group");
    play.coordinator(id, 1)?;
    play.coordinator(group, 0)?;
    let one = init_producer(play, id)?;
    let commit = |who: Who, member: &str, generation: i32| TxnOffsetCommitRequest {
        transactional_id: id.clone(),
        group_id: group.clone(),
        producer_id: who.0,
        producer_epoch: who.1,
        member_id: member.to_owned(),
        generation_id_or_member_epoch: generation,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: name.clone(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 42,
                committed_metadata: Some(String::new()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let read = |play: &mut Player, require_stable: bool| {
        let topic = OffsetFetchRequestTopics {
            name: name.clone(),
            partition_indexes: vec![0, 1],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: group.clone(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let request =
            OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
        play.ask(&request, 9).map(drop)
    };
    play.about("as a member that is none");
    play.ask(&commit(one, "unknown-member", 1), 5)?;
    play.ask(&commit(one, "unknown-member", -1), 5)?;
    play.about("without a member id");
    play.insist(&commit(one, "", -1), 5, |answer| {
        let all = answer.topics.iter().flat_map(|it| &it.partitions);
        all.map(|it| it.error_code).next().unwrap_or(0)
    })?;
    describe_transaction(play, id)?;
    read(play, false)?;
    read(play, true)?;
    let told = play.ask(&end_request(id, one, false), 5)?;
    await_markers(play, id)?;
    read(play, true)?;
    let two = (told.producer_id, told.producer_epoch);
    play.about("the old way: the group is added first");
    let offsets = AddOffsetsToTxnRequest {
        transactional_id: id.clone(),
        producer_id: two.0,
        producer_epoch: two.1,
        group_id: group.clone(),
        ..Default::default()
    };
    play.ask(&AddOffsetsToTxnRequest { producer_epoch: two.1 - 1, ..offsets.clone() }, 3)?;
    play.ask(&offsets, 3)?;
    play.ask(&commit(two, "", -1), 3)?;
    play.ask(&end_request(id, two, true), 5)?;
    await_markers(play, id)?;
    read(play, true)
}

fn transaction_refusals(play: &mut Player) -> Result<(), LoadError> {
    let (name, topic_id) = play.topic("t", 2)?;
    let topic = (name.as_str(), topic_id);
    let id = &play.name.clone();
    play.coordinator(id, 1)?;
    play.about("timeouts, and an id that is empty");
    play.ask(&init_request(id, (-1, -1), 0), 5)?;
    play.ask(&init_request(id, (-1, -1), -1), 5)?;
    play.ask(&init_request(id, (-1, -1), 900_001), 5)?;
    play.ask(&init_request("", (-1, -1), 60_000), 5)?;
    play.about("half of a producer");
    play.ask(&init_request(id, (5, -1), 60_000), 5)?;
    play.ask(&init_request(id, (-1, 5), 60_000), 5)?;
    play.about("transactional ids without a producer");
    let nobody = (987_654_321, 0);
    play.ask(&end_request(id, nobody, true), 5)?;
    play.ask(&end_request("", nobody, true), 5)?;
    play.ask(&add_request(id, nobody, &name, &[0]), 3)?;
    play.ask(&init_request(id, nobody, 60_000), 5)?;
    let one = init_producer(play, id)?;
    play.ask(&end_request(id, nobody, true), 5)?;
    play.ask(&end_request(id, (one.0, one.1 + 1), true), 5)?;
    play.ask(&init_request(id, nobody, 60_000), 5)?;
    play.about("a transactional batch without an id, and a plain one with it");
    play.ask(&produce_request(None, topic, producer_batch(one, 0, true)?), 13)?;
    play.ask(&produce_request(Some(id), topic, producer_batch(one, 0, false)?), 13)?;
    play.about("a topic that is not there");
    play.ask(&produce_request(Some(id), ("", Uuid::of(77)), producer_batch(one, 0, true)?), 13)?;
    play.about("producer ids that do not belong to the transactional id");
    let none = TopicRequest {
        name: "absent".to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let request = DescribeProducersRequest { topics: vec![none], ..Default::default() };
    play.ask(&request, 0)?;
    let list = ListTransactionsRequest {
        state_filters: vec!["Ongoing".to_owned(), "Sleeping".to_owned()],
        ..Default::default()
    };
    let mut told = play.quietly(&list, 1)?;
    told.transaction_states.retain(|it| it.transactional_id == *id);
    play.note(&told);
    let pattern = ListTransactionsRequest {
        transactional_id_pattern: Some("a(".to_owned()),
        ..Default::default()
    };
    play.ask(&pattern, 2).map(drop)
}

fn idempotent_sequences(play: &mut Player) -> Result<(), LoadError> {
    let (name, topic_id) = play.topic("t", 2)?;
    let topic = (name.as_str(), topic_id);
    let request = InitProducerIdRequest {
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let told = play.insist(&request, 5, |it| it.error_code)?;
    let one = (told.producer_id, told.producer_epoch);
    play.about("in order, again, a gap, an older one, another epoch");
    for (who, sequence) in [
        (one, 0),
        (one, 1),
        (one, 1),
        (one, 0),
        (one, 5),
        (one, 2),
        ((one.0, one.1 + 1), 5),
        ((one.0, one.1 + 1), 0),
        (one, 3),
    ] {
        play.ask(&produce_request(None, topic, producer_batch(who, sequence, false)?), 13)?;
    }
    play.about("producer ids that were never given");
    play.ask(&produce_request(None, topic, producer_batch((987_654_321, 0), 7, false)?), 13)?;
    look_at_partition(play, topic)
}
