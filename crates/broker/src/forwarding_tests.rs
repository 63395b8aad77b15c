use super::*;
use crate::harness::Harness;
use crate::harness::asks::node_with_topic;
use ottla_metadata::ResourceKind;
use ottla_partitions::Fault;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

/// A node that is not the active controller any more, once it is asked something.
fn node_without_controller() -> Harness {
    let h = Harness::start(&[]);
    h.set_fault("__cluster_metadata-0", Some(Fault::Writes));
    h
}

#[test]
fn a_client_hears_a_timeout_where_no_controller_is_active() {
    let h = node_without_controller();
    let topic = CreatableTopic {
        name: "orders".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let response = h.ask(&request, 7);
    assert_eq!(response.topics[0].name, "orders");
    assert_eq!(ErrorCode(response.topics[0].error_code), ErrorCode::REQUEST_TIMED_OUT);
    // On a controller's listener it is what the broker that forwards must know.
    let response = h.ask_controller(&request, 7);
    assert_eq!(ErrorCode(response.topics[0].error_code), ErrorCode::NOT_CONTROLLER);
}

#[test]
fn log_levels_are_changed_on_the_node_that_is_asked() {
    let h = node_with_topic("orders", 1);
    h.set_fault("__cluster_metadata-0", Some(Fault::Writes));
    let resource = |kind: ResourceKind, name: &str| AlterConfigsResource {
        resource_type: kind as i8,
        resource_name: name.to_owned(),
        ..Default::default()
    };
    let config = AlterableConfig {
        name: "retention.ms".to_owned(),
        value: Some("1".to_owned()),
        ..Default::default()
    };
    let topic =
        AlterConfigsResource { configs: vec![config], ..resource(ResourceKind::Topic, "orders") };
    let own = h.node().id.to_string();
    let request = IncrementalAlterConfigsRequest {
        resources: vec![topic, resource(ResourceKind::BrokerLogger, &own)],
        ..Default::default()
    };
    let response = h.ask(&request, 1);
    let code = |kind: ResourceKind| {
        let answers = response.responses.iter();
        let mut codes = answers.filter(|it| it.resource_type == kind as i8);
        codes.next().map(|it| ErrorCode(it.error_code))
    };
    assert_eq!(code(ResourceKind::BrokerLogger), Some(ErrorCode::NONE));
    assert_eq!(code(ResourceKind::Topic), Some(ErrorCode::REQUEST_TIMED_OUT));
}

#[test]
fn each_failure_to_forward_has_its_answer() {
    let refused = ForwardingFailure::Refused;
    let cases = [
        (EnvelopeFailure::Unsupported, ForwardingFailure::Unsupported),
        (EnvelopeFailure::NotController, refused(ErrorCode::REQUEST_TIMED_OUT)),
        (
            EnvelopeFailure::Broken(ErrorCode::CLUSTER_AUTHORIZATION_FAILED),
            refused(ErrorCode::UNKNOWN_SERVER_ERROR),
        ),
    ];
    for (failure, wanted) in cases {
        assert_eq!(client_failure(failure), wanted, "{failure:?}");
    }
    let unanswered = |code| client_failure(EnvelopeFailure::of_unanswered(code));
    for code in [ErrorCode::NOT_CONTROLLER, ErrorCode::NETWORK_EXCEPTION] {
        assert_eq!(unanswered(code), refused(ErrorCode::REQUEST_TIMED_OUT), "{}", code.name());
    }
    let unknown = unanswered(ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(unknown, refused(ErrorCode::UNKNOWN_SERVER_ERROR), "it knows no envelopes");
}
