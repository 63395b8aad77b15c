//! What is known of a message without knowing which it is.

use ottla_protocol::messages::alter_configs_request::AlterConfigsRequest;
use ottla_protocol::messages::create_topics_request::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_response::{
    CreatableTopicResult, CreateTopicsResponse,
};
use ottla_protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, PartitionData, TopicData,
};
use ottla_protocol::{Answer as _, Request as _};
use ottla_types::ErrorCode;

#[test]
fn an_error_is_found_wherever_it_is_in_a_response() {
    let code = ErrorCode::NOT_CONTROLLER;
    assert!(!CreateTopicsResponse::default().has_error(code));
    let topic = |code: ErrorCode| CreatableTopicResult { error_code: code.0, ..Default::default() };
    let topics = vec![topic(ErrorCode::NONE), topic(code)];
    assert!(CreateTopicsResponse { topics, ..Default::default() }.has_error(code));
    let topics = vec![topic(ErrorCode::NONE), topic(ErrorCode::NOT_COORDINATOR)];
    assert!(!CreateTopicsResponse { topics, ..Default::default() }.has_error(code));

    let whole = DescribeQuorumResponse { error_code: code.0, ..Default::default() };
    assert!(whole.has_error(code));
    let partitions = vec![PartitionData { error_code: code.0, ..Default::default() }];
    let topics = vec![TopicData { partitions, ..Default::default() }];
    assert!(DescribeQuorumResponse { topics, ..Default::default() }.has_error(code));
}

#[test]
fn a_request_says_how_long_the_server_may_take_if_it_has_a_field_for_that() {
    let request = CreateTopicsRequest { timeout_ms: 7, ..Default::default() };
    assert_eq!(request.timeout_ms(), Some(7));
    assert_eq!(AlterConfigsRequest::default().timeout_ms(), None);
}
