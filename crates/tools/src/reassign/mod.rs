//! kafka-reassign-partitions.

mod execute;
mod verify;

use std::collections::BTreeMap;

use ottla_client::{Brokers, ChangeMode, Client, ConfigResource, Reassignment, TopicPartition};
use ottla_types::{ErrorCode, NodeId};
use serde_json::json;

use crate::json::{PlanEntry, PlanFile};
use crate::options::{BOOTSTRAP_CONTROLLER, Opt, Parsed, flag, value};
use crate::session::{ToolError, ToolSession, plain_error, tool_failed};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-reassign-partitions",
    about: "Move partitions to other brokers, or to other directories of theirs.",
    options: OPTIONS,
    run: run_reassign,
}];

const OPTIONS: &[Opt] = &[
    BOOTSTRAP_CONTROLLER,
    flag("generate", "Propose a reassignment of the partitions of topics."),
    flag("execute", "Start the reassignment in --reassignment-json-file."),
    flag("verify", "Print whether the reassignment is complete; if so, remove the throttles."),
    flag("cancel", "Cancel a reassignment."),
    flag("list", "List reassignments in progress."),
    value("topics-to-move-json-file", "FILE", "With --generate: the topics to reassign."),
    value("broker-list", "ID,...", "With --generate: the brokers to use."),
    value("reassignment-json-file", "FILE", "The reassignment: the replicas of each partition."),
    value("throttle", "BYTES", "The limit in bytes per second between brokers."),
    value(
        "replica-alter-log-dirs-throttle",
        "BYTES",
        "The limit in bytes per second between log directories.",
    ),
    value("timeout", "MS", "How long to wait for a directory to be taken (default: 10000)."),
    flag("additional", "Also while other reassignments are in progress."),
    flag("preserve-throttles", "Do not change throttles."),
    flag("disable-rack-aware", "Ignore racks."),
    flag("disallow-replication-factor-change", "Refuse a change of the replication factor."),
];

const ACTIONS: [&str; 5] = ["generate", "execute", "verify", "cancel", "list"];
/// Options that go with every action.
const EVERYWHERE: [&str; 4] =
    ["bootstrap-server", "bootstrap-controller", "command-config", "zookeeper"];
/// Options that go with each action besides.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("generate", &["topics-to-move-json-file", "broker-list", "disable-rack-aware"]),
    (
        "execute",
        &[
            "reassignment-json-file",
            "additional",
            "throttle",
            "replica-alter-log-dirs-throttle",
            "timeout",
            "disallow-replication-factor-change",
        ],
    ),
    ("verify", &["reassignment-json-file", "preserve-throttles"]),
    ("cancel", &["reassignment-json-file", "preserve-throttles", "timeout"]),
    ("list", &[]),
];
const BROKER_THROTTLES: [&str; 3] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];
const TOPIC_THROTTLES: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
/// What stands for a directory of the broker's choice.
const ANY: &str = "any";

/// Where the replicas of partitions are, or are to be.
type Replicas = BTreeMap<TopicPartition, Vec<NodeId>>;
/// In which directory a broker keeps a partition, or is to.
type Directories = BTreeMap<(TopicPartition, NodeId), String>;

/// What a file asks for.
struct WantedPlaces {
    replicas: Replicas,
    directories: Directories,
}

fn run_reassign(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let Some(action) = args.only(&ACTIONS) else {
        let all = ACTIONS.map(|it| format!("--{it}")).join(", ");
        return Err(ToolError::Usage(format!("Command must include exactly one action: {all}")));
    };
    let allowed = ALLOWED.iter().find(|(name, _)| *name == action).map_or(&[][..], |(_, all)| all);
    let other = args.in_order().map(|(name, _)| name);
    let mut other =
        other.filter(|it| *it != action && !allowed.contains(it) && !EVERYWHERE.contains(it));
    if let Some(option) = other.next() {
        return Err(ToolError::Usage(format!(
            "Option \"[{option}]\" can't be used with action \"[{action}]\""
        )));
    }
    if action == "generate" {
        args.required("broker-list").map_err(ToolError::Usage)?;
        let file = args.required("topics-to-move-json-file").map_err(ToolError::Usage)?;
        let topics = read_topics(file)?;
        return generate_plan(args, session, &topics);
    }
    if action == "list" {
        return list_reassignments(session);
    }
    let file = args.one("reassignment-json-file").ok_or_else(|| {
        ToolError::Usage("Missing required argument \"[reassignment-json-file]\"".to_owned())
    })?;
    let wanted = read_plan(file)?;
    let client = session.connect()?;
    match action {
        "execute" => execute::execute_plan(args, session, &client, wanted),
        "cancel" => verify::cancel_plan(args, session, &client, wanted),
        _ => verify::verify_plan(args, session, &client, wanted),
    }
}

