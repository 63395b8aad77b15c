//! What only the active controller knows of brokers: when it heard of each, and how much of the
//! metadata each has applied.
//!
//! None of it is in the log: a new active controller gives every broker that serves a session
//! afresh, as it cannot know when the last heartbeat came (KAFKA-18138).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use ottla_types::{NodeId, Offset, TimestampMs, Uuid};

use crate::cluster::{BrokerRegistration, Cluster};

/// The sessions of brokers; a clone shares them until one of the two changes.
#[derive(Clone, Debug, Default)]
pub(super) struct BrokerSessions(Arc<BTreeMap<NodeId, BrokerSession>>);

/// What is known of a broker beside its registration.
#[derive(Clone, Debug)]
pub(super) struct BrokerSession {
    /// The epoch of the registration that this is about.
    pub broker_epoch: i64,
    /// Where that registration is in the metadata log: a broker that has applied it knows what
    /// became of its partitions (KAFKA-13959).
    pub registered_at: Offset,
    /// When the controller heard of it; `None` if it has not, in this epoch.
    pub heard_ms: Option<TimestampMs>,
    /// The last offset that it has applied; -1 if it has not said so yet.
    pub applied: Offset,
    /// May it stop? A heartbeat that was under way still does not make it serve again.
    pub may_stop: bool,
    /// The process that this one has taken the place of: what it sent may still be under way.
    pub superseded: Option<Uuid>,
    /// The offset that all others must have applied before it may stop, while it is stopping.
    pub stop_offset: Option<Offset>,
    /// The brokers whose connections it has refused since its last heartbeat, and when each has
    /// said so last.
    pub refused_by: BTreeMap<NodeId, TimestampMs>,
}

impl BrokerSessions {
    /// The session of a broker, in its present epoch.
    pub fn of(&self, broker: &BrokerRegistration) -> BrokerSession {
        let known = self.0.get(&broker.id).filter(|it| it.broker_epoch == broker.epoch);
        // A registration that another controller has written: it lies not before its epoch.
        known.cloned().unwrap_or_else(|| BrokerSession::new(broker.epoch, broker.epoch))
    }

    /// Is there a broker that was heard of less than `session_ms` ago, in its present epoch?
    pub fn is_live(
        &self,
        broker: &BrokerRegistration,
        now_ms: TimestampMs,
        session_ms: i64,
    ) -> bool {
        let heard_ms = self.of(broker).heard_ms;
        heard_ms.is_some_and(|heard_ms| now_ms < heard_ms.saturating_add(session_ms))
    }

    pub fn set(&mut self, id: NodeId, session: BrokerSession) {
        Arc::make_mut(&mut self.0).insert(id, session);
    }

    pub fn remove(&mut self, id: NodeId) {
        Arc::make_mut(&mut self.0).remove(&id);
    }

    /// What every broker that serves, and is not about to stop, has applied; `own`, which this
    /// process runs, applies what commits before anything else is answered.
    pub fn applied_by_all(&self, cluster: &Cluster, own: Option<NodeId>) -> Offset {
        let active = cluster.brokers().filter(|it| it.is_active() && Some(it.id) != own);
        let active = active.map(|it| self.of(it)).filter(|it| it.stop_offset.is_none());
        active.map(|it| it.applied).min().unwrap_or(Offset::MAX)
    }
}

impl BrokerSession {
    /// Of a registration at `registered_at`; nothing was heard of the broker yet.
    pub const fn new(broker_epoch: i64, registered_at: Offset) -> Self {
        Self {
            broker_epoch,
            registered_at,
            heard_ms: None,
            applied: -1,
            may_stop: false,
            superseded: None,
            stop_offset: None,
            refused_by: BTreeMap::new(),
        }
    }
}
