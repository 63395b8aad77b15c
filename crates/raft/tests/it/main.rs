//! Elections and commits, as short stories.

mod elections;
mod fetching;
mod membership;
mod snapshots;

use ottla_raft::{
    Ballot, Candidacy, Durable, Effect, Endpoint, FetchAsked, Following, Input, LogBatch, LogEnd,
    Moment, QuorumLog, Raft, RaftSetup, ReplicaKey, Role, Standing, Timing, VoteAnswer, VoteAsked,
    Voter, VoterSet,
};
use ottla_types::{ErrorCode, NodeId, Offset, Uuid};
use std::sync::atomic::{AtomicU64, Ordering};

const fn key(id: NodeId) -> ReplicaKey {
    ReplicaKey { id, directory: Uuid::of(1000) }
}

fn voter(key: ReplicaKey) -> Voter {
    let endpoint =
        Endpoint { name: "CONTROLLER".to_owned(), host: format!("node-{}", key.id), port: 9093 };
    Voter { key, endpoints: vec![endpoint], kraft_versions: (0, 1) }
}

fn voters(ids: &[NodeId]) -> VoterSet {
    VoterSet::of(ids.iter().map(|id| voter(key(*id))))
}

const fn end(epoch: i32, offset: i64) -> LogEnd {
    LogEnd { epoch, offset }
}

/// A replica of node `id` whose log ends at `log`.
fn replica(id: NodeId, ids: &[NodeId], log: LogEnd) -> Raft {
    let mut known = QuorumLog::new(voters(ids));
    known.appended(&batch(0, log.offset, log.epoch));
    raft_of(key(id), known)
}

fn raft_of(key: ReplicaKey, log: QuorumLog) -> Raft {
    let candidacy = Candidacy::ByOperator;
    Raft::new(RaftSetup { own: voter(key), candidacy, log, timing: Timing::default() })
}

const fn batch(base: Offset, end: Offset, epoch: i32) -> LogBatch {
    LogBatch { base, end, epoch, controls: Vec::new() }
}

/// A follower's fetch that knows of nothing committed.
const fn fetch(follower: ReplicaKey, epoch: i32, end: LogEnd) -> FetchAsked {
    FetchAsked { follower, epoch, end, high_watermark: None }
}

/// The batch that a leader is to open its epoch with, without more in it.
fn opening(epoch: i32, granted: &[NodeId]) -> Effect {
    Effect::OpenEpoch { epoch, granted: granted.to_vec(), controls: Vec::new() }
}

/// The effects without those that other tests are about.
fn without_requests(effects: Vec<Effect>) -> Vec<Effect> {
    let is_request =
        |effect: &Effect| matches!(effect, Effect::BeginEpoch { .. } | Effect::EndEpoch { .. });
    effects.into_iter().filter(|effect| !is_request(effect)).collect()
}

/// The log of a replica ends there now, and all of it is on its disk.
fn store(raft: &mut Raft, base: Offset, at: LogEnd) -> Vec<Effect> {
    step(raft, Input::Appended(batch(base, at.offset, at.epoch)));
    step(raft, Input::Stored(at))
}

/// One step, in a moment after all that was waited for.
fn bare_step(raft: &mut Raft, input: Input) -> Vec<Effect> {
    // Each step comes an hour after the one before: whatever was waited for has come.
    static HOURS: AtomicU64 = AtomicU64::new(0);
    let now_ms = 3_600_000 * HOURS.fetch_add(1, Ordering::Relaxed);
    let mut effects = Vec::new();
    raft.step(Moment { now_ms, draw: 0 }, input, &mut effects);
    effects
}

/// Makes everything durable at once; returns what is left to be done.
fn settle(raft: &mut Raft, effects: Vec<Effect>) -> Vec<Effect> {
    let mut left = Vec::new();
    for effect in effects {
        match effect {
            Effect::Persist(durable) => {
                let more = bare_step(raft, Input::Persisted(durable));
                left.extend(settle(raft, more));
            }
            Effect::Wait { .. } => {}
            other => left.push(other),
        }
    }
    left
}

fn step(raft: &mut Raft, input: Input) -> Vec<Effect> {
    let effects = bare_step(raft, input);
    settle(raft, effects)
}

fn pre_vote(voter: NodeId, epoch: i32, granted: bool) -> Input {
    let error = ErrorCode::NONE;
    Input::Voted(VoteAnswer { voter, epoch, ballot: Ballot::PreVote, granted, error })
}

fn vote(voter: NodeId, epoch: i32, granted: bool) -> Input {
    let error = ErrorCode::NONE;
    Input::Voted(VoteAnswer { voter, epoch, ballot: Ballot::Vote, granted, error })
}

#[test]
fn the_only_voter_leads_at_once_but_not_before_it_is_durable() {
    let mut raft = replica(1, &[1], end(0, 0));
    let effects = bare_step(&mut raft, Input::Started(Durable::default()));
    let wanted = Durable { epoch: 1, leader: Some(1), voted: None };
    assert_eq!(effects, [Effect::Persist(wanted.clone())]);
    let effects = bare_step(&mut raft, Input::Persisted(wanted));
    assert_eq!(effects, [opening(1, &[1])]);
}

