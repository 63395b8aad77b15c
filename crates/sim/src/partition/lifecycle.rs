//! Brokers register, send heartbeats, are fenced and stop; and the controller that decides upon it
//! gives way to another one.

use ottla_machine::{Alarm, Machine as _};
use ottla_metadata::{
    BrokerRegistration, Controller, ControllerCommand, ControllerReply, ControllerTimer,
    supported_features,
};
use ottla_protocol::messages::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use ottla_protocol::messages::alter_partition_response::AlterPartitionResponse;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_registration_request::{BrokerRegistrationRequest, Feature};
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{ErrorCode, NodeId, Uuid};

use super::broker::SimBroker;
use super::message::{
    InSyncAnswer, IncarnatedMember, PartitionEvent, PartitionMessage, ProposedInSync, SimHeartbeat,
    SimRegistration,
};
use super::metadata::{HeardOf, SESSION_MS, TOPIC, new_controller, partition_state};
use super::world::PartitionWorld;
use crate::invariant::{Invariant, InvariantCheck, Judge as _};

/// How often it is checked that silent brokers are fenced, in milliseconds.
const CHECK_MS: u64 = 500;
/// The life of a process that is none of the broker's.
const STRANGER: u32 = 900;

/// The table of what a heartbeat makes of a broker: from, to.
pub(crate) const LIFECYCLE: [(&str, &str); 8] = [
    ("fenced", "fenced"),
    ("fenced", "serving"),
    ("fenced", "stopped"),
    ("serving", "serving"),
    ("serving", "stopping"),
    ("serving", "stopped"),
    ("stopping", "stopping"),
    ("stopping", "stopped"),
];

/// The row that a heartbeat has taken; none if the broker is not registered any more.
fn lifecycle_row(
    before: &BrokerRegistration,
    after: Option<&BrokerRegistration>,
    may_stop: bool,
) -> Option<(&'static str, &'static str)> {
    let name = |broker: &BrokerRegistration| match (broker.fenced, broker.stopping) {
        (true, _) => "fenced",
        (false, true) => "stopping",
        (false, false) => "serving",
    };
    let to = if may_stop { "stopped" } else { name(after?) };
    Some((name(before), to))
}

/// What the controller has answered about the partition, or about the whole request.
fn in_sync_answer(alter: &ProposedInSync, response: &AlterPartitionResponse) -> InSyncAnswer {
    let one = response.topics.first().and_then(|it| it.partitions.first());
    let code = one.map_or(response.error_code, |it| it.error_code);
    InSyncAnswer {
        number: alter.number,
        code: ErrorCode(code),
        asked_epoch: alter.partition_epoch,
        partition_epoch: one.map_or(-1, |it| it.partition_epoch),
    }
}

impl PartitionWorld {
    /// A broker registers until it knows its epoch, by the answer or from the metadata; then it
    /// sends heartbeats.
    pub(super) fn say_alive(&mut self, at: usize) {
        let term = self.journal.term;
        let broker = &self.brokers[at];
        let known = broker.live.as_ref().and_then(|live| {
            let known = live.broker_epoch(broker.id, broker.life);
            let broker_epoch = known.or(live.registered)?;
            let (applied, wants_stop) = (live.applied, live.is_stopping);
            Some(SimHeartbeat { broker_epoch, applied, wants_stop, term })
        });
        let message = known.map_or_else(
            || {
                PartitionMessage::Register(SimRegistration {
                    life: broker.life,
                    previous_broker_epoch: broker.clean_epoch,
                    term,
                })
            },
            PartitionMessage::Heartbeat,
        );
        self.send(at, self.controller(), message);
    }

