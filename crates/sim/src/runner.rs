//! Many seeds on all cores.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_locks::Mutex;

use crate::coverage::Coverage;
use crate::invariant::{Invariant, Violation};
use crate::ledger::Ledger;
use crate::seed::{self, Detail, SeedOutcome, SimRing};

/// How many seeds a thread takes at a time, and the ledger notes at a time.
const fn block_of(ring: SimRing) -> u64 {
    match ring {
        SimRing::Cores(_) => 200,
        SimRing::Nodes(_) => 20,
    }
}

/// After so many failing seeds there is enough to look at.
const FAILURES_MAX: usize = 10;

/// Which seeds run, and how.
#[derive(Clone, Copy, Debug)]
pub struct RunPlan {
    /// What is simulated.
    pub ring: SimRing,
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// When to stop, finished or not.
    pub time_max: Option<Duration>,
    /// How often each seed runs.
    pub runs: Runs,
    /// How many threads run them; as many as there are cores, without it.
    pub threads: Option<usize>,
}

/// How often each seed runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Once.
    Once,
    /// Twice, and both histories must be the same.
    Twice,
}

/// The outcome.
#[derive(Debug, Default)]
pub struct Summary {
    /// What all seeds together covered.
    pub coverage: Coverage,
    /// The seeds that failed, the lowest first.
    pub failures: Vec<(u64, Violation)>,
    /// How many seeds the ledger had already.
    pub known: u64,
}

/// Runs the seeds of a plan; notes in the ledger which blocks of them are clean.
///
/// # Errors
/// The ledger cannot be written.
pub fn run_plan(plan: &RunPlan, ledger: Option<Ledger>, clock: &Clock) -> std::io::Result<Summary> {
    let shared = RunState {
        next: AtomicU64::new(plan.first),
        stop: AtomicBool::new(false),
        ledger: ledger.map(Mutex::new),
        summary: Mutex::new(Summary::default()),
        until: plan.time_max.map(|most| clock.monotonic() + most),
    };
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    let threads = plan.threads.unwrap_or_else(cores);
    let work = || run_blocks(plan, &shared, clock);
    let done: Vec<std::io::Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|it| it.join().unwrap_or(Ok(()))).collect()
    });
    done.into_iter().collect::<std::io::Result<()>>()?;
    let mut summary = shared.summary.into_inner();
    summary.failures.sort_by_key(|(seed, _)| *seed);
    Ok(summary)
}

/// What the threads of a run have in common.
struct RunState {
    /// The first seed of the next block. Each thread takes its block by adding to it.
    next: AtomicU64,
    /// Is there enough? Set once; a thread that sees it late runs some seeds more.
    stop: AtomicBool,
    /// Guards the ledger's file.
    ledger: Option<Mutex<Ledger>>,
    /// Guards the counts.
    summary: Mutex<Summary>,
    until: Option<Duration>,
}

fn run_blocks(plan: &RunPlan, shared: &RunState, clock: &Clock) -> std::io::Result<()> {
    let end = plan.first.saturating_add(plan.seeds);
    let block = block_of(plan.ring);
    loop {
        let first = shared.next.fetch_add(block, Ordering::Relaxed);
        let is_late = shared.until.is_some_and(|until| clock.monotonic() >= until);
        if first >= end || is_late || shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let count = block.min(end - first);
        let lock = || shared.ledger.as_ref().map(|it| it.lock());
        if lock().is_some_and(|ledger| ledger.has(first, count)) {
            shared.summary.lock().known += count;
            continue;
        }
        let is_clean = run_block(first..first + count, plan, shared);
        if let (Some(mut ledger), true) = (lock(), is_clean) {
            ledger.add(first, count)?;
        }
    }
}

fn run_block(seeds: std::ops::Range<u64>, plan: &RunPlan, shared: &RunState) -> bool {
    let mut coverage = Coverage::default();
    let mut failures = Vec::new();
    for seed in seeds {
        let outcome = run_seed(plan.ring, seed, plan.runs);
        coverage += &outcome.coverage;
        if let Some(violation) = outcome.violation {
            failures.push((seed, violation));
        }
        if shared.stop.load(Ordering::Relaxed) || failures.len() >= FAILURES_MAX {
            break;
        }
    }
    let is_clean = failures.is_empty();
    let mut summary = shared.summary.lock();
    summary.coverage += &coverage;
    summary.failures.append(&mut failures);
    let is_enough = summary.failures.len() >= FAILURES_MAX;
    shared.stop.fetch_or(is_enough, Ordering::Relaxed);
    is_clean
}

/// Runs one seed as often as is wanted.
#[must_use]
pub fn run_seed(ring: SimRing, seed: u64, runs: Runs) -> SeedOutcome {
    let mut outcome = seed::run_seed(ring, seed, Detail::Hash);
    outcome.coverage.checked(Invariant::NoPanic);
    if runs == Runs::Twice {
        outcome.coverage.checked(Invariant::SameTrace);
        let again = seed::run_seed(ring, seed, Detail::Hash);
        if again.hash != outcome.hash && outcome.violation.is_none() {
            let why = format!("the histories' hashes are {:x} and {:x}", outcome.hash, again.hash);
            let at_ms = outcome.coverage.simulated_ms;
            outcome.violation = Some(Violation { invariant: Invariant::SameTrace, at_ms, why });
        }
    }
    outcome
}
