//! How a plan and its outcome are printed: for people what becomes of each broker and the first
//! partitions that change, as plain lines all of those, as JSON everything.

use std::fmt::Write as _;
use std::io;

use ottla_types::{NodeId, TopicPartition};
use serde_json::{Value, json};

use super::carry_out::{FailedMove, MoveOutcome};
use super::survey::ClusterSurvey;
use crate::balance::{BalancePlan, BrokerHolding, Imbalance, PartitionShift};
use crate::front::{Front, print_to_stdout};
use crate::output::{Cell, OutputFormat, OutputTable, column, format_bytes, titled};

/// How many partitions people are shown.
const SHIFTS_SHOWN: usize = 20;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanVerb {
    /// To even out brokers.
    Rebalance,
    /// To empty a broker.
    Decommission {
        /// Which one.
        broker: NodeId,
    },
    /// To give topics more replicas.
    Grow {
        /// How many.
        factor: usize,
    },
}

/// A plan to be printed.
#[derive(Clone, Copy, Debug)]
pub struct PlanReport<'a> {
    /// What it is for.
    pub verb: PlanVerb,
    /// What it was made from.
    pub survey: &'a ClusterSurvey,
    /// The plan.
    pub plan: &'a BalancePlan,
    /// Partitions that keep their replicas and get their preferred leader.
    pub also_elected: &'a [TopicPartition],
}

impl PlanReport<'_> {
    /// Prints the plan to people before it is carried out; programs get it with its outcome.
    ///
    /// # Errors
    /// The standard output is closed.
    pub fn show_before(&self, front: &Front<'_>) -> io::Result<()> {
        match front.shared.output {
            OutputFormat::Table if !self.plan.shifts.is_empty() => {
                print_to_stdout(&self.text(front))
            }
            OutputFormat::Table | OutputFormat::Json | OutputFormat::Plain => Ok(()),
        }
    }

    /// Prints the plan, and what became of it if it was carried out.
    ///
    /// # Errors
    /// The standard output is closed.
    pub fn show(&self, front: &Front<'_>, outcome: Option<&MoveOutcome>) -> io::Result<()> {
        match (front.shared.output, outcome) {
            (OutputFormat::Table, None) => {
                print_to_stdout(&format!("{}{}", self.text(front), self.next_step()))
            }
            (OutputFormat::Table, Some(outcome)) => print_to_stdout(&format!(
                "{}{}",
                outcome_text(outcome),
                self.next_step_after(outcome)
            )),
            (OutputFormat::Json | OutputFormat::Plain, outcome) => {
                let mut table = self.partition_table();
                table.in_json(vec![self.json(outcome)]);
                front.print(&table)
            }
        }
    }

    /// The brokers before and after, what changes, and how even that is.
    fn text(&self, front: &Front<'_>) -> String {
        let plan = self.plan;
        let mut text = self.broker_table().show(OutputFormat::Table, front.environment.colours);
        let ids =
            |all: &[NodeId]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        if !plan.shifts.is_empty() {
            text.push('\n');
        }
        for it in plan.shifts.iter().take(SHIFTS_SHOWN) {
            let PartitionShift { place, from, to, bytes_moved } = it;
            let bytes = format_bytes(*bytes_moved);
            let _ = writeln!(text, "{place}: {} -> {} ({bytes})", ids(from), ids(to));
        }
        if plan.shifts.len() > SHIFTS_SHOWN {
            let more = plan.shifts.len() - SHIFTS_SHOWN;
            let _ = writeln!(text, "... and {more} partitions more; -o plain lists all");
        }
        let total: u64 = plan.before.values().map(|it| it.bytes).sum();
        let part = plan.bytes_moved().saturating_mul(100) / total.max(1);
        let (before, after) = (plan.imbalance_before, plan.imbalance_after);
        let _ = writeln!(
            text,
            "\n{} partitions change, {} replicas are copied: {} ({part} % of all)\n\
             most loaded broker by its fair share: bytes {:.2} -> {:.2}, replicas {:.2} -> {:.2}, leaders {:.2} -> {:.2}",
            plan.shifts.len(),
            plan.replicas_moved(),
            format_bytes(plan.bytes_moved()),
            before.bytes,
            after.bytes,
            before.replicas,
            after.replicas,
            before.leaders,
            after.leaders,
        );
        if !self.also_elected.is_empty() {
            let count = self.also_elected.len();
            let _ = writeln!(text, "{count} more partitions get their preferred leader");
        }
        let moving = self.survey.under_way.len();
        if moving > 0 {
            let _ = writeln!(text, "{moving} partitions move already; the plan leaves them alone");
        }
        text
    }

    /// What to do after a plan that was only shown.
    fn next_step(&self) -> String {
        match (self.plan.shifts.is_empty() && self.also_elected.is_empty(), self.verb) {
            (false, _) => "nothing was changed: --execute carries the plan out\n".to_owned(),
            (true, PlanVerb::Rebalance) => {
                "the brokers are even: there is nothing to do\n".to_owned()
            }
            (true, PlanVerb::Decommission { broker }) => self.after_decommission(broker),
            (true, PlanVerb::Grow { factor }) => {
                format!("all of these partitions have {factor} replicas or more\n")
            }
        }
    }

    /// What to do after a plan was carried out.
    fn next_step_after(&self, outcome: &MoveOutcome) -> String {
        match self.verb {
            PlanVerb::Decommission { broker } if outcome.failed.is_empty() => {
                self.after_decommission(broker)
            }
            PlanVerb::Decommission { .. } | PlanVerb::Rebalance | PlanVerb::Grow { .. } => {
                String::new()
            }
        }
    }

    fn after_decommission(&self, broker: NodeId) -> String {
        let found = self.survey.brokers.iter().find(|it| it.id == broker);
        let unregister = format!("`ottla cluster decommission {broker} --unregister`");
        if found.is_some_and(|it| it.is_fenced) {
            return format!(
                "broker {broker} holds no partition and is stopped: {unregister} takes it out of the cluster\n"
            );
        }
        format!(
            "broker {broker} holds no partition: stop its node (`kill` its process, or `systemctl stop` its unit), then {unregister}\n  if the node is a controller, too, first `kafka-metadata-quorum remove-controller`\n"
        )
    }

    fn broker_table(&self) -> OutputTable {
        let head = ["broker", "rack", "size", "replicas", "leads"].map(column);
        let mut table = OutputTable::new(&head);
        for (id, before) in &self.plan.before {
            let after = self.plan.after.get(id).copied().unwrap_or_default();
            let rack = self.survey.brokers.iter().find(|it| it.id == *id);
            table.row(vec![
                (*id).into(),
                rack.and_then(|it| it.rack.clone()).into(),
                change_cell(&format_bytes(before.bytes), &format_bytes(after.bytes)),
                change_cell(&before.replicas.to_string(), &after.replicas.to_string()),
                change_cell(&before.leaders.to_string(), &after.leaders.to_string()),
            ]);
        }
        table
    }

    fn partition_table(&self) -> OutputTable {
        let head = [
            column("topic"),
            column("partition"),
            column("from"),
            column("to"),
            titled("bytes moved", "bytes_moved"),
        ];
        let mut table = OutputTable::new(&head);
        for it in &self.plan.shifts {
            table.row(vec![
                (&*it.place.topic).into(),
                it.place.partition.into(),
                Cell::ids(&it.from),
                Cell::ids(&it.to),
                Cell::bytes(it.bytes_moved),
            ]);
        }
        table
    }

    fn json(&self, outcome: Option<&MoveOutcome>) -> Value {
        let plan = self.plan;
        let holding = |it: BrokerHolding| json!({ "size_bytes": it.bytes, "replicas": it.replicas, "leaders": it.leaders });
        let broker = |(id, before): (&NodeId, &BrokerHolding)| {
            let after = plan.after.get(id).copied().unwrap_or_default();
            json!({ "broker": id, "before": holding(*before), "after": holding(after) })
        };
        let partition = |shift: &PartitionShift| {
            json!({
                "topic": &*shift.place.topic,
                "partition": shift.place.partition,
                "from": shift.from,
                "to": shift.to,
                "bytes_moved": shift.bytes_moved,
            })
        };
        let imbalance = |it: Imbalance| json!({ "bytes": it.bytes, "replicas": it.replicas, "leaders": it.leaders });
        json!({
            "bytes_moved": plan.bytes_moved(),
            "replicas_moved": plan.replicas_moved(),
            "imbalance_before": imbalance(plan.imbalance_before),
            "imbalance_after": imbalance(plan.imbalance_after),
            "brokers": plan.before.iter().map(broker).collect::<Vec<_>>(),
            "partitions": plan.shifts.iter().map(partition).collect::<Vec<_>>(),
            "outcome": outcome.map(outcome_json),
        })
    }
}

