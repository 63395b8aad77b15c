//! kafka-consumer-groups and kafka-groups.

mod describe;
mod reset;

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Cluster, CoordinatorOf, Offsets, TopicPartition};
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_types::ErrorCode;

use crate::Tool;
use crate::options::{Opt, Parsed, flag, maybe, value, values};
use crate::session::{Session, ToolError, failed, refused};
use crate::table::columns;

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-consumer-groups",
        about: "List, show and delete consumer groups, and move their offsets.",
        options: OPTIONS,
        run,
    },
    &Tool {
        name: "kafka-groups",
        about: "List groups of all kinds.",
        options: LIST_OPTIONS,
        run: list_all,
    },
];

const OPTIONS: &[Opt] = &[
    flag("list", "List the groups."),
    flag("describe", "Show how far groups have read, and who is in them."),
    flag("delete", "Delete groups, or the offsets of topics in them."),
    flag("reset-offsets", "Move the offsets of a group that nobody is in."),
    flag("delete-offsets", "Delete the offsets of topics."),
    values("group", "ID", "The group; may be repeated."),
    flag("all-groups", "All groups."),
    values("topic", "NAME[:0,1]", "The topic, or some of its partitions; may be repeated."),
    flag("all-topics", "All topics that the group has offsets of."),
    value("from-file", "FILE", "With --reset-offsets: a CSV file of topic,partition,offset."),
    value("timeout", "MS", "Has no effect here."),
    flag("dry-run", "With --reset-offsets: only show what would be (the default)."),
    flag("execute", "With --reset-offsets: do it."),
    flag("export", "With --reset-offsets: print a CSV file."),
    value("to-offset", "OFFSET", "With --reset-offsets: to this offset."),
    value(
        "to-datetime",
        "TIME",
        "To the first record at or after, such as 2026-11-21T10:00:00.000.",
    ),
    value("by-duration", "PERIOD", "To so long ago, such as PT1H."),
    flag("to-earliest", "To the first record."),
    flag("to-latest", "Behind the last record."),
    value("shift-by", "COUNT", "By so many records, forth or (negative) back."),
    flag("to-current", "To where it is."),
    flag("members", "With --describe: who is in the group."),
    flag("offsets", "With --describe: how far it has read (the default)."),
    flag("verbose", "With --describe: more columns."),
    maybe(
        "state",
        "STATE,...",
        "With --describe: the group's state; with --list: in which states.",
    ),
    maybe("type", "TYPE,...", "With --list: groups of these types, and show the type."),
    flag("validate-regex", "Has no effect here."),
];

const LIST_OPTIONS: &[Opt] = &[
    flag("list", "List the groups."),
    value("group-type", "TYPE", "Only groups of this type: classic, consumer, share or streams."),
    value("protocol", "PROTOCOL", "Only groups of this protocol."),
    flag("consumer", "Only groups of consumers."),
    flag("share", "Only share groups."),
    flag("streams", "Only groups of Kafka Streams."),
];

fn run(args: &Parsed, session: &mut Session<'_>) -> Result<(), ToolError> {
    let actions = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
    let Some(action) = args.only(&actions) else {
        let usage = "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets";
        return Err(ToolError::Usage(usage.to_owned()));
    };
    if action != "list" && args.one("group").is_none() && !args.has("all-groups") {
        let usage = format!("Option [{action}] takes one of these options: [all-groups], [group]");
        return Err(ToolError::Usage(usage));
    }
    let mut cluster = session.connect()?;
    let cluster = &mut cluster;
    let done = match action {
        "list" => list(args, session, cluster),
        "describe" => describe::describe(args, session, cluster),
        "delete" => delete(args, session, cluster),
        "reset-offsets" => reset::reset(args, session, cluster),
        _ => delete_offsets(args, session, cluster),
    };
    match done {
        // Apache's tool says it on the standard output, and ends as if all were well.
        Err(ToolError::Failed(why)) => Ok(writeln!(session.out, "\nError: {why}")?),
        Err(ToolError::Client(why)) => Ok(writeln!(session.out, "\nError: {why}")?),
        other => other,
    }
}

/// All groups, on all brokers.
fn every(
    session: &Session<'_>,
    cluster: &mut Cluster,
    states: &[&str],
    types: &[&str],
) -> Result<Vec<ListedGroup>, ToolError> {
    let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    let mut found = Vec::new();
    for node in session.wait(cluster.all_brokers())? {
        let request = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
            ..Default::default()
        };
        let response = session.wait(cluster.ask(node, &request))?;
        refused(response.error_code, None)?;
        found.extend(response.groups);
    }
    found.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    Ok(found)
}

