//! Elections and commits, as short stories.

use ottla_raft::{
    Durable, Effect, Input, LogEnd, Raft, ReplicaKey, Role, VoteAsked, Voter, VoterSet,
};
use ottla_types::{NodeId, Uuid};

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

/// Makes everything durable at once; returns what is left to be done.
fn settle(raft: &mut Raft, effects: Vec<Effect>) -> Vec<Effect> {
    let mut left = Vec::new();
    for effect in effects {
        match effect {
            Effect::Persist(durable) => {
                let more = raft.step(Input::Persisted(durable));
                left.extend(settle(raft, more));
            }
            other => left.push(other),
        }
    }
    left
}

fn step(raft: &mut Raft, input: Input) -> Vec<Effect> {
    let effects = raft.step(input);
    settle(raft, effects)
}

#[test]
fn the_only_voter_leads_at_once_but_not_before_it_is_durable() {
    let mut raft = Raft::new(key(1), voters(&[1]), end(0, 0));
    let effects = raft.step(Input::Started(Durable::default()));
    let wanted = Durable { epoch: 1, leader: Some(1), voted: None };
    assert_eq!(effects, [Effect::Persist(wanted.clone())]);
    assert_eq!(raft.step(Input::Persisted(wanted)), [Effect::OpenEpoch { epoch: 1 }]);
}

#[test]
fn nothing_commits_before_the_epoch_has_something_on_disk() {
    let mut raft = Raft::new(key(1), voters(&[1]), end(3, 40));
    let durable = Durable { epoch: 3, leader: Some(1), voted: None };
    assert_eq!(step(&mut raft, Input::Started(durable)), [Effect::OpenEpoch { epoch: 4 }]);
    assert_eq!(step(&mut raft, Input::Stored(end(3, 40))), []);
    assert_eq!(step(&mut raft, Input::Stored(end(4, 41))), [Effect::Committed(41)]);
}

#[test]
fn an_old_quorum_state_gives_way_to_the_log() {
    let mut raft = Raft::new(key(1), voters(&[1]), end(7, 40));
    step(&mut raft, Input::Started(Durable { epoch: 2, leader: None, voted: Some(key(1)) }));
    assert_eq!(raft.epoch(), 8);
}

#[test]
fn three_voters_ask_before_they_stand_and_commit_by_majority() {
    let mut raft = Raft::new(key(1), voters(&[1, 2, 3]), end(0, 0));
    assert_eq!(step(&mut raft, Input::Started(Durable::default())), [Effect::WaitElection]);
    let asked = step(&mut raft, Input::TimedOut);
    assert!(matches!(&asked[0], Effect::AskVotes(VoteAsked { pre_vote: true, epoch: 0, .. })));
    let asked = step(&mut raft, Input::Voted { voter: 2, epoch: 0, granted: true });
    assert!(matches!(&asked[0], Effect::AskVotes(VoteAsked { pre_vote: false, epoch: 1, .. })));
    let won = step(&mut raft, Input::Voted { voter: 3, epoch: 1, granted: true });
    assert_eq!(won, [Effect::OpenEpoch { epoch: 1 }]);
    assert_eq!(step(&mut raft, Input::Stored(end(1, 1))), []);
    let fetched = Input::Fetched { follower: key(2), end: 1 };
    assert_eq!(step(&mut raft, fetched), [Effect::Committed(1)]);
}

#[test]
fn a_stranger_with_a_voters_id_does_not_count() {
    let mut raft = Raft::new(key(1), voters(&[1, 2]), end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, Input::Voted { voter: 2, epoch: 0, granted: true });
    step(&mut raft, Input::Voted { voter: 2, epoch: 1, granted: true });
    step(&mut raft, Input::Stored(end(1, 5)));
    let wiped = ReplicaKey { id: 2, directory: Uuid::of(2000) };
    assert_eq!(step(&mut raft, Input::Fetched { follower: wiped, end: 5 }), []);
    let honest = Input::Fetched { follower: key(2), end: 5 };
    assert_eq!(step(&mut raft, honest), [Effect::Committed(5)]);
}

#[test]
fn a_vote_is_given_once_in_an_epoch_and_only_for_a_log_as_long() {
    let mut raft = Raft::new(key(1), voters(&[1, 2, 3]), end(4, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: None, voted: None }));
    let ask =
        |id, log| Input::Asked(VoteAsked { candidate: key(id), epoch: 5, log, pre_vote: false });
    let answer = |effects: Vec<Effect>| {
        effects.into_iter().find_map(|effect| match effect {
            Effect::AnswerVote { granted, .. } => Some(granted),
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
    let mut raft = Raft::new(key(1), voters(&[1, 2, 3]), end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, Input::Voted { voter: 2, epoch: 0, granted: true });
    step(&mut raft, Input::Voted { voter: 2, epoch: 1, granted: true });
    let effects = step(&mut raft, Input::Heard { epoch: 2, leader: Some(3) });
    assert_eq!(effects, [Effect::StepDown, Effect::WaitFetch]);
    assert_eq!(raft.role(), &Role::Follower { leader: 3 });
}
