//! Snapshots, by both sides.

use ottla_raft::{
    Durable, Effect, FatalReason, FetchAnswer, FetchAnswered, FollowerRequest, Input,
    QuorumControl, Raft, SnapshotAnswered, SnapshotAsked, SnapshotId, SnapshotPart, Standing,
};
use ottla_types::{ErrorCode, Offset};

use crate::{batch, end, key, replica, step, store, vote, voters};

const STANDING: Standing = Standing { epoch: 4, leader: Some(3) };

const fn id(end: Offset) -> SnapshotId {
    SnapshotId { end, epoch: 3 }
}

/// Node 1, follower of node 3 in epoch 4, with ten records of epoch 2, seven of them committed.
fn follower() -> Raft {
    let mut raft = replica(1, &[1, 2, 3], end(2, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: Some(3), voted: None }));
    let answer = FetchAnswer::Records { high_watermark: Some(7), batches: Vec::new() };
    answer_fetch(&mut raft, answer);
    raft
}

fn answer_fetch(raft: &mut Raft, answer: FetchAnswer) -> Vec<Effect> {
    let Some(FollowerRequest::Fetch { fetch: asked, .. }) = raft.next_request() else {
        panic!("{:?}", raft.next_request());
    };
    let answered = FetchAnswered { from: 3, asked, standing: STANDING, answer };
    step(raft, Input::FetchAnswered(answered))
}

fn asked_part(raft: &Raft) -> SnapshotAsked {
    match raft.next_request() {
        Some(FollowerRequest::FetchSnapshot { leader: 3, fetch }) => fetch,
        other => panic!("{other:?}"),
    }
}

fn answer_part(
    raft: &mut Raft,
    asked: SnapshotAsked,
    part: Result<SnapshotPart, ErrorCode>,
) -> Vec<Effect> {
    let answered = SnapshotAnswered { from: 3, asked, standing: STANDING, part };
    step(raft, Input::SnapshotAnswered(answered))
}

const fn part(bytes: u64, size_bytes: u64) -> Result<SnapshotPart, ErrorCode> {
    Ok(SnapshotPart { bytes, size_bytes })
}

#[test]
fn a_snapshot_comes_in_parts_and_takes_the_place_of_the_log() {
    let mut raft = follower();
    assert_eq!(answer_fetch(&mut raft, FetchAnswer::Snapshot(id(50))), []);
    let first = asked_part(&raft);
    assert_eq!((first.id, first.position, first.epoch), (id(50), 0, 4));
    let writes = |position| Effect::WriteSnapshot { id: id(50), position };
    assert_eq!(answer_part(&mut raft, first, part(60, 100)), [writes(0)]);
    assert_eq!(answer_part(&mut raft, first, part(60, 100)), [], "the same part again");
    let second = asked_part(&raft);
    assert_eq!(second.position, 60);
    let freezes = Effect::FreezeSnapshot(id(50));
    assert_eq!(answer_part(&mut raft, second, part(40, 100)), [writes(60), freezes]);
    assert_eq!(raft.next_request(), None, "while it is made durable");

    let controls = vec![QuorumControl::KraftVersion(1), QuorumControl::Voters(voters(&[1, 3]))];
    step(&mut raft, Input::SnapshotTaken(SnapshotId { end: 5, epoch: 2 }));
    let effects = step(&mut raft, Input::SnapshotFrozen { id: id(50), controls });
    assert_eq!(raft.log().snapshots(), [id(50)], "what is older goes with the log");
    assert_eq!(effects, [Effect::ReplaceLog(id(50)), Effect::Committed(50)]);
    assert_eq!((raft.log().start(), raft.log().end()), (50, end(3, 50)));
    assert_eq!((raft.voters(), raft.log().kraft_version()), (&voters(&[1, 3]), 1));
    assert_eq!(
        (raft.log().voters_at(49), raft.log().voters_at(48)),
        (Some(&voters(&[1, 3])), None)
    );
    let batches = vec![batch(50, 51, 4)];
    let next = FetchAnswer::Records { high_watermark: Some(51), batches };
    let effects = answer_fetch(&mut raft, next);
    assert_eq!(effects, [Effect::Append { batches: 1 }, Effect::Committed(51)]);
}

#[test]
fn a_snapshot_that_the_leader_no_longer_has_sends_the_follower_back_to_the_log() {
    let answers = [
        Err(ErrorCode::SNAPSHOT_NOT_FOUND),
        Err(ErrorCode::POSITION_OUT_OF_RANGE),
        part(0, 100),
        part(101, 100),
    ];
    for answer in answers {
        let mut raft = follower();
        answer_fetch(&mut raft, FetchAnswer::Snapshot(id(50)));
        let asked = asked_part(&raft);
        assert_eq!(answer_part(&mut raft, asked, answer), [], "{answer:?}");
        assert!(matches!(raft.next_request(), Some(FollowerRequest::Fetch { .. })), "{answer:?}");
    }
}

#[test]
fn a_snapshot_is_dropped_with_the_leader_that_it_was_fetched_from() {
    let mut raft = follower();
    answer_fetch(&mut raft, FetchAnswer::Snapshot(id(50)));
    let asked = asked_part(&raft);
    answer_part(&mut raft, asked, part(100, 100));
    step(&mut raft, Input::Heard(Standing { epoch: 5, leader: Some(2) }));
    let frozen = Input::SnapshotFrozen { id: id(50), controls: Vec::new() };
    assert_eq!(step(&mut raft, frozen), []);
    assert_eq!(raft.log().end(), end(2, 10));
}

#[test]
fn a_snapshot_below_the_high_watermark_is_the_end() {
    let mut raft = follower();
    let reason = FatalReason::SnapshotBelowHighWatermark { known: 7, id: id(6) };
    let effects = answer_fetch(&mut raft, FetchAnswer::Snapshot(id(6)));
    assert_eq!(effects, [Effect::Fatal(reason)]);
}

#[test]
fn a_leader_serves_the_snapshots_that_it_has() {
    let mut raft = replica(1, &[1, 2, 3], end(3, 9));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: None, voted: Some(key(1)) }));
    step(&mut raft, vote(2, 4, true));
    store(&mut raft, 9, end(4, 10));
    let asked = |epoch, id, position| SnapshotAsked { follower: key(2), epoch, id, position };
    let own = SnapshotAsked { follower: key(1), ..asked(4, id(5), 0) };
    let cases = [
        (asked(4, id(5), 0), Some(10), Ok(())),
        (asked(4, id(5), 9), Some(10), Ok(())),
        (asked(4, id(5), 10), Some(10), Err(ErrorCode::POSITION_OUT_OF_RANGE)),
        (asked(4, id(5), 0), None, Err(ErrorCode::SNAPSHOT_NOT_FOUND)),
        // The one that a cluster begins with lies on every node.
        (asked(4, SnapshotId::default(), 0), Some(10), Err(ErrorCode::SNAPSHOT_NOT_FOUND)),
        (asked(3, id(5), 0), Some(10), Err(ErrorCode::FENCED_LEADER_EPOCH)),
        (asked(5, id(5), 0), Some(10), Err(ErrorCode::UNKNOWN_LEADER_EPOCH)),
        (own, Some(10), Err(ErrorCode::INVALID_REQUEST)),
    ];
    for (asked, size, expected) in cases {
        assert_eq!(raft.check_snapshot_fetch(&asked, size), expected, "{asked:?}");
    }
}