    /// A registration arrives, perhaps that of an earlier life.
    pub(super) fn register(&mut self, at: usize, asked: SimRegistration) -> InvariantCheck {
        if asked.term != self.journal.term {
            return Ok(());
        }
        let request = BrokerRegistrationRequest {
            previous_broker_epoch: asked.previous_broker_epoch,
            log_dirs: vec![Uuid::of(400 + at as u64)],
            ..self.registration(at, asked.life)
        };
        let id = self.brokers[at].id;
        let epoch = |world: &Self| {
            world.journal.controller.cluster().broker(id).map_or(-1, |broker| broker.epoch)
        };
        let before = epoch(self);
        let reply = self.command(ControllerCommand::RegisterBroker(request))?;
        if let Some(ControllerReply::Registered(Ok(broker_epoch))) = reply {
            let life = asked.life;
            self.send(self.controller(), at, PartitionMessage::Registered { life, broker_epoch });
        }
        // A process that registers again changes nothing; it may have ended meanwhile.
        if epoch(self) != before && self.is_life(at, asked.life) {
            self.brokers[at].has_lost = false;
        }
        Ok(())
    }

    /// A registration, or a heartbeat of an earlier epoch, was answered.
    pub(super) fn learn_epoch(&mut self, at: usize, stale: Option<i64>, new: Option<i64>) {
        if let Some(live) = &mut self.brokers[at].live
            && (stale.is_none() || live.registered == stale)
        {
            live.registered = new;
        }
    }

    fn registration(&self, at: usize, life: u32) -> BrokerRegistrationRequest {
        let id = self.brokers[at].id;
        let feature = |range: ottla_metadata::FeatureRange| Feature {
            name: range.name.to_owned(),
            min_supported_version: range.lowest,
            max_supported_version: range.highest,
            ..Default::default()
        };
        BrokerRegistrationRequest {
            broker_id: id,
            incarnation_id: SimBroker::incarnation(id, life),
            features: supported_features(self.journal.controller.cluster()).map(feature).collect(),
            ..Default::default()
        }
    }

    /// A process with other directories registers as a broker that lives: it must not be let.
    pub(super) fn impersonate(&mut self, at: usize) -> InvariantCheck {
        let id = self.brokers[at].id;
        let now_ms = self.schedule.now_ms();
        let known = self.journal.controller.cluster().broker(id);
        let is_live = self.journal.heard[at].at_ms + SESSION_MS > now_ms
            && known.is_some_and(|it| !it.fenced);
        if !is_live {
            return Ok(());
        }
        let request = BrokerRegistrationRequest {
            log_dirs: vec![Uuid::of(900 + at as u64)],
            ..self.registration(at, STRANGER)
        };
        let reply = self.command(ControllerCommand::RegisterBroker(request))?;
        let is_refused = matches!(reply, Some(ControllerReply::Registered(Err(_))));
        self.demand(Invariant::OneProcessServes, is_refused, |_| {
            format!("broker {id} lives, and another process was registered as it")
        })
    }

