//! `ottla groups`: who reads, how far, and how long ago what comes next was written.

use std::error::Error;
use std::io::Write;

use clap::{Args, Subcommand};
use ottla_client::{Cluster, Consumer, ConsumerOptions, Isolation, Start, TopicPartition};
use ottla_clock::Clock;

use crate::Target;

/// Behind the last record.
const LATEST: i64 = -1;

/// List consumer groups and their lag; without a command, list.
#[derive(Args, Debug)]
pub struct Groups {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the groups, their state, and by how many records each is behind.
    List,
    /// Print how far a group is behind in each partition: in records, and since when.
    Lag {
        /// The group.
        group: String,
    },
}

/// How far a group is behind in a partition.
struct Lag {
    place: TopicPartition,
    offset: i64,
    records: i64,
}

pub(crate) async fn run(args: Groups) -> Result<(), Box<dyn Error>> {
    let mut cluster = args.target.connect().await?;
    let mut rows = Vec::new();
    match args.action.unwrap_or(Action::List) {
        Action::List => {
            rows.push(["group", "kind", "state", "behind by"].map(str::to_owned).to_vec());
            for group in cluster.groups().await? {
                let lags = lags(&mut cluster, &group.id).await?;
                let behind: i64 = lags.iter().map(|it| it.records).sum();
                rows.push(vec![group.id, group.kind, group.state, behind.to_string()]);
            }
        }
        Action::Lag { group } => {
            let lags = lags(&mut cluster, &group).await?;
            if lags.is_empty() {
                return Err(format!(
                    "group {group} has committed nothing; `ottla groups` lists those that have"
                )
                .into());
            }
            rows.push(["partition", "offset", "behind by", "since"].map(str::to_owned).to_vec());
            let cluster = args.target.connect().await?;
            let mut reader = Reader::new(cluster);
            for lag in lags {
                let since = reader.age(&lag).await?.map_or_else(|| "-".to_owned(), ago);
                let (place, offset) = (lag.place.to_string(), lag.offset.to_string());
                rows.push(vec![place, offset, lag.records.to_string(), since]);
            }
        }
    }
    write!(std::io::stdout().lock(), "{}", table(&rows))?;
    Ok(())
}

async fn lags(cluster: &mut Cluster, group: &str) -> Result<Vec<Lag>, Box<dyn Error>> {
    let mut all = Vec::new();
    for (place, (offset, _)) in cluster.group_offsets(group).await? {
        // A topic that is gone is not behind.
        let Ok(end) = cluster.offset_at(&place, LATEST, Isolation::Uncommitted).await else {
            continue;
        };
        all.push(Lag { place, offset, records: (end - offset).max(0) });
    }
    Ok(all)
}

/// Looks at single records.
struct Reader {
    consumer: Consumer,
    clock: Clock,
}

impl Reader {
    fn new(cluster: Cluster) -> Self {
        let options = ConsumerOptions { start: Start::Beginning, ..Default::default() };
        Self { consumer: Consumer::new(cluster, options), clock: Clock::real() }
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

/// A time that has passed, in the unit that suits it.
fn ago(ms: i64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds / 60),
        seconds if seconds < 172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(at, it)| format!("{it:0$}", width(at))).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let shown = [5, 1500, 119_000, 3_600_000, 7_300_000, 9 * 86_400_000].map(ago);
        assert_eq!(shown, ["5 ms", "1 s", "119 s", "60 min", "2 h", "9 days"]);
    }
}
