//! Our own client copies by transactions; the node is killed in between.

use std::net::SocketAddr;

use bytes::Bytes;
use ottla_client::{
    Consumer, GroupProtocol, IsolationLevel, Producer, ProducerOptions, ProducerRecord, Start,
};

use crate::node::Home;
use crate::talk;

async fn producer(address: SocketAddr, id: &str) -> Producer {
    let transactional_id = Some(id.to_owned());
    let options = ProducerOptions { transactional_id, ..ProducerOptions::default() };
    Producer::new(talk::cluster(address).await, options)
}

fn message(value: &str) -> ProducerRecord {
    ProducerRecord { value: Some(Bytes::from(value.to_owned())), ..ProducerRecord::default() }
}

/// Everything that is committed in a topic, when that is `count` records and no more.
async fn committed(address: SocketAddr, topic: &str, count: usize) -> Vec<String> {
    let client = talk::cluster(address).await;
    let mut reader = Consumer::open(client, topic, None, Start::Beginning).await.unwrap();
    reader.set_isolation(IsolationLevel::Committed);
    let mut all = Vec::new();
    loop {
        match reader.poll().await.unwrap() {
            Some(it) => all.push(String::from_utf8(it.value.unwrap().to_vec()).unwrap()),
            None if all.len() >= count => return all,
            None => {}
        }
    }
}

#[test]
fn what_is_committed_is_seen_and_what_is_aborted_is_not() {
    let node = Home::new().start();
    let address = node.address;
    talk::create(address, "t", 1);
    talk::run(async {
        let mut writer = producer(address, "writer").await;
        for (value, commits) in [("a", true), ("b", false), ("c", true)] {
            writer.begin_transaction().await.unwrap();
            writer.send("t", message(value)).await.unwrap();
            writer.flush().await.unwrap();
            if commits {
                writer.commit_transaction().await.unwrap();
            } else {
                writer.abort_transaction().await.unwrap();
            }
        }
        assert_eq!(committed(address, "t", 2).await, ["a", "c"]);
        // A second one of its name: what the first has open is aborted, and it is out.
        writer.begin_transaction().await.unwrap();
        writer.send("t", message("never")).await.unwrap();
        writer.flush().await.unwrap();
        let mut second = producer(address, "writer").await;
        second.begin_transaction().await.unwrap();
        second.send("t", message("d")).await.unwrap();
        second.commit_transaction().await.unwrap();
        let fenced = writer.commit_transaction().await.unwrap_err();
        assert!(fenced.to_string().contains("PRODUCER_FENCED"), "{fenced}");
        assert_eq!(committed(address, "t", 3).await, ["a", "c", "d"]);
    });
}

/// Our own clients in a group whose coordinator assigns: they share, one leaves, nothing is lost.
#[test]
fn members_share_what_the_coordinator_assigns() {
    let node = Home::new().start();
    let address = node.address;
    talk::create(address, "t", 4);
    talk::run(async {
        let mut writer = Producer::new(talk::cluster(address).await, ProducerOptions::default());
        let mut write = async |from: usize| {
            for at in from..from + 8 {
                writer.send("t", message(&at.to_string())).await.unwrap();
                writer.flush().await.unwrap();
            }
        };
        let join = async || {
            let client = talk::cluster(address).await;
            let protocol = GroupProtocol::Consumer;
            Consumer::join(client, "t", "g", protocol, Start::Beginning).await.unwrap()
        };
        write(0).await;
        let (mut one, mut seen) = (join().await, Vec::new());
        while seen.len() < 8 {
            seen.extend(one.poll().await.unwrap().map(|it| it.value.unwrap()));
        }
        let mut two = join().await;
        while one.assignment().len() != 2 || two.assignment().len() != 2 {
            assert_eq!(one.poll().await.unwrap(), None, "it has read everything");
            seen.extend(two.poll().await.unwrap().map(|it| it.value.unwrap()));
        }
        write(8).await;
        while seen.len() < 16 {
            for each in [&mut one, &mut two] {
                seen.extend(each.poll().await.unwrap().map(|it| it.value.unwrap()));
            }
        }
        two.close().await.unwrap();
        while one.assignment().len() != 4 {
            seen.extend(one.poll().await.unwrap().map(|it| it.value.unwrap()));
        }
        write(16).await;
        while seen.len() < 24 {
            seen.extend(one.poll().await.unwrap().map(|it| it.value.unwrap()));
        }
        one.close().await.unwrap();
        let mut all: Vec<usize> =
            seen.iter().map(|it| std::str::from_utf8(it).unwrap().parse().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..24).collect::<Vec<_>>());
    });
}

/// Reads, writes, and says how far it has read, in one transaction each; the node is killed after
/// every few, sometimes in the middle of one.
#[test]
fn a_copy_through_kills_has_every_record_once() {
    const COUNT: usize = 60;
    let home = Home::new();
    let mut node = home.start();
    talk::create(node.address, "in", 1);
    talk::create(node.address, "out", 2);
    talk::run(async {
        let client = talk::cluster(node.address).await;
        let mut writer = Producer::new(client, ProducerOptions::default());
        for at in 0..COUNT {
            writer.send("in", message(&at.to_string())).await.unwrap();
        }
        writer.flush().await.unwrap();
    });
    let mut copied = 0;
    for round in 0.. {
        let address = node.address;
        let stops_inside = round % 2 == 0;
        copied = talk::run(async {
            let client = talk::cluster(address).await;
            let mut reader =
                Consumer::open(client, "in", Some("copier"), Start::Beginning).await.unwrap();
            reader.set_auto_commit(false);
            let mut writer = producer(address, "copier").await;
            writer.init_transactions().await.unwrap();
            let mut last = copied;
            for turn in 0..4 {
                writer.begin_transaction().await.unwrap();
                for _ in 0..5 {
                    let Some(record) = reader.poll().await.unwrap() else { continue };
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    last = value.parse::<usize>().unwrap() + 1;
                    writer.send("out", message(&value)).await.unwrap();
                }
                let (offsets, member) = (reader.handed_out(), reader.group_member());
                if !offsets.is_empty() {
                    writer.send_offsets_to_transaction(&offsets, &member).await.unwrap();
                }
                if stops_inside && turn == 3 {
                    writer.flush().await.unwrap();
                    break;
                }
                if round % 3 == 1 && turn == 2 {
                    writer.abort_transaction().await.unwrap();
                    break;
                }
                writer.commit_transaction().await.unwrap();
            }
            // The next one need not wait for its session to end.
            reader.close().await.unwrap();
            last
        });
        node.kill();
        node = home.start();
        if copied >= COUNT && !stops_inside && round % 3 != 1 {
            break;
        }
    }
    let address = node.address;
    let mut all = talk::run(async {
        // A new producer with the same transactional id ends the transaction that was left open.
        producer(address, "copier").await.init_transactions().await.unwrap();
        committed(address, "out", COUNT).await
    });
    all.sort_by_key(|value| value.parse::<usize>().unwrap());
    let wanted: Vec<String> = (0..COUNT).map(|at| at.to_string()).collect();
    assert_eq!(all, wanted, "each record once");
}
