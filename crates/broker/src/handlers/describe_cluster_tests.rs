use crate::harness::Harness;
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_types::ErrorCode;

fn asked(endpoint_type: i8) -> DescribeClusterRequest {
    DescribeClusterRequest { endpoint_type, ..Default::default() }
}

#[test]
fn each_kind_of_listener_describes_its_own_nodes() {
    let h = Harness::start(&[]);
    let own = h.node().id;
    let brokers = h.ask(&asked(1), 1);
    assert_eq!((brokers.error_code, brokers.endpoint_type, brokers.controller_id), (0, 1, own));
    let ports: Vec<i32> = brokers.brokers.iter().map(|it| it.port).collect();
    let controllers = h.ask_controller(&asked(2), 1);
    assert_eq!((controllers.error_code, controllers.endpoint_type), (0, 2));
    assert_eq!((controllers.controller_id, controllers.brokers[0].broker_id), (own, own));
    assert_eq!(controllers.brokers.len(), 1);
    assert!(!ports.contains(&controllers.brokers[0].port));
}

#[test]
fn nodes_of_the_other_kind_are_not_described() {
    let h = Harness::start(&[]);
    let code = |response: i16| ErrorCode(response);
    for (kind, wanted) in [
        (2, ErrorCode::MISMATCHED_ENDPOINT_TYPE),
        (0, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
        (3, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
    ] {
        let response = h.ask(&asked(kind), 1);
        assert_eq!(code(response.error_code), wanted, "{kind}");
        assert!(response.brokers.is_empty());
    }
    let response = h.ask_controller(&asked(1), 2);
    assert_eq!(code(response.error_code), ErrorCode::MISMATCHED_ENDPOINT_TYPE);
    let wanted = "The request was sent to an endpoint of type CONTROLLER, but we wanted an \
                  endpoint of type BROKER";
    assert_eq!(response.error_message.as_deref(), Some(wanted));
    // A client of version 0 knows of no types.
    let response = h.ask_controller(&asked(1), 0);
    assert_eq!(code(response.error_code), ErrorCode::INVALID_REQUEST);
}
