//! `ottla cluster`: its brokers, its controller, how full the disks are.

use std::error::Error;

use clap::Args;
use ottla_client::{Brokers, Client, LogDirDescription};

use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputTable, column, format_bytes, only_json, titled};

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
    let cluster = client.describe_cluster(Brokers::Unfenced).await?;
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
    let topics = client.describe_topics(None).await?;
    let partitions = || topics.iter().flat_map(|it| &it.partitions);
    for it in &cluster.brokers {
        let id = it.id;
        let holds = partitions().filter(|at| at.replicas.contains(&id)).count();
        let leads = partitions().filter(|at| at.leader == id).count();
        let dirs = client.describe_log_dirs(id).await;
        let (size, [free, total]) = match &dirs {
            Ok(dirs) => {
                let sizes = dirs.iter().flat_map(|dir| &dir.replicas).map(|it| it.size_bytes);
                let size = u64::try_from(sizes.sum::<i64>()).unwrap_or(0);
                (Cell::bytes(size), free_part(dirs))
            }
            Err(error) => {
                let failed = Cell::nothing().shown(error.to_string()).bad();
                (failed, [Cell::nothing(), Cell::nothing()])
            }
        };
        let role = if cluster.controller == id { "controller" } else { "broker" };
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
            cluster.id.as_str().into(),
        ]);
    }
    Ok(table)
}

/// The free part of the fullest disk, and how large that disk is.
fn free_part(dirs: &[LogDirDescription]) -> [Cell; 2] {
    let known = dirs.iter().filter(|dir| dir.usable_bytes >= 0 && dir.total_bytes > 0);
    let fullest = known.min_by_key(|dir| dir.usable_bytes.saturating_mul(1000) / dir.total_bytes);
    let Some(fullest) = fullest else { return [Cell::nothing(), Cell::nothing()] };
    let (usable, total) = (fullest.usable_bytes, fullest.total_bytes);
    let part = usable.saturating_mul(100) / total;
    let size = |count: i64| u64::try_from(count).unwrap_or(0);
    let free =
        Cell::bytes(size(usable)).shown(format!("{} ({part} %)", format_bytes(size(usable))));
    [if part < 15 { free.bad() } else { free }, Cell::bytes(size(total))]
}
