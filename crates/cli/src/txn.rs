//! `ottla txn`: transactions, and those that are open for too long.

use std::error::Error;

use clap::{Args, Subcommand};
use ottla_client::{Client, CoordinatorOf, TopicPartition};
use ottla_clock::Clock;
use ottla_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;

use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputTable, column, partitions, titled};

/// List transactional ids and what their transactions are at, or end one; without a command, list.
#[derive(Args, Debug)]
pub struct Txn {
    #[command(subcommand)]
    action: Option<TransactionAction>,
    #[command(flatten)]
    shared: SharedOptions,
}

#[derive(Debug, Subcommand)]
enum TransactionAction {
    /// Print the transactional ids, their state, how long that lasts, and what they touch.
    List {
        /// Only those that have been open for so many seconds.
        #[arg(long, value_name = "SECONDS")]
        open_for: Option<i64>,
    },
    /// Abort what an id has open; its producer is fenced.
    Abort {
        /// The transactional id.
        id: String,
    },
}

pub(crate) async fn run(args: Txn, environment: &Environment) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let client = front.connect().await?;
    match args.action.unwrap_or(TransactionAction::List { open_for: None }) {
        TransactionAction::List { open_for } => {
            front.show(async || list(&client, open_for).await).await
        }
        TransactionAction::Abort { id } => {
            abort(&client, &id).await?;
            let mut table = OutputTable::new(&[titled("transactional id", "transactional_id")]);
            table.row(vec![id.as_str().into()]);
            Ok(front
                .done(&format!("Aborted what {id} had open; its producer is fenced."), &table)?)
        }
    }
}

async fn list(client: &Client, open_for: Option<i64>) -> Result<OutputTable, Box<dyn Error>> {
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
    let mut ids = Vec::new();
    for node in client.all_brokers().await? {
        let request = ListTransactionsRequest {
            duration_filter: open_for.map_or(-1, |seconds| seconds.saturating_mul(1000)),
            ..Default::default()
        };
        let told = client.ask(node, &request).await?;
        ids.extend(told.transaction_states.into_iter().map(|it| (it.transactional_id, node)));
    }
    ids.sort();
    for (id, node) in ids {
        let request =
            DescribeTransactionsRequest { transactional_ids: vec![id], ..Default::default() };
        let told = client.ask(node, &request).await?;
        for it in told.transaction_states.into_iter().filter(|it| it.error_code == 0) {
            let is_open = it.transaction_state == "Ongoing";
            let lasts = (is_open && it.transaction_start_time_ms > 0)
                .then(|| Cell::ago(now - it.transaction_start_time_ms));
            let touched = it.topics.iter().flat_map(|of| {
                of.partitions.iter().map(|index| TopicPartition::new(of.topic.as_str(), *index))
            });
            let touched: Vec<TopicPartition> = touched.collect();
            table.row(vec![
                it.transactional_id.into(),
                it.transaction_state.into(),
                lasts.into(),
                it.producer_id.into(),
                i32::from(it.producer_epoch).into(),
                partitions(&touched),
            ]);
        }
    }
    Ok(table)
}

async fn abort(client: &Client, id: &str) -> Result<(), Box<dyn Error>> {
    let node = client.coordinator(CoordinatorOf::Transaction, id).await?;
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![id.to_owned()],
        ..Default::default()
    };
    let told = client.ask(node, &request).await?;
    let is_known = told.transaction_states.iter().any(|it| it.error_code == 0);
    if !is_known {
        return Err(format!(
            "there is no transactional id {id}; `ottla txn` lists those that there are"
        )
        .into());
    }
    Ok(client.fence_producer(id).await?)
}
