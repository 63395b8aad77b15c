use crate::harness::Harness;
use crate::harness::brokers::register_broker;
use ottla_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use ottla_types::ErrorCode;

#[test]
fn a_broker_that_is_taken_out_is_no_longer_registered() {
    let h = Harness::start(&[]);
    register_broker(&h, 2);
    let request = UnregisterBrokerRequest { broker_id: 2, ..Default::default() };
    let response = h.ask(&request, 0);
    assert_eq!((response.error_code, response.error_message), (0, None));
    assert!(h.node().cluster().broker(2).is_none());
    // On a controller's listener too; it is gone.
    let response = h.ask_controller(&request, 0);
    assert_eq!(ErrorCode(response.error_code), ErrorCode::BROKER_ID_NOT_REGISTERED);
    let why = response.error_message.as_deref();
    assert_eq!(why, Some("Broker ID 2 is not currently registered"));
}
