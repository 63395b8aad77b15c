//! What producers, consumers and coordinators send.

use ottla_protocol::messages::{
    add_offsets_to_txn_request, add_partitions_to_txn_request, api_versions_request,
    consumer_group_heartbeat_request, delete_records_request, describe_producers_request,
    describe_transactions_request, end_txn_request, fetch_request,
    get_telemetry_subscriptions_request, heartbeat_request, init_producer_id_request,
    join_group_request, leave_group_request, list_offsets_request, list_transactions_request,
    metadata_request, offset_fetch_request, offset_for_leader_epoch_request, produce_request,
    push_telemetry_request, sync_group_request, txn_offset_commit_request,
    write_txn_markers_request,
};
use ottla_records::BatchOptions;

use super::{SampleRequest, batch, commit_offset, d, find_coordinator, show};
use crate::harness::Harness;

/// The requests, by the names of the table.
pub const ALL: &[(&str, SampleRequest)] = &[
    ("Produce", |h| produce(h, None, BatchOptions::default())),
    ("Produce in a transaction", |h| {
        let options = BatchOptions {
            transactional: true,
            producer_id: 0,
            producer_epoch: 0,
            base_sequence: 0,
            ..d()
        };
        produce(h, Some("seen-id"), options)
    }),
    ("Fetch", |h| fetch(h, -1)),
    ("Fetch by a follower", |h| fetch(h, 2)),
    ("ListOffsets", |h| {
        show(
            h,
            5,
            &list_offsets_request::ListOffsetsRequest {
                replica_id: -1,
                topics: vec![list_offsets_request::ListOffsetsTopic {
                    name: "seen-topic".to_owned(),
                    partitions: vec![list_offsets_request::ListOffsetsPartition {
                        timestamp: -1,
                        ..d()
                    }],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("Metadata", |h| metadata(h, "seen-topic")),
    ("Metadata of a topic that is missing", |h| metadata(h, "missing-topic")),
    ("Metadata of all topics", |h| {
        show(h, 9, &metadata_request::MetadataRequest { topics: None, ..d() })
    }),
    ("OffsetCommit", commit_offset),
    ("OffsetFetch", |h| {
        show(
            h,
            8,
            &offset_fetch_request::OffsetFetchRequest {
                groups: vec![offset_fetch_request::OffsetFetchRequestGroup {
                    group_id: "seen-group".to_owned(),
                    topics: Some(vec![offset_fetch_request::OffsetFetchRequestTopics {
                        name: "seen-topic".to_owned(),
                        partition_indexes: vec![0],
                        ..d()
                    }]),
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("OffsetFetch of all topics", |h| {
        show(
            h,
            8,
            &offset_fetch_request::OffsetFetchRequest {
                groups: vec![offset_fetch_request::OffsetFetchRequestGroup {
                    group_id: "seen-group".to_owned(),
                    topics: None,
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("FindCoordinator of a group", |h| find_coordinator(h, 0, "seen-group")),
    ("FindCoordinator of a transaction", |h| find_coordinator(h, 1, "seen-id")),
    ("FindCoordinator of a share partition", |h| {
        find_coordinator(h, 2, "g:69dWuGArRy2OnZC8I8jLxg:0")
    }),
    ("JoinGroup", |h| {
        show(
            h,
            5,
            &join_group_request::JoinGroupRequest {
                group_id: "joined".to_owned(),
                session_timeout_ms: 10_000,
                protocol_type: "consumer".to_owned(),
                protocols: vec![join_group_request::JoinGroupRequestProtocol {
                    name: "range".to_owned(),
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("Heartbeat", |h| {
        show(
            h,
            3,
            &heartbeat_request::HeartbeatRequest { group_id: "seen-group".to_owned(), ..d() },
        )
    }),
    ("LeaveGroup", |h| {
        show(
            h,
            4,
            &leave_group_request::LeaveGroupRequest {
                group_id: "seen-group".to_owned(),
                members: vec![d()],
                ..d()
            },
        )
    }),
    ("SyncGroup", |h| {
        show(
            h,
            3,
            &sync_group_request::SyncGroupRequest { group_id: "seen-group".to_owned(), ..d() },
        )
    }),
    ("ApiVersions", |h| show(h, 3, &api_versions_request::ApiVersionsRequest::default())),
    ("DeleteRecords", |h| {
        show(
            h,
            2,
            &delete_records_request::DeleteRecordsRequest {
                topics: vec![delete_records_request::DeleteRecordsTopic {
                    name: "seen-topic".to_owned(),
                    partitions: vec![d()],
                    ..d()
                }],
                timeout_ms: 10_000,
                ..d()
            },
        )
    }),
    ("InitProducerId", |h| {
        show(
            h,
            4,
            &init_producer_id_request::InitProducerIdRequest {
                transactional_id: None,
                producer_id: -1,
                producer_epoch: -1,
                ..d()
            },
        )
    }),
    ("InitProducerId for transactions", |h| {
        show(
            h,
            4,
            &init_producer_id_request::InitProducerIdRequest {
                transactional_id: Some("other-id".to_owned()),
                transaction_timeout_ms: 10_000,
                ..d()
            },
        )
    }),
    ("OffsetForLeaderEpoch", |h| {
        show(
            h,
            4,
            &offset_for_leader_epoch_request::OffsetForLeaderEpochRequest {
                topics: vec![offset_for_leader_epoch_request::OffsetForLeaderTopic {
                    topic: "seen-topic".to_owned(),
                    partitions: vec![d()],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("AddPartitionsToTxn", |h| {
        show(
            h,
            3,
            &add_partitions_to_txn_request::AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: "seen-id".to_owned(),
                v3_and_below_producer_id: 999,
                v3_and_below_topics: vec![add_partitions_to_txn_request::AddPartitionsToTxnTopic {
                    name: "seen-topic".to_owned(),
                    partitions: vec![0],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("AddPartitionsToTxn by a broker", |h| {
        show(
            h,
            4,
            &add_partitions_to_txn_request::AddPartitionsToTxnRequest {
                transactions: vec![add_partitions_to_txn_request::AddPartitionsToTxnTransaction {
                    transactional_id: "seen-id".to_owned(),
                    producer_id: 999,
                    verify_only: true,
                    topics: vec![add_partitions_to_txn_request::AddPartitionsToTxnTopic {
                        name: "seen-topic".to_owned(),
                        partitions: vec![0],
                        ..d()
                    }],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("AddOffsetsToTxn", |h| {
        show(
            h,
            3,
            &add_offsets_to_txn_request::AddOffsetsToTxnRequest {
                transactional_id: "seen-id".to_owned(),
                producer_id: 999,
                group_id: "seen-group".to_owned(),
                ..d()
            },
        )
    }),
    ("EndTxn", |h| {
        show(
            h,
            3,
            &end_txn_request::EndTxnRequest {
                transactional_id: "seen-id".to_owned(),
                producer_id: 999,
                ..d()
            },
        )
    }),
    ("WriteTxnMarkers", |h| {
        show(
            h,
            1,
            &write_txn_markers_request::WriteTxnMarkersRequest {
                markers: vec![write_txn_markers_request::WritableTxnMarker {
                    producer_id: 999,
                    topics: vec![write_txn_markers_request::WritableTxnMarkerTopic {
                        name: "seen-topic".to_owned(),
                        partition_indexes: vec![0],
                        ..d()
                    }],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("TxnOffsetCommit", |h| {
        show(
            h,
            3,
            &txn_offset_commit_request::TxnOffsetCommitRequest {
                transactional_id: "seen-id".to_owned(),
                group_id: "seen-group".to_owned(),
                producer_id: 999,
                topics: vec![txn_offset_commit_request::TxnOffsetCommitRequestTopic {
                    name: "seen-topic".to_owned(),
                    partitions: vec![d()],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeProducers", |h| {
        show(
            h,
            0,
            &describe_producers_request::DescribeProducersRequest {
                topics: vec![describe_producers_request::TopicRequest {
                    name: "seen-topic".to_owned(),
                    partition_indexes: vec![0],
                    ..d()
                }],
                ..d()
            },
        )
    }),
    ("DescribeTransactions", |h| {
        show(
            h,
            0,
            &describe_transactions_request::DescribeTransactionsRequest {
                transactional_ids: vec!["seen-id".to_owned()],
                ..d()
            },
        )
    }),
    ("ListTransactions", |h| {
        show(h, 1, &list_transactions_request::ListTransactionsRequest::default())
    }),
    ("ConsumerGroupHeartbeat", |h| {
        show(
            h,
            0,
            &consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest {
                group_id: "seen-consumers".to_owned(),
                member_id: "m".to_owned(),
                rebalance_timeout_ms: 10_000,
                subscribed_topic_names: Some(vec!["seen-topic".to_owned()]),
                topic_partitions: Some(Vec::new()),
                ..d()
            },
        )
    }),
    ("GetTelemetrySubscriptions", |h| {
        show(
            h,
            0,
            &get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest::default(),
        )
    }),
    ("PushTelemetry", |h| show(h, 0, &push_telemetry_request::PushTelemetryRequest::default())),
];

fn produce(h: &Harness, transactional_id: Option<&str>, options: BatchOptions) -> String {
    show(
        h,
        8,
        &produce_request::ProduceRequest {
            transactional_id: transactional_id.map(str::to_owned),
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![produce_request::TopicProduceData {
                name: "seen-topic".to_owned(),
                partition_data: vec![produce_request::PartitionProduceData {
                    index: 0,
                    records: Some(batch(options)),
                    ..d()
                }],
                ..d()
            }],
            ..d()
        },
    )
}

fn fetch(h: &Harness, replica_id: i32) -> String {
    show(
        h,
        11,
        &fetch_request::FetchRequest {
            replica_id,
            max_wait_ms: 0,
            max_bytes: 1000,
            topics: vec![fetch_request::FetchTopic {
                topic: "seen-topic".to_owned(),
                partitions: vec![fetch_request::FetchPartition {
                    partition_max_bytes: 1000,
                    ..d()
                }],
                ..d()
            }],
            ..d()
        },
    )
}

fn metadata(h: &Harness, topic: &str) -> String {
    show(
        h,
        9,
        &metadata_request::MetadataRequest {
            topics: Some(vec![metadata_request::MetadataRequestTopic {
                name: Some(topic.to_owned()),
                ..d()
            }]),
            allow_auto_topic_creation: true,
            ..d()
        },
    )
}