#[test]
fn nothing_commits_before_the_epoch_has_something_on_disk() {
    let mut raft = replica(1, &[1], end(3, 40));
    let durable = Durable { epoch: 3, leader: Some(1), voted: None };
    assert_eq!(step(&mut raft, Input::Started(durable)), [opening(4, &[1])]);
    assert_eq!(step(&mut raft, Input::Appended(batch(40, 41, 4))), []);
    assert_eq!(step(&mut raft, Input::Stored(end(3, 40))), []);
    assert_eq!(step(&mut raft, Input::Stored(end(4, 41))), [Effect::Committed(41)]);
}

#[test]
fn an_old_quorum_state_gives_way_to_the_log() {
    let mut raft = replica(1, &[1], end(7, 40));
    step(&mut raft, Input::Started(Durable { epoch: 2, leader: None, voted: Some(key(1)) }));
    assert_eq!(raft.epoch(), 8);
}

#[test]
fn three_voters_ask_before_they_stand_and_commit_by_majority() {
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    assert_eq!(step(&mut raft, Input::Started(Durable::default())), []);
    let asked = step(&mut raft, Input::TimedOut);
    assert!(matches!(
        &asked[0],
        Effect::AskVotes { asked: VoteAsked { ballot: Ballot::PreVote, epoch: 0, .. }, .. }
    ));
    let asked = step(&mut raft, pre_vote(2, 0, true));
    assert!(matches!(
        &asked[0],
        Effect::AskVotes { asked: VoteAsked { ballot: Ballot::Vote, epoch: 1, .. }, .. }
    ));
    let won = step(&mut raft, vote(3, 1, true));
    assert_eq!(won, [opening(1, &[1, 3])]);
    assert_eq!(store(&mut raft, 0, end(1, 1)), []);
    let fetched = Input::Fetched(fetch(key(2), 1, end(1, 1)));
    assert_eq!(step(&mut raft, fetched), [Effect::Committed(1)]);
}

#[test]
fn a_stranger_with_a_voters_id_does_not_count() {
    let mut raft = replica(1, &[1, 2], end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, pre_vote(2, 0, true));
    step(&mut raft, vote(2, 1, true));
    store(&mut raft, 0, end(1, 5));
    let wiped = ReplicaKey { id: 2, directory: Uuid::of(2000) };
    assert_eq!(step(&mut raft, Input::Fetched(fetch(wiped, 1, end(1, 5)))), []);
    let honest = Input::Fetched(fetch(key(2), 1, end(1, 5)));
    assert_eq!(step(&mut raft, honest), [Effect::Committed(5)]);
}

#[test]
fn a_vote_is_given_once_in_an_epoch_and_only_for_a_log_as_long() {
    let mut raft = replica(1, &[1, 2, 3], end(4, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: None, voted: None }));
    let ask = |id, log| {
        let ballot = Ballot::Vote;
        let asked = VoteAsked { candidate: key(id), epoch: 5, log, ballot };
        Input::Asked { asked, voter: None }
    };
    let answer = |effects: Vec<Effect>| {
        effects.into_iter().find_map(|effect| match effect {
            Effect::AnswerVote { answer, .. } => Some(answer.granted),
            _ => None,
        })
    };
    assert_eq!(answer(step(&mut raft, ask(2, end(4, 9)))), Some(false), "a shorter log");
    assert_eq!(answer(step(&mut raft, ask(2, end(4, 10)))), Some(true));
    assert_eq!(answer(step(&mut raft, ask(3, end(4, 99)))), Some(false), "voted already");
    assert_eq!(answer(step(&mut raft, ask(2, end(4, 10)))), Some(true), "the same again");
}

#[test]
fn a_leader_that_hears_of_a_later_epoch_steps_down() {
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, pre_vote(2, 0, true));
    step(&mut raft, vote(2, 1, true));
    let effects = step(&mut raft, Input::Heard(Standing { epoch: 2, leader: Some(3) }));
    assert_eq!(effects, [Effect::StepDown]);
    assert!(matches!(raft.role(), Role::Follower(Following { leader: 3, has_fetched: false, .. })));
}

#[test]
fn a_leader_follows_a_replica_that_fetches_in_a_later_epoch_into_it() {
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, pre_vote(2, 0, true));
    step(&mut raft, vote(2, 1, true));
    // What no replica can ask for moves no leader.
    let (own, broken) = (fetch(key(1), 3, end(1, 1)), fetch(key(4), 3, end(4, 1)));
    for asked in [own, broken, fetch(key(-1), 3, end(1, 1))] {
        assert_eq!(step(&mut raft, Input::Fetched(asked)), [], "{asked:?}");
    }
    // It had voted for itself, and is no voter any more: it never stands for election again.
    let observer = fetch(key(4), 3, end(1, 1));
    assert_eq!(step(&mut raft, Input::Fetched(observer)), [Effect::StepDown]);
    assert_eq!((raft.role(), raft.epoch()), (&Role::Unattached, 3));
}