/// The topics that a file names.
fn read_topics(file: &str) -> Result<Vec<String>, ToolError> {
    let plan = PlanFile::versioned(file)?;
    let mut names = Vec::new();
    for entry in plan.list("topics")? {
        names.push(entry.text("topic")?.to_owned());
    }
    plan.no_duplicates("List of topics to reassign contains duplicate entries", &names)?;
    if names.is_empty() { Err(plan.wrong("the list of topics is empty")) } else { Ok(names) }
}

/// What a file says of partitions: on which brokers, and in which of their directories.
fn read_plan(file: &str) -> Result<WantedPlaces, ToolError> {
    let plan = PlanFile::versioned(file)?;
    let (mut replicas, mut directories) = (Replicas::new(), Directories::new());
    let entries = plan.list("partitions")?;
    for entry in &entries {
        let (place, ids) = (entry.place()?, entry.ints("replicas")?);
        if ids.is_empty() {
            return Err(plan.wrong(&format!("Partition replica list cannot be empty: {place}")));
        }
        plan.no_duplicates(
            &format!("Partition replica lists may not contain duplicate entries: {place} contains multiple entries for"),
            &ids,
        )?;
        if let Some(dirs) = entry.texts("log_dirs")? {
            if dirs.len() != ids.len() {
                return Err(plan.wrong(&format!(
                    "Size of replicas list {ids:?} is different from size of log dirs list [{}] for partition {place}",
                    dirs.join(", ")
                )));
            }
            let named = ids.iter().zip(dirs).filter(|(_, dir)| dir != ANY);
            directories.extend(named.map(|(id, dir)| ((place.clone(), *id), dir)));
        }
        replicas.insert(place, ids);
    }
    let places = entries.iter().map(PlanEntry::place).collect::<Result<Vec<_>, _>>()?;
    plan.no_duplicates("Partition reassignment contains duplicate topic partitions", places)?;
    if replicas.is_empty() {
        return Err(plan.wrong("Partition reassignment list cannot be empty"));
    }
    Ok(WantedPlaces { replicas, directories })
}

/// The topics that partitions belong to.
fn topics_of(wanted: &Replicas) -> Vec<String> {
    let mut topics: Vec<String> = wanted.keys().map(|it| it.topic.to_string()).collect();
    topics.dedup();
    topics
}

/// Where the partitions of topics are; absent topics have none.
fn current_replicas(
    session: &ToolSession<'_>,
    client: &Client,
    topics: &[String],
) -> Result<Replicas, ToolError> {
    let mut found = Replicas::new();
    for topic in session.wait(client.describe_topics(Some(topics)))? {
        for it in topic.partitions.into_iter().filter(|_| topic.error == ErrorCode::NONE) {
            let place = TopicPartition::new(topic.name.as_str(), it.partition);
            found.insert(place, it.replicas);
        }
    }
    Ok(found)
}

/// As [`current_replicas`], where every topic must be there.
fn current_all(
    session: &ToolSession<'_>,
    client: &Client,
    topics: &[String],
) -> Result<Replicas, ToolError> {
    let found = current_replicas(session, client, topics)?;
    let has = |topic: &&String| !found.keys().any(|it| *it.topic == **topic);
    match topics.iter().find(has) {
        Some(topic) => Err(tool_failed(format!("Error: Topic {topic} not found."))),
        None => Ok(found),
    }
}

