//! Formatting: what it says, what a first start finds, and that no node of several formats itself.

use std::process::Command;

use crate::node::Home;

/// Runs `ottla` with these words, which must be a command that ends; its exit code, and what it
/// prints to both streams.
fn ottla(home: &Home, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let out = command.args(words).current_dir(home.path()).output().unwrap();
    (out.status.code(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

/// The command that the line after `said` names, without the name of the program.
fn command_in(said: &str) -> Vec<String> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("ottla format")).unwrap();
    let words = line.split_whitespace().map(|word| word.trim_matches('\'').to_owned());
    std::iter::once("format".to_owned()).chain(words).collect()
}

#[test]
fn the_command_of_the_hint_formats_the_directories_that_the_start_asked_for() {
    let home = Home::new();
    std::fs::write(home.path().join("a.properties"), "node.id=1\nlog.dirs=elsewhere\n").unwrap();
    let given =
        ["--override", "log.dirs=data,more", "--override", "listeners=PLAINTEXT://127.0.0.1:0"];
    let (code, said) = ottla(&home, &[&["server", "a.properties"], &given[..]].concat());
    assert_eq!(code, Some(1), "{said}");
    let command = command_in(&said);
    assert_eq!(command[1..].join(" "), format!("a.properties {}", given.join(" ")));
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let (code, said) = ottla(&home, &words);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "Formatting dynamic metadata voter directory data with metadata.version 4.3-IV0.",
            "Formatting data directory more with metadata.version 4.3-IV0.",
        ]
    );
    assert!(lines[2].starts_with("Formatted for cluster "), "{said}");
    assert!(!home.path().join("elsewhere").exists());
    let again = [words.as_slice(), &["--ignore-formatted"]].concat();
    let (code, said) = ottla(&home, &again);
    assert!(
        code == Some(0) && said.starts_with("All of the log directories are already"),
        "{said}"
    );
    // Nothing has been written that a crash could have cut short.
    let (code, said) = ottla(&home, &["doctor", "--offline", "data"]);
    assert!(code == Some(0) && !said.contains("clean"), "{said}");
    let mut start = Command::new(env!("CARGO_BIN_EXE_ottla"));
    start.args(["server", "a.properties"]).args(given).current_dir(home.path());
    let log = Home::start_with(start).stop();
    assert!(log.contains("formatted=false clean_stop_before=true"), "{log}");
}

#[test]
fn a_node_of_several_is_formatted_by_its_operator_only() {
    let several = "controller.quorum.bootstrap.servers=a.invalid:9093,b.invalid:9093\n";
    let voters = "controller.quorum.voters=1@127.0.0.1:9093,2@127.0.0.1:9193\n";
    let combined = "process.roles=broker,controller\n\
         listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:9093\n";
    let broker = "process.roles=broker\nnode.id=4\nlisteners=PLAINTEXT://127.0.0.1:0\n";
    // Roles, quorum, and the command that the error names.
    let cases = [
        (combined, several, "ottla format a.properties --standalone"),
        (combined, several, "ottla format a.properties --cluster-id ID --no-initial-controllers"),
        (combined, voters, "ottla format a.properties --cluster-id ID"),
        (broker, several, "ottla format a.properties --cluster-id ID"),
        (broker, voters, "ottla format a.properties --cluster-id ID"),
    ];
    for (roles, quorum, wanted) in cases {
        let home = Home::new();
        let lines = format!(
            "node.id=1\nlog.dirs=data\ncontroller.listener.names=CONTROLLER\n{roles}{quorum}"
        );
        std::fs::write(home.path().join("a.properties"), lines).unwrap();
        let (code, said) = ottla(&home, &["server", "a.properties", "--format-if-empty"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.lines().any(|line| line.trim() == wanted), "{roles}{quorum}{said}");
        assert!(said.contains("a start does not format a node of several"), "{said}");
        assert!(!home.data().exists(), "{roles}{quorum}");
    }
}

#[test]
fn a_node_that_was_to_join_a_quorum_does_not_found_one() {
    let home = Home::new();
    let given = ["--override", "log.dirs=data", "--override", "listeners=PLAINTEXT://127.0.0.1:0"];
    let id = "4L6g3nShT-eMCtK--X86sw";
    let words = ["format", "--cluster-id", id, "--no-initial-controllers"];
    let (code, said) = ottla(&home, &[&words[..], &given[..]].concat());
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ottla(&home, &[&["server"], &given[..]].concat());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("controller.quorum.bootstrap.servers names no other node"), "{said}");
    let again = format!("ottla format {} --standalone", given.join(" "));
    assert!(said.lines().any(|line| line.trim() == again), "{said}");
    assert!(!home.data().join("__cluster_metadata-0").exists());
}

