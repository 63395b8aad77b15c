//! `ottla cluster rebalance`, `decommission` and `grow`: moves of replicas, planned and shown
//! first, then carried out.

mod carry_out;
mod plan_file;
mod show_plan;
mod survey;
mod throttles;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use ottla_client::{Client, TopicDescription};
use ottla_types::{NodeId, TopicPartition};

use self::carry_out::{MoveLimits, MoveOutcome, carry_out};
use self::show_plan::{PlanReport, PlanVerb};
use self::survey::ClusterSurvey;
use crate::balance::{PlanScope, plan_balance, plan_wanted};
use crate::doctor::FACTOR_USUAL;
use crate::front::{Front, print_to_stderr};
use crate::size::some_size;

/// How a plan is carried out.
#[derive(Args, Clone, Copy, Debug)]
pub struct MoveArgs {
    /// Print the plan and change nothing: the default.
    #[arg(long, conflicts_with = "execute")]
    plan: bool,
    /// Carry the plan out: move the replicas, wait for them, elect the preferred leaders. Ctrl-C
    /// leaves moves that were begun to the cluster; the same command goes on from there.
    #[arg(long)]
    execute: bool,
    /// How many bytes per second each broker may copy for the moves: 50MB. The limit is removed
    /// when they have ended.
    #[arg(long, value_name = "BYTES", value_parser = some_size, requires = "execute")]
    throttle: Option<u64>,
    /// How many partitions move at a time.
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = some_count)]
    at_once: usize,
}

/// Move replicas and leaders so that brokers are evenly loaded.
#[derive(Args, Debug)]
pub struct RebalanceArgs {
    #[command(flatten)]
    moves: MoveArgs,
    /// Move partitions of these topics only.
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',')]
    topics: Vec<String>,
    /// Brokers that keep what they have and are given nothing.
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    exclude_broker: Vec<NodeId>,
    /// A plan as a file, in the form of kafka-reassign-partitions: read if it exists, else written.
    #[arg(long, value_name = "FILE")]
    plan_file: Option<PathBuf>,
}

/// Move all replicas off a broker, so that it can be stopped for good.
#[derive(Args, Debug)]
pub struct DecommissionArgs {
    /// The id of the broker.
    broker: NodeId,
    #[command(flatten)]
    moves: MoveArgs,
    /// Take the broker out of the cluster; it must hold nothing and be stopped.
    #[arg(long)]
    unregister: bool,
}

/// Give internal topics, and others of your choice, more replicas.
#[derive(Args, Debug)]
pub struct GrowArgs {
    #[command(flatten)]
    moves: MoveArgs,
    /// Topics beside the internal ones.
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',')]
    topics: Vec<String>,
    /// How many replicas each partition is to have (default: 3, or as many as there are brokers);
    /// partitions that have more keep them.
    #[arg(long, short, value_name = "COUNT", value_parser = some_count)]
    replication_factor: Option<usize>,
}

fn some_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it must be a number of 1 or more".to_owned()),
        Ok(count) => Ok(count),
    }
}

pub(crate) async fn run_rebalance(
    args: RebalanceArgs,
    front: &Front<'_>,
    client: &Client,
) -> Result<(), Box<dyn Error>> {
    let survey = ClusterSurvey::read(client).await?;
    survey.check_topics(client, &args.topics).await?;
    survey.check_brokers(&args.exclude_broker)?;
    let kept: BTreeSet<NodeId> = args.exclude_broker.into_iter().collect();
    let brokers = survey.balance_brokers(&kept, &BTreeSet::new());
    let is_chosen =
        |topic: &TopicDescription| args.topics.is_empty() || args.topics.contains(&topic.name);
    let partitions = survey.balance_partitions(is_chosen, |count| count);
    let given = args.plan_file.as_deref().filter(|path| path.exists());
    let plan = match given {
        Some(path) => {
            let wanted = plan_file::read_plan(path, &survey)?;
            plan_wanted(&brokers, &partitions, &wanted)
        }
        None => {
            let leaderless = survey.leaderless();
            if !leaderless.is_empty() {
                let count = leaderless.len();
                print_to_stderr(format!(
                    "{count} partitions have no leader and cannot be moved, the first is {}",
                    leaderless[0]
                ));
            }
            let plan = plan_balance(&brokers, &partitions, PlanScope::All);
            plan.map_err(|why| why.to_string())?
        }
    };
    let is_new = given.is_none() && !plan.shifts.is_empty();
    if let Some(path) = args.plan_file.as_deref().filter(|_| is_new) {
        plan_file::write_plan(path, &plan)?;
        print_to_stderr(format!("the plan was written to {}", path.display()));
    }
    let mut also_elected = survey.led_by_others(is_chosen);
    let changed: BTreeSet<&TopicPartition> = plan.shifts.iter().map(|it| &it.place).collect();
    also_elected.retain(|place| !changed.contains(place));
    let verb = PlanVerb::Rebalance;
    let report = PlanReport { verb, survey: &survey, plan: &plan, also_elected: &also_elected };
    finish_plan(args.moves, front, client, report).await.map(drop)
}

