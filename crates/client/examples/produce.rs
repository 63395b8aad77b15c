//! Writes records to a topic, and says where each of them went.
//!
//! `cargo run -p ottla-client --example produce -- localhost:9092`

use bytes::Bytes;
use ottla_client::{Client, ClientError, Producer, ProducerOptions, ProducerRecord};
use ottla_clock::Clock;

/// Writes three records. The topic is created if the cluster allows that.
pub async fn run(bootstrap: &str) -> Result<(), ClientError> {
    let client = Client::connect(bootstrap, "example-produce", Clock::real()).await?;
    // Each record is written once, whatever happens to connections, and all replicas have it.
    let options = ProducerOptions { reports: true, ..ProducerOptions::default() };
    let mut producer = Producer::new(client, options);
    for (key, value) in [("anna", "signed up"), ("bert", "signed up"), ("anna", "ordered")] {
        let record = ProducerRecord {
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from(value)),
            ..ProducerRecord::default()
        };
        producer.send("example-events", record).await?;
    }
    // Records are collected in batches; now they are written.
    producer.flush().await?;
    for report in producer.reports() {
        println!("record {} is at offset {} of {}", report.number, report.offset, report.place);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a program reads its arguments")]
#[allow(dead_code, reason = "the test that runs the examples calls `run`")]
async fn main() -> Result<(), ClientError> {
    run(&std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned())).await
}
