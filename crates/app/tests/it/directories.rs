//! What a start does with data directories that are not as the node left them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::node::Home;
use crate::{raw, talk};

/// `KAFKA_STORAGE_ERROR`.
const STORAGE_ERROR: i16 = 56;

fn values(topic: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{topic}-{at}")).collect()
}

fn produce(node: &crate::node::Node, topic: &str, count: usize) {
    let all = values(topic, count).into_iter();
    talk::run(talk::produce_once(node.address, topic, all, |_| {})).unwrap();
}

fn end(node: &crate::node::Node, topic: &str) -> (i16, i64) {
    let mut stream = node.connect();
    std::io::Write::write_all(&mut stream, &raw::end_offset(topic)).unwrap();
    raw::end_offset_answer(&mut stream)
}

fn folders(data: &Path, ending: &str) -> Vec<String> {
    let names = std::fs::read_dir(data).unwrap().map(|it| it.unwrap().file_name());
    let mut all: Vec<String> = names.map(|it| it.into_string().unwrap()).collect();
    all.retain(|name| name.ends_with(ending));
    all.sort();
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What a start that is refused says.
fn refused(home: &Home) -> String {
    refused_by(home.command())
}

fn refused_by(mut command: Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("node started") {
            child.kill().unwrap();
            panic!("the node starts");
        }
        text.push_str(&line);
        text.push('\n');
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
    text
}

fn ottla(words: &[&str], home: &Home) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(words).current_dir(home.path());
    for setting in home.overrides() {
        command.args(["--override", setting]);
    }
    let out = command.output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn folders_that_the_metadata_does_not_know_are_set_aside_and_kept() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "one", 1);
    talk::create(node.address, "two", 1);
    produce(&node, "one", 3);
    produce(&node, "two", 2);
    node.stop();
    let data = home.data();
    // Of no topic: without and with an id, and of a partition that the topic does not have.
    copy(&data.join("one-0"), &data.join("old-0"));
    std::fs::remove_file(data.join("old-0/partition.metadata")).unwrap();
    copy(&data.join("one-0"), &data.join("other-3"));
    copy(&data.join("one-0"), &data.join("one-7"));
    // Of another topic of the same name.
    std::fs::copy(data.join("one-0/partition.metadata"), data.join("two-0/partition.metadata"))
        .unwrap();
    // Of a name that leaves no room for what is put behind it.
    let long = "x".repeat(249);
    copy(&data.join("one-0"), &data.join(format!("{long}-0")));
    // No folders of partitions.
    for name in ["t-007", "lost+found", "-0", "notes"] {
        std::fs::create_dir(data.join(name)).unwrap();
    }
    let node = home.start();
    assert_eq!(end(&node, "one"), (0, 3));
    assert_eq!(end(&node, "two"), (0, 0), "what lay there was another topic's");
    let strays = folders(&data, "-stray");
    for name in ["old-0.", "other-3.", "one-7.", "two-0."] {
        let found = strays.iter().filter(|it| it.starts_with(name)).count();
        assert_eq!(found, 1, "{name} in {strays:?}");
    }
    assert!(strays.iter().any(|it| it.len() == 255 && it.ends_with("-stray")), "{strays:?}");
    for name in ["t-007", "lost+found", "-0", "notes"] {
        assert!(data.join(name).is_dir(), "{name}");
    }
    let old = strays.iter().find(|it| it.starts_with("old-0.")).unwrap();
    assert!(data.join(old).join("00000000000000000000.log").metadata().unwrap().len() > 0);
    // Topics of these names begin with nothing.
    for name in ["old", "other"] {
        talk::create(node.address, name, 4);
        assert_eq!(end(&node, name), (0, 0), "{name}");
    }
    // While the node runs, too: a folder that appears is not the next topic's.
    copy(&data.join("one-0"), &data.join("late-0"));
    std::fs::remove_file(data.join("late-0/partition.metadata")).unwrap();
    talk::create(node.address, "late", 1);
    assert_eq!(end(&node, "late"), (0, 0));
    let log = node.stop();
    for place in ["old-0", "other-3", "one-7", "two-0", "late-0"] {
        let told = log.lines().filter(|line| line.contains(&format!("partition={place} ")));
        assert_eq!(told.count(), 1, "{place}: {log}");
    }
    // They are there after more starts, and not logged again as new ones.
    let node = home.start();
    assert_eq!(folders(&data, "-stray").len(), strays.len() + 1);
    let log = node.stop();
    assert!(!log.contains("stray"), "{log}");
}

