//! kafka-leader-election.

use std::collections::BTreeSet;

use ottla_client::{LeaderElection, TopicPartition};
use ottla_types::ErrorCode;

use crate::exceptions::exception;
use crate::json::{PlanEntry, PlanFile};
use crate::options::{Opt, Parsed, flag, value};
use crate::session::{ToolError, ToolSession, plain_error, tool_failed};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-leader-election",
    about: "Let preferred replicas lead again, or (unclean) one that is out of sync.",
    options: OPTIONS,
    run: run_leader_election,
}];

const OPTIONS: &[Opt] = &[
    value("election-type", "TYPE", "preferred or unclean."),
    value("topic", "NAME", "The topic, with --partition."),
    value("partition", "NUMBER", "The partition, with --topic."),
    flag("all-topic-partitions", "All partitions."),
    value("path-to-json-file", "FILE", "{\"partitions\": [{\"topic\", \"partition\"}]}"),
    value("admin.config", "FILE", "The former name of --command-config."),
];

/// Partitions; `None` is all of them.
type Chosen = Option<BTreeSet<TopicPartition>>;

/// The partitions that the command line names, in one of three ways.
fn chosen_partitions(args: &Parsed) -> Result<Chosen, ToolError> {
    let ways = ["topic", "all-topic-partitions", "path-to-json-file"];
    let Some(way) = args.only(&ways) else {
        let usage =
            format!("One and only one of the following options is required: {}", ways.join(", "));
        return Err(ToolError::Usage(usage));
    };
    let partition: Option<i32> = args.number("partition").map_err(ToolError::Usage)?;
    match (way, partition) {
        ("topic", None) => {
            return Err(ToolError::Usage("Missing required option(s): partition".to_owned()));
        }
        ("all-topic-partitions" | "path-to-json-file", Some(_)) => {
            let usage = "Option partition is only allowed if topic is used".to_owned();
            return Err(ToolError::Usage(usage));
        }
        _ => {}
    }
    if let (Some(topic), Some(partition)) = (args.one("topic"), partition) {
        return Ok(Some([TopicPartition::new(topic, partition)].into()));
    }
    let Some(file) = args.one("path-to-json-file") else { return Ok(None) };
    let plan = PlanFile::read(file)?;
    let places: Vec<_> =
        plan.list("partitions")?.iter().map(PlanEntry::place).collect::<Result<_, _>>()?;
    plan.no_duplicates("Replica election data contains duplicate partitions", &places)?;
    Ok(Some(places.into_iter().collect()))
}

fn run_leader_election(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let kind = match args.one("election-type").map(str::to_ascii_lowercase).as_deref() {
        Some("preferred") => LeaderElection::Preferred,
        Some("unclean") => LeaderElection::Unclean,
        _ => {
            let usage = "--election-type takes preferred or unclean".to_owned();
            return Err(ToolError::Usage(usage));
        }
    };
    let chosen = chosen_partitions(args)?;
    let client = session.connect()?;
    let outcomes =
        session.wait(client.elect_leaders(kind, chosen.as_ref())).map_err(plain_error)?;
    let (mut done, mut needless, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (place, outcome) in outcomes {
        let place = place.to_string();
        match outcome {
            Ok(()) => done.push(place),
            Err(why) if why.code == ErrorCode::ELECTION_NOT_NEEDED => needless.push(place),
            Err(why) => wrong.push((place, exception(why.code, why.reason.as_deref()))),
        }
    }
    let name = if kind == LeaderElection::Preferred { "PREFERRED" } else { "UNCLEAN" };
    let list = done.join(", ");
    if !done.is_empty() {
        writeln!(
            session.out,
            "Successfully completed leader election ({name}) for partitions {list}"
        )?;
    }
    if !needless.is_empty() {
        let list = needless.join(", ");
        writeln!(session.out, "Valid replica already elected for partitions {list}")?;
    }
    for (place, why) in &wrong {
        writeln!(
            session.out,
            "Error completing leader election ({name}) for partition: {place}: {why}"
        )?;
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(tool_failed(format!("{} replica(s) could not be elected", wrong.len())))
}
