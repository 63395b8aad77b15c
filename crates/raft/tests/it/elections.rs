//! Elections that once did not end, or ended twice; the first test of each names the defect.

use ottla_raft::{Ballot, Durable, Effect, Input, LogEnd, Moment, Raft, Role, Timing, VoteAsked};
use ottla_types::NodeId;

use crate::{end, key, pre_vote, replica, step, vote, voters};

fn asked(id: NodeId, epoch: i32, log: LogEnd, ballot: Ballot) -> Input {
    Input::Asked(VoteAsked { candidate: key(id), epoch, log, ballot })
}

/// Does the replica say yes?
fn grants(raft: &mut Raft, input: Input) -> bool {
    let answer = step(raft, input).into_iter().find_map(|effect| match effect {
        Effect::AnswerVote { answer, .. } => Some(answer.granted),
        _ => None,
    });
    answer.expect("an answer")
}

/// Node 1 of three, a follower of node 3 in epoch 4.
fn follower() -> Raft {
    let mut raft = replica(1, &[1, 2, 3], end(4, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: Some(3), voted: None }));
    raft
}

#[test]
fn a_prospective_that_remembers_a_leader_grants_pre_votes() {
    // Else the two that survive their leader always refuse each other.
    let mut raft = follower();
    step(&mut raft, Input::FetchAnswered { leader: 3, epoch: 4 });
    step(&mut raft, Input::TimedOut);
    assert!(matches!(raft.role(), Role::Prospective { leader: Some(3), .. }));
    assert!(grants(&mut raft, asked(2, 4, end(4, 10), Ballot::PreVote)));
    assert!(!grants(&mut raft, asked(2, 4, end(4, 9), Ballot::PreVote)), "a shorter log");
}

#[test]
fn a_follower_grants_pre_votes_until_its_leader_has_answered_a_fetch() {
    let mut raft = follower();
    assert!(grants(&mut raft, asked(2, 4, end(4, 10), Ballot::PreVote)));
    step(&mut raft, Input::FetchAnswered { leader: 2, epoch: 4 });
    step(&mut raft, Input::FetchAnswered { leader: 3, epoch: 3 });
    assert!(grants(&mut raft, asked(2, 4, end(4, 10), Ballot::PreVote)), "of another leader");
    step(&mut raft, Input::FetchAnswered { leader: 3, epoch: 4 });
    assert!(!grants(&mut raft, asked(2, 4, end(4, 10), Ballot::PreVote)));
}

#[test]
fn a_pre_vote_of_a_later_epoch_moves_the_replica_there() {
    // Else a replica that is one epoch ahead never comes back.
    let mut raft = follower();
    step(&mut raft, Input::FetchAnswered { leader: 3, epoch: 4 });
    assert!(grants(&mut raft, asked(2, 5, end(4, 10), Ballot::PreVote)));
    assert_eq!((raft.epoch(), raft.role()), (5, &Role::Unattached));
}

#[test]
fn an_election_is_lost_when_no_majority_can_be_had_any_more() {
    // Voters, and how many refusals end the election. Of 4 voters 3 must agree: 2 refusals do.
    for (count, refusals) in [(2, 1), (3, 2), (4, 2), (5, 3), (6, 3)] {
        let ids: Vec<NodeId> = (1..=count).collect();
        let mut raft = replica(1, &ids, end(0, 0));
        step(&mut raft, Input::Started(Durable::default()));
        step(&mut raft, Input::TimedOut);
        for refusal in 1..=refusals {
            let before = raft.role().clone();
            assert!(matches!(before, Role::Prospective { .. }), "{count} voters, {refusal}");
            step(&mut raft, pre_vote(1 + refusal, 0, false));
        }
        assert_eq!(raft.role(), &Role::Unattached, "{count} voters, {refusals} refusals");
    }
}

#[test]
fn a_pre_vote_that_comes_late_is_no_vote() {
    // A candidate that restarts asks in the same epoch for votes; of its last life there may be
    // answers on the way to pre-votes in that epoch.
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    step(&mut raft, Input::Started(Durable { epoch: 7, leader: None, voted: Some(key(1)) }));
    assert!(matches!(raft.role(), Role::Candidate { .. }));
    step(&mut raft, pre_vote(2, 7, true));
    assert!(matches!(raft.role(), Role::Candidate { .. }));
    assert_eq!(step(&mut raft, vote(2, 7, true)), [Effect::OpenEpoch { epoch: 7 }]);
}

#[test]
fn a_vote_is_not_answered_again_before_it_is_on_the_disk() {
    let mut raft = Raft::new(key(1), voters(&[1, 2, 3]), end(0, 0), Timing::default());
    let moment = Moment::default();
    let mut out = Vec::new();
    raft.step(moment, Input::Started(Durable::default()), &mut out);
    let ask = asked(2, 1, end(0, 0), Ballot::Vote);
    let answers = |out: &[Effect]| {
        out.iter().filter(|effect| matches!(effect, Effect::AnswerVote { .. })).count()
    };
    raft.step(moment, ask.clone(), &mut out);
    raft.step(moment, ask, &mut out);
    assert_eq!(answers(&out), 0);
    let durable = raft.durable().clone();
    raft.step(moment, Input::Persisted(durable), &mut out);
    assert_eq!(answers(&out), 2);
}

#[test]
fn a_leader_that_loses_its_majority_resigns() {
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, pre_vote(2, 0, true));
    step(&mut raft, vote(2, 1, true));
    assert!(matches!(raft.role(), Role::Leader { .. }));
    assert_eq!(step(&mut raft, Input::TimedOut), [Effect::StepDown]);
    assert_eq!(raft.role(), &Role::Resigned);
    step(&mut raft, Input::TimedOut);
    assert_eq!((raft.epoch(), raft.role()), (2, &Role::Unattached));
}

#[test]
fn only_records_behind_the_opening_batch_commit_an_older_epochs() {
    // The opening batch lies behind two records of epoch 3 that are not on the leader's disk yet
    // when it is elected; that they are on all disks later does not commit them.
    let mut raft = replica(1, &[1, 2, 3], end(3, 40));
    step(&mut raft, Input::Started(Durable { epoch: 3, leader: None, voted: None }));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, pre_vote(2, 3, true));
    step(&mut raft, vote(2, 4, true));
    step(&mut raft, Input::EpochOpened { epoch: 4, start: 42 });
    assert_eq!(step(&mut raft, Input::Stored(end(3, 42))), []);
    assert_eq!(step(&mut raft, Input::Fetched { follower: key(2), end: 42 }), []);
    assert_eq!(step(&mut raft, Input::Stored(end(4, 43))), []);
    assert_eq!(
        step(&mut raft, Input::Fetched { follower: key(2), end: 43 }),
        [Effect::Committed(43)]
    );
}
