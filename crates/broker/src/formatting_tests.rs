//! What an operator formats, and what is refused.

use std::path::Path;

use ottla_clock::Clock;
use ottla_partitions::DiskFiles;

use super::*;

const SELF_ONLY: &str = "controller.quorum.bootstrap.servers=127.0.0.1:9093\n";
const SEVERAL: &str = "controller.quorum.bootstrap.servers=a.invalid:9093,b.invalid:9093\n";
const STATIC: &str = "controller.quorum.voters=1@a.invalid:9093,2@b.invalid:9093\n";
const COMBINED: &str = "process.roles=broker,controller\n\
     listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n";
const CONTROLLER: &str = "process.roles=controller\nlisteners=CONTROLLER://127.0.0.1:9093\n";
const BROKER: &str = "process.roles=broker\nlisteners=PLAINTEXT://127.0.0.1:9092\n";
const OWN_DIRECTORY: &str = "JEXY6aqzQY-32P5TStzaFg";
const OTHER_DIRECTORY: &str = "MvDxzVmcRsaTz33bUuRU6A";

/// Formats the directories `meta` and `data` in `home`, for node 1 and cluster `c`.
fn format(
    home: &Path,
    lines: &str,
    voters: ChosenVoters,
    cluster_id: Option<&str>,
) -> Result<FormatReport, String> {
    let (meta, data) = (home.join("meta"), home.join("data"));
    let text = format!(
        "node.id=1\ncontroller.listener.names=CONTROLLER\nmetadata.log.dir={}\nlog.dirs={}\n{lines}",
        meta.display(),
        data.display()
    );
    let settings = Settings::read(Some(&text), &[]).map_err(|why| why.to_string())?;
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let cluster_id = cluster_id.map(str::to_owned);
    let formatted = FormattedDirs::Refuse;
    let request = FormatRequest {
        cluster_id,
        formatted,
        release: ReleaseChoice::default(),
        voters,
        features: Vec::new(),
        credentials: Vec::new(),
    };
    format_node(&files, &settings, request, &Clock::real()).map_err(|why| why.to_string())
}

/// The files below, without the locks.
fn files_below(home: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(".lock") {
                let name = path.strip_prefix(home).expect("below").display().to_string();
                all.push(name);
            }
        }
    }
    all.sort();
    all
}

fn initial() -> ChosenVoters {
    ChosenVoters::Initial(format!(
        "1@127.0.0.1:9093:{OWN_DIRECTORY},2@127.0.0.1:9193:{OTHER_DIRECTORY}"
    ))
}

#[test]
fn each_kind_of_quorum_has_the_files_that_kafka_gives_it() {
    const FIRST: &str = "meta/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";
    // Who votes first, what the metadata directory is called, and whether the voters are in a
    // snapshot.
    let cases = [
        (COMBINED, SELF_ONLY, ChosenVoters::Unsaid, "dynamic metadata voter directory", true),
        (COMBINED, SEVERAL, ChosenVoters::Standalone, "dynamic metadata voter directory", true),
        (CONTROLLER, SEVERAL, initial(), "dynamic metadata voter directory", true),
        (BROKER, SEVERAL, initial(), "dynamic metadata voter directory", true),
        (
            CONTROLLER,
            SEVERAL,
            ChosenVoters::Initial(format!("2@127.0.0.1:9193:{OTHER_DIRECTORY}")),
            "dynamic metadata directory",
            true,
        ),
        (COMBINED, SEVERAL, ChosenVoters::NoneYet, "metadata directory", false),
        (BROKER, SEVERAL, ChosenVoters::Unsaid, "metadata directory", false),
        (COMBINED, STATIC, ChosenVoters::Unsaid, "metadata directory", false),
        (CONTROLLER, STATIC, ChosenVoters::NoneYet, "metadata directory", false),
        (
            COMBINED,
            "controller.quorum.voters=1@a.invalid:9093\n",
            ChosenVoters::MustBeSaid,
            "metadata directory",
            false,
        ),
    ];
    for (roles, quorum, voters, kind, has_snapshot) in cases {
        let home = tempfile::tempdir().expect("a folder");
        let is_listed = voters == initial();
        let report = format(home.path(), &format!("{roles}{quorum}"), voters, Some("c"));
        let report = report.unwrap_or_else(|why| panic!("{roles}{quorum}{why}"));
        let mut wanted = vec![
            "data/bootstrap.checkpoint",
            "data/meta.properties",
            "meta/bootstrap.checkpoint",
            "meta/meta.properties",
        ];
        wanted.extend(Some(FIRST).filter(|_| has_snapshot));
        wanted.sort_unstable();
        assert_eq!(files_below(home.path()), wanted, "{roles}{quorum}");
        let said: Vec<String> = report.directories.iter().map(ToString::to_string).collect();
        let of = |kind: &str, name: &str| {
            let path = home.path().join(name);
            format!("Formatting {kind} {} with metadata.version 4.3-IV0.", path.display())
        };
        assert_eq!(said, [of("data directory", "data"), of(kind, "meta")], "{roles}{quorum}");
        let metadata = &report.directories[1];
        assert_eq!(metadata.id.to_string() == OWN_DIRECTORY, is_listed, "{roles}{quorum}");
        assert_eq!(report.cluster_id, "c");
    }
}

