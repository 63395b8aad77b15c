//! What brokers and controllers send to the active controller.

use ottla_protocol::messages::{
    allocate_producer_ids_request, alter_partition_request, assign_replicas_to_dirs_request,
    broker_heartbeat_request, broker_registration_request, controller_registration_request,
    envelope_request,
};

use super::{SampleRequest, d, show};

/// The requests, by the names of the table. None of them is granted: their clusters, epochs and
/// addresses are wrong, and the envelope has no principal.
pub const ALL: &[(&str, SampleRequest)] = &[
    ("AlterPartition", |h| show(h, 3, &alter_partition_request::AlterPartitionRequest::default())),
    ("Envelope", |h| show(h, 0, &envelope_request::EnvelopeRequest::default())),
    ("BrokerRegistration", |h| {
        show(h, 4, &broker_registration_request::BrokerRegistrationRequest::default())
    }),
    ("BrokerHeartbeat", |h| {
        show(h, 1, &broker_heartbeat_request::BrokerHeartbeatRequest::default())
    }),
    ("AllocateProducerIds", |h| {
        show(h, 0, &allocate_producer_ids_request::AllocateProducerIdsRequest::default())
    }),
    ("ControllerRegistration", |h| {
        show(
            h,
            0,
            &controller_registration_request::ControllerRegistrationRequest {
                listeners: vec![d()],
                ..d()
            },
        )
    }),
    ("AssignReplicasToDirs", |h| {
        show(h, 0, &assign_replicas_to_dirs_request::AssignReplicasToDirsRequest::default())
    }),
];
