use crate::harness::Harness;
use crate::harness::brokers::{register_broker, registration};
use ottla_partitions::Fault;
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_types::{ErrorCode, Uuid};

fn code(h: &Harness, request: &BrokerRegistrationRequest) -> ErrorCode {
    ErrorCode(h.ask(request, 4).error_code)
}

#[test]
fn a_broker_that_registers_is_fenced_and_has_an_epoch() {
    let h = Harness::start(&[]);
    let epoch = register_broker(&h, 2);
    let broker = h.node().cluster().broker(2).expect("it is registered").clone();
    assert_eq!((broker.epoch, broker.fenced), (epoch, true));
    assert_eq!(register_broker(&h, 2), epoch, "the same process keeps its epoch");
}

#[test]
fn a_registration_says_what_is_wrong_with_it_by_its_code() {
    let h = Harness::start(&[]);
    let asked = registration(&h, 2);
    let mut no_features = asked.clone();
    no_features.features.clear();
    let mut no_address = asked.clone();
    no_address.listeners[0].host = "0.0.0.0".to_owned();
    let cases = [
        (
            BrokerRegistrationRequest { cluster_id: "another".to_owned(), ..asked.clone() },
            ErrorCode::INCONSISTENT_CLUSTER_ID,
        ),
        (
            BrokerRegistrationRequest { broker_id: h.node().id, ..asked.clone() },
            ErrorCode::DUPLICATE_BROKER_REGISTRATION,
        ),
        (
            BrokerRegistrationRequest { is_migrating_zk_broker: true, ..asked.clone() },
            ErrorCode::BROKER_ID_NOT_REGISTERED,
        ),
        (
            BrokerRegistrationRequest { log_dirs: Vec::new(), ..asked.clone() },
            ErrorCode::INVALID_REGISTRATION,
        ),
        (
            BrokerRegistrationRequest { log_dirs: vec![Uuid::ZERO], ..asked.clone() },
            ErrorCode::INVALID_REGISTRATION,
        ),
        (no_features, ErrorCode::INVALID_REGISTRATION),
        (no_address, ErrorCode::INVALID_REGISTRATION),
    ];
    for (request, wanted) in cases {
        assert_eq!(code(&h, &request), wanted, "{request:?}");
    }
    assert!(h.node().cluster().broker(2).is_none(), "nothing is written");
    // Before version 2 there are no directories to name.
    let old = h.ask(&BrokerRegistrationRequest { log_dirs: Vec::new(), ..asked }, 1);
    assert_eq!(ErrorCode(old.error_code), ErrorCode::INVALID_REGISTRATION);
}

#[test]
fn a_registration_that_cannot_be_written_is_refused() {
    let h = Harness::start(&[]);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    assert_eq!(code(&h, &registration(&h, 2)), ErrorCode::KAFKA_STORAGE_ERROR);
    h.set_fault("__cluster_metadata-0", None);
    register_broker(&h, 2);
}
