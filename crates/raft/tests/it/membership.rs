//! Changes of the voters (KIP-853).

use ottla_raft::{
    Ballot, Candidacy, ChangeAnswered, ChangeAsked, Durable, Effect, FetchAnswer, FetchAnswered,
    FollowerRequest, Input, LogBatch, MembershipChange, Moment, QuorumControl, QuorumLog, Raft,
    RaftSetup, ReplicaKey, Role, SnapshotId, Standing, Timing, VoteAsked, Voter, VoterSet,
};
use ottla_types::{ErrorCode, NodeId, Offset, Uuid};

use crate::{batch, end, fetch, key, raft_of, step, vote, voter, voters, without_requests};

const fn wiped(id: NodeId) -> ReplicaKey {
    ReplicaKey { id, directory: Uuid::of(2000) }
}

/// A log whose first batch, of epoch 1, names these voters.
fn dynamic_log(ids: &[NodeId]) -> QuorumLog {
    let mut log = QuorumLog::default();
    log.appended(&with_voters(0, 1, voters(ids)));
    log
}

/// A batch of three records at `base`: LeaderChange, KRaftVersion, KRaftVoters.
fn with_voters(base: Offset, epoch: i32, voters: VoterSet) -> LogBatch {
    let version = (base + 1, QuorumControl::KraftVersion(1));
    let voters = (base + 2, QuorumControl::Voters(voters));
    LogBatch { base, end: base + 3, epoch, controls: vec![version, voters] }
}

/// The only voter to change things on: leader of epoch 2, with everything committed.
fn leader(ids: &[NodeId]) -> Raft {
    let mut raft = uncommitted_leader(ids);
    commit(&mut raft, &ids[1..], 4);
    raft
}

/// Node 1 leads epoch 2, whose first record at offset 3 has not committed.
fn uncommitted_leader(ids: &[NodeId]) -> Raft {
    let mut raft = raft_of(key(1), dynamic_log(ids));
    // The only voter stands for election when it starts; of several it goes on with that.
    let epoch = if ids.len() == 1 { 1 } else { 2 };
    step(&mut raft, Input::Started(Durable { epoch, leader: None, voted: Some(key(1)) }));
    for id in &ids[1..] {
        step(&mut raft, vote(*id, 2, true));
    }
    step(&mut raft, Input::Appended(batch(3, 4, 2)));
    raft
}

/// The leader and these nodes have everything up to `offset` on their disks.
fn commit(raft: &mut Raft, ids: &[NodeId], offset: Offset) -> Vec<Effect> {
    let mut effects = step(raft, Input::Stored(end(2, offset)));
    for id in ids {
        effects.extend(step(raft, Input::Fetched(fetch(key(*id), 2, end(2, offset)))));
    }
    without_requests(effects)
}

fn ask(raft: &mut Raft, change: MembershipChange) -> Vec<Effect> {
    let answered = ChangeAnswered::WhenCommitted;
    step(raft, Input::ChangeAsked(ChangeAsked { request: 7, epoch: None, change, answered }))
}

const fn answer(error: ErrorCode) -> Effect {
    Effect::AnswerChange { request: 7, error }
}

fn appends(voters: VoterSet) -> Effect {
    Effect::AppendControls(vec![QuorumControl::Voters(voters)])
}

/// The record that the leader wanted appended is in its log, at `offset`.
fn append(raft: &mut Raft, offset: Offset, voters: VoterSet) -> Vec<Effect> {
    let controls = vec![(offset, QuorumControl::Voters(voters))];
    let batch = LogBatch { base: offset, end: offset + 1, epoch: 2, controls };
    without_requests(step(raft, Input::Appended(batch)))
}

const NONE: ErrorCode = ErrorCode::NONE;
const BUSY: ErrorCode = ErrorCode::REQUEST_TIMED_OUT;

