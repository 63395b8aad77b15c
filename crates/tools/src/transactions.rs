//! kafka-transactions.

mod hanging;

use ottla_client::{Client, CoordinatorOf, TopicPartition};
use ottla_clock::Clock;
use ottla_protocol::messages::describe_producers_request::{
    DescribeProducersRequest, TopicRequest,
};
use ottla_protocol::messages::describe_producers_response::ProducerState;
use ottla_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_types::{ErrorCode, NodeId};

use crate::Tool;
use crate::options::{Opt, Parsed, last};
use crate::session::{ToolError, ToolSession, failed, refused};
use crate::table::tabbed;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-transactions",
    about: "list, describe, describe-producers, find-hanging, abort, forceTerminateTransaction: transactions, and those that hang.",
    options: OPTIONS,
    run,
}];

const OPTIONS: &[Opt] = &[
    last("transactional-id", "ID", "With describe: which."),
    last("topic", "NAME", "With describe-producers, abort, find-hanging: in which topic."),
    last("partition", "NUMBER", "The same: in which partition."),
    last("broker-id", "ID", "With describe-producers, find-hanging: ask this broker."),
    last(
        "max-transaction-timeout",
        "MINUTES",
        "With find-hanging: what is open for longer (default: 15).",
    ),
    last("start-offset", "OFFSET", "With abort: where the transaction begins."),
    last("producer-id", "ID", "With abort, instead of --start-offset: whose it is."),
    last("producer-epoch", "EPOCH", "The same: its producer's epoch."),
    last("coordinator-epoch", "EPOCH", "The same: its coordinator's epoch."),
    last("transactionalId", "ID", "With forceTerminateTransaction: which."),
    last("duration-filter", "MS", "With list: those that have been open for longer."),
    last("transactional-id-pattern", "REGEX", "With list: ids that match."),
];

fn run(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let action = args.rest.first().map(String::as_str);
    let client = session.connect()?;
    match action {
        Some("list") => list(args, session, &client),
        Some("describe") => describe(args, session, &client),
        Some("describe-producers") => producers(args, session, &client),
        Some("abort") => hanging::abort(args, session, &client),
        Some("find-hanging") => hanging::find(args, session, &client),
        Some("forceTerminateTransaction") => terminate(args, session, &client),
        _ => Err(ToolError::Usage(
            "too few arguments: list, describe, describe-producers, abort, find-hanging or forceTerminateTransaction".to_owned(),
        )),
    }
}

/// Ends whatever the id has begun, by becoming its producer.
fn terminate(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let id = args.required("transactionalId").map_err(ToolError::Usage)?;
    Ok(session.wait(client.fence_producer(id))?)
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|it| (*it).to_owned()).collect()
}

fn print(session: &mut ToolSession<'_>, rows: &[Vec<String>]) -> Result<(), ToolError> {
    Ok(write!(session.out, "{}", tabbed(rows))?)
}

fn list(args: &Parsed, session: &mut ToolSession<'_>, client: &Client) -> Result<(), ToolError> {
    let mut rows = vec![row(&["TransactionalId", "Coordinator", "ProducerId", "TransactionState"])];
    for node in session.wait(client.all_brokers())? {
        let request = ListTransactionsRequest {
            duration_filter: args
                .number("duration-filter")
                .map_err(ToolError::Usage)?
                .unwrap_or(-1),
            transactional_id_pattern: args.one("transactional-id-pattern").map(str::to_owned),
            ..Default::default()
        };
        let mut told = session.wait(client.ask(node, &request))?;
        refused(told.error_code, None)?;
        told.transaction_states.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        for it in told.transaction_states {
            let (coordinator, producer) = (node.to_string(), it.producer_id.to_string());
            rows.push(row(&[&it.transactional_id, &coordinator, &producer, &it.transaction_state]));
        }
    }
    print(session, &rows)
}

fn describe(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let id = args.one("transactional-id");
    let id =
        id.ok_or_else(|| ToolError::Usage("argument --transactional-id is required".to_owned()))?;
    let node = session.wait(client.coordinator(CoordinatorOf::Transaction, id))?;
    let transactional_ids = vec![id.to_owned()];
    let request = DescribeTransactionsRequest { transactional_ids, ..Default::default() };
    let told = session.wait(client.ask(node, &request))?;
    let found = told.transaction_states.into_iter().next().ok_or_else(|| failed("no answer"))?;
    if found.error_code != 0 {
        let why = ErrorCode(found.error_code).message();
        return Err(failed(format!(
            "Failed to describe transaction state of transactional-id `{id}`: {why}"
        )));
    }
    let started = found.transaction_start_time_ms;
    let open = started > 0 && found.transaction_state == "Ongoing";
    let since = |text: String| if open { text } else { "None".to_owned() };
    let lasts = since((Clock::real().wall_ms() - started).to_string());
    let mut places: Vec<String> = Vec::new();
    for topic in &found.topics {
        let all = topic.partitions.iter().map(|it| TopicPartition::new(topic.topic.as_str(), *it));
        places.extend(all.map(|it| it.to_string()));
    }
    places.sort();
    let head = row(&[
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ]);
    let cells = [
        node.to_string(),
        found.transactional_id,
        found.producer_id.to_string(),
        found.producer_epoch.to_string(),
        found.transaction_state,
        found.transaction_timeout_ms.to_string(),
        since(started.to_string()),
        lasts,
        places.join(","),
    ];
    print(session, &[head, cells.to_vec()])
}

fn producers(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let topic = args.one("topic");
    let topic = topic.ok_or_else(|| ToolError::Usage("argument --topic is required".to_owned()))?;
    let partition = args.number("partition").map_err(ToolError::Usage)?;
    let partition =
        partition.ok_or_else(|| ToolError::Usage("argument --partition is required".to_owned()))?;
    let place = TopicPartition::new(topic, partition);
    let leader = session.wait(client.leader(&place))?;
    let node = args.number("broker-id").map_err(ToolError::Usage)?.unwrap_or(leader);
    let found = active(session, client, &place, node)?;
    let mut rows = vec![row(&[
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ])];
    for it in found {
        let open = it.current_txn_start_offset;
        rows.push(vec![
            it.producer_id.to_string(),
            it.producer_epoch.to_string(),
            it.coordinator_epoch.to_string(),
            it.last_sequence.to_string(),
            it.last_timestamp.to_string(),
            if open < 0 { "None".to_owned() } else { open.to_string() },
        ]);
    }
    print(session, &rows)
}

/// The producers that a broker remembers of a partition.
fn active(
    session: &ToolSession<'_>,
    client: &Client,
    place: &TopicPartition,
    node: NodeId,
) -> Result<Vec<ProducerState>, ToolError> {
    let asked = TopicRequest {
        name: place.topic.to_string(),
        partition_indexes: vec![place.partition],
        ..Default::default()
    };
    let request = DescribeProducersRequest { topics: vec![asked], ..Default::default() };
    let told = session.wait(client.ask(node, &request))?;
    let mut all = Vec::new();
    for partition in told.topics.into_iter().flat_map(|it| it.partitions) {
        refused(partition.error_code, partition.error_message.as_deref())?;
        all.extend(partition.active_producers);
    }
    Ok(all)
}
