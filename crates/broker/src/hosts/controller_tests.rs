use super::*;
use crate::hosts::quorum_member::QuorumMember;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Waker};

use ottla_clock::{ClockTraits, SimulatedTime};
use ottla_locks::Mutex;
use ottla_metadata::{ControllerSettings, ProducerIdBlock, bootstrap_records};
use ottla_partitions::{DiskFiles, Fault, FaultyFiles, Files};
use ottla_quorum::{Candidacy, ReplicaKey, Setup, Timing, Voter, VoterSet};
use ottla_settings::{SettingRules, Settings};
use ottla_types::{Offset, ProducerId, Uuid};
use tokio::sync::oneshot::error::TryRecvError;

/// A controller on a disk that can be made to fail, in simulated time.
struct ControllerBench {
    folder: tempfile::TempDir,
    disk: FaultyFiles,
    time: SimulatedTime,
    lane: Lane,
    controller: ControllerHandle,
    /// The offsets at which metadata was published.
    published: Arc<Mutex<Vec<Offset>>>,
}

const NO_SNAPSHOTS: SnapshotRules = SnapshotRules {
    between_bytes: u64::MAX,
    interval: None,
    retention: LogRetention { bytes_max: None, ms_max: None },
};

/// An answer that was asked for.
type TestAnswer = oneshot::Receiver<ControllerReply>;

impl ControllerBench {
    fn new() -> Self {
        Self::with_snapshots(NO_SNAPSHOTS)
    }

