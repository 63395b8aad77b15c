//! What a replica does that follows: finds its leader, takes in what the leader sends, and
//! notices when the leader is gone.

use alloc::vec::Vec;

use ottla_types::{Bug, ErrorCode, LeaderEpoch, NodeId, Offset, is_planted};

use crate::effect::{Effect, FatalReason};
use crate::fetching::{FetchAnswer, FetchAnswered, SnapshotAnswered, SnapshotPart};
use crate::input::{BeginAsked, Durable, EndAsked, LogEnd, Moment, Standing};
use crate::quorum_log::{LogBatch, QuorumControl, SnapshotId};
use crate::raft::{Effects, Raft};
use crate::role::{Following, Role, SnapshotDownload};
use crate::voters::ReplicaKey;

impl Raft {
    /// A message speaks of an epoch and perhaps its leader.
    pub(crate) fn heard(&mut self, moment: Moment, standing: Standing, out: &mut Effects) {
        let Standing { epoch, leader } = standing;
        let own = self.durable.epoch;
        if let (Some(known), Some(other)) = (self.durable.leader, leader)
            && epoch == own
            && known != other
        {
            return self.fail(FatalReason::TwoLeaders { epoch, known, other }, out);
        }
        let is_news = epoch > own || epoch == own && leader.is_some() && self.leader().is_none();
        // That this node leads it knows best itself: another life of it did, with another disk.
        if !is_news || leader == Some(self.own.id) {
            return;
        }
        match leader {
            Some(leader) => self.follow(moment, epoch, leader, out),
            None => self.detach(moment, epoch, out),
        }
    }

    /// Follows the leader of an epoch that is not before its own.
    fn follow(&mut self, moment: Moment, epoch: LeaderEpoch, leader: NodeId, out: &mut Effects) {
        self.steps_down(out);
        // Within an epoch a vote is never forgotten.
        let voted = if epoch == self.durable.epoch { self.durable.voted } else { None };
        self.role = Role::Follower(Following::of(leader));
        self.promise(Durable { epoch, leader: Some(leader), voted }, out);
        self.timers.update_ms = Some(moment.now_ms + self.timing.fetch_ms);
        self.wait_fetch(moment);
    }

    /// A leader says that it leads.
    pub(crate) fn begin_asked(&mut self, moment: Moment, asked: BeginAsked, out: &mut Effects) {
        let BeginAsked { leader, epoch, voter } = asked;
        let error = if epoch < self.durable.epoch && !is_planted(Bug::OldBeginBelieved) {
            ErrorCode::FENCED_LEADER_EPOCH
        } else if leader < 0 {
            ErrorCode::INVALID_REQUEST
        } else {
            if epoch < self.durable.epoch {
                self.follow(moment, epoch, leader, out);
            }
            self.heard(moment, Standing { epoch, leader: Some(leader) }, out);
            self.check_addressed(voter).err().unwrap_or(ErrorCode::NONE)
        };
        out.push(Effect::AnswerBegin { leader, error });
    }

    /// A leader says that it leads no longer: its followers stand for election, each at its turn.
    pub(crate) fn end_asked(&mut self, moment: Moment, asked: EndAsked, out: &mut Effects) {
        let EndAsked { leader, epoch, preferred } = asked;
        let error = if epoch < self.durable.epoch && !is_planted(Bug::OldEndBelieved) {
            ErrorCode::FENCED_LEADER_EPOCH
        } else if leader < 0 {
            ErrorCode::INVALID_REQUEST
        } else {
            self.heard(moment, Standing { epoch, leader: Some(leader) }, out);
            let ends = self.follows(leader)
                || is_planted(Bug::OldEndBelieved) && matches!(self.role, Role::Follower(_));
            if ends && self.may_stand() {
                let backoff_ms = self.rank_backoff_ms(&preferred);
                self.timers.role_ms = Some(moment.now_ms + backoff_ms);
            }
            ErrorCode::NONE
        };
        out.push(Effect::AnswerEnd { leader, error });
    }

    /// How long the replica waits that stands there in the list of preferred candidates.
    fn rank_backoff_ms(&self, preferred: &[ReplicaKey]) -> u64 {
        let rank = preferred.iter().position(|key| key.is(self.own)).unwrap_or(preferred.len());
        backoff_of_rank(rank, preferred.len(), self.timing.backoff_max_ms)
    }