/// In which directory each broker keeps each of its partitions; the second is where it is going.
fn replica_directories(
    session: &ToolSession<'_>,
    client: &Client,
) -> Result<(Directories, Directories), ToolError> {
    let (mut now, mut future) = (Directories::new(), Directories::new());
    for node in session.wait(client.all_brokers())? {
        for dir in session.wait(client.describe_log_dirs(node)).map_err(plain_error)? {
            for replica in dir.replicas {
                let all = if replica.is_future { &mut future } else { &mut now };
                all.insert((replica.place, node), dir.path.clone());
            }
        }
    }
    Ok((now, future))
}

fn plan_json(replicas: &Replicas, directories: &Directories) -> String {
    let one = |(place, ids): (&TopicPartition, &Vec<NodeId>)| {
        let dir = |id: &NodeId| {
            directories.get(&(place.clone(), *id)).map_or(ANY, String::as_str).to_owned()
        };
        let dirs: Vec<String> = ids.iter().map(dir).collect();
        format!(
            "{{\"topic\":{},\"partition\":{},\"replicas\":{},\"log_dirs\":{}}}",
            json!(&*place.topic),
            place.partition,
            json!(ids),
            json!(dirs)
        )
    };
    let all: Vec<String> = replicas.iter().map(one).collect();
    format!("{{\"version\":1,\"partitions\":[{}]}}", all.join(","))
}

/// The brokers there are, with their racks.
fn broker_racks(
    session: &ToolSession<'_>,
    client: &Client,
) -> Result<BTreeMap<NodeId, Option<String>>, ToolError> {
    let cluster = session.wait(client.describe_cluster(Brokers::Unfenced)).map_err(plain_error)?;
    Ok(cluster.brokers.into_iter().map(|it| (it.id, it.rack)).collect())
}

fn generate_plan(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    topics: &[String],
) -> Result<(), ToolError> {
    let client = session.connect()?;
    let list = args.one("broker-list").unwrap_or_default();
    let ids: Result<Vec<NodeId>, _> = list.split(',').map(|it| it.trim().parse()).collect();
    let ids =
        ids.map_err(|_| ToolError::Usage(format!("--broker-list {list}: not a list of ids")))?;
    if let Some(id) = ids.iter().find(|id| ids.iter().filter(|it| it == id).count() > 1) {
        return Err(tool_failed(format!("Broker list contains duplicate entries: [{id}]")));
    }
    let now = current_all(session, &client, topics)?;
    let known = broker_racks(session, &client)?;
    let chosen: Vec<(NodeId, Option<String>)> =
        known.into_iter().filter(|(id, _)| ids.contains(id)).collect();
    let rackless = chosen.iter().filter(|(_, rack)| rack.is_none()).count();
    if rackless != 0 && rackless != chosen.len() && !args.has("disable-rack-aware") {
        return Err(tool_failed(
            "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information.",
        ));
    }
    let mut proposed = Replicas::new();
    for topic in topics {
        let of: Vec<(&TopicPartition, &Vec<NodeId>)> =
            now.iter().filter(|(it, _)| *it.topic == **topic).collect();
        let factor = of.first().map_or(0, |(_, ids)| ids.len());
        let places = spread_partitions(&chosen, of.len(), factor, args.has("disable-rack-aware"))?;
        proposed.extend(of.into_iter().map(|(place, _)| place.clone()).zip(places));
    }
    let (dirs, _) = replica_directories(session, &client)?;
    writeln!(session.out, "Current partition replica assignment\n{}\n", plan_json(&now, &dirs))?;
    let plan = plan_json(&proposed, &Directories::new());
    writeln!(session.out, "Proposed partition reassignment configuration\n{plan}")?;
    Ok(())
}

