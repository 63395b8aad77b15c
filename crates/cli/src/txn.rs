//! `ottla txn`: transactions, and those that are open for too long.

use std::error::Error;

use clap::{Args, Subcommand};
use ottla_client::{Client, ClientError, TransactionDescription, TransactionFilter};
use ottla_clock::Clock;

use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputTable, column, partitions_cell, titled};

/// List transactional ids and their transactions, or abort one; without a command, list.
#[derive(Args, Debug)]
pub struct Txn {
    #[command(subcommand)]
    action: Option<TransactionAction>,
    #[command(flatten)]
    shared: SharedOptions,
}

#[derive(Debug, Subcommand)]
enum TransactionAction {
    /// Print the transactional ids, their state, since when, and their partitions.
    List {
        /// Only those that have been open for so many seconds.
        #[arg(long, value_name = "SECONDS")]
        open_for: Option<i64>,
    },
    /// Abort the open transaction of a transactional id; its producer is fenced.
    Abort {
        /// The transactional id.
        id: String,
    },
}

pub(crate) async fn run_txn(args: Txn, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let client = front.connect().await?;
    match args.action.unwrap_or(TransactionAction::List { open_for: None }) {
        TransactionAction::List { open_for } => {
            front.show(async || list_transactions(&client, open_for).await).await
        }
        TransactionAction::Abort { id } => {
            abort_transaction(&client, &id).await?;
            let mut table = OutputTable::new(&[titled("transactional id", "transactional_id")]);
            table.row(vec![id.as_str().into()]);
            Ok(front.done(
                &format!("Aborted the open transaction of {id}; its producer is fenced."),
                &table,
            )?)
        }
    }
}

async fn list_transactions(
    client: &Client,
    open_for: Option<i64>,
) -> Result<OutputTable, Box<dyn Error>> {
    let now = Clock::real().wall_ms();
    let head = [
        titled("transactional id", "transactional_id"),
        column("state"),
        titled("open for", "open_ms"),
        titled("producer", "producer_id"),
        titled("epoch", "producer_epoch"),
        titled("touches", "partitions"),
    ];
    let mut table = OutputTable::new(&head);
    let open_for_ms = open_for.map(|seconds| seconds.saturating_mul(1000));
    let filter = TransactionFilter { open_for_ms, ..Default::default() };
    let mut listed = client.list_transactions(&filter).await?;
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    for listing in listed {
        // It may have expired since it was listed.
        let Some(it) = find_transaction(client, &listing.id).await? else { continue };
        let is_open = it.state == "Ongoing";
        let lasts = (is_open && it.started > 0).then(|| Cell::ago(now - it.started));
        table.row(vec![
            it.id.into(),
            it.state.into(),
            lasts.into(),
            it.producer_id.into(),
            i32::from(it.producer_epoch).into(),
            partitions_cell(&it.places),
        ]);
    }
    Ok(table)
}

/// The state of a transactional id; `None` if it does not exist.
async fn find_transaction(
    client: &Client,
    id: &str,
) -> Result<Option<TransactionDescription>, ClientError> {
    match client.describe_transaction(id).await {
        Ok(found) => Ok(Some(found)),
        Err(ClientError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn abort_transaction(client: &Client, id: &str) -> Result<(), Box<dyn Error>> {
    if find_transaction(client, id).await?.is_none() {
        return Err(format!("there is no transactional id {id}; `ottla txn` lists them").into());
    }
    Ok(client.fence_producer(id).await?)
}
