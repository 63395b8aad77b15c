//! The faults end: a majority must find a leader, commit, and all logs become equal.

use ottla_raft::{Candidacy, Role};

use super::world::{QuorumWorld, node_index};
use crate::invariant::{Invariant, InvariantCheck, Violation};
use crate::log::offset;
use crate::network::Weather;

/// How soon a majority must have a leader, in simulated milliseconds.
const ELECTED_MS: u64 = 10_000;
/// How soon after that all logs must be equal, and all that join by themselves be voters.
const CONVERGED_MS: u64 = 60_000;
/// How often it is looked.
const STEP_MS: u64 = 250;

impl QuorumWorld {
    /// Heals, at first with as many nodes down as the quorum must bear.
    pub(super) fn settle(&mut self) -> InvariantCheck {
        self.is_healed = true;
        self.network.mend();
        self.network.weather = Weather::FAIR;
        self.nodes.iter_mut().for_each(|node| node.slowness = 1);
        let down = self.choose_down();
        for at in 0..self.nodes.len() {
            if down.contains(&at) {
                self.crash(at);
            } else {
                self.restart(at, self.nodes[at].life)?;
            }
        }
        self.wait_for(Invariant::LeaderElected, ELECTED_MS, Self::elected)?;
        for at in down {
            self.restart(at, self.nodes[at].life)?;
        }
        self.wait_for(Invariant::QuorumConverges, CONVERGED_MS, Self::converged)
    }

    /// As many nodes as may be down, the one that leads before others.
    fn choose_down(&mut self) -> Vec<usize> {
        let mut nodes: Vec<usize> = (0..self.nodes.len()).collect();
        let start = self.dice.index(nodes.len());
        nodes.rotate_left(start);
        nodes.sort_by_key(|at| !self.leads(*at));
        let sets = self.sets_in_force();
        let mut down = Vec::new();
        let unaware = self.unaware_voters(&sets);
        for at in nodes {
            down.push(at);
            let without: Vec<usize> = down.iter().chain(&unaware).copied().collect();
            if !sets.iter().all(|voters| self.bears(voters, &without)) {
                down.pop();
            }
        }
        down
    }

    fn wait_for(
        &mut self,
        invariant: Invariant,
        most_ms: u64,
        holds: impl Fn(&Self) -> bool,
    ) -> InvariantCheck {
        let until_ms = self.schedule.now_ms() + most_ms;
        self.coverage.checked(invariant);
        while !holds(self) {
            let now_ms = self.schedule.now_ms();
            if now_ms >= until_ms {
                let why = format!("not within {most_ms} ms: {}", self.picture());
                return Err(Violation { invariant, at_ms: now_ms, why });
            }
            self.run_until(now_ms + STEP_MS)?;
        }
        Ok(())
    }

    /// Where the one leader is that a majority follows.
    fn leader(&self) -> Option<usize> {
        let live = |at: &usize| self.nodes[*at].live.as_ref();
        let newest = (0..self.nodes.len()).filter(|at| self.leads(*at));
        let newest = newest.max_by_key(|at| live(at).map(|it| it.raft.epoch()))?;
        let raft = &live(&newest)?.raft;
        let follows = |at: &usize| {
            live(at).is_some_and(|node| {
                node.raft.epoch() == raft.epoch()
                    && node.raft.leader().map(node_index) == Some(newest)
            })
        };
        let voters = raft.voters().iter().filter_map(|voter| self.place_of_voter(voter.key));
        let following = voters.filter(|at| follows(at)).count();
        (following >= raft.voters().majority()).then_some(newest)
    }

    fn elected(&self) -> bool {
        self.leader().is_some()
    }

    /// Has each node what the leader has, does it know that it is committed, and is each a voter
    /// that wants to be one?
    fn converged(&self) -> bool {
        let Some(leader) = self.leader().and_then(|at| self.nodes[at].live.as_ref()) else {
            return false;
        };
        let end = leader.log.end();
        let last = end.checked_sub(1).and_then(|last| leader.log.record(last));
        let is_equal = |at: usize| {
            self.nodes[at].live.as_ref().is_some_and(|live| {
                let own = end.checked_sub(1).and_then(|last| live.log.record(last));
                (live.log.end(), own, live.high_watermark) == (end, last, offset(end))
            })
        };
        let has_reconfiguration = leader.raft.log().kraft_version() > 0;
        let has_joined = |at: usize| {
            let node = &self.nodes[at];
            let joins = node.candidacy == Candidacy::Automatic && has_reconfiguration;
            !joins || leader.raft.voters().has(node.key)
        };
        let is_committed = end > 0 && self.watch.committed.len() == end;
        let all = 0..self.nodes.len();
        is_committed && all.clone().all(is_equal) && all.clone().all(has_joined)
    }

    /// One line on all nodes, for the report of a failure.
    fn picture(&self) -> String {
        let one = |at: usize| match &self.nodes[at].live {
            None => format!("node {} is down", self.id(at)),
            Some(live) => {
                let voters: Vec<_> = live.raft.voters().iter().map(|it| it.key.id).collect();
                let role = match live.raft.role() {
                    Role::Leader(_) => "Leader".to_owned(),
                    role => format!("{role:?}"),
                };
                format!(
                    "node {} ({:?}) is {role} in epoch {} with {} records, {} committed, voters \
                     {voters:?}",
                    self.id(at),
                    self.nodes[at].candidacy,
                    live.raft.epoch(),
                    live.log.end(),
                    live.high_watermark
                )
            }
        };
        (0..self.nodes.len()).map(one).collect::<Vec<_>>().join("; ")
    }
}
