use super::*;
use crate::harness::Harness;
use crate::harness::asks::{batch_of, node_with_topic, produce_request};
use crate::request::ListenerScope;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::envelope_request::EnvelopeRequest;
use ottla_protocol::request_frame;
use ottla_records::BatchOptions;

const LENGTH_BYTES: usize = 4;

/// The header of a request without a body.
fn header(key: ApiKey, version: i16) -> Bytes {
    let mut frame = [key.code().to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend(7_i32.to_be_bytes());
    frame.extend((-1_i16).to_be_bytes());
    if version >= key.flexible_from() {
        frame.push(0);
    }
    frame.into()
}

fn closed(outcome: Outcome) -> String {
    match outcome {
        Outcome::Close(why) => why,
        _ => "the connection stays".to_owned(),
    }
}

fn listed(h: &Harness, scope: ListenerScope) -> Vec<i16> {
    let request = ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    let response = match scope {
        ListenerScope::Broker => h.ask(&request, 4),
        ListenerScope::Controller => h.ask_controller(&request, 4),
    };
    response.api_keys.iter().map(|it| it.api_key).collect()
}

#[test]
fn each_kind_of_listener_lists_and_serves_its_own_apis() {
    let h = Harness::start(&[]);
    for scope in [ListenerScope::Broker, ListenerScope::Controller] {
        let listed = listed(&h, scope);
        for api in SERVED {
            let key = api.key;
            let serves = match scope {
                ListenerScope::Broker => key.on_broker(),
                ListenerScope::Controller => key.on_controller(),
            };
            assert_eq!(listed.contains(&key.code()), serves, "{} {}", scope.name(), key.name());
            let why = closed(h.serve(scope, header(key, api.newest)));
            assert_eq!(why.contains("is not served on"), !serves, "{}: {why}", key.name());
        }
    }
}

#[test]
fn an_api_of_the_other_kind_of_listener_closes_the_connection() {
    let h = Harness::start(&[]);
    let why = closed(h.serve(ListenerScope::Controller, header(ApiKey::Metadata, 9)));
    assert_eq!(why, "Metadata is not served on CONTROLLER, which is a controller listener");
}

#[test]
fn produces_that_come_together_to_a_controller_listener_are_not_appended() {
    let h = node_with_topic("orders", 1);
    let request = produce_request("orders", 0, batch_of(BatchOptions::default(), &["v"]));
    let frame = Bytes::from(request_frame(&request, 9, 7, "test").expect("a frame"));
    let frames = vec![frame.slice(LENGTH_BYTES..); 2];
    let serve = |session| Serving { node: h.node(), session }.serve_together(&frames).len();
    assert_eq!(serve(Arc::clone(h.session())), 2);
    assert_eq!(serve(Arc::clone(h.controllers())), 0);
    let why = closed(h.serve(ListenerScope::Controller, frames[0].clone()));
    assert_eq!(why, "Produce is not served on CONTROLLER, which is a controller listener");
}

/// What brokers forward to the active controller, as `ApiKeys.forwardable` of Kafka 4.3 has it.
const FORWARDABLE: [ApiKey; 21] = [
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::CreateDelegationToken,
    ApiKey::RenewDelegationToken,
    ApiKey::ExpireDelegationToken,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::AlterClientQuotas,
    ApiKey::AlterUserScramCredentials,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
    ApiKey::AllocateProducerIds,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

#[test]
fn what_brokers_forward_may_come_in_an_envelope_and_nothing_else() {
    let h = Harness::start(&[]);
    for api in SERVED {
        let request = EnvelopeRequest {
            request_data: header(api.key, i16::MAX),
            request_principal: Some(Bytes::from_static(b"\0\0\x05User\x05anna\0\0")),
            client_host_address: Bytes::from_static(&[127, 0, 0, 1]),
            ..Default::default()
        };
        let code = ErrorCode(h.ask(&request, 0).error_code);
        let wanted = if FORWARDABLE.contains(&api.key) {
            ErrorCode::UNSUPPORTED_VERSION
        } else {
            ErrorCode::INVALID_REQUEST
        };
        assert_eq!(code, wanted, "{}", api.key.name());
    }
}
