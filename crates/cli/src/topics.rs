//! `ottla topics`: list, create, delete.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

use clap::{Args, Subcommand};
use ottla_client::NewTopic;

use crate::Target;

/// List, create and delete topics; without a command, list.
#[derive(Args, Debug)]
pub struct Topics {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the topics, with their partitions and replicas.
    List {
        /// Print Kafka's own, too.
        #[arg(long)]
        all: bool,
    },
    /// Create a topic.
    Create {
        /// Its name.
        name: String,
        /// How many partitions; the cluster's default if not said.
        #[arg(long, short, default_value_t = -1, hide_default_value = true)]
        partitions: i32,
        /// How many replicas; the cluster's default if not said.
        #[arg(long, short, default_value_t = -1, hide_default_value = true)]
        replication_factor: i16,
        /// A setting of the topic.
        #[arg(long = "config", value_name = "NAME=VALUE")]
        configs: Vec<String>,
    },
    /// Delete a topic with all its records.
    Delete {
        /// Its name.
        name: String,
    },
}

pub(crate) async fn run(args: Topics) -> Result<(), Box<dyn Error>> {
    let mut cluster = args.target.connect().await?;
    match args.action.unwrap_or(Action::List { all: false }) {
        Action::List { all } => {
            let mut out = std::io::stdout().lock();
            for topic in cluster.topics().await?.iter().filter(|topic| all || !topic.internal) {
                let (name, count, replicas) = (&topic.name, topic.partitions, topic.replicas);
                writeln!(out, "{name}\t{count} partition(s)\t{replicas} replica(s)")?;
            }
        }
        Action::Create { name, partitions, replication_factor, configs } => {
            let mut settings = BTreeMap::new();
            for config in configs {
                let pair = config.split_once('=');
                let (key, value) = pair.ok_or_else(|| format!("{config} is not NAME=VALUE"))?;
                settings.insert(key.to_owned(), value.to_owned());
            }
            let topic = NewTopic { name, partitions, replication_factor, configs: settings };
            cluster.create_topic(&topic).await?;
        }
        Action::Delete { name } => cluster.delete_topic(&name).await?,
    }
    Ok(())
}
