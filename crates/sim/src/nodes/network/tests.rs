use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::nodes::executor::{ExecutorEnds, Process, SeededExecutor};

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const ADDRESS: SocketAddr = SocketAddr::new(SERVER, 9092);
const CARRIER: Process = Process(0);
const SERVING: Process = Process(1);
const DIALLING: Process = Process(2);

/// What the server has read from each connection, in the order in which they were accepted.
type Heard = Rc<RefCell<Vec<(Vec<u8>, bool)>>>;

struct NetworkBench {
    executor: SeededExecutor,
    network: SimNetwork,
    heard: Heard,
}

impl NetworkBench {
    /// A server that reads all of its connections.
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut executor = SeededExecutor::new(Dice::new(dice.draw()));
        let weather = StreamWeather { piece_bytes_max: 7, ..StreamWeather::draw(&mut dice) };
        let network = SimNetwork::new(executor.time(), dice, weather);
        let carried = network.clone();
        executor.start(CARRIER, async move { carried.carry().await });
        let mut scene = Self { executor, network, heard: Heard::default() };
        scene.serve();
        scene
    }

    fn serve(&mut self) {
        let mut door = self.network.host(SERVER).bind(ADDRESS).expect("is free");
        let heard = Rc::clone(&self.heard);
        self.executor.start(SERVING, async move {
            loop {
                let accepted = std::future::poll_fn(|cx| door.poll_accept(cx)).await;
                let (mut stream, _) = accepted.expect("accepted");
                let number = heard.borrow().len();
                heard.borrow_mut().push((Vec::new(), false));
                // One after the other is enough for these tests.
                let mut bytes = [0; 16];
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    heard.borrow_mut()[number].0.extend_from_slice(&bytes[..read]);
                }
                heard.borrow_mut()[number].1 = true;
            }
        });
    }

    fn run(&mut self, seconds: u64) {
        let until = self.executor.time().now() + Duration::from_secs(seconds);
        self.executor.run_until(until).expect("no loop");
    }

    /// Dials, sends, and keeps the connection if it is not to hang up; what came of it.
    fn send(&mut self, bytes: &'static [u8], hangs_up: bool) -> Rc<RefCell<Vec<String>>> {
        let (host, said) = (self.network.host(CLIENT), Rc::<RefCell<Vec<String>>>::default());
        let says = Rc::clone(&said);
        self.executor.start(DIALLING, async move {
            let mut stream = match host.dial(ADDRESS).await {
                Ok(stream) => stream,
                Err(error) => return says.borrow_mut().push(error.kind().to_string()),
            };
            stream.write_all(bytes).await.expect("sent");
            says.borrow_mut().push("sent".to_owned());
            if !hangs_up {
                let ended = stream.read_u8().await.expect_err("the server says nothing");
                says.borrow_mut().push(ended.kind().to_string());
            }
        });
        said
    }
}

#[test]
fn bytes_of_a_connection_keep_their_order_across_a_cut() {
    for seed in 0..50 {
        let mut scene = NetworkBench::new(seed);
        let text: &[u8] = b"a text that is longer than one piece, and comes in many of them";
        scene.send(text, true);
        scene.executor.run_until(Duration::from_millis(seed)).expect("no loop");
        scene.network.cut(CLIENT, SERVER);
        scene.run(20);
        scene.network.mend();
        scene.run(60);
        assert_eq!(*scene.heard.borrow(), [(text.to_vec(), true)], "seed {seed}");
    }
}

#[test]
fn a_process_that_ends_is_heard_of_and_a_power_cut_is_not() {
    let mut scene = NetworkBench::new(1);
    let said = scene.send(b"to a process", false);
    scene.run(20);
    scene.executor.kill(SERVING, ExecutorEnds::All);
    scene.run(20);
    assert_eq!(*said.borrow(), ["sent", "unexpected end of file"]);
    assert_eq!(*scene.send(b"to none", false).borrow(), [""; 0]);
    scene.serve();
    let said = scene.send(b"to a machine", false);
    scene.run(20);
    scene.network.power_off(SERVER);
    scene.executor.kill(SERVING, ExecutorEnds::All);
    scene.run(3600);
    assert_eq!(*said.borrow(), ["sent"], "half open");
}

#[test]
fn what_reaches_a_machine_that_has_forgotten_the_connection_is_refused() {
    let mut scene = NetworkBench::new(2);
    scene.send(b"first", false);
    scene.run(20);
    scene.network.power_off(SERVER);
    scene.executor.kill(SERVING, ExecutorEnds::All);
    let (host, said) = (scene.network.host(CLIENT), Rc::<RefCell<Vec<String>>>::default());
    let says = Rc::clone(&said);
    scene.executor.start(DIALLING, async move {
        // It waits for the machine to come back, as TCP's first packet does.
        let kind = host.dial(ADDRESS).await.map(|_| "connected".to_owned());
        says.borrow_mut().push(kind.unwrap_or_else(|error| error.kind().to_string()));
    });
    scene.run(20);
    assert!(said.borrow().is_empty());
    scene.network.power_on(SERVER);
    scene.run(20);
    assert_eq!(*said.borrow(), ["connection refused"]);
}

#[test]
fn connections_break_by_chance_and_leave_nothing_behind() {
    let mut scene = NetworkBench::new(3);
    assert!(!scene.network.break_some());
    let said = scene.send(b"text", false);
    scene.run(20);
    assert!(scene.network.break_some());
    scene.run(20);
    assert_eq!(scene.network.counts().connections, 1);
    assert!(said.borrow().len() <= 2);
    scene.executor.kill(DIALLING, ExecutorEnds::All);
    scene.executor.kill(SERVING, ExecutorEnds::All);
    scene.run(20);
    assert!(!scene.network.break_some(), "no side is left");
}
