//! What stands in an answer beside the codes: texts that are there or not, rows that come once.

use ottla_machine::testkit::MachineBench;
use ottla_metadata::{Controller, ControllerCommand, ControllerReply, ResourceKind};
use ottla_protocol::messages::alter_client_quotas_request::AlterClientQuotasRequest;
use ottla_protocol::messages::alter_configs_request as replaced;
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::incremental_alter_configs_request as altered;
use ottla_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use ottla_types::{ErrorCode, Uuid};

use crate::{cluster, create, quota, reply, topic};

/// The rows of an answer: code, and text if there is one.
type Rows = Vec<(ErrorCode, Option<String>)>;

fn codes(rows: &Rows) -> Vec<ErrorCode> {
    rows.iter().map(|(code, _)| *code).collect()
}

const FINE: (ErrorCode, Option<String>) = (ErrorCode::NONE, None);

/// AlterConfigs of topics, each with these settings.
fn replace(
    bench: &mut MachineBench<Controller>,
    topics: &[&str],
    settings: &[(&str, Option<&str>)],
) -> Rows {
    let config = |(name, value): &(&str, Option<&str>)| replaced::AlterableConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = |topic: &&str| replaced::AlterConfigsResource {
        resource_type: ResourceKind::Topic as i8,
        resource_name: (*topic).to_owned(),
        configs: settings.iter().map(config).collect(),
        ..Default::default()
    };
    let resources = topics.iter().map(resource).collect();
    let request = replaced::AlterConfigsRequest { resources, ..Default::default() };
    let ControllerReply::AlterConfigs(told) =
        reply(bench, ControllerCommand::AlterConfigs(request))
    else {
        panic!("another reply")
    };
    told.responses.into_iter().map(|it| (ErrorCode(it.error_code), it.error_message)).collect()
}

/// IncrementalAlterConfigs of topics, each with one setting.
fn alter(bench: &mut MachineBench<Controller>, topics: &[&str]) -> Rows {
    let config = altered::AlterableConfig {
        name: "list".to_owned(),
        value: Some("b".to_owned()),
        ..Default::default()
    };
    let resource = |topic: &&str| altered::AlterConfigsResource {
        resource_type: ResourceKind::Topic as i8,
        resource_name: (*topic).to_owned(),
        configs: vec![config.clone()],
        ..Default::default()
    };
    let resources = topics.iter().map(resource).collect();
    let request = altered::IncrementalAlterConfigsRequest { resources, ..Default::default() };
    let ControllerReply::IncrementalAlterConfigs(told) =
        reply(bench, ControllerCommand::IncrementalAlterConfigs(request))
    else {
        panic!("another reply")
    };
    told.responses.into_iter().map(|it| (ErrorCode(it.error_code), it.error_message)).collect()
}

/// AlterClientQuotas of users.
fn quotas(bench: &mut MachineBench<Controller>, users: &[&str]) -> Rows {
    let entry = |user: &&str| quota(&[("user", Some(*user))], &[("producer_byte_rate", Some(9.0))]);
    let entries = users.iter().map(entry).collect();
    let request = AlterClientQuotasRequest { entries, ..Default::default() };
    let ControllerReply::AlterClientQuotas(told) =
        reply(bench, ControllerCommand::AlterClientQuotas(request))
    else {
        panic!("another reply")
    };
    told.entries.into_iter().map(|it| (ErrorCode(it.error_code), it.error_message)).collect()
}

#[test]
fn success_has_no_text_at_all() {
    let mut bench = cluster();
    let request = CreateTopicsRequest { topics: vec![topic("t")], ..Default::default() };
    let ControllerReply::CreateTopics(told) =
        reply(&mut bench, ControllerCommand::CreateTopics { request, uuids: vec![Uuid::of(900)] })
    else {
        panic!("another reply")
    };
    assert_eq!(told.topics[0].error_message, None, "CreateTopics");
    assert_eq!(replace(&mut bench, &["t"], &[("list", Some("a"))]), [FINE], "AlterConfigs");
    assert_eq!(alter(&mut bench, &["t"]), [FINE], "IncrementalAlterConfigs");
    assert_eq!(quotas(&mut bench, &["bob"]), [FINE], "AlterClientQuotas");
    let update = FeatureUpdateKey {
        feature: "metadata.version".to_owned(),
        max_version_level: 30,
        upgrade_type: 1,
        ..Default::default()
    };
    for (version, rows) in [(0, 1), (1, 1), (2, 0)] {
        let feature_updates = vec![update.clone()];
        let request =
            UpdateFeaturesRequest { feature_updates, validate_only: true, ..Default::default() };
        let ControllerReply::UpdateFeatures(told) = reply(
            &mut bench,
            ControllerCommand::UpdateFeatures { request, version, kraft_version: 1 },
        ) else {
            panic!("another reply")
        };
        assert_eq!((told.error_message, told.results.len()), (None, rows), "version {version}");
        // The rows of the old versions say in words that all is well.
        assert!(told.results.iter().all(|it| it.error_message.as_deref() == Some("NONE")));
    }
}

