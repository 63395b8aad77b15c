use crate::harness::Harness;
use crate::harness::asks::{batch_of, node_with_topic, produce};
use ottla_partitions::Fault;
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_records::BatchOptions;
use ottla_types::{ErrorCode, Uuid};

fn delete(h: &Harness, name: Option<&str>, topic_id: Uuid) -> i16 {
    let topic = DeleteTopicState { name: name.map(str::to_owned), topic_id, ..Default::default() };
    let request =
        DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    h.ask(&request, 6).responses[0].error_code
}

#[test]
fn delete_topics_takes_a_name_or_an_id() {
    for by_id in [false, true] {
        let h = node_with_topic("orders", 1);
        let id = h.node().topic_id("orders").expect("there");
        let code =
            if by_id { delete(&h, None, id) } else { delete(&h, Some("orders"), Uuid::ZERO) };
        assert_eq!((code, h.node().topic_id("orders")), (0, None));
        let produced = produce(&h, "orders", 0, batch_of(BatchOptions::default(), &["a"]));
        assert_eq!(produced.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    }
}

#[test]
fn delete_topics_that_do_not_exist_are_refused() {
    let h = node_with_topic("orders", 1);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(delete(&h, Some("bills"), Uuid::ZERO), unknown);
    assert_eq!(delete(&h, None, Uuid::of(77)), ErrorCode::UNKNOWN_TOPIC_ID.0);
}

#[test]
fn delete_topics_that_cannot_be_written_leave_the_topic() {
    let h = node_with_topic("orders", 1);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    assert_ne!(delete(&h, Some("orders"), Uuid::ZERO), 0);
    let produced = produce(&h, "orders", 0, batch_of(BatchOptions::default(), &["a"]));
    assert_eq!(produced.error_code, 0);
}
