//! What a seed decides before anything happens to a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::nodes::machine::PORT;
use crate::nodes::network::StreamWeather;
use crate::nodes::plan::FaultKind;
use crate::random::Dice;

/// Where the controllers listen.
pub const CONTROLLER_PORT: u16 = 9093;

/// What becomes of all nodes at once when everything is over, before all is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastStart {
    /// They are stopped in order, one after the other, and started again.
    Rolling,
    /// They are killed.
    Crash,
    /// Their power goes, and with it all that is not durable.
    PowerCut,
}

/// The plan of a history.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// How many nodes there are.
    pub nodes: usize,
    /// The settings of all nodes.
    pub settings: Vec<String>,
    /// How the network is while there are faults.
    pub weather: StreamWeather,
    /// Which faults there are.
    pub faults: Vec<FaultKind>,
    /// How many faults there are.
    pub fault_count: u64,
    /// How long it takes at most from one to the next, in milliseconds.
    pub pause_ms_max: u64,
    /// How long disks take at most, in microseconds; each life of a node has one of these.
    pub disk_us_max: Vec<u64>,
    /// How many clients change the metadata.
    pub clients: u64,
    /// How it ends.
    pub last_start: LastStart,
}

impl ClusterPlan {
    /// The plan of a seed.
    pub fn draw(nodes: usize, dice: &mut Dice) -> Self {
        let mut faults = FaultKind::OF_CLUSTERS.to_vec();
        // Each seed has some of the kinds, so that they meet in many mixtures.
        while faults.len() > 1 && dice.chance(750) {
            faults.remove(dice.index(faults.len()));
        }
        let latencies = [100, 2_000, 20_000, 200_000];
        let ends = [LastStart::Rolling, LastStart::Crash, LastStart::PowerCut];
        // Every other seed has a network without surprises, so that elections end between faults.
        let is_fair = dice.chance(500);
        let weather = StreamWeather::draw(dice);
        Self {
            nodes,
            settings: common_settings(nodes, dice),
            weather: if is_fair { StreamWeather::FAIR } else { weather },
            faults,
            fault_count: dice.between(2, 10),
            pause_ms_max: dice.between(300, 5_000),
            disk_us_max: (0..4).map(|_| latencies[dice.index(latencies.len())]).collect(),
            clients: dice.between(1, 3),
            last_start: ends[dice.index(ends.len())],
        }
    }

    /// The settings of one of the nodes.
    pub fn settings_of(&self, node: usize) -> Vec<String> {
        let (id, host) = (node_id(node), node_address(node));
        let mut all = self.settings.clone();
        all.push(format!("node.id={id}"));
        all.push(format!(
            "listeners=PLAINTEXT://{host}:{PORT},CONTROLLER://{host}:{CONTROLLER_PORT}"
        ));
        all
    }

    /// Where clients find the nodes.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.nodes).map(|node| SocketAddr::new(node_address(node), PORT)).collect()
    }
}

/// A node's id: they count from 1.
pub fn node_id(node: usize) -> i32 {
    i32::try_from(node).unwrap_or(i32::MAX - 1) + 1
}

/// Where a node is.
pub fn node_address(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(node).unwrap_or(u8::MAX - 1) + 1))
}

fn common_settings(nodes: usize, dice: &mut Dice) -> Vec<String> {
    let voter = |node| format!("{}@{}:{CONTROLLER_PORT}", node_id(node), node_address(node));
    let voters: Vec<String> = (0..nodes).map(voter).collect();
    let mut pick = |values: &[u64]| values[dice.index(values.len())];
    vec![
        "process.roles=broker,controller".to_owned(),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("controller.quorum.voters={}", voters.join(",")),
        "ottla.inter.node.listeners=open".to_owned(),
        "log.dirs=/data".to_owned(),
        "offsets.topic.replication.factor=1".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        // A node that finds no majority waits for as long as the faults last.
        "initial.broker.registration.timeout.ms=900000".to_owned(),
        format!("controller.quorum.election.timeout.ms={}", pick(&[300, 1_000])),
        format!("controller.quorum.fetch.timeout.ms={}", pick(&[600, 2_000])),
        format!("broker.session.timeout.ms={}", pick(&[3_000, 9_000])),
        format!("broker.heartbeat.interval.ms={}", pick(&[500, 2_000])),
        format!("log.segment.delete.delay.ms={}", pick(&[1, 60_000])),
    ]
}
