//! The history of a seed with several nodes: things go wrong, then nothing does any more, and all
//! nodes must be of one mind.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use ottla_clock::{Clock, ClockTraits};

use super::audit::Auditor;
use super::clients::MetadataClient;
use super::logs::{LogJudge, QuorumSight};
use super::model::TopicsModel;
use super::plan::{ClusterPlan, LastStart, node_address, node_id};
use crate::invariant::{Invariant, InvariantCheck, Violation};
use crate::nodes::clients::{ClientStage, ClientsShared, SimClient};
use crate::nodes::coverage::NodeCoverage;
use crate::nodes::executor::{Process, SeededExecutor};
use crate::nodes::machine::SimMachine;
use crate::nodes::network::{SimNetwork, StreamWeather};
use crate::nodes::wire::Wire;
use crate::random::Dice;
use crate::trace::Trace;

const NETWORK: Process = Process(1);
const CLIENTS: Process = Process(2);
/// How many processes a node has at most.
const LIVES: u32 = 10_000;

/// How long it may take until all nodes serve when nothing goes wrong, or have stopped.
pub(super) const START_S: u64 = 60;
/// How long it may take until all nodes know one leader when nothing goes wrong.
const AGREE_S: u64 = 30;
/// How long it may take until all clients have ended what they have begun, after the faults.
const SETTLE_S: u64 = 180;
/// How often the nodes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The cluster's id.
const CLUSTER_ID: &str = "cmluZy0yLW9mLW90dGxhLg";

/// Several nodes, their clients, and what goes wrong.
pub struct ClusterWorld {
    pub(super) executor: SeededExecutor,
    pub(super) network: SimNetwork,
    pub(super) machines: Vec<SimMachine>,
    pub(super) shared: Rc<ClientsShared>,
    pub(super) topics: Rc<RefCell<TopicsModel>>,
    pub(super) judge: LogJudge,
    pub(super) plan: ClusterPlan,
    pub(super) dice: Dice,
    pub(super) coverage: NodeCoverage,
    pub(super) clients: u32,
}

impl ClusterWorld {
    /// The world of a seed with so many nodes, before anything has happened.
    pub fn new(seed: u64, nodes: usize, trace: Trace) -> Self {
        // Another history than those of one node.
        let mut dice = Dice::new(seed ^ 0x636c_7573_7465_7273);
        let plan = ClusterPlan::draw(nodes, &mut dice);
        let mut executor = SeededExecutor::new(Dice::new(dice.draw()));
        let weather = StreamWeather::FAIR;
        let network = SimNetwork::new(executor.time(), Dice::new(dice.draw()), weather);
        let carried = network.clone();
        executor.start(NETWORK, async move { carried.carry().await });
        let mut first_process = 0;
        let machines = (0..nodes).map(|node| {
            first_process += LIVES;
            let (address, settings) = (node_address(node), plan.settings_of(node));
            let machine = SimMachine::new(address, settings, Dice::new(dice.draw()));
            machine.numbered_from(first_process)
        });
        let machines = machines.collect();
        let shared = ClientsShared::new(trace, Vec::new());
        let coverage = NodeCoverage { clusters: 1, ..NodeCoverage::default() };
        Self {
            executor,
            network,
            machines,
            shared: Rc::new(shared),
            topics: Rc::default(),
            judge: LogJudge::new(nodes),
            plan,
            dice,
            coverage,
            clients: 0,
        }
    }

    /// What has happened, and what it covered.
    pub fn into_parts(self) -> (Trace, NodeCoverage) {
        let at_ms = self.now_ms();
        let Self { executor, network, machines, shared, topics, judge, mut coverage, .. } = self;
        (coverage.polls, coverage.simulated_ms) = (executor.polls(), at_ms);
        let (hash, counts) = (executor.hash(), network.counts());
        (coverage.connections, coverage.resets) = (counts.connections, counts.resets);
        coverage.leader_epochs = judge.epochs() as u64;
        coverage.committed_batches = judge.committed_batches() as u64;
        coverage.metadata_changes = topics.borrow().acknowledged;
        let mut trace = shared.trace.take();
        trace.event(at_ms, 0, &("end", hash, counts.pieces));
        let model = shared.model.take();
        (coverage.requests, coverage.checks) = (model.requests, model.checks);
        drop((executor, machines));
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
        let checked = self.live();
        if checked.is_err() {
            let at_ms = self.now_ms();
            for (node, machine) in self.machines.iter().enumerate() {
                let say = || format!("at the end: {}", machine.describe());
                self.shared.trace.borrow_mut().note(at_ms, node + 1, say);
            }
        }
        checked
    }

