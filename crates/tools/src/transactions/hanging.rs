//! Transactions that hang: open in a partition, and nobody's any more (KIP-664).

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Client, CoordinatorOf, IfAbsent, TopicPartition};
use ottla_clock::Clock;
use ottla_protocol::messages::describe_producers_response::ProducerState;
use ottla_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ottla_types::{NodeId, ProducerId};

use super::{active, print, row};
use crate::options::Parsed;
use crate::session::{ToolError, ToolSession, failed, refused};

const MINUTE_MS: i64 = 60_000;

pub fn abort(
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
            let found = active(session, client, &place, node)?;
            let found = found.into_iter().find(|it| it.current_txn_start_offset == start);
            let found = found.ok_or_else(|| {
                failed(format!("Could not find any open transactions starting at offset {start} on partition {place}"))
            })?;
            (found.producer_id, i64::from(found.producer_epoch), i64::from(found.coordinator_epoch))
        }
        (None, [Some(id), Some(epoch), Some(coordinator)]) => (id, epoch, coordinator),
        _ => {
            return Err(failed(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            ));
        }
    };
    let topic = WritableTxnMarkerTopic {
        name: place.topic.to_string(),
        partition_indexes: vec![place.partition],
        ..Default::default()
    };
    let marker = WritableTxnMarker {
        producer_id: id,
        producer_epoch: i16::try_from(epoch).unwrap_or(-1),
        transaction_result: false,
        topics: vec![topic],
        // A transaction that never reached its coordinator has none.
        coordinator_epoch: i32::try_from(coordinator).unwrap_or(0).max(0),
        ..Default::default()
    };
    let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
    let told = session.wait(client.ask(node, &request))?;
    let parts = told.markers.iter().flat_map(|it| &it.topics).flat_map(|it| &it.partitions);
    for it in parts {
        refused(it.error_code, None)?;
    }
    Ok(())
}

/// A transaction that is open in a partition for suspiciously long.
struct Suspect {
    place: TopicPartition,
    producer: ProducerState,
}

pub fn find(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let usage = ToolError::Usage;
    let broker: Option<NodeId> = args.number("broker-id").map_err(usage)?;
    let (topic, partition) = (args.one("topic"), args.number::<i32>("partition").map_err(usage)?);
    if topic.is_none() && partition.is_some() {
        return Err(failed("The --partition argument requires --topic to be provided"));
    }
    if topic.is_none() && broker.is_none() {
        return Err(failed(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        ));
    }
    let minutes: i64 = args.number("max-transaction-timeout").map_err(usage)?.unwrap_or(15);
    let now = Clock::real().wall_ms();
    let names = topic.map(|it| vec![it.to_owned()]);
    let mut suspects = Vec::new();
    for known in session.wait(client.refresh(names.as_deref(), IfAbsent::Fail))? {
        refused(known.error_code, None)?;
        let name = known.name.unwrap_or_default();
        for it in known.partitions {
            let is_asked = partition.is_none_or(|index| index == it.partition_index)
                && broker.is_none_or(|broker| it.replica_nodes.contains(&broker));
            if !is_asked {
                continue;
            }
            let place = TopicPartition::new(name.as_str(), it.partition_index);
            let node = broker.unwrap_or(it.leader_id);
            let open = |it: &ProducerState| {
                it.current_txn_start_offset >= 0
                    && now - it.last_timestamp > minutes.saturating_mul(MINUTE_MS)
            };
            let found = active(session, client, &place, node)?.into_iter().filter(open);
            suspects.extend(found.map(|producer| Suspect { place: place.clone(), producer }));
        }
    }
    let known = known(session, client, &suspects)?;
    suspects.retain(|it| {
        let places = known.get(&it.producer.producer_id);
        !places.is_some_and(|places| places.contains(&it.place))
    });
    let mut rows = vec![row(&[
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
            it.producer_id.to_string(),
            it.producer_epoch.to_string(),
            it.coordinator_epoch.to_string(),
            it.current_txn_start_offset.to_string(),
            it.last_timestamp.to_string(),
            ((now - it.last_timestamp) / MINUTE_MS).to_string(),
        ]);
    }
    print(session, &rows)
}

/// The partitions that coordinators say the open transactions of these producers touch.
fn known(
    session: &ToolSession<'_>,
    client: &Client,
    suspects: &[Suspect],
) -> Result<BTreeMap<ProducerId, BTreeSet<TopicPartition>>, ToolError> {
    let mut places: BTreeMap<ProducerId, BTreeSet<TopicPartition>> = BTreeMap::new();
    if suspects.is_empty() {
        return Ok(places);
    }
    let request = ListTransactionsRequest {
        producer_id_filters: suspects.iter().map(|it| it.producer.producer_id).collect(),
        duration_filter: -1,
        ..Default::default()
    };
    for node in session.wait(client.all_brokers())? {
        let told = session.wait(client.ask(node, &request))?;
        refused(told.error_code, None)?;
        for it in told.transaction_states {
            let id = it.transactional_id;
            let node = session.wait(client.coordinator(CoordinatorOf::Transaction, &id))?;
            let request =
                DescribeTransactionsRequest { transactional_ids: vec![id], ..Default::default() };
            let told = session.wait(client.ask(node, &request))?;
            let topics = told.transaction_states.iter().flat_map(|it| &it.topics);
            let all = topics.flat_map(|topic| {
                let place = |index: &i32| TopicPartition::new(topic.topic.as_str(), *index);
                topic.partitions.iter().map(place).collect::<Vec<_>>()
            });
            places.entry(it.producer_id).or_default().extend(all);
        }
    }
    Ok(places)
}
