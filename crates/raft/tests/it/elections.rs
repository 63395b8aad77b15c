//! Elections that once did not end, or ended twice; the first test of each names the defect.

use ottla_raft::{
    Ballot, BeginAsked, Durable, Effect, EndAsked, FatalReason, FetchAnswer, FetchAnswered,
    FollowerRequest, Input, LogEnd, Moment, Raft, ReplicaKey, Role, Standing, VoteAnswer,
    VoteAsked,
};
use ottla_types::{ErrorCode, NodeId, Uuid};

use crate::{
    batch, end, fetch, key, opening, pre_vote, replica, step, store, vote, without_requests,
};

fn question(id: NodeId, epoch: i32, log: LogEnd, ballot: Ballot) -> VoteAsked {
    VoteAsked { candidate: key(id), epoch, log, ballot }
}

fn asked(id: NodeId, epoch: i32, log: LogEnd, ballot: Ballot) -> Input {
    Input::Asked { asked: question(id, epoch, log, ballot), voter: None }
}

/// The leader of an epoch has answered the fetch of node 1, and has nothing new.
fn answered(raft: &Raft, leader: NodeId, epoch: i32) -> Input {
    let asked = fetch(key(1), epoch, raft.log().end());
    let standing = Standing { epoch, leader: Some(leader) };
    let answer = FetchAnswer::Records { high_watermark: None, batches: Vec::new() };
    Input::FetchAnswered(FetchAnswered { from: leader, asked, standing, answer })
}

fn answer_to(raft: &mut Raft, input: Input) -> VoteAnswer {
    let answer = step(raft, input).into_iter().find_map(|effect| match effect {
        Effect::AnswerVote { answer, .. } => Some(answer),
        _ => None,
    });
    answer.expect("an answer")
}

/// Does the replica say yes?
fn grants(raft: &mut Raft, input: Input) -> bool {
    answer_to(raft, input).granted
}

/// Node 1 of three, a follower of node 3 in epoch 4.
fn follower() -> Raft {
    let mut raft = replica(1, &[1, 2, 3], end(4, 10));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: Some(3), voted: None }));
    raft
}

/// The same, and when it has become one.
fn follower_now() -> (Raft, u64) {
    let mut raft = replica(1, &[1, 2, 3], end(4, 10));
    let started = Input::Started(Durable { epoch: 4, leader: Some(3), voted: None });
    raft.step(Moment { now_ms: 10_000, draw: 0 }, started, &mut Vec::new());
    (raft, 10_000)
}

#[test]
fn a_prospective_that_remembers_a_leader_grants_pre_votes() {
    // Else the two that survive their leader always refuse each other.
    let mut raft = follower();
    let input = answered(&raft, 3, 4);
    step(&mut raft, input);
    step(&mut raft, Input::TimedOut);
    assert!(matches!(raft.role(), Role::Prospective { leader: Some(3), .. }));
    assert!(grants(&mut raft, asked(2, 4, end(4, 10), Ballot::PreVote)));
    assert!(!grants(&mut raft, asked(2, 4, end(4, 9), Ballot::PreVote)), "a shorter log");
}

#[test]
fn a_follower_whose_candidacy_is_refused_fetches_from_its_leader_again() {
    let mut raft = follower();
    let input = answered(&raft, 3, 4);
    step(&mut raft, input);
    let fetches = raft.next_request();
    assert!(matches!(fetches, Some(FollowerRequest::Fetch { leader: Some(3), .. })));
    step(&mut raft, Input::TimedOut);
    assert_eq!(raft.next_request(), None, "it asks for pre-votes");
    step(&mut raft, pre_vote(2, 4, false));
    step(&mut raft, pre_vote(3, 4, false));
    assert_eq!(raft.next_request(), fetches);
}

#[test]
fn a_follower_grants_pre_votes_until_its_leader_has_answered_a_fetch() {
    let mut raft = follower();
    assert!(grants(&mut raft, asked(2, 4, end(4, 10), Ballot::PreVote)));
    let input = answered(&raft, 3, 3);
    step(&mut raft, input);
    assert!(grants(&mut raft, asked(2, 4, end(4, 10), Ballot::PreVote)), "of an earlier epoch");
    let input = answered(&raft, 3, 4);
    step(&mut raft, input);
    assert!(!grants(&mut raft, asked(2, 4, end(4, 10), Ballot::PreVote)));
}

#[test]
fn a_pre_vote_of_a_later_epoch_moves_the_replica_there() {
    // Else a replica that is one epoch ahead never comes back.
    let mut raft = follower();
    let input = answered(&raft, 3, 4);
    step(&mut raft, input);
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
    assert_eq!(step(&mut raft, vote(2, 7, true)), [opening(7, &[1, 2])]);
}