    fn live(&mut self) -> InvariantCheck {
        self.note(&format!("{:?}", self.plan));
        for node in 0..self.machines.len() {
            self.machines[node].format(&self.executor, CLUSTER_ID);
            self.start_node(node);
        }
        self.until_up()?;
        self.until_agreed()?;
        for _ in 0..self.plan.clients {
            self.start_client(|client| Box::pin(client.change_metadata()));
        }
        self.network.set_weather(self.plan.weather);
        self.hurt()?;
        self.heal()?;
        self.until_up()?;
        self.until_agreed()?;
        self.shared.stage.set(ClientStage::Settling);
        self.until_idle("clients end what they have begun")?;
        self.check_all("after the faults")?;
        self.start_all_again()?;
        self.check_all("after a start of all nodes")
    }

    /// Starts a node, on a disk of another speed each time.
    pub(super) fn start_node(&mut self, node: usize) {
        self.coverage.starts += 1;
        let at = self.dice.index(self.plan.disk_us_max.len());
        let machine = &mut self.machines[node];
        machine.disk_latency_max = Duration::from_micros(self.plan.disk_us_max[at]);
        self.network.power_on(node_address(node));
        machine.start(&mut self.executor, &self.network);
    }

    fn start_all_again(&mut self) -> InvariantCheck {
        self.note(&format!("{:?}", self.plan.last_start));
        for node in 0..self.machines.len() {
            match self.plan.last_start {
                LastStart::Crash => self.crash(node),
                LastStart::PowerCut => self.power_cut(node, Some(ottla_storage::Fate::Lost)),
                LastStart::Rolling => {
                    self.machines[node].leave(&mut self.executor);
                    self.until(START_S, Invariant::NodeRecovers, "a node stops", |world| {
                        world.machines[node].is_down()
                    })?;
                    self.start_node(node);
                    self.until_up()?;
                }
            }
        }
        for node in 0..self.machines.len() {
            if self.machines[node].is_down() {
                self.start_node(node);
            }
        }
        self.until_up()?;
        self.until_agreed()
    }

    /// Every node has what was acknowledged, and all have the same.
    fn check_all(&mut self, when: &str) -> InvariantCheck {
        self.note(&format!("audit {when}"));
        for node in 0..self.machines.len() {
            let brokers = (0..self.machines.len()).map(node_id).collect();
            let address = self.machines[node].address();
            self.start_client(move |client| {
                Box::pin(async move { Auditor::new(client, address, brokers).audit().await })
            });
        }
        self.until_idle("every node answers")?;
        let end = self.judge.committed_end();
        self.until(AGREE_S, Invariant::MetadataLogsAgree, "every voter has all", |world| {
            world.machines.iter().all(|it| it.quorum().is_some_and(|it| it.committed >= end))
        })?;
        // From the start once more: what was changed behind the end of a log shows now.
        (0..self.machines.len()).for_each(|node| self.judge.forget(node));
        self.look_at_nodes();
        self.shared.model.borrow_mut().demand(self.now_ms(), Invariant::MetadataLogsAgree, Ok(()));
        self.take_broken()
    }

    /// Starts a client.
    pub(super) fn start_client(
        &mut self,
        run: impl FnOnce(MetadataClient) -> std::pin::Pin<Box<dyn Future<Output = ()>>>,
    ) {
        self.clients += 1;
        let number = self.clients;
        let host = self.network.host(client_address(number));
        let traits = ClockTraits { wall_ms: 1_700_000_000_000, drift_ppm: 0, seed: 0 };
        let clock = Clock::simulated(self.executor.time(), traits);
        let nodes = self.plan.addresses();
        let wire = Wire::new(host, nodes[0], clock.clone(), format!("client-{number}"));
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
        let running = run(MetadataClient::new(client, nodes, Rc::clone(&self.topics)));
        self.executor.start(CLIENTS, async move {
            running.await;
            shared.busy.set(shared.busy.get() - 1);
        });
    }

