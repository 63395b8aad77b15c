//! The table of a replica's roles: which event moves it from which role to which.

use ottla_raft::{Input, Raft, Role};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId};

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
            Role::Follower(_) => RoleName::Follower,
            Role::Prospective { .. } => RoleName::Prospective,
            Role::Candidate { .. } => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
            Role::Resigned => RoleName::Resigned,
        };
        Self { part, epoch: raft.epoch(), leader: raft.leader() }
    }
}

/// What of an input the table speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowEvent {
    /// It had promised to follow this leader.
    Started(Option<NodeId>),
    TimedOut,
    Voted,
    /// A voter knows no pre-votes.
    Unsupported,
    Resign,
    /// This leader says that it leads no longer.
    Ended(NodeId),
    /// The process of this leader is gone.
    Unreachable(NodeId),
    /// The leader has answered a fetch, of the log or of a snapshot.
    Answered,
    Other,
}

impl RowEvent {
    pub fn of(input: &Input) -> Self {
        match input {
            Input::Started(durable) => Self::Started(durable.leader),
            Input::TimedOut => Self::TimedOut,
            Input::Voted(answer) if answer.error == ErrorCode::UNSUPPORTED_VERSION => {
                Self::Unsupported
            }
            Input::Voted(_) => Self::Voted,
            Input::Resign => Self::Resign,
            Input::EndAsked(asked) => Self::Ended(asked.leader),
            Input::LeaderUnreachable { leader } => Self::Unreachable(*leader),
            Input::FetchAnswered(_) | Input::SnapshotAnswered(_) => Self::Answered,
            _ => Self::Other,
        }
    }
}

/// The rows, in words.
pub(crate) const ROWS: [&str; 27] = [
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
    "Unattached or Follower, the only voter: timeout -> Leader of the next epoch",
    "Prospective: a voter knows no pre-votes -> Candidate of the next epoch",
    "Leader: its own removal has committed -> Resigned",
    "Follower: EndQuorumEpoch of its leader -> stays, and stands at its turn",
    "Follower: its leader refuses connections -> stays, and stands at once",
    "start: Unattached, where its leader listens is not known",
];

/// The row that a step was, if it was a move; an error if no row allows it.
pub(crate) fn matching_row(
    before: Stand,
    event: RowEvent,
    after: Stand,
) -> Result<Option<usize>, String> {
    use RoleName::{Candidate, Follower, Leader, Prospective, Resigned, Unattached};
    let known = before.leader.is_some();
    if let RowEvent::Started(leader) = event {
        return start_row(leader, after);
    }
    if before == after {
        let stays = match event {
            RowEvent::Answered => Some(20),
            RowEvent::Ended(leader) if before.leader == Some(leader) => Some(24),
            RowEvent::Unreachable(leader) if before.leader == Some(leader) => Some(25),
            _ => None,
        };
        return Ok(stays.filter(|_| after.part == Follower));
    }
    let same = before.epoch == after.epoch;
    let next = before.epoch + 1 == after.epoch;
    let later = before.epoch < after.epoch;
    let timed_out = event == RowEvent::TimedOut;
    let voted = event == RowEvent::Voted;
    let at = match (before.part, after.part) {
        (Unattached, Prospective) if same && timed_out => 8,
        (Follower, Prospective) if same && timed_out && after.leader == before.leader => 9,
        (Prospective, Candidate) if next && voted => 10,
        (Prospective, Candidate) if next && event == RowEvent::Unsupported => 22,
        (Prospective, Follower) if same && known && voted => 11,
        (Prospective, Unattached) if same && !known && voted => 12,
        (Prospective, Follower) if same && known && timed_out => 13,
        (Prospective, Unattached) if same && !known && timed_out => 14,
        (Candidate, Leader) if same && voted => 15,
        (Candidate, Prospective) if same && timed_out => 16,
        (Leader, Resigned) if same && event == RowEvent::Resign => 17,
        (Leader, Resigned) if same && timed_out => 18,
        (Leader, Resigned) if same && event == RowEvent::Other => 23,
        (Resigned, Unattached) if next && timed_out => 19,
        (Unattached | Follower, Leader) if next && timed_out => 21,
        (Unattached | Prospective | Candidate, Follower) if same && !known && !timed_out => 7,
        (_, Unattached) if later && !timed_out => 5,
        (_, Follower) if later && !timed_out => 6,
        _ => return Err(format!("{before:?} became {after:?} by {event:?}")),
    };
    Ok(Some(at))
}

fn start_row(leader: Option<NodeId>, after: Stand) -> Result<Option<usize>, String> {
    match after.part {
        RoleName::Unattached if leader.is_some() => Ok(Some(26)),
        RoleName::Unattached => Ok(Some(0)),
        RoleName::Follower => Ok(Some(1)),
        RoleName::Candidate => Ok(Some(2)),
        RoleName::Resigned => Ok(Some(3)),
        RoleName::Leader => Ok(Some(4)),
        RoleName::Prospective => Err(format!("started as {after:?}")),
    }
}
