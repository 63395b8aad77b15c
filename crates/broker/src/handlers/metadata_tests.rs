use crate::harness::Harness;
use crate::harness::asks::{ask_until, node_with_topic};
use ottla_partitions::Fault;
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::metadata_response::MetadataResponseTopic;
use ottla_types::{ErrorCode, Uuid};

fn metadata(h: &Harness, topic: MetadataRequestTopic, creates: bool) -> MetadataResponseTopic {
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: creates,
        ..Default::default()
    };
    h.ask(&request, 12).topics[0].clone()
}

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() }
}

#[test]
fn metadata_finds_a_topic_by_name_and_by_id() {
    let h = node_with_topic("orders", 3);
    let by_name = metadata(&h, named("orders"), false);
    let topic_id = by_name.topic_id;
    let by_id = metadata(&h, MetadataRequestTopic { topic_id, ..Default::default() }, false);
    for found in [&by_name, &by_id] {
        assert_eq!((found.error_code, found.partitions.len()), (0, 3));
        assert_eq!(found.partitions[0].leader_id, h.node().id);
    }
    assert_eq!(by_id.name.as_deref(), Some("orders"));
}

#[test]
fn metadata_without_topics_lists_all() {
    let h = node_with_topic("orders", 1);
    let request = MetadataRequest { topics: None, ..Default::default() };
    let response = h.ask(&request, 12);
    let names: Vec<_> = response.topics.iter().filter_map(|it| it.name.as_deref()).collect();
    assert_eq!((names, response.brokers.len()), (vec!["orders"], 1));
    assert_eq!(response.controller_id, h.node().id);
}

#[test]
fn metadata_creates_a_topic_only_where_the_client_asks_for_it() {
    let h = Harness::start(&[]);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(metadata(&h, named("bills"), false).error_code, unknown);
    assert_eq!(h.node().topic_id("bills"), None);
    let created = ask_until(|| {
        Some(metadata(&h, named("bills"), true)).filter(|topic| topic.error_code == 0)
    });
    assert_eq!(created.partitions.len(), 1);
}

#[test]
fn metadata_says_that_a_topic_is_unknown_when_the_controller_cannot_create_it() {
    let h = Harness::start(&[]);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    let code = metadata(&h, named("bills"), true).error_code;
    let codes = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, ErrorCode::LEADER_NOT_AVAILABLE.0];
    assert!(codes.contains(&code), "{code}");
    h.set_fault("__cluster_metadata-0", None);
    ask_until(|| (metadata(&h, named("bills"), true).error_code == 0).then_some(()));
}

#[test]
fn metadata_of_an_id_that_does_not_exist_is_refused() {
    let h = Harness::start(&[]);
    let asked = MetadataRequestTopic { topic_id: Uuid::of(77), ..Default::default() };
    assert_eq!(metadata(&h, asked, true).error_code, ErrorCode::UNKNOWN_TOPIC_ID.0);
}
