//! kafka-get-offsets, kafka-delete-records and kafka-log-dirs.

use std::collections::BTreeMap;
use std::ops::Range;

use ottla_client::{Client, ClientError, IfAbsent, IsolationLevel, TopicPartition};
use ottla_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use ottla_types::ErrorCode;
use regex::Regex;
use serde_json::json;

use crate::Tool;
use crate::exceptions::{class_of, exception};
use crate::json::PlanFile;
use crate::options::{Opt, Parsed, flag, value};
use crate::session::{ToolError, ToolSession, failed, refused, topic_pattern};

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
    value("broker-list", "ID,...", "Only these brokers."),
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

/// Partitions of some topics, as `--topic-partitions` names them.
struct PartitionRule {
    topics: Regex,
    partitions: Range<i32>,
}

impl PartitionRule {
    /// `TOPIC`, `TOPIC:3`, `TOPIC:1-3` (without 3), `TOPIC:1-`, `TOPIC:-3`; without a topic it is
    /// about all of them.
    fn new(text: &str) -> Result<Self, ToolError> {
        let wrong = || failed(format!("Error occurred: Invalid rule specification: {text}"));
        let (topic, range) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str, or: i32| {
            if text.is_empty() {
                return Ok(or);
            }
            let digits = text.bytes().all(|it| it.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or_else(wrong)
        };
        let partitions = match range.split_once('-') {
            Some((from, upto)) => number(from, 0)?..number(upto, i32::MAX)?,
            None if range.is_empty() => 0..i32::MAX,
            None => {
                let one = number(range, 0)?;
                one..one.saturating_add(1)
            }
        };
        let topics = topic_pattern(if topic.is_empty() { ".*" } else { topic })?;
        Ok(Self { topics, partitions })
    }

    fn covers(&self, topic: &str, partition: i32) -> bool {
        self.partitions.contains(&partition) && self.topics.is_match(topic)
    }
}

/// What `--topic-partitions`, or `--topic` and `--partitions`, name.
fn rules(args: &Parsed) -> Result<Vec<PartitionRule>, ToolError> {
    if let Some(all) = args.one("topic-partitions") {
        if args.has("topic") || args.has("partitions") {
            return Err(failed("--topic-partitions cannot be used with --topic or --partitions"));
        }
        return all.trim_end_matches(',').split(',').map(PartitionRule::new).collect();
    }
    let topics = topic_pattern(args.one("topic").unwrap_or(".*"))?;
    let Some(list) = args.one("partitions").filter(|it| !it.is_empty()) else {
        return Ok(vec![PartitionRule { topics, partitions: 0..i32::MAX }]);
    };
    let one = |text: &str| {
        let number: i32 = text.parse().map_err(|_| {
            failed(format!(
                "--partitions expects a comma separated list of numeric partition ids, but received: {list}"
            ))
        })?;
        Ok(PartitionRule { topics: topics.clone(), partitions: number..number.saturating_add(1) })
    };
    list.trim_end_matches(',').split(',').map(one).collect()
}

fn get(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let at = time(args.one("time").unwrap_or("latest"))?;
    let rules = rules(args)?;
    let client = session.connect()?;
    let mut topics = session.wait(client.refresh(None, IfAbsent::Fail))?;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let mut places = Vec::new();
    for topic in topics {
        let name = topic.name.unwrap_or_default();
        if topic.is_internal && args.has("exclude-internal-topics") {
            continue;
        }
        let mut indexes: Vec<i32> = topic.partitions.iter().map(|it| it.partition_index).collect();
        indexes.sort_unstable();
        let wanted = |it: &i32| rules.iter().any(|rule| rule.covers(&name, *it));
        places.extend(
            indexes.into_iter().filter(wanted).map(|it| TopicPartition::new(name.as_str(), it)),
        );
    }
    if places.is_empty() {
        return Err(failed("Could not match any topic-partitions with the specified filters"));
    }
    let found = session.wait(client.offsets_at(&places, at, IsolationLevel::Uncommitted));
    for place in &places {
        show(session, &client, place, (at, found.get(place).copied()))?;
    }
    Ok(())
}

fn show(
    session: &mut ToolSession<'_>,
    client: &Client,
    place: &TopicPartition,
    (at, found): (i64, Option<i64>),
) -> Result<(), ToolError> {
    let (topic, partition) = (&place.topic, place.partition);
    let found = match found {
        Some(offset) => Ok(offset),
        None => session.wait(client.offset_at(place, at, IsolationLevel::Uncommitted)),
    };
    match found {
        // There is none.
        Ok(offset) if offset < 0 => {}
        Ok(offset) => writeln!(session.out, "{topic}:{partition}:{offset}")?,
        Err(error) => {
            tell!("Skip getting offsets for topic-partition {place} due to error: {error}")
        }
    }
    Ok(())
}

fn delete(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let file = args.one("offset-json-file").ok_or_else(|| {
        ToolError::Usage("Missing required option(s) [offset-json-file]".to_owned())
    })?;
    let plan = PlanFile::versioned(file)?;
    let mut asked = Vec::new();
    for entry in plan.list("partitions")? {
        asked.push((entry.place()?, entry.long("offset")?));
    }
    let what = "Offset json file contains duplicate topic partitions";
    plan.no_duplicates(what, asked.iter().map(|(place, _)| place))?;
    let client = session.connect()?;
    writeln!(session.out, "Executing records delete operation")?;
    let mut done = BTreeMap::new();
    let mut by_leader: BTreeMap<i32, BTreeMap<String, Vec<DeleteRecordsPartition>>> =
        BTreeMap::new();
    for (place, offset) in asked {
        let partition_index = place.partition;
        let one = DeleteRecordsPartition { partition_index, offset, ..Default::default() };
        match session.wait(client.leader(&place)) {
            Ok(leader) => {
                let topics = by_leader.entry(leader).or_default();
                topics.entry(place.topic.to_string()).or_default().push(one);
            }
            Err(ClientError::Refused { code, .. }) => {
                done.insert(place, Err(code));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (leader, topics) in by_leader {
        let topic =
            |(name, partitions)| DeleteRecordsTopic { name, partitions, ..Default::default() };
        let topics = topics.into_iter().map(topic).collect();
        let request = DeleteRecordsRequest { topics, timeout_ms: 30_000, ..Default::default() };
        let response = session.wait(client.ask(leader, &request))?;
        for topic in response.topics {
            for it in topic.partitions {
                let place = TopicPartition::new(topic.name.as_str(), it.partition_index);
                let code = ErrorCode(it.error_code);
                let how = if code == ErrorCode::NONE { Ok(it.low_watermark) } else { Err(code) };
                done.insert(place, how);
            }
        }
    }
    writeln!(session.out, "Records delete operation completed:")?;
    for (place, how) in done {
        match how {
            Ok(low) => writeln!(session.out, "partition: {place}\tlow_watermark: {low}")?,
            Err(code) => {
                writeln!(session.out, "partition: {place}\terror: {}", exception(code, None))?;
            }
        }
    }
    Ok(())
}

/// The ids of a list, if it has some.
fn brokers(list: Option<&str>) -> Result<Option<Vec<i32>>, ToolError> {
    let words = list.unwrap_or_default().split(',').filter(|it| !it.is_empty());
    let one = |it: &str| {
        it.parse().map_err(|_| failed(format!("--broker-list: {it} is not the id of a broker")))
    };
    let mut ids = words.map(one).collect::<Result<Vec<i32>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids).filter(|it| !it.is_empty()))
}

fn dirs(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    if !args.has("describe") {
        return Err(ToolError::Usage("Missing required option(s) [describe]".to_owned()));
    }
    let some: Vec<&str> =
        args.one("topic-list").unwrap_or_default().split(',').filter(|it| !it.is_empty()).collect();
    let client = session.connect()?;
    let all = session.wait(client.all_brokers())?;
    let nodes = brokers(args.one("broker-list"))?.unwrap_or_else(|| all.clone());
    if let Some(unknown) = nodes.iter().find(|it| !all.contains(it)) {
        return Err(failed(format!(
            "ERROR: The given brokers do not exist from --broker-list: {unknown}. Current existent brokers: {all:?}"
        )));
    }
    writeln!(session.out, "Querying brokers for log directories information")?;
    let mut brokers = Vec::new();
    for node in &nodes {
        let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let response = session.wait(client.ask(*node, &request))?;
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
    let error = (it.error_code != 0).then(|| class_of(ErrorCode(it.error_code)));
    let (error, dir) = (json!(error), json!(it.log_dir));
    format!("{{\"partitions\":[{}],\"error\":{error},\"logDir\":{dir}}}", partitions.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_times_are_understood() {
        let those = |rule: &str| {
            let rule = PartitionRule::new(rule).unwrap();
            (0..6).filter(|it| rule.covers("ab", *it)).collect::<Vec<_>>()
        };
        assert_eq!(those("ab:3"), [3]);
        assert_eq!(those(":1-3"), [1, 2]);
        assert_eq!((those("a.:4-"), those("'ab':-2")), (vec![4, 5], vec![0, 1]));
        assert_eq!((those("").len(), those("a").len(), those("ab:").len()), (6, 0, 6));
        assert!(PartitionRule::new("ab:x").is_err() && PartitionRule::new("ab:1-2-3").is_err());
        assert_eq!((time("earliest").unwrap(), time("17").unwrap()), (-2, 17));
        assert!(time("soon").is_err());
    }
}