fn is_of_consumers(group: &ListedGroup) -> bool {
    group.protocol_type == "consumer" || group.protocol_type.is_empty()
}

fn list(args: &Parsed, session: &mut Session<'_>, cluster: &mut Cluster) -> Result<(), ToolError> {
    let words = |name| args.one(name).unwrap_or_default().split(',').map(str::trim);
    let some = |name| words(name).filter(|it| !it.is_empty()).collect::<Vec<_>>();
    let states: Vec<String> = some("state").iter().map(|it| pascal(it)).collect();
    let states: Vec<&str> = states.iter().map(String::as_str).collect();
    let types = some("type");
    let types =
        if types.is_empty() && args.has("type") { vec!["classic", "consumer"] } else { types };
    let mut found = every(session, cluster, &states, &types)?;
    found.retain(is_of_consumers);
    let shows = [args.has("type"), args.has("state")];
    if shows == [false, false] {
        for group in found {
            writeln!(session.out, "{}", group.group_id)?;
        }
        return Ok(());
    }
    let row = |id: &str, kind: &str, state: &str| {
        let all = [(true, id, 25), (shows[0], kind, 20), (shows[1], state, 20)];
        let all = all.into_iter().filter(|(shown, ..)| *shown);
        all.map(|(_, text, width)| format!("{text:width$}")).collect::<Vec<_>>().join(" ")
    };
    writeln!(session.out, "{}", row("GROUP", "TYPE", "STATE"))?;
    for it in found {
        let kind = pascal(&it.group_type);
        writeln!(session.out, "{}", row(&it.group_id, &kind, &it.group_state))?;
    }
    Ok(())
}

