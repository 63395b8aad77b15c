//! kafka-topics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Client, ConfigKind, IfAbsent};
use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use ottla_protocol::messages::describe_topic_partitions_request::{
    DescribeTopicPartitionsRequest, TopicRequest,
};
use ottla_protocol::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponsePartition as Partition,
    DescribeTopicPartitionsResponseTopic as Topic,
};
use ottla_protocol::messages::metadata_response::MetadataResponseTopic;
use ottla_types::ErrorCode;

use crate::Tool;
use crate::options::{Opt, Parsed, flag, value, values};
use crate::session::{ToolError, ToolSession, failed, pairs, refused, topic_pattern};

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-topics",
    about: "Create, delete, describe, list or change topics.",
    options: OPTIONS,
    run,
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
    values("delete-config", "NAME", "Has no effect: kafka-configs takes settings back."),
    value("partitions", "COUNT", "How many partitions."),
    value("replication-factor", "COUNT", "How many replicas each partition has."),
    value("replica-assignment", "1:2,2:3", "The replicas of each partition."),
    flag(
        "under-replicated-partitions",
        "With --describe: those whose replicas are not all in sync.",
    ),
    flag("unavailable-partitions", "With --describe: those without a leader."),
    flag("under-min-isr-partitions", "With --describe: those with fewer in sync than they need."),
    flag("at-min-isr-partitions", "With --describe: those with just as many in sync as they need."),
    flag("topics-with-overrides", "With --describe: topics with settings of their own."),
    flag("if-exists", "Do nothing if the topic is not there."),
    flag("if-not-exists", "With --create: do nothing if the topic is there."),
    flag("exclude-internal", "Leave Kafka's own topics out."),
    value("partition-size-limit-per-response", "COUNT", "How many partitions to ask for at once."),
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

const ACTIONS: [&str; 5] = ["list", "create", "delete", "alter", "describe"];