#[test]
fn what_would_found_a_cluster_by_accident_is_refused() {
    // Roles, quorum, the first voters, the cluster's id, and a part of the refusal.
    let cases = [
        (COMBINED, SEVERAL, ChosenVoters::Unsaid, Some("c"), "must be formatted with one of"),
        (CONTROLLER, SELF_ONLY, ChosenVoters::Unsaid, Some("c"), "must be formatted with one of"),
        (COMBINED, SELF_ONLY, ChosenVoters::MustBeSaid, Some("c"), "must be formatted with one of"),
        (BROKER, SEVERAL, ChosenVoters::Standalone, Some("c"), "--standalone is only for a node"),
        (COMBINED, STATIC, ChosenVoters::Standalone, Some("c"), "cannot be set together with"),
        (COMBINED, STATIC, initial(), Some("c"), "cannot be set together with"),
        (COMBINED, SEVERAL, ChosenVoters::NoneYet, None, "the cluster's id is missing"),
        (COMBINED, SEVERAL, initial(), None, "the cluster's id is missing"),
        (COMBINED, STATIC, ChosenVoters::Unsaid, None, "the cluster's id is missing"),
        (BROKER, SEVERAL, ChosenVoters::Unsaid, None, "the cluster's id is missing"),
    ];
    for (roles, quorum, voters, cluster_id, wanted) in cases {
        let home = tempfile::tempdir().expect("a folder");
        let lines = format!("{roles}{quorum}");
        let why = format(home.path(), &lines, voters, cluster_id).expect_err(&lines);
        assert!(why.contains(wanted), "{lines}{why}");
        let made = std::fs::read_dir(home.path()).expect("listed").count();
        assert_eq!(made, 0, "{lines}");
    }
}

