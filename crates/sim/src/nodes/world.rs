//! The history of a seed: a node and its clients; first things go wrong, then nothing does any
//! more, and all that was begun must end.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ottla_clock::{Clock, ClockTraits};

use super::clients::transact::TransactionProtocol;
use super::clients::{
    ClientStage, ClientsShared, SimClient, audit, consume, members, offsets, produce, topics,
    transact,
};
use super::coverage::NodeCoverage;
use super::executor::{Process, SeededExecutor};
use super::machine::SimMachine;
use super::network::{SimNetwork, StreamWeather};
use super::plan::NodePlan;
use super::wire::Wire;
use crate::invariant::{Invariant, InvariantCheck, Violation};
use crate::random::Dice;
use crate::trace::Trace;

/// Where the node is.
pub const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const NETWORK: Process = Process(1_000);
const CLIENTS: Process = Process(2_000);
/// How long it may take at most, without faults, until the topics are there.
const SETUP_S: u64 = 60;
/// How long it may take until all clients have ended what they have begun, after the faults.
const SETTLE_S: u64 = 180;

/// How long it takes until the coordinators have ended transactions whose producers are gone.
const TRANSACTIONS_S: u64 = 12;

/// A node, its clients, and what goes wrong.
pub struct NodeWorld {
    pub(super) executor: SeededExecutor,
    pub(super) network: SimNetwork,
    pub(super) machine: SimMachine,
    pub(super) shared: Rc<ClientsShared>,
    pub(super) plan: NodePlan,
    pub(super) dice: Dice,
    pub(super) coverage: NodeCoverage,
    clients: u32,
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

impl NodeWorld {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, trace: Trace) -> Self {
        // Another history than that of ring 1.
        let mut dice = Dice::new(seed ^ 0x7269_6e67_2032);
        let plan = NodePlan::draw(&mut dice);
        let mut executor = SeededExecutor::new(Dice::new(dice.draw()));
        let weather = StreamWeather::FAIR;
        let network = SimNetwork::new(executor.time(), Dice::new(dice.draw()), weather);
        let machine = SimMachine::new(NODE, plan.node_settings.clone(), Dice::new(dice.draw()));
        let carried = network.clone();
        executor.start(NETWORK, async move { carried.carry().await });
        let shared = ClientsShared::new(trace, plan.topics.clone());
        let (shared, coverage) = (Rc::new(shared), NodeCoverage::default());
        Self { executor, network, machine, shared, plan, dice, coverage, clients: 0 }
    }

    /// What has happened, and what it covered.
    pub fn into_parts(self) -> (Trace, NodeCoverage) {
        let Self { executor, network, machine, shared, mut coverage, .. } = self;
        coverage.polls = executor.polls();
        coverage.simulated_ms =
            u64::try_from(executor.time().now().as_millis()).unwrap_or(u64::MAX);
        let hash = executor.hash();
        let counts = network.counts();
        (coverage.connections, coverage.resets) = (counts.connections, counts.resets);
        let mut trace = shared.trace.take();
        trace.event(coverage.simulated_ms, 0, &("end", hash, counts.pieces));
        let model = shared.model.take();
        coverage.requests = model.requests;
        coverage.checks = model.checks;
        coverage.transactions += model.transactions.len() as u64;
        drop((executor, machine));
        (trace, coverage)
    }

