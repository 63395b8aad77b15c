//! kafka-get-offsets, kafka-delete-records and kafka-log-dirs.

use std::ops::Range;

use ottla_client::{
    Client, IsolationLevel, LogDirDescription, OffsetAt, PartitionOffsets, TopicPartition,
};
use ottla_types::ErrorCode;
use regex::Regex;
use serde_json::json;

use crate::exceptions::{class_of, exception};
use crate::json::PlanFile;
use crate::options::{Opt, Parsed, flag, value};
use crate::session::{ToolError, ToolSession, plain_error, tool_failed, topic_pattern};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-get-offsets",
        about: "Show the first or last offsets of partitions, or those at a time.",
        options: GET,
        run: run_get_offsets,
    },
    &Tool {
        name: "kafka-delete-records",
        about: "Delete the records of partitions up to an offset.",
        options: DELETE,
        run: run_delete_records,
    },
    &Tool {
        name: "kafka-log-dirs",
        about: "Show which partitions lie in which directory, and how large they are.",
        options: DIRS,
        run: run_log_dirs,
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
    flag("exclude-internal-topics", "Leave internal topics out."),
];

const DELETE: &[Opt] = &[value(
    "offset-json-file",
    "FILE",
    "{\"partitions\": [{\"topic\", \"partition\", \"offset\"}], \"version\": 1}",
)];

const DIRS: &[Opt] = &[
    flag("describe", "Describe the log directories."),
    value("topic-list", "NAME,...", "Only these topics."),
    value("broker-list", "ID,...", "Only these brokers."),
];

fn offset_at(text: &str) -> Result<OffsetAt, ToolError> {
    match text {
        "latest" => Ok(OffsetAt::Latest),
        "earliest" => Ok(OffsetAt::Earliest),
        "max-timestamp" => Ok(OffsetAt::Special(-3)),
        "earliest-local" => Ok(OffsetAt::Special(-4)),
        "latest-tiered" => Ok(OffsetAt::Special(-5)),
        "earliest-pending-upload" => Ok(OffsetAt::Special(-6)),
        text => text.parse().map(OffsetAt::Time).map_err(|_| {
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
        let wrong = || tool_failed(format!("Error occurred: Invalid rule specification: {text}"));
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
fn partition_rules(args: &Parsed) -> Result<Vec<PartitionRule>, ToolError> {
    if let Some(all) = args.one("topic-partitions") {
        if args.has("topic") || args.has("partitions") {
            return Err(tool_failed(
                "--topic-partitions cannot be used with --topic or --partitions",
            ));
        }
        return all.trim_end_matches(',').split(',').map(PartitionRule::new).collect();
    }
    let topics = topic_pattern(args.one("topic").unwrap_or(".*"))?;
    let Some(list) = args.one("partitions").filter(|it| !it.is_empty()) else {
        return Ok(vec![PartitionRule { topics, partitions: 0..i32::MAX }]);
    };
    let one = |text: &str| {
        let number: i32 = text.parse().map_err(|_| {
            tool_failed(format!(
                "--partitions expects a comma separated list of numeric partition ids, but received: {list}"
            ))
        })?;
        Ok(PartitionRule { topics: topics.clone(), partitions: number..number.saturating_add(1) })
    };
    list.trim_end_matches(',').split(',').map(one).collect()
}

fn run_get_offsets(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let at = offset_at(args.one("time").unwrap_or("latest"))?;
    let rules = partition_rules(args)?;
    let client = session.connect()?;
    let mut topics = session.wait(client.describe_topics(None))?;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let mut places = Vec::new();
    for topic in topics {
        let name = topic.name;
        if topic.is_internal && args.has("exclude-internal-topics") {
            continue;
        }
        let mut indexes: Vec<i32> = topic.partitions.iter().map(|it| it.partition).collect();
        indexes.sort_unstable();
        let wanted = |it: &i32| rules.iter().any(|rule| rule.covers(&name, *it));
        places.extend(
            indexes.into_iter().filter(wanted).map(|it| TopicPartition::new(name.as_str(), it)),
        );
    }
    if places.is_empty() {
        return Err(tool_failed("Could not match any topic-partitions with the specified filters"));
    }
    let found = session.wait(client.offsets_at(&places, at, IsolationLevel::Uncommitted));
    for place in &places {
        print_offset(session, &client, place, at, found.get(place).copied())?;
    }
    Ok(())
}

fn print_offset(
    session: &mut ToolSession<'_>,
    client: &Client,
    place: &TopicPartition,
    at: OffsetAt,
    found: Option<i64>,
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

fn run_delete_records(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
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
    let before: PartitionOffsets = asked.into_iter().collect();
    let done = session.wait(client.delete_records(&before))?;
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
fn broker_ids(list: Option<&str>) -> Result<Option<Vec<i32>>, ToolError> {
    let words = list.unwrap_or_default().split(',').filter(|it| !it.is_empty());
    let one = |id: &str| {
        id.parse()
            .map_err(|_| tool_failed(format!("--broker-list: {id} is not the id of a broker")))
    };
    let mut ids = words.map(one).collect::<Result<Vec<i32>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids).filter(|it| !it.is_empty()))
}

fn run_log_dirs(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    if !args.has("describe") {
        return Err(ToolError::Usage("Missing required option(s) [describe]".to_owned()));
    }
    let some: Vec<&str> =
        args.one("topic-list").unwrap_or_default().split(',').filter(|it| !it.is_empty()).collect();
    let client = session.connect()?;
    let all = session.wait(client.all_brokers())?;
    let nodes = broker_ids(args.one("broker-list"))?.unwrap_or_else(|| all.clone());
    if let Some(unknown) = nodes.iter().find(|it| !all.contains(it)) {
        return Err(tool_failed(format!(
            "ERROR: The given brokers do not exist from --broker-list: {unknown}. Current existent brokers: {all:?}"
        )));
    }
    writeln!(session.out, "Querying brokers for log directories information")?;
    let mut brokers = Vec::new();
    for node in &nodes {
        let dirs = session.wait(client.describe_log_dirs(*node)).map_err(plain_error)?;
        let dirs: Vec<String> = dirs.iter().map(|it| dir_json(it, &some)).collect();
        brokers.push(format!("{{\"broker\":{node},\"logDirs\":[{}]}}", dirs.join(",")));
    }
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    writeln!(session.out, "Received log directory information from brokers {}", ids.join(","))?;
    writeln!(session.out, "{{\"brokers\":[{}],\"version\":1}}", brokers.join(","))?;
    Ok(())
}

/// A directory as JSON, its fields in the order of Apache's tool.
fn dir_json(dir: &LogDirDescription, some: &[&str]) -> String {
    let wanted = |name: &str| some.is_empty() || some.contains(&name);
    let replicas = dir.replicas.iter().filter(|replica| wanted(&replica.place.topic));
    let replicas = replicas.map(|replica| {
        format!(
            "{{\"partition\":\"{}\",\"size\":{},\"offsetLag\":{},\"isFuture\":{}}}",
            replica.place, replica.size_bytes, replica.offset_lag, replica.is_future
        )
    });
    let partitions = replicas.collect::<Vec<_>>().join(",");
    let error = (dir.error != ErrorCode::NONE).then(|| class_of(dir.error));
    let (error, path) = (json!(error), json!(dir.path));
    format!("{{\"partitions\":[{partitions}],\"error\":{error},\"logDir\":{path}}}")
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
        let times = ["earliest", "17"].map(|text| offset_at(text).unwrap());
        assert_eq!(times, [OffsetAt::Earliest, OffsetAt::Time(17)]);
        assert!(offset_at("soon").is_err());
    }
}
