//! What a seed decides before anything happens: settings of the node, topics, clients, and which
//! faults there are.

use super::clients::TopicPlan;
use super::network::StreamWeather;
use crate::random::Dice;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The node's process is killed.
    Crash,
    /// It is killed in the middle of what it writes.
    CrashInWrite,
    /// The power goes.
    PowerCut,
    /// It goes in the middle of what the node writes.
    PowerCutInWrite,
    /// The node is stopped, and started again.
    Restart,
    /// A link is cut one way.
    CutOneWay,
    /// All links of a client are cut.
    CutOff,
    /// Connections break.
    Break,
    /// The node's wall clock is set.
    Jump,
    /// Writes, or syncs, or reads of the disk fail.
    DiskFails,
    /// The disk is full for a while.
    DiskFull,
    /// The power of several nodes of a cluster goes at once.
    PowerCuts,
    /// Several nodes of a cluster are killed at once.
    Crashes,
    /// The link between two nodes of a cluster is cut, one way or both ways.
    CutPeers,
    /// A node of a cluster is cut off from the others, one way or both ways.
    CutOffNode,
    /// The node that leads the metadata quorum is cut off from the others.
    CutOffLeader,
    /// The node that leads the metadata quorum is killed.
    CrashLeader,
}

impl FaultKind {
    /// All of them, each as often as it is to happen.
    pub const ALL: [Self; 11] = [
        Self::Crash,
        Self::CrashInWrite,
        Self::PowerCut,
        Self::PowerCutInWrite,
        Self::Restart,
        Self::CutOneWay,
        Self::CutOff,
        Self::Break,
        Self::Jump,
        Self::DiskFails,
        Self::DiskFull,
    ];

    /// Those of a cluster, each as often as it is to happen.
    pub const OF_CLUSTERS: [Self; 15] = [
        Self::Crash,
        Self::CrashInWrite,
        Self::PowerCut,
        Self::PowerCutInWrite,
        Self::PowerCuts,
        Self::Crashes,
        Self::CrashLeader,
        Self::Restart,
        Self::CutPeers,
        Self::CutOffNode,
        Self::CutOffLeader,
        Self::Break,
        Self::Jump,
        Self::DiskFails,
        Self::DiskFull,
    ];

    /// What it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crashes",
            Self::CrashInWrite => "crashes while writing",
            Self::PowerCut => "power cuts",
            Self::PowerCutInWrite => "power cuts while writing",
            Self::Restart => "clean restarts",
            Self::CutOneWay => "links cut one way",
            Self::CutOff => "clients cut off",
            Self::Break => "connections broken",
            Self::Jump => "clock jumps",
            Self::DiskFails => "failing disks",
            Self::DiskFull => "full disks",
            Self::PowerCuts => "power cuts of several nodes",
            Self::Crashes => "crashes of several nodes",
            Self::CutPeers => "links between nodes cut",
            Self::CutOffNode => "nodes cut off from the others",
            Self::CutOffLeader => "leaders of the quorum cut off",
            Self::CrashLeader => "crashes of the quorum's leader",
        }
    }
}

/// The plan of a history.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Is every record durable before it is acknowledged (`log.flush.interval.messages=1`)? If so,
    /// a power cut takes nothing that was promised.
    pub is_durable: bool,
    /// The settings of the node.
    pub node_settings: Vec<String>,
    /// The settings of its topics.
    pub topic_settings: Vec<(String, String)>,
    /// The topics.
    pub topics: Vec<TopicPlan>,
    /// How the network is while there are faults.
    pub weather: StreamWeather,
    /// Which faults there are.
    pub faults: Vec<FaultKind>,
    /// How many faults there are.
    pub fault_count: u64,
    /// How long it takes at most from one to the next, in milliseconds.
    pub pause_ms_max: u64,
    /// How long the disk takes at most, in microseconds, from one life of the node to the next.
    pub disk_us_max: Vec<u64>,
    /// How many clients of each kind there are.
    pub clients: ClientCounts,
}

