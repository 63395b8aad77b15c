//! Records: produced, fetched, appended, cut off, acknowledged.

use ottla_replication::FollowerFetch;

use super::broker::{BrokerRole, ReplicaFetchUnderWay};
use super::message::{PartitionEvent, PartitionMessage, ReplicaFetch, ReplicaFetchAnswer};
use super::world::PartitionWorld;
use crate::invariant::InvariantCheck;
use crate::log::{SimRecord, count};

/// How often a broker looks, in milliseconds.
const POLL_MS: u64 = 300;
/// After how long a fetch without an answer is given up, in milliseconds.
const FETCH_GIVEN_UP_MS: u64 = 1000;
/// How many records an answer has at most.
const ANSWER_MAX: usize = 4;

impl PartitionWorld {
    /// A broker sends a heartbeat, fetches, and checks its in-sync set.
    pub(super) fn polled(&mut self, at: usize) -> InvariantCheck {
        let broker = &mut self.brokers[at];
        let life = broker.life;
        let Some(live) = &broker.live else { return Ok(()) };
        broker.checkpoint = live.high_watermark;
        if self.dice.chance(300)
            && let Some(live) = &mut broker.live
        {
            let end = live.log.entries.len();
            live.log.flushed(&mut broker.disk, end);
        }
        let pause_ms = self.dice.between(POLL_MS / 2, POLL_MS);
        self.schedule.after(pause_ms, PartitionEvent::Polled { broker: at, life });
        self.say_alive(at);
        self.fetch_if_due(at);
        self.look_after_in_sync(at)
    }

    pub(super) fn produce_somewhere(&mut self) -> InvariantCheck {
        let pause_ms = self.dice.between(20, 400);
        self.schedule.after(pause_ms, PartitionEvent::Produced);
        let at = self.dice.index(self.brokers.len());
        let for_all = self.dice.chance(800);
        self.produce(at, for_all)
    }

    /// A record goes to a broker, which takes it if it believes to lead.
    pub(super) fn produce(&mut self, at: usize, for_all: bool) -> InvariantCheck {
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        let BrokerRole::Leader(leading) = &mut live.part else { return Ok(()) };
        if for_all && leading.leader.may_append_for_all().is_err() {
            return Ok(());
        }
        self.next_id += 1;
        let epoch = leading.leader.assignment().leader_epoch;
        let entry = SimRecord { epoch, id: self.next_id };
        self.check_append(at, entry)?;
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        live.log.append(entry);
        let end = live.log.end();
        if let Some(leading) = live.leading_mut() {
            leading.leader.appended(end);
            if for_all {
                leading.waiting.push_back(end);
            }
        }
        self.advanced(at)
    }

    /// After everything that may have moved a leader's high watermark.
    pub(super) fn advanced(&mut self, at: usize) -> InvariantCheck {
        self.check_advance(at)?;
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        let BrokerRole::Leader(leading) = &mut live.part else { return Ok(()) };
        live.high_watermark = leading.leader.watermark();
        while leading.waiting.front().is_some_and(|end| *end <= live.high_watermark) {
            leading.waiting.pop_front();
            self.coverage.acknowledged += 1;
        }
        Ok(())
    }

    fn fetch_if_due(&mut self, at: usize) {
        let (id, life) = (self.brokers[at].id, self.brokers[at].life);
        let now_ms = self.schedule.now_ms();
        let Some(live) = &mut self.brokers[at].live else { return };
        let BrokerRole::Follower { leader, epoch } = live.part else { return };
        let is_under_way = live.fetch.is_some_and(|it| it.since_ms + FETCH_GIVEN_UP_MS > now_ms);
        let Some(broker_epoch) = live.broker_epoch(id, life) else { return };
        if is_under_way {
            return;
        }
        live.fetches += 1;
        live.fetch = Some(ReplicaFetchUnderWay { number: live.fetches, since_ms: now_ms });
        let fetch = ReplicaFetch {
            follower: id,
            broker_epoch,
            leader_epoch: epoch,
            end: live.log.lineage.end(),
            number: live.fetches,
        };
        self.send(
            at,
            usize::try_from(leader - 1).unwrap_or(0),
            PartitionMessage::Fetch { fetch, life },
        );
    }

