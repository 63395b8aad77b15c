//! The history of a seed: a node, its clients, and what goes wrong.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ottla_clock::{Clock, ClockTraits};
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};
use ottla_storage::Fate;

use super::executor::{Process, SeededExecutor};
use super::machine::SimMachine;
use super::network::{SimNetwork, StreamWeather};
use super::wire::{RequestLost, Wire};
use crate::invariant::{Invariant, InvariantCheck, Violation};
use crate::random::Dice;
use crate::trace::Trace;

const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const NETWORK: Process = Process(1000);
const CLIENTS: u32 = 2000;

/// A node and its clients.
pub struct NodesWorld {
    executor: SeededExecutor,
    network: SimNetwork,
    machine: SimMachine,
    /// What has happened.
    pub trace: Trace,
    dice: Dice,
}

impl NodesWorld {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut dice = Dice::new(seed);
        let mut executor = SeededExecutor::new(Dice::new(dice.draw()));
        let weather = StreamWeather::draw(&mut dice);
        let network = SimNetwork::new(executor.time(), Dice::new(dice.draw()), weather);
        let settings = vec![
            "listeners=PLAINTEXT://10.0.0.1:9092".to_owned(),
            "log.dirs=/data".to_owned(),
            "offsets.topic.num.partitions=1".to_owned(),
            "transaction.state.log.num.partitions=1".to_owned(),
        ];
        let machine = SimMachine::new(NODE, settings, dice.draw());
        let carried = network.clone();
        executor.start(NETWORK, async move { carried.carry().await });
        Self { executor, network, machine, trace, dice }
    }

    fn fail(&self, invariant: Invariant, why: String) -> Violation {
        let at_ms = u64::try_from(self.executor.time().now().as_millis()).unwrap_or(u64::MAX);
        Violation { invariant, at_ms, why }
    }

    /// Lives through it.
    ///
    /// # Errors
    /// Something that must hold does not.
    pub fn run(&mut self) -> InvariantCheck {
        self.machine.start(&mut self.executor, &self.network);
        let address = self.machine.address();
        let host = self.network.host(IpAddr::V4(CLIENT));
        let traits = ClockTraits { wall_ms: 0, drift_ppm: 0, seed: self.dice.draw() };
        let clock = Clock::simulated(self.executor.time(), traits);
        let mut wire = Wire::new(host, address, clock.clone(), "walker".to_owned());
        let done = Rc::new(RefCell::new(Vec::new()));
        let walked = Rc::clone(&done);
        self.executor.start(Process(CLIENTS), async move {
            loop {
                match walk(&mut wire).await {
                    Ok(text) => walked.borrow_mut().push(text),
                    Err(lost) => walked.borrow_mut().push(lost.to_string()),
                }
                wire.hang_up();
                clock.sleep(Duration::from_millis(200)).await;
            }
        });
        self.pass(3)?;
        self.network.cut(NODE, IpAddr::V4(CLIENT));
        self.pass(3)?;
        self.network.mend();
        self.network.break_some();
        self.network.power_off(NODE);
        self.machine.kill(&mut self.executor, Fate::Lost);
        self.pass(3)?;
        self.network.power_on(NODE);
        self.machine.start(&mut self.executor, &self.network);
        self.pass(20)?;
        self.network.set_weather(StreamWeather::FAIR);
        self.machine.stop(&mut self.executor);
        self.pass(20)?;
        if !self.machine.is_down() {
            return Err(self.fail(Invariant::NoPanic, "it does not stop".to_owned()));
        }
        self.machine.start(&mut self.executor, &self.network);
        self.pass(20)?;
        if !self.machine.is_up() {
            return Err(self.fail(Invariant::NoPanic, "it does not start".to_owned()));
        }
        let hash = (self.executor.hash(), self.executor.polls(), self.network.counts().pieces);
        self.trace.event(30_000, 0, &(hash, done.take()));
        Ok(())
    }

    fn pass(&mut self, seconds: u64) -> InvariantCheck {
        let until = self.executor.time().now() + Duration::from_secs(seconds);
        let ran = self.executor.run_until(until);
        ran.map_err(|why| self.fail(Invariant::NoPanic, why))?;
        match self.machine.failure() {
            Some(why) => Err(self.fail(Invariant::NoPanic, why)),
            None => Ok(()),
        }
    }
}

async fn walk(wire: &mut Wire) -> Result<String, RequestLost> {
    let topic = CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    let created = wire.ask(&request, 7).await?;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(&NewRecord { timestamp: 1, key: None, value: Some(b"hello"), headers: &[] });
    let batch = builder.build().expect("a batch");
    let data =
        PartitionProduceData { index: 0, records: Some(Bytes::from(batch)), ..Default::default() };
    let topic =
        TopicProduceData { name: "t".to_owned(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let produced = wire.ask(&request, 9).await?;
    let partition = FetchPartition {
        partition: 0,
        fetch_offset: 0,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: "t".to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..Default::default()
    };
    let fetched = wire.ask(&request, 11).await?;
    Ok(format!(
        "{} {} {}",
        created.topics.len(),
        produced.responses[0].partition_responses[0].base_offset,
        fetched.responses[0].partitions[0].high_watermark
    ))
}
