//! kafka-get-offsets, kafka-delete-records and kafka-log-dirs.

use std::collections::BTreeMap;

use ottla_client::{Cluster, Isolation, TopicPartition};
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use ottla_types::ErrorCode;
use serde_json::json;

use crate::Tool;
use crate::options::{Opt, Parsed, flag, value};
use crate::session::{Session, ToolError, failed, partitions, refused, whole};

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-get-offsets",
        about: "Show where partitions begin, end, or were at a time.",
        options: GET,
        run: get,
    },
    &Tool {
        name: "kafka-delete-records",
        about: "Delete the records of partitions up to an offset.",
        options: DELETE,
        run: delete,
    },
    &Tool {
        name: "kafka-log-dirs",
        about: "Show which partitions lie in which directory, and how large they are.",
        options: DIRS,
        run: dirs,
    },
];

const GET: &[Opt] = &[
    value("topic", "REGEX", "The topics whose name matches."),
    value("topic-partitions", "TOPIC:0-2,...", "Partitions: one, some (0-2), or all of a topic."),
    value("partitions", "0,1,...", "These partitions of the topics."),
    value(
        "time",
        "TIME",
        "earliest, latest (the default), max-timestamp, earliest-local, latest-tiered, or milliseconds.",
    ),
    flag("exclude-internal-topics", "Leave Kafka's own topics out."),
];

const DELETE: &[Opt] = &[value(
    "offset-json-file",
    "FILE",
    "{\"partitions\": [{\"topic\", \"partition\", \"offset\"}], \"version\": 1}",
)];

const DIRS: &[Opt] = &[
    flag("describe", "Show the directories."),
    value("topic-list", "NAME,...", "Only these topics."),
    value("broker-list-ids", "ID,...", "Only these brokers."),
];

fn time(text: &str) -> Result<i64, ToolError> {
    match text {
        "latest" => Ok(-1),
        "earliest" => Ok(-2),
        "max-timestamp" => Ok(-3),
        "earliest-local" => Ok(-4),
        "latest-tiered" => Ok(-5),
        "earliest-pending-upload" => Ok(-6),
        text => text.parse().map_err(|_| {
            ToolError::Usage(format!("Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"))
        }),
    }
}

/// Is this partition among `3`, `1-3` (without 3), `1-`, `-3`?
fn is_in(range: &str, partition: i32) -> bool {
    match range.split_once('-') {
        None => range.trim().parse() == Ok(partition),
        Some((from, upto)) => {
            let from = from.trim().parse().unwrap_or(0);
            let upto = upto.trim().parse().unwrap_or(i32::MAX);
            (from..upto).contains(&partition)
        }
    }
}

fn get(args: &Parsed, session: &mut Session<'_>) -> Result<(), ToolError> {
    let at = time(args.one("time").unwrap_or("latest"))?;
    let mut rules = Vec::new();
    for word in args.one("topic-partitions").into_iter().flat_map(|it| it.split(',')) {
        let (topic, range) = word.split_once(':').unwrap_or((word, ""));
        let topic = if topic.is_empty() { ".*" } else { topic };
        rules.push((whole(topic)?, range.to_owned()));
    }
    if let Some(topic) = args.one("topic") {
        rules.push((whole(topic)?, String::new()));
    }
    let some: Option<Vec<&str>> = args.one("partitions").map(|it| it.split(',').collect());
    let mut cluster = session.connect()?;
    let mut topics = session.wait(cluster.refresh(None, false))?;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let mut places = Vec::new();
    for topic in topics {
        let name = topic.name.unwrap_or_default();
        if topic.is_internal && args.has("exclude-internal-topics") {
            continue;
        }
        let mut indexes: Vec<i32> = topic.partitions.iter().map(|it| it.partition_index).collect();
        indexes.sort_unstable();
        for partition in indexes {
            let is_wanted = rules.is_empty()
                || rules.iter().any(|(pattern, range)| {
                    pattern.is_match(&name) && (range.is_empty() || is_in(range, partition))
                });
            let is_some = some.as_ref().is_none_or(|all| all.iter().any(|it| is_in(it, partition)));
            if is_wanted && is_some {
                places.push(TopicPartition::new(name.as_str(), partition));
            }
        }
    }
    if places.is_empty() {
        return Err(failed("Could not match any topic-partitions with the specified filters"));
    }
    let found = session.wait(cluster.offsets_at(&places, at, Isolation::Uncommitted));
    for place in &places {
        show(session, &mut cluster, place, (at, found.get(place).copied()))?;
    }
    Ok(())
}

fn show(
    session: &mut Session<'_>,
    cluster: &mut Cluster,
    place: &TopicPartition,
    (at, found): (i64, Option<i64>),
) -> Result<(), ToolError> {
    let (topic, partition) = (&place.topic, place.partition);
    let found = match found {
        Some(offset) => Ok(offset),
        None => session.wait(cluster.offset_at(place, at, Isolation::Uncommitted)),
    };
    match found {
        // There is none.
        Ok(offset) if offset < 0 => {}
        Ok(offset) => writeln!(session.out, "{topic}:{partition}:{offset}")?,
        Err(error) => {
            eprintln!("Skip getting offsets for topic-partition {place} due to error: {error}")
        }
    }
    Ok(())
}

