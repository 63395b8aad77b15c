//! Where the partitions' leaders and in-sync replicas are, and a line when they have changed.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_client::{Client, PartitionDescription};
use ottla_types::NodeId;
use tokio::sync::{mpsc, watch};

use super::tally::DemoEvent;

/// How often a broker is asked.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// A change of leader or of in-sync replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LeaderChange {
    Leader { before: NodeId, after: NodeId },
    InSync { count: usize, of: usize, brokers: Vec<NodeId> },
}

/// What was known of the partitions.
#[derive(Debug, Default)]
struct KnownPartitions(BTreeMap<i32, PartitionDescription>);

impl KnownPartitions {
    /// Takes in what they are now; a line for each kind of change.
    fn changes(&mut self, now: Vec<PartitionDescription>) -> Vec<String> {
        let mut changes: BTreeMap<LeaderChange, Vec<i32>> = BTreeMap::new();
        for it in now {
            let number = it.partition;
            let mut after = it;
            after.in_sync.sort_unstable();
            let Some(before) = self.0.insert(number, after.clone()) else { continue };
            if before.leader != after.leader {
                let change = LeaderChange::Leader { before: before.leader, after: after.leader };
                changes.entry(change).or_default().push(number);
            }
            if before.in_sync != after.in_sync {
                let (count, of) = (after.in_sync.len(), after.replicas.len());
                let change = LeaderChange::InSync { count, of, brokers: after.in_sync };
                changes.entry(change).or_default().push(number);
            }
        }
        changes.iter().map(|(change, numbers)| change.line(numbers)).collect()
    }
}

impl LeaderChange {
    fn line(&self, numbers: &[i32]) -> String {
        let many = if numbers.len() == 1 { "" } else { "s" };
        let numbers = join_numbers(numbers);
        match self {
            Self::Leader { before, after: ..0 } => {
                format!("partition{many} {numbers}: no leader, it was broker {before}")
            }
            Self::Leader { before: ..0, after } => {
                format!("partition{many} {numbers}: broker {after} is leader")
            }
            Self::Leader { before, after } => {
                format!("partition{many} {numbers}: leader moved from broker {before} to {after}")
            }
            Self::InSync { count, of, brokers } => {
                let brokers = join_numbers(brokers);
                format!("partition{many} {numbers}: {count} of {of} replicas in sync ({brokers})")
            }
        }
    }
}

fn join_numbers(numbers: &[i32]) -> String {
    numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// Says when leaders and in-sync replicas of a topic change, until it is to stop.
pub(super) async fn watch_leaders(
    client: Client,
    topic: String,
    events: mpsc::Sender<DemoEvent>,
    stop: watch::Receiver<bool>,
) {
    let client = client.with_own_connections();
    let mut known = KnownPartitions::default();
    while !*stop.borrow() {
        // While no broker answers there is nothing to compare.
        if let Ok(now) = client.describe_topic(&topic).await {
            for line in known.changes(now.partitions) {
                if events.send(DemoEvent::Note(line)).await.is_err() {
                    return;
                }
            }
        }
        client.clock().sleep(ASKED_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32, leader: NodeId, in_sync: &[NodeId]) -> PartitionDescription {
        PartitionDescription {
            partition: number,
            leader,
            replicas: vec![1, 2, 3],
            in_sync: in_sync.to_vec(),
            ..PartitionDescription::default()
        }
    }

    #[test]
    fn partitions_that_change_alike_share_a_line() {
        let mut known = KnownPartitions::default();
        let all = |leader, in_sync: &[NodeId]| {
            vec![partition(0, leader, in_sync), partition(1, leader, in_sync)]
        };
        assert_eq!(known.changes(all(1, &[1, 2, 3])), Vec::<String>::new());
        assert_eq!(known.changes(all(1, &[3, 2, 1])), Vec::<String>::new());
        assert_eq!(
            known.changes(all(2, &[2, 3])),
            [
                "partitions 0,1: leader moved from broker 1 to 2",
                "partitions 0,1: 2 of 3 replicas in sync (2,3)"
            ]
        );
        let one = known.changes(vec![partition(1, -1, &[2, 3])]);
        assert_eq!(one, ["partition 1: no leader, it was broker 2"]);
        let one = known.changes(vec![partition(1, 3, &[2, 3])]);
        assert_eq!(one, ["partition 1: broker 3 is leader"]);
    }
}
