//! Directories of a genuine Kafka, as they are and with something broken.

use std::fs;
use std::path::{Path, PathBuf};

use ottla_offline::{Doctor, Findings, Severity};

use crate::{files, golden};

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let place = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&file, &place).unwrap();
    }
}

fn look(dir: &Path, thorough: bool) -> Findings {
    Doctor { offline: dir.to_owned(), thorough }.look().unwrap()
}

fn state(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(dir).into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

#[test]
fn a_directory_that_was_left_cleanly_is_well() {
    let work = tempfile::tempdir().unwrap();
    copy(&golden().join("data-dir"), work.path());
    fs::write(work.path().join(".kafka_cleanshutdown"), "{}").unwrap();
    let before = state(work.path());
    let found = look(work.path(), true);
    assert_eq!(found.all, []);
    assert_eq!(found.to_read_bytes, 0);
    assert!(found.partitions >= 39, "{}", found.partitions);
    assert_eq!(state(work.path()), before, "nothing was changed");
}

#[test]
fn what_a_start_after_a_crash_would_do_is_told() {
    let found = look(&golden().join("data-dir-crashed"), false);
    let cut = found.all.iter().find(|(_, place, _)| place.contains("crash-0/")).unwrap();
    assert_eq!(cut.0, Severity::Warning);
    assert!(cut.2.contains("after offset 95"), "{}", cut.2);
    assert!(found.to_read_bytes > 5693);
}

#[test]
fn each_kind_of_trouble_is_told() {
    let work = tempfile::tempdir().unwrap();
    copy(&golden().join("data-dir"), work.path());
    let dir = work.path();
    fs::write(dir.join(".kafka_cleanshutdown"), "{}").unwrap();
    fs::write(dir.join("log-start-offset-checkpoint"), "0\n7\nhalf").unwrap();
    fs::write(dir.join("segs-0/00000000000000000060.log.cleaned"), "").unwrap();
    fs::remove_file(dir.join("segs-0/00000000000000000120.index")).unwrap();
    fs::create_dir(dir.join("gone-0.abc-delete")).unwrap();
    fs::create_dir(dir.join("what is this")).unwrap();
    let rotten = dir.join("segs-0/00000000000000000180.log");
    let mut bytes = fs::read(&rotten).unwrap();
    bytes[70] ^= 1;
    fs::write(&rotten, &bytes).unwrap();
    let found = look(dir, true).all;
    let has = |severity, place: &str, what: &str| {
        found.iter().any(|it| it.0 == severity && it.1.contains(place) && it.2.contains(what))
    };
    assert!(has(Severity::Warning, "log-start-offset-checkpoint", "count"), "{found:?}");
    assert!(has(Severity::Note, "060.log.cleaned", "a start removes it"));
    assert!(has(Severity::Note, "120.log", "no .index"));
    assert!(has(Severity::Note, "gone-0.abc-delete", "deleted topic"));
    assert!(has(Severity::Warning, "what is this", "left alone"));
    assert!(has(Severity::Error, "180.log", "checksum"), "{found:?}");
    assert_eq!(found.len(), 6);
    assert!(!look(dir, false).all.iter().any(|it| it.0 == Severity::Error), "it was not read");
}
