//! `ottla groups`: their members, their offsets, and their lag in records and in time.

use std::error::Error;

use clap::{Args, Subcommand};
use ottla_client::{
    Client, ClientError, Consumer, ConsumerOptions, GroupFilter, IsolationLevel, OffsetAt,
    PartitionOffsets, Start, TopicPartition,
};
use ottla_clock::Clock;
use ottla_types::{ErrorCode, nearest};

use crate::consume::when::{StartPosition, at};
use crate::front::{Environment, Front, SharedOptions, print_to_stderr};
use crate::output::{Cell, OutputTable, column, partitions_cell, titled};

/// List consumer groups and their lag, describe, reset and delete them; without a command, list.
#[derive(Args, Debug)]
pub struct GroupsArgs {
    #[command(subcommand)]
    action: Option<GroupAction>,
    #[command(flatten)]
    shared: SharedOptions,
}

#[derive(Debug, Subcommand)]
enum GroupAction {
    /// Print the groups, their state, and by how many records each is behind.
    List,
    /// Print the members of a group, and what each of them reads.
    Describe {
        /// The group.
        group: String,
    },
    /// Print how far a group is behind in each partition: in records, and since when.
    Lag {
        /// The group.
        group: String,
    },
    /// Change the committed offsets of a group, which must have no members meanwhile.
    Reset {
        /// The group.
        group: String,
        /// The topic (default: all topics that the group has offsets of).
        #[arg(long, short)]
        topic: Option<String>,
        /// The new position: earliest, latest, an offset, a time (2026-11-20T10:00:00Z), or -2h.
        #[arg(long, allow_hyphen_values = true)]
        to: String,
        /// Commit the new offsets; without it, only print what would be done.
        #[arg(long)]
        execute: bool,
    },
    /// Delete groups with their offsets; they must have no members.
    Delete {
        /// The groups.
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

/// How far a group is behind in a partition.
struct Lag {
    place: TopicPartition,
    offset: i64,
    records: i64,
}

pub(crate) async fn run_groups(
    args: GroupsArgs,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let client = front.connect().await?;
    match args.action.unwrap_or(GroupAction::List) {
        GroupAction::List => front.show(async || list_groups(&client).await).await,
        GroupAction::Describe { group } => {
            front.show(async || describe_group(&client, &group).await).await
        }
        GroupAction::Lag { group } => {
            let mut reader = RecordReader::new(front.connect().await?);
            front.show(async || lag_table(&client, &mut reader, &group).await).await
        }
        GroupAction::Reset { group, topic, to, execute } => {
            let to = at(&to, &Clock::real())?;
            let targets = reset_targets(&client, &group, topic.as_deref(), &to).await?;
            if execute {
                let options = ConsumerOptions {
                    group: Some(group),
                    auto_commit: false,
                    ..Default::default()
                };
                let mut consumer = Consumer::new(front.connect().await?, options);
                let offsets: PartitionOffsets =
                    targets.iter().map(|(place, _, new)| (place.clone(), *new)).collect();
                consumer.commit_offsets(&offsets).await.map_err(|error| {
                    format!("{error}\n  A group can be reset while it has no members; stop its consumers first.")
                })?;
            } else {
                print_to_stderr("Nothing was changed; add --execute to reset the offsets.");
            }
            let head = [
                column("topic"),
                column("partition"),
                titled("offset", "old_offset"),
                titled("new offset", "new_offset"),
            ];
            let mut table = OutputTable::new(&head);
            for (place, old, new) in targets {
                let topic = Cell::from(&*place.topic);
                table.row(vec![topic, place.partition.into(), old.into(), new.into()]);
            }
            Ok(front.print(&table)?)
        }
        GroupAction::Delete { groups } => {
            let mut table = OutputTable::new(&[column("group")]);
            for group in &groups {
                delete_group(&client, group).await?;
                table.row(vec![group.as_str().into()]);
            }
            Ok(front.done(&format!("Deleted {}.", groups.join(", ")), &table)?)
        }
    }
}

async fn list_groups(client: &Client) -> Result<OutputTable, Box<dyn Error>> {
    let mut table = OutputTable::new(&[
        column("group"),
        column("kind"),
        column("state"),
        titled("behind by", "lag_records"),
    ]);
    for group in client.list_groups(&GroupFilter::default()).await? {
        let lags = group_lags(client, &group.id).await?;
        let behind: i64 = lags.iter().map(|it| it.records).sum();
        table.row(vec![group.id.into(), group.kind.into(), group.state.into(), behind.into()]);
    }
    Ok(table)
}

async fn describe_group(client: &Client, group: &str) -> Result<OutputTable, Box<dyn Error>> {
    let found = match client.describe_group(group).await {
        Err(ClientError::Refused { code: ErrorCode::GROUP_ID_NOT_FOUND, .. }) => None,
        found => Some(found?).filter(|it| it.state != "Dead"),
    };
    let Some(found) = found else { return Err(missing_group(client, group).await.into()) };
    let head = [
        column("member"),
        titled("client", "client_id"),
        column("host"),
        titled("reads", "partitions"),
    ];
    let mut table = OutputTable::new(&head);
    for it in found.members {
        let reads = match it.places.is_empty() {
            true => partitions_cell(&[]).shown("nothing").bad(),
            false => partitions_cell(&it.places),
        };
        let name = it.instance.unwrap_or(it.id);
        table.row(vec![name.into(), it.client.into(), it.host.into(), reads]);
    }
    if table.is_empty() {
        print_to_stderr(format!("Group {group} has no members; it is {}.", found.state));
    }
    Ok(table)
}

/// The error for a group that does not exist, with the name that may be meant.
async fn missing_group(client: &Client, group: &str) -> String {
    let all = client.list_groups(&GroupFilter::default()).await.unwrap_or_default();
    match nearest(all.iter().map(|it| it.id.as_str()), group) {
        Some(near) => {
            format!(
                "there is no group {group}; did you mean {near}? `ottla groups` lists the groups"
            )
        }
        None => format!("there is no group {group}; `ottla groups` lists the groups"),
    }
}

/// The error for a group without offsets: it does not exist, or it has committed none.
async fn without_offsets(client: &Client, group: &str) -> String {
    match client.list_groups(&GroupFilter::default()).await {
        Ok(all) if all.iter().any(|it| it.id == group) => {
            format!("group {group} has committed no offsets")
        }
        _ => missing_group(client, group).await,
    }
}

async fn lag_table(
    client: &Client,
    reader: &mut RecordReader,
    group: &str,
) -> Result<OutputTable, Box<dyn Error>> {
    let lags = group_lags(client, group).await?;
    if lags.is_empty() {
        return Err(without_offsets(client, group).await.into());
    }
    let head = [
        column("topic"),
        column("partition"),
        column("offset"),
        titled("behind by", "lag_records"),
        titled("since", "lag_ms"),
    ];
    let mut table = OutputTable::new(&head);
    for lag in lags {
        let since = reader.age(&lag).await?.map_or_else(Cell::nothing, Cell::ago);
        table.row(vec![
            Cell::from(&*lag.place.topic),
            lag.place.partition.into(),
            lag.offset.into(),
            lag.records.into(),
            since,
        ]);
    }
    Ok(table)
}

async fn group_lags(client: &Client, group: &str) -> Result<Vec<Lag>, Box<dyn Error>> {
    let mut all = Vec::new();
    let committed = client.group_offsets(group).await?;
    let ends =
        client.offsets_at(committed.keys(), OffsetAt::Latest, IsolationLevel::Uncommitted).await;
    for (place, next) in committed {
        let offset = next.offset;
        // A topic that is gone is not behind.
        let Some(end) = ends.get(&place) else { continue };
        all.push(Lag { place, offset, records: (end - offset).max(0) });
    }
    Ok(all)
}

/// Where a group's partitions are, and where they are to be.
async fn reset_targets(
    client: &Client,
    group: &str,
    topic: Option<&str>,
    to: &StartPosition,
) -> Result<Vec<(TopicPartition, Option<i64>, i64)>, Box<dyn Error>> {
    let known = client.group_offsets(group).await?;
    let mut places: Vec<TopicPartition> = known.keys().cloned().collect();
    if let Some(topic) = topic {
        let found = crate::topics::find_topic(client, topic).await?;
        let indexes = found.partitions.iter().map(|it| it.partition);
        places = indexes.map(|index| TopicPartition::new(topic, index)).collect();
    }
    if places.is_empty() {
        let why = without_offsets(client, group).await;
        return Err(format!(
            "{why}; for a group that does not exist yet, name a topic with --topic"
        )
        .into());
    }
    places.sort();
    let mut all = Vec::new();
    for place in places {
        let new = to.offset(client, &place).await?;
        all.push((place.clone(), known.get(&place).map(|next| next.offset), new));
    }
    Ok(all)
}

async fn delete_group(client: &Client, group: &str) -> Result<(), Box<dyn Error>> {
    let Err(error) = client.delete_group(group).await else { return Ok(()) };
    match error.code() {
        Some(ErrorCode::NON_EMPTY_GROUP) => Err(format!(
            "group {group} has members; stop them first (`ottla groups describe {group}`)"
        )
        .into()),
        Some(ErrorCode::GROUP_ID_NOT_FOUND) => Err(missing_group(client, group).await.into()),
        Some(code) => Err(format!("group {group}: {}", code.message()).into()),
        None => Err(error.into()),
    }
}

/// Looks at single records.
struct RecordReader {
    consumer: Consumer,
    clock: Clock,
}

impl RecordReader {
    fn new(client: Client) -> Self {
        let options = ConsumerOptions { start: Start::Beginning, ..Default::default() };
        Self { consumer: Consumer::new(client, options), clock: Clock::real() }
    }

    /// How long ago the next record was written, in milliseconds; `None` if there is none.
    async fn age(&mut self, lag: &Lag) -> Result<Option<i64>, Box<dyn Error>> {
        if lag.records == 0 {
            return Ok(None);
        }
        self.consumer.assign([lag.place.clone()].into()).await?;
        self.consumer.seek(&lag.place, lag.offset);
        let next = self.consumer.poll().await?;
        Ok(next.map(|record| self.clock.wall_ms().saturating_sub(record.timestamp).max(0)))
    }
}
