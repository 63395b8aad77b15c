//! A request for each row of `authorisation.txt`, and what it concerns.

mod clients;
mod nodes;
mod operators;
mod quorum;

use bytes::Bytes;
use ottla_protocol::Request;
use ottla_protocol::messages::{
    add_partitions_to_txn_request, consumer_group_heartbeat_request, create_topics_request,
    delete_topics_request, find_coordinator_request, init_producer_id_request,
    list_transactions_request, offset_commit_request,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};

use crate::harness::Harness;

/// Sends the request; its answer as text.
pub type SampleRequest = fn(&Harness) -> String;

fn d<T: Default>() -> T {
    T::default()
}

fn show<R: Request<Response: std::fmt::Debug>>(h: &Harness, version: i16, request: &R) -> String {
    format!("{:?}", h.ask(request, version))
}

fn batch(options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    builder.push(&NewRecord { timestamp: 1, value: Some(b"v"), ..NewRecord::default() });
    builder.build().expect("a batch").into()
}

fn topic(name: &str) -> create_topics_request::CreatableTopic {
    create_topics_request::CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..d()
    }
}

/// The requests, by the names of the table.
pub fn samples() -> impl Iterator<Item = (&'static str, SampleRequest)> {
    clients::ALL.iter().chain(operators::ALL).chain(nodes::ALL).chain(quorum::ALL).copied()
}

/// Asks until the answer is as wanted: topics and coordinators come up in their own time.
fn until(wanted: &str, ask: impl Fn() -> String) {
    const TRIES: usize = 100_000;
    let mut last = String::new();
    let comes = (0..TRIES).any(|_| {
        last = ask();
        last.contains(wanted)
    });
    assert!(comes, "{wanted} did not come: {last}");
}

/// Makes all that the requests concern, as far as an earlier one has taken it away.
pub fn prepare(h: &Harness) {
    let new = |name: &str| {
        let topics = vec![topic(name)];
        let request =
            create_topics_request::CreateTopicsRequest { topics, timeout_ms: 10_000, ..d() };
        if h.node().topic_id(name).is_none() {
            h.ask(&request, 7);
        }
        until("true", || h.node().topic_id(name).is_some().to_string());
    };
    new("seen-topic");
    new("gone-topic");
    let name = "missing-topic";
    if h.node().topic_id(name).is_some() {
        h.ask(
            &delete_topics_request::DeleteTopicsRequest {
                topic_names: vec![name.to_owned()],
                timeout_ms: 10_000,
                ..d()
            },
            5,
        );
        until("true", || h.node().topic_id(name).is_none().to_string());
    }
    prepare_groups(h);
}

fn find_coordinator(h: &Harness, key_type: i8, key: &str) -> String {
    let coordinator_keys = vec![key.to_owned()];
    show(
        h,
        6,
        &find_coordinator_request::FindCoordinatorRequest { key_type, coordinator_keys, ..d() },
    )
}

/// Commits an offset of a group.
fn commit_offset(h: &Harness) -> String {
    show(
        h,
        8,
        &offset_commit_request::OffsetCommitRequest {
            group_id: "seen-group".to_owned(),
            topics: vec![offset_commit_request::OffsetCommitRequestTopic {
                name: "seen-topic".to_owned(),
                partitions: vec![d()],
                ..d()
            }],
            ..d()
        },
    )
}

/// The same for groups and transactions.
fn prepare_groups(h: &Harness) {
    until("error_code: 0", || find_coordinator(h, 0, "seen"));
    until("error_code: 0", || find_coordinator(h, 1, "seen"));
    until("error_code: 0", || commit_offset(h));
    if !show(h, 1, &list_transactions_request::ListTransactionsRequest::default())
        .contains("seen-id")
    {
        until("error_code: 0", || {
            show(
                h,
                4,
                &init_producer_id_request::InitProducerIdRequest {
                    transactional_id: Some("seen-id".to_owned()),
                    transaction_timeout_ms: 900_000,
                    ..d()
                },
            )
        });
        until("error_code: 0", || {
            show(
                h,
                3,
                &add_partitions_to_txn_request::AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: "seen-id".to_owned(),
                    v3_and_below_topics: vec![
                        add_partitions_to_txn_request::AddPartitionsToTxnTopic {
                            name: "seen-topic".to_owned(),
                            partitions: vec![0],
                            ..d()
                        },
                    ],
                    ..d()
                },
            )
        });
    }
    until("error_code: 0", || {
        show(
            h,
            0,
            &consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest {
                group_id: "seen-consumers".to_owned(),
                member_id: "seen-member".to_owned(),
                rebalance_timeout_ms: 10_000,
                subscribed_topic_names: Some(vec!["seen-topic".to_owned()]),
                topic_partitions: Some(Vec::new()),
                ..d()
            },
        )
    });
}
