//! When a fetch is answered.

use std::io::Write;
use std::time::Duration;

use crate::node::Home;
use crate::raw::{answer, fetch, produce};
use crate::talk;

#[test]
fn a_fetch_does_not_wait_for_more_than_it_may_be_sent() {
    let home = Home::new();
    let node = home.start();
    talk::create(node.address, "t", 1);
    let mut stream = node.connect();
    for _ in 0..2 {
        stream.write_all(&produce("t", 600_000)).unwrap();
        answer(&mut stream);
    }
    // Shorter than the fetch is ready to wait.
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Two batches are more than a megabyte, which is all that it may be sent at once; one of them
    // is sent, as they are not cut.
    stream.write_all(&fetch("t", 0, 1 << 20)).unwrap();
    let bytes = answer(&mut stream);
    assert!((600_000..700_000).contains(&bytes), "{bytes} bytes");
    node.stop();
}
