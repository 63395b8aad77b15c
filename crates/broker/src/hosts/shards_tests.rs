use super::super::groups::{GroupKind, Groups, TOPIC};
use super::super::lanes::HostLanes;
use super::*;
use ottla_coordinator::group::{GroupCommand, GroupSettings};
use ottla_partitions::{
    Assigned, Assignment, DataDir, DiskFiles, Ends, Fault, FaultyFiles, Files, PartitionRules,
    Partitions,
};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_commit_response::OffsetCommitResponse;
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_types::{TopicPartition, Uuid};
use std::path::Path;

/// One partition of the topic on a disk that can be made to fail, led by node 1.
struct ShardBench {
    clock: Clock,
    folder: tempfile::TempDir,
    disk: FaultyFiles,
    partitions: Partitions,
    groups: Groups,
}

impl ShardBench {
    fn new() -> Self {
        Self::open(tempfile::tempdir().expect("a folder"))
    }

    fn open(folder: tempfile::TempDir) -> Self {
        let disk = FaultyFiles::new(Arc::new(DiskFiles));
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let dir = DataDir::open(files, folder.path()).expect("opens").expect("is free");
        let clock = Clock::manual(1_000);
        let dirs = vec![(dir, Uuid::of(500), false)];
        let partitions = Partitions::new(1, clock.clone(), dirs).expect("opens");
        let loading = HostLanes::threads(1).loading;
        let groups = Groups::new(clock.clone(), loading, GroupSettings::default());
        Self { clock, folder, disk, partitions, groups }
    }

    /// Of the replicas on nodes 1 and 2, these are in sync, and so many have to be; in leader epoch
    /// 4.
    fn assign(&self, in_sync: &[i32], in_sync_min: usize) {
        self.assign_in_epoch(4, in_sync, in_sync_min);
        self.groups.reconcile(&self.partitions);
    }

    /// The same of the partition, in this leader epoch; the coordinators do not know yet.
    fn assign_in_epoch(&self, leader_epoch: i32, in_sync: &[i32], in_sync_min: usize) {
        let assignment = Assignment {
            leader: 1,
            leader_epoch,
            partition_epoch: 0,
            replicas: vec![1, 2],
            in_sync: in_sync.to_vec(),
            ..Assignment::default()
        };
        let wanted = Assigned {
            place: TopicPartition::new(TOPIC, 0),
            topic_id: Uuid::of(700),
            directory: Uuid::ZERO,
            assignment,
            rules: PartitionRules { in_sync_min, compacted: true, ..PartitionRules::default() },
        };
        let failed = self.partitions.reconcile(&[wanted]);
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// The partition is no longer on this node.
    fn leave(&self) {
        self.partitions.reconcile(&[]);
        self.groups.reconcile(&self.partitions);
    }

    fn ends(&self) -> Ends {
        self.partitions.find(TOPIC, 0).expect("is there").ends()
    }

    fn fault(&self, fault: Option<Fault>) {
        let path: &Path = self.folder.path();
        self.disk.set(path, fault);
    }

    fn host(&self) -> Arc<ShardHost<GroupKind>> {
        self.groups.at(0).expect("is ready")
    }

    /// Commits an offset; the error that the client is sent if the coordinator does not answer.
    fn commit(&self, offset: i64) -> Result<(), ErrorCode> {
        let host = self.groups.at(0)?;
        let answer: OffsetCommitResponse = block_on(ask_coordinator(&host, commit_of(offset)))?;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "the coordinator's own answer");
        Ok(())
    }

