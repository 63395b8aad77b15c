//! What a genuine controller wrote, written again from the same inputs at the same times; and what
//! it left, read.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod full_disk;
mod recovery;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_machine::{Machine, Ticket, Turn};
use ottla_metadata::{
    Cluster, ConfigChange, ConfigRules, Controller, ControllerCommand, ControllerSettings,
    METADATA_VERSION, ResourceKind, bootstrap_records, version_of,
};
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener,
};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::create_topics_response::CreatableTopicConfigs;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::feature_level_record::FeatureLevelRecord;
use ottla_protocol::{decode_metadata, encode_metadata};
use ottla_quorum::{
    Candidacy, Endpoint, FOLDER, FormatOptions, InitialVoters, Quorum, ReplicaKey, Setup, Timing,
    Voter, VoterSet,
};
use ottla_records::batches_in;
use ottla_storage::{CleanShutdown, DataDir, DiskFiles, Fate, Files, MetaProperties, SimDisk};
use ottla_types::{ErrorCode, Uuid};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name)
}

fn annex(name: &str) -> Vec<u8> {
    fs::read(golden("annex-b").join(name)).unwrap()
}

/// The time of each batch.
fn times(bytes: &[u8]) -> Vec<i64> {
    batches_in(bytes).map(|batch| batch.unwrap().base_timestamp()).collect()
}

/// Every metadata record in the bytes, and the version it is written in.
fn records(bytes: &[u8]) -> Vec<(MetadataRecord, i16)> {
    let mut all = Vec::new();
    for batch in batches_in(bytes) {
        let batch = batch.unwrap();
        if batch.is_control() {
            continue;
        }
        for record in batch.unpack(1 << 20).unwrap().records() {
            let value = record.unwrap().value.unwrap().to_vec();
            let version = i16::from(value[2]);
            let record = decode_metadata(value.clone().into()).unwrap();
            assert_eq!(encode_metadata(&record, version).unwrap(), value, "{record:?}");
            all.push((record, version));
        }
    }
    all
}

#[derive(Debug)]
struct AnyConfig;

impl ConfigRules for AnyConfig {
    fn check(&self, _: &ConfigChange<'_>) -> Result<(), (ErrorCode, String)> {
        Ok(())
    }

    fn is_list(&self, _: ResourceKind, _: &str) -> bool {
        false
    }

    fn fallback(&self, _: &Cluster, _: ResourceKind, _: &str) -> Option<String> {
        None
    }

    fn describe_topic(&self, _: &Cluster, _: &[(String, String)]) -> Vec<CreatableTopicConfigs> {
        Vec::new()
    }
}

fn voter() -> Voter {
    let directory: Uuid = "JEXY6aqzQY-32P5TStzaFg".parse().unwrap();
    Voter {
        key: ReplicaKey { id: 1, directory },
        endpoints: vec![Endpoint {
            name: "CONTROLLER".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 19093,
        }],
        kraft_versions: (0, 1),
    }
}

fn files() -> Arc<dyn Files> {
    Arc::new(DiskFiles)
}

/// The first records of Apache Kafka: it has built features that are not built here yet.
fn genuine_bootstrap() -> Vec<MetadataRecord> {
    let mut records = bootstrap_records();
    let level = |name: &str| FeatureLevelRecord {
        name: name.to_owned(),
        feature_level: 1,
        ..Default::default()
    };
    let added = ["share.version", "streams.version"].map(|name| level(name).into());
    records.splice(3..3, added);
    records
}

fn versioned(record: &MetadataRecord) -> (MetadataRecord, i16) {
    (record.clone(), version_of(record, METADATA_VERSION))
}

const FIRST_SNAPSHOT: &str = "00000000000000000000-0000000000.checkpoint";

/// Formats a directory with these voters, at the times of the genuine files in `kept`.
fn formatted_as(dir: &Path, kept: &Path, voters: VoterSet) {
    let read = |name: &str| fs::read(kept.join(name)).unwrap();
    let (first, second) = (read("bootstrap.checkpoint"), read(FIRST_SNAPSHOT));
    let mut at = times(&first);
    // What the snapshot says it contains: a time of its own, in the header's value.
    let header = batches_in(&second).next().unwrap().unwrap();
    let unpacked = header.unpack(1 << 20).unwrap();
    let value = unpacked.records().next().unwrap().unwrap().value.unwrap().to_vec();
    at.push(i64::from_be_bytes(value[2..10].try_into().unwrap()));
    at.extend(times(&second));
    let mut at = at.into_iter();
    let records: Vec<_> = genuine_bootstrap().iter().map(versioned).collect();
    let now = &mut || at.next().unwrap();
    let voters = InitialVoters::Given(voters);
    let format = FormatOptions { records: &records, voters: &voters, now };
    ottla_quorum::format_directory(&files(), dir, format).unwrap();
}

