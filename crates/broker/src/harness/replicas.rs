//! A partition that the node leads, and a follower of it that the test plays.

use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest,
};
use ottla_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ReplicaState,
};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_types::{NodeId, Offset};

use crate::harness::Harness;
use crate::harness::brokers::{registration, send_heartbeat};

/// The broker that follows.
const FOLLOWER: NodeId = 2;

/// A broker with a replica of `orders-0`.
#[derive(Clone, Copy, Debug)]
pub struct PlayedFollower {
    /// Its id.
    pub id: NodeId,
    /// Its epoch.
    pub epoch: i64,
}

/// A node with these settings besides its own, which leads `orders-0`; and a broker in that rack
/// that is in sync, too.
pub fn node_with_follower(settings: &[&str], rack: &str) -> (Harness, PlayedFollower) {
    // It sends no more heartbeats than one.
    let settings = [settings, &["broker.session.timeout.ms=3600000"]].concat();
    let h = Harness::start(&settings);
    let mut registration = registration(&h, FOLLOWER);
    registration.rack = Some(rack.to_owned());
    let registered = h.ask(&registration, 4);
    assert_eq!(registered.error_code, 0);
    let epoch = registered.broker_epoch;
    assert!(!send_heartbeat(&h, FOLLOWER, epoch).is_fenced);
    let assignment = CreatableReplicaAssignment {
        partition_index: 0,
        broker_ids: vec![h.node().id, FOLLOWER],
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: "orders".to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(h.ask(&request, 7).topics[0].error_code, 0);
    (h, PlayedFollower { id: FOLLOWER, epoch })
}

impl PlayedFollower {
    /// Its fetch from there on, without a wait; its log starts at `log_start`.
    #[must_use]
    pub fn fetch_request(&self, h: &Harness, offset: Offset, log_start: Offset) -> FetchRequest {
        let partition = FetchPartition {
            partition: 0,
            fetch_offset: offset,
            log_start_offset: log_start,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic_id = h.node().topic_id("orders").expect("it exists");
        let topics =
            vec![FetchTopic { topic_id, partitions: vec![partition], ..Default::default() }];
        let replica_state =
            ReplicaState { replica_id: self.id, replica_epoch: self.epoch, ..Default::default() };
        FetchRequest {
            replica_state,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics,
            ..Default::default()
        }
    }

    /// Sends that fetch; what it is answered.
    pub fn fetch(&self, h: &Harness, offset: Offset, log_start: Offset) -> PartitionData {
        let response = h.ask(&self.fetch_request(h, offset, log_start), 17);
        response.responses[0].partitions[0].clone()
    }
}