#[test]
fn kafka_storage_asks_for_the_voters_as_kafkas_tool_does() {
    let home = Home::new();
    let lines = "node.id=1\nlog.dirs=data\nprocess.roles=broker,controller\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers=127.0.0.1:9093\n\
         listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n";
    std::fs::write(home.path().join("a.properties"), lines).unwrap();
    let id = "4L6g3nShT-eMCtK--X86sw";
    let words = ["kafka-storage", "format", "-t", id, "-c", "a.properties"];
    let (code, said) = ottla(&home, &words);
    assert_eq!(code, Some(1), "{said}");
    for flag in ["--standalone", "--initial-controllers", "--no-initial-controllers"] {
        assert!(said.contains(flag), "{said}");
    }
    let (code, said) = ottla(&home, &[&words[..], &["--standalone", "-N"]].concat());
    assert!(code == Some(1) && said.contains("not allowed with argument"), "{said}");
    let info = ["kafka-storage", "info", "-c", "a.properties"];
    let (code, said) = ottla(&home, &info);
    assert_eq!((code, said.as_str()), (Some(1), "Found problem:\n  data does not exist\n\n"));
    assert!(!home.data().exists());
    let directory = "JEXY6aqzQY-32P5TStzaFg";
    let list = format!("1@127.0.0.1:9093:{directory},2@127.0.0.1:9193:MvDxzVmcRsaTz33bUuRU6A");
    let (code, said) = ottla(&home, &[&words[..], &["--initial-controllers", &list]].concat());
    assert_eq!(code, Some(0), "{said}");
    let meta = std::fs::read_to_string(home.data().join("meta.properties")).unwrap();
    assert!(meta.contains(&format!("directory.id={directory}\n")), "{meta}");
    assert!(meta.contains(&format!("cluster.id={id}\n")), "{meta}");
}

/// What a file of a metadata directory holds.
fn dumped(home: &Home, file: &str) -> String {
    let words = ["dump", "--cluster-metadata-decoder", "--files", file];
    let (code, said) = ottla(home, &words);
    assert_eq!(code, Some(0), "{said}");
    said
}

