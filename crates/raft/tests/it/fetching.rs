//! Fetches, by both sides.

use ottla_raft::{
    Candidacy, Durable, Effect, FatalReason, FetchAnswer, FetchAnswered, FetchAsked, FetchVerdict,
    FollowerRequest, Input, LogBatch, QuorumLog, Raft, RaftSetup, Role, SnapshotId, Standing,
    Timing,
};
use ottla_types::{ErrorCode, Offset};

use crate::{batch, end, fetch, key, replica, step, store, vote, voter, voters};

/// Node 1 of three, leader of epoch 5, with a log of these epochs.
fn leader(mut log: QuorumLog) -> Raft {
    let from = log.end().offset;
    log.appended(&batch(from, from + 1, 4));
    let mut raft = crate::raft_of(key(1), log);
    step(&mut raft, Input::Started(Durable { epoch: 5, leader: None, voted: Some(key(1)) }));
    step(&mut raft, vote(2, 5, true));
    store(&mut raft, from + 1, end(5, from + 2));
    raft
}

/// Epoch 1 up to offset 2, epoch 3 up to 4, epoch 4 up to 5, epoch 5 up to 6.
fn whole_log() -> Raft {
    let mut log = QuorumLog::new(voters(&[1, 2, 3]));
    log.appended(&batch(0, 2, 1));
    log.appended(&batch(2, 4, 3));
    leader(log)
}

#[test]
fn a_fetch_is_refused_or_told_where_the_logs_part() {
    let raft = whole_log();
    let (own, other) = (key(1), key(2));
    let refused = FetchVerdict::Refused;
    let diverging = |epoch, offset| FetchVerdict::Diverging(end(epoch, offset));
    let valid = |has_news| FetchVerdict::Valid { high_watermark: None, has_news };
    let cases = [
        (fetch(other, 4, end(3, 4)), refused(ErrorCode::FENCED_LEADER_EPOCH)),
        (fetch(other, 6, end(3, 4)), refused(ErrorCode::UNKNOWN_LEADER_EPOCH)),
        (fetch(other, 5, end(6, 4)), refused(ErrorCode::INVALID_REQUEST)),
        (fetch(other, 5, end(3, -1)), refused(ErrorCode::INVALID_REQUEST)),
        (fetch(own, 5, end(3, 4)), refused(ErrorCode::INVALID_REQUEST)),
        (fetch(other, 5, end(0, 0)), valid(true)),
        (fetch(other, 5, end(3, 4)), valid(true)),
        (fetch(other, 5, end(5, 6)), valid(false)),
        (fetch(other, 5, end(3, 5)), diverging(3, 4)),
        (fetch(other, 5, end(2, 3)), diverging(1, 2)),
        (fetch(other, 5, end(1, 3)), diverging(1, 2)),
        (fetch(other, 5, end(5, 7)), diverging(5, 6)),
    ];
    for (asked, expected) in cases {
        assert_eq!(raft.fetch_verdict(&asked), expected, "{asked:?}");
    }
}

#[test]
fn a_replica_that_does_not_lead_says_so() {
    let asked = fetch(key(2), 4, end(4, 10));
    let mut raft = replica(1, &[1, 2, 3], end(4, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: Some(3), voted: None }));
    let not_leader = FetchVerdict::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(raft.fetch_verdict(&asked), not_leader);

    let mut raft = replica(1, &[1, 2, 3], end(4, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: Some(1), voted: None }));
    let resigned = FetchVerdict::Refused(ErrorCode::BROKER_NOT_AVAILABLE);
    assert_eq!(raft.fetch_verdict(&asked), resigned);
}