    /// The leader's process is gone, as it seems from here: its host closed the connection and
    /// refuses another one. Rather than wait for the fetch timeout this replica asks the others,
    /// who refuse as long as they hear from the leader. Chance keeps two that notice at the same
    /// moment from each voting for itself.
    pub(crate) fn leader_unreachable(&mut self, moment: Moment, leader: NodeId) {
        match &mut self.role {
            Role::Follower(following) if following.leader == leader => {
                following.has_fetched = false;
            }
            _ => return,
        }
        if !self.may_stand() {
            return;
        }
        let spread = (self.timing.election_ms / 8).max(1);
        let until = moment.now_ms + moment.draw % spread;
        let earlier = self.timers.role_ms.map_or(until, |known| known.min(until));
        self.timers.role_ms = Some(earlier);
    }

    /// A fetch was answered.
    pub(crate) fn fetch_answered(
        &mut self,
        moment: Moment,
        answered: FetchAnswered,
        out: &mut Effects,
    ) {
        let FetchAnswered { from, asked, standing, answer } = answered;
        self.heard(moment, standing, out);
        // An answer that comes late may be about what has been cut off or appended since.
        let is_for_this =
            asked.end == self.log.end() && asked.high_watermark == self.high_watermark;
        let is_for_this = is_for_this || is_planted(Bug::OldAnswerTaken);
        let is_current = self.is_current(from, asked.epoch, standing);
        if !is_current || !is_for_this || self.download().is_some() {
            return;
        }
        match answer {
            FetchAnswer::Refused(_) => return,
            FetchAnswer::Diverging(at) => self.cut_at(moment, at, out),
            FetchAnswer::Snapshot(id) => self.begin_download(id, out),
            FetchAnswer::Records { high_watermark, batches } => {
                self.take_batches(moment, &batches, out);
                self.told_committed(high_watermark, out);
            }
        }
        self.leader_lives(moment);
    }

    /// Is an answer of the leader that this replica follows, to a question of this epoch?
    fn is_current(&self, from: NodeId, asked_epoch: LeaderEpoch, standing: Standing) -> bool {
        standing.epoch == self.durable.epoch && asked_epoch == standing.epoch && self.follows(from)
    }

    fn follows(&self, leader: NodeId) -> bool {
        matches!(&self.role, Role::Follower(known) if known.leader == leader)
    }

    fn download(&self) -> Option<SnapshotDownload> {
        match &self.role {
            Role::Follower(following) => following.download,
            _ => None,
        }
    }

    /// The leader has answered.
    fn leader_lives(&mut self, moment: Moment) {
        if let Role::Follower(following) = &mut self.role {
            following.has_fetched = true;
            self.wait_fetch(moment);
        }
    }

    /// The logs part: cuts off what the leader does not have.
    fn cut_at(&mut self, moment: Moment, diverging: LogEnd, out: &mut Effects) {
        let end = self.log.lineage().cut(diverging);
        if let Some(known) = self.high_watermark
            && end.min(diverging.offset) < known
            && !is_planted(Bug::CutTooDeep)
        {
            let reason = FatalReason::TruncationBelowHighWatermark { known, diverging };
            return self.fail(reason, out);
        }
        self.log.truncated(end);
        if self.stored.offset > end {
            self.stored = self.log.end();
        }
        out.push(Effect::Truncate { end });
        self.quorum_changed(moment, out);
    }

    /// Appends what follows upon this log and is of no later epoch than its own; the rest is
    /// dropped (KAFKA-18723).
    fn take_batches(&mut self, moment: Moment, batches: &[LogBatch], out: &mut Effects) {
        let mut taken = 0;
        let mut has_controls = false;
        for batch in batches {
            let end = self.log.end();
            let fits = batch.base == end.offset && batch.end > batch.base;
            if !fits || batch.epoch < end.epoch || batch.epoch > self.durable.epoch {
                break;
            }
            self.log.appended(batch);
            has_controls |= !batch.controls.is_empty();
            taken += 1;
        }
        if taken > 0 {
            out.push(Effect::Append { batches: taken });
        }
        if has_controls {
            self.quorum_changed(moment, out);
        }
    }

