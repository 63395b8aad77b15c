//! Our own client, on the test's thread.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ottla_client::{
    ChangeMode, Client, ClientError, Consumer, NewTopic, Producer, ProducerOptions, ProducerRecord,
    Start,
};
use ottla_clock::Clock;

/// Runs a client to its end.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(work)
}

pub async fn cluster(address: SocketAddr) -> Client {
    Client::connect(&address.to_string(), "test", Clock::real()).await.unwrap()
}

pub fn create(address: SocketAddr, name: &str, partitions: i32) {
    create_with(address, name, partitions, &[]);
}

/// A topic with settings of its own.
pub fn create_with(address: SocketAddr, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    run(async {
        let configs: BTreeMap<_, _> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let topic =
            NewTopic { partitions, replication_factor: 1, configs, ..NewTopic::named(name) };
        cluster(address).await.create_topic(&topic, ChangeMode::Change).await.unwrap();
    });
}

/// Writes each value as a batch of its own until something fails; hands every one that is
/// acknowledged to `acked`.
pub async fn produce_once(
    address: SocketAddr,
    topic: &str,
    values: impl Iterator<Item = String>,
    mut acked: impl FnMut(String),
) -> Result<(), ClientError> {
    let client = Client::connect(&address.to_string(), "test", Clock::real()).await?;
    let options =
        ProducerOptions { delivery_timeout: Duration::ZERO, ..ProducerOptions::default() };
    let mut producer = Producer::new(client, options);
    for value in values {
        let message =
            ProducerRecord { value: Some(Bytes::from(value.clone())), ..ProducerRecord::default() };
        producer.send(topic, message).await?;
        producer.flush().await?;
        acked(value);
    }
    Ok(())
}

/// All values of a topic, read until `count` are there and nothing more comes.
pub fn read_all(address: SocketAddr, topic: &str, count: usize) -> Vec<String> {
    run(async {
        let client = cluster(address).await;
        let mut consumer = Consumer::open(client, topic, None, Start::Beginning).await.unwrap();
        let mut all = Vec::new();
        loop {
            match consumer.poll().await.unwrap() {
                Some(record) => {
                    all.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                }
                None if all.len() >= count => return all,
                None => {}
            }
        }
    })
}
