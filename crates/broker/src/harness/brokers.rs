//! Another broker of the node's cluster, as far as a controller sees it.

use ottla_metadata::supported_features;
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use ottla_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener,
};
use ottla_types::{NodeId, Uuid};

use crate::harness::Harness;

/// The request of a broker with one listener and one directory, which can be registered.
pub fn registration(h: &Harness, broker: NodeId) -> BrokerRegistrationRequest {
    let own = u64::try_from(broker).expect("an id");
    let cluster = h.node().cluster();
    let features = supported_features(&cluster).map(|range| Feature {
        name: range.name.to_owned(),
        min_supported_version: range.lowest,
        max_supported_version: range.highest,
        ..Default::default()
    });
    BrokerRegistrationRequest {
        broker_id: broker,
        cluster_id: h.node().facts.cluster_id.clone(),
        incarnation_id: Uuid::of(1000 + own),
        listeners: vec![Listener {
            name: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 9092,
            ..Default::default()
        }],
        features: features.collect(),
        log_dirs: vec![Uuid::of(400 + own)],
        ..Default::default()
    }
}

/// Registers a broker, which is fenced; its epoch.
pub fn register_broker(h: &Harness, broker: NodeId) -> i64 {
    let response = h.ask(&registration(h, broker), 4);
    assert_eq!(response.error_code, 0);
    response.broker_epoch
}

/// A heartbeat of a broker that has applied all metadata and wants to serve.
pub fn heartbeat_request(h: &Harness, broker: NodeId, epoch: i64) -> BrokerHeartbeatRequest {
    BrokerHeartbeatRequest {
        broker_id: broker,
        broker_epoch: epoch,
        current_metadata_offset: h.node().metadata_offset(),
        ..Default::default()
    }
}

/// Sends that heartbeat.
pub fn send_heartbeat(h: &Harness, broker: NodeId, epoch: i64) -> BrokerHeartbeatResponse {
    h.ask(&heartbeat_request(h, broker, epoch), 1)
}

/// The epoch of the node's own broker.
pub fn own_epoch(h: &Harness) -> i64 {
    h.node().cluster().broker(h.node().id).expect("it is registered").epoch
}
