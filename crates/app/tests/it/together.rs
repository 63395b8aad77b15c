//! Requests that came together: served as one, they come to what they would have come to alone.

use std::io::Write;

use ottla_types::ErrorCode;

use crate::node::Home;
use crate::raw::{produce, produced};
use crate::talk;

#[test]
fn each_of_a_burst_is_answered_for_itself_and_in_order() {
    const NONE: i16 = ErrorCode::NONE.0;
    let home = Home::new().with("auto.create.topics.enable=false");
    let node = home.start();
    talk::create(node.address, "t", 1);
    talk::create(node.address, "u", 1);
    let mut stream = node.connect();
    let mut broken = produce("t", 50);
    *broken.last_mut().unwrap() ^= 1;
    let burst = [
        (produce("t", 1000), (NONE, 0)),
        (produce("t", 100), (NONE, 1)),
        (produce("u", 10), (NONE, 0)),
        (produce("t", 10), (NONE, 2)),
        (produce("t", 20), (NONE, 3)),
        (broken, (ErrorCode::CORRUPT_MESSAGE.0, -1)),
        (produce("t", 2_000_000), (ErrorCode::MESSAGE_TOO_LARGE.0, -1)),
        (produce("t", 30), (NONE, 4)),
        (produce("nowhere", 30), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, -1)),
        (produce("nowhere", 30), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, -1)),
        (produce("t", 40), (NONE, 5)),
    ];
    let all: Vec<u8> = burst.iter().flat_map(|(frame, _)| frame.clone()).collect();
    stream.write_all(&all).unwrap();
    for (at, (_, due)) in burst.iter().enumerate() {
        assert_eq!(produced(&mut stream), *due, "number {at}");
    }
    node.stop();
    // The acknowledged records are there.
    let node = home.start();
    let values = talk::read_all(node.address, "t", 6);
    assert_eq!(values.iter().map(String::len).collect::<Vec<_>>(), [1000, 100, 10, 20, 30, 40]);
    node.stop();
}
