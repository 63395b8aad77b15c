use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};

use crate::harness::Harness;

/// The page, and its lines without comments.
fn read_page(harness: &Harness) -> Vec<String> {
    let mut stream = TcpStream::connect(harness.metrics_address()).expect("connected");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The number of this line.
fn number_of(page: &[String], name: &str) -> Option<f64> {
    let line = page.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|number| number.parse().expect("a number"))
}

fn create_topic(harness: &Harness, name: &str) {
    let config = CreatableTopicConfig {
        name: "flush.messages".to_owned(),
        value: Some("1".to_owned()),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(harness.ask(&request, 7).topics[0].error_code, 0);
}

/// Produces two records, and how many bytes they have.
fn produce(harness: &Harness, topic: &str) -> f64 {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..2 {
        builder.push(&NewRecord { timestamp: 1, value: Some(b"value"), ..NewRecord::default() });
    }
    let records = builder.build().expect("a batch");
    let bytes = records.len();
    let partition =
        PartitionProduceData { records: Some(records.into()), ..PartitionProduceData::default() };
    let topic = TopicProduceData {
        name: topic.to_owned(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    // The topic may not be open yet.
    let is_done = |_| harness.ask(&request, 8).responses[0].partition_responses[0].error_code == 0;
    assert!((0..100_000).any(is_done), "the topic came up");
    bytes as f64
}

fn fetch(harness: &Harness, topic: &str) {
    let partition = FetchPartition { partition_max_bytes: 1_000, ..Default::default() };
    let topic =
        FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_bytes: 1_000,
        topics: vec![topic],
        ..Default::default()
    };
    let response = harness.ask(&request, 11);
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
}

#[test]
fn the_page_shows_what_has_happened() {
    let harness = Harness::start(&["ottla.metrics.listener=127.0.0.1:0"]);
    create_topic(&harness, "orders");
    let bytes = produce(&harness, "orders");
    fetch(&harness, "orders");
    let page = read_page(&harness);
    let flow = "kafka_server_brokertopicmetrics";
    let requests = "kafka_network_requestmetrics_requests_total";
    let expected = [
        (format!("{flow}_bytesin_total"), bytes),
        (format!("{flow}_bytesin_total{{topic=\"orders\"}}"), bytes),
        (format!("{flow}_bytesout_total{{topic=\"orders\"}}"), bytes),
        (format!("{flow}_messagesin_total{{topic=\"orders\"}}"), 2.0),
        (format!("{requests}{{request=\"Fetch\",version=\"11\"}}"), 1.0),
        (format!("{requests}{{request=\"CreateTopics\",version=\"7\"}}"), 1.0),
        ("kafka_network_requestmetrics_totaltimems_count{request=\"Fetch\"}".to_owned(), 1.0),
        ("kafka_log_log_logendoffset{topic=\"orders\",partition=\"0\"}".to_owned(), 2.0),
        ("kafka_server_replicamanager_partitioncount".to_owned(), 1.0),
        ("kafka_log_logmanager_offlinelogdirectorycount".to_owned(), 0.0),
        ("ottla_lane_jobswaiting{lane=\"sync\"}".to_owned(), 0.0),
        ("ottla_metrics_namesrefused".to_owned(), 0.0),
    ];
    for (name, number) in expected {
        assert_eq!(number_of(&page, &name), Some(number), "{name}:\n{}", page.join("\n"));
    }
    let flushes = page.iter().find(|line| line.contains("logflushrateandtimems_count"));
    assert!(flushes.is_some_and(|line| !line.ends_with(" 0")), "a flush: {flushes:?}");
}

#[test]
fn what_is_counted_of_a_topic_goes_with_it() {
    let harness = Harness::start(&["ottla.metrics.listener=127.0.0.1:0"]);
    create_topic(&harness, "orders");
    let bytes = produce(&harness, "orders");
    let has_topic = || read_page(&harness).iter().any(|line| line.contains("topic=\"orders\""));
    assert!(has_topic());
    let request = DeleteTopicsRequest {
        topic_names: vec!["orders".to_owned()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(harness.ask(&request, 5).responses[0].error_code, 0);
    assert!((0..10_000).any(|_| !has_topic()), "its numbers go when its partitions are closed");
    let all = number_of(&read_page(&harness), "kafka_server_brokertopicmetrics_bytesin_total");
    assert_eq!(all, Some(bytes), "that of all topics stays");
}