    /// The leader says what is committed.
    fn told_committed(&mut self, told: Option<Offset>, out: &mut Effects) {
        let bound = self.log.end().offset;
        let bound = if is_planted(Bug::WatermarkBeyondEnd) { Offset::MAX } else { bound };
        match (self.high_watermark, told) {
            // A leader whose epoch has committed nothing yet does not know.
            (_, None) => {}
            (Some(known), Some(told)) if told.min(bound) < known => {
                self.fail(FatalReason::HighWatermarkFell { known, told }, out);
            }
            (Some(known), Some(told)) if told.min(bound) == known => {}
            (_, Some(told)) => {
                self.high_watermark = Some(told.min(bound));
                out.push(Effect::Committed(told.min(bound)));
            }
        }
    }

    /// The leader's log does not reach as far back as this one ends.
    fn begin_download(&mut self, id: SnapshotId, out: &mut Effects) {
        if let Some(known) = self.high_watermark.filter(|known| id.end < *known) {
            return self.fail(FatalReason::SnapshotBelowHighWatermark { known, id }, out);
        }
        if let Role::Follower(following) = &mut self.role
            && !id.is_bootstrap()
        {
            following.download = Some(SnapshotDownload::of(id));
        }
    }

    /// A part of a snapshot has come.
    pub(crate) fn snapshot_answered(
        &mut self,
        moment: Moment,
        answered: SnapshotAnswered,
        out: &mut Effects,
    ) {
        let SnapshotAnswered { from, asked, standing, part } = answered;
        self.heard(moment, standing, out);
        if !self.is_current(from, asked.epoch, standing) {
            return;
        }
        let is_expected = |known: &mut SnapshotDownload| {
            (known.id, known.position) == (asked.id, asked.position) && !known.is_whole()
        };
        if let Role::Follower(following) = &mut self.role
            && let Some(mut download) = following.download.take_if(is_expected)
        {
            let is_sound =
                |it: &SnapshotPart| it.bytes > 0 && download.position + it.bytes <= it.size_bytes;
            match part {
                Ok(part) if is_sound(&part) => {
                    let (id, position) = (download.id, download.position);
                    download.position += part.bytes;
                    download.size_bytes = part.size_bytes;
                    following.download = Some(download);
                    out.push(Effect::WriteSnapshot { id, position });
                    if download.is_whole() {
                        out.push(Effect::FreezeSnapshot(id));
                    }
                }
                // The leader has deleted it, or has another one of that name: back to the log.
                Ok(_) | Err(ErrorCode::SNAPSHOT_NOT_FOUND | ErrorCode::POSITION_OUT_OF_RANGE) => {}
                Err(_) => {
                    following.download = Some(download);
                    return;
                }
            }
            self.leader_lives(moment);
        }
    }

    /// The snapshot is on the disk: it takes the place of the log.
    pub(crate) fn snapshot_frozen(
        &mut self,
        moment: Moment,
        id: SnapshotId,
        controls: Vec<QuorumControl>,
        out: &mut Effects,
    ) {
        let is_expected = self.download().is_some_and(|it| it.id == id && it.is_whole());
        if !is_expected && !is_planted(Bug::OldSnapshotTaken) {
            return;
        }
        if let Role::Follower(following) = &mut self.role {
            following.download = None;
        }
        self.log.replaced(id, controls);
        self.stored = id.log_end();
        self.high_watermark = self.high_watermark.max(Some(id.end));
        out.push(Effect::ReplaceLog(id));
        out.push(Effect::Committed(id.end));
        self.leader_lives(moment);
        self.quorum_changed(moment, out);
    }
}

/// How long the replica at a rank of so many preferred candidates waits before it stands for
/// election, so that one after the other does: none, then twice as long with each rank. One that
/// is not among them waits as long as any does.
fn backoff_of_rank(rank: usize, count: usize, most_ms: u64) -> u64 {
    if rank == 0 {
        return 0;
    }
    if rank >= count {
        return most_ms;
    }
    let shift = |count: usize| u32::try_from(count - 1).unwrap_or(u32::MAX);
    let base_ms = most_ms.checked_shr(shift(count)).unwrap_or(0);
    base_ms.checked_shl(shift(rank)).unwrap_or(most_ms).min(most_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_candidates_stand_one_after_the_other() {
        let waits = |count| (0..=count).map(move |rank| backoff_of_rank(rank, count, 1000));
        assert!(waits(1).eq([0, 1000]));
        assert!(waits(2).eq([0, 500, 1000]));
        assert!(waits(4).eq([0, 125, 250, 500, 1000]));
        assert_eq!(backoff_of_rank(0, 0, 1000), 0, "no candidate at all");
        assert_eq!(backoff_of_rank(40, 90, 1000), 0, "too many to tell apart");
    }
}