    /// A heartbeat arrives.
    pub(super) fn heartbeat(&mut self, at: usize, told: SimHeartbeat) -> InvariantCheck {
        if told.term != self.journal.term {
            return Ok(());
        }
        let id = self.brokers[at].id;
        let before = self.journal.controller.cluster().broker(id).cloned();
        let request = BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: told.broker_epoch,
            current_metadata_offset: i64::try_from(told.applied).unwrap_or(i64::MAX) - 1,
            want_shut_down: told.wants_stop,
            ..Default::default()
        };
        let reply = self.command(ControllerCommand::Heartbeat(request))?;
        let Some(ControllerReply::Heartbeat(answer)) = reply else { return Ok(()) };
        let Some(before) = before.filter(|it| it.epoch == told.broker_epoch) else {
            let (life, broker_epoch) = (self.brokers[at].life, told.broker_epoch);
            self.send(self.controller(), at, PartitionMessage::StaleEpoch { life, broker_epoch });
            return Ok(());
        };
        let after = self.journal.controller.cluster().broker(id);
        let row = lifecycle_row(&before, after, answer.should_shut_down);
        if let Some(row) = row.and_then(|row| LIFECYCLE.iter().position(|it| *it == row)) {
            self.coverage.lifecycle[row] += 1;
        }
        let now_ms = self.schedule.now_ms();
        let heard = &mut self.journal.heard[at];
        (heard.at_ms, heard.applied) = (now_ms, told.applied);
        if before.fenced {
            // Its session had ended: a broker that is fenced may stop at once.
            heard.stop_end = None;
        }
        if before.fenced && !answer.is_fenced {
            self.check_serves(id, told.applied)?;
        }
        let known = self.journal.controller.cluster().broker(id);
        let is_stopping = known.is_some_and(|it| it.stopping && !it.fenced);
        let end = self.journal.records.len();
        if is_stopping && self.journal.heard[at].stop_end.is_none() && !before.stopping {
            self.journal.heard[at].stop_end = Some(end);
        }
        if answer.should_shut_down {
            self.check_stop(at)?;
            // Only the process that has this epoch is meant.
            let (life, to) = (self.brokers[at].life, at);
            if before.incarnation == SimBroker::incarnation(id, life) {
                self.send(self.controller(), to, PartitionMessage::MayStop { life });
            }
        }
        self.tell(at);
        Ok(())
    }

    /// A broker serves that has applied that much of the metadata.
    fn check_serves(&mut self, id: NodeId, applied: usize) -> InvariantCheck {
        // The first registration in this epoch: a process that registers again knows of itself.
        let epoch = self.journal.controller.cluster().broker(id).map_or(-1, |it| it.epoch);
        let is_own = |record: &MetadataRecord| match record {
            MetadataRecord::RegisterBroker(it) => it.broker_id == id && it.broker_epoch == epoch,
            _ => false,
        };
        let registered_at = self.journal.records.iter().position(is_own);
        let has_applied = registered_at.is_none_or(|it| it < applied);
        self.demand(Invariant::ServesWithMetadata, has_applied, |_| {
            format!("broker {id} serves with {applied} records, registered at {registered_at:?}")
        })
    }

    /// A broker may stop: what it led is led by others, and they know.
    fn check_stop(&mut self, at: usize) -> InvariantCheck {
        let id = self.brokers[at].id;
        let leads = self.journal.partition().is_some_and(|it| it.leader == id);
        let cluster = self.journal.controller.cluster();
        let is_active =
            |it: &SimBroker| cluster.broker(it.id).is_some_and(|it| it.is_active()) && it.id != id;
        let heard = &self.journal.heard;
        let knows = |end: usize| {
            let others = self.brokers.iter().enumerate().filter(|(_, it)| is_active(it));
            others.into_iter().all(|(other, _)| heard[other].applied >= end)
        };
        let is_unneeded = !leads && heard[at].stop_end.is_none_or(knows);
        self.journal.heard[at].stop_end = None;
        self.demand(Invariant::StopsUnneeded, is_unneeded, |_| {
            format!("broker {id} may stop, though it is still needed")
        })
    }

    /// No broker serves that was silent for the length of a session.
    pub(super) fn check_sessions(&mut self) -> InvariantCheck {
        self.schedule.after(CHECK_MS, PartitionEvent::SessionsChecked);
        let now_ms = self.schedule.now_ms();
        let cluster = self.journal.controller.cluster();
        let is_silent = |at: usize| {
            let since_ms = self.journal.heard[at].at_ms.max(self.journal.active_ms);
            let serves = cluster.broker(self.brokers[at].id).is_some_and(|it| !it.fenced);
            serves && since_ms + SESSION_MS < now_ms
        };
        let silent = (0..self.brokers.len()).find(|at| is_silent(*at));
        self.demand(Invariant::SessionsEnd, silent.is_none(), |world| {
            format!("broker {:?} serves, and is silent", silent.map(|at| world.brokers[at].id))
        })
    }

    pub(super) fn set_alarm(&mut self, alarm: Alarm<ControllerTimer>) {
        let wall = |at_ms: i64| u64::try_from(at_ms).unwrap_or(0);
        let (timer, at_ms) = match alarm {
            Alarm::Set { timer, at_ms } => (timer, wall(at_ms)),
            Alarm::Start { timer, at_ms } if !self.journal.timers.contains_key(&timer) => {
                (timer, wall(at_ms))
            }
            Alarm::Start { .. } => return,
            Alarm::Cancel { timer } => {
                self.journal.timers.remove(&timer);
                return;
            }
        };
        self.journal.timers.insert(timer, at_ms);
        self.schedule.at(at_ms, PartitionEvent::TimerDue { timer, at_ms });
    }

    /// Fires a timer, unless it was set again or taken back.
    pub(super) fn fire_timer(&mut self, timer: ControllerTimer, at_ms: u64) -> InvariantCheck {
        if self.journal.timers.get(&timer) != Some(&at_ms) {
            return Ok(());
        }
        self.journal.timers.remove(&timer);
        let before = self.journal.records.len();
        self.command(Controller::expired(timer))?;
        if matches!(timer, ControllerTimer::Session(_)) && self.journal.records.len() > before {
            self.coverage.sessions_ended += 1;
        }
        Ok(())
    }

    /// Another controller becomes the active one: it knows what is in the log, and nothing else.
    pub(super) fn fail_over(&mut self) -> InvariantCheck {
        self.coverage.failovers += 1;
        let image = self.journal.controller.cluster().clone();
        self.journal.controller = new_controller(image, self.in_sync_min);
        self.journal.term += 1;
        self.journal.active_ms = self.schedule.now_ms();
        self.journal.timers.clear();
        self.journal.heard.fill(HeardOf::default());
        self.command(ControllerCommand::Activate { records: Vec::new() }).map(|_| ())
    }

    /// A leader wants another in-sync set.
    ///
    /// The requests of a broker come in order, as on one connection: what it has given up does not
    /// come after what it has sent then.
    pub(super) fn alter(&mut self, from: usize, alter: &ProposedInSync) -> InvariantCheck {
        let (last, number) = (self.journal.asked[from], (alter.life, alter.number));
        if alter.term != self.journal.term || number <= last {
            return Ok(());
        }
        self.journal.asked[from] = number;
        let member = |member: &IncarnatedMember| BrokerState {
            broker_id: member.id,
            broker_epoch: member.broker_epoch,
            ..Default::default()
        };
        let asked = PartitionData {
            leader_epoch: alter.leader_epoch,
            new_isr_with_epochs: alter.in_sync.iter().map(member).collect(),
            partition_epoch: alter.partition_epoch,
            ..Default::default()
        };
        let topic = TopicData { topic_id: TOPIC, partitions: vec![asked], ..Default::default() };
        let request = AlterPartitionRequest {
            broker_id: alter.leader,
            broker_epoch: alter.broker_epoch,
            topics: vec![topic],
            ..Default::default()
        };
        let before = self.journal.records.len();
        let known = self.journal.partition().map(|it| it.partition_epoch);
        let reply = self.command(ControllerCommand::AlterPartition { request, version: 3 })?;
        if let Some(ControllerReply::AlterPartition(response)) = reply {
            let answer = in_sync_answer(alter, &response);
            let message = PartitionMessage::Altered { life: alter.life, answer };
            self.send(self.controller(), from, message);
        }
        if self.journal.records.len() == before {
            return Ok(());
        }
        let is_current = known == Some(alter.partition_epoch);
        self.demand(Invariant::ProposalIsCurrent, is_current, |_| {
            format!("an in-sync set for epoch {} was taken in {known:?}", alter.partition_epoch)
        })?;
        self.coverage.in_sync_changes += 1;
        let cluster = self.journal.controller.cluster();
        // A leader that has not seen a member yet leaves its epoch open.
        let is_present = |member: &IncarnatedMember| {
            let known = cluster.broker(member.id).filter(|known| known.is_active());
            known.is_some_and(|known| [known.epoch, -1].contains(&member.broker_epoch))
        };
        let all_present = alter.in_sync.iter().all(is_present);
        let isr = partition_state(cluster).map(|it| it.isr.clone());
        self.demand(Invariant::StaleBrokerEpochNeverInIsr, all_present, |_| {
            format!("{:?} became the in-sync set {isr:?}", alter.in_sync)
        })
    }
}