fn outcome_json(outcome: &MoveOutcome) -> Value {
    let failed = |all: &[FailedMove]| -> Vec<Value> {
        let one = |FailedMove { place, reason }: &FailedMove| json!({ "topic": &*place.topic, "partition": place.partition, "reason": reason });
        all.iter().map(one).collect()
    };
    json!({
        "changed": outcome.changed,
        "bytes_moved": outcome.bytes_moved,
        "elected": outcome.elected,
        "took_ms": u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
        "failed": failed(&outcome.failed),
        "not_elected": failed(&outcome.not_elected),
    })
}

/// `4 -> 3`, or what stays.
fn change_cell(before: &str, after: &str) -> Cell {
    if before == after { before.into() } else { format!("{before} -> {after}").into() }
}

fn outcome_text(outcome: &MoveOutcome) -> String {
    let MoveOutcome { changed, bytes_moved, elected, failed, not_elected, unthrottled, took } =
        outcome;
    let mut text = String::new();
    let bytes = format_bytes(*bytes_moved);
    let seconds = took.as_secs_f64();
    let _ = writeln!(
        text,
        "{changed} partitions changed, {bytes} copied, {elected} preferred leaders elected in {seconds:.1} s"
    );
    for it in failed {
        let _ = writeln!(text, "not moved: {}: {}", it.place, it.reason);
    }
    for it in not_elected.iter().take(SHIFTS_SHOWN) {
        let _ = writeln!(text, "not led by its preferred leader: {}: {}", it.place, it.reason);
    }
    if !unthrottled.brokers.is_empty() || !unthrottled.topics.is_empty() {
        let ids: Vec<String> = unthrottled.brokers.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "throttles removed: brokers {}; topics {}",
            ids.join(", "),
            unthrottled.topics.join(", ")
        );
    }
    text
}
