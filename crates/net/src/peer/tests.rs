use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::DuplexStream;
use tokio::sync::Notify;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: PeerLimits = PeerLimits {
    requests_in_flight_max: 3,
    bytes_in_flight_max: 1000,
    answer_bytes_max: 1000,
    backoff: Duration::from_millis(100),
    backoff_max: Duration::from_millis(400),
};

/// A world with a clock that the test moves, and streams that it hands out.
#[derive(Clone, Default)]
struct PeerWorld(Arc<WorldState>);

#[derive(Default)]
struct WorldState {
    now_ms: AtomicU64,
    moved: Notify,
    streams: Mutex<VecDeque<DuplexStream>>,
    attempts: AtomicU64,
}

impl PeerWorld {
    fn advance(&self, ms: u64) {
        self.0.now_ms.fetch_add(ms, Ordering::SeqCst);
        self.0.moved.notify_waiters();
    }

    fn attempts(&self) -> u64 {
        self.0.attempts.load(Ordering::SeqCst)
    }

    /// The next attempt to connect gets one end of a stream; the other end.
    fn accept(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        self.0.streams.lock().push_back(ours);
        theirs
    }
}

impl Reach for PeerWorld {
    type Stream = DuplexStream;
    type Greeting = u64;

    fn open(&self) -> PendingRequest<io::Result<(DuplexStream, u64)>> {
        let attempt = self.0.attempts.fetch_add(1, Ordering::SeqCst);
        let stream = self.0.streams.lock().pop_front();
        Box::pin(async move {
            let stream = stream.ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok((stream, attempt))
        })
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now_ms.load(Ordering::SeqCst))
    }

    fn wait_until(&self, at: Duration) -> PendingRequest<()> {
        let world = self.clone();
        Box::pin(async move {
            loop {
                let moved = world.0.moved.notified();
                if world.now() >= at {
                    return;
                }
                moved.await;
            }
        })
    }

    fn random_below(&self, bound: u64) -> u64 {
        bound / 2
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn world() -> (PeerWorld, Peer<PeerWorld>) {
    let world = PeerWorld::default();
    (world.clone(), Peer::new(world, LIMITS))
}

/// A request's frame, which says `text`.
fn request(text: &str) -> Vec<u8> {
    let length = u32::try_from(8 + text.len()).expect("short").to_be_bytes();
    [&length[..], b"\0\x03\0\x0c----", text.as_bytes()].concat()
}

async fn send(peer: &Peer<PeerWorld>, text: &str) -> Result<PendingAnswer<PeerWorld>, PeerError> {
    peer.send(SECOND, |_| Ok(request(text))).await
}

async fn call(peer: &Peer<PeerWorld>, text: &str) -> Result<Bytes, PeerError> {
    peer.call(SECOND, |_| Ok(request(text))).await
}

/// The other side: the next request's id and text.
async fn receive(stream: &mut DuplexStream) -> (i32, String) {
    let length = stream.read_u32().await.expect("a length");
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.expect("a frame");
    let id = i32::from_be_bytes(frame[4..8].try_into().expect("four bytes"));
    (id, String::from_utf8(frame[8..].to_vec()).expect("text"))
}

async fn answer(stream: &mut DuplexStream, id: i32, text: &str) {
    let length = u32::try_from(4 + text.len()).expect("short").to_be_bytes();
    let frame = [&length[..], &id.to_be_bytes(), text.as_bytes()].concat();
    stream.write_all(&frame).await.expect("written");
}

/// Lets every other task run until it waits.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn unanswered(error: &PeerError) -> String {
    assert!(matches!(error, PeerError::Unanswered(_)), "{error:?}");
    error.to_string()
}

fn not_sent(error: &PeerError) -> String {
    assert!(matches!(error, PeerError::NotSent(_)), "{error:?}");
    error.to_string()
}

#[test]
fn requests_are_in_flight_together_and_get_their_own_answers() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let a = send(&peer, "a").await.expect("sent");
        let b = send(&peer, "b").await.expect("sent");
        let c = send(&peer, "c").await.expect("sent");
        for (id, text) in [(0, "a"), (1, "b"), (2, "c")] {
            assert_eq!(receive(&mut broker).await, (id, text.to_owned()));
            answer(&mut broker, id, &text.to_uppercase()).await;
        }
        // In another order than they were sent in.
        assert_eq!(&c.await.expect("answered")[4..], b"C");
        assert_eq!(&a.await.expect("answered")[4..], b"A");
        assert_eq!(&b.await.expect("answered")[4..], b"B");
        assert_eq!(world.attempts(), 1);
    });
}

#[test]
fn callers_of_different_tasks_share_the_connection() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let callers: Vec<_> = (0..3)
            .map(|n| {
                let peer = peer.clone();
                tokio::task::spawn_local(async move { call(&peer, &n.to_string()).await })
            })
            .collect();
        for _ in 0..3 {
            let (id, text) = receive(&mut broker).await;
            answer(&mut broker, id, &text).await;
        }
        for (n, caller) in callers.into_iter().enumerate() {
            let answer = caller.await.expect("no panic").expect("answered");
            assert_eq!(&answer[4..], n.to_string().as_bytes());
        }
        assert_eq!(world.attempts(), 1);
    });
}