    /// Lets some time pass, and looks at the nodes meanwhile.
    pub(super) fn pass(&mut self, time: Duration) -> InvariantCheck {
        let end = self.executor.time().now() + time;
        loop {
            let now = self.executor.time().now();
            if now >= end {
                return Ok(());
            }
            let ran = self.executor.run_until(end.min(now + LOOK_EVERY));
            ran.map_err(|why| self.broken(Invariant::NoPanic, why))?;
            self.stop_those_that_left();
            self.look_at_nodes();
            self.take_broken()?;
        }
    }

    fn take_broken(&self) -> InvariantCheck {
        let broken = self.shared.model.borrow_mut().broken.take();
        broken.map_or(Ok(()), Err)
    }

    /// Holds the metadata logs of all nodes against each other.
    fn look_at_nodes(&mut self) {
        let at_ms = self.now_ms();
        for (node, machine) in self.machines.iter().enumerate() {
            let sight = machine.quorum();
            let sight = sight.map(|it| QuorumSight { leads: it.leads, committed: it.committed });
            let verdicts = self.judge.look(node, node_id(node), &machine.disk, sight);
            let mut model = self.shared.model.borrow_mut();
            for (invariant, checked) in verdicts {
                model.demand(at_ms, invariant, checked);
            }
        }
    }

    /// Nodes that have left the cluster stop, and those that have stopped are down.
    fn stop_those_that_left(&mut self) {
        for node in 0..self.machines.len() {
            let machine = &mut self.machines[node];
            if machine.has_left() {
                machine.stop(&mut self.executor);
            } else if machine.has_stopped() {
                machine.kill(&mut self.executor, None);
                self.judge.forget(node);
                self.note(&format!("node {} has stopped", node_id(node)));
            }
        }
    }

    /// Lets time pass until no client is busy any more.
    fn until_idle(&mut self, what: &str) -> InvariantCheck {
        let shared = Rc::clone(&self.shared);
        self.until(SETTLE_S, Invariant::EverythingEnds, what, |_| shared.busy.get() == 0)
    }

    /// Lets time pass until all nodes serve.
    fn until_up(&mut self) -> InvariantCheck {
        self.until(START_S, Invariant::NodeRecovers, "all nodes serve", |world| {
            world.machines.iter().all(SimMachine::is_up)
        })
    }

    /// Lets time pass until all nodes know one leader.
    fn until_agreed(&mut self) -> InvariantCheck {
        let what = "all nodes know one leader";
        self.until(AGREE_S, Invariant::NodesAgree, what, |world| world.leader().is_some())
    }

    /// The node that leads the metadata quorum, if all nodes serve and say the same.
    fn leader(&self) -> Option<usize> {
        let leader = self.some_leader()?;
        let standing = self.machines[leader].quorum()?.standing;
        let is_same =
            |machine: &SimMachine| machine.quorum().is_some_and(|sight| sight.standing == standing);
        self.machines.iter().all(is_same).then_some(leader)
    }

    /// The node that leads the metadata quorum in the latest epoch, as far as nodes say so.
    pub(super) fn some_leader(&self) -> Option<usize> {
        let leads = |(node, machine): (usize, &SimMachine)| Some((machine.quorum()?.leads?, node));
        let latest = self.machines.iter().enumerate().filter_map(leads).max();
        latest.map(|(_, node)| node)
    }

    pub(super) fn until(
        &mut self,
        seconds: u64,
        invariant: Invariant,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> InvariantCheck {
        let end = self.executor.time().now() + Duration::from_secs(seconds);
        while !is_so(self) {
            for (node, machine) in self.machines.iter().enumerate() {
                if let Some(why) = machine.failure() {
                    let why = format!("node {}: {why}", node_id(node));
                    return Err(self.broken(Invariant::NodeRecovers, why));
                }
            }
            if self.executor.time().now() >= end {
                let why = format!("after {seconds} s it is not true that {what}");
                return Err(self.broken(invariant, why));
            }
            self.pass(LOOK_EVERY)?;
        }
        self.shared.model.borrow_mut().demand(self.now_ms(), invariant, Ok(()));
        Ok(())
    }
}

/// Where a client is.
pub fn client_address(number: u32) -> IpAddr {
    let [_, _, high, low] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 1, high, low))
}