#[test]
fn a_replica_that_has_caught_up_becomes_a_voter_and_counts_from_then_on() {
    let mut raft = leader(&[1]);
    let add = || MembershipChange::Add(voter(key(2)));
    assert_eq!(ask(&mut raft, add()), [Effect::AskVersions(voter(key(2)))]);
    let versions = Ok((0, 1));
    let spoken = Input::VersionsAnswered { voter: 2, versions };
    assert_eq!(step(&mut raft, spoken.clone()), [answer(BUSY)], "it has not fetched");

    let at_once = |raft: &mut Raft, input| {
        let mut out = Vec::new();
        raft.step(Moment { now_ms: 1 << 50, draw: 0 }, input, &mut out);
        out.retain(|effect| !matches!(effect, Effect::Wait { .. }));
        out
    };
    at_once(&mut raft, Input::Fetched(fetch(key(2), 2, end(2, 4))));
    ask(&mut raft, add());
    let unknown = Input::VersionsAnswered { voter: 3, versions };
    assert_eq!(at_once(&mut raft, unknown), [], "another node");
    assert_eq!(at_once(&mut raft, spoken), [appends(voters(&[1, 2]))]);
    assert_eq!(append(&mut raft, 4, voters(&[1, 2])), []);
    assert_eq!(raft.voters(), &voters(&[1, 2]), "in force at once");
    assert_eq!(commit(&mut raft, &[], 5), [], "the leader alone is no majority now");
    let effects = commit(&mut raft, &[2], 5);
    assert_eq!(effects, [Effect::Committed(5), answer(NONE)]);
}

#[test]
fn a_replica_that_cannot_be_asked_or_speaks_other_versions_is_not_added() {
    let cases = [
        (Err(ErrorCode::BROKER_NOT_AVAILABLE), BUSY),
        (Ok((0, 0)), ErrorCode::INVALID_REQUEST),
        (Ok((2, 3)), ErrorCode::INVALID_REQUEST),
    ];
    for (versions, error) in cases {
        let mut raft = leader(&[1]);
        step(&mut raft, Input::Fetched(fetch(key(2), 2, end(2, 4))));
        ask(&mut raft, MembershipChange::Add(voter(key(2))));
        let effects = step(&mut raft, Input::VersionsAnswered { voter: 2, versions });
        assert_eq!(effects, [answer(error)], "{versions:?}");
    }
}

#[test]
fn a_change_is_refused_with_kafkas_codes() {
    let unreachable = Voter { endpoints: Vec::new(), ..voter(key(4)) };
    let of_other_versions = Voter { kraft_versions: (0, 0), ..voter(key(2)) };
    let wrong_versions = Voter { kraft_versions: (1, 0), ..voter(key(2)) };
    let nowhere = ReplicaKey { id: 2, directory: Uuid::ZERO };
    let invalid = ErrorCode::INVALID_REQUEST;
    let cases = [
        (MembershipChange::Add(voter(key(3))), ErrorCode::DUPLICATE_VOTER),
        (MembershipChange::Add(voter(wiped(3))), ErrorCode::DUPLICATE_VOTER),
        (MembershipChange::Add(unreachable), invalid),
        (MembershipChange::Add(voter(nowhere)), invalid),
        (MembershipChange::Remove(key(4)), ErrorCode::VOTER_NOT_FOUND),
        (MembershipChange::Remove(wiped(2)), ErrorCode::VOTER_NOT_FOUND),
        (MembershipChange::Remove(nowhere), invalid),
        (MembershipChange::Update(voter(wiped(2))), ErrorCode::VOTER_NOT_FOUND),
        (MembershipChange::Update(of_other_versions), invalid),
        (MembershipChange::Update(wrong_versions), invalid),
        (MembershipChange::Upgrade(0), ErrorCode::INVALID_UPDATE_VERSION),
        (MembershipChange::Upgrade(2), ErrorCode::INVALID_UPDATE_VERSION),
        (MembershipChange::Upgrade(1), NONE),
    ];
    for (change, error) in cases {
        let mut raft = leader(&[1, 2, 3]);
        let text = format!("{change:?}");
        assert_eq!(ask(&mut raft, change), [answer(error)], "{text}");
    }
    let mut raft = leader(&[1]);
    let last = MembershipChange::Remove(key(1));
    assert_eq!(ask(&mut raft, last), [answer(ErrorCode::VOTER_NOT_FOUND)], "the last voter");
}

#[test]
fn only_the_leader_of_the_epoch_makes_changes() {
    let remove = || MembershipChange::Remove(key(2));
    let mut raft = raft_of(key(1), dynamic_log(&[1, 2, 3]));
    step(&mut raft, Input::Started(Durable { epoch: 2, leader: Some(3), voted: None }));
    assert_eq!(ask(&mut raft, remove()), [answer(ErrorCode::NOT_LEADER_OR_FOLLOWER)]);

    let mut raft = leader(&[1, 2, 3]);
    for (epoch, error) in
        [(1, ErrorCode::FENCED_LEADER_EPOCH), (3, ErrorCode::UNKNOWN_LEADER_EPOCH)]
    {
        let (epoch, answered) = (Some(epoch), ChangeAnswered::WhenCommitted);
        let asked = ChangeAsked { request: 7, epoch, change: remove(), answered };
        assert_eq!(step(&mut raft, Input::ChangeAsked(asked)), [answer(error)], "{epoch:?}");
    }
    step(&mut raft, Input::Resign);
    assert_eq!(ask(&mut raft, remove()), [answer(ErrorCode::BROKER_NOT_AVAILABLE)]);
}

