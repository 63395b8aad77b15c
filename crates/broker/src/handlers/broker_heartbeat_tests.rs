use crate::harness::Harness;
use crate::harness::brokers::{heartbeat_request, register_broker, send_heartbeat};
use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_types::{ErrorCode, NodeId};

fn is_fenced(h: &Harness, broker: NodeId) -> bool {
    h.node().cluster().broker(broker).expect("it is registered").fenced
}

#[test]
fn a_broker_serves_when_it_has_applied_its_registration() {
    let h = Harness::start(&[]);
    let epoch = register_broker(&h, 2);
    let early =
        BrokerHeartbeatRequest { current_metadata_offset: 0, ..heartbeat_request(&h, 2, epoch) };
    let response = h.ask(&early, 1);
    assert_eq!((response.error_code, response.is_caught_up, response.is_fenced), (0, false, true));
    assert!(is_fenced(&h, 2));
    let response = send_heartbeat(&h, 2, epoch);
    assert_eq!((response.error_code, response.is_caught_up, response.is_fenced), (0, true, false));
    assert!(!is_fenced(&h, 2));
}

#[test]
fn a_broker_that_wants_to_stop_may_when_it_leads_nothing() {
    let h = Harness::start(&[]);
    let epoch = register_broker(&h, 2);
    send_heartbeat(&h, 2, epoch);
    let stop = BrokerHeartbeatRequest { want_shut_down: true, ..heartbeat_request(&h, 2, epoch) };
    assert!(h.ask(&stop, 1).should_shut_down);
    assert!(is_fenced(&h, 2));
}

#[test]
fn a_heartbeat_of_another_epoch_or_of_no_broker_is_stale() {
    let h = Harness::start(&[]);
    let epoch = register_broker(&h, 2);
    for (broker, epoch) in [(2, epoch - 1), (2, epoch + 1), (2, -1), (3, epoch), (-1, -1)] {
        let code = ErrorCode(send_heartbeat(&h, broker, epoch).error_code);
        assert_eq!(code, ErrorCode::STALE_BROKER_EPOCH, "broker {broker}, epoch {epoch}");
    }
    assert!(is_fenced(&h, 2));
}
