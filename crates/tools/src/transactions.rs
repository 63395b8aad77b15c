//! kafka-transactions.

mod hanging;

use ottla_client::{Client, TopicPartition, TransactionFilter};
use ottla_clock::Clock;

use crate::options::{Opt, Parsed, last};
use crate::session::{ToolError, ToolSession, plain_error, tool_failed};
use crate::table::tabbed;
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-transactions",
    about: "list, describe, describe-producers, find-hanging, abort, forceTerminateTransaction: transactions, and those that hang.",
    options: OPTIONS,
    run: run_transactions,
}];

const OPTIONS: &[Opt] = &[
    last("transactional-id", "ID", "With describe: the transactional id."),
    last("topic", "NAME", "With describe-producers, abort, find-hanging: the topic."),
    last("partition", "NUMBER", "The same: the partition."),
    last("broker-id", "ID", "With describe-producers, find-hanging: ask this broker."),
    last(
        "max-transaction-timeout",
        "MINUTES",
        "With find-hanging: what is open for longer (default: 15).",
    ),
    last("start-offset", "OFFSET", "With abort: the first offset of the transaction."),
    last("producer-id", "ID", "With abort, instead of --start-offset: the producer id."),
    last("producer-epoch", "EPOCH", "The same: the producer's epoch."),
    last("coordinator-epoch", "EPOCH", "The same: the transaction coordinator's epoch."),
    last("transactionalId", "ID", "With forceTerminateTransaction: which."),
    last("duration-filter", "MS", "With list: only transactions open for longer, in ms."),
    last("transactional-id-pattern", "REGEX", "With list: only transactional ids that match."),
];

fn run_transactions(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let action = args.rest.first().map(String::as_str);
    let client = session.connect()?;
    match action {
        Some("list") => list_transactions(args, session, &client),
        Some("describe") => describe_transaction(args, session, &client),
        Some("describe-producers") => describe_producers(args, session, &client),
        Some("abort") => hanging::abort_hanging(args, session, &client),
        Some("find-hanging") => hanging::find_hanging(args, session, &client),
        Some("forceTerminateTransaction") => terminate_transaction(args, session, &client),
        _ => Err(ToolError::Usage(
            "too few arguments: list, describe, describe-producers, abort, find-hanging or forceTerminateTransaction".to_owned(),
        )),
    }
}

/// Ends whatever the id has begun, by becoming its producer.
fn terminate_transaction(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let id = args.required("transactionalId").map_err(ToolError::Usage)?;
    Ok(session.wait(client.fence_producer(id))?)
}

fn owned_row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|it| (*it).to_owned()).collect()
}

fn print_rows(session: &mut ToolSession<'_>, rows: &[Vec<String>]) -> Result<(), ToolError> {
    Ok(write!(session.out, "{}", tabbed(rows))?)
}

fn list_transactions(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let mut rows =
        vec![owned_row(&["TransactionalId", "Coordinator", "ProducerId", "TransactionState"])];
    let filter = TransactionFilter {
        open_for_ms: args.number("duration-filter").map_err(ToolError::Usage)?,
        id_pattern: args.one("transactional-id-pattern").map(str::to_owned),
        ..Default::default()
    };
    for it in session.wait(client.list_transactions(&filter)).map_err(plain_error)? {
        let (coordinator, producer) = (it.coordinator.to_string(), it.producer_id.to_string());
        rows.push(owned_row(&[&it.id, &coordinator, &producer, &it.state]));
    }
    print_rows(session, &rows)
}

fn describe_transaction(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    client: &Client,
) -> Result<(), ToolError> {
    let id = args.one("transactional-id");
    let id =
        id.ok_or_else(|| ToolError::Usage("argument --transactional-id is required".to_owned()))?;
    let found =
        session.wait(client.describe_transaction(id)).map_err(|error| match error.code() {
            Some(code) => tool_failed(format!(
                "Failed to describe transaction state of transactional-id `{id}`: {}",
                code.message()
            )),
            None => error.into(),
        })?;
    let open = found.started > 0 && found.state == "Ongoing";
    let since = |text: String| if open { text } else { "None".to_owned() };
    let lasts = since((Clock::real().wall_ms() - found.started).to_string());
    let mut places: Vec<String> = found.places.iter().map(ToString::to_string).collect();
    places.sort();
    let head = owned_row(&[
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
        found.coordinator.to_string(),
        found.id,
        found.producer_id.to_string(),
        found.producer_epoch.to_string(),
        found.state,
        found.timeout_ms.to_string(),
        since(found.started.to_string()),
        lasts,
        places.join(","),
    ];
    print_rows(session, &[head, cells.to_vec()])
}

fn describe_producers(
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
    let found = session.wait(client.describe_producers(&place, node)).map_err(plain_error)?;
    let mut rows = vec![owned_row(&[
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ])];
    for it in found {
        let open = it.transaction_start;
        rows.push(vec![
            it.id.to_string(),
            it.epoch.to_string(),
            it.coordinator_epoch.to_string(),
            it.last_sequence.to_string(),
            it.last_timestamp.to_string(),
            if open < 0 { "None".to_owned() } else { open.to_string() },
        ]);
    }
    print_rows(session, &rows)
}