/// Formats a directory with one voter, at the times of the genuine files.
fn formatted(dir: &Path) {
    formatted_as(dir, &golden("annex-b"), VoterSet::of([voter()]));
}

#[test]
fn formatting_writes_the_bytes_that_kafka_writes() {
    // What `--standalone` wrote, and `--initial-controllers` with three of them.
    let of = |id: i32, directory: &str| {
        let one = voter();
        let port = 9093 + 10_000 * u16::try_from(id).unwrap();
        let endpoints = one.endpoints.iter().map(|it| Endpoint { port, ..it.clone() }).collect();
        Voter { key: ReplicaKey { id, directory: directory.parse().unwrap() }, endpoints, ..one }
    };
    let three = [
        of(1, "JEXY6aqzQY-32P5TStzaFg"),
        of(2, "MvDxzVmcRsaTz33bUuRU6A"),
        of(3, "07R5amHmR32VDA6jHkGbTA"),
    ];
    let cases = [("annex-b", VoterSet::of([voter()])), ("formatted", VoterSet::of(three))];
    for (name, voters) in cases {
        let (work, kept) = (tempfile::tempdir().unwrap(), golden(name));
        formatted_as(work.path(), &kept, voters);
        for (file, folder) in [("bootstrap.checkpoint", ""), (FIRST_SNAPSHOT, FOLDER)] {
            let written = fs::read(work.path().join(folder).join(file)).unwrap();
            assert!(written == fs::read(kept.join(file)).unwrap(), "{name}: {file}");
        }
    }
}

#[test]
fn without_given_voters_there_is_no_snapshot() {
    for voters in [InitialVoters::NoneYet, InitialVoters::Static] {
        let work = tempfile::tempdir().unwrap();
        let records: Vec<_> = genuine_bootstrap().iter().map(versioned).collect();
        let format = FormatOptions { records: &records, voters: &voters, now: &mut || 1000 };
        ottla_quorum::format_directory(&files(), work.path(), format).unwrap();
        let names = fs::read_dir(work.path()).unwrap().map(|it| it.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["bootstrap.checkpoint"], "{voters:?}");
    }
}

/// Formats a directory as a first start does, until the power goes; a mark of a clean
/// stop is in it.
fn format_first(disk: &SimDisk, dir: &Path) -> Result<(), Box<dyn Error>> {
    let files = disk.files();
    let data = DataDir::open(Arc::clone(&files), dir)?.ok_or("it is locked")?;
    data.mark_clean_shutdown(CleanShutdown { broker_epoch: 1 })?;
    let records: Vec<_> = genuine_bootstrap().iter().map(versioned).collect();
    let voters = InitialVoters::Given(VoterSet::of([voter()]));
    let format = FormatOptions { records: &records, voters: &voters, now: &mut || 1000 };
    ottla_quorum::format_directory(&files, dir, format)?;
    let (cluster_id, directory_id) = ("c".to_owned(), voter().key.directory);
    Ok(data.set_meta(&MetaProperties { cluster_id, node_id: 1, directory_id })?)
}

#[test]
fn a_directory_that_says_it_is_formatted_is_whole_wherever_the_power_goes() {
    let dir = Path::new("/data");
    let whole = SimDisk::new(1);
    format_first(&whole, dir).unwrap();
    for (changes, seed) in (0..=whole.changes()).flat_map(|it| (0..50).map(move |on| (it, on))) {
        let disk = SimDisk::new(seed);
        disk.cut_power_after(changes);
        let done = format_first(&disk, dir).is_ok();
        disk.power_cut_as(Fate::Torn(seed));
        let left = disk.files();
        let data = DataDir::open(Arc::clone(&left), dir).unwrap().unwrap();
        let meta = data.meta().unwrap();
        assert!(meta.is_some() || !done, "power cut after change {changes}, seed {seed}");
        if meta.is_none() {
            continue;
        }
        assert_eq!(
            data.take_clean_shutdown().unwrap(),
            None,
            "power cut after change {changes}, seed {seed}"
        );
        let found = ottla_quorum::read_bootstrap(&left, dir).unwrap();
        assert_eq!(found, genuine_bootstrap(), "power cut after change {changes}, seed {seed}");
        let setup = Setup {
            files: left,
            dir: dir.to_owned(),
            own: voter(),
            candidacy: Candidacy::ByOperator,
            timing: Timing::default(),
            static_voters: VoterSet::default(),
            clean: false,
            segment_bytes: 1 << 30,
            clock: Clock::manual(1000),
        };
        let opened = Quorum::open(setup).unwrap();
        assert_eq!(opened.quorum.kraft_version(), 1, "after change {changes}, seed {seed}");
    }
}

