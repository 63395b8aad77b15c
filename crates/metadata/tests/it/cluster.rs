//! What records do to the picture of a cluster.

use ottla_metadata::Cluster;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::no_op_record::NoOpRecord;
use ottla_protocol::metadata::producer_ids_record::ProducerIdsRecord;
use ottla_protocol::metadata::remove_topic_record::RemoveTopicRecord;
use ottla_protocol::metadata::topic_record::TopicRecord;
use ottla_types::Uuid;

#[test]
fn a_record_that_says_nothing_changes_nothing() {
    let mut cluster = Cluster::default();
    let topic = TopicRecord { name: "t".to_owned(), topic_id: Uuid::of(1), ..Default::default() };
    cluster.apply(&MetadataRecord::from(topic));
    let before = cluster.clone();
    cluster.apply(&MetadataRecord::from(NoOpRecord::default()));
    assert!(cluster.is_unchanged_since(&before));
    let ids = ProducerIdsRecord { next_producer_id: 1000, ..Default::default() };
    let removed = RemoveTopicRecord { topic_id: Uuid::of(1), ..Default::default() };
    for record in [MetadataRecord::from(ids), MetadataRecord::from(removed)] {
        let before = cluster.clone();
        cluster.apply(&record);
        assert!(!cluster.is_unchanged_since(&before), "{record:?}");
    }
}
