//! Moves of partitions between directories, one after the other, on a lane of their own.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ottla_clock::{Clock, Lane, Next, Pause, Ring, Share, Stopped, Task};
use ottla_locks::Mutex;
use ottla_metadata::{AssignedDirectory, ControllerCommand};
use ottla_partitions::{Partition, Partitions, StorageError};
use ottla_types::{ErrorCode, NodeId, TopicPartition, Uuid};

use super::controller::ControllerHandle;
use super::directory_reports::DirectoryReports;

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
    /// Learns in which directory a partition is, if it is the active one.
    pub controller: ControllerHandle,
    /// The way to the active one elsewhere.
    pub reports: Arc<DirectoryReports>,
    /// How many bytes a second may be copied, if not any number.
    pub bytes_per_second: Option<f64>,
    /// Where the copying is done.
    pub lane: Lane,
}

/// Carries planned moves out, beside everything else.
#[derive(Debug, Default)]
pub struct Moves {
    /// The task, from the first move on; set once.
    ring: OnceLock<Ring>,
    /// Guards how many bytes a second may be copied, as the settings were at the last call; held
    /// for a copy.
    rate: Arc<Mutex<Option<f64>>>,
    /// Ends the move that is under way when the node stops.
    pause: Arc<Pause>,
}

impl Moves {
    /// Carries out the moves that are planned.
    pub fn start(&self, mover: Mover) {
        if mover.partitions.moves().is_empty() {
            return;
        }
        *self.rate.lock() = mover.bytes_per_second;
        self.ring
            .get_or_init(|| start_task(mover, Arc::clone(&self.rate), Arc::clone(&self.pause)))
            .ring();
    }

    /// Ends the move that is under way on `lane`, and returns when it has ended: nothing is written
    /// any more then. The next start goes on with it.
    pub fn stop(&self, lane: &Lane) {
        self.pause.stop();
        lane.stop();
    }
}

fn start_task(mover: Mover, rate: Arc<Mutex<Option<f64>>>, pause: Arc<Pause>) -> Ring {
    let lane = mover.lane.clone();
    if let Err(error) = lane.keep_thread() {
        tracing::error!(%error, "no thread to move partitions between data directories; retrying");
    }
    lane.start_task(Share::default(), mover_task(mover, rate, pause))
}

/// Each round carries one move out. Planned moves are kept in [`Partitions`], once for a partition
/// however often it is asked for; a move that ends leaves it, well or not.
fn mover_task(mover: Mover, rate: Arc<Mutex<Option<f64>>>, pause: Arc<Pause>) -> Task {
    let Mover { clock, id, partitions, controller, reports, .. } = mover;
    let mut tell = move |partition: &Partition, directory: Uuid| {
        let (topic_id, index) = (partition.topic_id(), partition.index());
        let assigned = vec![AssignedDirectory { topic_id, index, directory }];
        if !controller.is_active() {
            let is_taken = reports.report_blocking(assigned);
            return if is_taken { Ok(()) } else { Err(StorageError::Failed) };
        }
        let command =
            ControllerCommand::AssignDirectories { broker: id, broker_epoch: None, assigned };
        match controller.ask_blocking(command) {
            Ok(Ok::<Vec<ErrorCode>, ErrorCode>(codes)) if codes == [ErrorCode::NONE] => Ok(()),
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
            let rest = if early > MOMENT { early } else { Duration::ZERO };
            pause.rest(rest).map_err(|Stopped| StorageError::Stopped)
        };
        match partitions.carry_out(&place, &mut tell, &mut pace) {
            Ok(()) => {}
            Err(StorageError::Stopped) => return Next::End,
            Err(error) => tracing::warn!(
                partition = %place,
                %error,
                "move to another data directory failed; the partition stays, request the move again"
            ),
        }
        Next::After(Duration::ZERO)
    })
}