    /// A broker is asked for records: it answers if both know it as the leader of one epoch.
    pub(super) fn fetched(
        &mut self,
        at: usize,
        from: usize,
        fetch: ReplicaFetch,
        life: u32,
    ) -> InvariantCheck {
        let now_ms = self.schedule.now_ms();
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        let diverging = live.log.lineage.diverging(fetch.end);
        let BrokerRole::Leader(leading) = &mut live.part else { return Ok(()) };
        let leader_epoch = leading.leader.assignment().leader_epoch;
        if leader_epoch != fetch.leader_epoch {
            return Ok(());
        }
        if diverging.is_none() {
            let ReplicaFetch { follower, broker_epoch, .. } = fetch;
            let life = leading.lives.entry(follower).or_insert(broker_epoch);
            let before = (broker_epoch < *life).then(|| leading.leader.clone());
            *life = broker_epoch.max(*life);
            let offset = fetch.end.offset;
            let log_start = 0;
            let fetched = FollowerFetch { follower, broker_epoch, offset, log_start, now_ms };
            // One that counts for nothing is answered all the same.
            let _ = leading.leader.fetched(fetched);
            let is_moved = before.is_some_and(|before| before != leading.leader);
            self.check_earlier_life(follower, is_moved)?;
            self.advanced(at)?;
        }
        let Some(live) = &self.brokers[at].live else { return Ok(()) };
        let rest = live.log.entries.get(count(fetch.end.offset)..).unwrap_or_default();
        let entries = if diverging.is_some() { &[] } else { rest };
        let answer = ReplicaFetchAnswer {
            leader_epoch,
            diverging,
            entries: entries.iter().take(ANSWER_MAX).copied().collect(),
            high_watermark: live.high_watermark,
        };
        self.send(at, from, PartitionMessage::Fetched { answer, number: fetch.number, life });
        Ok(())
    }

    /// A fetch was answered. The answer counts only for the fetch that it belongs to, in the
    /// epoch in which that was sent (KAFKA-18991).
    pub(super) fn answered(
        &mut self,
        at: usize,
        from: usize,
        answer: ReplicaFetchAnswer,
        number: u64,
    ) -> InvariantCheck {
        let leader = self.brokers[from].id;
        let Some(live) = &mut self.brokers[at].live else { return Ok(()) };
        let is_its = live.fetch.is_some_and(|it| it.number == number);
        let follows = matches!(&live.part, BrokerRole::Follower { leader: known, epoch }
            if *known == leader && *epoch == answer.leader_epoch);
        if !is_its || !follows {
            return Ok(());
        }
        live.fetch = None;
        if let Some(parts_at) = answer.diverging {
            let end = live.log.lineage.cut(parts_at);
            self.check_cut(at, end, answer.leader_epoch)?;
            if let Some(live) = &mut self.brokers[at].live {
                self.coverage.cut_records += (live.log.entries.len() - count(end)) as u64;
                live.log.truncate(count(end));
            }
        }
        for entry in &answer.entries {
            self.check_append(at, *entry)?;
            if let Some(live) = &mut self.brokers[at].live {
                live.log.append(*entry);
            }
        }
        if let Some(live) = &mut self.brokers[at].live {
            // A new leader may know of less than its follower; that takes nothing back.
            let told = answer.high_watermark.min(live.log.end());
            live.high_watermark = live.high_watermark.max(told);
        }
        // At once, if there may be more; else with the next poll.
        if !answer.entries.is_empty() || answer.diverging.is_some() {
            self.fetch_if_due(at);
        }
        Ok(())
    }
}
