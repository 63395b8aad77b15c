//! A quorum of one voter made of a survivor's log; backups of a log that is being written.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::topic_record::TopicRecord;
use ottla_quorum::{
    BackupOf, BreakKind, Candidacy, FOLDER, LogEnd, LogSurvey, Quorum, ReplicaKey, Setup,
    SoleVoter, Timing, Voter, VoterSet, back_up_metadata,
};
use ottla_storage::{DiskFiles, Fate, Files, SimDisk};

use crate::{files, format_first, formatted, versioned, voter};

const LOG: &str = "00000000000000000000.log";

/// Node 2, which was no voter when the directory was formatted.
fn other_voter() -> Voter {
    let directory = "MvDxzVmcRsaTz33bUuRU6A".parse().unwrap();
    let mut other = Voter { key: ReplicaKey { id: 2, directory }, ..voter() };
    other.endpoints[0].port = 19094;
    other
}

fn open(dir: &Path, own: Voter) -> Quorum {
    open_on(files(), dir, own)
}

fn open_on(files: Arc<dyn Files>, dir: &Path, own: Voter) -> Quorum {
    let setup = Setup {
        files,
        dir: dir.to_owned(),
        own,
        candidacy: Candidacy::ByOperator,
        timing: Timing::default(),
        static_voters: VoterSet::default(),
        clean: false,
        segment_bytes: 1 << 30,
        clock: Clock::manual(1000),
    };
    Quorum::open(setup).unwrap().quorum
}

fn topic(name: &str) -> MetadataRecord {
    TopicRecord { name: name.to_owned(), ..Default::default() }.into()
}

/// Appends a topic and makes it durable, so that the only voter commits it.
fn append_topic(quorum: &mut Quorum, name: &str) {
    let (epoch, end) = (quorum.leads().unwrap(), quorum.log_end());
    quorum.append(epoch, end, &[versioned(&topic(name))]).unwrap();
    let store = quorum.begin_store().unwrap();
    let done = store.run();
    quorum.end_store(&store, done).unwrap();
}

/// A directory whose only voter is node 1, with two topics.
fn written(dir: &Path) {
    formatted(dir);
    let mut quorum = open(dir, voter());
    append_topic(&mut quorum, "one");
    append_topic(&mut quorum, "two");
    quorum.close().unwrap();
}

fn survey(dir: &Path) -> LogSurvey {
    LogSurvey::read(&DiskFiles, dir, VoterSet::default()).unwrap()
}

fn sole_voter(dir: &Path, own: Voter) -> SoleVoter {
    SoleVoter { files: files(), dir: dir.to_owned(), own, segment_bytes: 1 << 30, now_ms: 2000 }
}

#[test]
fn a_survivor_leads_alone_in_an_epoch_that_no_other_can_have_seen() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path();
    written(dir);
    let before = survey(dir);
    assert_eq!((before.end.epoch, before.epoch, before.kraft_version), (1, 1, 1));
    assert_eq!(before.undecided, 2, "{:?}", before.records);
    let kept = fs::read(dir.join(FOLDER).join(LOG)).unwrap();
    let end = sole_voter(dir, other_voter()).make(&before).unwrap();
    // Two records: node 2 becomes a voter, node 1 ceases to be one.
    assert_eq!(end, LogEnd { epoch: 1001, offset: before.end.offset + 2 });
    let log = fs::read(dir.join(FOLDER).join(LOG)).unwrap();
    assert!(log.starts_with(&kept), "the log is continued, not rewritten");
    let after = survey(dir);
    let voters: Vec<&Voter> = after.voters.iter().collect();
    assert_eq!((voters, after.epoch), (vec![&other_voter()], 1001));
    assert_eq!(after.records, before.records);
    let state = fs::read_to_string(dir.join(FOLDER).join("quorum-state")).unwrap();
    assert!(state.contains("\"leaderId\":-1,\"leaderEpoch\":1001,\"votedId\":-1"), "{state}");
    let mut quorum = open(dir, other_voter());
    assert_eq!((quorum.leads(), quorum.committed()), (Some(1002), quorum.log_end()));
    append_topic(&mut quorum, "three");
    assert_eq!(quorum.committed(), quorum.log_end());
    quorum.close().unwrap();
    assert!(survey(dir).records.contains(&topic("three")));
}

#[test]
fn each_voter_that_goes_has_a_record_of_its_own() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path();
    written(dir);
    // Three voters, of which node 1 is one.
    let mut three = survey(dir);
    let third = Voter { key: ReplicaKey { id: 3, ..other_voter().key }, ..other_voter() };
    three.voters = VoterSet::of([voter(), other_voter(), third]);
    let end = sole_voter(dir, voter()).make(&three).unwrap();
    assert_eq!(end.offset, three.end.offset + 2);
    assert!(survey(dir).voters.is_only(voter().key));
}

#[test]
fn static_voters_stay_in_the_settings_and_only_the_epoch_is_raised() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path();
    written(dir);
    let mut before = survey(dir);
    before.kraft_version = 0;
    let end = sole_voter(dir, voter()).make(&before).unwrap();
    assert_eq!(end, before.end);
    let state = fs::read_to_string(dir.join(FOLDER).join("quorum-state")).unwrap();
    assert!(state.contains("\"leaderEpoch\":1001"), "{state}");
}

