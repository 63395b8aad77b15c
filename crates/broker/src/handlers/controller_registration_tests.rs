use crate::harness::Harness;
use ottla_protocol::messages::controller_registration_request::{
    ControllerRegistrationRequest, Listener,
};
use ottla_types::{ErrorCode, Uuid};

fn registration(host: &str) -> ControllerRegistrationRequest {
    ControllerRegistrationRequest {
        controller_id: 3000,
        incarnation_id: Uuid::of(7),
        listeners: vec![Listener {
            name: "CONTROLLER".to_owned(),
            host: host.to_owned(),
            port: 9093,
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn a_controller_that_registers_is_in_the_metadata() {
    let h = Harness::start(&[]);
    let response = h.ask(&registration("127.0.0.1"), 0);
    assert_eq!((response.error_code, response.error_message), (0, None));
    let cluster = h.node().cluster();
    let found = cluster.controllers().find(|it| it.controller_id == 3000).expect("it registered");
    assert_eq!((found.end_points[0].host.as_str(), found.end_points[0].port), ("127.0.0.1", 9093));
}

#[test]
fn a_controller_that_advertises_a_wildcard_is_refused() {
    let h = Harness::start(&[]);
    let response = h.ask(&registration("0.0.0.0"), 0);
    assert_eq!(ErrorCode(response.error_code), ErrorCode::INVALID_REGISTRATION);
    assert!(response.error_message.is_some_and(|it| it.contains("0.0.0.0")));
    assert!(h.node().cluster().controllers().all(|it| it.controller_id != 3000));
}
