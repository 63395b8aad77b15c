//! kafka-consumer-groups and kafka-groups.

mod csv;
mod describe;
mod reset;
mod times;

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Client, GroupFilter, GroupListing, PartitionOffsets, TopicPartition};
use ottla_types::ErrorCode;

use crate::exceptions::exception;
use crate::options::{Opt, Parsed, flag, maybe_value, value, values};
use crate::session::{ToolError, ToolSession, plain_error, tool_failed};
use crate::table::columns;
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-consumer-groups",
        about: "List, show and delete consumer groups, and move their offsets.",
        options: OPTIONS,
        run: run_consumer_groups,
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
    flag("describe", "Describe groups: committed offsets, lag and members."),
    flag("delete", "Delete groups, or the offsets of topics in them."),
    flag("reset-offsets", "Change the committed offsets of a group without members."),
    flag("delete-offsets", "Delete the offsets of topics."),
    values("group", "ID", "The group; may be repeated."),
    flag("all-groups", "All groups."),
    values("topic", "NAME[:0,1]", "The topic, or some of its partitions; may be repeated."),
    flag("all-topics", "All topics that the group has offsets of."),
    value("from-file", "FILE", "With --reset-offsets: a CSV file of topic,partition,offset."),
    value("timeout", "MS", "No effect."),
    flag("dry-run", "With --reset-offsets: print the new offsets, change nothing (the default)."),
    flag("execute", "With --reset-offsets: commit the new offsets."),
    flag("export", "With --reset-offsets: print a CSV file."),
    value("to-offset", "OFFSET", "With --reset-offsets: to this offset."),
    value(
        "to-datetime",
        "TIME",
        "To the first record at or after, such as 2026-11-21T10:00:00.000.",
    ),
    value("by-duration", "PERIOD", "To the offset at this time before now, such as PT1H."),
    flag("to-earliest", "To the first record."),
    flag("to-latest", "After the last record."),
    value("shift-by", "COUNT", "By this number of records, forward or (negative) backward."),
    flag("to-current", "To the current committed offset."),
    flag("members", "With --describe: the members of the group."),
    flag("offsets", "With --describe: committed offsets and lag (the default)."),
    flag("verbose", "With --describe: more columns."),
    maybe_value(
        "state",
        "STATE,...",
        "With --describe: the group's state; with --list: in which states.",
    ),
    maybe_value("type", "TYPE,...", "With --list: groups of these types, and show the type."),
    value("validate-regex", "REGEX", "Check a regular expression."),
];

const LIST_OPTIONS: &[Opt] = &[
    flag("list", "List the groups."),
    value("group-type", "TYPE", "Only groups of this type: classic, consumer, share or streams."),
    value("protocol", "PROTOCOL", "Only groups of this protocol."),
    flag("consumer", "Only groups of consumers."),
    flag("share", "Only share groups."),
    flag("streams", "Only groups of Kafka Streams."),
];

