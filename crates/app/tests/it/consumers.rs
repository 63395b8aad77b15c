//! Our own consumer: every way of sharing out, several topics, patterns, pauses and leaps.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use ottla_client::{
    Assignor, Consumer, ConsumerOptions, GroupProtocol, PartitionOffsets, Producer,
    ProducerOptions, ProducerRecord, Start, TopicPartition,
};

use crate::node::Home;
use crate::talk;

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

async fn write(address: SocketAddr, topic: &str, values: std::ops::Range<usize>) {
    let mut writer = Producer::new(talk::cluster(address).await, ProducerOptions::default());
    for at in values {
        let value = Some(Bytes::from(at.to_string()));
        writer.send(topic, ProducerRecord { value, ..ProducerRecord::default() }).await.unwrap();
        writer.flush().await.unwrap();
    }
}

async fn consumer(address: SocketAddr, options: ConsumerOptions) -> Consumer {
    Consumer::new(talk::cluster(address).await, options)
}

fn options(group: &str) -> ConsumerOptions {
    let mut options = ConsumerOptions::default();
    options.set("group.id", group).unwrap();
    options.set("auto.offset.reset", "earliest").unwrap();
    options.set("heartbeat.interval.ms", "50").unwrap();
    options.set("fetch.max.wait.ms", "20").unwrap();
    options
}

async fn poll(reader: &mut Consumer) -> Option<(String, String)> {
    let record = reader.poll().await.unwrap()?;
    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    Some((record.place.topic.to_string(), value))
}

/// What readers that run side by side have come to.
#[derive(Default)]
struct Seen {
    assigned: Vec<Vec<TopicPartition>>,
    records: Vec<(String, String)>,
}

impl Seen {
    fn all_is_shared(&self) -> bool {
        let distinct: BTreeSet<_> = self.assigned.iter().flatten().collect();
        let count: usize = self.assigned.iter().map(Vec::len).sum();
        count == 5 && distinct.len() == 5 && self.assigned.iter().all(|it| !it.is_empty())
    }
}

/// Polls all of them until `done`, after they have subscribed. Each on its own: one that joins
/// waits for the others.
async fn until(
    topics: &[String; 2],
    readers: &mut [Consumer],
    seen: &RefCell<Seen>,
    done: impl Fn(&Seen) -> bool,
) {
    seen.borrow_mut().assigned = readers.iter().map(Consumer::assignment).collect();
    let one = async |at: usize, reader: &mut Consumer| {
        if reader.group_member().group.is_empty() {
            let topics = topics.each_ref().map(String::as_str);
            reader.subscribe(&topics).await.unwrap();
        }
        while !done(&seen.borrow()) {
            let found = poll(reader).await;
            let mut seen = seen.borrow_mut();
            seen.records.extend(found);
            seen.assigned[at] = reader.assignment();
        }
    };
    match readers {
        [first] => one(0, first).await,
        [first, second] => {
            tokio::join!(one(0, first), one(1, second));
        }
        _ => unreachable!("there are one or two"),
    }
}

#[test]
fn each_record_is_read_once_while_a_group_grows_and_shrinks_whoever_shares_out() {
    let node = Home::new().start();
    let address = node.address;
    let ways: [(&str, GroupProtocol, &[Assignor]); 5] = [
        ("range", GroupProtocol::Classic, &[Assignor::Range]),
        ("roundrobin", GroupProtocol::Classic, &[Assignor::RoundRobin]),
        ("sticky", GroupProtocol::Classic, &[Assignor::Sticky]),
        ("cooperative", GroupProtocol::Classic, &[Assignor::CooperativeSticky]),
        ("consumer", GroupProtocol::Consumer, &[Assignor::Range]),
    ];
    for (name, protocol, assignors) in ways {
        let topics @ [three, two] = &[format!("{name}-three"), format!("{name}-two")];
        talk::create(address, three, 3);
        talk::create(address, two, 2);
        talk::run(async {
            let options =
                ConsumerOptions { protocol, assignors: assignors.to_vec(), ..options(name) };
            let seen = RefCell::new(Seen::default());
            let mut readers = vec![consumer(address, options.clone()).await];
            write(address, three, 0..6).await;
            until(topics, &mut readers, &seen, |seen| seen.records.len() == 6).await;
            readers.push(consumer(address, options).await);
            until(topics, &mut readers, &seen, Seen::all_is_shared).await;
            write(address, two, 6..12).await;
            until(topics, &mut readers, &seen, |seen| seen.records.len() == 12).await;
            readers.pop().unwrap().close().await.unwrap();
            until(topics, &mut readers, &seen, Seen::all_is_shared).await;
            write(address, three, 12..15).await;
            until(topics, &mut readers, &seen, |seen| seen.records.len() == 15).await;
            let seen = seen.into_inner().records;
            let mut values: Vec<usize> = seen.iter().map(|(_, it)| it.parse().unwrap()).collect();
            values.sort_unstable();
            assert_eq!(values, (0..15).collect::<Vec<_>>(), "{name}");
            readers.pop().unwrap().close().await.unwrap();
        });
    }
}

#[test]
fn a_pattern_follows_topics_and_pauses_and_leaps_are_obeyed() {
    let node = Home::new().start();
    let address = node.address;
    for topic in ["logs-a", "logs-b", "other"] {
        talk::create(address, topic, 1);
    }
    talk::run(async {
        for topic in ["logs-a", "logs-b", "other"] {
            write(address, topic, 0..3).await;
        }
        let mut reader = consumer(address, options("pattern")).await;
        reader.subscribe_pattern("logs-.*").await.unwrap();
        assert_eq!(reader.assignment(), [place("logs-a", 0), place("logs-b", 0)]);
        reader.pause(&[place("logs-a", 0), place("other", 0)]);
        assert_eq!(reader.paused().len(), 1, "it can pause only what it reads");
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.extend(poll(&mut reader).await);
        }
        assert!(seen.iter().all(|(topic, _)| topic == "logs-b"), "{seen:?}");
        assert_eq!(poll(&mut reader).await, None);
        reader.resume(&[place("logs-a", 0)]);
        while seen.len() < 6 {
            seen.extend(poll(&mut reader).await);
        }
        // Back, by offset and to the start; what is committed is where it has leapt to.
        assert!(reader.seek(&place("logs-a", 0), 2));
        assert!(!reader.seek(&place("other", 0), 0));
        assert_eq!(reader.position(&place("logs-a", 0)), Some(2));
        reader.seek_to(&[place("logs-b", 0)], Start::Beginning).await.unwrap();
        while seen.len() < 10 {
            seen.extend(poll(&mut reader).await);
        }
        assert_eq!(poll(&mut reader).await, None);
        let expected: PartitionOffsets = [(place("logs-a", 0), 3), (place("logs-b", 0), 3)].into();
        assert_eq!(reader.handed_out(), expected);
        reader.close().await.unwrap();
        // A consumer that names the group without joining it starts at the committed offset.
        let mut later = consumer(address, options("pattern")).await;
        later.assign([place("logs-a", 0), place("other", 0)].into()).await.unwrap();
        let positions = ["logs-a", "other"].map(|topic| later.position(&place(topic, 0)));
        assert_eq!(positions, [Some(3), Some(0)]);
        let nowhere = ConsumerOptions { start: Start::Nowhere, ..options("nobody") };
        let mut nowhere = consumer(address, nowhere).await;
        let refused = nowhere.subscribe(&["other"]).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "no committed offset for other-0, and auto.offset.reset=none"
        );
    });
}
