//! Answers to requests that name one thing twice, nothing, or what cannot be: each is what Apache
//! Kafka answers (`conformance/run histories` asks it the same).

use ottla_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use ottla_protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla_protocol::messages::describe_quorum_request as quorum;
use ottla_protocol::messages::describe_topic_partitions_request as pages;
use ottla_protocol::messages::describe_user_scram_credentials_request as scram_users;
use ottla_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ottla_types::{ErrorCode, Uuid};

use crate::node::Home;
use crate::raw::ask;
use crate::talk;

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() }
}

fn by_id(topic_id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic { topic_id, ..Default::default() }
}

#[test]
fn metadata_describes_each_topic_once() {
    let home = Home::new().with("auto.create.topics.enable=false");
    let node = home.start();
    talk::create(node.address, "t", 1);
    talk::create(node.address, "u", 1);
    let mut stream = node.connect();
    let mut describe = |topics: Vec<MetadataRequestTopic>, version| {
        let request = MetadataRequest { topics: Some(topics), ..Default::default() };
        ask(&mut stream, &request, version)
    };
    for version in [1, 9, 12, 13] {
        let told =
            describe(vec![named("t"), named("t"), named("absent"), named("absent")], version);
        let rows: Vec<_> = told.topics.iter().map(|it| ErrorCode(it.error_code)).collect();
        let wanted = [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
        assert_eq!(rows, wanted, "version {version}");
    }
    let id = describe(vec![named("t")], 12).topics[0].topic_id;
    let told = describe(vec![by_id(id), by_id(id), named("u")], 12);
    let names: Vec<_> = told.topics.iter().map(|it| it.name.clone()).collect();
    assert_eq!(names, [Some("t".to_owned())], "by id, names count for nothing");
    for topic in [by_id(id), MetadataRequestTopic { topic_id: id, ..named("t") }] {
        let told = describe(vec![topic], 11);
        assert_eq!(ErrorCode(told.topics[0].error_code), ErrorCode::INVALID_REQUEST);
        assert_eq!((told.brokers.len(), told.controller_id), (0, -1));
    }
    node.stop();
}

#[test]
fn a_partition_that_is_named_twice_has_one_answer() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 2);
    let mut stream = node.connect();
    let place = |partition_index| ListOffsetsPartition {
        partition_index,
        current_leader_epoch: -1,
        timestamp: -1,
        ..Default::default()
    };
    let topic = |name: &str, partitions: Vec<ListOffsetsPartition>| ListOffsetsTopic {
        name: name.to_owned(),
        partitions,
        ..Default::default()
    };
    let topics =
        vec![topic("t", vec![place(0), place(1)]), topic("t", vec![place(0)]), topic("u", vec![])];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let told = ask(&mut stream, &request, 7);
    let rows: Vec<_> = told.topics.iter().flat_map(|it| &it.partitions).collect();
    let rows: Vec<_> =
        rows.iter().map(|it| (it.partition_index, ErrorCode(it.error_code))).collect();
    assert_eq!(rows, [(0, ErrorCode::INVALID_REQUEST), (1, ErrorCode::NONE)]);
    assert_eq!(told.topics.len(), 1, "a topic without partitions is not answered");
    let request = ListOffsetsRequest { isolation_level: 2, ..request };
    let told = ask(&mut stream, &request, 7);
    let codes = told.topics.iter().flat_map(|it| &it.partitions).map(|it| ErrorCode(it.error_code));
    let codes: Vec<_> = codes.collect();
    assert_eq!(codes, [ErrorCode::UNKNOWN_SERVER_ERROR; 3], "there is no such level");

    let partition = DeleteRecordsPartition { partition_index: 0, offset: 0, ..Default::default() };
    let partitions = vec![partition.clone(), partition];
    let topic = DeleteRecordsTopic { name: "t".to_owned(), partitions, ..Default::default() };
    let request = DeleteRecordsRequest { topics: vec![topic.clone(), topic], ..Default::default() };
    let told = ask(&mut stream, &request, 2);
    assert_eq!(told.topics.len(), 1);
    assert_eq!(told.topics[0].partitions.len(), 1);

    let topic = AlterReplicaLogDirTopic {
        name: "t".to_owned(),
        partitions: vec![0, 0],
        ..Default::default()
    };
    let long = AlterReplicaLogDirTopic { name: "x".repeat(250), ..topic.clone() };
    let path = "/absent".to_owned();
    let dir = AlterReplicaLogDir { path, topics: vec![topic, long], ..Default::default() };
    let request = AlterReplicaLogDirsRequest { dirs: vec![dir.clone(), dir], ..Default::default() };
    let told = ask(&mut stream, &request, 2);
    let rows: Vec<_> = told.results.iter().flat_map(|it| &it.partitions).collect();
    let codes: Vec<_> = rows.iter().map(|it| ErrorCode(it.error_code)).collect();
    assert_eq!(codes, [ErrorCode::LOG_DIR_NOT_FOUND, ErrorCode::INVALID_TOPIC_EXCEPTION]);

    node.stop();
}

