//! The controller: what each command writes and what each refusal says.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod answers;
mod changes;
mod cluster;
mod directories;
mod early;
mod elections;
mod features;
mod lifecycle;

use ottla_machine::testkit::MachineBench;
use ottla_metadata::{
    Cluster, ConfigChange, ConfigRules, Controller, ControllerCommand, ControllerReply,
    ControllerSettings, FeatureRange, ProducerIdBlock, ResourceKind, bootstrap_records,
    supported_features,
};
use ottla_protocol::messages::alter_client_quotas_request::AlterClientQuotasRequest;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_registration_request::{BrokerRegistrationRequest, Feature};
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::create_topics_response::CreatableTopicConfigs;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use ottla_types::{ErrorCode, NodeId, Uuid};

/// Settings whose name starts with `bad` are refused; `list` is a list with `a` in it.
#[derive(Debug)]
pub(crate) struct Rules;

impl ConfigRules for Rules {
    fn check(&self, change: &ConfigChange<'_>) -> Result<(), (ErrorCode, String)> {
        match change.after.keys().find(|name| name.starts_with("bad")) {
            None => Ok(()),
            Some(name) => Err((ErrorCode::INVALID_CONFIG, format!("{name} is bad"))),
        }
    }

    fn is_list(&self, _: ResourceKind, name: &str) -> bool {
        name == "list"
    }

    fn fallback(&self, _: &Cluster, _: ResourceKind, name: &str) -> Option<String> {
        (name == "list").then(|| "a".to_owned())
    }

    fn describe_topic(&self, _: &Cluster, _: &[(String, String)]) -> Vec<CreatableTopicConfigs> {
        Vec::new()
    }
}

fn registration(incarnation: u64) -> BrokerRegistrationRequest {
    BrokerRegistrationRequest {
        broker_id: 1,
        incarnation_id: Uuid::of(incarnation),
        features: features(),
        log_dirs: vec![Uuid::of(400)],
        ..Default::default()
    }
}

/// What this software supports, as a broker says it.
fn features() -> Vec<Feature> {
    let feature = |it: FeatureRange| Feature {
        name: it.name.to_owned(),
        min_supported_version: it.lowest,
        max_supported_version: it.highest,
        ..Default::default()
    };
    supported_features(&Cluster::default()).map(feature).collect()
}

/// A heartbeat of a broker that has applied everything.
fn heartbeat(bench: &MachineBench<Controller>, broker: NodeId) -> BrokerHeartbeatRequest {
    BrokerHeartbeatRequest {
        broker_id: broker,
        broker_epoch: bench.machine.cluster().broker(broker).map_or(-1, |it| it.epoch),
        current_metadata_offset: bench.records.len() as i64 - 1,
        ..Default::default()
    }
}

/// The broker sends a heartbeat, and serves.
fn unfence(bench: &mut MachineBench<Controller>, broker: NodeId) {
    let request = heartbeat(bench, broker);
    bench.run(ControllerCommand::Heartbeat(request));
    assert!(bench.machine.cluster().broker(broker).is_some_and(|it| !it.fenced));
}

/// A controller of a new cluster.
fn controller() -> Controller {
    let settings = ControllerSettings { partitions: 2, ..ControllerSettings::default() };
    Controller::new(Cluster::default(), settings, Box::new(Rules))
}

/// A cluster of one broker that serves.
fn cluster() -> MachineBench<Controller> {
    let mut bench = MachineBench::new(controller(), 0);
    bench.run(ControllerCommand::Activate { records: bootstrap_records() });
    bench.run(ControllerCommand::RegisterBroker(registration(200)));
    unfence(&mut bench, 1);
    bench
}

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    }
}

fn reply(bench: &mut MachineBench<Controller>, command: ControllerCommand) -> ControllerReply {
    bench.run(command).1.pop().unwrap().1
}