#[test]
fn a_partition_without_its_id_is_served_as_its_name_says() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "one", 1);
    produce(&node, "one", 3);
    node.stop();
    std::fs::remove_file(home.data().join("one-0/partition.metadata")).unwrap();
    let node = home.start();
    assert_eq!(end(&node, "one"), (0, 3));
    assert!(home.data().join("one-0/partition.metadata").exists());
    node.stop();
}

#[test]
fn a_corrupt_partition_metadata_takes_that_partition_offline_and_no_other() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "bad", 1);
    talk::create(node.address, "good", 1);
    produce(&node, "bad", 3);
    node.stop();
    std::fs::write(home.data().join("bad-0/partition.metadata"), "version: 0\ntopic_id: ?")
        .unwrap();
    let node = home.start();
    assert_eq!(end(&node, "bad").0, STORAGE_ERROR);
    let mut stream = node.connect();
    std::io::Write::write_all(&mut stream, &raw::produce("bad", 10)).unwrap();
    assert_eq!(raw::produced(&mut stream).0, STORAGE_ERROR);
    produce(&node, "good", 1);
    // After changes of the metadata it is not logged again.
    talk::create(node.address, "more", 1);
    talk::create(node.address, "evenmore", 1);
    let log = node.stop();
    let told = log.lines().filter(|line| line.contains("partition=bad-0")).count();
    assert_eq!(told, 1, "{log}");
    // None of its files was touched.
    assert!(home.data().join("bad-0/00000000000000000000.log").metadata().unwrap().len() > 0);
}

/// A node with two directories, one partition of `t` in each.
fn two_directories() -> (Home, [PathBuf; 2]) {
    let home = Home::new();
    let dirs = ["a", "b"].map(|name| home.path().join(name));
    let setting = format!("log.dirs={},{}", dirs[0].display(), dirs[1].display());
    let home = home.with(&setting);
    let node = home.start();
    talk::create(node.address, "t", 2);
    talk::create(node.address, "u", 2);
    produce(&node, "t", 10);
    node.stop();
    (home, dirs)
}

#[test]
fn a_directory_that_is_not_mounted_stops_the_start() {
    let (home, [first, second]) = two_directories();
    let away = home.path().join("away");
    std::fs::rename(&second, &away).unwrap();
    let text = refused(&home);
    let path = second.display().to_string();
    assert!(text.contains(&format!("data directory {path} does not exist")), "{text}");
    assert!(text.contains("Mount its volume"), "{text}");
    assert!(text.contains(&format!("--declare-lost {path}")), "{text}");
    assert!(!second.exists(), "a start that is refused makes nothing");
    // An empty mount point is the same.
    std::fs::create_dir(&second).unwrap();
    assert!(refused(&home).contains(&format!("data directory {path} is empty")));
    // Nor does formatting it as an additional directory hide what is missing.
    assert!(ottla(&["format", "--ignore-formatted"], &home).0);
    let text = refused(&home);
    assert!(text.contains(", which holds 2 partitions"), "{text}");
    assert!(text.contains("--declare-lost"), "{text}");
    std::fs::remove_dir_all(&second).unwrap();
    // So does leaving it out of the settings.
    let alone = Home::at(home.path()).with(&format!("log.dirs={}", first.display()));
    assert!(refused(&alone).contains("which holds 2 partitions"));
    // Mounted again, everything is there.
    std::fs::rename(&away, &second).unwrap();
    let node = home.start();
    assert_eq!(talk::read_all(node.address, "t", 10).len(), 10);
    node.stop();
}

