//! The faults end: the partition is led, all replicas are in sync, and all logs are equal.

use super::broker::BrokerRole;
use super::world::PartitionWorld;
use crate::invariant::{Invariant, InvariantCheck, Violation};
use crate::network::Weather;

/// How soon everything must be well, in simulated milliseconds.
const CONVERGED_MS: u64 = 20_000;
/// The time between two checks, in milliseconds.
const STEP_MS: u64 = 250;

impl PartitionWorld {
    /// Heals, and waits for the recovery.
    pub(super) fn settle(&mut self) -> InvariantCheck {
        self.is_healed = true;
        self.network.mend();
        self.network.weather = Weather::FAIR;
        for at in 0..self.brokers.len() {
            self.restart(at, self.brokers[at].life);
        }
        self.coverage.checked(Invariant::ReplicasConverge);
        let until_ms = self.schedule.now_ms() + CONVERGED_MS;
        let mut before = None;
        loop {
            // Records that were acknowledged only now, after the faults, are there too.
            let is_acknowledging = before.is_some_and(|count| self.coverage.acknowledged > count);
            if is_acknowledging && self.converged() {
                return Ok(());
            }
            if before.is_none() && self.converged() {
                before = Some(self.coverage.acknowledged);
            }
            let now_ms = self.schedule.now_ms();
            if now_ms >= until_ms {
                let (invariant, why) = (Invariant::ReplicasConverge, self.picture());
                return Err(Violation { invariant, at_ms: now_ms, why });
            }
            self.run_until(now_ms + STEP_MS)?;
        }
    }

    /// Is everyone in sync, and has every follower what the leader has committed?
    fn converged(&self) -> bool {
        let Some(state) = self.journal.partition() else { return false };
        let leads = |broker: &&super::broker::SimBroker| {
            broker.id == state.leader
                && broker.live.as_ref().is_some_and(|live| live.leading().is_some())
        };
        let Some(leader) = self.brokers.iter().find(leads) else { return false };
        let committed = leader.live.as_ref().map_or(0, |live| live.high_watermark);
        let committed = &leader.entries()[..crate::log::count(committed)];
        state.isr.len() == state.replicas.len()
            && self.brokers.iter().all(|broker| broker.entries().starts_with(committed))
    }

    /// One line on all brokers, for the report of a failure.
    fn picture(&self) -> String {
        let one = |broker: &super::broker::SimBroker| match &broker.live {
            None => format!("broker {} is down", broker.id),
            Some(live) => {
                let part = match &live.part {
                    BrokerRole::Idle => "idle".to_owned(),
                    BrokerRole::Follower { leader, epoch } => {
                        format!("follower of {leader} in {epoch}")
                    }
                    BrokerRole::Leader(leading) => {
                        format!("leader, {:?}", leading.leader.assignment())
                    }
                };
                let (end, known) = (live.log.end(), live.high_watermark);
                format!("broker {} is {part} with {end} records, {known} committed", broker.id)
            }
        };
        let brokers: Vec<String> = self.brokers.iter().map(one).collect();
        let state = self.journal.partition();
        format!("not within {CONVERGED_MS} ms: {}; the controller: {state:?}", brokers.join("; "))
    }
}
