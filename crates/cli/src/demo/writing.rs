//! The trucks: a producer for each partition sends the positions of those whose key leads there.

use std::time::Duration;

use bytes::Bytes;
use ottla_client::{Client, Producer, ProducerOptions, ProducerRecord};
use ottla_clock::Clock;
use ottla_types::murmur2;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::tally::{DemoEvent, PositionId, TruckId};

/// How long a position is sent again before it is given up: longer than any failover.
const DELIVERY_TIME: Duration = Duration::from_secs(120);

/// A truck's key.
pub(super) fn truck_key(truck: TruckId) -> String {
    format!("truck-{truck:03}")
}

/// The partition of a key, of so many, as every Kafka client chooses it.
pub(super) fn partition_of(key: &str, count: i32) -> i32 {
    (murmur2(key.as_bytes()) & i32::MAX) % count
}

/// The trucks of a partition, and what they send.
#[derive(Clone, Debug)]
pub(super) struct TruckFleet {
    /// Where to.
    pub topic: String,
    /// The partition of all their keys.
    pub partition: i32,
    /// The trucks.
    pub trucks: Vec<TruckId>,
    /// Sets this run's records apart from those of others in the topic.
    pub run: String,
    /// The time between two positions.
    pub every: Duration,
}

/// Where a truck is, as a record's value.
fn position_value(run: &str, position: PositionId, time_ms: i64) -> Bytes {
    let PositionId { truck, number } = position;
    // Around Berlin, each on a circle of its own.
    #[expect(clippy::cast_precision_loss, reason = "a place on a map")]
    let angle = number as f64 * 0.02 + f64::from(truck);
    let radius = 0.05 + f64::from(truck % 17) * 0.01;
    let rounded = |degrees: f64| (degrees * 1e5).round() / 1e5;
    let value = json!({
        "truck": truck_key(truck),
        "lat": rounded(52.52 + radius * angle.sin()),
        "lon": rounded(13.405 + radius * 1.6 * angle.cos()),
        "time": time_ms,
        "number": number,
        "run": run,
    });
    value.to_string().into()
}

/// Sends a position after the other, and each one again until it is acknowledged, until it is to
/// stop.
pub(super) async fn drive_trucks(
    client: Client,
    fleet: TruckFleet,
    events: mpsc::Sender<DemoEvent>,
    stop: watch::Receiver<bool>,
) {
    let clock = Clock::real();
    let options = ProducerOptions { delivery_timeout: DELIVERY_TIME, ..ProducerOptions::default() };
    let mut producer = Producer::new(client, options);
    let partition = fleet.partition;
    let mut next = clock.monotonic();
    for number in 0.. {
        for truck in &fleet.trucks {
            if *stop.borrow() {
                return;
            }
            let position = PositionId { truck: *truck, number };
            if events.send(DemoEvent::Sent(1)).await.is_err() {
                return;
            }
            let event = match send_position(&mut producer, &fleet, position, &clock).await {
                Ok(()) => {
                    let (positions, at) = (vec![position], clock.monotonic());
                    DemoEvent::Acknowledged { partition, positions, at }
                }
                Err(why) => DemoEvent::GivenUp { partition, positions: vec![position], why },
            };
            if events.send(event).await.is_err() {
                return;
            }
            // After a gap the trucks go on from now: what they would have sent is not made up for.
            next = (next + fleet.every).max(clock.monotonic());
            clock.sleep_until(next).await;
        }
    }
}

async fn send_position(
    producer: &mut Producer,
    fleet: &TruckFleet,
    position: PositionId,
    clock: &Clock,
) -> Result<(), String> {
    let record = ProducerRecord {
        key: Some(truck_key(position.truck).into()),
        value: Some(position_value(&fleet.run, position, clock.wall_ms())),
        ..ProducerRecord::default()
    };
    let sent = producer.send(&fleet.topic, record).await;
    sent.map_err(|error| error.to_string())?;
    producer.flush().await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_names_its_truck_and_where_it_is() {
        let value = position_value("r", PositionId { truck: 7, number: 3 }, 1234);
        let value: serde_json::Value = serde_json::from_slice(&value).unwrap();
        assert_eq!((&value["truck"], &value["number"]), (&"truck-007".into(), &3.into()));
        let lat = value["lat"].as_f64().unwrap();
        assert!((52.0..53.0).contains(&lat), "{value}");
    }

    #[test]
    fn a_key_has_one_partition() {
        // As Apache Kafka's own partitioner places this key.
        assert_eq!(partition_of("21", 1), 0);
        let all: Vec<i32> = (0..30).map(|truck| partition_of(&truck_key(truck), 6)).collect();
        assert!(all.iter().all(|it| (0..6).contains(it)) && all.iter().any(|it| *it != all[0]));
    }
}
