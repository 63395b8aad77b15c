//! Reads a topic as a member of a group, and commits what it has handled.
//!
//! `cargo run -p ottla-client --example consume -- localhost:9092`

use ottla_client::{Client, ClientError, Consumer, ConsumerOptions, GroupProtocol, Start};
use ottla_clock::Clock;

/// Reads so many records; further members of the group would share the partitions.
pub async fn run(bootstrap: &str, count: usize) -> Result<(), ClientError> {
    let client = Client::connect(bootstrap, "example-consume", Clock::real()).await?;
    let options = ConsumerOptions {
        group: Some("example-readers".to_owned()),
        protocol: GroupProtocol::Consumer,
        // Where the group begins that has committed nothing yet.
        start: Start::Beginning,
        // Committed below, once a record has been handled.
        auto_commit: false,
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::new(client, options);
    consumer.subscribe(&["example-events"]).await?;
    let mut handled = 0;
    while handled < count {
        // `None`: no record came within a moment. Heartbeats are sent by `poll`, too.
        let Some(record) = consumer.poll().await? else { continue };
        let text =
            |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
        println!(
            "{} offset {}: {} {}",
            record.place,
            record.offset,
            text(record.key.as_deref()),
            text(record.value.as_deref())
        );
        handled += 1;
        consumer.commit().await?;
    }
    // Leaves the group, so that other members need not wait for the end of the session.
    consumer.close().await
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a program reads its arguments")]
#[allow(dead_code, reason = "the test that runs the examples calls `run`")]
async fn main() -> Result<(), ClientError> {
    run(&std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned()), 3).await
}
