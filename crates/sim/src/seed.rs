//! One seed: a history, from its faults to its recovery.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::coverage::Coverage;
use crate::invariant::{Checked, Invariant, Violation};
use crate::quorum;
use crate::trace::Trace;

/// How much is kept of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Its hash.
    Hash,
    /// Each event, as a line of text.
    Text,
}

/// What came of a seed.
#[derive(Debug)]
pub struct Outcome {
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
pub fn run(seed: u64, detail: Detail) -> Outcome {
    let trace = match detail {
        Detail::Hash => Trace::hashed(),
        Detail::Text => Trace::written(),
    };
    let mut world = quorum::World::new(seed, trace);
    let checked = guarded(AssertUnwindSafe(|| world.run()));
    let mut coverage = world.coverage;
    coverage.seeds = 1;
    Outcome {
        seed,
        hash: world.trace.hash(),
        lines: world.trace.lines().to_vec(),
        violation: checked.err(),
        coverage,
    }
}

/// A core that panics has broken a rule of its own.
fn guarded(run: AssertUnwindSafe<impl FnOnce() -> Checked>) -> Checked {
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        Err(Violation { invariant: Invariant::NoPanic, at_ms: 0, why: text.to_owned() })
    })
}