    /// The simulated time, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.executor.time().now().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn broken(&self, invariant: Invariant, why: String) -> Violation {
        Violation { invariant, at_ms: self.now_ms(), why }
    }

    pub(super) fn note(&self, what: &str) {
        self.shared.trace.borrow_mut().event(self.now_ms(), 0, &what);
    }

    /// Lives through it.
    ///
    /// # Errors
    /// An invariant is violated.
    pub fn run(&mut self) -> InvariantCheck {
        self.note(&format!("{:?}", self.plan));
        self.start_node();
        let settings = self.plan.topic_settings.clone();
        self.start_client(0, move |mut client| {
            Box::pin(async move { topics::create_all(&mut client, &settings).await })
        });
        self.until_idle(SETUP_S, "topics are created")?;
        self.start_clients();
        self.network.set_weather(self.plan.weather);
        self.hurt()?;
        self.heal()?;
        self.shared.stage.set(ClientStage::Settling);
        self.until_idle(SETTLE_S, "clients end what they have begun")?;
        // Whose producers are gone, coordinators end by themselves.
        self.pass(Duration::from_secs(TRANSACTIONS_S))?;
        self.check_all("after the faults")?;
        self.restart_cleanly()?;
        self.check_all("after a clean restart")
    }

    /// Starts the node, on a disk of another speed each time.
    pub(super) fn start_node(&mut self) {
        self.coverage.starts += 1;
        let at = self.dice.index(self.plan.disk_us_max.len());
        self.machine.disk_latency_max = Duration::from_micros(self.plan.disk_us_max[at]);
        self.machine.start(&mut self.executor, &self.network);
    }

    fn check_all(&mut self, when: &str) -> InvariantCheck {
        self.note(&format!("audit {when}"));
        self.start_client(0, |mut client| Box::pin(async move { audit::audit(&mut client).await }));
        self.until_idle(SETTLE_S, "all logs can be read")
    }

    fn restart_cleanly(&mut self) -> InvariantCheck {
        self.note("clean restart");
        self.stop_node()?;
        self.start_node();
        self.until_up()
    }

    fn start_clients(&mut self) {
        let counts = self.plan.clients;
        for _ in 0..counts.plain {
            self.start_client(1, |mut client| {
                Box::pin(async move { produce::produce_plainly(&mut client).await })
            });
        }
        for _ in 0..counts.idempotent {
            self.start_client(0, |mut client| {
                Box::pin(async move { produce::produce_idempotently(&mut client).await })
            });
        }
        for _ in 0..counts.consumers {
            self.start_client(1, |mut client| {
                Box::pin(async move { consume::follow_partitions(&mut client).await })
            });
        }
        for _ in 0..counts.classic_members {
            self.start_client(1, |mut client| {
                Box::pin(async move { members::run_classic(&mut client).await })
            });
        }
        for _ in 0..counts.consumer_members {
            self.start_client(1, |mut client| {
                Box::pin(async move { members::run_consumer(&mut client).await })
            });
        }
        for _ in 0..counts.committers {
            self.start_client(1, |mut client| {
                Box::pin(async move { offsets::commit_alone(&mut client).await })
            });
        }
        let protocols = [
            (TransactionProtocol::Announced, counts.announced),
            (TransactionProtocol::Implied, counts.implied),
        ];
        for (protocol, count) in protocols {
            for _ in 0..count {
                self.start_client(0, move |mut client| {
                    Box::pin(async move { transact::run_transactions(&mut client, protocol).await })
                });
            }
        }
        for _ in 0..counts.admins {
            let settings = self.plan.topic_settings.clone();
            self.start_client(1, move |mut client| {
                Box::pin(async move { topics::come_and_go(&mut client, &settings).await })
            });
        }
    }

    /// Starts a client whose number is odd or even, as it is wished.
    fn start_client(&mut self, parity: u32, run: impl FnOnce(SimClient) -> Running + 'static) {
        self.clients += 2;
        let number = self.clients + parity;
        let host = self.network.host(client_address(number));
        let traits = ClockTraits { wall_ms: 1_700_000_000_000, drift_ppm: 0, seed: 0 };
        let clock = Clock::simulated(self.executor.time(), traits);
        let name = format!("client-{number}");
        let wire = Wire::new(host, self.machine.address(), clock.clone(), name);
        let (shared, dice) = (Rc::clone(&self.shared), Dice::new(self.dice.draw()));
        shared.busy.set(shared.busy.get() + 1);
        let client = SimClient {
            number,
            shared: Rc::clone(&shared),
            wire,
            clock,
            began: self.executor.time().now(),
            dice,
            is_thorough: false,
        };
        let running = run(client);
        self.executor.start(CLIENTS, async move {
            running.await;
            shared.busy.set(shared.busy.get() - 1);
        });
    }

    /// The addresses of the clients that there are.
    pub(super) fn some_client(&mut self) -> IpAddr {
        client_address(
            u32::try_from(self.dice.between(2, u64::from(self.clients) + 1)).unwrap_or(2),
        )
    }

    /// Lets some time pass.
    pub(super) fn pass(&mut self, time: Duration) -> InvariantCheck {
        let until = self.executor.time().now() + time;
        let ran = self.executor.run_until(until);
        ran.map_err(|why| self.broken(Invariant::NoPanic, why))?;
        let broken = self.shared.model.borrow_mut().broken.take();
        match broken {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }

    /// Lets time pass until no client is busy any more.
    fn until_idle(&mut self, seconds: u64, what: &str) -> InvariantCheck {
        let shared = Rc::clone(&self.shared);
        self.until(seconds, Invariant::EverythingEnds, what, |_| shared.busy.get() == 0)
    }

    /// Lets time pass until the node serves.
    pub(super) fn until_up(&mut self) -> InvariantCheck {
        self.until(SETUP_S, Invariant::NodeRecovers, "the node serves", |world| {
            world.machine.is_up()
        })
    }

    /// Stops the node cleanly; all that was seen is durable then.
    pub(super) fn stop_node(&mut self) -> InvariantCheck {
        self.machine.stop(&mut self.executor);
        self.until(SETUP_S, Invariant::NodeRecovers, "the node stops", |world| {
            world.machine.has_stopped()
        })?;
        self.machine.kill(&mut self.executor, None);
        self.shared.model.borrow_mut().stopped_cleanly();
        Ok(())
    }

    fn until(
        &mut self,
        seconds: u64,
        invariant: Invariant,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> InvariantCheck {
        let end = self.executor.time().now() + Duration::from_secs(seconds);
        while !is_so(self) {
            if let Some(why) = self.machine.failure() {
                return Err(self.broken(Invariant::NodeRecovers, why));
            }
            if self.executor.time().now() >= end {
                let why = format!("after {seconds} s it is not true that {what}");
                return Err(self.broken(invariant, why));
            }
            self.pass(Duration::from_millis(50))?;
        }
        self.shared.model.borrow_mut().demand(self.now_ms(), invariant, Ok(()));
        Ok(())
    }
}

fn client_address(number: u32) -> IpAddr {
    let [_, _, high, low] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 1, high, low))
}