#[test]
fn a_directory_that_was_declared_lost_starts_empty() {
    let (home, [first, second]) = two_directories();
    let lies = |name: &str| first.join(name).exists();
    let (kept, lost) = if lies("t-0") { (0, 1) } else { (1, 0) };
    assert!(lies(&format!("t-{kept}")) && !lies(&format!("t-{lost}")));
    let away = home.path().join("away");
    std::fs::rename(&second, &away).unwrap();
    let (done, said) = ottla(&["format", "--declare-lost", "c"], &home);
    assert!(!done && said.contains("c is neither a directory of log.dirs ("), "{said}");
    // The test's commands run in the home; `b` is the second.
    let (done, said) = ottla(&["format", "--declare-lost", "./b/"], &home);
    assert!(done && said.contains("2 partitions") && said.contains("start empty"), "{said}");
    let node = home.start();
    let left = talk::read_all(node.address, "t", 0).len();
    assert!(left < 10, "{left}");
    produce(&node, "t", 10);
    let log = node.stop();
    let told = log.lines().filter(|line| line.contains("was declared lost")).count();
    assert_eq!(told, 2, "{log}");
    // The log names it once, and the records written since are there.
    let node = home.start();
    assert_eq!(talk::read_all(node.address, "t", left + 10).len(), left + 10);
    let log = node.stop();
    assert!(!log.contains("declared lost"), "{log}");
    // The old directory comes back: what it holds is set aside, not served and not deleted.
    std::fs::remove_dir_all(&second).unwrap();
    std::fs::rename(&away, &second).unwrap();
    let text = refused(&home);
    assert!(text.contains("which holds 2 partitions"), "{text}");
}

#[test]
fn a_metadata_directory_that_is_gone_stops_the_start() {
    let (home, [first, second]) = two_directories();
    let away = home.path().join("away");
    std::fs::rename(&first, &away).unwrap();
    let text = refused(&home);
    assert!(text.contains("the metadata log, with all topics and settings"), "{text}");
    assert!(!ottla(&["format", "--ignore-formatted"], &home).0, "format does not hide it");
    assert!(!first.exists());
    // The same for its log alone.
    std::fs::rename(&away, &first).unwrap();
    let log = first.join("__cluster_metadata-0");
    std::fs::rename(&log, home.path().join("log")).unwrap();
    assert!(refused(&home).contains("a start would forget all topics"));
    std::fs::rename(home.path().join("log"), &log).unwrap();
    let node = home.start();
    assert_eq!(talk::read_all(node.address, "t", 10).len(), 10);
    node.stop();
    // Declared lost, the partition starts empty, and no data is deleted.
    std::fs::rename(&first, &away).unwrap();
    let path = first.display().to_string();
    let (done, said) = ottla(&["format", "--declare-lost", &path], &home);
    assert!(done && said.contains("no topics"), "{said}");
    let node = home.start();
    assert_eq!(folders(&second, "-stray").len(), 2);
    talk::create(node.address, "t", 2);
    assert_eq!(end(&node, "t"), (0, 0));
    node.stop();
}

