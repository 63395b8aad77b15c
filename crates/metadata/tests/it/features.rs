//! Features: what is built, what a cluster has, and in which version records are written.

use ottla_machine::testkit::MachineBench;
use ottla_metadata::{
    Cluster, Controller, ControllerCommand, ControllerReply, METADATA_VERSION_FEATURE,
    bootstrap_records, supported_features, unbuilt_features, version_of,
};
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_protocol::metadata::feature_level_record::FeatureLevelRecord;
use ottla_protocol::metadata::partition_change_record::PartitionChangeRecord;
use ottla_protocol::metadata::partition_record::PartitionRecord;
use ottla_protocol::metadata::register_broker_record::RegisterBrokerRecord;
use ottla_types::{ErrorCode, Uuid};

use crate::{create, lifecycle, reply, topic};

fn level(name: &str, level: i16) -> MetadataRecord {
    FeatureLevelRecord { name: name.to_owned(), feature_level: level, ..Default::default() }.into()
}

#[test]
fn records_are_written_for_the_oldest_reader_of_their_metadata_version() {
    let changed = |change: BrokerRegistrationChangeRecord| MetadataRecord::from(change);
    let stopping =
        BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..Default::default() };
    let directories =
        BrokerRegistrationChangeRecord { log_dirs: vec![Uuid::of(400)], ..Default::default() };
    let cordoned =
        BrokerRegistrationChangeRecord { cordoned_log_dirs: Some(vec![]), ..Default::default() };
    // record: its version at metadata version 7, 8, 16, 17, 22, 23, 29 and 30
    let cases: [(MetadataRecord, [i16; 8]); 8] = [
        (RegisterBrokerRecord::default().into(), [1, 2, 2, 3, 3, 3, 3, 4]),
        (PartitionRecord::default().into(), [0, 0, 0, 1, 1, 2, 2, 2]),
        (PartitionChangeRecord::default().into(), [0, 0, 0, 1, 1, 2, 2, 2]),
        (changed(BrokerRegistrationChangeRecord::default()), [0; 8]),
        (changed(stopping), [1; 8]),
        (changed(directories), [2; 8]),
        (changed(cordoned), [3; 8]),
        (level("group.version", 1), [0; 8]),
    ];
    for (record, wanted) in cases {
        let found = [7, 8, 16, 17, 22, 23, 29, 30].map(|it| version_of(&record, it));
        assert_eq!(found, wanted, "{record:?}");
    }
}

#[test]
fn a_cluster_of_an_old_metadata_version_gets_records_that_it_can_read() {
    let mut bench = MachineBench::new(lifecycle::controller(), 0);
    let records = vec![level(METADATA_VERSION_FEATURE, 16)];
    bench.run(ControllerCommand::Activate { records });
    for broker in 1..=2 {
        let request = lifecycle::registration(broker, 1000 + u64::try_from(broker).unwrap());
        bench.run(ControllerCommand::RegisterBroker(request));
        crate::unfence(&mut bench, broker);
    }
    assert_eq!(create(&mut bench, vec![topic("t")]), [ErrorCode::NONE]);
    let known = bench.machine.cluster().broker(1).unwrap();
    assert_eq!(known.log_dirs, [], "directories have no place in its records");
    let state = bench.machine.cluster().topic("t").unwrap().partitions[&0].clone();
    assert!(state.directories.is_empty() && state.leader > 0, "{state:?}");
}

#[test]
fn a_new_cluster_has_what_is_built_and_an_adopted_one_keeps_what_it_has() {
    let mut fresh = Cluster::default();
    bootstrap_records().iter().for_each(|record| fresh.apply(record));
    assert_eq!((fresh.feature("share.version"), fresh.feature("group.version")), (0, 1));
    let has = |cluster: &Cluster, name: &str| {
        supported_features(cluster).find(|it| it.name == name).map(|it| it.highest)
    };
    assert_eq!((has(&fresh, "share.version"), has(&fresh, "group.version")), (None, Some(1)));
    assert_eq!(unbuilt_features(&fresh).count(), 0);
    let mut adopted = fresh;
    adopted.apply(&level("share.version", 1));
    assert_eq!(has(&adopted, "share.version"), Some(1));
    assert_eq!(unbuilt_features(&adopted).collect::<Vec<_>>(), [("share.version", 1)]);
}