#[test]
fn a_follower_that_lacks_what_was_deleted_is_sent_the_newest_snapshot() {
    let mut raft = whole_log();
    step(&mut raft, Input::SnapshotTaken(SnapshotId { end: 2, epoch: 1 }));
    let newest = SnapshotId { end: 4, epoch: 3 };
    step(&mut raft, Input::SnapshotTaken(newest));
    step(&mut raft, Input::Cleaned { start: SnapshotId { end: 2, epoch: 1 } });
    let (snapshot, valid) = (
        FetchVerdict::Snapshot(newest),
        FetchVerdict::Valid { high_watermark: None, has_news: true },
    );
    let cases = [
        (end(0, 0), snapshot),
        (end(1, 1), snapshot),
        (end(1, 2), valid),
        (end(0, 2), snapshot),
        (end(0, 3), snapshot),
        (end(2, 3), FetchVerdict::Diverging(end(1, 2))),
        (end(3, 3), valid),
    ];
    for (at, expected) in cases {
        assert_eq!(raft.fetch_verdict(&fetch(key(2), 5, at)), expected, "{at:?}");
    }
}

#[test]
fn an_answer_goes_at_once_when_the_follower_knows_an_older_high_watermark() {
    let mut raft = whole_log();
    let at_end = |high_watermark| FetchAsked { high_watermark, ..fetch(key(2), 5, end(5, 6)) };
    assert_eq!(step(&mut raft, Input::Fetched(at_end(None))), [Effect::Committed(6)]);
    for (known, has_news) in [(None, true), (Some(5), true), (Some(6), false)] {
        let verdict = FetchVerdict::Valid { high_watermark: Some(6), has_news };
        assert_eq!(raft.fetch_verdict(&at_end(known)), verdict, "{known:?}");
    }
}

/// Node 1, follower of node 3 in epoch 4, with ten records of epoch 2, of which it knows this to
/// be committed.
fn follower(high_watermark: Option<Offset>) -> Raft {
    let mut raft = replica(1, &[1, 2, 3], end(2, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: Some(3), voted: None }));
    let answer = FetchAnswer::Records { high_watermark, batches: Vec::new() };
    answer_fetch(&mut raft, answer);
    raft
}

/// The leader answers what the follower asks next.
fn answer_fetch(raft: &mut Raft, answer: FetchAnswer) -> Vec<Effect> {
    let Some(FollowerRequest::Fetch { leader: Some(3), fetch: asked }) = raft.next_request() else {
        panic!("{:?} asks for {:?}", raft.role(), raft.next_request());
    };
    let standing = Standing { epoch: 4, leader: Some(3) };
    step(raft, Input::FetchAnswered(FetchAnswered { from: 3, asked, standing, answer }))
}

fn records(high_watermark: Offset, batches: Vec<LogBatch>) -> FetchAnswer {
    FetchAnswer::Records { high_watermark: Some(high_watermark), batches }
}

#[test]
fn a_follower_knows_what_is_committed_up_to_the_end_of_its_own_log() {
    let mut raft = follower(Some(7));
    assert_eq!(raft.high_watermark(), Some(7));
    let effects = answer_fetch(&mut raft, records(20, vec![batch(10, 12, 4)]));
    assert_eq!(effects, [Effect::Append { batches: 1 }, Effect::Committed(12)]);
    assert_eq!(raft.next_request(), None, "before the records are on its disk");
    step(&mut raft, Input::Stored(end(4, 12)));
    let unknown = FetchAnswer::Records { high_watermark: None, batches: Vec::new() };
    assert_eq!(answer_fetch(&mut raft, unknown), [], "a new leader does not know yet");
    assert_eq!(answer_fetch(&mut raft, records(12, Vec::new())), []);
    let reason = FatalReason::HighWatermarkFell { known: 12, told: 11 };
    assert_eq!(answer_fetch(&mut raft, records(11, Vec::new())), [Effect::Fatal(reason)]);
}

#[test]
fn a_follower_cuts_off_what_the_leader_does_not_have_and_nothing_committed() {
    let at = |epoch, offset| FetchAnswer::Diverging(end(epoch, offset));
    let mut raft = follower(Some(7));
    assert_eq!(answer_fetch(&mut raft, at(2, 8)), [Effect::Truncate { end: 8 }]);
    assert_eq!(raft.log().end(), end(2, 8));
    assert_eq!(answer_fetch(&mut raft, at(2, 7)), [Effect::Truncate { end: 7 }]);
    let diverging = end(2, 6);
    let reason = FatalReason::TruncationBelowHighWatermark { known: 7, diverging };
    assert_eq!(answer_fetch(&mut raft, at(2, 6)), [Effect::Fatal(reason)]);
}