    fn with_snapshots(rules: SnapshotRules) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = FaultyFiles::new(Arc::new(DiskFiles));
        let time = SimulatedTime::new();
        let clock = Clock::simulated(&time, ClockTraits { wall_ms: 1_000, drift_ppm: 0, seed: 7 });
        let controller = controller(&disk, folder.path(), &clock);
        let lane = Lane::simulated(&clock, Duration::from_millis(5));
        let published = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&published);
        controller.serve(&lane, MetadataImage::default(), rules, move |news: Option<News>| {
            told.lock().extend(news.map(|news| news.offset));
            Duration::MAX
        });
        let scene = Self { folder, disk, time, lane, controller, published };
        scene.run();
        scene.published.lock().clear();
        scene
    }

    /// Lets time pass until nothing is left to be done.
    fn run(&self) {
        let mut drive = std::pin::pin!(self.lane.drive());
        let mut context = Context::from_waker(Waker::noop());
        while drive.as_mut().poll(&mut context).is_pending() {
            let Some(at) = self.time.next_deadline() else { return };
            self.time.advance_to(at);
        }
    }

    /// Asks for a block of producer ids, which is written down.
    fn allocate(&self) -> Result<TestAnswer, ErrorCode> {
        self.controller.start(NEXT_IDS)
    }

    /// Appends a record after this time, and lets what follows from it happen.
    fn append_after(&self, time: Duration) {
        let now = self.controller.0.clock.monotonic();
        self.time.advance_to(now + time);
        drop(self.allocate().expect("accepted"));
        self.run();
    }

    /// The snapshots on the disk, the oldest first.
    fn snapshots(&self) -> Vec<String> {
        let folder = self.folder.path().join(ottla_quorum::FOLDER);
        let listed = self.disk.list(&folder).expect("a folder");
        let names = listed.into_iter().map(|it| it.name);
        names.filter(|name| name.ends_with(".checkpoint")).collect()
    }

    fn published(&self) -> usize {
        self.published.lock().len()
    }

    fn is_failed(&self) -> bool {
        let failed = std::pin::pin!(self.controller.failed());
        failed.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

fn controller(disk: &FaultyFiles, folder: &Path, clock: &Clock) -> ControllerHandle {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let own = ReplicaKey { id: 1, directory: Uuid::of(5) };
    let voter = Voter { key: own, endpoints: Vec::new(), kraft_versions: (0, 1) };
    let opened = Quorum::open(Setup {
        files,
        dir: folder.to_owned(),
        own: voter.clone(),
        candidacy: Candidacy::ByOperator,
        timing: Timing::default(),
        static_voters: VoterSet::of([voter.clone()]),
        clean: false,
        segment_bytes: 1 << 20,
        clock: clock.clone(),
    });
    let settings = Arc::new(Settings::read(None, &[]).expect("settings"));
    let make: MakeController = Box::new(move |cluster, _| {
        let rules = SettingRules { settings: Arc::clone(&settings), node: 1 };
        Controller::new(cluster, ControllerSettings::default(), Box::new(rules))
    });
    let member = QuorumMember::new(clock.clone(), voter, opened.expect("opens").quorum);
    ControllerHandle::new(clock.clone(), Arc::new(member), bootstrap_records(), make)
}

fn first_id(answer: &mut TestAnswer) -> Result<ProducerId, TryRecvError> {
    let block: Result<ProducerIdBlock, ErrorCode> = ottla_machine::expect_reply(answer.try_recv()?);
    Ok(block.expect("ids").first)
}

/// Asks for the next producer ids.
const NEXT_IDS: ControllerCommand =
    ControllerCommand::AllocateProducerIds { broker: 1, broker_epoch: None };

#[test]
fn commands_that_come_together_are_committed_together() {
    let scene = ControllerBench::new();
    let mut answers: Vec<TestAnswer> =
        (0..3).map(|_| scene.allocate().expect("accepted")).collect();
    let early: Vec<_> = answers.iter_mut().map(first_id).collect();
    assert!(early.iter().all(|it| *it == Err(TryRecvError::Empty)), "nothing is durable");
    scene.run();
    let ids: Vec<_> = answers.iter_mut().map(first_id).collect();
    assert_eq!(ids, [Ok(0), Ok(1000), Ok(2000)]);
    assert_eq!(scene.published(), 1, "one commit");
}

#[test]
fn an_answer_leaves_when_the_node_is_what_the_metadata_says() {
    let scene = ControllerBench::new();
    let answer = Arc::new(Mutex::new(None::<TestAnswer>));
    let (seen, early) = (Arc::clone(&answer), Arc::new(Mutex::new(Vec::new())));
    let tried = Arc::clone(&early);
    // Another controller on the same lane, whose publishing looks at its own answer.
    let other = tempfile::tempdir().expect("a folder");
    let clock = Clock::simulated(&scene.time, ClockTraits { wall_ms: 0, drift_ppm: 0, seed: 8 });
    let controller = controller(&scene.disk, other.path(), &clock);
    controller.serve(&scene.lane, MetadataImage::default(), NO_SNAPSHOTS, move |_| {
        if let Some(answer) = seen.lock().as_mut() {
            tried.lock().push(first_id(answer));
        }
        Duration::MAX
    });
    scene.run();
    let asked = controller.start(NEXT_IDS);
    *answer.lock() = Some(asked.expect("accepted"));
    scene.run();
    assert_eq!(*early.lock(), [Err(TryRecvError::Empty)], "while it is published");
    assert_eq!(first_id(answer.lock().as_mut().expect("it is asked for")), Ok(0));
}

#[test]
fn what_is_left_of_publishing_is_done_without_news() {
    let scene = ControllerBench::new();
    let other = tempfile::tempdir().expect("a folder");
    let clock = Clock::simulated(&scene.time, ClockTraits { wall_ms: 0, drift_ppm: 0, seed: 8 });
    let controller = controller(&scene.disk, other.path(), &clock);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (called, at) = (Arc::clone(&calls), clock.clone());
    let has_begun = Arc::new(AtomicBool::new(false));
    let counts = Arc::clone(&has_begun);
    controller.serve(&scene.lane, MetadataImage::default(), NO_SNAPSHOTS, move |news| {
        if !counts.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        let mut called = called.lock();
        called.push((news.is_some(), at.monotonic().as_secs()));
        if called.len() < 3 { Duration::from_secs(10) } else { Duration::MAX }
    });
    scene.run();
    has_begun.store(true, Ordering::Relaxed);
    let _answer = controller.start(NEXT_IDS);
    scene.run();
    let calls = calls.lock();
    let begun = calls[0].1;
    assert_eq!(*calls, [(true, begun), (false, begun + 10), (false, begun + 20)]);
}

#[test]
fn a_log_that_cannot_be_made_durable_stops_the_node() {
    let scene = ControllerBench::new();
    scene.disk.set(scene.folder.path(), Some(Fault::Syncs));
    let mut answer = scene.allocate().expect("accepted");
    assert!(!scene.is_failed());
    scene.run();
    assert_eq!(first_id(&mut answer), Err(TryRecvError::Closed));
    assert!(scene.is_failed());
    assert_eq!(scene.published(), 0);
    assert_eq!(scene.allocate().err(), Some(ErrorCode::NOT_CONTROLLER));
    assert!(scene.controller.stop().is_none(), "its log is not closed cleanly");
}

#[test]
fn a_write_that_fails_stops_the_node() {
    let scene = ControllerBench::new();
    let mut before = scene.allocate().expect("accepted");
    scene.disk.set(scene.folder.path(), Some(Fault::Writes));
    assert_eq!(scene.allocate().err(), Some(ErrorCode::NOT_CONTROLLER));
    scene.run();
    assert_eq!(first_id(&mut before), Err(TryRecvError::Closed));
    assert!(scene.is_failed());
}

#[test]
fn a_full_disk_refuses_a_command_and_the_controller_goes_on() {
    let scene = ControllerBench::new();
    scene.disk.set(scene.folder.path(), Some(Fault::Full));
    for _ in 0..2 {
        assert_eq!(scene.allocate().err(), Some(ErrorCode::KAFKA_STORAGE_ERROR));
    }
    scene.disk.set(scene.folder.path(), None);
    let mut answer = scene.allocate().expect("accepted");
    scene.run();
    assert_eq!(first_id(&mut answer), Ok(0), "no id is lost by a refusal");
    assert!(!scene.is_failed());
}

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn snapshots_are_written_by_size_and_by_age() {
    let by_age = SnapshotRules { interval: Some(HOUR), ..NO_SNAPSHOTS };
    let scene = ControllerBench::with_snapshots(by_age);
    scene.append_after(HOUR / 2);
    assert_eq!(scene.snapshots().len(), 0, "not yet");
    scene.append_after(HOUR / 2);
    assert_eq!(scene.snapshots().len(), 1, "an hour after the start");
    scene.append_after(SECOND);
    assert_eq!(scene.snapshots().len(), 1, "the next is due in an hour");
    scene.append_after(HOUR);
    assert_eq!(scene.snapshots().len(), 2);

    let by_size = SnapshotRules { between_bytes: 400, ..NO_SNAPSHOTS };
    let scene = ControllerBench::with_snapshots(by_size);
    let counts = [1, 2, 3, 4, 5, 6, 7, 8].map(|_| {
        scene.append_after(SECOND);
        scene.snapshots().len()
    });
    // A batch with one record has some 100 bytes.
    assert!((1..=2).contains(&(counts[7] - counts[0])), "{counts:?}");
}

#[test]
fn old_snapshots_go_with_their_part_of_the_log() {
    let often = SnapshotRules { between_bytes: 1, ..NO_SNAPSHOTS };
    let kept = |retention: LogRetention, times: [Duration; 3]| {
        let scene = ControllerBench::with_snapshots(SnapshotRules { retention, ..often });
        times.into_iter().for_each(|time| scene.append_after(time));
        let start = scene.controller.member().look(Quorum::log_start).expect("open");
        (scene.snapshots().len(), start > 0)
    };
    let no_limit = LogRetention::default();
    let (all, is_cut) = kept(no_limit, [SECOND; 3]);
    assert!(all >= 3 && !is_cut, "{all}");
    let by_age = LogRetention { ms_max: Some(60_000), ..no_limit };
    assert_eq!(kept(by_age, [SECOND; 3]), (all, false), "none is a minute old");
    // Those of 3 and of 2 hours ago are gone, that of an hour ago and the newest are not.
    let by_age = LogRetention { ms_max: Some(90 * 60_000), ..no_limit };
    assert_eq!(kept(by_age, [HOUR; 3]), (2, true));
    let by_size = LogRetention { bytes_max: Some(1), ..no_limit };
    assert_eq!(kept(by_size, [SECOND; 3]), (1, true));
}
