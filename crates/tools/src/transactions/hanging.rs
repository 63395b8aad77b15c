//! Transactions that hang: open in a partition, and unknown to every coordinator (KIP-664).

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{
    Client, HangingTransaction, ProducerDescription, TopicPartition, TransactionFilter,
};
use ottla_clock::Clock;
use ottla_types::{ErrorCode, NodeId, ProducerId};

use super::{owned_row, print_rows};
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession, plain_error, tool_failed};

const MINUTE_MS: i64 = 60_000;

pub fn abort_hanging(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let usage = ToolError::Usage;
    let topic = args.required("topic").map_err(usage)?;
    let place = TopicPartition::new(topic, args.required_number("partition").map_err(usage)?);
    let node = session.wait(client.leader(&place))?;
    let start: Option<i64> = args.number("start-offset").map_err(usage)?;
    let named: [Option<i64>; 3] = [
        args.number("producer-id").map_err(usage)?,
        args.number("producer-epoch").map_err(usage)?,
        args.number("coordinator-epoch").map_err(usage)?,
    ];
    let (id, epoch, coordinator) = match (start, named) {
        (Some(start), [None, None, None]) => {
            let found =
                session.wait(client.describe_producers(&place, node)).map_err(plain_error)?;
            let found = found.into_iter().find(|it| it.transaction_start == start);
            let found = found.ok_or_else(|| {
                tool_failed(format!("Could not find any open transactions starting at offset {start} on partition {place}"))
            })?;
            (found.id, i64::from(found.epoch), i64::from(found.coordinator_epoch))
        }
        (None, [Some(id), Some(epoch), Some(coordinator)]) => (id, epoch, coordinator),
        _ => {
            return Err(tool_failed(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            ));
        }
    };
    let hanging = HangingTransaction {
        place,
        leader: node,
        producer_id: id,
        producer_epoch: i16::try_from(epoch).unwrap_or(-1),
        // A transaction that never reached its coordinator has none.
        coordinator_epoch: i32::try_from(coordinator).unwrap_or(0).max(0),
    };
    session.wait(client.abort_hanging_transaction(&hanging)).map_err(plain_error)
}

/// A transaction that is open in a partition for suspiciously long.
struct Suspect {
    place: TopicPartition,
    producer: ProducerDescription,
}

pub fn find_hanging(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let usage = ToolError::Usage;
    let broker: Option<NodeId> = args.number("broker-id").map_err(usage)?;
    let (topic, partition) = (args.one("topic"), args.number::<i32>("partition").map_err(usage)?);
    if topic.is_none() && partition.is_some() {
        return Err(tool_failed("The --partition argument requires --topic to be provided"));
    }
    if topic.is_none() && broker.is_none() {
        return Err(tool_failed(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        ));
    }
    let minutes: i64 = args.number("max-transaction-timeout").map_err(usage)?.unwrap_or(15);
    let now = Clock::real().wall_ms();
    let names = topic.map(|it| vec![it.to_owned()]);
    let mut suspects = Vec::new();
    for known in session.wait(client.describe_topics(names.as_deref()))? {
        if known.error != ErrorCode::NONE {
            return Err(tool_failed(known.error.message()));
        }
        let name = known.name;
        for it in known.partitions {
            let is_asked = partition.is_none_or(|index| index == it.partition)
                && broker.is_none_or(|broker| it.replicas.contains(&broker));
            if !is_asked {
                continue;
            }
            let place = TopicPartition::new(name.as_str(), it.partition);
            let node = broker.unwrap_or(it.leader);
            let open = |producer: &ProducerDescription| {
                producer.transaction_start >= 0
                    && now - producer.last_timestamp > minutes.saturating_mul(MINUTE_MS)
            };
            let found =
                session.wait(client.describe_producers(&place, node)).map_err(plain_error)?;
            let found = found.into_iter().filter(open);
            suspects.extend(found.map(|producer| Suspect { place: place.clone(), producer }));
        }
    }
    let known = known_partitions(session, client, &suspects)?;
    suspects.retain(|suspect| {
        let places = known.get(&suspect.producer.id);
        !places.is_some_and(|places| places.contains(&suspect.place))
    });
    let mut rows = vec![owned_row(&[
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ])];
    for Suspect { place, producer: it } in suspects {
        rows.push(vec![
            place.topic.to_string(),
            place.partition.to_string(),
            it.id.to_string(),
            it.epoch.to_string(),
            it.coordinator_epoch.to_string(),
            it.transaction_start.to_string(),
            it.last_timestamp.to_string(),
            ((now - it.last_timestamp) / MINUTE_MS).to_string(),
        ]);
    }
    print_rows(session, &rows)
}

/// The partitions that coordinators say the open transactions of these producers touch.
fn known_partitions(
    session: &ToolSession<'_>,
    client: &Client,
    suspects: &[Suspect],
) -> Result<BTreeMap<ProducerId, BTreeSet<TopicPartition>>, ToolError> {
    let mut places: BTreeMap<ProducerId, BTreeSet<TopicPartition>> = BTreeMap::new();
    if suspects.is_empty() {
        return Ok(places);
    }
    let filter = TransactionFilter {
        producer_ids: suspects.iter().map(|it| it.producer.id).collect(),
        ..Default::default()
    };
    for listed in session.wait(client.list_transactions(&filter)).map_err(plain_error)? {
        let found = session.wait(client.describe_transaction(&listed.id));
        let of_producer = places.entry(listed.producer_id).or_default();
        match found {
            Ok(found) => of_producer.extend(found.places),
            // It has ended since.
            Err(error) if error.code().is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(places)
}
