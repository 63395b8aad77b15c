//! `--execute`: set throttles, ask the controller to move partitions, ask brokers to move replicas.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_client::{ChangeMode, Client, ConfigResource, ReplicationFactor};
use ottla_clock::Clock;
use ottla_types::{ErrorCode, NodeId};

use super::{
    BROKER_THROTTLES, Directories, Replicas, TOPIC_THROTTLES, WantedPlaces, broker_racks,
    current_all, plan_json, replica_directories, topics_of, under_way,
};
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession, plain_error, plain_refusal, tool_failed};

/// How long to wait between two tries.
const MOMENT: Duration = Duration::from_millis(100);

pub fn execute_plan(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
    places: WantedPlaces,
) -> Result<(), ToolError> {
    let WantedPlaces { replicas: wanted, directories: dirs } = places;
    let busy = under_way(session, client)?;
    if !busy.is_empty() && !args.has("additional") {
        return Err(tool_failed(
            "Cannot execute because there is an existing partition assignment. Use --additional to override this and create a new partition assignment in addition to the existing one. The --additional flag can also be used to change the throttle by resubmitting the current reassignment.",
        ));
    }
    let known = broker_racks(session, client)?;
    if let Some(id) = wanted.values().flatten().find(|id| !known.contains_key(id)) {
        return Err(tool_failed(format!("Error: Unknown broker id {id}")));
    }
    let topics = topics_of(&wanted);
    let mut now = current_all(session, client, &topics)?;
    now.retain(|place, _| wanted.contains_key(place));
    if let Some(place) = wanted.keys().find(|place| !now.contains_key(place)) {
        return Err(tool_failed(format!("Error: Unable to find partition: {place}")));
    }
    let (lying, _) = replica_directories(session, client)?;
    writeln!(
        session.out,
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback",
        plan_json(&now, &lying)
    )?;
    set_throttles(args, session, client, &now, &wanted)?;
    let factor = match args.has("disallow-replication-factor-change") {
        true => ReplicationFactor::Kept,
        false => ReplicationFactor::MayChange,
    };
    reassign_partitions(session, client, &wanted, factor)?;
    let names: Vec<String> = wanted.keys().map(ToString::to_string).collect();
    let s = if names.len() == 1 { "" } else { "s" };
    writeln!(
        session.out,
        "Successfully started partition reassignment{s} for {}",
        names.join(",")
    )?;
    if dirs.is_empty() {
        return Ok(());
    }
    let timeout = args.number("timeout").map_err(ToolError::Usage)?.unwrap_or(10_000);
    move_replicas(session, client, dirs, Duration::from_millis(timeout))
}

fn set_throttles(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
    now: &Replicas,
    wanted: &Replicas,
) -> Result<(), ToolError> {
    let between: Option<i64> = args.number("throttle").map_err(ToolError::Usage)?;
    let within: Option<i64> =
        args.number("replica-alter-log-dirs-throttle").map_err(ToolError::Usage)?;
    let between = between.filter(|it| *it >= 0);
    let within = within.filter(|it| *it >= 0);
    if between.is_none() && within.is_none() {
        return Ok(());
    }
    writeln!(
        session.out,
        "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
    )?;
    let mut ids: Vec<NodeId> = now.values().chain(wanted.values()).flatten().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let limits = BROKER_THROTTLES.into_iter().zip([between, between, within]);
        let set =
            limits.filter_map(|(name, limit)| Some((name.to_owned(), Some(limit?.to_string()))));
        let id = id.to_string();
        let broker = ConfigResource::broker(&id);
        session.wait(client.set_configs(broker, set.collect(), ChangeMode::Change))?;
    }
    if let Some(limit) = between {
        let mut lists: BTreeMap<&str, [Vec<String>; 2]> = BTreeMap::new();
        for (place, target) in wanted {
            let sources = now.get(place).map(Vec::as_slice).unwrap_or_default();
            let [leaders, followers] = lists.entry(&place.topic).or_default();
            let entry = |id: &NodeId| format!("{}:{id}", place.partition);
            leaders.extend(sources.iter().map(entry));
            followers.extend(target.iter().filter(|id| !sources.contains(id)).map(entry));
        }
        for (topic, lists) in lists {
            let set = TOPIC_THROTTLES.into_iter().zip(lists);
            let set = set.map(|(name, list)| (name.to_owned(), Some(list.join(",")))).collect();
            session.wait(client.set_configs(
                ConfigResource::topic(topic),
                set,
                ChangeMode::Change,
            ))?;
        }
        writeln!(session.out, "The inter-broker throttle limit was set to {limit} B/s")?;
    }
    if let Some(limit) = within {
        writeln!(session.out, "The replica-alter-dir throttle limit was set to {limit} B/s")?;
    }
    Ok(())
}

fn reassign_partitions(
    session: &ToolSession<'_>,
    client: &Client,
    wanted: &Replicas,
    factor: ReplicationFactor,
) -> Result<(), ToolError> {
    let targets =
        wanted.iter().map(|(place, replicas)| (place.clone(), Some(replicas.clone()))).collect();
    let refused =
        session.wait(client.alter_reassignments(&targets, factor)).map_err(plain_error)?;
    let wrong = refused.into_iter().map(|(place, why)| format!("{place}: {}", plain_refusal(why)));
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(tool_failed(format!("Error reassigning partition(s):\n{}", wrong.join("\n"))))
}

/// Asks each broker for the directories, until it knows of the partitions.
fn move_replicas(
    session: &mut ToolSession<'_>,
    client: &Client,
    mut left: Directories,
    timeout: Duration,
) -> Result<(), ToolError> {
    let clock = Clock::real();
    let deadline = clock.monotonic() + timeout;
    loop {
        let all: Vec<_> = std::mem::take(&mut left).into_iter().collect();
        for ((place, node), dir) in all {
            let code = session.wait(client.move_replica(&place, node, &dir))?;
            match code {
                ErrorCode::NONE => writeln!(
                    session.out,
                    "Successfully started moving log directory to {dir} for replica {place} with broker {node} "
                )?,
                ErrorCode::REPLICA_NOT_AVAILABLE => {
                    left.insert((place, node), dir);
                }
                code => {
                    let why = code.message();
                    return Err(tool_failed(format!(
                        "Error: Failed to alter dir for {place}-{node}: {why}"
                    )));
                }
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if clock.monotonic() >= deadline {
            let names: Vec<String> =
                left.keys().map(|(place, id)| format!("{place}-{id}")).collect();
            return Err(tool_failed(format!(
                "Error: Timed out before log directory move(s) could be started: {}",
                names.join(",")
            )));
        }
        session.wait(clock.sleep(MOMENT));
    }
}
