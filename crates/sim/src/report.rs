//! What a run prints.

use std::fmt::Write as _;

use crate::coverage::Coverage;
use crate::invariant::{Invariant, Violation};
use crate::partition::LIFECYCLE;
use crate::quorum::ROWS;
use crate::seed::{CoreWorlds, SimRing};

/// The one line that repeats a failing seed.
#[must_use]
pub fn failure_text(ring: SimRing, seed: u64, violation: &Violation) -> String {
    let option = match ring {
        SimRing::Cores(worlds) => {
            let name = CoreWorlds::ALL.iter().find(|it| it.0 == worlds).map_or("all", |it| it.1);
            if worlds == CoreWorlds::All { String::new() } else { format!(" --world {name}") }
        }
        SimRing::Nodes(count) => format!(" --ring 2 --nodes {}", count.of_seed(seed)),
    };
    format!("seed {seed} breaks {violation}; repeat it: sim/run{option} --seed {seed}")
}

/// The invariants that are checked today.
#[must_use]
pub fn list_invariants() -> String {
    let line = |it: &Invariant| format!("{:<4}{:<28}{}\n", it.code(), format!("{it:?}"), it.text());
    Invariant::ALL.iter().map(line).collect()
}

/// What ring 2 has covered.
#[must_use]
pub fn node_coverage(coverage: &Coverage) -> String {
    let mut text = String::new();
    let nodes = &coverage.nodes;
    let counts = [
        ("seeds", coverage.seeds),
        ("events", coverage.events),
        ("polls of tasks", nodes.polls),
        ("simulated hours", nodes.simulated_ms / 3_600_000),
        ("nodes started", nodes.starts),
        ("nodes that went down with their disk", nodes.failures),
        ("connections", nodes.connections),
        ("connections reset", nodes.resets),
        ("transactions", nodes.transactions),
        ("histories of clusters", nodes.clusters),
        ("epochs of clusters with a leader", nodes.leader_epochs),
        ("batches committed in clusters", nodes.committed_batches),
        ("changes of metadata acknowledged by clusters", nodes.metadata_changes),
    ];
    for (name, count) in counts {
        let _ = writeln!(text, "{count:>14}  {name}");
    }
    text.push_str("\nfaults\n");
    for (kind, count) in &nodes.faults {
        let _ = writeln!(text, "{count:>14}  {}", kind.name());
    }
    text.push_str("\nrequests answered\n");
    for (name, count) in &nodes.requests {
        let _ = writeln!(text, "{count:>14}  {}", name.trim_end_matches("Request"));
    }
    text.push_str("\ninvariants: how often each was checked\n");
    for (invariant, count) in &nodes.checks {
        let _ = writeln!(text, "{count:>14}  {invariant}");
    }
    text
}

/// What ring 1 has covered.
#[must_use]
pub fn coverage_table(coverage: &Coverage) -> String {
    let mut text = String::new();
    let counts = [
        ("seeds", coverage.seeds),
        ("events", coverage.events),
        ("simulated hours", coverage.simulated_ms / 3_600_000),
        ("elections won", coverage.elections),
        ("crashes", coverage.crashes),
        ("records committed", coverage.committed),
        ("changes of the voters", coverage.changes),
        ("changes of the voters refused", coverage.refused_changes),
        ("disks of voters replaced", coverage.wiped),
        ("snapshots written", coverage.snapshots),
        ("snapshots fetched", coverage.fetched_snapshots),
        ("clusters formed without a format step", coverage.founded),
        ("nodes that joined one of them", coverage.joined),
        ("partition leaders", coverage.leaders),
        ("changes of in-sync sets", coverage.in_sync_changes),
        ("changes of in-sync sets refused", coverage.in_sync_refusals),
        ("brokers that stopped in order", coverage.orderly_stops),
        ("brokers fenced by their silence", coverage.sessions_ended),
        ("controllers that became active", coverage.failovers),
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
    text.push_str("\nbrokers: what a heartbeat made of them\n");
    for ((from, to), count) in LIFECYCLE.iter().zip(coverage.lifecycle) {
        let _ = writeln!(text, "{count:>14}  {from} -> {to}");
    }
    text.push_str("\ninvariants: how often each was checked\n");
    for (invariant, count) in Invariant::ALL.iter().zip(coverage.checks) {
        let _ = writeln!(text, "{count:>14}  {invariant}");
    }
    text
}
