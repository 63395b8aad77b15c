//! What a genuine Kafka 4.3.1's own tool says of its files, word for word.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod doctor;

use std::fs;
use std::path::{Path, PathBuf};

use ottla_offline::Dump;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden")
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn dump(file: &Path) -> Dump {
    let name = file.to_string_lossy().into_owned();
    Dump {
        files: vec![file.to_owned()],
        deep_iteration: true,
        print_data_log: true,
        offsets_decoder: name.contains("__consumer_offsets"),
        transaction_log_decoder: name.contains("__transaction_state"),
        share_group_state_decoder: name.contains("__share_group_state"),
        cluster_metadata_decoder: name.contains(".checkpoint")
            || name.contains("__cluster_metadata"),
        max_bytes: u64::MAX,
        ..Dump::default()
    }
}

#[test]
fn every_file_is_shown_as_kafka_shows_it() {
    let (data, expected) = (golden().join("data-dir"), golden().join("expected"));
    let (mut compared, mut wrong) = (0, Vec::new());
    for wanted in files(&expected) {
        let place = wanted.strip_prefix(&expected).unwrap().to_string_lossy().into_owned();
        let Some(place) = place.strip_suffix(".txt").filter(|it| !it.starts_with("described"))
        else {
            continue;
        };
        let mut out = Vec::new();
        dump(&data.join(place)).run(&mut out).unwrap();
        let shown = String::from_utf8(out).unwrap().replace(&format!("{}/", data.display()), "");
        let wanted = fs::read_to_string(&wanted).unwrap();
        let differs = shown.lines().zip(wanted.lines()).find(|(a, b)| a != b);
        if let Some((ours, theirs)) = differs {
            wrong.push(format!("{place}\n  ours   {ours}\n  theirs {theirs}"));
        } else if shown.lines().count() != wanted.lines().count() {
            wrong.push(format!("{place}: {} lines", shown.lines().count()));
        }
        compared += 1;
    }
    assert_eq!(compared, 261);
    assert!(wrong.is_empty(), "{} files\n{}", wrong.len(), wrong[..wrong.len().min(8)].join("\n"));
}

#[test]
fn a_file_that_is_none_of_a_logs_is_refused() {
    let mut out = Vec::new();
    let refused = dump(&golden().join("README.md")).run(&mut out).unwrap_err();
    assert!(refused.to_string().contains("README.md: not a .log"), "{refused}");
}

#[test]
fn an_index_that_cannot_be_one_fails_its_sanity_check() {
    let work = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8]| {
        let path = work.path().join(name);
        fs::write(&path, bytes).unwrap();
        let mut out = Vec::new();
        let done = Dump { index_sanity_check: true, ..dump(&path) }.run(&mut out);
        done.map(|()| String::from_utf8(out).unwrap())
    };
    let (index, times) = ("00000000000000000007.index", "00000000000000000007.timeindex");
    assert!(check(index, &[0, 0, 0, 1, 0, 0, 0, 9]).unwrap().contains("passed sanity check"));
    assert!(check(times, &[0; 24]).unwrap().contains("passed sanity check"));
    let halved = check(index, &[0; 12]).unwrap_err().to_string();
    assert!(halved.contains("12 bytes are not a multiple"), "{halved}");
    let before = check(index, &[255, 255, 255, 254, 0, 0, 0, 9]).unwrap_err().to_string();
    assert!(before.contains("lies 2 before"), "{before}");
    assert!(check(times, &[255; 12]).is_err());
}
