//! One seed: a history, from its faults to its recovery.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::coverage::Coverage;
use crate::invariant::{Invariant, InvariantCheck, Violation};
use crate::random::Dice;
use crate::trace::Trace;
use crate::{forming, nodes, partition, quorum};

/// How much is kept of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Its hash.
    Hash,
    /// Each event, as a line of text.
    Text,
}

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimRing {
    /// The cores, in these worlds.
    Cores(CoreWorlds),
    /// Whole nodes: one, or a cluster of several.
    Nodes(NodeCount),
}

/// Which worlds of the cores a seed lives through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreWorlds {
    /// All of them, one after the other.
    All,
    /// The metadata quorum.
    Quorum,
    /// The partition and its controller.
    Partition,
    /// Nodes that form a cluster.
    Forming,
}

impl CoreWorlds {
    /// All values, and their names on a command line.
    pub const ALL: [(Self, &str); 4] = [
        (Self::All, "all"),
        (Self::Quorum, "quorum"),
        (Self::Partition, "partition"),
        (Self::Forming, "forming"),
    ];

    fn has(self, world: Self) -> bool {
        self == Self::All || self == world
    }
}

/// How many nodes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeCount {
    /// As many as the seed decides: mostly one, often three, sometimes five.
    Drawn,
    /// So many.
    Exactly(usize),
}

impl NodeCount {
    /// How many a seed has.
    #[must_use]
    pub fn of_seed(self, seed: u64) -> usize {
        match self {
            Self::Exactly(nodes) => nodes,
            Self::Drawn => match Dice::new(seed ^ 0x6e6f_6465_7320_6e6f).below(8) {
                0..=4 => 1,
                5..=6 => 3,
                _ => 5,
            },
        }
    }
}

/// The outcome of a seed.
#[derive(Debug)]
pub struct SeedOutcome {
    /// The seed.
    pub seed: u64,
    /// What it covered.
    pub coverage: Coverage,
    /// The hash of its history.
    pub hash: u64,
    /// Its history as text, if that was asked for.
    pub lines: Vec<String>,
    /// The invariant that broke.
    pub violation: Option<Violation>,
}

/// Lives through the history of a seed.
#[must_use]
pub fn run_seed(ring: SimRing, seed: u64, detail: Detail) -> SeedOutcome {
    let trace = match detail {
        Detail::Hash => Trace::hashed(),
        Detail::Text => Trace::written(),
    };
    match ring {
        SimRing::Cores(worlds) => run_cores(seed, worlds, trace),
        SimRing::Nodes(count) => {
            // A thread of its own has nothing that an earlier history has left behind, such as
            // buffers that are kept for the next connection.
            let lived = std::thread::Builder::new().name(format!("seed-{seed}"));
            let lived = lived.spawn(move || match count.of_seed(seed) {
                0 | 1 => run_node(seed, trace),
                nodes => run_cluster(seed, nodes, trace),
            });
            lived.expect("a thread").join().expect("panics are caught inside")
        }
    }
}

fn run_cluster(seed: u64, nodes: usize, trace: Trace) -> SeedOutcome {
    let mut world = nodes::ClusterWorld::new(seed, nodes, trace);
    let checked = run_guarded(AssertUnwindSafe(|| world.run()));
    let (trace, nodes) = world.into_parts();
    let coverage = Coverage { seeds: 1, nodes, ..Coverage::default() };
    SeedOutcome::of(seed, coverage, &trace, checked)
}

fn run_node(seed: u64, trace: Trace) -> SeedOutcome {
    let mut world = nodes::NodeWorld::new(seed, trace);
    let checked = run_guarded(AssertUnwindSafe(|| world.run()));
    let (trace, nodes) = world.into_parts();
    let coverage = Coverage { seeds: 1, nodes, ..Coverage::default() };
    SeedOutcome::of(seed, coverage, &trace, checked)
}

fn run_cores(seed: u64, worlds: CoreWorlds, trace: Trace) -> SeedOutcome {
    let (mut coverage, mut trace, mut checked) = (Coverage::default(), trace, Ok(()));
    if worlds.has(CoreWorlds::Quorum) {
        let mut quorum = quorum::QuorumWorld::new(seed, trace);
        checked = run_guarded(AssertUnwindSafe(|| quorum.run()));
        (coverage, trace) = (quorum.coverage, quorum.trace);
    }
    if checked.is_ok() && worlds.has(CoreWorlds::Partition) {
        let mut partition = partition::PartitionWorld::new(seed, trace);
        checked = run_guarded(AssertUnwindSafe(|| partition.run()));
        coverage += &partition.coverage;
        trace = partition.trace;
    }
    if checked.is_ok() && worlds.has(CoreWorlds::Forming) {
        let mut forming = forming::FormingWorld::new(seed, trace);
        checked = run_guarded(AssertUnwindSafe(|| forming.run()));
        coverage += &forming.coverage;
        trace = forming.trace;
    }
    coverage.seeds = 1;
    SeedOutcome::of(seed, coverage, &trace, checked)
}

impl SeedOutcome {
    fn of(seed: u64, mut coverage: Coverage, trace: &Trace, checked: InvariantCheck) -> Self {
        coverage.events = trace.events();
        let (hash, lines) = (trace.hash(), trace.lines().to_vec());
        Self { seed, hash, lines, violation: checked.err(), coverage }
    }
}

/// A core that panics has broken a rule of its own.
fn run_guarded(run: AssertUnwindSafe<impl FnOnce() -> InvariantCheck>) -> InvariantCheck {
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        Err(Violation { invariant: Invariant::NoPanic, at_ms: 0, why: text.to_owned() })
    })
}