/// How many clients of each kind there are.
#[derive(Clone, Copy, Debug)]
pub struct ClientCounts {
    /// Producers that send once.
    pub plain: u64,
    /// Idempotent producers.
    pub idempotent: u64,
    /// Consumers.
    pub consumers: u64,
    /// Clients that create and delete topics.
    pub admins: u64,
    /// Clients that commit offsets for a group without members.
    pub committers: u64,
    /// Members of the group of the classic protocol.
    pub classic_members: u64,
    /// Members of the group of KIP-848.
    pub consumer_members: u64,
    /// Transactional producers that announce partitions.
    pub announced: u64,
    /// Transactional producers of KIP-890.
    pub implied: u64,
}

impl NodePlan {
    /// The plan of a seed.
    pub fn draw(dice: &mut Dice) -> Self {
        let is_durable = dice.chance(500);
        let topics = (0..dice.between(1, 2)).map(|number| TopicPlan {
            name: format!("topic-{number}"),
            partitions: i32::try_from(dice.between(1, 2)).unwrap_or(1),
        });
        let topics = topics.collect();
        let mut faults = FaultKind::ALL.to_vec();
        // Each seed has some of the kinds, so that they meet in many mixtures.
        while faults.len() > 1 && dice.chance(750) {
            faults.remove(dice.index(faults.len()));
        }
        let latencies = [100, 2_000, 20_000, 400_000];
        Self {
            is_durable,
            node_settings: node_settings(dice, is_durable),
            topic_settings: topic_settings(dice),
            topics,
            weather: StreamWeather::draw(dice),
            faults,
            fault_count: dice.between(1, 8),
            pause_ms_max: dice.between(300, 4_000),
            disk_us_max: (0..4).map(|_| latencies[dice.index(latencies.len())]).collect(),
            clients: ClientCounts {
                plain: dice.between(0, 2),
                idempotent: dice.between(0, 2),
                consumers: dice.between(1, 2),
                admins: dice.between(0, 1),
                committers: dice.between(0, 1),
                classic_members: if dice.chance(300) { dice.between(1, 3) } else { 0 },
                consumer_members: if dice.chance(300) { dice.between(1, 3) } else { 0 },
                announced: dice.between(0, 1),
                implied: dice.between(0, 2),
            },
        }
    }
}

fn node_settings(dice: &mut Dice, is_durable: bool) -> Vec<String> {
    let mut pick = |values: &[u64]| values[dice.index(values.len())];
    let mut all = vec![
        "listeners=PLAINTEXT://10.0.0.1:9092".to_owned(),
        "log.dirs=/data".to_owned(),
        "offsets.topic.replication.factor=1".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        // Clocks jump, and clients keep theirs.
        "log.message.timestamp.after.max.ms=9223372036854775807".to_owned(),
        format!("offsets.topic.num.partitions={}", pick(&[1, 2])),
        format!("transaction.state.log.num.partitions={}", pick(&[1, 2])),
        format!("max.incremental.fetch.session.cache.slots={}", pick(&[0, 2, 100])),
        format!("group.initial.rebalance.delay.ms={}", pick(&[0, 500])),
        "group.consumer.min.session.timeout.ms=6000".to_owned(),
        "group.consumer.session.timeout.ms=6000".to_owned(),
        "group.consumer.min.heartbeat.interval.ms=500".to_owned(),
        "group.consumer.heartbeat.interval.ms=500".to_owned(),
        format!("log.roll.ms={}", pick(&[500, 3_000, 604_800_000])),
        format!("log.cleaner.backoff.ms={}", pick(&[500, 15_000])),
        format!(
            "log.cleaner.min.cleanable.ratio={}",
            if pick(&[0, 1]) == 0 { "0.01" } else { "0.5" }
        ),
        format!("log.cleaner.dedupe.buffer.size={}", 2 << 20),
        format!("log.segment.delete.delay.ms={}", pick(&[1, 60_000])),
        format!("log.retention.check.interval.ms={}", pick(&[500, 300_000])),
    ];
    if is_durable {
        all.push("log.flush.interval.messages=1".to_owned());
    }
    all
}

fn topic_settings(dice: &mut Dice) -> Vec<(String, String)> {
    let setting = |name: &str, value: u64| (name.to_owned(), value.to_string());
    let mut all = Vec::new();
    if dice.chance(700) {
        // Every batch of these clients fits.
        all.push(setting("internal.segment.bytes", dice.between(500, 20_000).max(1_000)));
    }
    if dice.chance(500) {
        all.push(setting("index.interval.bytes", dice.between(0, 500)));
    }
    all
}