#[test]
fn one_change_comes_after_the_other_and_none_before_the_epoch_has_committed() {
    let remove = |id| MembershipChange::Remove(key(id));
    let mut raft = uncommitted_leader(&[1, 2, 3, 4]);
    assert_eq!(ask(&mut raft, remove(4)), [answer(BUSY)], "nothing of this epoch has committed");
    commit(&mut raft, &[2, 3, 4], 4);
    assert_eq!(ask(&mut raft, remove(4)), [appends(voters(&[1, 2, 3]))]);
    assert_eq!(ask(&mut raft, remove(3)), [answer(BUSY)], "before the first is appended");
    append(&mut raft, 4, voters(&[1, 2, 3]));
    assert_eq!(ask(&mut raft, remove(3)), [answer(BUSY)], "before the first has committed");
    assert_eq!(commit(&mut raft, &[2], 5), [Effect::Committed(5), answer(NONE)]);
    assert_eq!(ask(&mut raft, remove(3)), [appends(voters(&[1, 2]))]);
}

#[test]
fn a_change_that_takes_too_long_is_answered_and_still_stands_in_the_way() {
    let mut raft = leader(&[1, 2, 3]);
    let mut now_ms = 1 << 50;
    let mut at = |raft: &mut Raft, later_ms: u64, input: Input| {
        now_ms += later_ms;
        let mut out = Vec::new();
        raft.step(Moment { now_ms, draw: 0 }, input, &mut out);
        out.into_iter().filter(|it| matches!(it, Effect::AnswerChange { .. })).collect::<Vec<_>>()
    };
    let remove = |id| {
        let (change, answered) = (MembershipChange::Remove(key(id)), ChangeAnswered::WhenCommitted);
        Input::ChangeAsked(ChangeAsked { request: 7, epoch: None, change, answered })
    };
    for id in [2, 3] {
        at(&mut raft, 0, Input::Fetched(fetch(key(id), 2, end(2, 4))));
    }
    assert_eq!(at(&mut raft, 0, remove(3)), []);
    append(&mut raft, 4, voters(&[1, 2]));
    assert_eq!(at(&mut raft, 1999, Input::TimedOut), []);
    assert_eq!(at(&mut raft, 1, Input::TimedOut), [answer(BUSY)]);
    assert_eq!(at(&mut raft, 0, remove(2)), [answer(BUSY)], "it may commit still");
}

#[test]
fn a_leader_that_removes_itself_leads_uncounted_until_that_has_committed() {
    let mut raft = leader(&[1, 2, 3]);
    let effects = ask(&mut raft, MembershipChange::Remove(key(1)));
    assert_eq!(effects, [appends(voters(&[2, 3]))]);
    append(&mut raft, 4, voters(&[2, 3]));
    assert_eq!(commit(&mut raft, &[2], 5), [], "the leader does not count");
    assert!(matches!(raft.role(), Role::Leader(_)));
    let effects = step(&mut raft, Input::Fetched(fetch(key(3), 2, end(2, 5))));
    let ends = Effect::EndEpoch { epoch: 2, voters: vec![key(2), key(3)] };
    assert_eq!(effects, [Effect::Committed(5), answer(NONE), Effect::StepDown, ends]);
    assert_eq!(raft.role(), &Role::Resigned);
    step(&mut raft, Input::TimedOut);
    assert_eq!((raft.role(), raft.epoch()), (&Role::Unattached, 3));
    assert_eq!(step(&mut raft, Input::TimedOut), [], "it is an observer now");
}

#[test]
fn whoever_asked_is_answered_when_the_leader_is_deposed() {
    let mut raft = leader(&[1, 2, 3]);
    ask(&mut raft, MembershipChange::Remove(key(3)));
    let effects = step(&mut raft, Input::Heard(Standing { epoch: 3, leader: None }));
    assert_eq!(effects, [answer(ErrorCode::NOT_LEADER_OR_FOLLOWER), Effect::StepDown]);
}

/// Node `own`, follower of node 3 in epoch 2, with a log that names these voters.
fn follower(own: ReplicaKey, candidacy: Candidacy, log: QuorumLog) -> Raft {
    let timing = Timing::default();
    let mut raft = Raft::new(RaftSetup { own: voter(own), candidacy, log, timing });
    step(&mut raft, Input::Started(Durable { epoch: 2, leader: Some(3), voted: None }));
    raft
}