#[test]
fn a_resource_or_a_setting_that_comes_twice_is_not_changed() {
    let mut bench = cluster();
    create(&mut bench, vec![topic("t"), topic("u")]);
    let before = bench.records.len();
    let invalid = ErrorCode::INVALID_REQUEST;
    let rows = replace(&mut bench, &["t", "t"], &[("list", Some("a"))]);
    assert_eq!(codes(&rows), [invalid, invalid]);
    assert_eq!(codes(&alter(&mut bench, &["t", "t"])), [invalid, invalid]);
    let twice = [("list", Some("a")), ("list", Some("b"))];
    assert_eq!(codes(&replace(&mut bench, &["t"], &twice)), [invalid]);
    assert_eq!(codes(&replace(&mut bench, &["t"], &[("list", None)])), [invalid], "no value");
    assert_eq!(codes(&quotas(&mut bench, &["bob", "bob"])), [invalid], "one row");
    assert_eq!(bench.records.len(), before);
    let rows = alter(&mut bench, &["t", "u", "t"]);
    assert_eq!(codes(&rows), [invalid, ErrorCode::NONE, invalid], "another is changed");
}

#[test]
fn settings_of_topics_that_cannot_be_are_refused_by_the_name() {
    let mut bench = cluster();
    let cases = [
        ("", ErrorCode::INVALID_REQUEST),
        ("two words", ErrorCode::INVALID_TOPIC_EXCEPTION),
        (".", ErrorCode::INVALID_TOPIC_EXCEPTION),
        ("absent", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ];
    for (name, code) in cases {
        let rows = replace(&mut bench, &[name], &[("list", Some("a"))]);
        assert_eq!(codes(&rows), [code], "AlterConfigs of {name:?}");
        assert_eq!(codes(&alter(&mut bench, &[name])), [code], "IncrementalAlterConfigs");
    }
}

fn named(name: &str) -> DeleteTopicState {
    DeleteTopicState { name: Some(name.to_owned()), ..Default::default() }
}

fn by_id(topic_id: Uuid) -> DeleteTopicState {
    DeleteTopicState { topic_id, ..Default::default() }
}

#[test]
fn a_topic_that_is_named_twice_is_not_deleted() {
    let mut bench = cluster();
    create(&mut bench, vec![topic("a"), topic("b"), topic("c")]);
    let id = |name: &str| bench.machine.cluster().topic(name).unwrap().id;
    let (a, b) = (id("a"), id("b"));
    let both = DeleteTopicState { topic_id: a, ..named("a") };
    let cases = [
        (vec![named("a"), named("a"), named("a")], vec![ErrorCode::INVALID_REQUEST]),
        (vec![by_id(a), by_id(a)], vec![ErrorCode::INVALID_REQUEST]),
        (vec![by_id(a), named("a")], vec![ErrorCode::INVALID_REQUEST]),
        (vec![named("a"), by_id(a)], vec![ErrorCode::INVALID_REQUEST]),
        (vec![both.clone(), both], vec![ErrorCode::INVALID_REQUEST; 2]),
        (vec![named("z"), named("z")], vec![ErrorCode::INVALID_REQUEST]),
        (vec![Default::default(), Default::default()], vec![ErrorCode::INVALID_REQUEST; 2]),
        (vec![named("a"), by_id(b), named("a")], vec![ErrorCode::INVALID_REQUEST, ErrorCode::NONE]),
    ];
    for (topics, wanted) in cases {
        let request = DeleteTopicsRequest { topics: topics.clone(), ..Default::default() };
        let ControllerReply::DeleteTopics(told) =
            reply(&mut bench, ControllerCommand::DeleteTopics { request, version: 6 })
        else {
            panic!("another reply")
        };
        let found: Vec<_> = told.responses.iter().map(|it| ErrorCode(it.error_code)).collect();
        assert_eq!(found, wanted, "{topics:?}");
    }
    let left: Vec<_> = bench.machine.cluster().topics().map(|it| it.name.to_string()).collect();
    assert_eq!(left, ["a", "c"]);
}

#[test]
fn partitions_of_a_topic_that_is_named_twice_are_not_added() {
    let mut bench = cluster();
    create(&mut bench, vec![topic("t")]);
    let more = |name: &str, count| CreatePartitionsTopic {
        name: name.to_owned(),
        count,
        assignments: None,
        ..Default::default()
    };
    let topics = vec![more("t", 3), more("absent", 3), more("t", 4)];
    let request = CreatePartitionsRequest { topics, ..Default::default() };
    let ControllerReply::CreatePartitions(told) =
        reply(&mut bench, ControllerCommand::CreatePartitions(request))
    else {
        panic!("another reply")
    };
    let rows: Vec<_> = told
        .results
        .iter()
        .map(|it| (it.name.as_str(), ErrorCode(it.error_code), it.error_message.is_some()))
        .collect();
    let absent = ("absent", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false);
    assert_eq!(rows, [("t", ErrorCode::INVALID_REQUEST, true), absent]);
    assert_eq!(bench.machine.cluster().topic("t").unwrap().partitions.len(), 2);
}