#[test]
fn an_empty_directory_that_a_setting_names_stops_the_start() {
    let home = Home::new();
    let data = home.data().display().to_string();
    let without = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["server", "--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
        command.args(["--override", &format!("log.dirs={data}")]).current_dir(home.path());
        command
    };
    let text = refused_by(without());
    assert!(text.contains(&format!("data directory {data} does not exist")), "{text}");
    assert!(text.contains("ottla format") && text.contains("--format-if-empty"), "{text}");
    assert!(!home.data().exists());
    // Files without meta.properties are not an empty directory.
    std::fs::create_dir_all(home.data().join("t-0")).unwrap();
    let text = refused(&home);
    assert!(text.contains(&format!("data directory {data} has no meta.properties")), "{text}");
    std::fs::remove_dir(home.data().join("t-0")).unwrap();
    home.start().stop();
    Home::start_with(without()).stop();
    // The built-in directory is formatted by the first start.
    let mut default = Command::new(env!("CARGO_BIN_EXE_ottla"));
    default.args(["server", "--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
    default.current_dir(home.path());
    Home::start_with(default).stop();
    assert!(home.path().join("ottla-data/meta.properties").exists());
}

#[test]
fn a_data_directory_may_be_a_name_below_the_working_directory() {
    let home = Home::new().with("log.dirs=here,there/below");
    home.start().stop();
    for name in ["here", "there/below"] {
        assert!(home.path().join(name).join("meta.properties").exists(), "{name}");
    }
}

#[test]
fn meta_properties_that_contradict_stop_the_start() {
    let (home, [first, second]) = two_directories();
    let file = second.join("meta.properties");
    let good = std::fs::read_to_string(&file).unwrap();
    let line = |text: &str, name: &str| {
        text.lines().find(|line| line.starts_with(name)).unwrap().to_owned()
    };
    let other = std::fs::read_to_string(first.join("meta.properties")).unwrap();
    // The line, what replaces it, and the error.
    let cases = [
        ("node.id", "node.id=7", "it belongs to node 7"),
        ("cluster.id", "cluster.id=AAAAAAAAAAAAAAAAAAAAAQ", "it belongs to cluster AAAA"),
        ("directory.id", &line(&other, "directory.id"), "is also that of"),
        ("directory.id", "directory.id=AAAAAAAAAAAAAAAAAAAAAQ", "directory.id is AAAA"),
        ("directory.id", "directory.id=?", "directory.id is ?"),
        ("version", "version=2", "only versions 0 and 1"),
        ("cluster.id", "", "cluster.id is missing"),
    ];
    for (name, instead, said) in cases {
        std::fs::write(&file, good.replace(&line(&good, name), instead)).unwrap();
        let text = refused(&home);
        assert!(text.contains(said), "{instead}: {text}");
    }
    // One without an id, as Kafka 3.6 left it, gets one.
    std::fs::write(&file, good.replace(&line(&good, "directory.id"), "")).unwrap();
    let text = refused(&home);
    assert!(text.contains("which holds 2 partitions"), "another id is another directory: {text}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("directory.id="));
    std::fs::write(&file, &good).unwrap();
    // A second metadata log.
    copy(&first.join("__cluster_metadata-0"), &second.join("__cluster_metadata-0"));
    assert!(refused(&home).contains("it has a metadata log"));
    std::fs::remove_dir_all(second.join("__cluster_metadata-0")).unwrap();
    home.start().stop();
}

#[test]
fn a_start_that_is_refused_leaves_the_marks_of_the_clean_stop() {
    let (home, [first, second]) = two_directories();
    let marks = || [&first, &second].map(|it| it.join(".kafka_cleanshutdown").exists());
    assert_eq!(marks(), [true, true]);
    // A directory that is left out; it is noticed only after the metadata log was read.
    let alone = Home::at(home.path()).with(&format!("log.dirs={}", first.display()));
    assert!(refused(&alone).contains("which holds 2 partitions"));
    assert_eq!(marks(), [true, true], "a directory was left out");
    // Another node's directory.
    let file = second.join("meta.properties");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("node.id=1", "node.id=7")).unwrap();
    assert!(refused(&home).contains("it belongs to node 7"));
    std::fs::write(&file, &good).unwrap();
    assert_eq!(marks(), [true, true], "a directory was another node's");
    // A setting that promises what is not built.
    let secure = Home::at(home.path()).with(&home.overrides()[0]);
    let secure = secure.with("authorizer.class.name=org.example.Authorizer");
    refused(&secure);
    assert!(ottla(&["format", "--ignore-formatted"], &home).0);
    assert_eq!(marks(), [true, true]);
    let log = home.start().stop();
    assert!(log.contains("clean_stop_before=true"), "{log}");
}

#[test]
fn no_partition_is_placed_in_the_directory_of_the_metadata_log() {
    let home = Home::new().with("metadata.log.dir=metadata");
    let node = home.start();
    talk::create(node.address, "t", 4);
    let address = node.address.to_string();
    let elsewhere = Home::at(home.path());
    let shown =
        ottla(&["kafka-log-dirs", "--describe", "--bootstrap-server", &address], &elsewhere).1;
    assert_eq!(shown.matches("\"logDir\"").count(), 1, "{shown}");
    node.stop();
    let folders = std::fs::read_dir(home.path().join("metadata")).unwrap();
    let folders = folders.map(|it| it.unwrap()).filter(|it| it.file_type().unwrap().is_dir());
    let names: Vec<_> = folders.map(|it| it.file_name()).collect();
    assert_eq!(names, ["__cluster_metadata-0"]);
    assert!(home.data().join("t-3").exists());
}
