//! A replica whose disk is full must not count on what it could not append: it fails, or nothing
//! has happened.

use std::path::Path;
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_quorum::wire::FetchedPart;
use ottla_quorum::{
    Candidacy, FollowerRequest, Quorum, QuorumError, ReplicaKey, Setup, Standing, Timing, Voter,
    VoterSet,
};
use ottla_storage::SimDisk;
use ottla_types::Uuid;

/// More than an epoch's first batch needs, with the files beside the log.
const ROOM_MAX: u64 = 1_000;

fn voter(id: i32) -> Voter {
    let key = ReplicaKey { id, directory: Uuid::of(u64::from(id.unsigned_abs())) };
    Voter { key, endpoints: Vec::new(), kraft_versions: (0, 1) }
}

/// Opens the log of the voter `own` among these.
fn open(disk: &SimDisk, own: i32, voters: &[i32]) -> Result<Quorum, QuorumError> {
    let of = |id: &i32| {
        let one = voter(*id);
        Voter { key: ReplicaKey { directory: Uuid::ZERO, ..one.key }, ..one }
    };
    let dir = Path::new("/data");
    let files = disk.files();
    files.make_dir(dir).unwrap();
    let opened = Quorum::open(Setup {
        files: Arc::clone(&files),
        dir: dir.to_owned(),
        own: voter(own),
        candidacy: Candidacy::Automatic,
        timing: Timing::default(),
        static_voters: VoterSet::of(voters.iter().map(of)),
        clean: false,
        segment_bytes: 1 << 20,
        clock: Clock::manual(1_000),
    });
    opened.map(|it| it.quorum)
}

#[test]
fn a_voter_that_cannot_open_its_epoch_fails() {
    for room in 0..ROOM_MAX {
        let disk = SimDisk::new(room);
        disk.set_capacity(Some(room));
        match open(&disk, 1, &[1]) {
            Ok(quorum) => assert_eq!(quorum.log_end(), 1, "room for {room} bytes"),
            Err(error) => assert!(!error.is_refusal(), "room for {room} bytes: {error}"),
        }
    }
}

#[test]
fn a_follower_that_cannot_append_fails() {
    let leader = open(&SimDisk::new(1), 1, &[1]).unwrap();
    let records = leader.batches_from(0, 1 << 20).unwrap();
    let standing = Standing { epoch: leader.epoch(), leader: Some(1) };
    let disk = SimDisk::new(2);
    let mut follower = open(&disk, 2, &[1, 2]).unwrap();
    follower.heard(standing).unwrap();
    let asked = match follower.next_request() {
        Some(FollowerRequest::Fetch { fetch, .. }) => fetch,
        other => panic!("a follower fetches, and does not ask {other:?}"),
    };
    let room = records.len() as u64 - 1;
    disk.set_capacity(Some(disk.used_bytes() + room));
    let fetched = FetchedPart {
        standing,
        answer: None,
        high_watermark: Some(1),
        records,
        leaders: Vec::new(),
    };
    let error = follower.fetch_answered(1, asked, fetched).unwrap_err();
    assert!(!error.is_refusal(), "{error}");
}
