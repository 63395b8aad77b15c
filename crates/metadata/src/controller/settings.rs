//! The cluster, the node and the settings of a controller.

use alloc::string::String;

use ottla_types::NodeId;

/// What a controller needs to know of its cluster, its node and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerSettings {
    /// The cluster's id: a broker of another one may not register.
    pub cluster_id: String,
    /// The level of `kraft.version`, which the quorum keeps.
    pub kraft_version: i16,
    /// The broker of the same process, if it is one. It lives as long as the controller does, so
    /// that it needs no session, and a single node no timer.
    pub own_broker: Option<NodeId>,
    /// `num.partitions`: what a topic gets when its creator does not say, as the next two.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// How many replicas a new partition may have; `None` as many as there are brokers. A limit is
    /// for brokers that do not replicate, or a partition of several would take no record for good.
    pub replicas_max: Option<usize>,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `leader.imbalance.check.interval.seconds`, in milliseconds: how often partitions are given
    /// back to their preferred replicas; `None` where `auto.leader.rebalance.enable` is off.
    pub balance_ms: Option<i64>,
    /// `unclean.leader.election.interval.ms`: how often partitions without a leader are looked for.
    pub unclean_ms: i64,
    /// `metadata.max.idle.interval.ms`: how long the metadata log may stand still while others
    /// read it; `None` for ever.
    pub idle_ms: Option<i64>,
    /// `broker.session.timeout.ms`: after how long without a heartbeat a broker is fenced.
    pub session_ms: i64,
    /// `ottla.early.fencing.enable`: does the session of a broker end when two others have found
    /// that its address refuses connections?
    pub ends_sessions_early: bool,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            cluster_id: String::new(),
            kraft_version: 1,
            own_broker: None,
            partitions: 1,
            replication_factor: 1,
            replicas_max: None,
            delete_topics: true,
            balance_ms: Some(300_000),
            unclean_ms: 300_000,
            idle_ms: Some(500),
            session_ms: 9000,
            ends_sessions_early: true,
        }
    }
}
