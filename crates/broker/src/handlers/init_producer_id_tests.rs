use crate::harness::Harness;
use crate::harness::asks::{init_transactions, node_with_topic};
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_types::ErrorCode;

#[test]
fn init_producer_id_without_a_transaction_gives_each_producer_its_own() {
    let h = Harness::start(&[]);
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let ids: Vec<i64> = (0..3).map(|_| h.ask(&request, 4).producer_id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

#[test]
fn init_producer_id_again_keeps_the_producer_and_fences_its_earlier_epoch() {
    let h = node_with_topic("orders", 1);
    let (id, epoch) = init_transactions(&h, "copy");
    assert_eq!(init_transactions(&h, "copy"), (id, epoch + 1));
    let request = InitProducerIdRequest {
        transactional_id: Some("copy".to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: id,
        producer_epoch: epoch,
        ..Default::default()
    };
    // A producer with an earlier epoch may still learn the newer one, once.
    let codes = [ErrorCode::PRODUCER_FENCED.0, ErrorCode::NONE.0];
    assert!(codes.contains(&h.ask(&request, 4).error_code));
}

#[test]
fn init_producer_id_with_a_timeout_beyond_the_bound_is_refused() {
    let h = node_with_topic("orders", 1);
    init_transactions(&h, "copy");
    let request = InitProducerIdRequest {
        transactional_id: Some("copy".to_owned()),
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let code = h.ask(&request, 4).error_code;
    assert_eq!(code, ErrorCode::INVALID_TRANSACTION_TIMEOUT.0);
}
