//! `ottla topics`: list, describe, create, change, delete.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use clap::{Args, Subcommand};
use ottla_client::{
    ChangeMode, Client, ClientError, ConfigResource, IsolationLevel, MorePartitions, NewTopic,
    OffsetAt, PartitionDescription, TopicDescription, TopicListing, TopicPartition,
};
use ottla_types::{ErrorCode, nearest};

use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputTable, column, only_json, titled};

/// List, describe, create, change and delete topics; without a command, list.
#[derive(Args, Debug)]
pub struct TopicsArgs {
    #[command(subcommand)]
    action: Option<TopicAction>,
    #[command(flatten)]
    shared: SharedOptions,
}

#[derive(Debug, Subcommand)]
enum TopicAction {
    /// Print the topics, with their partitions, replicas, records and bytes.
    List {
        /// Print Kafka's internal topics, too.
        #[arg(long)]
        all: bool,
    },
    /// Print the partitions of a topic: leaders, in-sync replicas, offsets.
    Describe {
        /// The name of the topic.
        name: String,
    },
    /// Create a topic.
    Create {
        /// The name of the topic.
        name: String,
        /// How many partitions (default: the cluster's num.partitions).
        #[arg(long, short, default_value_t = -1, hide_default_value = true)]
        partitions: i32,
        /// How many replicas (default: the cluster's default.replication.factor).
        #[arg(long, short, default_value_t = -1, hide_default_value = true)]
        replication_factor: i16,
        /// A setting of the topic.
        #[arg(long = "config", short = 'c', value_name = "NAME=VALUE")]
        configs: Vec<String>,
    },
    /// Give a topic more partitions, or other settings.
    Alter {
        /// The name of the topic.
        name: String,
        /// How many partitions it is to have; they cannot become fewer.
        #[arg(long, short)]
        partitions: Option<i32>,
        /// A setting; an empty value takes it back to its default.
        #[arg(long = "config", short = 'c', value_name = "NAME=VALUE")]
        configs: Vec<String>,
    },
    /// Delete topics with all their records.
    Delete {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// What a broker knows of a topic.
///
/// # Errors
/// There is no topic of this name (the nearest one is named), or no broker answers.
pub(crate) async fn find_topic(
    client: &Client,
    name: &str,
) -> Result<TopicDescription, Box<dyn Error>> {
    let topic = client.describe_topic(name).await?;
    match topic.error {
        ErrorCode::NONE => Ok(topic),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(missing_topic(client, name).await.into()),
        code => Err(format!("topic {name}: {} ({})", code.message(), code.name()).into()),
    }
}

/// The error for a topic that does not exist, with the name that may be meant.
pub(crate) async fn missing_topic(client: &Client, name: &str) -> String {
    let all = client.topics().await.unwrap_or_default();
    let near = nearest(all.iter().map(|it| it.name.as_str()), name);
    let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    let divider = if hint.is_empty() { ";" } else { "" };
    format!("there is no topic {name}{hint}{divider} `ottla topics` lists the topics")
}

/// The same for a refusal of the cluster.
async fn refused_topic(client: &Client, name: &str, error: ClientError) -> Box<dyn Error> {
    match error.code() {
        Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => missing_topic(client, name).await.into(),
        _ => error.into(),
    }
}

/// `NAME=VALUE` words, and the errors of words that are not of that form.
pub(crate) fn pairs_and_faults(words: Vec<String>) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut pairs, mut faults) = (BTreeMap::new(), Vec::new());
    for word in words {
        match word.split_once('=') {
            Some((name, value)) => {
                let before = pairs.insert(name.to_owned(), value.to_owned());
                if let Some(before) = before.filter(|before| before != value) {
                    faults.push(format!("{name} is given twice: {before} and {value}"));
                }
            }
            None => faults.push(format!("{word} is not NAME=VALUE")),
        }
    }
    (pairs, faults)
}

/// `NAME=VALUE` words.
pub(crate) fn parse_pairs(words: Vec<String>) -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let (pairs, faults) = pairs_and_faults(words);
    refuse_faults(faults)?;
    Ok(pairs)
}

/// All that is wrong in one error, a line for each.
pub(crate) fn refuse_faults(mut faults: Vec<String>) -> Result<(), Box<dyn Error>> {
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0).into()),
        count => {
            Err(format!("{count} mistakes, nothing was changed:\n  {}", faults.join("\n  ")).into())
        }
    }
}