const ACTIONS: [&str; 6] =
    ["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];

/// Options, and with which others they cannot stand.
const EXCLUSIVE: [(&str, &[&str]); 4] = [
    ("group", &["all-groups", "list"]),
    ("topic", &["list", "describe", "delete"]),
    ("members", &["offsets", "state"]),
    ("offsets", &["state"]),
];

/// Options, and the actions that they belong to.
const BELONG: [(&str, &[&str]); 5] = [
    ("members", &["describe"]),
    ("offsets", &["describe"]),
    ("verbose", &["describe"]),
    ("state", &["describe", "list"]),
    ("type", &["list"]),
];

fn check_options(args: &Parsed, action: &str) -> Result<(), String> {
    let missing = match action {
        "describe" | "delete" | "reset-offsets" => !args.has("group") && !args.has("all-groups"),
        _ => false,
    };
    if missing {
        return Err(format!("Option [{action}] takes one of these options: [all-groups], [group]"));
    }
    if action == "delete-offsets" && !(args.has("group") && args.has("topic")) {
        return Err(format!("Option [{action}] takes the following options: [group], [topic]"));
    }
    for (option, others) in EXCLUSIVE {
        if let Some(other) = others.iter().find(|it| args.has(option) && args.has(it)) {
            return Err(format!("Option \"[{option}]\" can't be used with option \"[{other}]\""));
        }
    }
    for (option, actions) in BELONG {
        if args.has(option) && !actions.contains(&action) {
            return Err(format!(
                "Option(s) [{option}] are unavailable given other options on the command line"
            ));
        }
    }
    if action == "describe" && args.one("state").is_some() {
        return Err("Option [describe] does not take a value for [state]".to_owned());
    }
    if action == "reset-offsets" {
        if args.has("dry-run") && args.has("execute") {
            return Err("Option [reset-offsets] only accepts one of [execute] and [dry-run]".into());
        }
        let given: Vec<&str> = reset::TARGETS.into_iter().filter(|it| args.has(it)).collect();
        if let [one, other, ..] = given.as_slice() {
            return Err(format!("Option \"[{one}]\" can't be used with option \"[{other}]\""));
        }
    }
    Ok(())
}

fn run_consumer_groups(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let Some(action) = args.only(&ACTIONS) else {
        let all = ACTIONS.map(|it| format!("--{it}")).join(", ");
        return Err(ToolError::Usage(format!("Command must include exactly one action: {all}")));
    };
    check_options(args, action).map_err(ToolError::Usage)?;
    if let Some(pattern) = args.one("validate-regex") {
        let how = match regex::Regex::new(pattern) {
            Ok(_) => "valid".to_owned(),
            Err(why) => format!("invalid: {why}"),
        };
        writeln!(session.out, "The regular expression `{pattern}` is {how}.")?;
        return Ok(());
    }
    let client = session.connect()?;
    let client = &client;
    let done = match action {
        "list" => list_groups(args, session, client),
        "describe" => describe::describe_groups(args, session, client),
        "delete" => delete_groups(args, session, client),
        "reset-offsets" => reset::reset_offsets(args, session, client),
        _ => delete_offsets(args, session, client),
    };
    match done {
        // Apache's tool says it on the standard output, and ends as if all were well.
        Err(ToolError::Failed(why)) => print_failure(session, &why),
        Err(ToolError::Client(why)) => print_failure(session, &why.to_string()),
        other => other,
    }
}

fn print_failure(session: &mut ToolSession<'_>, why: &str) -> Result<(), ToolError> {
    writeln!(session.out, "\nError: Executing consumer group command failed due to {why}")?;
    Ok(())
}

/// All groups, on all brokers.
fn all_groups(
    session: &ToolSession<'_>,
    client: &Client,
    filter: &GroupFilter,
) -> Result<Vec<GroupListing>, ToolError> {
    session.wait(client.list_groups(filter)).map_err(plain_error)
}

fn is_of_consumers(group: &GroupListing) -> bool {
    group.protocol == "consumer" || group.protocol.is_empty()
}

fn list_groups(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let words = |name| args.one(name).unwrap_or_default().split(',').map(str::trim);
    let some = |name| words(name).filter(|it| !it.is_empty()).collect::<Vec<_>>();
    let states: Vec<String> = some("state").iter().map(|it| pascal_case(it)).collect();
    check_known("state", args.one("state"), &states, &STATES)?;
    let types: Vec<String> = some("type").iter().map(|it| it.to_lowercase()).collect();
    check_known("types", args.one("type"), &types, &TYPES)?;
    let types = match types.is_empty() && args.has("type") {
        true => TYPES.map(str::to_owned).to_vec(),
        false => types,
    };
    let mut found = all_groups(session, client, &GroupFilter { states, types })?;
    found.retain(is_of_consumers);
    let shows = [args.has("type"), args.has("state")];
    if shows == [false, false] {
        for group in found {
            writeln!(session.out, "{}", group.id)?;
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
        let kind = pascal_case(&it.kind);
        writeln!(session.out, "{}", row(&it.id, &kind, &it.state))?;
    }
    Ok(())
}

const STATES: [&str; 7] = [
    "PreparingRebalance",
    "CompletingRebalance",
    "Stable",
    "Dead",
    "Empty",
    "Assigning",
    "Reconciling",
];
const TYPES: [&str; 2] = ["classic", "consumer"];

/// Refuses words that are not known.
fn check_known(
    what: &str,
    said: Option<&str>,
    words: &[String],
    known: &[&str],
) -> Result<(), ToolError> {
    if words.iter().all(|it| known.contains(&it.as_str())) {
        return Ok(());
    }
    let (said, known) = (said.unwrap_or_default(), known.join(", "));
    let usage = format!("Invalid {what} list '{said}'. Valid {what}s are: {known}");
    Err(ToolError::Usage(usage.replace("typess", "types")))
}

/// `PreparingRebalance` from `preparingrebalance` or `preparing_rebalance`, `Stable` from `stable`.
fn pascal_case(text: &str) -> String {
    let plain = text.replace('_', "");
    if let Some(found) = STATES.into_iter().find(|it| it.eq_ignore_ascii_case(&plain)) {
        return found.to_owned();
    }
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn list_all(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    if !args.has("list") {
        return Err(ToolError::Usage("Command must include exactly one action: --list".to_owned()));
    }
    let client = session.connect()?;
    let types = args.one("group-type").map(str::to_owned).into_iter().collect();
    let mut found = all_groups(session, &client, &GroupFilter { types, ..Default::default() })?;
    let protocol = args.one("protocol");
    found.retain(|group| {
        protocol.is_none_or(|wanted| group.protocol == wanted)
            && (!args.has("consumer") || is_of_consumers(group))
            && (!args.has("share") || group.kind == "share")
            && (!args.has("streams") || group.kind == "streams")
    });
    let head = ["GROUP", "TYPE", "PROTOCOL"].map(str::to_owned).to_vec();
    let row = |it: GroupListing| vec![it.id, pascal_case(&it.kind), it.protocol];
    let rows: Vec<Vec<String>> = [head].into_iter().chain(found.into_iter().map(row)).collect();
    write!(session.out, "{}", columns(&rows, &[20, 20]))?;
    Ok(())
}

/// The groups that the command line names.
fn named_groups(
    args: &Parsed,
    session: &ToolSession<'_>,
    client: &Client,
) -> Result<Vec<String>, ToolError> {
    if !args.has("all-groups") {
        return Ok(args.all("group").map(str::to_owned).collect());
    }
    let all = all_groups(session, client, &GroupFilter::default())?.into_iter();
    Ok(all.filter(is_of_consumers).map(|it| it.id).collect())
}

fn delete_groups(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let (mut gone, mut wrong) = (Vec::new(), Vec::new());
    for group in named_groups(args, session, client)? {
        match session.wait(client.delete_group(&group)) {
            Ok(()) => gone.push(format!("'{group}'")),
            Err(error) => {
                let Some(code) = error.code() else { return Err(error.into()) };
                wrong.push(format!(
                    "* Group '{group}' could not be deleted due to: {}",
                    exception(code, None)
                ));
            }
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

/// The partitions that a `--topic` word names; none if it is the name of a topic alone.
fn named_partitions(word: &str) -> Result<Option<Vec<TopicPartition>>, ToolError> {
    if !word.contains(':') {
        return Ok(None);
    }
    let mut parts: Vec<&str> = word.split(':').collect();
    while parts.last().is_some_and(|it| it.is_empty()) {
        parts.pop();
    }
    let [topic, list] = parts.as_slice() else {
        let usage = format!("Invalid topic arg '{word}', expected topic name and partitions");
        return Err(ToolError::Usage(usage));
    };
    let one = |index: &str| match index.parse() {
        Ok(partition) => Ok(TopicPartition::new(*topic, partition)),
        Err(_) => Err(ToolError::Usage(format!(
            "Invalid partition '{index}' specified in topic arg '{word}'"
        ))),
    };
    list.trim_end_matches(',').split(',').map(one).collect::<Result<_, _>>().map(Some)
}

/// The partitions that `--topic` words name, or those that a group has offsets of. They exist, and
/// have a leader.
fn chosen_partitions(
    args: &Parsed,
    session: &ToolSession<'_>,
    client: &Client,
    known: &PartitionOffsets,
) -> Result<BTreeSet<TopicPartition>, ToolError> {
    let mut all = BTreeSet::new();
    if args.has("all-topics") {
        all.extend(known.keys().cloned());
    } else {
        for word in args.all("topic") {
            match named_partitions(word)? {
                Some(some) => all.extend(some),
                None => all.extend(
                    whole_topic(session, client, word)?
                        .map_err(|code| tool_failed(exception(code, None)))?,
                ),
            }
        }
    }
    check_places(session, client, &all)?;
    Ok(all)
}

/// The partitions of a topic, or why it has none.
fn whole_topic(
    session: &ToolSession<'_>,
    client: &Client,
    topic: &str,
) -> Result<Result<Vec<TopicPartition>, ErrorCode>, ToolError> {
    let found = session.wait(client.describe_topic(topic))?;
    if found.error != ErrorCode::NONE {
        return Ok(Err(found.error));
    }
    let place = |index| TopicPartition::new(topic, index);
    Ok(Ok(found.partitions.iter().map(|it| place(it.partition)).collect()))
}

/// Refuses partitions that do not exist, or have no leader.
fn check_places<'a>(
    session: &ToolSession<'_>,
    client: &Client,
    places: impl IntoIterator<Item = &'a TopicPartition>,
) -> Result<(), ToolError> {
    let places: Vec<&TopicPartition> = places.into_iter().collect();
    if places.is_empty() {
        return Ok(());
    }
    let topics: BTreeSet<String> = places.iter().map(|it| it.topic.to_string()).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let mut leaders: BTreeMap<TopicPartition, i32> = BTreeMap::new();
    for topic in session.wait(client.describe_topics(Some(&topics)))? {
        let name = topic.name.as_str();
        if topic.error != ErrorCode::NONE {
            return Err(tool_failed(format!("topic {name}: {}", exception(topic.error, None))));
        }
        let places = topic.partitions.iter();
        leaders.extend(places.map(|it| (TopicPartition::new(name, it.partition), it.leader)));
    }
    let list = |is_one: &dyn Fn(Option<i32>) -> bool| {
        let found = places.iter().filter(|it| is_one(leaders.get(**it).copied()));
        found.map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    let (missing, leaderless) =
        (list(&|leader| leader.is_none()), list(&|leader| leader.is_some_and(|it| it < 0)));
    if !missing.is_empty() {
        return Err(tool_failed(format!("The partitions \"{missing}\" do not exist")));
    }
    if !leaderless.is_empty() {
        return Err(tool_failed(format!("The partitions \"{leaderless}\" have no leader")));
    }
    Ok(())
}

fn delete_offsets(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let groups: Vec<&str> = args.all("group").collect();
    let [group] = groups.as_slice() else {
        let usage = "Found multiple arguments for option group, but you asked for only one";
        return Err(ToolError::Usage(usage.to_owned()));
    };
    let (mut places, mut status) = (BTreeSet::new(), BTreeMap::new());
    for word in args.all("topic") {
        match named_partitions(word)? {
            Some(some) => places.extend(some),
            None => match whole_topic(session, client, word)? {
                Ok(all) => places.extend(all),
                // The topic as a whole.
                Err(code) => drop(status.insert(TopicPartition::new(word, -1), code)),
            },
        }
    }
    let (code, deleted) = ask_to_delete(session, client, group, &places)?;
    match code {
        ErrorCode::NONE => {
            writeln!(session.out, "Request succeeded for deleting offsets from group {group}.")?;
        }
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC => writeln!(
            session.out,
            "\nError: Encountered some partition-level error, see the follow-up details."
        )?,
        code => writeln!(session.out, "\nError: {}", code.message())?,
    }
    status.extend(deleted);
    let row = |(place, code): (TopicPartition, ErrorCode)| {
        let partition = place.partition;
        let partition = if partition < 0 { "-".to_owned() } else { partition.to_string() };
        let status = match code {
            ErrorCode::NONE => "Successful".to_owned(),
            code => format!("Error: {}", exception(code, None)),
        };
        vec![place.topic.to_string(), partition, status]
    };
    let head = ["TOPIC", "PARTITION", "STATUS"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(status.into_iter().map(row)).collect();
    write!(session.out, "\n{}", columns(&rows, &[15, 10]))?;
    Ok(())
}

/// What became of each partition.
type Deleted = BTreeMap<TopicPartition, ErrorCode>;

/// Asks a group's coordinator to delete offsets: what became of all of it (the first error there
/// is), and what of each partition.
fn ask_to_delete(
    session: &ToolSession<'_>,
    client: &Client,
    group: &str,
    places: &BTreeSet<TopicPartition>,
) -> Result<(ErrorCode, Deleted), ToolError> {
    let codes = match session.wait(client.delete_group_offsets(group, places)) {
        Ok(codes) => codes,
        Err(error) => {
            let Some(all) = error.code() else { return Err(error.into()) };
            return Ok((all, places.iter().map(|place| (place.clone(), all)).collect()));
        }
    };
    let first = codes.values().copied().find(|code| *code != ErrorCode::NONE);
    Ok((first.unwrap_or(ErrorCode::NONE), codes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_topic_are_named_behind_a_colon() {
        let those = |word: &str| match named_partitions(word) {
            Ok(None) => "all".to_owned(),
            Ok(Some(all)) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(why) => why.to_string(),
        };
        assert_eq!(those("t"), "all");
        assert_eq!(those("t:0,2"), "t-0 t-2");
        assert_eq!(those("t:0,"), "t-0");
        assert_eq!(those("t:x"), "Invalid partition 'x' specified in topic arg 't:x'");
        assert_eq!(those("t: 1"), "Invalid partition ' 1' specified in topic arg 't: 1'");
        for word in ["t:", "t:0:1", ":"] {
            let right = format!("Invalid topic arg '{word}', expected topic name and partitions");
            assert_eq!(those(word), right);
        }
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        for (line, right) in [
            ("--list --group g", "can't be used with"),
            ("--group g --all-groups --describe", "can't be used with"),
            ("--describe --group g --members --state", "can't be used with"),
            ("--describe --group g --state Stable", "does not take a value"),
            ("--describe --group g --topic t", "can't be used with"),
            ("--delete --group g --topic t", "can't be used with"),
            ("--delete", "takes one of these options"),
            ("--delete-offsets --group g", "takes the following options"),
            ("--delete-offsets --all-groups --topic t", "takes the following options"),
            ("--list --verbose", "unavailable"),
            ("--delete --group g --type classic", "unavailable"),
            ("--reset-offsets --group g --dry-run --execute", "only accepts one of"),
            ("--reset-offsets --group g --to-earliest --to-latest", "can't be used with"),
            ("--reset-offsets --group g --from-file f --to-offset 3", "can't be used with"),
            ("--reset-offsets --group g --all-topics --to-current", ""),
            ("--list --state Stable", ""),
        ] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let args = Parsed::read(&words, OPTIONS).unwrap();
            let action = args.only(&ACTIONS).unwrap();
            let why = check_options(&args, action).err().unwrap_or_default();
            assert!(why.contains(right) && why.is_empty() == right.is_empty(), "{line}: {why}");
        }
    }
}