fn update(
    bench: &mut MachineBench<Controller>,
    name: &str,
    max_version_level: i16,
    upgrade_type: i8,
) -> String {
    let feature = name.to_owned();
    let update =
        FeatureUpdateKey { feature, max_version_level, upgrade_type, ..Default::default() };
    let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
    match reply(bench, ControllerCommand::UpdateFeatures { request, version: 2, kraft_version: 1 })
    {
        ControllerReply::UpdateFeatures(told) => told.error_message.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

#[test]
fn a_level_needs_all_brokers_and_what_is_not_built_cannot_be_had() {
    let mut bench = lifecycle::cluster();
    let why = update(&mut bench, "share.version", 1, UPGRADE);
    assert!(why.ends_with("Local controller does not support this feature."), "{why}");
    // Kafka has that feature, so that it can be turned off where it is not on.
    assert_eq!(update(&mut bench, "share.version", 0, SAFE_DOWNGRADE), "");
    let why = update(&mut bench, "nonsense", 0, SAFE_DOWNGRADE);
    let not_found = "Invalid update version 0 for feature nonsense. Feature nonsense not found.";
    assert!(why.ends_with(not_found), "{why}");
    let why = update(&mut bench, "nonsense", 1, UPGRADE);
    assert!(why.ends_with("Local controller does not support this feature."), "{why}");
    let why = update(&mut bench, "group.version", -1, SAFE_DOWNGRADE);
    assert!(why.ends_with("A feature version cannot be less than 0."), "{why}");
    assert_eq!(update(&mut bench, "transaction.version", 1, SAFE_DOWNGRADE), "");
    let old = BrokerRegistrationRequest {
        features: crate::features()
            .into_iter()
            .map(|it| match it.name.as_str() {
                "transaction.version" => {
                    ottla_protocol::messages::broker_registration_request::Feature {
                        max_supported_version: 1,
                        ..it
                    }
                }
                _ => it,
            })
            .collect(),
        ..lifecycle::registration(4, 1004)
    };
    bench.run(ControllerCommand::RegisterBroker(old));
    let why = update(&mut bench, "transaction.version", 2, UPGRADE);
    assert!(why.ends_with("Broker 4 only supports versions 0-1"), "{why}");
}

#[test]
fn the_metadata_version_goes_back_only_where_no_record_is_lost() {
    let mut bench = MachineBench::new(lifecycle::controller(), 0);
    bench.run(ControllerCommand::Activate { records: vec![level(METADATA_VERSION_FEATURE, 29)] });
    assert_eq!(update(&mut bench, METADATA_VERSION_FEATURE, 25, SAFE_DOWNGRADE), "");
    assert_eq!(bench.machine.cluster().metadata_version(), 25);
    let why = update(&mut bench, METADATA_VERSION_FEATURE, 22, SAFE_DOWNGRADE);
    assert!(why.contains("Refusing to perform the requested downgrade"), "{why}");
    assert_eq!(update(&mut bench, METADATA_VERSION_FEATURE, 30, UPGRADE), "");
}

#[test]
fn the_level_of_kraft_version_is_the_quorums() {
    let mut bench = MachineBench::new(lifecycle::controller(), 0);
    bench.run(ControllerCommand::Activate { records: bootstrap_records() });
    let mut ask = |now: i16, wanted: i16, upgrade_type: i8| {
        let update = FeatureUpdateKey {
            feature: "kraft.version".to_owned(),
            max_version_level: wanted,
            upgrade_type,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let command = ControllerCommand::UpdateFeatures { request, version: 2, kraft_version: now };
        match reply(&mut bench, command) {
            ControllerReply::UpdateFeatures(told) => told.error_message.unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    };
    // level, wanted, kind of change, part of the refusal
    for (now, wanted, kind, refusal) in [
        (1, 1, 1, ""),
        (0, 0, 2, ""),
        (0, 1, 1, "has not been upgraded"),
        (0, 1, 2, "Can't downgrade to a newer version"),
        (1, 0, 1, "without setting the upgrade type"),
        (1, 0, 3, "Can't downgrade the version of this feature."),
        (1, 2, 1, "does not support this feature"),
    ] {
        let told = ask(now, wanted, kind);
        let fits = if refusal.is_empty() { told.is_empty() } else { told.contains(refusal) };
        assert!(fits, "{now} -> {wanted}, kind {kind}: {told}");
    }
}
