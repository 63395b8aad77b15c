//! Moves of partitions between directories, one after the other, on a lane of their own.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_clock::{Lane, LaneRules, Next, Pause, Priority, Ring, Share, Task};
use ottla_locks::Mutex;
use ottla_metadata::{AssignedDirectory, Command, Reply};
use ottla_partitions::{Partition, StorageError};
use ottla_types::{TopicPartition, Uuid};

use crate::node::Node;

/// What it is not worth to wait for.
const MOMENT: Duration = Duration::from_millis(10);

/// Carries planned moves out, beside everything else.
#[derive(Debug, Default)]
pub struct Mover {
    /// The task, from the first move on.
    ring: OnceLock<Ring>,
    /// How many bytes a second may be moved, as the settings were at the last call.
    rate: Arc<Mutex<Option<f64>>>,
}

impl Mover {
    /// Carries out the moves that are planned.
    pub fn start(&self, node: &Node) {
        if node.partitions.moves().is_empty() {
            return;
        }
        *self.rate.lock() = node.settings().move_bytes_per_second;
        self.ring.get_or_init(|| self.start_task(node)).ring();
    }

    fn start_task(&self, node: &Node) -> Ring {
        let (name, priority) = ("ottla-mover", Priority::Normal);
        let lane = Lane::threads(LaneRules { name, threads_max: 1, share_max: 1, priority });
        if let Err(error) = lane.keep_thread() {
            tracing::error!(%error, "partition moves cannot start: no thread");
        }
        lane.start_task(Share::default(), task(node, Arc::clone(&self.rate)))
    }
}

/// Each round carries one move out. What is planned stands in [`ottla_partitions::Partitions`],
/// once for a partition however often it is asked for; a move that ends leaves it, well or not.
fn task(node: &Node, rate: Arc<Mutex<Option<f64>>>) -> Task {
    let (partitions, controller) = (node.partitions.clone(), node.controller.clone());
    let (id, clock, pause) = (node.id, node.clock.clone(), Pause::default());
    let mut tell = move |partition: &Partition, directory: Uuid| {
        let (topic_id, index) = (partition.topic_id(), partition.index());
        let assigned = vec![AssignedDirectory { topic_id, index, directory }];
        let command = Command::AssignDirectories { broker: id, assigned };
        match controller.ask_blocking(command) {
            Ok(Reply::Assigned(Ok(()))) => Ok(()),
            // It is gone, or the controller is.
            _ => Err(StorageError::Failed),
        }
    };
    Task::new("mover", move || {
        let planned: Option<TopicPartition> = partitions.moves().into_iter().next().map(|it| it.0);
        let Some(place) = planned else { return Next::WhenRung { at_most: Duration::MAX } };
        let (begun, mut copied) = (clock.monotonic(), 0.0);
        let rate = *rate.lock();
        let mut pace = |bytes: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let more = bytes as f64;
            copied += more;
            let due = rate.map_or(0.0, |rate| copied / rate);
            let due = begun + Duration::try_from_secs_f64(due).unwrap_or_default();
            let early = due.saturating_sub(clock.monotonic());
            if early > MOMENT {
                // It is never stopped: a move that is cut off by the process goes on at the next
                // start, and one that is given up would not.
                let _ = pause.rest(early);
            }
            Ok(())
        };
        if let Err(error) = partitions.carry_out(&place, &mut tell, &mut pace) {
            tracing::warn!(
                partition = %place,
                %error,
                "move between data directories failed; the partition stays in the old one"
            );
        }
        Next::After(Duration::ZERO)
    })
}