#[test]
fn a_cluster_begins_with_the_credentials_that_it_was_formatted_with() {
    let home = Home::new();
    let lines = "node.id=1\nlog.dirs=data\nlisteners=PLAINTEXT://127.0.0.1:0\n";
    std::fs::write(home.path().join("a.properties"), lines).unwrap();
    let format =
        ["kafka-storage", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", "a.properties", "-s"];
    let wrong = ["-S", "SCRAM-SHA-256=[name=alice,password=secret,iterations=1]"];
    let (code, said) = ottla(&home, &[&format[..], &wrong].concat());
    assert!(code == Some(1) && said.contains("takes 4096 to 16384"), "{said}");
    assert!(!said.contains("secret") && !home.data().exists(), "{said}");
    let two = [
        "--add-scram",
        "SCRAM-SHA-256=[name=alice,password=alice-secret]",
        "-S",
        "SCRAM-SHA-512=[name=bob,iterations=8192,salt=\"N3E=\",saltedpassword=\"YCE=\"]",
    ];
    let (code, said) = ottla(&home, &[&format[..], &two].concat());
    assert_eq!(code, Some(0), "{said}");
    let first = dumped(&home, "data/bootstrap.checkpoint");
    for part in ["USER_SCRAM_CREDENTIAL_RECORD", "\"alice\"", "\"bob\"", "\"iterations\":8192"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    // They are the cluster's from its first start on.
    let mut start = Command::new(env!("CARGO_BIN_EXE_ottla"));
    start.args(["server", "a.properties"]).current_dir(home.path());
    let node = Home::start_with(start);
    let address = node.address.to_string();
    let describe = ["kafka-configs", "--describe", "--entity-type", "users", "--bootstrap-server"];
    let (code, said) = ottla(&home, &[&describe[..], &[&address]].concat());
    assert_eq!(code, Some(0), "{said}");
    for part in ["alice", "SCRAM-SHA-256=iterations=4096", "bob", "SCRAM-SHA-512=iterations=8192"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn kafka_storage_formats_an_empty_metadata_directory_beside_others_only_if_it_is_to() {
    let home = Home::new();
    let lines = "node.id=1\nlog.dirs=data\nmetadata.log.dir=meta\n\
         listeners=PLAINTEXT://127.0.0.1:0\n";
    std::fs::write(home.path().join("a.properties"), lines).unwrap();
    let format =
        ["kafka-storage", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", "a.properties", "-s"];
    assert_eq!(ottla(&home, &format).0, Some(0));
    let meta = home.path().join("meta");
    std::fs::remove_dir_all(&meta).unwrap();
    assert_eq!(ottla(&home, &format).0, Some(1));
    // Our own command takes it for a volume that is not mounted.
    let own = ["format", "a.properties", "--ignore-formatted"];
    let (code, said) = ottla(&home, &own);
    assert!(code == Some(1) && said.contains("Mount its volume"), "{said}");
    assert!(!meta.join("meta.properties").exists());
    let (code, said) = ottla(&home, &[&format[..], &["--ignore-formatted"]].concat());
    assert!(
        code == Some(0) && said.contains("Formatting dynamic metadata voter directory meta"),
        "{said}"
    );
}

#[test]
fn a_cluster_begins_with_the_features_of_its_release() {
    // What Apache Kafka 4.3.1 writes for each release, without share and streams groups.
    let cases = [
        ("4.0", "4.0-IV3", [25, 0, 1, 2]),
        ("4.1-IV1", "4.1-IV1", [27, 1, 1, 2]),
        ("4.2", "4.2-IV1", [29, 1, 1, 2]),
        ("4.3", "4.3-IV0", [30, 1, 1, 2]),
    ];
    for (release, name, levels) in cases {
        let home = Home::new();
        let lines = "node.id=1\nlog.dirs=data\nlisteners=PLAINTEXT://127.0.0.1:0\n";
        std::fs::write(home.path().join("a.properties"), lines).unwrap();
        let format = ["format", "a.properties", "--release-version", release];
        let (code, said) = ottla(&home, &format);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("data with metadata.version {name}.\n")), "{said}");
        let first = dumped(&home, "data/bootstrap.checkpoint");
        let features = [
            "metadata.version",
            "eligible.leader.replicas.version",
            "group.version",
            "transaction.version",
        ];
        for (feature, level) in features.into_iter().zip(levels) {
            let record = format!("\"name\":\"{feature}\",\"featureLevel\":{level}}}");
            assert_eq!(first.contains(&record), level > 0, "{release}: {record}\n{first}");
        }
        assert!(!first.contains("share.version") && !first.contains("streams.version"));
        // It starts, and writes down topics at that level.
        let mut start = Command::new(env!("CARGO_BIN_EXE_ottla"));
        start.args(["server", "a.properties"]).current_dir(home.path());
        let node = Home::start_with(start);
        let address = node.address.to_string();
        let (code, said) = ottla(&home, &["topics", "create", "t", "-b", &address]);
        assert_eq!(code, Some(0), "{said}");
        node.stop();
        let log = dumped(&home, "data/__cluster_metadata-0/00000000000000000000.log");
        let version = if level_has_cordoned(levels[0]) { 4 } else { 3 };
        let registered = format!("\"REGISTER_BROKER_RECORD\",\"version\":{version}");
        assert!(log.contains(&registered), "{release}: {log}");
    }
    let home = Home::new();
    for (release, why) in [("3.9", "4.0 to 4.3 are possible"), ("5.0", "Unknown metadata.version")]
    {
        let (code, said) = ottla(&home, &["format", "--release-version", release]);
        assert!(code == Some(1) && said.contains(why), "{said}");
    }
}

/// From 4.3-IV0 on a registration says which directories take no new partitions.
const fn level_has_cordoned(metadata_version: i16) -> bool {
    metadata_version >= 30
}
