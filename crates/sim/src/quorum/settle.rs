//! The faults end: a majority must find a leader, commit, and all logs become equal.

use ottla_raft::Role;

use super::world::{QuorumWorld, place};
use crate::invariant::{Invariant, InvariantCheck, Violation};
use crate::log::count;
use crate::network::Weather;

/// How soon a majority must have a leader, in simulated milliseconds.
const ELECTED_MS: u64 = 10_000;
/// How soon after that all logs must be equal.
const CONVERGED_MS: u64 = 20_000;
/// The time between two checks, in milliseconds.
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

    /// As many voters as may be down, the one that leads before others.
    fn choose_down(&mut self) -> Vec<usize> {
        let mut voters = self.voter_places();
        let most = voters.len() - (voters.len() / 2 + 1);
        let start = self.dice.index(voters.len());
        voters.rotate_left(start);
        let leads = |at: &usize| matches!(self.role(*at), Some(Role::Leader { .. }));
        voters.sort_by_key(|at| !leads(at));
        voters.truncate(most);
        voters
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
        let leads =
            |at: &usize| live(at).is_some_and(|it| matches!(it.raft.role(), Role::Leader { .. }));
        let newest = (0..self.nodes.len()).filter(leads);
        let newest = newest.max_by_key(|at| live(at).map(|it| it.raft.epoch()))?;
        let epoch = live(&newest)?.raft.epoch();
        let follows = |at: &usize| {
            live(at).is_some_and(|it| {
                it.raft.epoch() == epoch && it.raft.leader().map(place) == Some(newest)
            })
        };
        let following = self.voter_places().iter().filter(|at| follows(at)).count();
        (following > self.voters.len() / 2).then_some(newest)
    }

    fn elected(&self) -> bool {
        self.leader().is_some()
    }

    /// Does everyone have what the leader has, and know that it is committed?
    fn converged(&self) -> bool {
        let Some(leader) = self.leader().and_then(|at| self.nodes[at].live.as_ref()) else {
            return false;
        };
        let end = leader.log.end();
        let is_equal = |at: usize| {
            self.nodes[at].live.as_ref().is_some_and(|live| {
                live.log.entries == leader.log.entries && live.high_watermark == end
            })
        };
        end > 0 && self.watch.committed.len() == count(end) && (0..self.nodes.len()).all(is_equal)
    }

    /// One line on all nodes, for the report of a failure.
    fn picture(&self) -> String {
        let one = |at: usize| match &self.nodes[at].live {
            None => format!("node {} is down", self.id(at)),
            Some(live) => format!(
                "node {} is {:?} in epoch {} with {} records, {} committed",
                self.id(at),
                live.raft.role(),
                live.raft.epoch(),
                live.log.end(),
                live.high_watermark
            ),
        };
        (0..self.nodes.len()).map(one).collect::<Vec<_>>().join("; ")
    }
}