pub(crate) async fn run_decommission(
    args: DecommissionArgs,
    front: &Front<'_>,
    client: &Client,
) -> Result<(), Box<dyn Error>> {
    let mut survey = ClusterSurvey::read(client).await?;
    let id = args.broker;
    let is_registered = survey.check_brokers(&[id]);
    if survey.held_by(id).is_empty() {
        // After its unregistration a broker may be left in assignments only.
        is_registered?;
    }
    let leaving = BTreeSet::from([id]);
    let brokers = survey.balance_brokers(&BTreeSet::new(), &leaving);
    let partitions = survey.balance_partitions(|_| true, |count| count);
    let plan = plan_balance(&brokers, &partitions, PlanScope::Needed);
    let plan = plan.map_err(|why| format!("broker {id} cannot be decommissioned: {why}"))?;
    let verb = PlanVerb::Decommission { broker: id };
    let report = PlanReport { verb, survey: &survey, plan: &plan, also_elected: &[] };
    let outcome = finish_plan(args.moves, front, client, report).await?;
    if outcome.is_some() {
        survey = ClusterSurvey::read(client).await?;
    }
    let held = survey.held_by(id);
    if outcome.is_some() && !held.is_empty() {
        let why = format!("broker {id} still holds {} partitions, such as {}", held.len(), held[0]);
        return Err(format!("{why}: run the same command again").into());
    }
    if !args.unregister || !held.is_empty() {
        return Ok(());
    }
    let runs = survey.brokers.iter().any(|it| it.id == id && !it.is_fenced);
    if runs {
        return Err(format!(
            "broker {id} still runs: stop it, then run the same command with --unregister again"
        )
        .into());
    }
    client.unregister_broker(id).await?;
    print_to_stderr(format!("broker {id} is no longer registered"));
    Ok(())
}

pub(crate) async fn run_grow(
    args: GrowArgs,
    front: &Front<'_>,
    client: &Client,
) -> Result<(), Box<dyn Error>> {
    let survey = ClusterSurvey::read(client).await?;
    survey.check_topics(client, &args.topics).await?;
    let live = survey.live_brokers();
    let factor = args.replication_factor.unwrap_or_else(|| live.min(FACTOR_USUAL));
    if factor > live {
        return Err(format!("{factor} replicas need as many brokers, and {live} are there").into());
    }
    let brokers = survey.balance_brokers(&BTreeSet::new(), &BTreeSet::new());
    let is_chosen = |topic: &TopicDescription| {
        topic.is_internal || topic.name.starts_with("__") || args.topics.contains(&topic.name)
    };
    let partitions = survey.balance_partitions(is_chosen, |count| count.max(factor));
    let plan = plan_balance(&brokers, &partitions, PlanScope::Needed);
    let plan = plan.map_err(|why| why.to_string())?;
    let verb = PlanVerb::Grow { factor };
    let report = PlanReport { verb, survey: &survey, plan: &plan, also_elected: &[] };
    finish_plan(args.moves, front, client, report).await.map(drop)
}

/// Prints the plan, and carries it out if that is wanted; what became of it.
async fn finish_plan(
    moves: MoveArgs,
    front: &Front<'_>,
    client: &Client,
    report: PlanReport<'_>,
) -> Result<Option<MoveOutcome>, Box<dyn Error>> {
    if moves.plan || !moves.execute {
        report.show(front, None)?;
        return Ok(None);
    }
    report.show_before(front)?;
    let limits = MoveLimits { at_once: moves.at_once, throttle: moves.throttle };
    let PlanReport { survey, plan, also_elected, .. } = report;
    let outcome = carry_out(client, survey, &plan.shifts, also_elected, limits).await?;
    report.show(front, Some(&outcome))?;
    match outcome.failed.first() {
        None => Ok(Some(outcome)),
        Some(first) => {
            let (count, place) = (outcome.failed.len(), &first.place);
            let why = &first.reason;
            Err(format!("{count} partitions were not moved, the first is {place}: {why}").into())
        }
    }
}