#[test]
fn a_vote_is_not_answered_again_before_it_is_on_the_disk() {
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
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
    let voters = vec![key(2), key(3)];
    let ends = Effect::EndEpoch { epoch: 1, voters };
    assert_eq!(step(&mut raft, Input::TimedOut), [Effect::StepDown, ends]);
    assert_eq!(raft.role(), &Role::Resigned);
    step(&mut raft, Input::TimedOut);
    assert_eq!((raft.epoch(), raft.role()), (2, &Role::Unattached));
}

#[test]
fn only_records_behind_the_opening_batch_commit_an_older_epochs() {
    // The opening batch lies behind two records of epoch 3 that are not on the leader's disk yet
    // when it is elected; that they are on all disks later does not commit them.
    let mut raft = replica(1, &[1, 2, 3], end(3, 42));
    step(&mut raft, Input::Stored(end(3, 40)));
    step(&mut raft, Input::Started(Durable { epoch: 3, leader: None, voted: None }));
    step(&mut raft, Input::TimedOut);
    step(&mut raft, pre_vote(2, 3, true));
    step(&mut raft, vote(2, 4, true));
    step(&mut raft, Input::Appended(batch(42, 43, 4)));
    let fetched = |at| Input::Fetched(fetch(key(2), 4, at));
    assert_eq!(step(&mut raft, Input::Stored(end(3, 42))), []);
    assert_eq!(step(&mut raft, fetched(end(3, 42))), []);
    assert_eq!(step(&mut raft, Input::Stored(end(4, 43))), []);
    assert_eq!(step(&mut raft, fetched(end(4, 43))), [Effect::Committed(43)]);
}

#[test]
fn a_request_for_another_disk_of_the_node_is_refused() {
    // The voter that was on the other disk has promised what this one does not know.
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    let wiped = ReplicaKey { id: 1, directory: Uuid::of(7) };
    let any_disk = ReplicaKey { id: 1, directory: Uuid::ZERO };
    let cases = [
        (Some(wiped), ErrorCode::INVALID_VOTER_KEY),
        (Some(key(2)), ErrorCode::INVALID_VOTER_KEY),
        (Some(any_disk), ErrorCode::NONE),
        (Some(key(1)), ErrorCode::NONE),
        (None, ErrorCode::NONE),
    ];
    for (voter, error) in cases {
        let asked = question(2, 1, end(0, 0), Ballot::Vote);
        let answer = answer_to(&mut raft, Input::Asked { asked, voter });
        assert_eq!((answer.error, answer.granted), (error, error.is_none()), "{voter:?}");
        let begin = BeginAsked { leader: 2, epoch: 1, voter };
        let answers = step(&mut raft.clone(), Input::BeginAsked(begin));
        assert_eq!(answers.last(), Some(&Effect::AnswerBegin { leader: 2, error }), "{voter:?}");
    }
}

#[test]
fn a_question_that_no_candidate_can_ask_is_refused() {
    // Epoch, log, ballot.
    let cases = [
        (5, end(5, 10), Ballot::Vote, ErrorCode::INVALID_REQUEST),
        (5, end(6, 10), Ballot::PreVote, ErrorCode::INVALID_REQUEST),
        (5, end(4, -1), Ballot::Vote, ErrorCode::INVALID_REQUEST),
        (5, end(5, 10), Ballot::PreVote, ErrorCode::NONE),
        (5, end(4, 10), Ballot::Vote, ErrorCode::NONE),
        (3, end(2, 10), Ballot::Vote, ErrorCode::FENCED_LEADER_EPOCH),
    ];
    for (epoch, log, ballot, error) in cases {
        let mut raft = follower();
        let answer = answer_to(&mut raft, asked(2, epoch, log, ballot));
        assert_eq!(answer.error, error, "{epoch} {log:?} {ballot:?}");
    }
}

#[test]
fn a_voter_that_knows_no_pre_votes_is_asked_for_its_vote_at_once() {
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    step(&mut raft, Input::Started(Durable::default()));
    step(&mut raft, Input::TimedOut);
    let error = ErrorCode::UNSUPPORTED_VERSION;
    let (voter, ballot) = (2, Ballot::PreVote);
    let old = Input::Voted(VoteAnswer { voter, epoch: 0, ballot, granted: false, error });
    step(&mut raft, old.clone());
    assert!(matches!(raft.role(), Role::Candidate { .. }));
    assert_eq!(raft.epoch(), 1);
    step(&mut raft, old);
    assert_eq!(raft.epoch(), 1, "it comes twice");
}

