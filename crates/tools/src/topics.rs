//! kafka-topics.

use ottla_client::{
    ChangeMode, Client, ConfigKind, MorePartitions, NewTopic, PartitionDescription,
    TopicDescription,
};
use ottla_types::ErrorCode;

use crate::options::{Opt, Parsed, flag, value, values};
use crate::session::{
    ToolError, ToolSession, parse_pairs, plain_error, plain_refusal, tool_failed, topic_pattern,
};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-topics",
    about: "Create, delete, describe, list or change topics.",
    options: OPTIONS,
    run: run_topics,
}];

const OPTIONS: &[Opt] = &[
    flag("list", "List topics."),
    flag("create", "Create a topic."),
    flag("delete", "Delete topics."),
    flag("alter", "Change the number of partitions of topics."),
    flag("describe", "Show topics and their partitions."),
    value("topic", "NAME", "The topic; a regular expression for other actions than --create."),
    value("topic-id", "ID", "With --describe: the topic's id."),
    values("config", "NAME=VALUE", "With --create: a setting of the topic; may be repeated."),
    values("delete-config", "NAME", "No effect; use kafka-configs to remove settings."),
    value("partitions", "COUNT", "The number of partitions."),
    value("replication-factor", "COUNT", "The replication factor."),
    value("replica-assignment", "1:2,2:3", "The replicas of each partition."),
    flag(
        "under-replicated-partitions",
        "With --describe: those whose replicas are not all in sync.",
    ),
    flag("unavailable-partitions", "With --describe: only partitions without a leader."),
    flag(
        "under-min-isr-partitions",
        "With --describe: only partitions with an ISR below min.insync.replicas.",
    ),
    flag("at-min-isr-partitions", "With --describe: only partitions at their min.insync.replicas."),
    flag("topics-with-overrides", "With --describe: only topics with settings of their own."),
    flag("if-exists", "Do nothing if the topic does not exist."),
    flag("if-not-exists", "With --create: do nothing if the topic exists."),
    flag("exclude-internal", "Leave internal topics out."),
    value("partition-size-limit-per-response", "COUNT", "The most partitions in one response."),
];

/// The actions that an option goes with.
const GOES_WITH: [(&str, &[&str]); 12] = [
    ("config", &["alter", "create"]),
    ("partitions", &["alter", "create"]),
    ("replication-factor", &["create"]),
    ("replica-assignment", &["alter", "create"]),
    ("under-replicated-partitions", &["describe"]),
    ("under-min-isr-partitions", &["describe"]),
    ("at-min-isr-partitions", &["describe"]),
    ("unavailable-partitions", &["describe"]),
    ("topics-with-overrides", &["describe"]),
    ("if-exists", &["alter", "delete", "describe"]),
    ("if-not-exists", &["create"]),
    ("exclude-internal", &["list", "describe"]),
];
/// Options that do not go together.
const APART: [(&str, &str, &str); 6] = [
    ("create", "replica-assignment", "partitions"),
    ("create", "replica-assignment", "replication-factor"),
    ("describe", "under-replicated-partitions", "topics-with-overrides"),
    ("describe", "under-min-isr-partitions", "topics-with-overrides"),
    ("describe", "at-min-isr-partitions", "topics-with-overrides"),
    ("describe", "unavailable-partitions", "topics-with-overrides"),
];

