use std::sync::Arc;

use bytes::Bytes;
use ottla_partitions::Fault;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use ottla_protocol::messages::create_delegation_token_request::CreateDelegationTokenRequest;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::envelope_request::EnvelopeRequest;
use ottla_protocol::messages::envelope_response::EnvelopeResponse;
use ottla_protocol::{ApiKey, Request, Text};
use ottla_types::ErrorCode;

use crate::envelope::{EnvelopeFailure, unwrap_request, unwrap_response, wrap_request};
use crate::guard::Principal;
use crate::harness::Harness;
use crate::request::{Call, ListenerScope, Session};

/// A request of alice, who is connected to a broker.
fn call_of_alice(key: ApiKey, version: i16) -> Call {
    let peer = "192.0.2.7:4711".parse().expect("an address");
    let alice = Principal { kind: "User".into(), name: "alice".into() };
    let session = Session::of_principal(peer, "PLAINTEXT".into(), ListenerScope::Broker, alice);
    Call::new(&Arc::new(session), key, version, Text::default())
}

fn envelope<R: Request>(request: &R, version: i16) -> EnvelopeRequest {
    wrap_request(&call_of_alice(R::KEY, version), request).expect("it can be encoded")
}

fn new_topic(name: &str) -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], ..Default::default() }
}

fn code(h: &Harness, request: &EnvelopeRequest) -> ErrorCode {
    let response = h.ask(request, 0);
    assert_eq!(response.error_code != 0, response.response_data.is_none());
    ErrorCode(response.error_code)
}

#[test]
fn a_request_in_an_envelope_is_served_and_its_response_comes_back() {
    let h = Harness::start(&[]);
    for (version, name) in [(4, "orders"), (7, "bills")] {
        let response = h.ask(&envelope(&new_topic(name), version), 0);
        let response = unwrap_response::<CreateTopicsRequest>(response, version);
        let topic = response.expect("it is answered").topics.remove(0);
        assert_eq!((topic.name.as_str(), topic.error_code), (name, 0));
        assert!(h.node().topic_id(name).is_some());
    }
}

#[test]
fn a_request_in_an_envelope_has_the_principal_and_address_of_the_client() {
    let h = Harness::start(&[]);
    let request = CreateDelegationTokenRequest::default();
    let response = h.ask(&envelope(&request, 3), 0);
    let token = unwrap_response::<CreateDelegationTokenRequest>(response, 3).expect("answered");
    assert_eq!(token.token_requester_principal_name, "alice");
    let unwrapped = unwrap_request(h.controllers(), envelope(&request, 3)).expect("unwrapped");
    assert_eq!(unwrapped.call.session.host(), "/192.0.2.7");
    assert_eq!(unwrapped.call.principal.to_string(), "User:alice");
}

#[test]
fn an_envelope_that_cannot_be_read_has_an_error_of_its_own() {
    let h = Harness::start(&[]);
    let good = envelope(&new_topic("orders"), 7);
    let bytes = Bytes::from_static;
    for principal in
        [None, Some(bytes(b"")), Some(bytes(b"\0\x01\x01\x01\0\0")), Some(bytes(b"\0\0\x7f"))]
    {
        let request = EnvelopeRequest { request_principal: principal, ..good.clone() };
        assert_eq!(code(&h, &request), ErrorCode::PRINCIPAL_DESERIALIZATION_FAILURE);
    }
    for address in [bytes(b""), bytes(b"127"), bytes(b"0123456789abcdefg")] {
        let request = EnvelopeRequest { client_host_address: address, ..good.clone() };
        assert_eq!(code(&h, &request), ErrorCode::INVALID_REQUEST);
    }
    let address = bytes(b"0123456789abcdef");
    let request = EnvelopeRequest { client_host_address: address, ..good };
    assert_eq!(code(&h, &request), ErrorCode::NONE, "an IPv6 address");
}

#[test]
fn what_an_envelope_must_not_hold_is_refused() {
    let h = Harness::start(&[]);
    let inside = |data: &[u8]| EnvelopeRequest {
        request_data: Bytes::copy_from_slice(data),
        ..envelope(&new_topic("orders"), 7)
    };
    let cases = [
        ("no header", inside(b"\0\x13\0"), ErrorCode::UNSUPPORTED_VERSION),
        ("no API", inside(b"\x27\x0f\0\0\0\0\0\0\xff\xff"), ErrorCode::UNSUPPORTED_VERSION),
        ("no version", inside(b"\0\x13\0\x63\0\0\0\0\xff\xff\0"), ErrorCode::UNSUPPORTED_VERSION),
        ("no body", inside(b"\0\x13\0\x07\0\0\0\0\xff\xff\0"), ErrorCode::UNSUPPORTED_VERSION),
        (
            "not forwarded",
            envelope(&DescribeClusterRequest::default(), 1),
            ErrorCode::INVALID_REQUEST,
        ),
        ("not forwarded", envelope(&ApiVersionsRequest::default(), 3), ErrorCode::INVALID_REQUEST),
        (
            "an envelope",
            envelope(&envelope(&new_topic("orders"), 7), 0),
            ErrorCode::INVALID_REQUEST,
        ),
        // Kafka closes the client's connection for such a rule.
        (
            "an unknown rule",
            envelope(
                &CreateAclsRequest {
                    creations: vec![AclCreation::default()],
                    ..Default::default()
                },
                3,
            ),
            ErrorCode::UNSUPPORTED_VERSION,
        ),
    ];
    for (what, request, wanted) in cases {
        assert_eq!(code(&h, &request), wanted, "{what}");
    }
    assert!(h.node().topic_id("orders").is_none());
}

#[test]
fn a_controller_that_is_not_active_says_so_in_the_envelope() {
    let h = Harness::start(&[]);
    h.set_fault("__cluster_metadata-0", Some(Fault::Writes));
    let request = envelope(&new_topic("orders"), 7);
    assert_eq!(code(&h, &request), ErrorCode::NOT_CONTROLLER);
}

#[test]
fn each_error_of_an_envelope_means_something_for_the_client() {
    let failure = |code: ErrorCode| {
        let response = EnvelopeResponse { error_code: code.0, ..Default::default() };
        unwrap_response::<CreateTopicsRequest>(response, 7).expect_err("an error")
    };
    let broken = EnvelopeFailure::Broken;
    let cases = [
        (ErrorCode::NOT_CONTROLLER, EnvelopeFailure::NotController),
        (ErrorCode::UNSUPPORTED_VERSION, EnvelopeFailure::Unsupported),
        (ErrorCode::INVALID_REQUEST, broken(ErrorCode::INVALID_REQUEST)),
        (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, broken(ErrorCode::CLUSTER_AUTHORIZATION_FAILED)),
        // No response is in it.
        (ErrorCode::NONE, broken(ErrorCode::UNKNOWN_SERVER_ERROR)),
    ];
    for (code, wanted) in cases {
        assert_eq!(failure(code), wanted, "{}", code.name());
    }
    let data = Bytes::from_static(b"\0\0\0\x01\0\0\0\0\0\x01\0");
    let other = EnvelopeResponse { response_data: Some(data), ..Default::default() };
    let failure = unwrap_response::<CreateTopicsRequest>(other, 7).expect_err("another's response");
    assert_eq!(failure, broken(ErrorCode::UNKNOWN_SERVER_ERROR));
}