#[test]
fn a_leader_tells_the_voters_that_do_not_fetch_that_it_leads() {
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    let mut now_ms = 0;
    let mut at = |raft: &mut Raft, later_ms: u64, input: Input| {
        now_ms += later_ms;
        let mut out = Vec::new();
        raft.step(Moment { now_ms, draw: 0 }, input, &mut out);
        let begun = out.iter().find_map(|effect| match effect {
            Effect::BeginEpoch { voters, .. } => Some(voters.iter().map(|it| it.id).collect()),
            _ => None,
        });
        begun.unwrap_or_else(Vec::new)
    };
    at(&mut raft, 0, Input::Started(Durable { epoch: 0, leader: None, voted: Some(key(1)) }));
    at(&mut raft, 0, vote(2, 0, true));
    let promised = raft.durable().clone();
    at(&mut raft, 0, Input::Persisted(promised));
    assert_eq!(at(&mut raft, 0, Input::Appended(batch(0, 1, 0))), [2, 3], "when it begins");
    at(&mut raft, 600, Input::Fetched(fetch(key(2), 0, end(0, 1))));
    assert_eq!(at(&mut raft, 399, Input::TimedOut), [0; 0], "too early");
    assert_eq!(at(&mut raft, 1, Input::TimedOut), [3], "the one that is silent for half a timeout");
    at(&mut raft, 300, Input::Fetched(fetch(key(3), 0, end(0, 1))));
    assert_eq!(at(&mut raft, 700, Input::TimedOut), [2]);
}

#[test]
fn a_leader_that_resigns_names_those_first_that_have_more() {
    let mut raft = replica(1, &[1, 2, 3, 4], end(0, 0));
    step(&mut raft, Input::Started(Durable { epoch: 0, leader: None, voted: Some(key(1)) }));
    step(&mut raft, vote(2, 0, true));
    step(&mut raft, vote(3, 0, true));
    store(&mut raft, 0, end(0, 9));
    for (id, offset) in [(2, 3), (4, 9)] {
        step(&mut raft, Input::Fetched(fetch(key(id), 0, end(0, offset))));
    }
    let voters = vec![key(4), key(2), key(3)];
    let effects = step(&mut raft, Input::Resign);
    assert_eq!(effects, [Effect::StepDown, Effect::EndEpoch { epoch: 0, voters }]);
}

#[test]
fn a_follower_stands_at_its_turn_when_its_leader_ends_its_epoch() {
    let ends = |leader, epoch, ids: &[NodeId]| {
        let preferred = ids.iter().copied().map(key).collect();
        Input::EndAsked(EndAsked { leader, epoch, preferred })
    };
    // The request, the answer, and in how many milliseconds the follower stands then.
    let cases = [
        (ends(3, 4, &[1, 2]), ErrorCode::NONE, Some(0)),
        (ends(3, 4, &[2, 1]), ErrorCode::NONE, Some(500)),
        (ends(3, 4, &[2]), ErrorCode::NONE, Some(1000)),
        (ends(3, 3, &[1, 2]), ErrorCode::FENCED_LEADER_EPOCH, None),
        (ends(-1, 4, &[1, 2]), ErrorCode::INVALID_REQUEST, None),
    ];
    for (input, error, wait_ms) in cases {
        let (mut raft, now_ms) = follower_now();
        let mut out = Vec::new();
        let text = format!("{input:?}");
        raft.step(Moment { now_ms, draw: 0 }, input, &mut out);
        let told = out.iter().find_map(|effect| match effect {
            Effect::AnswerEnd { error, .. } => Some(*error),
            _ => None,
        });
        assert_eq!(told, Some(error), "{text}");
        let waits = out.iter().find_map(|effect| match effect {
            Effect::Wait { until_ms } => *until_ms,
            _ => None,
        });
        assert_eq!(waits.map(|at| at - now_ms), wait_ms, "{text}");
    }
}

