//! In which role a replica starts.

use ottla_types::{Bug, is_planted};

use crate::effect::Effect;
use crate::input::{Durable, Moment};
use crate::raft::{Effects, Raft};
use crate::role::{Following, Role};

impl Raft {
    /// Starts with what it had made durable.
    pub(crate) fn started(&mut self, moment: Moment, durable: Durable, out: &mut Effects) {
        self.on_disk = durable.clone();
        self.durable = durable;
        let log_epoch = self.log.end().epoch;
        if self.durable.epoch < log_epoch {
            self.promise(Durable { epoch: log_epoch, leader: None, voted: None }, out);
        }
        // A snapshot is of what has committed.
        self.high_watermark = self.log.snapshots().last().map(|id| id.end);
        if let Some(end) = self.high_watermark {
            out.push(Effect::Committed(end));
        }
        let voters = self.log.voters();
        if voters.is_only(self.own) {
            return self.stand(moment, out);
        }
        match (self.durable.leader, self.durable.voted) {
            (Some(leader), _) if leader == self.own.id && is_planted(Bug::LeaderResumes) => {
                self.lead(moment, [], out);
            }
            // A leader never resumes: what it had promised as one is gone with its memory.
            (Some(leader), _) if leader == self.own.id => {
                self.role = Role::Resigned;
                self.wait_briefly(moment);
            }
            (None, Some(voted)) if voted == self.own && self.may_stand() => {
                self.ask_votes(moment, out);
            }
            (Some(leader), _) if voters.of_node(leader).is_some() => {
                self.role = Role::Follower(Following::of(leader));
                self.timers.update_ms = Some(moment.now_ms + self.timing.fetch_ms);
                self.wait_fetch(moment);
            }
            // Where the leader listens is not known, if there is one: some voter will say it.
            _ => {
                self.role = Role::Unattached;
                self.wait_briefly(moment);
            }
        }
    }
}