/// `PreparingRebalance` from `preparingrebalance` or `preparing_rebalance`, `Stable` from `stable`.
fn pascal(text: &str) -> String {
    let known = [
        "PreparingRebalance",
        "CompletingRebalance",
        "Stable",
        "Dead",
        "Empty",
        "Assigning",
        "Reconciling",
    ];
    let plain = text.replace('_', "");
    if let Some(found) = known.into_iter().find(|it| it.eq_ignore_ascii_case(&plain)) {
        return found.to_owned();
    }
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn list_all(args: &Parsed, session: &mut Session<'_>) -> Result<(), ToolError> {
    if !args.has("list") {
        return Err(ToolError::Usage("Command must include exactly one action: --list".to_owned()));
    }
    let mut cluster = session.connect()?;
    let kind = args.one("group-type");
    let mut found = every(session, &mut cluster, &[], &kind.into_iter().collect::<Vec<_>>())?;
    let protocol = args.one("protocol");
    found.retain(|it| {
        protocol.is_none_or(|wanted| it.protocol_type == wanted)
            && (!args.has("consumer") || is_of_consumers(it))
            && (!args.has("share") || it.group_type == "share")
            && (!args.has("streams") || it.group_type == "streams")
    });
    let head = ["GROUP", "TYPE", "PROTOCOL"].map(str::to_owned).to_vec();
    let row = |it: ListedGroup| vec![it.group_id, pascal(&it.group_type), it.protocol_type];
    let rows: Vec<Vec<String>> = [head].into_iter().chain(found.into_iter().map(row)).collect();
    write!(session.out, "{}", columns(&rows, &[20, 20]))?;
    Ok(())
}

/// The groups that the command line names.
fn named(
    args: &Parsed,
    session: &Session<'_>,
    cluster: &mut Cluster,
) -> Result<Vec<String>, ToolError> {
    if !args.has("all-groups") {
        return Ok(args.all("group").map(str::to_owned).collect());
    }
    let all = every(session, cluster, &[], &[])?.into_iter();
    Ok(all.filter(is_of_consumers).map(|it| it.group_id).collect())
}

fn delete(
    args: &Parsed,
    session: &mut Session<'_>,
    cluster: &mut Cluster,
) -> Result<(), ToolError> {
    let (mut gone, mut wrong) = (Vec::new(), Vec::new());
    for group in named(args, session, cluster)? {
        let node = session.wait(cluster.coordinator(CoordinatorOf::Group, &group))?;
        let groups_names = vec![group.clone()];
        let request = DeleteGroupsRequest { groups_names, ..Default::default() };
        let response = session.wait(cluster.ask(node, &request))?;
        let code = response.results.first().map_or(-1, |it| it.error_code);
        match ErrorCode(code) {
            ErrorCode::NONE => gone.push(format!("'{group}'")),
            code => wrong.push(format!(
                "* Group '{group}' could not be deleted due to: {} ({})",
                code.message(),
                code.name()
            )),
        }
    }
    if wrong.is_empty() {
        let gone = gone.join(", ");
        writeln!(session.out, "Deletion of requested consumer groups ({gone}) was successful.")?;
        return Ok(());
    }
    writeln!(
        session.out,
        "\nError: Deletion of some consumer groups failed:\n{}",
        wrong.join("\n")
    )?;
    if !gone.is_empty() {
        writeln!(
            session.out,
            "\nThese consumer groups were deleted successfully: {}",
            gone.join(", ")
        )?;
    }
    Ok(())
}

/// The partitions that `--topic` words name, in one group's offsets or in the cluster.
fn places(
    args: &Parsed,
    session: &Session<'_>,
    cluster: &mut Cluster,
    known: &Offsets,
) -> Result<BTreeSet<TopicPartition>, ToolError> {
    let mut all = BTreeSet::new();
    if args.has("all-topics") {
        all.extend(known.keys().cloned());
    }
    for word in args.all("topic") {
        let (topic, some) = word.split_once(':').map_or((word, None), |(a, b)| (a, Some(b)));
        if let Some(some) = some {
            for it in some.split(',') {
                let partition = it.trim().parse();
                let partition = partition.map_err(|_| {
                    failed(format!(
                        "Invalid topic arg '{word}', expected topic name and partitions"
                    ))
                })?;
                all.insert(TopicPartition::new(topic, partition));
            }
            continue;
        }
        let found = session.wait(cluster.refresh(Some(&[topic.to_owned()]), false))?;
        for it in found {
            refused(it.error_code, None)?;
            all.extend(
                it.partitions.iter().map(|it| TopicPartition::new(topic, it.partition_index)),
            );
        }
    }
    Ok(all)
}

fn delete_offsets(
    args: &Parsed,
    session: &mut Session<'_>,
    cluster: &mut Cluster,
) -> Result<(), ToolError> {
    let group = args.one("group").unwrap_or_default().to_owned();
    let known = session.wait(cluster.group_offsets(&group))?;
    let known: Offsets = known.into_iter().map(|(place, (offset, _))| (place, offset)).collect();
    let places = places(args, session, cluster, &known)?;
    let mut topics: BTreeMap<String, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
    for place in &places {
        let partition_index = place.partition;
        let one = OffsetDeleteRequestPartition { partition_index, ..Default::default() };
        topics.entry(place.topic.to_string()).or_default().push(one);
    }
    let topics = topics.into_iter();
    let topics = topics.map(|(name, partitions)| OffsetDeleteRequestTopic {
        name,
        partitions,
        ..Default::default()
    });
    let node = session.wait(cluster.coordinator(CoordinatorOf::Group, &group))?;
    let request = OffsetDeleteRequest {
        group_id: group.clone(),
        topics: topics.collect(),
        ..Default::default()
    };
    let response = session.wait(cluster.ask(node, &request))?;
    refused(response.error_code, None)?;
    let mut codes: BTreeMap<(String, i32), i16> = BTreeMap::new();
    for topic in response.topics {
        for it in topic.partitions {
            codes.insert((topic.name.clone(), it.partition_index), it.error_code);
        }
    }
    let failures = codes.values().any(|code| *code != 0);
    let how = if failures {
        "Encountered some partition level error, see the follow-up details:"
    } else {
        ""
    };
    if failures {
        writeln!(session.out, "{how}")?;
    } else {
        writeln!(session.out, "Request succeeded for deleting offsets from group {group}.")?;
    }
    writeln!(session.out, "\n{:15} {:10} {:15}", "TOPIC", "PARTITION", "STATUS")?;
    for ((topic, partition), code) in codes {
        let status = match ErrorCode(code) {
            ErrorCode::NONE => "Successful".to_owned(),
            code => format!("Error: {}", code.message()),
        };
        writeln!(session.out, "{topic:15} {partition:<10} {status:15}")?;
    }
    Ok(())
}
