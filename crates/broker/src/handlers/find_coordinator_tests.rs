use crate::harness::Harness;
use crate::harness::asks::ask_until;
use ottla_partitions::Fault;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::Coordinator;
use ottla_types::ErrorCode;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// The answer for one key.
fn look_up(h: &Harness, key_type: i8, key: &str) -> Coordinator {
    let request = FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![key.to_owned()],
        ..Default::default()
    };
    h.ask(&request, 6).coordinators.remove(0)
}

/// The error code, and the node.
fn find(h: &Harness, key_type: i8, key: &str) -> (i16, i32) {
    let found = look_up(h, key_type, key);
    (found.error_code, found.node_id)
}

#[test]
fn find_coordinator_makes_the_topic_that_the_keys_live_in() {
    for (kind, topic) in [(GROUP, "__consumer_offsets"), (TRANSACTION, "__transaction_state")] {
        let h = Harness::start(&[]);
        assert_eq!(h.node().topic_id(topic), None);
        ask_until(|| (find(&h, kind, "key") == (0, 1)).then_some(()));
        assert!(h.node().topic_id(topic).is_some());
    }
}

#[test]
fn find_coordinator_of_a_kind_that_does_not_exist_is_refused() {
    let h = Harness::start(&[]);
    assert_eq!(find(&h, 9, "key"), (ErrorCode::INVALID_REQUEST.0, -1));
    assert_eq!(find(&h, 2, "no share group's key"), (ErrorCode::INVALID_REQUEST.0, -1));
}

#[test]
fn find_coordinator_has_none_while_its_topic_cannot_be_created() {
    let h = Harness::start(&[]);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    let unavailable = (ErrorCode::COORDINATOR_NOT_AVAILABLE.0, -1);
    assert_eq!(find(&h, GROUP, "readers"), unavailable);
    let why = look_up(&h, GROUP, "readers").error_message.unwrap();
    let reason = "topic __consumer_offsets cannot be created: ";
    assert!(why.starts_with(reason) && why.ends_with("(KAFKA_STORAGE_ERROR)"), "{why}");
    h.set_fault("__cluster_metadata-0", None);
    ask_until(|| (find(&h, GROUP, "readers") == (0, 1)).then_some(()));
}
