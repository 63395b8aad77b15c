//! Changes of the voters, one at a time (KIP-853).
//!
//! Only a leader that has committed something of its own epoch makes one: before, a change of an
//! earlier leader might still commit, and the majorities of the two need not overlap.

use alloc::vec;
use alloc::vec::Vec;

use ottla_types::{Bug, ErrorCode, LeaderEpoch, NodeId, Offset, is_planted};

use crate::effect::Effect;
use crate::input::Moment;
use crate::quorum_log::{LogBatch, QuorumControl};
use crate::raft::{Effects, Raft};
use crate::role::{Leadership, ReplicaProgress, Role};
use crate::voters::{KraftVersions, ReplicaKey, Voter, VoterSet};

/// Which request is meant; its host chooses it.
pub type RequestId = u64;

/// A change of the quorum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MembershipChange {
    /// AddRaftVoter: this replica becomes a voter.
    Add(Voter),
    /// RemoveRaftVoter: this replica votes no longer.
    Remove(ReplicaKey),
    /// UpdateRaftVoter: a voter listens elsewhere, or speaks other versions.
    Update(Voter),
    /// UpdateFeatures: `kraft.version` becomes this.
    Upgrade(i16),
}

/// A replica or an operator asks for a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChangeAsked {
    /// The request; [`Effect::AnswerChange`] names it.
    pub request: RequestId,
    /// The epoch that the request names; operators name none.
    pub epoch: Option<LeaderEpoch>,
    /// The change.
    pub change: MembershipChange,
    /// When the request is answered.
    pub answered: ChangeAnswered,
}

/// When a request for other voters is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeAnswered {
    /// When the change is in the leader's log.
    WhenAppended,
    /// When it has committed.
    WhenCommitted,
}

/// Whether a replica may become a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Candidacy {
    /// Never: it is no controller.
    Never,
    /// When an operator adds it.
    ByOperator,
    /// It adds itself: `controller.quorum.auto.join.enable`.
    Automatic,
}

impl Candidacy {
    pub(crate) const fn may_vote(self) -> bool {
        !matches!(self, Self::Never)
    }
}

/// The change that a leader makes at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PendingChange {
    /// Who is to be answered; `None` when that has happened.
    request: Option<RequestId>,
    answered: ChangeAnswered,
    stage: ChangeStage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ChangeStage {
    /// The new voter has been asked which versions it speaks.
    Asking(Voter),
    /// The record is being appended.
    Appending,
    /// The record is at this offset, and has not committed.
    Appended(Offset),
}

/// How long ago a replica may have fetched that is caught up, in milliseconds.
const CAUGHT_UP_MS: u64 = 3_600_000;

impl Raft {
    /// Another replica or an operator asks for a change.
    pub(crate) fn change_asked(&mut self, moment: Moment, asked: ChangeAsked, out: &mut Effects) {
        let ChangeAsked { request, epoch, change, answered } = asked;
        let checked = self.check_leads(epoch.unwrap_or(self.durable.epoch));
        let checked = checked.and_then(|()| self.check_change(&change));
        let controls = match (checked, change) {
            (Err(error), _) => return out.push(Effect::AnswerChange { request, error }),
            (Ok(()), MembershipChange::Add(voter)) => {
                let stage = ChangeStage::Asking(voter.clone());
                self.begin_change(
                    moment,
                    PendingChange { request: Some(request), answered, stage },
                );
                return out.push(Effect::AskVersions(voter));
            }
            (Ok(()), MembershipChange::Remove(key)) => {
                vec![QuorumControl::Voters(self.log.voters().without(key.id))]
            }
            (Ok(()), MembershipChange::Update(voter)) => {
                return self.update_voter(moment, request, voter, out);
            }
            (Ok(()), MembershipChange::Upgrade(version)) if version == self.log.kraft_version() => {
                let error = ErrorCode::NONE;
                return out.push(Effect::AnswerChange { request, error });
            }
            (Ok(()), MembershipChange::Upgrade(version)) => self.upgrade_controls(version),
        };
        let stage = ChangeStage::Appending;
        self.begin_change(moment, PendingChange { request: Some(request), answered, stage });
        out.push(Effect::AppendControls(controls));
    }

