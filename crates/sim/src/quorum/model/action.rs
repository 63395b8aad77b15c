//! What can happen next, and how it does.

use ottla_raft::{FetchVerdict, FollowerRequest, Input, Role};

use super::super::faults::WrittenBefore;
use super::super::message::QuorumEvent;
use super::super::node::NodeMemory;
use super::super::world::{Fetching, node_index};
use super::state::{ModelState, PendingEvent, is_news, is_writing};
use crate::invariant::InvariantCheck;
use crate::model::ModelBounds;

/// Something that can happen. Nodes are meant by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ModelAction {
    /// The pending message at this place arrives, or the log is durable.
    Happens(usize),
    /// The message at this place is lost.
    Lost(usize),
    /// All that a node writes is on its disk.
    Written(usize),
    /// A node's disk is slow: what it writes now is done later, one write after the other.
    Slow(usize),
    /// The oldest promise that a node writes is on its disk.
    Persisted(usize),
    /// A node notices that a deadline has come.
    TimedOut(usize),
    /// A node fetches; one that knows no leader asks that other one.
    Polled { node: usize, asks: usize },
    /// A follower finds that its leader refuses connections.
    Refused { node: usize, by: usize },
    /// A leader is given a record to append.
    Proposed(usize),
    /// A node crashes while it writes, and starts again: one that is down for a while is no other
    /// than one that starts at once and is not heard of.
    Crashed { node: usize, written: WrittenBefore },
}

impl ModelState {
    /// What can happen next.
    pub fn possible(&self, bounds: &ModelBounds, actions: &mut Vec<ModelAction>) {
        if self.violation.is_some() {
            return;
        }
        // A write is done at once, unless its disk is slow.
        let is_writing = |at: &usize| self.used.slow >> at & 1 == 0 && is_writing(self, *at);
        if let Some(at) = (0..self.world.nodes.len()).find(is_writing) {
            actions.push(ModelAction::Written(at));
            if self.used.slow_disks < bounds.slow_disks {
                actions.push(ModelAction::Slow(at));
            }
            return;
        }
        let is_full = self.messages() >= bounds.messages;
        for (at, pending) in self.pending.iter().enumerate() {
            actions.push(ModelAction::Happens(at));
            // What is never lost may as well be late, until there is no room for others.
            if is_full && pending.is_message() {
                actions.push(ModelAction::Lost(at));
            }
        }
        for node in 0..self.world.nodes.len() {
            if let Some(live) = &self.world.nodes[node].live {
                self.possible_at(node, live, bounds, actions);
            }
        }
    }

    fn possible_at(
        &self,
        node: usize,
        live: &NodeMemory,
        bounds: &ModelBounds,
        actions: &mut Vec<ModelAction>,
    ) {
        if !live.persisting.is_empty() {
            actions.push(ModelAction::Persisted(node));
        }
        // All nodes are alike at first: the one that stands first may be called the first.
        let has_begun = self.used.timeouts > 0;
        if live.woken_ms.is_some()
            && self.used.timeouts < bounds.timeouts
            && (has_begun || node == 0)
        {
            actions.push(ModelAction::TimedOut(node));
        }
        if live.fetch.is_none() && live.log.is_flushed() && live.raft.next_request().is_some() {
            self.possible_fetches(node, live, bounds, actions);
        }
        if let Role::Follower(following) = live.raft.role()
            && following.has_fetched
            && self.used.refusals < bounds.refusals
        {
            let by = node_index(following.leader);
            actions.push(ModelAction::Refused { node, by });
        }
        if live.raft.leads().is_some() && self.used.proposals < bounds.proposals {
            actions.push(ModelAction::Proposed(node));
        }
        if has_begun && self.used.crashes < bounds.crashes {
            for promises in 0..=live.persisting.len() {
                let torn = (0..=live.log.unflushed()).map(Some);
                for records in torn.chain(live.log.has_stale_tail().then_some(None)) {
                    let written = WrittenBefore { promises, records };
                    actions.push(ModelAction::Crashed { node, written });
                }
            }
        }
    }

    /// Fetches that could change anything: all others may as well be made later.
    fn possible_fetches(
        &self,
        node: usize,
        live: &NodeMemory,
        bounds: &ModelBounds,
        actions: &mut Vec<ModelAction>,
    ) {
        match live.raft.role() {
            Role::Follower(following) => {
                let leader = node_index(following.leader);
                let knows_less = is_news(&self.world, node, self.world.standing(leader));
                if knows_less || !following.has_fetched || self.has_news(node, leader) {
                    actions.push(ModelAction::Polled { node, asks: leader });
                }
            }
            _ if self.used.questions < bounds.questions => {
                let others = (0..self.world.nodes.len()).filter(|other| *other != node);
                let others =
                    others.filter(|other| is_news(&self.world, node, self.world.standing(*other)));
                actions.extend(others.map(|asks| ModelAction::Polled { node, asks }));
            }
            _ => {}
        }
    }

