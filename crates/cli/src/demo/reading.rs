//! The consumer group that follows the trucks.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_client::{
    Client, ClientError, Consumer, ConsumerOptions, Received, Start, TopicPartition,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::tally::{DemoEvent, PositionId, TruckId};

/// How long the consumer waits after an error before it joins the group again.
const AFTER_ERROR: Duration = Duration::from_millis(300);
/// How long it may take to leave the group at the end.
const LEAVING: Duration = Duration::from_secs(5);
/// How long a fetch waits for records, in milliseconds: a signal is seen that much later.
const FETCH_WAIT_MS: i32 = 200;

/// What the group reads.
#[derive(Clone, Debug)]
pub(super) struct TruckGroup {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Records of other runs are not counted.
    pub run: String,
}

impl TruckGroup {
    fn options(&self) -> ConsumerOptions {
        ConsumerOptions {
            group: Some(self.group.clone()),
            start: Start::End,
            fetch_wait_ms: FETCH_WAIT_MS,
            auto_commit_interval: Duration::from_secs(1),
            ..ConsumerOptions::default()
        }
    }

    /// Commits the ends of all partitions, where the group begins: a record that is written from
    /// now on is read, whenever the consumer joins.
    ///
    /// # Errors
    /// The group's coordinator refuses, or no broker answers.
    pub async fn begin_at_end(&self, client: &Client) -> Result<(), ClientError> {
        let clock = client.clock();
        let deadline = clock.monotonic() + client.options().retry_timeout;
        loop {
            match self.commit_ends(client).await {
                // In a cluster that has just started coordinators are still loaded.
                Err(error) if error.is_passing() && clock.monotonic() < deadline => {
                    clock.sleep(AFTER_ERROR).await;
                }
                done => return done,
            }
        }
    }

    async fn commit_ends(&self, client: &Client) -> Result<(), ClientError> {
        let mut consumer = Consumer::new(client.clone(), self.options());
        let place = |index| TopicPartition::new(self.topic.as_str(), index);
        let places: Vec<TopicPartition> = (0..self.partitions).map(place).collect();
        consumer.assign(BTreeSet::from_iter(places)).await?;
        consumer.commit().await?;
        consumer.close().await
    }
}

/// Follows the trucks until it is to stop; after an error it joins the group again.
pub(super) async fn follow_trucks(
    client: Client,
    group: TruckGroup,
    events: mpsc::Sender<DemoEvent>,
    stop: watch::Receiver<bool>,
) {
    let clock = client.clock().clone();
    while !*stop.borrow() {
        let mut consumer = Consumer::new(client.clone(), group.options());
        let read = read_trucks(&mut consumer, &group, &events, &stop).await;
        // What the group has read is committed every second; the next one that joins goes on there.
        let closed = consumer.close_within(LEAVING).await;
        if let Err(error) = read.and(closed) {
            let note = format!("group {}: {error}; it joins again", group.group);
            let is_over = *stop.borrow();
            if is_over || events.send(DemoEvent::Note(note)).await.is_err() {
                return;
            }
            clock.sleep(AFTER_ERROR).await;
        }
    }
}

async fn read_trucks(
    consumer: &mut Consumer,
    group: &TruckGroup,
    events: &mpsc::Sender<DemoEvent>,
    stop: &watch::Receiver<bool>,
) -> Result<(), ClientError> {
    consumer.subscribe(&[group.topic.as_str()]).await?;
    while !*stop.borrow() {
        let polled = consumer.poll().await;
        match polled {
            Ok(Some(record)) => {
                let Some(event) = read_position(&record, &group.run) else { continue };
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => {}
            // A leader or the coordinator has moved; the next poll finds it.
            Err(error) if error.is_passing() => {
                consumer.client().clock().sleep(AFTER_ERROR).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A position of this run; `None` if the record is another one.
fn read_position(record: &Received, run: &str) -> Option<DemoEvent> {
    let value: Value = serde_json::from_slice(record.value.as_ref()?).ok()?;
    if value["run"] != run {
        return None;
    }
    let key = value["truck"].as_str()?;
    let truck: TruckId = key.strip_prefix("truck-")?.parse().ok()?;
    let (lat, lon) = (value["lat"].as_f64()?, value["lon"].as_f64()?);
    Some(DemoEvent::Read {
        partition: record.place.partition,
        offset: record.offset,
        position: PositionId { truck, number: value["number"].as_u64()? },
        shown: format!("{key} {lat:.3} N {lon:.3} E"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str) -> Received {
        Received {
            place: TopicPartition::new("trucks_gps", 2),
            offset: 9,
            leader_epoch: 0,
            timestamp: 0,
            is_append_time: false,
            key: None,
            value: Some(value.to_owned().into()),
            headers: Vec::new(),
        }
    }

    #[test]
    fn records_of_other_programs_are_passed_over() {
        let own = r#"{"truck":"truck-007","lat":52.5,"lon":13.4,"number":3,"run":"r"}"#;
        let wanted = DemoEvent::Read {
            partition: 2,
            offset: 9,
            position: PositionId { truck: 7, number: 3 },
            shown: "truck-007 52.500 N 13.400 E".to_owned(),
        };
        assert_eq!(read_position(&record(own), "r"), Some(wanted));
        for other in ["", "17", "{}", &own.replace("\"r\"", "\"s\""), &own.replace("007", "x")] {
            assert_eq!(read_position(&record(other), "r"), None, "{other}");
        }
    }
}
