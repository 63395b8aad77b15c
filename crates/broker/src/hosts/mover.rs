//! Moves of partitions between directories, on a thread of their own.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use ottla_clock::Clock;
use ottla_metadata::{AssignedDirectory, Command};
use ottla_partitions::{Partition, Partitions, StorageError};
use ottla_types::{NodeId, TopicPartition, Uuid};

use super::controller::ControllerHandle;

/// What it is not worth to wait for.
const MOMENT: Duration = Duration::from_millis(10);

/// What carries moves out.
#[derive(Debug)]
pub struct Mover {
    /// The time.
    pub clock: Clock,
    /// This node.
    pub id: NodeId,
    /// The partitions that lie here.
    pub partitions: Arc<Partitions>,
    /// Learns in which directory a partition is.
    pub controller: ControllerHandle,
    /// How many bytes a second may be copied, if not any number.
    pub bytes_per_second: Option<f64>,
}

/// Carries planned moves out, one after the other, beside everything else.
pub fn start(mover: Mover, planned: Vec<TopicPartition>) {
    if planned.is_empty() {
        return;
    }
    let Mover { clock, id, partitions, controller, bytes_per_second: rate } = mover;
    let run = move || {
        // Nobody sends: it only lets this thread wait.
        let (_sender, pause) = mpsc::sync_channel::<()>(1);
        for place in planned {
            let mut tell = |partition: &Partition, directory: Uuid| {
                let (topic_id, index) = (partition.topic_id(), partition.index());
                let assigned = vec![AssignedDirectory { topic_id, index, directory }];
                let command = Command::AssignDirectories { broker: id, assigned };
                match controller.ask_blocking(command) {
                    Ok(Ok(())) => Ok(()),
                    // It is gone, or the controller is.
                    _ => Err(StorageError::Failed),
                }
            };
            let (begun, mut copied) = (clock.monotonic(), 0.0);
            let mut pace = |bytes: u64| {
                #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
                let more = bytes as f64;
                copied += more;
                let due = rate.map_or(0.0, |rate| copied / rate);
                let due = begun + Duration::try_from_secs_f64(due).unwrap_or_default();
                let early = due.saturating_sub(clock.monotonic());
                if early > MOMENT {
                    let _ = pause.recv_timeout(early);
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
        }
    };
    let started = std::thread::Builder::new().name("ottla-mover".to_owned()).spawn(run);
    if let Err(error) = started {
        tracing::error!(%error, "partition moves cannot start: no thread");
    }
}
