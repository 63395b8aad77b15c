//! `--verify` and `--cancel`: how far a move has come, and calling it off.

use ottla_client::{Client, ReplicationFactor};

use super::{
    WantedPlaces, clear_throttles, current_replicas, join_ids, replica_directories, topics_of,
    under_way,
};
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession, plain_error, plain_refusal};

pub fn verify_plan(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
    places: WantedPlaces,
) -> Result<(), ToolError> {
    let WantedPlaces { replicas: wanted, directories: dirs } = places;
    let busy = under_way(session, client)?;
    let topics = topics_of(&wanted);
    let now = current_replicas(session, client, &topics)?;
    writeln!(session.out, "Status of partition reassignment:")?;
    for (place, target) in &wanted {
        let found = now.get(place).map(Vec::as_slice).unwrap_or_default();
        if busy.contains_key(place) {
            writeln!(session.out, "Reassignment of partition {place} is still in progress.")?;
        } else if found == target {
            writeln!(session.out, "Reassignment of partition {place} is completed.")?;
        } else {
            let (found, target) = (join_ids(found), join_ids(target));
            writeln!(
                session.out,
                "There is no active reassignment of partition {place}, but replica set is {found} rather than {target}."
            )?;
        }
    }
    let mut moving = false;
    if dirs.is_empty() {
        writeln!(session.out)?;
    } else {
        let (lying, future) = replica_directories(session, client)?;
        for (key, target) in &dirs {
            let (place, node) = key;
            let line = match (lying.get(key), future.get(key)) {
                (None, _) => format!(
                    "Partition {place} is not found in any live log dir on broker {node}. There is likely an offline log directory on the broker."
                ),
                (Some(_), Some(to)) if to == target => {
                    moving = true;
                    format!("Reassignment of replica {place}-{node} is still in progress.")
                }
                (Some(_), Some(to)) => {
                    moving = true;
                    format!(
                        "Partition {place} on broker {node} is being moved to log dir {to} instead of {target}."
                    )
                }
                (Some(at), None) if at == target => {
                    format!("Reassignment of replica {place}-{node} completed successfully.")
                }
                (Some(at), None) => {
                    format!(
                        "Partition {place} on broker {node} is not being moved from log dir {at} to {target}."
                    )
                }
            };
            writeln!(session.out, "{line}")?;
        }
    }
    if busy.is_empty() && !moving && !args.has("preserve-throttles") {
        clear_throttles(session, client, &wanted)?;
    }
    Ok(())
}

pub fn cancel_plan(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
    places: WantedPlaces,
) -> Result<(), ToolError> {
    let WantedPlaces { replicas: wanted, directories: dirs } = places;
    let busy = under_way(session, client)?;
    let active: Vec<_> = wanted.keys().filter(|it| busy.contains_key(it)).collect();
    if active.is_empty() {
        writeln!(session.out, "None of the specified partition reassignments are active.")?;
    } else {
        let off = active.iter().map(|place| ((*place).clone(), None)).collect();
        let talk = client.alter_reassignments(&off, ReplicationFactor::MayChange);
        let refused = session.wait(talk).map_err(plain_error)?;
        if let Some(why) = refused.into_values().next() {
            return Err(plain_refusal(why));
        }
        let names: Vec<String> = active.iter().map(ToString::to_string).collect();
        writeln!(
            session.out,
            "Successfully cancelled partition reassignments for: {}",
            names.join(",")
        )?;
    }
    let (_, future) = replica_directories(session, client)?;
    if dirs.keys().any(|key| future.contains_key(key)) {
        writeln!(
            session.out,
            "Moves between directories cannot be called off; they end by themselves."
        )?;
    } else {
        writeln!(session.out, "None of the specified partition moves are active.")?;
    }
    if !args.has("preserve-throttles") {
        clear_throttles(session, client, &wanted)?;
    }
    Ok(())
}
