//! Creates a topic, changes a setting, and looks at the cluster.
//!
//! `cargo run -p ottla-client --example admin -- localhost:9092`

use ottla_client::{Brokers, ChangeMode, Client, ClientError, ConfigResource, NewTopic};
use ottla_clock::Clock;
use ottla_types::ErrorCode;

/// Makes sure that the topic of the other examples exists, with three partitions.
pub async fn run(bootstrap: &str) -> Result<(), ClientError> {
    let client = Client::connect(bootstrap, "example-admin", Clock::real()).await?;
    let cluster = client.describe_cluster(Brokers::All).await?;
    println!("cluster {} has {} brokers", cluster.id, cluster.brokers.len());

    let topic = NewTopic { partitions: 3, ..NewTopic::named("example-events") };
    match client.create_topic(&topic, ChangeMode::Change).await {
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
        created => created?,
    }
    let created = client.await_topic("example-events").await?;
    for partition in &created.partitions {
        println!("partition {} is led by broker {}", partition.partition, partition.leader);
    }

    // Without a value a setting goes back to its default.
    let changes = vec![("retention.ms".to_owned(), Some("86400000".to_owned()))];
    let resource = ConfigResource::topic("example-events");
    // First ask whether the cluster would do it.
    client.set_configs(resource, changes.clone(), ChangeMode::Check).await?;
    client.set_configs(resource, changes, ChangeMode::Change).await
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a program reads its arguments")]
#[allow(dead_code, reason = "the test that runs the examples calls `run`")]
async fn main() -> Result<(), ClientError> {
    run(&std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned())).await
}
