//! kill -9 in the middle of a produce loop: what was acknowledged is there, once.

use std::collections::BTreeSet;
use std::sync::mpsc;

use crate::node::Home;
use crate::talk;

const ROUNDS: usize = 50;

#[test]
fn fifty_kills_lose_nothing_that_was_acknowledged() {
    let home = Home::new();
    let mut acked: BTreeSet<String> = BTreeSet::new();
    for round in 0..ROUNDS {
        let node = home.start();
        if round == 0 {
            talk::create(node.address, "t", 1);
        }
        let address = node.address;
        let (tell, told) = mpsc::sync_channel(1024);
        let writer = std::thread::spawn(move || {
            let values = (0..).map(|at| format!("{round}-{at}"));
            // The node is killed under it: an error is how this ends.
            let _ = talk::run(talk::produce_once(address, "t", values, |value| {
                let _ = tell.send(value);
            }));
        });
        // Somewhere inside the loop, elsewhere each time.
        let wanted = 1 + round * 7 % 40;
        acked.extend(told.iter().take(wanted));
        node.kill();
        // What was acknowledged between the last look and the kill counts as well.
        acked.extend(told.iter());
        writer.join().unwrap();
    }
    let node = home.start();
    let read = talk::read_all(node.address, "t", acked.len());
    let once: BTreeSet<String> = read.iter().cloned().collect();
    let lost: Vec<&String> = acked.difference(&once).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(once.len(), read.len(), "an idempotent producer's records are there once");
    assert!(acked.len() >= ROUNDS);
    node.stop();
}