pub(crate) async fn run_topics(
    args: TopicsArgs,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    let front = Front::new(&args.shared, environment)?;
    let client = front.connect().await?;
    match args.action.unwrap_or(TopicAction::List { all: false }) {
        TopicAction::List { all } => front.show(async || list_topics(&client, all).await).await?,
        TopicAction::Describe { name } => {
            front.show(async || describe_topic(&client, &name).await).await?;
        }
        TopicAction::Create { name, partitions, replication_factor, configs } => {
            let (configs, mut faults) = pairs_and_faults(configs);
            let topic =
                NewTopic { partitions, replication_factor, configs, ..NewTopic::named(&name) };
            if !faults.is_empty() {
                let checked =
                    client.create_topic(&topic, ChangeMode::Check).await.map_err(in_its_words);
                faults.extend(checked.err().map(|error| error.to_string()));
            }
            refuse_faults(faults)?;
            client.create_topic(&topic, ChangeMode::Change).await.map_err(in_its_words)?;
            print_done(&front, &client, &name, "Created").await?;
        }
        TopicAction::Alter { name, partitions, configs } => {
            if partitions.is_none() && configs.is_empty() {
                return Err(
                    "nothing to change: add --partitions COUNT or --config NAME=VALUE".into()
                );
            }
            find_topic(&client, &name).await?;
            let (changes, mut faults) = pairs_and_faults(configs);
            let changes: Vec<_> = changes
                .into_iter()
                .map(|(name, value)| (name, Some(value).filter(|it| !it.is_empty())))
                .collect();
            if !changes.is_empty() {
                let resource = ConfigResource::topic(&name);
                let checked =
                    client.set_configs(resource, changes.clone(), ChangeMode::Check).await;
                faults.extend(checked.err().map(|error| error.to_string()));
            }
            if let Some(count) = partitions {
                let checked = client
                    .create_partitions(&more_partitions(&name, count), ChangeMode::Check)
                    .await;
                faults.extend(checked.err().map(|error| error.to_string()));
            }
            refuse_faults(faults)?;
            if !changes.is_empty() {
                client
                    .set_configs(ConfigResource::topic(&name), changes, ChangeMode::Change)
                    .await?;
            }
            if let Some(count) = partitions {
                client
                    .create_partitions(&more_partitions(&name, count), ChangeMode::Change)
                    .await?;
            }
            print_done(&front, &client, &name, "Changed").await?;
        }
        TopicAction::Delete { names } => {
            return delete_topics(&front, &client, &names).await;
        }
    }
    Ok(())
}

/// Deletes topics; where one is refused, says which were deleted before.
async fn delete_topics(
    front: &Front<'_>,
    client: &Client,
    names: &[String],
) -> Result<(), Box<dyn Error>> {
    let mut table = OutputTable::new(&[column("topic")]);
    let (mut deleted, mut failed) = (Vec::new(), None);
    for name in names {
        if let Err(error) = client.delete_topic(name).await {
            failed = Some(refused_topic(client, name, error).await);
            break;
        }
        table.row(vec![name.as_str().into()]);
        deleted.push(name.as_str());
    }
    if !deleted.is_empty() {
        front.done(&format!("Deleted {}.", deleted.join(", ")), &table)?;
    }
    failed.map_or(Ok(()), Err)
}

/// A refusal to create a topic: the cluster's own sentence says it all, where it has one.
pub(crate) fn in_its_words(error: ClientError) -> Box<dyn Error> {
    match error {
        ClientError::RefusedBecause { code, reason } => {
            format!("{} ({})", reason.trim_end_matches('.'), code.name()).into()
        }
        error => error.into(),
    }
}

/// Says what was done to a topic, and what it is like now.
async fn print_done(
    front: &Front<'_>,
    client: &Client,
    name: &str,
    done: &str,
) -> Result<(), Box<dyn Error>> {
    // The node that answers may have the change a moment after the controller.
    let topic = client.await_topic(name).await?;
    let partitions = topic.partitions.len();
    let replicas = topic.partitions.first().map_or(0, |it| it.replicas.len());
    let mut table = OutputTable::new(&[column("topic"), column("partitions"), column("replicas")]);
    table.row(vec![name.into(), partitions.into(), replicas.into()]);
    let many =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let sentence = format!(
        "{done} topic {name}: {}, {}.",
        many(partitions, "partition"),
        many(replicas, "replica")
    );
    Ok(front.done(&sentence, &table)?)
}