    fn committed(&self) -> i64 {
        let topic = OffsetFetchRequestTopics {
            name: "t".to_owned(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let request = OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let command = GroupCommand::FetchOffsets { request, require_stable: false };
        let answer: OffsetFetchResponseGroup =
            block_on(ask_coordinator(&self.host(), command)).expect("an answer");
        answer.topics[0].partitions[0].committed_offset
    }
}

fn commit_of(offset: i64) -> GroupCommand {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "t".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    GroupCommand::CommitOffsets { request, version: 2 }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(future)
}

#[test]
fn too_few_replicas_refuse_a_request_and_the_coordinator_goes_on() {
    let scene = ShardBench::new();
    scene.assign(&[1], 2);
    let host = scene.host();
    assert_eq!(scene.commit(5), Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(scene.commit(6), Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(scene.committed(), -1, "what writes nothing is answered");
    scene.assign(&[1], 1);
    assert_eq!(scene.commit(7), Ok(()));
    assert_eq!(scene.committed(), 7);
    assert!(Arc::ptr_eq(&host, &scene.host()), "it was not loaded again");
}

#[test]
fn a_coordinator_that_lost_its_journal_is_loaded_again() {
    let scene = ShardBench::new();
    scene.assign(&[1], 1);
    assert_eq!(scene.commit(5), Ok(()));
    scene.fault(Some(Fault::Full));
    assert_eq!(scene.commit(6), Err(ErrorCode::NOT_COORDINATOR));
    assert_eq!(scene.groups.at(0).err(), Some(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    let again = scene.groups.begin_again();
    assert_eq!((again.len(), scene.groups.begin_again().len()), (1, 0), "once");
    again.into_iter().for_each(|load| scene.groups.finish(load));
    assert_eq!(scene.committed(), 5);
    // There is no room still: from now on only the requests fail.
    let host = scene.host();
    assert_eq!(scene.commit(6), Err(ErrorCode::NOT_COORDINATOR));
    assert!(Arc::ptr_eq(&host, &scene.host()));
    scene.fault(None);
    assert_eq!(scene.commit(8), Ok(()));
    assert_eq!(scene.committed(), 8);
}

#[test]
fn a_coordinator_is_loaded_whose_last_records_were_compacted_away() {
    let scene = ShardBench::new();
    scene.assign(&[1], 1);
    assert_eq!(scene.commit(5), Ok(()));
    let folder = scene.folder.path().join(format!("{TOPIC}-0"));
    let segment = |base: u64| {
        std::fs::File::options()
            .append(true)
            .create(true)
            .open(folder.join(format!("{base:020}.log")))
    };
    let bytes = segment(0).and_then(|file| file.metadata()).expect("is there").len();
    assert_eq!(scene.commit(6), Ok(()));
    let ShardBench { folder: kept, partitions, groups, .. } = scene;
    partitions.close(1).expect("closes");
    drop((groups, partitions));
    // The log ends at 2, as before, behind a hole.
    segment(0).and_then(|file| file.set_len(bytes)).expect("is cut");
    segment(2).expect("is made");
    let scene = ShardBench::open(kept);
    scene.assign(&[1], 1);
    assert_eq!(scene.partitions.find(TOPIC, 0).expect("is there").ends().log_end, 2);
    assert_eq!(scene.committed(), 5);
    assert_eq!(scene.commit(7), Ok(()));
    assert_eq!(scene.committed(), 7);
}

#[test]
fn a_coordinator_is_loaded_once_its_log_can_be_read_again() {
    let scene = ShardBench::new();
    scene.assign(&[1], 1);
    assert_eq!(scene.commit(5), Ok(()));
    scene.host().unload();
    scene.fault(Some(Fault::Reads));
    scene.groups.begin_again().into_iter().for_each(|load| scene.groups.finish(load));
    assert_eq!(scene.groups.at(0).err(), Some(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    scene.fault(None);
    assert_eq!(scene.groups.begin_again().len(), 0, "not at once");
    scene.clock.advance(10_000);
    let again = scene.groups.begin_again();
    assert_eq!(again.len(), 1);
    again.into_iter().for_each(|load| scene.groups.finish(load));
    assert_eq!(scene.committed(), 5);
}

/// Runs the coordinators while this test's clock stands still.
fn beside_coordinators<T>(scene: &ShardBench, work: impl Future<Output = T>) -> T {
    block_on(async {
        tokio::select! {
            biased;
            done = work => done,
            () = scene.groups.tick() => unreachable!("it does not return"),
        }
    })
}

#[test]
fn a_coordinator_is_loaded_when_all_of_its_log_has_committed() {
    let scene = ShardBench::new();
    scene.assign(&[1], 1);
    assert_eq!(scene.commit(5), Ok(()));
    // Node 2 counts as in sync and does not fetch, so that this does not commit.
    scene.assign(&[1, 2], 1);
    let _answer = scene.host().start(commit_of(6)).expect("it is appended");
    assert!(scene.ends().high_watermark < scene.ends().log_end);
    scene.host().unload();
    let loads = scene.groups.begin_again();
    assert_eq!(loads.len(), 1);
    loads.into_iter().for_each(|load| scene.groups.finish(load));
    assert_eq!(scene.groups.at(0).err(), Some(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    assert!(scene.groups.is_loading());
    assert_eq!(scene.groups.begin_committed().len(), 0, "not yet");
    // Time does not pass: it is the watermark that the load waits for.
    beside_coordinators(&scene, async {
        tokio::task::yield_now().await;
        scene.assign(&[1], 1);
        while scene.groups.at(0).is_err() {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(scene.committed(), 6);
}

#[test]
fn an_answer_leaves_when_the_watermark_passes_and_not_at_a_tick() {
    let scene = ShardBench::new();
    scene.assign(&[1, 2], 1);
    let host = scene.host();
    let committed: Result<OffsetCommitResponse, ErrorCode> = beside_coordinators(&scene, async {
        let mut answer = std::pin::pin!(ask_coordinator(&host, commit_of(5)));
        // Appended, and the task that watches commits has looked.
        for _ in 0..10 {
            assert!(poll_once(answer.as_mut()).await.is_none());
            tokio::task::yield_now().await;
        }
        scene.assign_in_epoch(4, &[1], 1);
        answer.await
    });
    assert!(committed.is_ok());
    assert_eq!(scene.committed(), 5);
}

/// Polls once.
async fn poll_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn a_coordinator_is_loaded_once_for_each_leader_epoch() {
    let scene = ShardBench::new();
    scene.assign(&[1], 1);
    assert_eq!(scene.commit(5), Ok(()));
    let host = scene.host();
    // Only the in-sync set has changed (KAFKA-15468).
    scene.assign(&[1, 2], 1);
    scene.assign(&[1], 1);
    assert!(Arc::ptr_eq(&host, &scene.host()));
    // The same leader, in its next epoch.
    scene.assign_in_epoch(6, &[1], 1);
    scene.groups.reconcile(&scene.partitions);
    assert!(host.is_lost() && !Arc::ptr_eq(&host, &scene.host()));
    assert_eq!(scene.committed(), 5);
}

#[test]
fn a_coordinator_neither_appends_nor_answers_in_another_epoch() {
    let scene = ShardBench::new();
    scene.assign(&[1, 2], 1);
    let host = scene.host();
    let mut waiting = host.start(commit_of(5)).expect("it is appended");
    // The next epoch has begun, and the coordinator is not unloaded yet. What lies in the log now
    // may be another leader's.
    scene.assign_in_epoch(6, &[1], 1);
    assert_eq!(scene.ends().high_watermark, 1, "all of it has committed");
    host.committed();
    assert_eq!(waiting.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty));
    let late: Result<OffsetCommitResponse, ErrorCode> =
        block_on(ask_coordinator(&host, commit_of(6)));
    assert_eq!(late.err(), Some(ErrorCode::NOT_COORDINATOR));
    assert_eq!(scene.ends().log_end, 1, "nothing was appended");
    scene.groups.reconcile(&scene.partitions);
    assert_eq!(waiting.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed));
    assert_eq!(scene.committed(), 5);
}

#[test]
fn a_load_of_an_earlier_epoch_is_dropped() {
    let scene = ShardBench::new();
    scene.assign(&[1], 1);
    assert_eq!(scene.commit(5), Ok(()));
    scene.host().unload();
    let earlier = scene.groups.begin_again();
    scene.assign_in_epoch(6, &[1], 1);
    scene.groups.reconcile(&scene.partitions);
    let host = scene.host();
    earlier.into_iter().for_each(|load| scene.groups.finish(load));
    assert!(Arc::ptr_eq(&host, &scene.host()));
    assert_eq!(scene.commit(6), Ok(()));
}

#[test]
fn when_its_partition_goes_every_request_is_answered() {
    let scene = ShardBench::new();
    scene.assign(&[1, 2], 1);
    let host = scene.host();
    // Node 2 has not fetched it.
    let mut waiting = host.start(commit_of(5)).expect("is taken");
    assert_eq!(waiting.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty));
    scene.leave();
    assert_eq!(waiting.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed));
    assert_eq!(scene.groups.at(0).err(), Some(ErrorCode::NOT_COORDINATOR));
    let late: Result<OffsetCommitResponse, ErrorCode> =
        block_on(ask_coordinator(&host, commit_of(6)));
    assert_eq!(late.err(), Some(ErrorCode::NOT_COORDINATOR));
}

#[test]
fn what_was_loaded_for_a_partition_that_has_gone_is_dropped() {
    let scene = ShardBench::new();
    scene.assign(&[1], 1);
    scene.host().unload();
    let again = scene.groups.begin_again();
    scene.leave();
    again.into_iter().for_each(|load| scene.groups.finish(load));
    assert_eq!(scene.groups.at(0).err(), Some(ErrorCode::NOT_COORDINATOR));
    scene.clock.advance(1);
}