#[test]
fn initial_controllers_are_read_as_kafka_reads_them() {
    let read = |text: &str| parse_initial_controllers(text, "C");
    let voters = read(&format!("2@[::1]:9093:{OTHER_DIRECTORY}, 1@a.b:19093:{OWN_DIRECTORY},"));
    let voters: Vec<Voter> = voters.expect("voters").iter().cloned().collect();
    let voter = |id, directory: &str, host: &str, port| {
        let key = ReplicaKey { id, directory: directory.parse().expect("an id") };
        let endpoint = Endpoint { name: "C".to_owned(), host: host.to_owned(), port };
        own_voter(key, &[endpoint])
    };
    let wanted = [voter(1, OWN_DIRECTORY, "a.b", 19093), voter(2, OTHER_DIRECTORY, "::1", 9093)];
    assert_eq!(voters, wanted);
    let cases = [
        (String::new(), "it names no controller"),
        ("a:9093".to_owned(), "there is no @"),
        (format!("@a:9093:{OWN_DIRECTORY}"), "\"\" is not a node id"),
        (format!("-1@a:9093:{OWN_DIRECTORY}"), "node id -1 is negative"),
        (format!("1@:9093:{OWN_DIRECTORY}"), "there is no host"),
        ("1@a".to_owned(), "there is no port"),
        (format!("1@[::1:9093:{OWN_DIRECTORY}"), "there is no ]"),
        (format!("1@a:99999:{OWN_DIRECTORY}"), "\"99999\" is not a port"),
        ("1@a:9093".to_owned(), "there is no directory id"),
        ("1@a:9093:short".to_owned(), "\"short\" is not a directory id"),
        ("1@a:9093:AAAAAAAAAAAAAAAAAAAAAQ".to_owned(), "a reserved one"),
        (format!("1@a:1:{OWN_DIRECTORY},1@b:2:{OTHER_DIRECTORY}"), "node 1 stands there twice"),
        (format!("1@a:1:{OWN_DIRECTORY},2@b:2:{OWN_DIRECTORY}"), "stands there twice"),
    ];
    for (text, wanted) in cases {
        let why = read(&text).expect_err(&text);
        assert!(why.contains(wanted), "{text}: {why}");
    }
}

#[test]
fn a_new_cluster_begins_with_levels_that_this_release_has() {
    let given = InitialVoters::Given(VoterSet::default());
    // The feature, its level, the voters, and a part of the refusal; an empty one is accepted.
    let cases = [
        ("group.version", 0, &given, ""),
        ("group.version", 1, &given, ""),
        ("group.version", 2, &given, "the levels 0 to 1"),
        ("transaction.version", 1, &given, ""),
        ("transaction.version", -1, &given, "the levels 0 to 2"),
        ("share.version", 1, &given, "the levels 0 to 0"),
        ("metadata.version", 30, &given, ""),
        ("metadata.version", 29, &given, "the levels 30 to 30"),
        ("kraft.version", 1, &given, ""),
        ("kraft.version", 1, &InitialVoters::NoneYet, ""),
        ("kraft.version", 0, &given, "controller.quorum.voters is not set"),
        ("kraft.version", 0, &InitialVoters::Static, ""),
        ("kraft.version", 1, &InitialVoters::Static, "controller.quorum.voters names the voters"),
        ("group.versions", 1, &given, "feature group.versions is unknown"),
    ];
    for (name, level, voters, wanted) in cases {
        let checked = check_feature(&FeatureChoice { name: name.to_owned(), level }, voters);
        let why = checked.err().map_or_else(String::new, |why| why.to_string());
        assert!(
            why.is_empty() == wanted.is_empty() && why.contains(wanted),
            "{name}={level}: {why}"
        );
    }
}

#[test]
fn the_chosen_levels_are_the_first_records_of_the_cluster() {
    use ottla_protocol::metadata::MetadataRecord;
    let dir = tempfile::tempdir().expect("a folder");
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let choice = |name: &str, level| FeatureChoice { name: name.to_owned(), level };
    let features = [choice("group.version", 0), choice("transaction.version", 1)];
    let first = crate::dirs::FirstMetadata { voters: None, features: &features, credentials: &[] };
    crate::dirs::write_first_metadata(&files, dir.path(), &Clock::real(), first).expect("written");
    let records = ottla_quorum::read_bootstrap(&files, dir.path()).expect("read");
    let level = |record: &MetadataRecord| match record {
        MetadataRecord::FeatureLevel(it) => (it.name.clone(), it.feature_level),
        other => panic!("{other:?}"),
    };
    let levels: Vec<(String, i16)> = records.iter().map(level).collect();
    let wanted = [
        ("metadata.version", 30),
        ("eligible.leader.replicas.version", 1),
        ("transaction.version", 1),
    ];
    assert_eq!(levels, wanted.map(|(name, level)| (name.to_owned(), level)));
}
