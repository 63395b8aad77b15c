//! What a leader does: opens its epoch, commits, and checks that a majority still follows.

use alloc::collections::{BTreeMap, BTreeSet};

use ottla_types::{Bug, LeaderEpoch, Offset, is_planted};

use crate::input::{Effect, LogEnd, Moment};
use crate::raft::{Effects, Raft};
use crate::role::Role;
use crate::voters::ReplicaKey;

impl Raft {
    /// Leads the epoch that it has promised to lead.
    pub(crate) fn lead(&mut self, moment: Moment, out: &mut Effects) {
        let (held, contacts) = (BTreeMap::from([(self.own.id, self.log.offset)]), BTreeSet::new());
        self.role = Role::Leader { epoch_start: None, held, committed: None, contacts };
        if is_planted(Bug::EpochNotPersisted) {
            out.push(Effect::OpenEpoch { epoch: self.durable.epoch });
        } else {
            self.when_durable(Effect::OpenEpoch { epoch: self.durable.epoch }, out);
        }
        self.wait_contacts(moment, out);
    }

    /// The opening batch may lie behind records that are not durable yet, so that only the log
    /// knows where it is.
    pub(crate) fn epoch_opened(&mut self, epoch: LeaderEpoch, at: Offset, out: &mut Effects) {
        if epoch != self.durable.epoch {
            return;
        }
        if let Role::Leader { epoch_start, .. } = &mut self.role {
            *epoch_start = Some(at);
            self.commit(out);
        }
    }

    /// The log ends there on this replica's disk.
    pub(crate) fn stored(&mut self, end: LogEnd, out: &mut Effects) {
        self.log = end;
        self.holds(self.own, end.offset, out);
    }

    /// A follower has everything below `end`, and is alive.
    pub(crate) fn fetched(
        &mut self,
        moment: Moment,
        follower: ReplicaKey,
        end: Offset,
        out: &mut Effects,
    ) {
        if !self.voters.has(follower) {
            return;
        }
        let needed = self.contacts_needed();
        if let Role::Leader { contacts, .. } = &mut self.role {
            contacts.insert(follower.id);
            if contacts.len() >= needed {
                contacts.clear();
                self.wait_contacts(moment, out);
            }
            self.holds(follower, end, out);
        }
    }

    /// How many other voters must fetch for this leader to stay (KAFKA-15489).
    fn contacts_needed(&self) -> usize {
        self.voters.majority() - usize::from(self.voters.has(self.own))
    }

    /// A leader that a majority does not fetch from for one and a half fetch timeouts resigns.
    fn wait_contacts(&mut self, moment: Moment, out: &mut Effects) {
        let until = moment.now_ms + self.timing.fetch_ms + self.timing.fetch_ms / 2;
        let checks = self.contacts_needed() > 0 && !is_planted(Bug::QuorumUnchecked);
        self.wait(checks.then_some(until), out);
    }

    fn holds(&mut self, replica: ReplicaKey, end: Offset, out: &mut Effects) {
        if !self.voters.has(replica) {
            return;
        }
        if let Role::Leader { held, .. } = &mut self.role {
            let known = held.entry(replica.id).or_insert(end);
            *known = end.max(*known);
            self.commit(out);
        }
    }

    /// Commits what a majority holds, once that reaches into the leader's own epoch.
    pub(crate) fn commit(&mut self, out: &mut Effects) {
        let Role::Leader { epoch_start: Some(start), held, committed, .. } = &mut self.role else {
            return;
        };
        let end = self.voters.held_by_majority(|id| held.get(&id).copied().unwrap_or(0));
        if let Some(end) = end
            && (end > *start || is_planted(Bug::OldEpochCommits) && end > 0)
            && committed.is_none_or(|committed| end > committed)
        {
            *committed = Some(end);
            out.push(Effect::Committed(end));
        }
    }
}
