//! Elections and commits, as short stories.

mod elections;

use ottla_raft::{
    Ballot, Durable, Effect, Input, LogEnd, Moment, Raft, ReplicaKey, Role, Timing, VoteAnswer,
    VoteAsked, Voter, VoterSet,
};
use ottla_types::{NodeId, Uuid};
use std::sync::atomic::{AtomicU64, Ordering};

const fn key(id: NodeId) -> ReplicaKey {
    ReplicaKey { id, directory: Uuid::of(1000) }
}

fn voters(ids: &[NodeId]) -> VoterSet {
    VoterSet::of(ids.iter().map(|id| Voter {
        key: key(*id),
        endpoints: Vec::new(),
        kraft_versions: (0, 1),
    }))
}

const fn end(epoch: i32, offset: i64) -> LogEnd {
    LogEnd { epoch, offset }
}

/// A replica of node `id` whose log ends at `log`.
fn replica(id: NodeId, ids: &[NodeId], log: LogEnd) -> Raft {
    Raft::new(key(id), voters(ids), log, Timing::default())
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
    Input::Voted(VoteAnswer { voter, epoch, ballot: Ballot::PreVote, granted })
}

fn vote(voter: NodeId, epoch: i32, granted: bool) -> Input {
    Input::Voted(VoteAnswer { voter, epoch, ballot: Ballot::Vote, granted })
}

#[test]
fn the_only_voter_leads_at_once_but_not_before_it_is_durable() {
    let mut raft = replica(1, &[1], end(0, 0));
    let effects = bare_step(&mut raft, Input::Started(Durable::default()));
    let wanted = Durable { epoch: 1, leader: Some(1), voted: None };
    assert_eq!(effects, [Effect::Persist(wanted.clone())]);
    let effects = bare_step(&mut raft, Input::Persisted(wanted));
    assert_eq!(effects, [Effect::OpenEpoch { epoch: 1 }]);
}

#[test]
fn nothing_commits_before_the_epoch_has_something_on_disk() {
    let mut raft = replica(1, &[1], end(3, 40));
    let durable = Durable { epoch: 3, leader: Some(1), voted: None };
    assert_eq!(step(&mut raft, Input::Started(durable)), [Effect::OpenEpoch { epoch: 4 }]);
    assert_eq!(step(&mut raft, Input::EpochOpened { epoch: 4, start: 40 }), []);
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
        Effect::AskVotes(VoteAsked { ballot: Ballot::PreVote, epoch: 0, .. })
    ));
    let asked = step(&mut raft, pre_vote(2, 0, true));
    assert!(matches!(
        &asked[0],
        Effect::AskVotes(VoteAsked { ballot: Ballot::Vote, epoch: 1, .. })
    ));
    let won = step(&mut raft, vote(3, 1, true));
    assert_eq!(won, [Effect::OpenEpoch { epoch: 1 }]);
    step(&mut raft, Input::EpochOpened { epoch: 1, start: 0 });
    assert_eq!(step(&mut raft, Input::Stored(end(1, 1))), []);
    let fetched = Input::Fetched { follower: key(2), end: 1 };
    assert_eq!(step(&mut raft, fetched), [Effect::Committed(1)]);
}

#[test]
fn a_stranger_with_a_voters_id_does_not_count() {
    let mut raft = replica(1, &[1, 2], end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, pre_vote(2, 0, true));
    step(&mut raft, vote(2, 1, true));
    step(&mut raft, Input::EpochOpened { epoch: 1, start: 0 });
    step(&mut raft, Input::Stored(end(1, 5)));
    let wiped = ReplicaKey { id: 2, directory: Uuid::of(2000) };
    assert_eq!(step(&mut raft, Input::Fetched { follower: wiped, end: 5 }), []);
    let honest = Input::Fetched { follower: key(2), end: 5 };
    assert_eq!(step(&mut raft, honest), [Effect::Committed(5)]);
}

#[test]
fn a_vote_is_given_once_in_an_epoch_and_only_for_a_log_as_long() {
    let mut raft = replica(1, &[1, 2, 3], end(4, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: None, voted: None }));
    let ask = |id, log| {
        Input::Asked(VoteAsked { candidate: key(id), epoch: 5, log, ballot: Ballot::Vote })
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
    let effects = step(&mut raft, Input::Heard { epoch: 2, leader: Some(3) });
    assert_eq!(effects, [Effect::StepDown]);
    assert_eq!(raft.role(), &Role::Follower { leader: 3, has_fetched: false });
}