/// What the genuine controller was asked, taken from what it wrote.
fn commands(wrote: &[(MetadataRecord, i16)]) -> Vec<ControllerCommand> {
    let registered = wrote.iter().find_map(|(record, _)| match record {
        MetadataRecord::RegisterBroker(it) => Some(it.clone()),
        _ => None,
    });
    let registered = registered.unwrap();
    let topic_id = wrote.iter().find_map(|(record, _)| match record {
        MetadataRecord::Topic(it) => Some(it.topic_id),
        _ => None,
    });
    let listeners = registered.end_points.iter().map(|it| Listener {
        name: it.name.clone(),
        host: it.host.clone(),
        port: it.port,
        security_protocol: it.security_protocol,
        ..Default::default()
    });
    let features = registered.features.iter().map(|it| Feature {
        name: it.name.clone(),
        min_supported_version: it.min_supported_version,
        max_supported_version: it.max_supported_version,
        ..Default::default()
    });
    let request = BrokerRegistrationRequest {
        broker_id: 1,
        incarnation_id: registered.incarnation_id,
        listeners: listeners.collect(),
        features: features.collect(),
        rack: registered.rack,
        log_dirs: registered.log_dirs,
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: "t1".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let create = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    vec![
        ControllerCommand::Activate { records: genuine_bootstrap() },
        ControllerCommand::RegisterBroker(request),
        ControllerCommand::Heartbeat(BrokerHeartbeatRequest {
            broker_id: 1,
            broker_epoch: registered.broker_epoch,
            current_metadata_offset: registered.broker_epoch,
            ..Default::default()
        }),
        ControllerCommand::CreateTopics { request: create, uuids: vec![topic_id.unwrap()] },
    ]
}

#[test]
fn the_first_cluster_writes_the_log_that_kafka_writes() {
    let work = tempfile::tempdir().unwrap();
    formatted(work.path());
    let genuine = annex("00000000000000000000.log");
    let at = times(&genuine);
    let clock = Clock::manual(at[0]);
    let opened = Quorum::open(Setup {
        files: files(),
        dir: work.path().to_owned(),
        own: voter(),
        candidacy: Candidacy::ByOperator,
        timing: Timing::default(),
        static_voters: VoterSet::default(),
        clean: false,
        segment_bytes: 1 << 30,
        clock: clock.clone(),
    });
    let mut quorum = opened.unwrap().quorum;
    let settings = ControllerSettings::default();
    let mut controller = Controller::new(Cluster::default(), settings, Box::new(AnyConfig));
    for (command, time) in commands(&records(&genuine)).into_iter().zip(&at[1..]) {
        clock.advance(time - clock.wall_ms());
        let mut turn = Turn::new(*time, Ticket(0));
        turn.base_offset = quorum.log_end();
        controller.decide(command, &mut turn);
        let written: Vec<_> = turn.records.iter().map(versioned).collect();
        let end = quorum.append(1, turn.base_offset, &written).unwrap();
        turn.records.iter().for_each(|record| controller.apply(record));
        assert!(quorum.committed() < end, "a power cut may take it back");
        let store = quorum.begin_store().unwrap();
        let done = store.run();
        quorum.end_store(&store, done).unwrap();
        assert_eq!(quorum.committed(), end);
    }
    let folder = work.path().join(FOLDER);
    let state = fs::read_to_string(folder.join("quorum-state")).unwrap();
    let wanted = "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\
                  \"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}";
    assert_eq!(state, wanted);
    quorum.close().unwrap();
    let written = fs::read(folder.join("00000000000000000000.log")).unwrap();
    for (ours, theirs) in batches_in(&written).zip(batches_in(&genuine)) {
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours.bytes(), theirs.bytes(), "the batch at {}", theirs.base_offset());
    }
    assert_eq!(written.len(), genuine.len());
    let id = fs::read_to_string(folder.join("partition.metadata")).unwrap();
    assert_eq!(id, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
}

#[test]
fn a_snapshot_makes_the_cluster_again() {
    let mut cluster = Cluster::default();
    let folder = golden("data-dir").join(FOLDER);
    let mut read = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap().path();
        let ending = file.extension().unwrap_or_default();
        if ending == "log" || ending == "checkpoint" {
            read += records(&fs::read(&file).unwrap()).len();
        }
    }
    assert!(read > 1500, "{read}");
    let mut logs: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    logs.retain(|file| file.extension().is_some_and(|ending| ending == "log"));
    logs.sort();
    for log in logs {
        records(&fs::read(log).unwrap()).iter().for_each(|(record, _)| cluster.apply(record));
    }
    let names: BTreeSet<String> = cluster.topics().map(|topic| topic.name.to_string()).collect();
    let described = fs::read_to_string(golden("expected/described/topics-describe.txt")).unwrap();
    let wanted = described.lines().filter(|line| line.starts_with("Topic: "));
    let wanted = wanted.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned);
    assert_eq!(names, wanted.collect());
    let mut again = Cluster::default();
    cluster.to_records().iter().for_each(|record| again.apply(record));
    assert_eq!(again, cluster);
}