fn run(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
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
        "list" => list(args, session, &client),
        "create" => create(args, session, &client),
        "delete" => delete(args, session, &client),
        "alter" => alter(args, session, &client),
        _ => describe(args, session, &client),
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

fn numbers(text: &[i32]) -> String {
    text.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The topics whose name matches, sorted.
fn matching(
    args: &Parsed,
    session: &ToolSession<'_>,
    client: &Client,
) -> Result<Vec<MetadataResponseTopic>, ToolError> {
    let mut all = session.wait(client.refresh(None, IfAbsent::Fail))?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.retain(|it| !(it.is_internal && args.has("exclude-internal")));
    let Some(pattern) = args.one("topic") else { return Ok(all) };
    let pattern = topic_pattern(pattern)?;
    all.retain(|it| it.name.as_deref().is_some_and(|name| pattern.is_match(name)));
    Ok(all)
}

/// The same, where none is an error unless `--if-exists`.
fn wanted(
    args: &Parsed,
    session: &ToolSession<'_>,
    client: &Client,
) -> Result<Vec<String>, ToolError> {
    let found = matching(args, session, client)?;
    if let Some(topic) = args.one("topic")
        && found.is_empty()
        && !args.has("if-exists")
    {
        return Err(failed(format!("Topic '{topic}' does not exist as expected")));
    }
    Ok(found.into_iter().filter_map(|it| it.name).collect())
}

fn list(args: &Parsed, session: &mut ToolSession<'_>, client: &Client) -> Result<(), ToolError> {
    for topic in matching(args, session, client)? {
        writeln!(session.out, "{}", topic.name.unwrap_or_default())?;
    }
    Ok(())
}

fn create(args: &Parsed, session: &mut ToolSession<'_>, client: &Client) -> Result<(), ToolError> {
    let name = args.one("topic").unwrap_or_default().to_owned();
    if name.contains(['.', '_']) {
        writeln!(
            session.out,
            "WARNING: '.' and '_' are one letter in the names of metrics: use one of them in topics, not both."
        )?;
    }
    let configs = pairs(args.all("config"))?.into_iter().map(|(name, value)| {
        CreatableTopicConfig { name, value: Some(value), ..Default::default() }
    });
    let assignments: Vec<CreatableReplicaAssignment> = replicas(args)?
        .into_iter()
        .zip(0..)
        .map(|(broker_ids, partition_index)| CreatableReplicaAssignment {
            partition_index,
            broker_ids,
            ..Default::default()
        })
        .collect();
    let topic = CreatableTopic {
        name: name.clone(),
        num_partitions: number(args, "partitions")?,
        replication_factor: i16::try_from(number(args, "replication-factor")?).unwrap_or(i16::MAX),
        configs: configs.collect(),
        assignments,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let response = session.wait(client.ask_any(&request))?;
    let Some(result) = response.topics.first() else { return Err(failed("no answer")) };
    if ErrorCode(result.error_code) == ErrorCode::TOPIC_ALREADY_EXISTS && args.has("if-not-exists")
    {
        return Ok(());
    }
    refused(result.error_code, result.error_message.as_deref())?;
    writeln!(session.out, "Created topic {name}.")?;
    Ok(())
}

fn number(args: &Parsed, name: &str) -> Result<i32, ToolError> {
    let found: Option<i32> = args.number(name).map_err(ToolError::Usage)?;
    match found {
        Some(number) if number < 1 => {
            Err(ToolError::Usage(format!("The value of --{name} must be greater than 0")))
        }
        found => Ok(found.unwrap_or(-1)),
    }
}

fn replicas(args: &Parsed) -> Result<Vec<Vec<i32>>, ToolError> {
    let Some(text) = args.one("replica-assignment") else { return Ok(Vec::new()) };
    let one = |it: &str| it.split(':').map(str::trim).map(str::parse).collect::<Result<_, _>>();
    let all: Result<Vec<Vec<i32>>, _> = text.split(',').map(one).collect();
    all.map_err(|_| failed(format!("{text} is not of the form 1:2,2:3")))
}

fn delete(args: &Parsed, session: &mut ToolSession<'_>, client: &Client) -> Result<(), ToolError> {
    let names = wanted(args, session, client)?;
    let state = |name: &String| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
    let request = DeleteTopicsRequest {
        topics: names.iter().map(state).collect(),
        topic_names: names,
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response = session.wait(client.ask_any(&request))?;
    for it in &response.responses {
        refused(it.error_code, it.error_message.as_deref())?;
    }
    Ok(())
}

fn alter(args: &Parsed, session: &mut ToolSession<'_>, client: &Client) -> Result<(), ToolError> {
    let count = number(args, "partitions")?;
    if count < 0 {
        let usage = "Missing required argument \"[partitions]\"".to_owned();
        return Err(ToolError::Usage(usage));
    }
    let assignments = replicas(args)?;
    for name in wanted(args, session, client)? {
        let known =
            session.wait(client.refresh(Some(std::slice::from_ref(&name)), IfAbsent::Fail))?;
        let there = known.first().map_or(0, |it| it.partitions.len());
        // Only those that are new are told where they live.
        let fresh = assignments.iter().skip(there).map(|ids| CreatePartitionsAssignment {
            broker_ids: ids.clone(),
            ..Default::default()
        });
        let assignments = (!assignments.is_empty()).then(|| fresh.collect());
        let topic = CreatePartitionsTopic { name, count, assignments, ..Default::default() };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let response = session.wait(client.ask_any(&request))?;
        for it in &response.results {
            refused(it.error_code, it.error_message.as_deref())?;
        }
    }
    Ok(())
}

fn describe(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let names = match args.one("topic-id") {
        Some(id) => {
            let all = session.wait(client.refresh(None, IfAbsent::Fail))?;
            let found = all.into_iter().find(|it| it.topic_id.to_string() == id);
            let found = found.and_then(|it| it.name);
            vec![
                found
                    .ok_or_else(|| failed(format!("TopicId '{id}' does not exist as expected")))?,
            ]
        }
        None => wanted(args, session, client)?,
    };
    if names.is_empty() {
        return Ok(());
    }
    let mut topics = fetch(args, session, client, &names)?;
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
        let name = topic.name.clone().unwrap_or_default();
        let own = settings.get(&name).cloned().unwrap_or_default();
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
            let replicas = topic.partitions.first().map_or(0, |it| it.replica_nodes.len());
            let (id, count) = (topic.topic_id, topic.partitions.len());
            writeln!(
                session.out,
                "Topic: {name}\tTopicId: {id}\tPartitionCount: {count}\tReplicationFactor: {replicas}\tConfigs: {}",
                set.join(",")
            )?;
        }
        if args.has("topics-with-overrides") {
            continue;
        }
        for partition in topic.partitions.iter().filter(|it| shows(filter, it, min_isr)) {
            writeln!(session.out, "{}", row(&name, partition))?;
        }
    }
    Ok(())
}

fn shows(filter: Option<&str>, partition: &Partition, min_isr: usize) -> bool {
    let in_sync = partition.isr_nodes.len();
    match filter {
        None => true,
        Some("under-replicated-partitions") => in_sync < partition.replica_nodes.len(),
        Some("unavailable-partitions") => partition.leader_id < 0,
        Some("under-min-isr-partitions") => in_sync < min_isr,
        Some(_) => in_sync == min_isr,
    }
}

fn row(topic: &str, it: &Partition) -> String {
    let leader = if it.leader_id < 0 { "none".to_owned() } else { it.leader_id.to_string() };
    let list = |all: &Option<Vec<i32>>| numbers(all.as_deref().unwrap_or_default());
    format!(
        "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: {}\tLastKnownElr: {}",
        it.partition_index,
        numbers(&it.replica_nodes),
        numbers(&it.isr_nodes),
        list(&it.eligible_leader_replicas),
        list(&it.last_known_elr),
    )
}

/// The topics with all their partitions, in as many answers as it takes.
fn fetch(
    args: &Parsed,
    session: &ToolSession<'_>,
    client: &Client,
    names: &[String],
) -> Result<Vec<Topic>, ToolError> {
    let limit = number(args, "partition-size-limit-per-response")?;
    let mut all: BTreeMap<String, Topic> = BTreeMap::new();
    let names: BTreeSet<&String> = names.iter().collect();
    let mut cursor = None;
    loop {
        let topic = |name: &&String| TopicRequest { name: (*name).clone(), ..Default::default() };
        let request = DescribeTopicPartitionsRequest {
            topics: names.iter().map(topic).collect(),
            response_partition_limit: if limit < 0 { 2000 } else { limit },
            cursor: cursor.take(),
            ..Default::default()
        };
        let response = session.wait(client.ask_any(&request))?;
        for topic in response.topics {
            refused(topic.error_code, None)?;
            let name = topic.name.clone().unwrap_or_default();
            match all.get_mut(&name) {
                Some(known) => known.partitions.extend(topic.partitions),
                None => drop(all.insert(name, topic)),
            }
        }
        let Some(next) = response.next_cursor else { return Ok(all.into_values().collect()) };
        cursor = Some(ottla_protocol::messages::describe_topic_partitions_request::Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
            ..Default::default()
        });
    }
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
