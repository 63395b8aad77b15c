use crate::harness::Harness;
use crate::harness::brokers::{own_epoch, register_broker};
use ottla_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use ottla_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use ottla_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use ottla_types::{ErrorCode, NodeId};

fn allocate(h: &Harness, broker_id: NodeId, broker_epoch: i64) -> AllocateProducerIdsResponse {
    let request = AllocateProducerIdsRequest { broker_id, broker_epoch, ..Default::default() };
    h.ask(&request, 0)
}

#[test]
fn two_brokers_get_different_producer_ids() {
    let h = Harness::start(&[]);
    let epoch = register_broker(&h, 2);
    let block = allocate(&h, 2, epoch);
    assert_eq!((block.error_code, block.producer_id_len), (0, 1000));
    let own = allocate(&h, h.node().id, own_epoch(&h));
    assert_eq!(own.producer_id_start, block.producer_id_start + 1000);
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let given = h.ask(&request, 4).producer_id;
    assert_eq!(given, own.producer_id_start + 1000, "the node's own broker has a block of its own");
}

#[test]
fn a_broker_of_another_epoch_gets_no_producer_ids() {
    let h = Harness::start(&[]);
    let epoch = register_broker(&h, 2);
    for (broker, epoch) in [(2, epoch + 1), (2, -1), (3, epoch)] {
        let response = allocate(&h, broker, epoch);
        assert_eq!(ErrorCode(response.error_code), ErrorCode::STALE_BROKER_EPOCH, "{broker}");
        assert_eq!(response.producer_id_len, 0);
    }
}
