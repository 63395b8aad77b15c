use crate::harness::Harness;
use ottla_partitions::Fault;
use ottla_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use ottla_types::ErrorCode;

fn alter(h: &Harness, key: &str, value: f64) -> i16 {
    let entity = EntityData {
        entity_type: "client-id".to_owned(),
        entity_name: Some("loader".to_owned()),
        ..Default::default()
    };
    let op = OpData { key: key.to_owned(), value, ..Default::default() };
    let entry = EntryData { entity: vec![entity], ops: vec![op], ..Default::default() };
    let request = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
    h.ask(&request, 1).entries[0].error_code
}

/// The quotas that are stored.
fn quotas(h: &Harness) -> Vec<(String, f64)> {
    let cluster = h.node().cluster();
    cluster.client_quotas().map(|(_, quota)| (quota.key.clone(), quota.value)).collect()
}

#[test]
fn alter_client_quotas_stores_a_quota() {
    let h = Harness::start(&[]);
    assert_eq!(alter(&h, "producer_byte_rate", 1000.0), 0);
    assert_eq!(quotas(&h), [("producer_byte_rate".to_owned(), 1000.0)]);
}

#[test]
fn alter_client_quotas_refuses_what_is_no_quota() {
    let h = Harness::start(&[]);
    assert_eq!(alter(&h, "bytes", 1000.0), ErrorCode::INVALID_REQUEST.0);
    assert_eq!(quotas(&h), []);
}

#[test]
fn alter_client_quotas_that_cannot_be_written_store_nothing() {
    let h = Harness::start(&[]);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    assert_ne!(alter(&h, "producer_byte_rate", 1000.0), 0);
    assert_eq!(quotas(&h), []);
}
