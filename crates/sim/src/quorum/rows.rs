//! The table of a replica's roles: which event moves it from which role to which.

use ottla_raft::{Input, Raft, Role};
use ottla_types::{LeaderEpoch, NodeId};

/// A role without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoleName {
    Unattached,
    Follower,
    Prospective,
    Candidate,
    Leader,
    Resigned,
}

/// What of a replica the table speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    pub part: RoleName,
    pub epoch: LeaderEpoch,
    pub leader: Option<NodeId>,
}

impl Stand {
    pub fn of(raft: &Raft) -> Self {
        let part = match raft.role() {
            Role::Unattached => RoleName::Unattached,
            Role::Follower { .. } => RoleName::Follower,
            Role::Prospective { .. } => RoleName::Prospective,
            Role::Candidate { .. } => RoleName::Candidate,
            Role::Leader { .. } => RoleName::Leader,
            Role::Resigned => RoleName::Resigned,
        };
        Self { part, epoch: raft.epoch(), leader: raft.leader() }
    }
}

/// The rows, in words.
pub(crate) const ROWS: [&str; 22] = [
    "start: Unattached",
    "start: Follower of the leader that it knew",
    "start: Candidate, after a vote for itself",
    "start: Resigned, after it had led",
    "start: Leader, as the only voter",
    "later epoch, no leader known -> Unattached",
    "later epoch, leader known -> Follower",
    "Unattached, Prospective or Candidate learns its epoch's leader -> Follower",
    "Unattached: election timeout -> Prospective",
    "Follower: fetch timeout -> Prospective",
    "Prospective: majority of pre-votes -> Candidate of the next epoch",
    "Prospective: refused, leader known -> Follower",
    "Prospective: refused, no leader known -> Unattached",
    "Prospective: timeout, leader known -> Follower",
    "Prospective: timeout, no leader known -> Unattached",
    "Candidate: majority -> Leader",
    "Candidate: timeout -> Prospective",
    "Leader: asked to resign -> Resigned",
    "Leader: its majority does not fetch -> Resigned",
    "Resigned: timeout -> Unattached of the next epoch",
    "Follower: its leader's answer -> stays",
    "Unattached, the only voter: election timeout -> Leader of the next epoch",
];

/// The row that a step was, if it was a move; an error if no row allows it.
pub(crate) fn row(before: Stand, input: &Input, after: Stand) -> Result<Option<usize>, String> {
    use RoleName::{Candidate, Follower, Leader, Prospective, Resigned, Unattached};
    if let Input::Started(_) = input {
        return start_row(after);
    }
    if let (Input::FetchAnswered { .. }, true) = (input, before == after) {
        return Ok((after.part == Follower).then_some(20));
    }
    if before == after {
        return Ok(None);
    }
    let same = before.epoch == after.epoch;
    let next = before.epoch + 1 == after.epoch;
    let later = before.epoch < after.epoch;
    let timed_out = matches!(input, Input::TimedOut);
    let voted = matches!(input, Input::Voted(_));
    let known = before.leader.is_some();
    let at = match (before.part, after.part) {
        (Unattached, Prospective) if same && timed_out => 8,
        (Follower, Prospective) if same && timed_out && after.leader == before.leader => 9,
        (Prospective, Candidate) if next && voted => 10,
        (Prospective, Follower) if same && known && voted => 11,
        (Prospective, Unattached) if same && !known && voted => 12,
        (Prospective, Follower) if same && known && timed_out => 13,
        (Prospective, Unattached) if same && !known && timed_out => 14,
        (Candidate, Leader) if same && voted => 15,
        (Candidate, Prospective) if same && timed_out => 16,
        (Leader, Resigned) if same && matches!(input, Input::Resign) => 17,
        (Leader, Resigned) if same && timed_out => 18,
        (Resigned, Unattached) if next && timed_out => 19,
        (Unattached, Leader) if next && timed_out => 21,
        (Unattached | Prospective | Candidate, Follower) if same && !known && !timed_out => 7,
        (_, Unattached) if later && !timed_out => 5,
        (_, Follower) if later && !timed_out => 6,
        _ => return Err(format!("{before:?} became {after:?} by {input:?}")),
    };
    Ok(Some(at))
}

fn start_row(after: Stand) -> Result<Option<usize>, String> {
    match after.part {
        RoleName::Unattached => Ok(Some(0)),
        RoleName::Follower => Ok(Some(1)),
        RoleName::Candidate => Ok(Some(2)),
        RoleName::Resigned => Ok(Some(3)),
        RoleName::Leader => Ok(Some(4)),
        RoleName::Prospective => Err(format!("started as {after:?}")),
    }
}