#[test]
fn an_answer_that_nobody_polls_for_does_not_hold_up_others() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let unpolled = send(&peer, "a").await.expect("sent");
        let other = peer.clone();
        let other = tokio::task::spawn_local(async move { call(&other, "b").await });
        settle().await;
        for text in ["a", "b"] {
            let (id, got) = receive(&mut broker).await;
            assert_eq!(got, text);
            answer(&mut broker, id, text).await;
        }
        assert_eq!(&other.await.expect("no panic").expect("answered")[4..], b"b");
        assert_eq!(&unpolled.await.expect("answered")[4..], b"a");
    });
}

#[test]
fn an_answer_out_of_order_breaks_the_connection() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let (a, b) = (send(&peer, "a").await.expect("sent"), send(&peer, "b").await.expect("sent"));
        answer(&mut broker, 1, "B").await;
        let why = unanswered(&b.await.expect_err("broken"));
        assert_eq!(why, "answer 1 came where 0 was due");
        unanswered(&a.await.expect_err("broken"));
    });
}

#[test]
fn an_answer_to_nothing_breaks_the_connection() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        peer.greeting(SECOND).await.expect("connected");
        for id in 0..100 {
            answer(&mut broker, id, "unasked").await;
        }
        let mut second = world.accept();
        let asking = peer.clone();
        let asked = tokio::task::spawn_local(async move { call(&asking, "a").await });
        // What was not sent goes to the next connection.
        let (id, _) = receive(&mut second).await;
        answer(&mut second, id, "A").await;
        asked.await.expect("no panic").expect("answered");
        assert_eq!(world.attempts(), 2);
    });
}

#[test]
fn a_silent_peer_costs_the_connection_and_all_that_waits_on_it() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let a = send(&peer, "a").await.expect("sent");
        world.advance(500);
        let b = send(&peer, "b").await.expect("sent");
        let a = tokio::task::spawn_local(a);
        settle().await;
        world.advance(500);
        let why = unanswered(&a.await.expect("no panic").expect_err("late"));
        assert_eq!(why, "no answer within 1000 ms");
        unanswered(&b.await.expect_err("broken with it"));
        assert_eq!(receive(&mut broker).await.1, "a");
        assert_eq!(receive(&mut broker).await.1, "b");
        assert_eq!(broker.read(&mut [0; 8]).await.expect("closed"), 0);
    });
}

#[test]
fn an_answer_that_is_too_long_is_not_taken_in() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let a = send(&peer, "a").await.expect("sent");
        broker.write_all(&1001_u32.to_be_bytes()).await.expect("written");
        let why = unanswered(&a.await.expect_err("refused"));
        assert!(why.contains("1001"), "{why}");
    });
}

#[test]
fn requests_beyond_the_limit_wait_and_are_not_sent() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let mut sent = Vec::new();
        for text in ["a", "b", "c"] {
            sent.push(send(&peer, text).await.expect("sent"));
        }
        let fourth = peer.clone();
        let fourth = tokio::task::spawn_local(async move { call(&fourth, "d").await });
        settle().await;
        assert!(!fourth.is_finished());
        let (id, _) = receive(&mut broker).await;
        answer(&mut broker, id, "A").await;
        settle().await;
        // Only now.
        for text in ["b", "c", "d"] {
            let (id, got) = receive(&mut broker).await;
            assert_eq!(got, text);
            answer(&mut broker, id, text).await;
        }
        fourth.await.expect("no panic").expect("answered");
        // By bytes: one is let in, whatever its size, the next waits.
        let long = send(&peer, &"x".repeat(2000)).await.expect("sent");
        let next = peer.clone();
        let next = tokio::task::spawn_local(async move { call(&next, "e").await });
        settle().await;
        world.advance(1000);
        let why = not_sent(&next.await.expect("no panic").expect_err("no room"));
        assert_eq!(why, "no connection with room for a request within 1000 ms");
        drop(long);
    });
}

#[test]
fn a_broken_connection_says_what_was_sent() {
    run(async {
        let world = PeerWorld::default();
        let peer = Peer::new(world.clone(), LIMITS);
        let (ours, mut broker) = tokio::io::duplex(16);
        world.0.streams.lock().push_back(ours);
        // 16 bytes go out at a time, so the second waits behind the first.
        let a = send(&peer, "a long request").await.expect("queued");
        let b = send(&peer, "b").await.expect("queued");
        broker.read_exact(&mut [0; 4]).await.expect("begun");
        drop(broker);
        unanswered(&a.await.expect_err("broken"));
        not_sent(&b.await.expect_err("broken"));
    });
}