#[test]
fn a_follower_whose_leader_refuses_connections_does_not_wait_for_its_fetch_timeout() {
    let (mut raft, now_ms) = follower_now();
    let (draw, mut out) = (999, Vec::new());
    let input = answered(&raft, 3, 4);
    raft.step(Moment { now_ms, draw }, input, &mut out);
    raft.step(Moment { now_ms, draw }, Input::LeaderUnreachable { leader: 2 }, &mut out);
    assert!(!grants(&mut raft.clone(), asked(2, 4, end(4, 10), Ballot::PreVote)), "not its leader");
    raft.step(Moment { now_ms, draw }, Input::LeaderUnreachable { leader: 3 }, &mut out);
    assert!(grants(&mut raft.clone(), asked(2, 4, end(4, 10), Ballot::PreVote)));
    let mut at = |raft: &mut Raft, now_ms| {
        raft.step(Moment { now_ms, draw: 0 }, Input::TimedOut, &mut out);
        matches!(raft.role(), Role::Prospective { leader: Some(3), .. })
    };
    assert!(!at(&mut raft, now_ms + 123), "chance spreads it over an eighth of a timeout");
    assert!(at(&mut raft, now_ms + 124));
}

#[test]
fn two_leaders_of_one_epoch_are_the_end() {
    let mut raft = follower();
    let heard = |leader| Input::Heard(Standing { epoch: 4, leader: Some(leader) });
    assert_eq!(step(&mut raft, heard(3)), []);
    let reason = FatalReason::TwoLeaders { epoch: 4, known: 3, other: 2 };
    assert_eq!(step(&mut raft, heard(2)), [Effect::Fatal(reason)]);
    let later = Input::Heard(Standing { epoch: 9, leader: Some(2) });
    assert_eq!(step(&mut raft, later), [], "it takes nothing in any more");
}

#[test]
fn a_replica_starts_as_what_it_had_promised_to_be() {
    let durable =
        |leader, voted: Option<NodeId>| Durable { epoch: 4, leader, voted: voted.map(key) };
    let cases = [
        (durable(None, None), "Unattached"),
        (durable(Some(3), None), "Follower"),
        (durable(Some(3), Some(2)), "Follower"),
        // Where node 9 listens is not known; no vote of this epoch is given to another replica.
        (durable(Some(9), None), "Unattached"),
        (durable(Some(1), None), "Resigned"),
        (durable(None, Some(1)), "Candidate"),
        (durable(None, Some(2)), "Unattached"),
    ];
    for (promised, expected) in cases {
        let mut raft = replica(1, &[1, 2, 3], end(3, 10));
        step(&mut raft, Input::Started(promised.clone()));
        let name = format!("{:?}", raft.role());
        assert!(name.starts_with(expected), "{promised:?}: {name}");
        assert_eq!(raft.durable(), &promised);
        if promised.leader.is_some() {
            assert!(!grants(&mut raft, asked(3, 4, end(3, 10), Ballot::Vote)), "{promised:?}");
        }
    }
}

#[test]
fn a_replica_without_a_leader_asks_soon_after_its_start() {
    // A quorum that is started as a whole must not wait an election timeout of a second or two.
    let until = |raft: &mut Raft, now_ms, input| {
        let mut out = Vec::new();
        raft.step(Moment { now_ms, draw: 10_999 }, input, &mut out);
        out.iter().find_map(|it| match it {
            Effect::Wait { until_ms } => *until_ms,
            _ => None,
        })
    };
    let started =
        |leader: Option<NodeId>| Input::Started(Durable { epoch: 4, leader, voted: None });
    let mut fresh = replica(1, &[1, 2, 3], end(3, 10));
    assert_eq!(until(&mut fresh, 5000, started(None)), Some(5249));
    // A second attempt waits: the others may not listen yet.
    assert_eq!(until(&mut fresh, 6000, Input::TimedOut), Some(7999));
    let mut led = replica(1, &[1, 2, 3], end(3, 10));
    assert_eq!(until(&mut led, 5000, started(Some(1))), Some(5249));
    assert_eq!(until(&mut led, 6000, Input::TimedOut), Some(6249));
    assert_eq!((led.epoch(), led.role()), (5, &Role::Unattached));
    let mut follows = replica(1, &[1, 2, 3], end(3, 10));
    assert_eq!(until(&mut follows, 5000, started(Some(3))), Some(7000));
}

#[test]
fn a_leader_says_that_it_leads_when_that_is_on_its_disk() {
    // Else it could restart as a candidate that others hold for the leader.
    let mut raft = replica(1, &[1, 2, 3], end(0, 0));
    step(&mut raft, Input::Started(Durable { epoch: 4, leader: None, voted: Some(key(1)) }));
    let mut out = Vec::new();
    raft.step(Moment::default(), vote(2, 4, true), &mut out);
    assert_eq!(raft.standing(), Standing { epoch: 4, leader: None });
    let promised = raft.durable().clone();
    let opens = without_requests(step(&mut raft, Input::Persisted(promised)));
    assert_eq!(opens, [opening(4, &[1, 2])]);
    assert_eq!(raft.standing(), Standing { epoch: 4, leader: Some(1) });
}