/// Spreads partitions over brokers: leaders in turn, followers shifted, racks alternating.
fn spread_partitions(
    brokers: &[(NodeId, Option<String>)],
    partitions: usize,
    factor: usize,
    ignores_racks: bool,
) -> Result<Vec<Vec<NodeId>>, ToolError> {
    if factor > brokers.len() || brokers.is_empty() {
        let found = brokers.len();
        return Err(tool_failed(format!(
            "Replication factor: {factor} larger than available brokers: {found}."
        )));
    }
    // One of each rack, then the next of each.
    let mut by_rack: BTreeMap<Option<&String>, Vec<NodeId>> = BTreeMap::new();
    for (id, rack) in brokers {
        by_rack.entry(rack.as_ref().filter(|_| !ignores_racks)).or_default().push(*id);
    }
    let deepest = by_rack.values().map(Vec::len).max().unwrap_or(0);
    let line: Vec<NodeId> = (0..deepest)
        .flat_map(|at| by_rack.values().filter_map(move |of| of.get(at).copied()))
        .collect();
    let count = line.len();
    let one = |partition: usize| {
        // Each time around, the followers of a leader are others.
        let shift = partition / count;
        let follower = |n: usize| 1 + (shift + n) % (count - 1).max(1);
        let leader = partition % count;
        let followers = (0..factor.saturating_sub(1)).map(|n| line[(leader + follower(n)) % count]);
        [line[leader]].into_iter().chain(followers).collect()
    };
    Ok((0..partitions).map(one).collect())
}

/// What is under way.
fn under_way(
    session: &ToolSession<'_>,
    client: &Client,
) -> Result<BTreeMap<TopicPartition, Reassignment>, ToolError> {
    session.wait(client.list_reassignments()).map_err(plain_error)
}

fn join_ids(ids: &[NodeId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn list_reassignments(session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let client = session.connect()?;
    let all = under_way(session, &client)?;
    if all.is_empty() {
        writeln!(session.out, "No partition reassignments found.")?;
        return Ok(());
    }
    writeln!(session.out, "Current partition reassignments:")?;
    for (place, Reassignment { replicas, adding, removing }) in all {
        let more = |what: &str, ids: &[NodeId]| {
            if ids.is_empty() { String::new() } else { format!(" {what}: {}.", join_ids(ids)) }
        };
        let (adding, removing) = (more("adding", &adding), more("removing", &removing));
        writeln!(session.out, "{place}: replicas: {}.{adding}{removing}", join_ids(&replicas))?;
    }
    Ok(())
}

/// Takes all throttles back.
fn clear_throttles(
    session: &mut ToolSession<'_>,
    client: &Client,
    wanted: &Replicas,
) -> Result<(), ToolError> {
    let mut ids: Vec<NodeId> = broker_racks(session, client)?.into_keys().collect();
    ids.extend(wanted.values().flatten());
    ids.sort_unstable();
    ids.dedup();
    let topics = topics_of(wanted);
    let s = |count: usize| if count == 1 { "" } else { "s" };
    writeln!(
        session.out,
        "Clearing broker-level throttles on broker{} {}",
        s(ids.len()),
        join_ids(&ids)
    )?;
    for id in ids {
        let gone = BROKER_THROTTLES.map(|name| (name.to_owned(), None)).to_vec();
        let id = id.to_string();
        session.wait(client.set_configs(ConfigResource::broker(&id), gone, ChangeMode::Change))?;
    }
    writeln!(
        session.out,
        "Clearing topic-level throttles on topic{} {}",
        s(topics.len()),
        topics.join(",")
    )?;
    for topic in topics {
        let gone = TOPIC_THROTTLES.map(|name| (name.to_owned(), None)).to_vec();
        session.wait(client.set_configs(
            ConfigResource::topic(&topic),
            gone,
            ChangeMode::Change,
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_spread_over_brokers_and_racks() {
        let rack = |id, name: &str| (id, Some(name.to_owned()));
        let plain: Vec<(NodeId, Option<String>)> = (1..=3).map(|id| (id, None)).collect();
        let found = spread_partitions(&plain, 6, 2, false).unwrap();
        assert_eq!(found, [[1, 2], [2, 3], [3, 1], [1, 3], [2, 1], [3, 2]]);
        let racks = [rack(1, "a"), rack(2, "a"), rack(3, "b"), rack(4, "b")];
        for replicas in spread_partitions(&racks, 4, 2, false).unwrap() {
            let is_low = replicas.iter().filter(|id| **id <= 2).count();
            assert_eq!(is_low, 1, "{replicas:?} lie in one rack");
        }
        assert!(spread_partitions(&plain, 1, 4, false).is_err());
    }
}