#[test]
fn a_follower_appends_what_follows_and_drops_the_rest() {
    let good = || batch(10, 12, 3);
    // The batches, and how many of them are appended.
    let cases = [
        (vec![good(), batch(12, 13, 4)], 2),
        (vec![good(), batch(13, 14, 4)], 1),
        (vec![good(), batch(11, 13, 4)], 1),
        (vec![good(), batch(12, 13, 5)], 1),
        (vec![good(), batch(12, 13, 2)], 1),
        (vec![good(), batch(12, 12, 4)], 1),
        (vec![batch(9, 12, 3)], 0),
    ];
    for (batches, expected) in cases {
        let mut raft = follower(Some(7));
        let text = format!("{batches:?}");
        let effects = answer_fetch(&mut raft, records(7, batches));
        let taken = effects.iter().find_map(|effect| match effect {
            Effect::Append { batches } => Some(*batches),
            _ => None,
        });
        assert_eq!(taken.unwrap_or(0), expected, "{text}");
    }
}

#[test]
fn an_answer_to_an_earlier_fetch_changes_nothing() {
    // Committed records were cut off by an answer that came late (KAFKA-18991).
    let mut raft = follower(Some(7));
    let standing = Standing { epoch: 4, leader: Some(3) };
    let mut late = |asked: FetchAsked, from, standing, answer: FetchAnswer| {
        let answered = FetchAnswered { from, asked, standing, answer };
        step(&mut raft, Input::FetchAnswered(answered))
    };
    let asked = FetchAsked { high_watermark: Some(7), ..fetch(key(1), 4, end(2, 10)) };
    let cut = FetchAnswer::Diverging(end(2, 8));
    let earlier = FetchAsked { end: end(2, 9), ..asked };
    assert_eq!(late(earlier, 3, standing, cut.clone()), [], "from another position");
    let earlier = FetchAsked { high_watermark: Some(6), ..asked };
    assert_eq!(late(earlier, 3, standing, cut.clone()), [], "when less had committed");
    let earlier = FetchAsked { epoch: 3, ..asked };
    assert_eq!(late(earlier, 3, standing, cut.clone()), [], "in another epoch");
    assert_eq!(late(asked, 2, standing, cut.clone()), [], "of another replica");
    let behind = Standing { epoch: 3, leader: Some(3) };
    assert_eq!(late(asked, 3, behind, cut.clone()), [], "of another epoch");
    assert_eq!(late(asked, 3, standing, cut), [Effect::Truncate { end: 8 }]);
}

#[test]
fn an_observer_finds_its_leader_and_appends_in_one_fetch() {
    let log = QuorumLog::new(voters(&[1, 2, 3]));
    let candidacy = Candidacy::Never;
    let mut raft =
        Raft::new(RaftSetup { own: voter(key(9)), candidacy, log, timing: Timing::default() });
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: None, voted: None }));
    let Some(FollowerRequest::Fetch { leader: None, fetch: asked }) = raft.next_request() else {
        panic!("{:?}", raft.next_request());
    };
    let standing = Standing { epoch: 4, leader: Some(3) };
    let answer = records(1, vec![batch(0, 2, 4)]);
    let answered = FetchAnswered { from: 3, asked, standing, answer };
    let effects = step(&mut raft, Input::FetchAnswered(answered));
    assert_eq!(effects, [Effect::Append { batches: 1 }, Effect::Committed(1)]);
    assert!(matches!(raft.role(), Role::Follower(_)));
    let next = match raft.next_request() {
        Some(FollowerRequest::Fetch { fetch, .. }) => Some(fetch.end),
        _ => None,
    };
    assert_eq!(next, Some(end(4, 2)), "it will never vote, so nothing waits for its disk");
    assert_eq!(step(&mut raft, Input::TimedOut), [], "and it never stands for election");
}