    /// May this leader make the change now? It looks only, for requests that ask no more.
    ///
    /// # Errors
    /// The code of the answer.
    pub fn check_change(&self, change: &MembershipChange) -> Result<(), ErrorCode> {
        check_form(change)?;
        let Role::Leader(leadership) = &self.role else {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        let busy = Err(ErrorCode::REQUEST_TIMED_OUT);
        if leadership.change.is_some() && !is_planted(Bug::TwoChangesAtOnce) {
            return busy;
        }
        let Some(committed) = self.committed_for_changes(leadership) else { return busy };
        let (voters, kraft_version) = (self.log.voters(), self.log.kraft_version());
        let has_own_voters = matches!(change, MembershipChange::Update(_)) && kraft_version < 1;
        let is_upgrade = matches!(change, MembershipChange::Upgrade(_));
        if !has_own_voters && !is_upgrade {
            if kraft_version < 1 {
                return Err(ErrorCode::UNSUPPORTED_VERSION);
            }
            let is_committed = self.log.voters_offset().is_some_and(|offset| offset < committed);
            if !is_committed && !is_planted(Bug::TwoChangesAtOnce) {
                return busy;
            }
        }
        match change {
            MembershipChange::Add(voter) => match voters.of_node(voter.key.id) {
                Some(_) => Err(ErrorCode::DUPLICATE_VOTER),
                None => Ok(()),
            },
            MembershipChange::Remove(key) => {
                let is_one = voters.of_node(key.id).is_some_and(|voter| voter.key == *key);
                if is_one && voters.len() > 1 { Ok(()) } else { Err(ErrorCode::VOTER_NOT_FOUND) }
            }
            MembershipChange::Update(voter) if !voter.speaks(kraft_version) => {
                Err(ErrorCode::INVALID_REQUEST)
            }
            MembershipChange::Update(voter) => {
                if voters.has(voter.key) {
                    Ok(())
                } else {
                    Err(ErrorCode::VOTER_NOT_FOUND)
                }
            }
            MembershipChange::Upgrade(version) => self.check_upgrade(leadership, *version),
        }
    }

    /// The high watermark, without which nothing changes.
    fn committed_for_changes(&self, leadership: &Leadership) -> Option<Offset> {
        let committed = leadership.committed;
        if is_planted(Bug::ChangeBeforeCommit) {
            return committed.or(Some(self.log.end().offset));
        }
        committed
    }

    /// `kraft.version` goes from 0 to 1, once all voters have said that they speak it, and which
    /// directories they have.
    fn check_upgrade(&self, leadership: &Leadership, version: i16) -> Result<(), ErrorCode> {
        let known = self.log.kraft_version();
        if version == known {
            return Ok(());
        }
        let introduced = leadership.introduced.as_ref().filter(|_| known == 0 && version == 1);
        let Some(introduced) = introduced else { return Err(ErrorCode::INVALID_UPDATE_VERSION) };
        let is_ready = introduced.iter().all(|voter| is_ready_for(voter, version));
        if is_ready { Ok(()) } else { Err(ErrorCode::INVALID_UPDATE_VERSION) }
    }

    /// The voters for which `kraft.version` cannot become this yet: they have not told this leader
    /// that they speak it, and which directory they have. None where there is no such upgrade.
    pub fn unready_voters(&self, version: i16) -> impl Iterator<Item = NodeId> {
        let introduced = self.role.leadership().and_then(|it| it.introduced.as_ref());
        let unready = introduced.into_iter().flat_map(VoterSet::iter);
        unready.filter(move |voter| !is_ready_for(voter, version)).map(|voter| voter.key.id)
    }

    fn upgrade_controls(&self, version: i16) -> Vec<QuorumControl> {
        let mut controls = vec![QuorumControl::KraftVersion(version)];
        let introduced = self.role.leadership().and_then(|it| it.introduced.clone());
        controls.extend(introduced.map(QuorumControl::Voters));
        controls
    }

    fn begin_change(&mut self, moment: Moment, change: PendingChange) {
        if let Some(leadership) = self.role.leadership_mut() {
            leadership.change = Some(change);
            self.timers.change_ms = Some(moment.now_ms + self.timing.request_ms);
        }
    }

    /// A voter says where it listens: into the log, or before kraft.version 1 into memory.
    fn update_voter(
        &mut self,
        moment: Moment,
        request: RequestId,
        voter: Voter,
        out: &mut Effects,
    ) {
        let key = voter.key;
        if self.log.kraft_version() >= 1 {
            let voters = self.log.voters().with(voter);
            out.push(Effect::AppendControls(vec![QuorumControl::Voters(voters)]));
        } else if let Some(leadership) = self.role.leadership_mut()
            && let Some(introduced) = &mut leadership.introduced
        {
            *introduced = introduced.with(voter);
        }
        self.heard_from(moment, key);
        out.push(Effect::AnswerChange { request, error: ErrorCode::NONE });
    }

    /// The node that is to become a voter has answered, or could not be asked.
    pub(crate) fn versions_answered(
        &mut self,
        moment: Moment,
        node: NodeId,
        versions: Result<KraftVersions, ErrorCode>,
        out: &mut Effects,
    ) {
        if let Some(voter) = self.asked_voter(node).cloned() {
            self.add_voter(moment, voter, versions, out);
        }
    }

    /// The voter to be that was asked, on this node.
    fn asked_voter(&self, node: NodeId) -> Option<&Voter> {
        match &self.role.leadership()?.change.as_ref()?.stage {
            ChangeStage::Asking(voter) if voter.key.id == node => Some(voter),
            _ => None,
        }
    }

    fn add_voter(
        &mut self,
        moment: Moment,
        voter: Voter,
        versions: Result<KraftVersions, ErrorCode>,
        out: &mut Effects,
    ) {
        let kraft_version = self.log.kraft_version();
        let progress = self.role.leadership().and_then(|it| it.replicas.get(&voter.key));
        let is_caught_up = progress.is_some_and(|it| it.is_caught_up(moment.now_ms, CAUGHT_UP_MS));
        let error = match versions {
            Err(_) => Some(ErrorCode::REQUEST_TIMED_OUT),
            Ok((oldest, newest)) if oldest > kraft_version || newest < kraft_version => {
                Some(ErrorCode::INVALID_REQUEST)
            }
            Ok(_) if !is_caught_up => Some(ErrorCode::REQUEST_TIMED_OUT),
            Ok(_) => None,
        };
        let voter = Voter { kraft_versions: versions.unwrap_or_default(), ..voter };
        if let Some(error) = error {
            return self.end_change(error, out);
        }
        let voters = self.log.voters().with(voter);
        if let Some(leadership) = self.role.leadership_mut()
            && let Some(change) = &mut leadership.change
        {
            change.stage = ChangeStage::Appending;
        }
        out.push(Effect::AppendControls(vec![QuorumControl::Voters(voters)]));
    }

    /// A batch of this leader's is in its log; it may be the one of the change under way.
    pub(crate) fn change_appended(&mut self, batch: &LogBatch, out: &mut Effects) {
        if let Some((offset, _)) = batch.controls.last()
            && let Some(change) = self.role.leadership_mut().and_then(|it| it.change.as_mut())
            && change.stage == ChangeStage::Appending
        {
            change.stage = ChangeStage::Appended(*offset);
            let is_early = change.answered == ChangeAnswered::WhenAppended;
            if let Some(request) = change.request.take_if(|_| is_early) {
                out.push(Effect::AnswerChange { request, error: ErrorCode::NONE });
            }
        }
    }

    /// Something has committed: the change, perhaps. A leader that has removed itself leads until
    /// then, and no longer.
    pub(crate) fn change_committed(&mut self, moment: Moment, end: Offset, out: &mut Effects) {
        let change = self.role.leadership().and_then(|it| it.change.as_ref());
        let offset = change.and_then(|change| match change.stage {
            ChangeStage::Appended(offset) => Some(offset),
            _ => None,
        });
        if offset.is_some_and(|offset| offset < end) {
            self.end_change(ErrorCode::NONE, out);
        }
        let is_settled = self.log.voters_offset().is_some_and(|offset| offset < end);
        let is_removed = is_settled && !self.log.voters().has(self.own);
        if is_removed && !is_planted(Bug::RemovedLeaderStays) {
            self.resign(moment, out);
        }
    }

    /// The change under way is over, as far as the one is concerned who asked for it.
    pub(crate) fn end_change(&mut self, error: ErrorCode, out: &mut Effects) {
        self.timers.change_ms = None;
        let change = self.role.leadership_mut().and_then(|it| it.change.take());
        if let Some(request) = change.and_then(|change| change.request) {
            out.push(Effect::AnswerChange { request, error });
        }
    }

    /// What a follower asks its leader for, if its own entry in the voter set is not as it is.
    pub(crate) fn wanted_change(&self) -> Option<(NodeId, MembershipChange)> {
        let Role::Follower(following) = &self.role else { return None };
        let voters = self.log.voters();
        let has_reconfiguration = self.log.kraft_version() >= 1;
        let known = voters.of_node(self.own.id);
        let own = || self.own_voter.clone();
        let change = if voters.has(self.own) {
            let is_known = if has_reconfiguration {
                known == Some(&self.own_voter)
            } else {
                following.has_introduced
            };
            (!is_known).then(|| MembershipChange::Update(own()))
        } else if has_reconfiguration && self.candidacy == Candidacy::Automatic {
            Some(match known {
                // The disk that has voted is gone: nothing of its promises is kept here.
                Some(before) => MembershipChange::Remove(before.key),
                None => MembershipChange::Add(own()),
            })
        } else {
            None
        };
        change.map(|change| (following.leader, change))
    }

    /// The time has come to look whether the leader should be asked for a change.
    pub(crate) fn update_due(&mut self, moment: Moment, out: &mut Effects) {
        let wanted = self.wanted_change();
        self.timers.update_ms =
            matches!(self.role, Role::Follower(_)).then_some(moment.now_ms + self.timing.fetch_ms);
        if let Some((leader, change)) = wanted {
            out.push(Effect::AskChange { leader, change });
        }
    }

    /// The leader has answered what this replica has asked it for.
    pub(crate) fn change_answered(&mut self, moment: Moment, leader: NodeId, error: ErrorCode) {
        if let Role::Follower(following) = &mut self.role
            && following.leader == leader
            && matches!(error, ErrorCode::NONE | ErrorCode::UNSUPPORTED_VERSION)
        {
            following.has_introduced = true;
            following.has_fetched = true;
            self.wait_fetch(moment);
        }
    }
}

fn is_ready_for(voter: &Voter, version: i16) -> bool {
    voter.speaks(version) && !voter.key.directory.is_zero()
}

/// Is the request whole?
fn check_form(change: &MembershipChange) -> Result<(), ErrorCode> {
    let is_key = |key: ReplicaKey| key.id >= 0 && !key.directory.is_zero();
    let is_voter = |voter: &Voter| is_key(voter.key) && !voter.endpoints.is_empty();
    let is_whole = match change {
        MembershipChange::Add(voter) => is_voter(voter),
        MembershipChange::Remove(key) => is_key(*key),
        MembershipChange::Update(voter) => {
            let (oldest, newest) = voter.kraft_versions;
            is_voter(voter) && 0 <= oldest && oldest <= newest
        }
        MembershipChange::Upgrade(_) => true,
    };
    if is_whole { Ok(()) } else { Err(ErrorCode::INVALID_REQUEST) }
}

impl ReplicaProgress {
    /// Has it had all that its leader had, and fetched lately?
    fn is_caught_up(&self, now_ms: u64, within_ms: u64) -> bool {
        let is_late = |fetched_ms: u64| fetched_ms + within_ms < now_ms;
        self.caught_up_ms.is_some() && !self.fetched_ms.is_none_or(is_late)
    }
}