#[test]
fn a_marker_is_answered_once_and_refused_where_no_coordinator_sends_it() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    let marker = |producer_epoch, partition_indexes: Vec<i32>| WritableTxnMarker {
        producer_id: 7,
        producer_epoch,
        topics: vec![WritableTxnMarkerTopic {
            name: "t".to_owned(),
            partition_indexes,
            ..Default::default()
        }],
        ..Default::default()
    };
    let cases = [
        (vec![marker(0, vec![0, 0]), marker(0, vec![0])], vec![ErrorCode::NONE]),
        (vec![marker(0, vec![])], vec![]),
        (vec![marker(-1, vec![0])], vec![ErrorCode::UNKNOWN_SERVER_ERROR]),
        (vec![marker(-2, vec![0])], vec![ErrorCode::INVALID_PRODUCER_EPOCH]),
    ];
    for (markers, wanted) in cases {
        let request = WriteTxnMarkersRequest { markers, ..Default::default() };
        let told = ask(&mut stream, &request, 1);
        let rows: Vec<_> = told.markers.iter().flat_map(|it| &it.topics).collect();
        let rows: Vec<_> = rows.iter().flat_map(|it| &it.partitions).collect();
        let codes: Vec<_> = rows.iter().map(|it| ErrorCode(it.error_code)).collect();
        assert_eq!(codes, wanted, "{request:?}");
    }
    node.stop();
}

#[test]
fn a_group_that_is_named_twice_is_deleted_once() {
    let home = Home::new();
    let node = home.start();
    let mut stream = node.connect();
    let groups_names = vec!["absent".to_owned(), "absent".to_owned()];
    let request = DeleteGroupsRequest { groups_names, ..Default::default() };
    // The coordinators are made when the first group is looked for.
    let key = "absent".to_owned();
    let find = FindCoordinatorRequest { key, ..Default::default() };
    let codes = loop {
        ask(&mut stream, &find, 3);
        let told = ask(&mut stream, &request, 2);
        let codes: Vec<_> = told.results.iter().map(|it| ErrorCode(it.error_code)).collect();
        if !codes.iter().any(|it| it.is_retriable()) {
            break codes;
        }
    };
    assert_eq!(codes, [ErrorCode::GROUP_ID_NOT_FOUND]);
    node.stop();
}

