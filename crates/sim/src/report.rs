//! What a run prints.

use std::fmt::Write as _;

use crate::coverage::Coverage;
use crate::invariant::{Invariant, Violation};
use crate::quorum::ROWS;

/// The one line that repeats a failing seed.
#[must_use]
pub fn failure(seed: u64, violation: &Violation) -> String {
    format!("seed {seed} breaks {violation}; repeat it: sim/run --seed {seed}")
}

/// The invariants that are checked today.
#[must_use]
pub fn invariants() -> String {
    let line = |it: &Invariant| format!("{:<4}{:<28}{}\n", it.code(), format!("{it:?}"), it.text());
    Invariant::ALL.iter().map(line).collect()
}

/// What was covered.
#[must_use]
pub fn coverage(coverage: &Coverage) -> String {
    let mut text = String::new();
    let counts = [
        ("seeds", coverage.seeds),
        ("events", coverage.events),
        ("simulated hours", coverage.simulated_ms / 3_600_000),
        ("elections won", coverage.elections),
        ("crashes", coverage.crashes),
        ("records committed", coverage.committed),
        ("partition leaders", coverage.leaders),
        ("changes of in-sync sets", coverage.in_sync_changes),
        ("acks=all acknowledged", coverage.acknowledged),
        ("metadata records", coverage.metadata_records),
        ("records lost in crashes", coverage.lost_records),
        ("records cut off", coverage.cut_records),
        ("messages sent", coverage.sent),
        ("messages lost", coverage.lost),
        ("messages doubled", coverage.doubled),
    ];
    for (name, count) in counts {
        let _ = writeln!(text, "{count:>14}  {name}");
    }
    text.push_str("\nraft: moves between roles\n");
    for (row, count) in ROWS.iter().zip(coverage.rows) {
        let _ = writeln!(text, "{count:>14}  {row}");
    }
    text.push_str("\ninvariants: how often each was checked\n");
    for (invariant, count) in Invariant::ALL.iter().zip(coverage.checks) {
        let _ = writeln!(text, "{count:>14}  {invariant}");
    }
    text
}