#[test]
fn a_survey_says_where_a_log_is_broken_and_how() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path();
    written(dir);
    let path = dir.join(FOLDER).join(LOG);
    let whole = fs::read(&path).unwrap();
    let last = ottla_records::batches_in(&whole).last().unwrap().unwrap();
    let (at, offset) = (whole.len() - last.size(), last.base_offset());
    let mut flipped = whole.clone();
    flipped[at + 70] ^= 1;
    let header = whole[..at + 10].to_vec();
    let cases = [
        (flipped, BreakKind::Damaged, "checksum"),
        (whole[..whole.len() - 1].to_vec(), BreakKind::CutOff, "more"),
        (header, BreakKind::CutOff, "header"),
        ([&whole[..], &whole[at..]].concat(), BreakKind::Damaged, "is due"),
    ];
    for (bytes, kind, why) in cases {
        let (is_behind, size) = (bytes.len() > whole.len(), bytes.len());
        fs::write(&path, bytes).unwrap();
        let broken = survey(dir).broken.unwrap();
        let at = if is_behind { whole.len() } else { at };
        assert_eq!((broken.kind, broken.position), (kind, at as u64), "{broken}");
        assert_eq!(broken.left_bytes, (size - at) as u64, "{broken}");
        assert_eq!(broken.offset, if is_behind { offset + 1 } else { offset }, "{broken}");
        assert!(broken.to_string().contains(why), "{broken}");
    }
    // What is cut off then is what the survey has said.
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let found = survey(dir);
    let end = sole_voter(dir, other_voter()).make(&found).unwrap();
    assert_eq!(end.offset, offset + 2);
    assert!(survey(dir).broken.is_none());
}

#[test]
fn a_backup_of_a_log_that_is_written_ends_at_a_whole_batch() {
    let work = tempfile::tempdir().unwrap();
    let (dir, to) = (&work.path().join("data"), &work.path().join("kept/backup"));
    fs::create_dir(dir).unwrap();
    written(dir);
    fs::write(dir.join("meta.properties"), "node.id=1\n").unwrap();
    let path = dir.join(FOLDER).join(LOG);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], &whole[..30]].concat()).unwrap();
    let back_up =
        |to: &Path, kind| back_up_metadata(&DiskFiles, [dir, to], kind, &VoterSet::default());
    let held = back_up(to, BackupOf::Records).unwrap();
    assert_eq!(held.end, survey(dir).end);
    assert_eq!(fs::read(to.join(FOLDER).join(LOG)).unwrap(), whole);
    for name in ["meta.properties", "bootstrap.checkpoint", "__cluster_metadata-0/quorum-state"] {
        assert_eq!(fs::read(dir.join(name)).unwrap(), fs::read(to.join(name)).unwrap(), "{name}");
    }
    // It is a directory that a node starts in.
    assert_eq!(open(to, voter()).leads(), Some(2));
    let again = back_up(to, BackupOf::Records).unwrap_err();
    assert!(again.to_string().contains("exists"), "{again}");
    // A copy of everything is of the bytes, broken or not.
    let all = &work.path().join("all");
    back_up(all, BackupOf::Everything).unwrap();
    assert_eq!(fs::read(all.join(FOLDER).join(LOG)).unwrap().len(), whole.len() + 30);
    // What is damaged is no backup.
    let mut flipped = whole;
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&path, flipped).unwrap();
    let refused = back_up(&work.path().join("no"), BackupOf::Records).unwrap_err();
    assert!(refused.to_string().contains("checksum"), "{refused}");
    assert!(!work.path().join("no").exists());
}

/// As [`written`], on a disk whose power can be cut.
fn written_on(disk: &SimDisk, dir: &Path) {
    format_first(disk, dir).unwrap();
    let mut quorum = open_on(disk.files(), dir, voter());
    append_topic(&mut quorum, "one");
    append_topic(&mut quorum, "two");
    quorum.close().unwrap();
}

fn sole_voter_on(disk: &SimDisk, dir: &Path) -> SoleVoter {
    SoleVoter { files: disk.files(), ..sole_voter(dir, other_voter()) }
}

#[test]
fn a_recovery_that_a_power_cut_ends_is_carried_out_again() {
    let dir = Path::new("/data");
    let read = |disk: &SimDisk| LogSurvey::read(&*disk.files(), dir, VoterSet::default()).unwrap();
    let whole = SimDisk::new(1);
    written_on(&whole, dir);
    let (before, records) = (whole.changes(), read(&whole).records);
    sole_voter_on(&whole, dir).make(&read(&whole)).unwrap();
    let changes = whole.changes() - before;
    let mut again = 0;
    for (cut, seed) in (0..=changes).flat_map(|cut| (0..10).map(move |seed| (cut, seed))) {
        let disk = SimDisk::new(seed);
        written_on(&disk, dir);
        let found = read(&disk);
        disk.cut_power_after(cut);
        let done = sole_voter_on(&disk, dir).make(&found).is_ok();
        disk.power_cut_as(Fate::Torn(seed));
        let left = read(&disk);
        assert_eq!(left.records, records, "cut after {cut}, seed {seed}");
        let is_only = left.voters.is_only(other_voter().key);
        assert!(is_only || !done, "cut after {cut}, seed {seed}: it was on the disk");
        if !is_only {
            assert_eq!(left.voters.len(), 1, "cut after {cut}, seed {seed}: {:?}", left.voters);
            sole_voter_on(&disk, dir).make(&left).unwrap();
            again += 1;
        }
        let quorum = open_on(disk.files(), dir, other_voter());
        assert!(quorum.leads() > Some(1001), "cut after {cut}, seed {seed}");
        assert_eq!(quorum.committed(), quorum.log_end(), "cut after {cut}, seed {seed}");
    }
    assert!(again > 0, "every cut came too late");
}