/// Refuses options that do not go with the action, or with each other.
fn check_pairs(args: &Parsed, action: &str) -> Result<(), String> {
    let refuse = |one: &str, other: &str| {
        Err(format!("Option \"[{one}]\" can't be used with option \"[{other}]\""))
    };
    if action == "alter" && args.has("config") {
        return Err("Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" (To alter topic configurations, the kafka-configs tool can be used.)".to_owned());
    }
    let mut used = GOES_WITH.iter().filter(|(option, _)| args.has(option));
    if let Some((option, _)) = used.find(|(_, actions)| !actions.contains(&action)) {
        return refuse(option, action);
    }
    let mut apart = APART.iter().filter(|(with, ..)| *with == action);
    match apart.find(|(_, one, other)| args.has(one) && args.has(other)) {
        Some((_, one, other)) => refuse(one, other),
        None => Ok(()),
    }
}

/// How many partitions are asked for at once, if the command line does not say.
const PARTITIONS_AT_ONCE: i32 = 2000;

const ACTIONS: [&str; 5] = ["list", "create", "delete", "alter", "describe"];

fn run_topics(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let Some(action) = args.only(&ACTIONS) else {
        let usage = "Command must include exactly one action: --list, --describe, --create, --alter or --delete";
        return Err(ToolError::Usage(usage.to_owned()));
    };
    if args.has("delete-config") {
        tell!(
            "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully removed in future releases."
        );
    }
    let needs_topic = action != "list" && action != "describe";
    if needs_topic && args.one("topic").is_none() {
        return Err(ToolError::Usage("Missing required argument \"[topic]\"".to_owned()));
    }
    check_pairs(args, action).map_err(ToolError::Usage)?;
    let client = session.connect()?;
    let done = match action {
        "list" => list_topics(args, session, &client),
        "create" => create_topic(args, session, &client),
        "delete" => delete_topics(args, session, &client),
        "alter" => alter_topics(args, session, &client),
        _ => describe_topics(args, session, &client),
    };
    done.or_else(|error| {
        if matches!(error, ToolError::Usage(_) | ToolError::Io(_)) {
            return Err(error);
        }
        // Apache's tool says it on the standard output, where scripts look for it.
        writeln!(session.out, "Error while executing topic command : {error}")?;
        Err(ToolError::Told)
    })
}

fn broker_list(text: &[i32]) -> String {
    text.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The topics whose name matches, sorted.
fn matching_topics(
    args: &Parsed,
    session: &ToolSession<'_>,
    client: &Client,
) -> Result<Vec<TopicDescription>, ToolError> {
    let mut all = session.wait(client.describe_topics(None))?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.retain(|it| !(it.is_internal && args.has("exclude-internal")));
    let Some(pattern) = args.one("topic") else { return Ok(all) };
    let pattern = topic_pattern(pattern)?;
    all.retain(|it| pattern.is_match(&it.name));
    Ok(all)
}

/// The same, where none is an error unless `--if-exists`.
fn wanted_topics(
    args: &Parsed,
    session: &ToolSession<'_>,
    client: &Client,
) -> Result<Vec<String>, ToolError> {
    let found = matching_topics(args, session, client)?;
    if let Some(topic) = args.one("topic")
        && found.is_empty()
        && !args.has("if-exists")
    {
        return Err(tool_failed(format!("Topic '{topic}' does not exist as expected")));
    }
    Ok(found.into_iter().map(|it| it.name).collect())
}

fn list_topics(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    for topic in matching_topics(args, session, client)? {
        writeln!(session.out, "{}", topic.name)?;
    }
    Ok(())
}

fn create_topic(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let name = args.one("topic").unwrap_or_default().to_owned();
    if name.contains(['.', '_']) {
        writeln!(
            session.out,
            "WARNING: '.' and '_' are one letter in the names of metrics: use one of them in topics, not both."
        )?;
    }
    let topic = NewTopic {
        name: name.clone(),
        partitions: positive_number(args, "partitions")?,
        replication_factor: i16::try_from(positive_number(args, "replication-factor")?)
            .unwrap_or(i16::MAX),
        configs: parse_pairs(args.all("config"))?.into_iter().collect(),
        assignments: replica_assignments(args)?,
    };
    match session.wait(client.create_topic(&topic, ChangeMode::Change)) {
        Err(error)
            if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS)
                && args.has("if-not-exists") =>
        {
            return Ok(());
        }
        created => created.map_err(plain_error)?,
    }
    writeln!(session.out, "Created topic {name}.")?;
    Ok(())
}

fn positive_number(args: &Parsed, name: &str) -> Result<i32, ToolError> {
    let found: Option<i32> = args.number(name).map_err(ToolError::Usage)?;
    match found {
        Some(number) if number < 1 => {
            Err(ToolError::Usage(format!("The value of --{name} must be greater than 0")))
        }
        found => Ok(found.unwrap_or(-1)),
    }
}

fn replica_assignments(args: &Parsed) -> Result<Vec<Vec<i32>>, ToolError> {
    let Some(text) = args.one("replica-assignment") else { return Ok(Vec::new()) };
    let one = |it: &str| it.split(':').map(str::trim).map(str::parse).collect::<Result<_, _>>();
    let all: Result<Vec<Vec<i32>>, _> = text.split(',').map(one).collect();
    all.map_err(|_| tool_failed(format!("{text} is not of the form 1:2,2:3")))
}

fn delete_topics(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let names = wanted_topics(args, session, client)?;
    for (_, outcome) in session.wait(client.delete_topics(&names))? {
        outcome.map_err(plain_refusal)?;
    }
    Ok(())
}

fn alter_topics(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let count = positive_number(args, "partitions")?;
    if count < 0 {
        let usage = "Missing required argument \"[partitions]\"".to_owned();
        return Err(ToolError::Usage(usage));
    }
    let assignments = replica_assignments(args)?;
    for name in wanted_topics(args, session, client)? {
        let there = session.wait(client.describe_topic(&name))?.partitions.len();
        // Only the new partitions get replicas.
        let fresh = assignments.iter().skip(there).cloned();
        let assignments = (!assignments.is_empty()).then(|| fresh.collect());
        let more = MorePartitions { topic: name, count, assignments };
        session.wait(client.create_partitions(&more, ChangeMode::Change)).map_err(plain_error)?;
    }
    Ok(())
}

fn describe_topics(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let names =
        match args.one("topic-id") {
            Some(id) => {
                let all = session.wait(client.describe_topics(None))?;
                let found = all.into_iter().find(|it| it.id.to_string() == id);
                let found = found.map(|it| it.name);
                vec![found.ok_or_else(|| {
                    tool_failed(format!("TopicId '{id}' does not exist as expected"))
                })?]
            }
            None => wanted_topics(args, session, client)?,
        };
    if names.is_empty() {
        return Ok(());
    }
    let limit = match positive_number(args, "partition-size-limit-per-response")? {
        ..0 => PARTITIONS_AT_ONCE,
        limit => limit,
    };
    let talk = client.describe_topic_partitions(&names, limit);
    let mut topics = session.wait(talk).map_err(plain_error)?;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let settings = session.wait(client.configs(ConfigKind::Topic, &names))?;
    let filters = [
        "under-replicated-partitions",
        "unavailable-partitions",
        "under-min-isr-partitions",
        "at-min-isr-partitions",
    ];
    let filter = filters.into_iter().find(|it| args.has(it));
    for topic in topics {
        let name = &topic.name;
        let own = settings.get(name).cloned().unwrap_or_default();
        let min_isr = own.iter().find(|it| it.name == "min.insync.replicas");
        let min_isr: usize = min_isr.and_then(|it| it.value.as_deref()?.parse().ok()).unwrap_or(1);
        let set: Vec<String> = own
            .iter()
            .filter(|it| !it.is_default())
            .map(|it| format!("{}={}", it.name, it.value.as_deref().unwrap_or_default()))
            .collect();
        if args.has("topics-with-overrides") && set.is_empty() {
            continue;
        }
        if filter.is_none() {
            let replicas = topic.partitions.first().map_or(0, |it| it.replicas.len());
            let (id, count) = (topic.id, topic.partitions.len());
            writeln!(
                session.out,
                "Topic: {name}\tTopicId: {id}\tPartitionCount: {count}\tReplicationFactor: {replicas}\tConfigs: {}",
                set.join(",")
            )?;
        }
        if args.has("topics-with-overrides") {
            continue;
        }
        for partition in topic.partitions.iter().filter(|it| is_shown(filter, it, min_isr)) {
            writeln!(session.out, "{}", partition_row(name, partition))?;
        }
    }
    Ok(())
}

fn is_shown(filter: Option<&str>, partition: &PartitionDescription, min_isr: usize) -> bool {
    let in_sync = partition.in_sync.len();
    match filter {
        None => true,
        Some("under-replicated-partitions") => in_sync < partition.replicas.len(),
        Some("unavailable-partitions") => partition.leader < 0,
        Some("under-min-isr-partitions") => in_sync < min_isr,
        Some(_) => in_sync == min_isr,
    }
}

fn partition_row(topic: &str, it: &PartitionDescription) -> String {
    let leader = if it.leader < 0 { "none".to_owned() } else { it.leader.to_string() };
    format!(
        "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: {}\tLastKnownElr: {}",
        it.partition,
        broker_list(&it.replicas),
        broker_list(&it.in_sync),
        broker_list(&it.eligible_leaders),
        broker_list(&it.last_eligible_leaders),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_do_not_go_together_are_refused_as_by_apaches_tool() {
        // The command line, and whether Apache's kafka-topics 4.3.1 would go on.
        for (line, goes) in [
            ("--list --exclude-internal", true),
            ("--list --partitions 3", false),
            ("--list --if-exists", false),
            ("--describe --config a=b", false),
            ("--describe --under-replicated-partitions --under-min-isr-partitions", true),
            ("--describe --unavailable-partitions --topics-with-overrides", false),
            ("--describe --if-exists --topic t", true),
            ("--create --topic t --partitions 1 --config a=b --if-not-exists", true),
            ("--create --topic t --replica-assignment 1 --partitions 1", false),
            ("--create --topic t --if-exists", false),
            ("--create --topic t --exclude-internal", false),
            ("--alter --topic t --partitions 3 --if-exists", true),
            ("--alter --topic t --partitions 3 --config a=b", false),
            ("--alter --topic t --partitions 3 --replication-factor 2", false),
            ("--delete --topic t --if-exists", true),
            ("--delete --topic t --topics-with-overrides", false),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let args = Parsed::read(&words, OPTIONS).unwrap();
            let action = args.only(&ACTIONS).unwrap();
            assert_eq!(check_pairs(&args, action).is_ok(), goes, "{line}");
        }
    }
}