fn answer_fetch(raft: &mut Raft, answer: FetchAnswer) -> Vec<Effect> {
    let Some(FollowerRequest::Fetch { fetch: asked, .. }) = raft.next_request() else {
        panic!("{:?}", raft.next_request());
    };
    let standing = Standing { epoch: 2, leader: Some(3) };
    step(raft, Input::FetchAnswered(FetchAnswered { from: 3, asked, standing, answer }))
}

#[test]
fn voters_are_in_force_when_they_are_appended_and_go_with_the_log() {
    let mut raft = follower(key(1), Candidacy::ByOperator, dynamic_log(&[1, 2, 3]));
    let other = with_voters(3, 2, voters(&[2, 3]));
    let answer = FetchAnswer::Records { high_watermark: None, batches: vec![other] };
    answer_fetch(&mut raft, answer);
    assert_eq!(raft.voters(), &voters(&[2, 3]));
    step(&mut raft, Input::Stored(end(2, 6)));
    let effects = answer_fetch(&mut raft, FetchAnswer::Diverging(end(1, 3)));
    assert_eq!(effects, [Effect::Truncate { end: 3 }]);
    assert_eq!(raft.voters(), &voters(&[1, 2, 3]));
    assert_eq!(raft.log().voters_at(2), Some(&voters(&[1, 2, 3])));
    step(&mut raft, Input::TimedOut);
    assert!(matches!(raft.role(), Role::Prospective { .. }), "a voter again, it waits again");
}

#[test]
fn a_voter_stands_until_it_knows_that_its_removal_has_committed() {
    // Of two voters one has removed itself and crashed: the other needs its vote and does not get
    // it, having a shorter log. Only the one that was removed can be elected.
    for (committed, stands) in [(None, true), (Some(5), true), (Some(6), false)] {
        let mut raft = follower(key(1), Candidacy::ByOperator, dynamic_log(&[1, 3]));
        let batches = vec![with_voters(3, 2, voters(&[3]))];
        let answer = FetchAnswer::Records { high_watermark: committed, batches };
        answer_fetch(&mut raft, answer);
        step(&mut raft, Input::Stored(end(2, 6)));
        let effects = step(&mut raft, Input::TimedOut);
        let asked = effects.iter().find_map(|effect| match effect {
            Effect::AskVotes { voters, .. } => Some(voters.clone()),
            _ => None,
        });
        assert_eq!(asked, stands.then(|| vec![key(3)]), "{committed:?}");
    }
}

/// What a follower asks its leader for.
fn wants(raft: &mut Raft) -> Option<MembershipChange> {
    let mut out = Vec::new();
    raft.step(Moment { now_ms: 1 << 50, draw: 0 }, Input::TimedOut, &mut out);
    out.into_iter().find_map(|effect| match effect {
        Effect::AskChange { leader: 3, change } => Some(change),
        _ => None,
    })
}

#[test]
fn a_controller_that_joins_by_itself_first_removes_what_it_was_before() {
    let log = dynamic_log(&[1, 2, 3]);
    let moved = Voter { kraft_versions: (0, 2), ..voter(key(2)) };
    let mut elsewhere = log.clone();
    elsewhere.appended(&with_voters(3, 2, log.voters().with(moved)));
    let (add, remove) = (MembershipChange::Add, MembershipChange::Remove);
    let cases = [
        (follower(key(4), Candidacy::Automatic, log.clone()), Some(add(voter(key(4))))),
        (follower(wiped(2), Candidacy::Automatic, log.clone()), Some(remove(key(2)))),
        (follower(key(4), Candidacy::ByOperator, log.clone()), None),
        (follower(key(4), Candidacy::Never, log.clone()), None),
        (follower(key(2), Candidacy::Automatic, log), None),
        (
            follower(key(2), Candidacy::ByOperator, elsewhere),
            Some(MembershipChange::Update(voter(key(2)))),
        ),
        (follower(key(4), Candidacy::Automatic, QuorumLog::new(voters(&[1, 2, 3]))), None),
    ];
    for (mut raft, expected) in cases {
        assert_eq!(wants(&mut raft), expected, "{raft:?}");
    }
}

