//! `ottla cluster`: its nodes, which one leads the metadata quorum, how far the others are behind,
//! how full the disks are.

use std::error::Error;

use clap::{Args, Subcommand};
use ottla_client::{
    Brokers, Client, ClientError, ClusterDescription, LogDirDescription, QuorumDescription,
    TopicDescription,
};
use ottla_types::{NodeId, Uuid};

use crate::cluster_nodes::{DescribedNode, MetadataReplica, QuorumStanding, list_nodes};
use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputTable, column, format_ago, format_bytes, only_json, titled};
use crate::patience::answer_or_reason;
use crate::rebalance::{
    DecommissionArgs, GrowArgs, RebalanceArgs, run_decommission, run_grow, run_rebalance,
};

/// Print the nodes of the cluster: their part in the metadata quorum, partitions and disks; or,
/// with a command, move replicas between brokers.
#[derive(Args, Debug)]
pub struct BrokersArgs {
    #[command(subcommand)]
    action: Option<ClusterAction>,
    #[command(flatten)]
    shared: SharedOptions,
}

#[derive(Debug, Subcommand)]
enum ClusterAction {
    /// Move replicas and leaders so that brokers are evenly loaded; without --execute print the
    /// plan.
    Rebalance(RebalanceArgs),
    /// Move all replicas off a broker, so that it can be stopped for good; without --execute print
    /// the plan.
    Decommission(DecommissionArgs),
    /// Give internal topics, and others of your choice, more replicas; without --execute print the
    /// plan.
    Grow(GrowArgs),
}

pub(crate) async fn run_cluster(
    args: BrokersArgs,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let Some(action) = args.action else {
        let client = front.connect().await?;
        return front.show(async || look_at_nodes(&client).await).await;
    };
    args.shared.refuse_watch("cluster")?;
    let client = front.connect().await?;
    match action {
        ClusterAction::Rebalance(args) => Box::pin(run_rebalance(args, &front, &client)).await,
        ClusterAction::Decommission(args) => {
            Box::pin(run_decommission(args, &front, &client)).await
        }
        ClusterAction::Grow(args) => Box::pin(run_grow(args, &front, &client)).await,
    }
}

async fn look_at_nodes(client: &Client) -> Result<OutputTable, Box<dyn Error>> {
    let cluster = describe_all(client).await?;
    let quorum = describe_quorum(client).await;
    let epoch = quorum.as_ref().map(|it| it.leader_epoch).ok();
    let head = [
        column("node"),
        column("address"),
        column("rack"),
        column("roles"),
        column("quorum"),
        titled("lag", "lag_records"),
        only_json("lag_ms"),
        column("state"),
        column("partitions"),
        column("leads"),
        titled("size", "size_bytes"),
        titled("disk free", "disk_free_bytes"),
        only_json("disk_total_bytes"),
        only_json("directory_id"),
        only_json("leader_epoch"),
        titled("cluster", "cluster_id"),
    ];
    let mut table = OutputTable::new(&head);
    let topics = client.describe_topics(None).await?;
    for node in list_nodes(&cluster, quorum.as_ref().ok()) {
        let dirs = match node.broker {
            Some(_) => Some(log_dirs_of(client, node.id).await),
            None => None,
        };
        let replica = node.replica.as_ref();
        let [partitions, leads] = partition_counts(&node, &topics);
        let [size, free, total] = disk_cells(dirs.as_ref().and_then(|it| it.as_ref().ok()));
        let standing = match (replica, &quorum) {
            (Some(replica), _) => standing_cell(replica, epoch),
            (None, Ok(_)) => Cell::nothing(),
            (None, Err(why)) => Cell::nothing().shown(why.as_str()).bad(),
        };
        let directory = replica.map(|it| it.directory).filter(|it| *it != Uuid::ZERO);
        table.row(vec![
            node.id.into(),
            node.address().into(),
            node.broker.as_ref().and_then(|it| it.rack.clone()).into(),
            node.roles().into(),
            standing,
            lag_cell(replica),
            replica.and_then(|it| it.lag_ms).into(),
            state_cell(&node, dirs.as_ref().and_then(|it| it.as_ref().err())),
            partitions,
            leads,
            size,
            free,
            total,
            directory.map(|it| it.to_string()).into(),
            epoch.into(),
            cluster.id.as_str().into(),
        ]);
    }
    Ok(table)
}

/// The brokers, also those that are fenced, if the cluster is new enough to name them.
pub(crate) async fn describe_all(client: &Client) -> Result<ClusterDescription, ClientError> {
    match client.describe_cluster(Brokers::All).await {
        Err(ClientError::Encode(_) | ClientError::Version(_)) => {
            client.describe_cluster(Brokers::Unfenced).await
        }
        described => described,
    }
}

/// The metadata quorum; or, in a few words, why it is not known.
pub(crate) async fn describe_quorum(client: &Client) -> Result<QuorumDescription, String> {
    answer_or_reason(client.clock(), "no leader has answered", client.describe_quorum()).await
}

/// The directories of a broker; or, in a few words, why they are not known.
pub(crate) async fn log_dirs_of(
    client: &Client,
    broker: NodeId,
) -> Result<Vec<LogDirDescription>, String> {
    answer_or_reason(client.clock(), "no answer", client.describe_log_dirs(broker)).await
}

fn partition_counts(node: &DescribedNode, topics: &[TopicDescription]) -> [Cell; 2] {
    if node.broker.is_none() {
        return [Cell::nothing(), Cell::nothing()];
    }
    let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
    let holds = partitions().filter(|at| at.replicas.contains(&node.id)).count();
    let leads = partitions().filter(|at| at.leader == node.id).count();
    [holds.into(), leads.into()]
}

fn standing_cell(replica: &MetadataReplica, epoch: Option<i32>) -> Cell {
    let name = replica.standing.name();
    match epoch.filter(|_| replica.standing == QuorumStanding::Leader) {
        Some(epoch) => Cell::from(name).shown(format!("{name}, epoch {epoch}")),
        None => name.into(),
    }
}

/// How far it is behind in records, and for how long.
fn lag_cell(replica: Option<&MetadataReplica>) -> Cell {
    let Some(records) = replica.and_then(|it| it.lag_records) else { return Cell::nothing() };
    match replica.and_then(|it| it.lag_ms).filter(|_| records > 0) {
        Some(ms) => Cell::from(records).shown(format!("{records} ({})", format_ago(ms))),
        None => records.into(),
    }
}

fn state_cell(node: &DescribedNode, unreachable: Option<&String>) -> Cell {
    let trouble = node.replica.as_ref().and_then(MetadataReplica::trouble);
    match (node.fenced_because(), unreachable, trouble) {
        (Some(why), ..) => Cell::from(format!("fenced: {why}")).bad(),
        (None, Some(error), _) => Cell::from(format!("unreachable: {error}")).bad(),
        (None, None, Some(trouble)) => Cell::from(trouble).bad(),
        (None, None, None) => Cell::from("ok").good(),
    }
}

/// How much is stored, what of the fullest disk is free, and how large that is.
fn disk_cells(dirs: Option<&Vec<LogDirDescription>>) -> [Cell; 3] {
    let Some(dirs) = dirs else { return [Cell::nothing(), Cell::nothing(), Cell::nothing()] };
    let sizes = dirs.iter().flat_map(|dir| &dir.replicas).map(|it| it.size_bytes);
    let size = Cell::bytes(u64::try_from(sizes.sum::<i64>()).unwrap_or(0));
    let [free, total] = free_part(dirs);
    [size, free, total]
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