    /// Has a leader records for a follower, or does it not know how far the follower is?
    fn has_news(&self, node: usize, leader: usize) -> bool {
        let live = |at: usize| self.world.nodes[at].live.as_ref();
        let (Some(own), Some(leads)) = (live(node), live(leader)) else { return false };
        let Some(FollowerRequest::Fetch { fetch, .. }) = own.raft.next_request() else {
            return false;
        };
        match leads.raft.fetch_verdict(&fetch) {
            FetchVerdict::Refused(_) => false,
            FetchVerdict::Diverging(_) | FetchVerdict::Snapshot(_) => true,
            FetchVerdict::Valid { has_news, .. } => {
                let mut replicas = leads.raft.replicas();
                let known = replicas.find(|(key, _)| key.id == fetch.follower.id);
                has_news || known.is_none_or(|(_, progress)| progress.end < fetch.end.offset)
            }
        }
    }

    /// Lets something happen.
    pub fn after(&self, action: ModelAction) -> Self {
        let mut next = self.clone();
        let checked = next.happen(action);
        next.settle_step(checked);
        next
    }

    fn happen(&mut self, action: ModelAction) -> InvariantCheck {
        match action {
            ModelAction::Happens(at) => {
                let event = QuorumEvent::clone(&self.pending.remove(at).event);
                let place = place_of(&event);
                self.name_records(place);
                self.world.happen(event)?;
                self.answer_at_once(place);
                Ok(())
            }
            ModelAction::Written(node) => self.write_all(node),
            ModelAction::Slow(node) => {
                self.used.slow |= 1 << node;
                self.used.slow_disks += 1;
                Ok(())
            }
            ModelAction::Lost(at) => {
                self.pending.remove(at);
                Ok(())
            }
            ModelAction::Persisted(node) => {
                self.name_records(node);
                self.world.persisted(node)
            }
            ModelAction::TimedOut(node) => {
                self.used.timeouts += 1;
                self.world.step(node, Input::TimedOut)
            }
            ModelAction::Polled { node, asks } => {
                let live = self.world.nodes[node].live.as_ref();
                let knows_leader = live.is_some_and(|live| live.raft.leader().is_some());
                self.used.questions += usize::from(!knows_leader);
                self.world.fetching = Fetching::Now { asks };
                self.world.fetch_if_due(node);
                Ok(())
            }
            ModelAction::Refused { node, by } => {
                self.used.refusals += 1;
                self.world.refused(node, by)
            }
            ModelAction::Proposed(node) => {
                self.used.proposals += 1;
                self.name_records(node);
                self.world.propose(node).map(|_| ())
            }
            ModelAction::Crashed { node, written } => {
                self.used.crashes += 1;
                self.world.crash_after(node, written);
                let life = self.world.nodes[node].life;
                self.world.restart(node, life)
            }
        }
    }

    /// All promises first, then the log: more may be written for that.
    fn write_all(&mut self, node: usize) -> InvariantCheck {
        self.name_records(node);
        while is_writing(self, node) {
            self.world.persisted(node)?;
            self.take_events();
            let is_flush = |pending: &PendingEvent| {
                let event = &*pending.event;
                matches!(event, QuorumEvent::Flushed { node: at, .. } if *at == node)
            };
            if let Some(at) = self.pending.iter().position(is_flush) {
                self.world.happen(QuorumEvent::clone(&self.pending.remove(at).event))?;
            }
            self.take_events();
        }
        Ok(())
    }

    /// A fetch that would wait for something new is answered at once: its follower learns that
    /// its leader lives, and could fetch later.
    fn answer_at_once(&mut self, at: usize) {
        let live = self.world.nodes[at].live.as_ref();
        let parked = live.map_or_else(Vec::new, |live| live.parked.clone());
        parked.iter().for_each(|it| self.world.unpark(at, it.from, it.number));
    }

    /// Records have ids by where they are appended, not by how many there were before: two
    /// histories that differ in their order only come to the same state.
    fn name_records(&mut self, at: usize) {
        let node = &self.world.nodes[at];
        let end = node.live.as_ref().map_or(0, |live| live.log.end());
        let place = at as u64 * 100 + u64::from(node.life);
        self.world.next_id = place * 10_000 + end as u64 * 10;
    }

    /// What an action is, in words: for the history that breaks an invariant.
    pub fn describe(&self, action: ModelAction) -> String {
        match action {
            ModelAction::Happens(at) => format!("{:?}", self.pending[at].event),
            ModelAction::Lost(at) => format!("lost: {:?}", self.pending[at].event),
            other => format!("{other:?}"),
        }
    }
}

/// Where a pending event happens.
fn place_of(event: &QuorumEvent) -> usize {
    match event {
        QuorumEvent::Arrives { to, .. } => *to,
        QuorumEvent::Flushed { node, .. } => *node,
        _ => 0,
    }
}