#[test]
fn what_has_no_time_left_is_not_done() {
    let home = Home::new().with("auto.create.topics.enable=false");
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    let late = ErrorCode::REQUEST_TIMED_OUT;
    for timeout_ms in [0, -1] {
        let topic = CreatableTopic {
            name: "late".to_owned(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms, ..Default::default() };
        let told = ask(&mut stream, &request, 7);
        assert_eq!(ErrorCode(told.topics[0].error_code), late);
        assert_eq!(told.topics[0].error_message, None);
        let topics = vec![DeleteTopicState { name: Some("t".to_owned()), ..Default::default() }];
        let request = DeleteTopicsRequest { topics, timeout_ms, ..Default::default() };
        assert_eq!(ErrorCode(ask(&mut stream, &request, 6).responses[0].error_code), late);
        let more = CreatePartitionsTopic {
            name: "t".to_owned(),
            count: 5,
            assignments: None,
            ..Default::default()
        };
        let request =
            CreatePartitionsRequest { topics: vec![more], timeout_ms, ..Default::default() };
        assert_eq!(ErrorCode(ask(&mut stream, &request, 3).results[0].error_code), late);
        let asked =
            TopicPartitions { topic: "t".to_owned(), partitions: vec![0], ..Default::default() };
        let topic_partitions = Some(vec![asked]);
        let request = ElectLeadersRequest { topic_partitions, timeout_ms, ..Default::default() };
        let told = ask(&mut stream, &request, 2);
        let row = &told.replica_election_results[0].partition_result[0];
        assert_eq!((ErrorCode(told.error_code), ErrorCode(row.error_code)), (late, late));
        let request = ElectLeadersRequest { election_type: 7, timeout_ms: 1000, ..request };
        let told = ask(&mut stream, &request, 2);
        assert_eq!(ErrorCode(told.error_code), ErrorCode::INVALID_REQUEST, "no such election");
    }
    let topics = Some(vec![named("late"), named("t")]);
    let request = MetadataRequest { topics, ..Default::default() };
    let told = ask(&mut stream, &request, 9);
    let counts: Vec<_> = told.topics.iter().map(|it| it.partitions.len()).collect();
    assert_eq!(counts, [0, 1], "nothing was created, deleted or added");
    node.stop();
}

#[test]
fn what_cannot_be_is_refused_as_a_whole() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 2);
    let mut stream = node.connect();
    let resource = |resource_type, name: &str| DescribeConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configuration_keys: None,
        ..Default::default()
    };
    let resources = vec![resource(2, "t"), resource(99, "t")];
    let told = ask(&mut stream, &DescribeConfigsRequest { resources, ..Default::default() }, 4);
    let codes: Vec<_> = told.results.iter().map(|it| ErrorCode(it.error_code)).collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST; 2]);
    let resources = vec![resource(2, "absent")];
    let told = ask(&mut stream, &DescribeConfigsRequest { resources, ..Default::default() }, 4);
    assert_eq!(told.results[0].error_message.as_deref(), Some(""), "the code says it all");

    let topic = |name: &str, partition_index| quorum::TopicData {
        topic_name: name.to_owned(),
        partitions: vec![quorum::PartitionData { partition_index, ..Default::default() }],
        ..Default::default()
    };
    let log = "__cluster_metadata";
    for (topics, nodes) in [
        (vec![topic(log, 0)], 1),
        (vec![topic(log, 1)], 0),
        (vec![topic(log, 0), topic(log, 0)], 0),
        (vec![topic("t", 0)], 0),
        (vec![], 0),
    ] {
        let request = quorum::DescribeQuorumRequest { topics, ..Default::default() };
        let told = ask(&mut stream, &request, 2);
        assert_eq!(told.nodes.len(), nodes, "{request:?}");
        let rows = told.topics.iter().flat_map(|it| &it.partitions);
        let is_right = |code| (code == 0) == (nodes == 1);
        assert!(rows.map(|it| it.error_code).all(is_right), "{told:?}");
    }

    for (topic_name, partition_index, code) in [
        ("t", 1, ErrorCode::NONE),
        ("t", -1, ErrorCode::INVALID_REQUEST),
        ("absent", 0, ErrorCode::INVALID_REQUEST),
    ] {
        let topic_name = topic_name.to_owned();
        let cursor = Some(pages::Cursor { topic_name, partition_index, ..Default::default() });
        let topics = vec![pages::TopicRequest { name: "t".to_owned(), ..Default::default() }];
        let request =
            pages::DescribeTopicPartitionsRequest { topics, cursor, ..Default::default() };
        let told = ask(&mut stream, &request, 0);
        assert_eq!(ErrorCode(told.topics[0].error_code), code, "{request:?}");
    }

    let mut find = |key: &str, version| {
        let request = FindCoordinatorRequest {
            key: key.to_owned(),
            key_type: 2,
            coordinator_keys: vec![key.to_owned()],
            ..Default::default()
        };
        let told = ask(&mut stream, &request, version);
        ErrorCode(told.coordinators.first().map_or(told.error_code, |it| it.error_code))
    };
    let key = "group:69dWuGArRy2OnZC8I8jLxg:0";
    assert_eq!(find("group", 6), ErrorCode::INVALID_REQUEST, "not a share partition's key");
    assert_eq!(find(key, 5), ErrorCode::INVALID_REQUEST, "not in this version");
    assert_eq!(find(key, 6), ErrorCode::COORDINATOR_NOT_AVAILABLE, "not built");
    node.stop();
}

#[test]
fn a_user_whose_credentials_are_shown_has_an_empty_text() {
    let home = Home::new();
    let node = home.start();
    let mut stream = node.connect();
    let upsertion = ScramCredentialUpsertion {
        name: "ann".to_owned(),
        mechanism: 1,
        iterations: 4096,
        salt: vec![1].into(),
        salted_password: vec![2].into(),
        ..Default::default()
    };
    let upsertions = vec![upsertion];
    let request = AlterUserScramCredentialsRequest { upsertions, ..Default::default() };
    let told = ask(&mut stream, &request, 0);
    assert_eq!((told.results[0].error_code, told.results[0].error_message.clone()), (0, None));
    let request =
        scram_users::DescribeUserScramCredentialsRequest { users: None, ..Default::default() };
    let told = ask(&mut stream, &request, 0);
    assert_eq!(told.results[0].error_message.as_deref(), Some(""));
    node.stop();
}