#[test]
fn a_voter_of_kraft_version_0_tells_each_leader_once_who_it_is() {
    let mut raft = follower(key(2), Candidacy::ByOperator, QuorumLog::new(voters(&[1, 2, 3])));
    let introduces = Some(MembershipChange::Update(voter(key(2))));
    assert_eq!(wants(&mut raft.clone()), introduces);
    let refused = Input::ChangeAnswered { leader: 3, error: BUSY };
    step(&mut raft, refused);
    assert_eq!(wants(&mut raft.clone()), introduces);
    step(&mut raft, Input::ChangeAnswered { leader: 3, error: NONE });
    assert_eq!(wants(&mut raft), None);
}

#[test]
fn kraft_version_becomes_1_when_all_voters_have_said_who_they_are() {
    let anywhere = |id| Voter {
        key: ReplicaKey { id, directory: Uuid::ZERO },
        kraft_versions: (0, 0),
        ..voter(key(id))
    };
    let log = QuorumLog::new(VoterSet::of([anywhere(1), anywhere(2)]));
    let mut raft = raft_of(key(1), log);
    step(&mut raft, Input::Started(Durable { epoch: 2, leader: None, voted: Some(key(1)) }));
    step(&mut raft, vote(2, 2, true));
    step(&mut raft, Input::Appended(batch(0, 1, 2)));
    let upgrade = || MembershipChange::Upgrade(1);
    assert_eq!(ask(&mut raft, upgrade()), [answer(BUSY)]);
    assert_eq!(commit(&mut raft, &[2], 1), [Effect::Committed(1)], "any disk of node 2 counts");
    assert_eq!(ask(&mut raft, upgrade()), [answer(ErrorCode::INVALID_UPDATE_VERSION)]);
    let add = MembershipChange::Add(voter(key(3)));
    assert_eq!(ask(&mut raft, add), [answer(ErrorCode::UNSUPPORTED_VERSION)]);

    let update = MembershipChange::Update(voter(key(2)));
    assert_eq!(ask(&mut raft, update), [answer(NONE)]);
    let controls = vec![QuorumControl::KraftVersion(1), QuorumControl::Voters(voters(&[1, 2]))];
    assert_eq!(ask(&mut raft, upgrade()), [Effect::AppendControls(controls.clone())]);
    let controls = (1..).zip(controls).collect();
    step(&mut raft, Input::Appended(LogBatch { base: 1, end: 3, epoch: 2, controls }));
    assert_eq!((raft.voters(), raft.log().kraft_version()), (&voters(&[1, 2]), 1));
    step(&mut raft, Input::Fetched(fetch(wiped(2), 2, end(2, 3))));
    assert_eq!(commit(&mut raft, &[], 3), [], "another disk counts no more");
    assert_eq!(commit(&mut raft, &[2], 3), [Effect::Committed(3), answer(NONE)]);
    assert_eq!(raft.log().kraft_version_at(0), 0);
}

#[test]
fn the_first_leader_of_a_formatted_cluster_writes_down_who_votes() {
    let mut log = QuorumLog::default();
    let format = vec![QuorumControl::KraftVersion(1), QuorumControl::Voters(voters(&[1]))];
    log.replaced(SnapshotId::default(), format.clone());
    assert_eq!(log.voters_offset(), Some(-1));
    let mut raft = raft_of(key(1), log);
    let effects = step(&mut raft, Input::Started(Durable::default()));
    let opening = Effect::OpenEpoch { epoch: 1, granted: vec![1], controls: format };
    assert_eq!(effects, [opening]);

    let effects = step(&mut raft_of(key(1), dynamic_log(&[1])), Input::Started(Durable::default()));
    let opening = Effect::OpenEpoch { epoch: 2, granted: vec![1], controls: Vec::new() };
    assert_eq!(effects, [opening], "the log says it already");
}

#[test]
fn an_observer_stands_for_nothing_and_does_not_speak_for_a_leader_that_is_silent() {
    // A voter may count on its vote before it knows that it votes.
    let log = dynamic_log(&[1, 2, 3]);
    let mut raft = follower(wiped(1), Candidacy::ByOperator, log);
    let answer = FetchAnswer::Records { high_watermark: None, batches: Vec::new() };
    answer_fetch(&mut raft, answer);
    let grants = |raft: &mut Raft| {
        let (epoch, log, ballot) = (2, end(1, 3), Ballot::PreVote);
        let asked = VoteAsked { candidate: key(2), epoch, log, ballot };
        let effects = step(raft, Input::Asked { asked, voter: Some(wiped(1)) });
        effects.iter().any(|it| matches!(it, Effect::AnswerVote { answer, .. } if answer.granted))
    };
    assert!(!grants(&mut raft));
    assert_eq!(step(&mut raft, Input::TimedOut), []);
    assert!(matches!(raft.role(), Role::Follower(_)));
    assert!(grants(&mut raft));
}