fn delete(args: &Parsed, session: &mut Session<'_>) -> Result<(), ToolError> {
    let file = args.one("offset-json-file").ok_or_else(|| {
        ToolError::Usage("Missing required option(s) [offset-json-file]".to_owned())
    })?;
    let mut asked = Vec::new();
    for (place, it) in partitions(file)? {
        let offset = it["offset"].as_i64();
        let offset = offset.ok_or_else(|| failed(format!("{file}: {it} has not an offset")))?;
        asked.push((place, offset));
    }
    let mut cluster = session.connect()?;
    writeln!(session.out, "Executing records delete operation")?;
    let mut by_leader: BTreeMap<i32, Vec<DeleteRecordsTopic>> = BTreeMap::new();
    for (place, offset) in asked {
        let leader = session.wait(cluster.leader(&place))?;
        let partition_index = place.partition;
        let one = DeleteRecordsPartition { partition_index, offset, ..Default::default() };
        let (name, partitions) = (place.topic.to_string(), vec![one]);
        let topic = DeleteRecordsTopic { name, partitions, ..Default::default() };
        by_leader.entry(leader).or_default().push(topic);
    }
    writeln!(session.out, "Records delete operation completed:")?;
    for (leader, topics) in by_leader {
        let request = DeleteRecordsRequest { topics, timeout_ms: 30_000, ..Default::default() };
        let response = session.wait(cluster.ask(leader, &request))?;
        for topic in response.topics {
            for it in topic.partitions {
                let place = TopicPartition::new(topic.name.as_str(), it.partition_index);
                match ErrorCode(it.error_code) {
                    ErrorCode::NONE => {
                        writeln!(
                            session.out,
                            "partition: {place}\tlow_watermark: {}",
                            it.low_watermark
                        )?;
                    }
                    code => writeln!(session.out, "partition: {place}\terror: {}", code.message())?,
                }
            }
        }
    }
    Ok(())
}

fn dirs(args: &Parsed, session: &mut Session<'_>) -> Result<(), ToolError> {
    if !args.has("describe") {
        return Err(ToolError::Usage("Missing required option(s) [describe]".to_owned()));
    }
    let some: Vec<&str> =
        args.one("topic-list").unwrap_or_default().split(',').filter(|it| !it.is_empty()).collect();
    let mut cluster = session.connect()?;
    let all = session.wait(cluster.all_brokers())?;
    let nodes = match args.one("broker-list-ids") {
        Some(ids) => ids.split(',').filter_map(|it| it.trim().parse().ok()).collect(),
        None => all.clone(),
    };
    if let Some(unknown) = nodes.iter().find(|it| !all.contains(it)) {
        return Err(failed(format!(
            "ERROR: The given brokers do not exist from --broker-list: {unknown}. Current existent brokers: {all:?}"
        )));
    }
    writeln!(session.out, "Querying brokers for log directories information")?;
    let mut brokers = Vec::new();
    for node in &nodes {
        let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let response = session.wait(cluster.ask(*node, &request))?;
        refused(response.error_code, None)?;
        let dirs: Vec<String> = response.results.iter().map(|it| dir(it, &some)).collect();
        brokers.push(format!("{{\"broker\":{node},\"logDirs\":[{}]}}", dirs.join(",")));
    }
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    writeln!(session.out, "Received log directory information from brokers {}", ids.join(","))?;
    writeln!(session.out, "{{\"brokers\":[{}],\"version\":1}}", brokers.join(","))?;
    Ok(())
}

/// A directory as JSON, its fields in the order of Apache's tool.
fn dir(it: &DescribeLogDirsResult, some: &[&str]) -> String {
    let mut partitions = Vec::new();
    let wanted = |name: &str| some.is_empty() || some.contains(&name);
    for topic in it.topics.iter().filter(|it| wanted(&it.name)) {
        partitions.extend(topic.partitions.iter().map(|it| {
            format!(
                "{{\"partition\":\"{}-{}\",\"size\":{},\"offsetLag\":{},\"isFuture\":{}}}",
                topic.name, it.partition_index, it.partition_size, it.offset_lag, it.is_future_key
            )
        }));
    }
    let error = (it.error_code != 0).then(|| ErrorCode(it.error_code).message());
    let (error, dir) = (json!(error), json!(it.log_dir));
    format!("{{\"partitions\":[{}],\"error\":{error},\"logDir\":{dir}}}", partitions.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_times_are_understood() {
        let those = |range: &str| (0..6).filter(|it| is_in(range, *it)).collect::<Vec<_>>();
        assert_eq!(those("3"), [3]);
        assert_eq!(those("1-3"), [1, 2]);
        assert_eq!((those("4-"), those("-2")), (vec![4, 5], vec![0, 1]));
        assert_eq!((time("earliest").unwrap(), time("17").unwrap()), (-2, 17));
        assert!(time("soon").is_err());
    }
}