/// Creates topics; the code of each.
fn create(bench: &mut MachineBench<Controller>, topics: Vec<CreatableTopic>) -> Vec<ErrorCode> {
    let uuids = (1000..).take(topics.len()).map(|at| Uuid::of(at + bench.records.len() as u64));
    let uuids = uuids.collect();
    let request = CreateTopicsRequest { topics, ..Default::default() };
    match reply(bench, ControllerCommand::CreateTopics { request, uuids }) {
        ControllerReply::CreateTopics(it) => {
            it.topics.iter().map(|it| ErrorCode(it.error_code)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_topic_gets_what_its_creator_does_not_say() {
    let mut bench = cluster();
    assert_eq!(create(&mut bench, vec![topic("t")]), [ErrorCode::NONE]);
    let cluster = bench.machine.cluster();
    let made = cluster.topic("t").unwrap();
    assert_eq!(made.partitions.len(), 2);
    let first = &made.partitions[&0];
    assert_eq!((first.leader, &first.isr[..], first.leader_epoch), (1, &[1][..], 0));
    assert_eq!(first.directories, [Uuid::of(400)]);
}

#[test]
fn each_topic_is_refused_for_its_own_reason() {
    let mut bench = cluster();
    create(&mut bench, vec![topic("a.b")]);
    let with = |name: &str, partitions, replication_factor| CreatableTopic {
        num_partitions: partitions,
        replication_factor,
        ..topic(name)
    };
    let assigned = |brokers: Vec<i32>| CreatableTopic {
        assignments: vec![CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: brokers,
            ..Default::default()
        }],
        ..topic("assigned")
    };
    let config = CreatableTopicConfig {
        name: "bad.one".to_owned(),
        value: Some("x".to_owned()),
        ..Default::default()
    };
    let cases = [
        (topic("a.b"), ErrorCode::TOPIC_ALREADY_EXISTS),
        (topic("a_b"), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("no spaces"), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (with("t", 0, 1), ErrorCode::INVALID_PARTITIONS),
        (with("t", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR),
        (with("t", 1, 3), ErrorCode::INVALID_REPLICATION_FACTOR),
        (assigned(vec![7]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (assigned(vec![1, 1]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (assigned(vec![1]), ErrorCode::NONE),
        (CreatableTopic { configs: vec![config], ..topic("c") }, ErrorCode::INVALID_CONFIG),
    ];
    for (topic, code) in cases {
        let name = topic.name.clone();
        assert_eq!(create(&mut bench, vec![topic]), [code], "{name}");
    }
    let twice = create(&mut bench, vec![topic("twice"), topic("twice")]);
    assert_eq!(twice, [ErrorCode::INVALID_REQUEST], "one answer for both");
}

#[test]
fn only_looking_creates_nothing() {
    let mut bench = cluster();
    let before = bench.records.len();
    let topics = vec![topic("t")];
    let request = CreateTopicsRequest { topics, validate_only: true, ..Default::default() };
    let ControllerReply::CreateTopics(told) =
        reply(&mut bench, ControllerCommand::CreateTopics { request, uuids: vec![Uuid::of(900)] })
    else {
        panic!("another reply")
    };
    assert_eq!((told.topics[0].error_code, told.topics[0].num_partitions), (0, 2));
    assert_eq!(told.topics[0].topic_id, Uuid::of(900), "the id it would have had");
    assert_eq!(bench.records.len(), before);
}

#[test]
fn topics_are_deleted_by_name_or_by_id() {
    let mut bench = cluster();
    create(&mut bench, vec![topic("a"), topic("b")]);
    let id = bench.machine.cluster().topic("b").unwrap().id;
    let states = vec![
        DeleteTopicState { name: Some("a".to_owned()), ..Default::default() },
        DeleteTopicState { topic_id: id, ..Default::default() },
        DeleteTopicState { name: Some("c".to_owned()), ..Default::default() },
        DeleteTopicState { topic_id: Uuid::of(1), ..Default::default() },
    ];
    let request = DeleteTopicsRequest { topics: states, ..Default::default() };
    let ControllerReply::DeleteTopics(told) =
        reply(&mut bench, ControllerCommand::DeleteTopics { request, version: 6 })
    else {
        panic!("another reply")
    };
    let codes: Vec<_> = told.responses.iter().map(|it| ErrorCode(it.error_code)).collect();
    let unknown = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID];
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::NONE, unknown[0], unknown[1]]);
    assert_eq!(told.responses[1].name.as_deref(), Some("b"), "an id is answered with the name");
    assert_eq!(bench.machine.cluster().topics().count(), 0);
}

#[test]
fn partitions_are_added_never_taken_away() {
    let mut bench = cluster();
    create(&mut bench, vec![topic("t")]);
    let mut code = |count| {
        let asked = CreatePartitionsTopic {
            name: "t".to_owned(),
            count,
            assignments: None,
            ..Default::default()
        };
        let request = CreatePartitionsRequest { topics: vec![asked], ..Default::default() };
        match reply(&mut bench, ControllerCommand::CreatePartitions(request)) {
            ControllerReply::CreatePartitions(told) => ErrorCode(told.results[0].error_code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code(2), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(code(1), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(code(5), ErrorCode::NONE);
    assert_eq!(bench.machine.cluster().topic("t").unwrap().partitions.len(), 5);
}

fn alter(
    bench: &mut MachineBench<Controller>,
    name: &str,
    operation: i8,
    value: &str,
) -> ErrorCode {
    let config = AlterableConfig {
        name: name.to_owned(),
        config_operation: operation,
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: ResourceKind::Topic as i8,
        resource_name: "t".to_owned(),
        configs: vec![config],
        ..Default::default()
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    match reply(bench, ControllerCommand::IncrementalAlterConfigs(request)) {
        ControllerReply::IncrementalAlterConfigs(told) => ErrorCode(told.responses[0].error_code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_are_set_appended_taken_back() {
    let mut bench = cluster();
    create(&mut bench, vec![topic("t")]);
    let value = |bench: &MachineBench<Controller>| {
        bench.machine.cluster().config(ResourceKind::Topic, "t").get("list").cloned()
    };
    assert_eq!(alter(&mut bench, "list", 2, "b"), ErrorCode::NONE);
    assert_eq!(value(&bench).as_deref(), Some("a,b"), "to what was in force");
    assert_eq!(alter(&mut bench, "list", 3, "a"), ErrorCode::NONE);
    assert_eq!(value(&bench).as_deref(), Some("b"));
    assert_eq!(alter(&mut bench, "list", 1, ""), ErrorCode::NONE);
    assert_eq!(value(&bench), None);
    assert_eq!(alter(&mut bench, "plain", 2, "b"), ErrorCode::INVALID_CONFIG, "not a list");
    assert_eq!(alter(&mut bench, "bad.one", 0, "b"), ErrorCode::INVALID_CONFIG);
    create(&mut bench, vec![topic("u")]);
    alter(&mut bench, "list", 0, "z");
    let states = vec![DeleteTopicState { name: Some("t".to_owned()), ..Default::default() }];
    let request = DeleteTopicsRequest { topics: states, ..Default::default() };
    bench.run(ControllerCommand::DeleteTopics { request, version: 6 });
    assert_eq!(value(&bench), None, "they go with the topic");
}

#[test]
fn a_broker_that_starts_again_leads_again_under_a_later_epoch() {
    let mut bench = cluster();
    create(&mut bench, vec![topic("t")]);
    let epoch = bench.records.len() as i64;
    bench.run(ControllerCommand::RegisterBroker(registration(201)));
    let state = bench.machine.cluster().topic("t").unwrap().partitions[&0].clone();
    let eligible = (state.elr.len(), &state.last_known_elr[..]);
    assert_eq!((state.leader, state.isr.len(), eligible), (-1, 0, (0, &[1][..])));
    unfence(&mut bench, 1);
    let state = bench.machine.cluster().topic("t").unwrap().partitions[&0].clone();
    assert_eq!((state.leader, &state.isr[..], state.leader_epoch), (1, &[1][..], 2));
    assert!(state.elr.is_empty());
    assert_eq!(bench.machine.cluster().broker(1).unwrap().epoch, epoch);
    let again = reply(&mut bench, ControllerCommand::RegisterBroker(registration(201)));
    assert_eq!(again, ControllerReply::Registered(Ok(epoch)), "the same life keeps its epoch");
}

#[test]
fn producer_ids_are_given_away_once() {
    let mut bench = cluster();
    let command = ControllerCommand::AllocateProducerIds { broker: 1, broker_epoch: None };
    let ids = |first| ControllerReply::ProducerIds(Ok(ProducerIdBlock { first, count: 1000 }));
    assert_eq!(reply(&mut bench, command.clone()), ids(0));
    assert_eq!(reply(&mut bench, command), ids(1000));
}

#[test]
fn a_feature_moves_only_within_what_the_software_knows() {
    let mut bench = cluster();
    let mut code = |name: &str, level| {
        let update = FeatureUpdateKey {
            feature: name.to_owned(),
            max_version_level: level,
            upgrade_type: 1,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        match reply(
            &mut bench,
            ControllerCommand::UpdateFeatures { request, version: 2, kraft_version: 1 },
        ) {
            ControllerReply::UpdateFeatures(told) => ErrorCode(told.error_code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code("metadata.version", 99), ErrorCode::INVALID_UPDATE_VERSION);
    assert_eq!(code("no.such.version", 1), ErrorCode::INVALID_UPDATE_VERSION);
    assert_eq!(code("transaction.version", 1), ErrorCode::INVALID_UPDATE_VERSION, "a downgrade");
    assert_eq!(code("metadata.version", 30), ErrorCode::NONE, "where it is already");
}

fn quota(
    entity: &[(&str, Option<&str>)],
    ops: &[(&str, Option<f64>)],
) -> ottla_protocol::messages::alter_client_quotas_request::EntryData {
    use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
    let part = |(kind, name): &(&str, Option<&str>)| EntityData {
        entity_type: (*kind).to_owned(),
        entity_name: name.map(str::to_owned),
        ..Default::default()
    };
    let op = |(key, value): &(&str, Option<f64>)| OpData {
        key: (*key).to_owned(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
        ..Default::default()
    };
    EntryData {
        entity: entity.iter().map(part).collect(),
        ops: ops.iter().map(op).collect(),
        ..Default::default()
    }
}

#[test]
fn quotas_are_kept_for_entities_that_can_be() {
    let mut bench = cluster();
    let mut alter = |entries| {
        let request = AlterClientQuotasRequest { entries, ..Default::default() };
        match reply(&mut bench, ControllerCommand::AlterClientQuotas(request)) {
            ControllerReply::AlterClientQuotas(it) => {
                let codes: Vec<_> = it.entries.iter().map(|it| ErrorCode(it.error_code)).collect();
                let kept = bench.machine.cluster().client_quotas();
                (codes, kept.map(|(_, it)| (it.key.clone(), it.value)).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    };
    let bob = [("user", Some("bob")), ("client-id", None)];
    let swapped = [bob[1], bob[0]];
    let rate = |value| ("producer_byte_rate".to_owned(), value);
    let (codes, kept) = alter(vec![quota(&bob, &[("producer_byte_rate", Some(9.0))])]);
    assert_eq!((codes, kept), (vec![ErrorCode::NONE], vec![rate(9.0)]));
    // The order of an entity's parts does not matter.
    let (_, kept) = alter(vec![quota(&swapped, &[("producer_byte_rate", Some(8.0))])]);
    assert_eq!(kept, [rate(8.0)]);
    let wrong = [
        quota(&[], &[]),
        quota(&[("user", Some(""))], &[]),
        quota(&[("shoe", None)], &[]),
        quota(&[("ip", Some("1.2.3.4")), ("user", None)], &[]),
        quota(&[("ip", Some("nowhere!"))], &[]),
        quota(&[("ip", None)], &[("producer_byte_rate", Some(1.0))]),
        quota(&bob, &[("producer_byte_rate", Some(0.5))]),
        quota(&bob, &[("producer_byte_rate", Some(0.0))]),
        quota(&bob, &[("producer_byte_rate", Some(f64::NAN))]),
        quota(&bob, &[("producer_byte_rate", Some(1e30))]),
        quota(&bob, &[("producer_byte_rate", None), ("producer_byte_rate", Some(1.0))]),
    ];
    for entry in wrong {
        let (codes, kept) = alter(vec![entry.clone()]);
        assert_eq!((codes, kept), (vec![ErrorCode::INVALID_REQUEST], vec![rate(8.0)]), "{entry:?}");
    }
    let (codes, kept) = alter(vec![quota(&swapped, &[("producer_byte_rate", None)])]);
    assert_eq!((codes, kept), (vec![ErrorCode::NONE], vec![]));
}

#[test]
fn passwords_are_kept_as_keys_and_refused_one_user_at_a_time() {
    use ottla_protocol::messages::alter_user_scram_credentials_request::{
        AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
    };
    use ottla_protocol::messages::alter_user_scram_credentials_response::*;
    let mut bench = cluster();
    let put = |name: &str, mechanism, iterations| ScramCredentialUpsertion {
        name: name.to_owned(),
        mechanism,
        iterations,
        salted_password: vec![1].into(),
        ..Default::default()
    };
    let mut alter = |deletions: &[&str], upsertions: Vec<ScramCredentialUpsertion>| {
        let delete = |name: &&str| ScramCredentialDeletion {
            name: (*name).to_owned(),
            mechanism: 1,
            ..Default::default()
        };
        let keys = vec![(vec![1], vec![2]); upsertions.len()];
        let deletions = deletions.iter().map(delete).collect();
        let request =
            AlterUserScramCredentialsRequest { deletions, upsertions, ..Default::default() };
        match reply(&mut bench, ControllerCommand::AlterUserScramCredentials { request, keys }) {
            ControllerReply::AlterUserScramCredentials(it) => {
                let code = |it: &AlterUserScramCredentialsResult| {
                    (it.user.clone(), ErrorCode(it.error_code))
                };
                let kept = bench.machine.cluster().credentials().map(|it| it.name.clone());
                (it.results.iter().map(code).collect::<Vec<_>>(), kept.collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    };
    let said = |name: &str, code| (name.to_owned(), code);
    let (codes, kept) =
        alter(&[], vec![put("ann", 1, 4096), put("bob", 1, 4095), put("cid", 3, 4096)]);
    let wanted = [
        said("ann", ErrorCode::NONE),
        said("bob", ErrorCode::UNACCEPTABLE_CREDENTIAL),
        said("cid", ErrorCode::UNSUPPORTED_SASL_MECHANISM),
    ];
    assert_eq!((&codes[..], &kept[..]), (&wanted[..], &["ann".to_owned()][..]));
    let (codes, kept) = alter(&["ann", "bob"], vec![put("ann", 1, 8192)]);
    let wanted =
        [said("ann", ErrorCode::DUPLICATE_RESOURCE), said("bob", ErrorCode::RESOURCE_NOT_FOUND)];
    assert_eq!((&codes[..], &kept[..]), (&wanted[..], &["ann".to_owned()][..]));
    let (codes, kept) = alter(&["ann"], vec![]);
    assert_eq!((codes, kept), (vec![said("ann", ErrorCode::NONE)], vec![]));
}

#[test]
fn a_feature_waits_for_those_that_it_rests_on() {
    let mut bench = cluster();
    let mut update = |levels: &[(&str, i16)]| {
        let one = |(feature, level): &(&str, i16)| FeatureUpdateKey {
            feature: (*feature).to_owned(),
            max_version_level: *level,
            upgrade_type: 2,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            feature_updates: levels.iter().map(one).collect(),
            ..Default::default()
        };
        match reply(
            &mut bench,
            ControllerCommand::UpdateFeatures { request, version: 1, kraft_version: 1 },
        ) {
            ControllerReply::UpdateFeatures(it) => it.error_message.unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    };
    let elr = "eligible.leader.replicas.version";
    assert_eq!(update(&[(elr, 1)]), "");
    let why = update(&[(elr, 1), ("metadata.version", 22)]);
    assert!(why.contains("depends on metadata.version level 23"), "{why}");
}