#[test]
fn an_abandoned_request_leaves_its_place_to_others() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let a = send(&peer, "a").await.expect("sent");
        drop(a);
        let b = send(&peer, "b").await.expect("sent");
        for text in ["a", "b"] {
            let (id, got) = receive(&mut broker).await;
            assert_eq!(got, text, "what was written is read by the other side");
            answer(&mut broker, id, text).await;
        }
        assert_eq!(&b.await.expect("answered")[4..], b"b");
    });
}

#[test]
fn an_abandoned_request_that_was_not_written_is_not_sent() {
    run(async {
        let (world, peer) = world();
        let (ours, mut broker) = tokio::io::duplex(13);
        world.0.streams.lock().push_back(ours);
        let a = send(&peer, "a").await.expect("queued");
        let b = send(&peer, "b").await.expect("queued");
        let c = send(&peer, "c").await.expect("queued");
        drop(b);
        let c = tokio::task::spawn_local(c);
        for (id, text) in [(0, "a"), (2, "c")] {
            assert_eq!(receive(&mut broker).await, (id, text.to_owned()));
            answer(&mut broker, id, text).await;
        }
        assert_eq!(&a.await.expect("answered")[4..], b"a");
        assert_eq!(&c.await.expect("no panic").expect("answered")[4..], b"c");
    });
}

#[test]
fn a_failed_attempt_is_told_at_once_and_the_next_waits_longer_each_time() {
    run(async {
        let (world, peer) = world();
        let why = not_sent(&call(&peer, "a").await.expect_err("refused"));
        assert_eq!(why, "connection refused");
        for (attempt, wait_ms) in [(2, 100), (3, 200), (4, 400), (5, 400)] {
            let next = peer.clone();
            let next = tokio::task::spawn_local(async move { call(&next, "a").await });
            settle().await;
            world.advance(wait_ms - 1);
            settle().await;
            assert_eq!(world.attempts(), attempt - 1, "it waits for {wait_ms} ms");
            world.advance(1);
            not_sent(&next.await.expect("no panic").expect_err("refused"));
            assert_eq!(world.attempts(), attempt);
        }
        // A good connection starts again from the first wait.
        let mut broker = world.accept();
        world.advance(400);
        let a = send(&peer, "a").await.expect("sent");
        let (id, _) = receive(&mut broker).await;
        answer(&mut broker, id, "A").await;
        a.await.expect("answered");
        let b = send(&peer, "b").await.expect("sent");
        drop(broker);
        unanswered(&b.await.expect_err("broken"));
        let _third = world.accept();
        let next = peer.clone();
        let next = tokio::task::spawn_local(async move { next.greeting(SECOND).await });
        settle().await;
        assert!(!next.is_finished());
        world.advance(100);
        assert_eq!(*next.await.expect("no panic").expect("connected"), 6);
    });
}

#[test]
fn an_idle_connection_that_was_closed_is_replaced_without_waiting() {
    run(async {
        let (world, peer) = world();
        drop((world.accept(), peer.greeting(SECOND).await.expect("connected")));
        let mut broker = world.accept();
        let a = send(&peer, "a").await.expect("sent on a new connection");
        let (id, _) = receive(&mut broker).await;
        answer(&mut broker, id, "A").await;
        a.await.expect("answered");
    });
}

#[test]
fn a_connection_that_is_closed_as_soon_as_it_is_open_counts_as_a_failure() {
    run(async {
        let (world, peer) = world();
        drop(world.accept());
        let why = not_sent(&call(&peer, "a").await.expect_err("closed"));
        assert_eq!(why, "the other side closed the connection");
        let _good = world.accept();
        let next = peer.clone();
        let next = tokio::task::spawn_local(async move { next.greeting(SECOND).await });
        settle().await;
        assert!(!next.is_finished(), "the next attempt waits");
        world.advance(100);
        next.await.expect("no panic").expect("connected");
    });
}

#[test]
fn a_request_without_an_answer_is_done_when_it_is_written() {
    run(async {
        let (world, peer) = world();
        let mut broker = world.accept();
        let told: Result<(), PeerError> = peer.tell(SECOND, |_| Ok(request("a"))).await;
        told.expect("written");
        let b = send(&peer, "b").await.expect("sent");
        assert_eq!(receive(&mut broker).await, (0, "a".to_owned()));
        let (id, _) = receive(&mut broker).await;
        answer(&mut broker, id, "B").await;
        b.await.expect("answered");
    });
}

#[test]
fn what_is_in_flight_fails_when_the_peer_is_disconnected() {
    run(async {
        let (world, peer) = world();
        let _broker = world.accept();
        let a = send(&peer, "a").await.expect("sent");
        peer.disconnect();
        assert_eq!(unanswered(&a.await.expect_err("closed")), "closed by this client");
    });
}

#[test]
fn the_first_words_are_exchanged_before_the_first_request() {
    run(async {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let asked = tokio::task::spawn_local(async move {
            exchange_frames(&mut ours, &request("versions?"), 100).await
        });
        assert_eq!(receive(&mut theirs).await.1, "versions?");
        answer(&mut theirs, 0, "all").await;
        assert_eq!(&asked.await.expect("no panic").expect("answered")[4..], b"all");
    });
}
