//! A client in the process of its node: through the door that connections use, without a socket.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use ottla_client::{
    ByteStream, ChangeMode, Client, ClientError, ClientOptions, Connecting, Consumer, Dialer,
    NewTopic, Producer, ProducerOptions, ProducerRecord, Start,
};
use ottla_clock::Clock;
use ottla_net::connection::{Closed, Limits, serve_requests};
use ottla_types::ErrorCode;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::dispatch::Serving;
use crate::guard::{Operation, ResourceType};
use crate::harness::Harness;
use crate::node::Node;
use crate::request::{ListenerScope, Session};

const LIMITS: Limits =
    Limits { frame_bytes_max: 1 << 20, replies_waiting_max: 100, unsent_bytes_max: 1 << 20 };

/// Hands out one end of a stream in memory, and the other to the node.
#[derive(Debug)]
struct InProcess {
    doors: mpsc::Sender<DuplexStream>,
}

impl Dialer for InProcess {
    fn dial(&self, _: &str) -> Connecting {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let doors = self.doors.clone();
        Box::pin(async move {
            doors.send(theirs).await.map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(ours) as Box<dyn ByteStream>)
        })
    }
}

/// Serves every stream that comes, each as a connection of its own.
async fn serve_doors(node: &Node, mut doors: mpsc::Receiver<DuplexStream>) {
    let mut connections: Vec<Pin<Box<dyn Future<Output = Closed> + '_>>> = Vec::new();
    poll_fn(|cx| {
        while let Poll::Ready(Some(stream)) = doors.poll_recv(cx) {
            let peer = "127.0.0.1:4711".parse().expect("an address");
            let session = Arc::new(Session::new(peer, "PLAINTEXT".into(), ListenerScope::Broker));
            let serving = Serving { node, session };
            connections.push(Box::pin(serve_requests(stream, LIMITS, serving, || {})));
        }
        connections.retain_mut(|connection| connection.as_mut().poll(cx).is_pending());
        Poll::<()>::Pending
    })
    .await;
}

/// Runs a client's work beside the node that it dials.
fn run<T>(harness: &Harness, work: impl AsyncFnOnce(Client) -> T) -> T {
    let (doors, opened) = mpsc::channel(8);
    let dialer = Arc::new(InProcess { doors });
    let client = Client::new("node:1", ClientOptions::default(), dialer, Clock::real());
    let client = client.expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::select! {
            biased;
            done = work(client) => done,
            () = serve_doors(harness.node(), opened) => unreachable!("it never returns"),
        }
    })
}

#[test]
fn a_client_in_the_nodes_process_writes_and_reads() {
    let harness = Harness::start(&[]);
    let value = run(&harness, async |client: Client| {
        client.create_topic(&NewTopic::named("t"), ChangeMode::Change).await?;
        let mut producer = Producer::new(client.clone(), ProducerOptions::default());
        let record = ProducerRecord { value: Some("hello".into()), ..Default::default() };
        producer.send("t", record).await?;
        producer.flush().await?;
        let mut consumer = Consumer::open(client, "t", Some("g"), Start::Beginning).await?;
        loop {
            if let Some(record) = consumer.poll().await? {
                consumer.close().await?;
                return Ok::<_, ClientError>(record.value);
            }
        }
    });
    assert_eq!(value.expect("read").as_deref(), Some(&b"hello"[..]));
}

#[test]
fn a_client_in_the_nodes_process_has_its_own_rights_only() {
    let harness = Harness::start(&[]);
    harness.allow(Some(&[(ResourceType::Topic, Operation::Describe)]));
    let refused = run(&harness, async |client: Client| {
        client.create_topic(&NewTopic::named("t"), ChangeMode::Change).await
    });
    let code = refused.expect_err("not allowed").code();
    assert_eq!(code, Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
}

#[test]
fn many_tasks_share_a_client() {
    let harness = Harness::start(&[]);
    let ids = run(&harness, async |client: Client| {
        client.create_topic(&NewTopic::named("t"), ChangeMode::Change).await.expect("created");
        let ask = async || client.describe_topic("t").await.map(|topic| topic.id);
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        [a, b, c].map(|id| id.expect("described"))
    });
    assert!(ids[0] == ids[1] && ids[1] == ids[2]);
}
