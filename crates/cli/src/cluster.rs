//! `ottla cluster`: its brokers, who controls it, how full their disks are.

use std::error::Error;

use clap::Args;
use ottla_client::{Client, IfAbsent};
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;

use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputTable, bytes, column, only_json, titled};

/// Print the brokers of the cluster, with their partitions and disks.
#[derive(Args, Debug)]
pub struct BrokersArgs {
    #[command(flatten)]
    shared: SharedOptions,
}

pub(crate) async fn run(
    args: BrokersArgs,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let client = front.connect().await?;
    front.show(async || look(&client).await).await
}

async fn look(client: &Client) -> Result<OutputTable, Box<dyn Error>> {
    let told = client.ask_any(&DescribeClusterRequest::default()).await?;
    client.all_brokers().await?;
    let head = [
        column("broker"),
        column("address"),
        column("rack"),
        column("role"),
        column("partitions"),
        column("leads"),
        titled("size", "size_bytes"),
        titled("disk free", "disk_free_bytes"),
        only_json("disk_total_bytes"),
        titled("cluster", "cluster_id"),
    ];
    let mut table = OutputTable::new(&head);
    let topics = client.refresh(None, IfAbsent::Fail).await?;
    let partitions = || topics.iter().flat_map(|it| &it.partitions);
    for it in &told.brokers {
        let id = it.broker_id;
        let holds = partitions().filter(|at| at.replica_nodes.contains(&id)).count();
        let leads = partitions().filter(|at| at.leader_id == id).count();
        let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let dirs = client.ask(id, &request).await;
        let (size, [free, total]) = match &dirs {
            Ok(dirs) => {
                let parts = dirs.results.iter().flat_map(|it| &it.topics);
                let sizes = parts.flat_map(|it| &it.partitions).map(|it| it.partition_size);
                let size = u64::try_from(sizes.sum::<i64>()).unwrap_or(0);
                (
                    Cell::bytes(size),
                    free(dirs.results.iter().map(|it| (it.usable_bytes, it.total_bytes))),
                )
            }
            Err(error) => {
                let failed = Cell::nothing().shown(error.to_string()).bad();
                (failed, [Cell::nothing(), Cell::nothing()])
            }
        };
        let role = if told.controller_id == id { "controller" } else { "broker" };
        let state = if it.is_fenced { Cell::from("fenced").bad() } else { role.into() };
        table.row(vec![
            id.into(),
            format!("{}:{}", it.host, it.port).into(),
            it.rack.clone().into(),
            state,
            holds.into(),
            leads.into(),
            size,
            free,
            total,
            told.cluster_id.as_str().into(),
        ]);
    }
    Ok(table)
}

/// The free part of the fullest disk, and how large that disk is.
fn free(dirs: impl Iterator<Item = (i64, i64)>) -> [Cell; 2] {
    let known = dirs.filter(|(usable, total)| *usable >= 0 && *total > 0);
    let fullest = known.min_by_key(|(usable, total)| usable.saturating_mul(1000) / total);
    let Some((usable, total)) = fullest else { return [Cell::nothing(), Cell::nothing()] };
    let part = usable.saturating_mul(100) / total;
    let size = |count: i64| u64::try_from(count).unwrap_or(0);
    let free = Cell::bytes(size(usable)).shown(format!("{} ({part} %)", bytes(size(usable))));
    [if part < 15 { free.bad() } else { free }, Cell::bytes(size(total))]
}
