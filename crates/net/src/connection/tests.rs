use super::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;

const LIMITS: Limits =
    Limits { frame_bytes_max: 1 << 20, replies_waiting_max: 4, unsent_bytes_max: 1000 };

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat()
}

fn reply(body: &[u8]) -> Reply {
    Reply { chunks: vec![Bytes::copy_from_slice(body)], ..Reply::default() }
}

async fn read_frame(stream: &mut DuplexStream) -> Vec<u8> {
    let length = stream.read_u32().await.expect("a length");
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await.expect("a body");
    body
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let echo =
            async |frame: Bytes| Outcome::Reply(Reply { chunks: vec![frame], ..Reply::default() });
        let served = tokio::task::spawn_local(serve_requests(server, LIMITS, echo, || {}));
        client.write_all(&[frame(b"one"), frame(b"two")].concat()).await.expect("written");
        assert_eq!(read_frame(&mut client).await, b"one");
        assert_eq!(read_frame(&mut client).await, b"two");
        drop(client);
        assert!(matches!(served.await.expect("no panic"), Closed::ByPeer));
    });
}

#[test]
fn a_late_reply_holds_back_later_ones_but_not_later_requests() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (ripen, ripe) = oneshot::channel::<()>();
        let ripe = RefCell::new(Some(ripe));
        let (started, second) = oneshot::channel::<()>();
        let started = Cell::new(Some(started));
        let handler = async move |frame: Bytes| {
            if &frame[..] == b"late" {
                let ripe = ripe.borrow_mut().take().expect("once");
                return Outcome::Later(Box::pin(async move {
                    ripe.await.expect("ripened");
                    Some(reply(b"LATE"))
                }));
            }
            started.take().expect("once").send(()).expect("awaited");
            Outcome::Reply(reply(b"QUICK"))
        };
        tokio::task::spawn_local(serve_requests(server, LIMITS, handler, || {}));
        client.write_all(&[frame(b"late"), frame(b"quick")].concat()).await.expect("written");
        second.await.expect("the second request started while the first reply waited");
        ripen.send(()).expect("awaited");
        assert_eq!(read_frame(&mut client).await, b"LATE");
        assert_eq!(read_frame(&mut client).await, b"QUICK");
    });
}

/// Serves neighbours that begin with the same letter together, in capitals.
struct Neighbours(Rc<RefCell<Vec<usize>>>);

impl Handler for Neighbours {
    async fn serve(&self, frame: Bytes) -> Outcome {
        self.0.borrow_mut().push(1);
        Outcome::Reply(reply(&frame))
    }

    fn serve_together(&self, frames: &[Bytes]) -> Vec<Outcome> {
        let count = frames.iter().take_while(|frame| frame[0] == frames[0][0]).count();
        if count < 2 {
            return Vec::new();
        }
        self.0.borrow_mut().push(count);
        frames[..count].iter().map(|it| Outcome::Reply(reply(&it.to_ascii_uppercase()))).collect()
    }
}

#[test]
fn requests_that_came_together_may_be_served_together() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let counts = Rc::new(RefCell::new(Vec::new()));
        let handler = Neighbours(Rc::clone(&counts));
        let served = tokio::task::spawn_local(serve_requests(server, LIMITS, handler, || {}));
        let all = ["a1", "a2", "a3", "b", "c1", "c2"].map(|it| frame(it.as_bytes())).concat();
        client.write_all(&[&all[..], &[0xff; 4]].concat()).await.expect("written");
        for due in ["A1", "A2", "A3", "b", "c1", "c2"] {
            assert_eq!(read_frame(&mut client).await, due.as_bytes());
        }
        assert_eq!(*counts.borrow(), [3, 1, 1, 1]);
        // What is wrong behind them is met when they are served.
        let closed = served.await.expect("no panic");
        assert!(matches!(closed, Closed::Frame(FrameError::Negative(-1))), "{closed:?}");
    });
}

#[test]
fn who_does_not_read_replies_is_not_read_from() {
    run(async {
        let (mut client, server) = tokio::io::duplex(64);
        let seen = Rc::new(Cell::new(0));
        let count = Rc::clone(&seen);
        let handler = async move |_: Bytes| {
            count.set(count.get() + 1);
            Outcome::Reply(reply(&[7; 600]))
        };
        tokio::task::spawn_local(serve_requests(server, LIMITS, handler, || {}));
        let flood = frame(b"x").repeat(10_000);
        tokio::select! {
            biased;
            written = client.write_all(&flood) => panic!("all was taken: {written:?}"),
            () = async { for _ in 0..1000 { tokio::task::yield_now().await } } => {}
        }
        assert!(
            seen.get() < 100,
            "{} requests were served for a peer that reads nothing",
            seen.get()
        );
        assert_eq!(read_frame(&mut client).await, [7; 600]);
    });
}

#[test]
fn a_silent_request_gets_no_reply_and_a_bad_frame_ends_the_connection() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let handler = async |frame: Bytes| match &frame[..] {
            b"silent" => Outcome::Silent,
            _ => Outcome::Reply(Reply { chunks: vec![frame], ..Reply::default() }),
        };
        let served = tokio::task::spawn_local(serve_requests(server, LIMITS, handler, || {}));
        client.write_all(&[frame(b"silent"), frame(b"loud")].concat()).await.expect("written");
        assert_eq!(read_frame(&mut client).await, b"loud");
        client.write_all(&[0xff; 4]).await.expect("written");
        let closed = served.await.expect("no panic");
        assert!(matches!(closed, Closed::Frame(FrameError::Negative(-1))), "{closed:?}");
    });
}

#[test]
fn a_peer_that_hangs_up_inside_a_frame_is_told_apart() {
    run(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let handler = async |_: Bytes| Outcome::Silent;
        let served = tokio::task::spawn_local(serve_requests(server, LIMITS, handler, || {}));
        client.write_all(&frame(b"whole")[..6]).await.expect("written");
        drop(client);
        assert!(matches!(served.await.expect("no panic"), Closed::InsideFrame));
    });
}

#[test]
fn one_that_sends_without_end_leaves_others_their_turn() {
    run(async {
        let (mut eager, busy) = tokio::io::duplex(1 << 24);
        let (mut other, idle) = tokio::io::duplex(1 << 16);
        let served = Rc::new(RefCell::new(Vec::new()));
        let handler = || {
            let served = Rc::clone(&served);
            async move |frame: Bytes| {
                served.borrow_mut().push(frame.len());
                Outcome::Silent
            }
        };
        let large = frame(&[0; 1 << 16]);
        for _ in 0..200 {
            eager.write_all(&large).await.expect("written");
        }
        other.write_all(&frame(b"small")).await.expect("written");
        let limits = Limits { frame_bytes_max: 1 << 20, ..LIMITS };
        let busy = tokio::task::spawn_local(serve_requests(busy, limits, handler(), || {}));
        let idle = tokio::task::spawn_local(serve_requests(idle, limits, handler(), || {}));
        drop((eager, other));
        busy.await.expect("no panic");
        idle.await.expect("no panic");
        let before = served.borrow().iter().position(|bytes| *bytes == 5).expect("served");
        assert!(before <= (2 * TURN_BYTES_MAX) >> 16, "{before} requests were served before");
        assert_eq!(served.borrow().len(), 201);
    });
}
