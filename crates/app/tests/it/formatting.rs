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