fn more_partitions(name: &str, count: i32) -> MorePartitions {
    MorePartitions { topic: name.to_owned(), count, assignments: None }
}

/// How many bytes each partition's leader has.
async fn partition_sizes(client: &Client) -> Result<BTreeMap<TopicPartition, u64>, Box<dyn Error>> {
    let mut all: BTreeMap<TopicPartition, u64> = BTreeMap::new();
    for node in client.all_brokers().await? {
        for dir in client.describe_log_dirs(node).await? {
            for it in dir.replicas.into_iter().filter(|it| !it.is_future) {
                let size = all.entry(it.place).or_default();
                // Followers may lag; the largest copy is what there is.
                *size = (*size).max(u64::try_from(it.size_bytes).unwrap_or(0));
            }
        }
    }
    Ok(all)
}

async fn list_topics(client: &Client, all: bool) -> Result<OutputTable, Box<dyn Error>> {
    let sizes = partition_sizes(client).await?;
    let mut table = OutputTable::new(&[
        column("topic"),
        column("partitions"),
        column("replicas"),
        column("records"),
        titled("size", "size_bytes"),
    ]);
    let topics = client.topics().await?;
    let topics: Vec<_> = topics.iter().filter(|topic| all || !topic.internal).collect();
    let of = |topic: &TopicListing| {
        let name: Arc<str> = topic.name.as_str().into();
        let indexes = 0..i32::try_from(topic.partitions).unwrap_or(0);
        indexes.map(move |index| TopicPartition::new(Arc::clone(&name), index)).collect::<Vec<_>>()
    };
    let places: Vec<TopicPartition> = topics.iter().flat_map(|topic| of(topic)).collect();
    let ends = partition_ends(client, &places).await;
    for topic in topics {
        let places = of(topic);
        let all_of = |known: &BTreeMap<TopicPartition, i64>| -> i64 {
            places.iter().filter_map(|place| known.get(place)).sum()
        };
        let [start, end] = &ends;
        let records = all_of(end) - all_of(start);
        let size = places.iter().filter_map(|place| sizes.get(place)).sum();
        let (count, replicas) = (topic.partitions.into(), topic.replicas.into());
        table.row(vec![
            topic.name.as_str().into(),
            count,
            replicas,
            records.into(),
            Cell::bytes(size),
        ]);
    }
    Ok(table)
}

/// The first offsets, and those after the last; nothing for partitions without a leader.
async fn partition_ends(
    client: &Client,
    places: &[TopicPartition],
) -> [BTreeMap<TopicPartition, i64>; 2] {
    let starts = client.offsets_at(places, OffsetAt::Earliest, IsolationLevel::Uncommitted).await;
    [starts, client.offsets_at(places, OffsetAt::Latest, IsolationLevel::Uncommitted).await]
}

async fn describe_topic(client: &Client, name: &str) -> Result<OutputTable, Box<dyn Error>> {
    let topic = find_topic(client, name).await?;
    let sizes = partition_sizes(client).await?;
    let head = [
        only_json("topic"),
        column("partition"),
        column("leader"),
        column("replicas"),
        titled("in sync", "in_sync"),
        titled("first", "first_offset"),
        titled("end", "end_offset"),
        titled("size", "size_bytes"),
    ];
    let mut table = OutputTable::new(&head);
    let mut partitions = topic.partitions;
    partitions.sort_by_key(|it| it.partition);
    let led = partitions.iter().filter(|it| it.leader >= 0);
    let led: Vec<_> = led.map(|it| TopicPartition::new(name, it.partition)).collect();
    let ends = partition_ends(client, &led).await;
    for it in partitions {
        let place = TopicPartition::new(name, it.partition);
        let [start, end] = ends.each_ref().map(|known| known.get(&place).copied());
        let size = sizes.get(&place).map_or_else(Cell::nothing, |size| Cell::bytes(*size));
        let mut row = vec![name.into(), it.partition.into()];
        row.extend(state_cells(&it));
        row.extend([start.into(), end.into(), size]);
        table.row(row);
    }
    Ok(table)
}

fn state_cells(it: &PartitionDescription) -> [Cell; 3] {
    let leader = match it.leader {
        ..0 => Cell::nothing().shown("none").bad(),
        id => id.into(),
    };
    let in_sync = Cell::ids(&it.in_sync);
    let is_whole = it.in_sync.len() >= it.replicas.len();
    let in_sync = if is_whole { in_sync.good() } else { in_sync.bad() };
    [leader, Cell::ids(&it.replicas), in_sync]
}
