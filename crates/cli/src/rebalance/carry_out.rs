//! Carrying a plan out: a bounded number of partitions moves at a time, until all have moved; then
//! the preferred leaders are elected.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::time::Duration;

use ottla_client::{
    Client, ClientError, LeaderElection, Reassignment, ReplicationFactor, Stop, StopSignal,
    TopicPartition,
};
use ottla_types::{ErrorCode, NodeId};

use super::survey::{ClusterSurvey, all_partitions};
use super::throttles::{RemovedThrottles, remove_throttles, set_throttles};
use crate::balance::PartitionShift;
use crate::front::print_to_stderr;
use crate::output::format_bytes;
use crate::progress::ProgressLine;

/// How often is asked which moves have ended.
const ASKED_EVERY: Duration = Duration::from_millis(200);
/// For how long the cluster may fail to answer while another controller is elected.
const PATIENCE: Duration = Duration::from_secs(60);
/// After how long without an end of a move those under way are named.
const STALLED: Duration = Duration::from_secs(60);
/// How long brokers may take to learn of the last changes.
const LEARNING: Duration = Duration::from_secs(10);
/// So many changes that copy nothing are asked for at a time.
const REORDERED_AT_ONCE: usize = 500;
/// How many partitions a message names.
const NAMED: usize = 5;

/// Bounds of a plan that is carried out.
#[derive(Clone, Copy, Debug)]
pub struct MoveLimits {
    /// How many partitions move at a time.
    pub at_once: usize,
    /// How many bytes per second each broker may copy for moves, if that is limited.
    pub throttle: Option<u64>,
}

/// A partition that the cluster did not move as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedMove {
    /// The partition.
    pub place: TopicPartition,
    /// Why.
    pub reason: String,
}

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveOutcome {
    /// How many partitions were changed.
    pub changed: usize,
    /// How many bytes were copied for them.
    pub bytes_moved: u64,
    /// For how many partitions the preferred leader was elected.
    pub elected: usize,
    /// The partitions that were not changed.
    pub failed: Vec<FailedMove>,
    /// Partitions that are not led by their preferred leader in the end, and why.
    pub not_elected: Vec<FailedMove>,
    /// The throttles that were removed.
    pub unthrottled: RemovedThrottles,
    /// How long it took.
    pub took: Duration,
}

/// Moves partitions as planned, and waits for moves that were under way before; then elects the
/// preferred leaders of all these partitions, and of `also_elected`.
///
/// # Errors
/// The cluster does not answer, or a signal stopped the command: what moves then goes on, and its
/// text says so.
pub async fn carry_out(
    client: &Client,
    survey: &ClusterSurvey,
    shifts: &[PartitionShift],
    also_elected: &[TopicPartition],
    limits: MoveLimits,
) -> Result<MoveOutcome, Box<dyn Error>> {
    let mut stop = Stop::listen()?;
    let mut run = MovesRun::new(client, survey, shifts, limits);
    run.also_elected = also_elected;
    let ended = tokio::select! {
        biased;
        signal = stop.asked() => Err(signal),
        done = run.run_all() => Ok(done),
    };
    match ended {
        Ok(done) => {
            let why = |error| format!("{error}; moves that were begun go on: {GO_ON}");
            done.map_err(why)?;
            Ok(run.outcome)
        }
        Err(signal) => Err(run.stopped(signal).await.into()),
    }
}

/// How to continue.
const GO_ON: &str = "the same command waits for them and goes on with the rest";

struct MovesRun<'a> {
    client: &'a Client,
    survey: &'a ClusterSurvey,
    shifts: &'a [PartitionShift],
    /// Partitions that do not change, and get their preferred leader, too.
    also_elected: &'a [TopicPartition],
    limits: MoveLimits,
    began: Duration,
    /// What has not begun, the largest first.
    queue: VecDeque<&'a PartitionShift>,
    /// What moves, with the bytes that are copied for it.
    moving: BTreeMap<TopicPartition, u64>,
    outcome: MoveOutcome,
}

impl<'a> MovesRun<'a> {
    fn new(
        client: &'a Client,
        survey: &'a ClusterSurvey,
        shifts: &'a [PartitionShift],
        limits: MoveLimits,
    ) -> Self {
        let mut copying: Vec<&PartitionShift> =
            shifts.iter().filter(|it| !is_reordered(it)).collect();
        copying.sort_by_key(|it| Reverse(it.bytes_moved));
        let under_way = survey.moves_under_way().map(|it| (it.place, it.bytes_moved));
        Self {
            client,
            survey,
            shifts,
            also_elected: &[],
            limits,
            began: client.clock().monotonic(),
            queue: copying.into(),
            moving: under_way.collect(),
            outcome: MoveOutcome::default(),
        }
    }

    async fn run_all(&mut self) -> Result<(), ClientError> {
        if let Some(rate) = self.limits.throttle {
            set_throttles(self.client, self.survey, self.shifts, rate).await?;
        }
        let reordered: Vec<&PartitionShift> =
            self.shifts.iter().filter(|it| is_reordered(it)).collect();
        for shifts in reordered.chunks(REORDERED_AT_ONCE) {
            let begun = self.begin_moves(shifts).await?;
            self.outcome.changed += begun.len();
        }
        self.move_queue().await?;
        self.check_replicas().await?;
        self.elect_preferred().await?;
        if self.under_way().await?.is_empty() {
            self.outcome.unthrottled = remove_throttles(self.client, self.survey).await?;
        }
        self.outcome.took = self.client.clock().monotonic() - self.began;
        Ok(())
    }

    /// Keeps as many partitions moving as are allowed, until the last has moved.
    async fn move_queue(&mut self) -> Result<(), ClientError> {
        let clock = self.client.clock();
        let mut line = ProgressLine::new(clock);
        let all = (self.queue.len() + self.moving.len()) as u64;
        let mut ended = 0;
        let mut ended_at = clock.monotonic();
        loop {
            let room = self.limits.at_once.saturating_sub(self.moving.len());
            let next: Vec<&PartitionShift> =
                self.queue.drain(..room.min(self.queue.len())).collect();
            let begun = self.begin_moves(&next).await?;
            self.moving.extend(begun.into_iter().map(|it| (it.place.clone(), it.bytes_moved)));
            if self.moving.is_empty() && self.queue.is_empty() {
                return Ok(());
            }
            let under_way = self.under_way().await?;
            let before = self.moving.len();
            let mut copied = 0;
            self.moving.retain(|place, bytes| {
                let goes_on = under_way.contains_key(place);
                copied += if goes_on { 0 } else { *bytes };
                goes_on
            });
            ended += (before - self.moving.len()) as u64;
            self.outcome.bytes_moved += copied;
            if before != self.moving.len() {
                ended_at = clock.monotonic();
                line.show_part("moved partitions:", ended, all);
                continue;
            }
            if clock.monotonic() - ended_at >= STALLED {
                ended_at = clock.monotonic();
                print_to_stderr(format!(
                    "no move has ended for {} s; still moving: {}",
                    STALLED.as_secs(),
                    name_moves(&under_way)
                ));
            }
            clock.sleep(ASKED_EVERY).await;
        }
    }

    /// Asks for these changes; those that were accepted.
    async fn begin_moves(
        &mut self,
        shifts: &[&'a PartitionShift],
    ) -> Result<Vec<&'a PartitionShift>, ClientError> {
        if shifts.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = shifts.iter().map(|it| (it.place.clone(), Some(it.to.clone()))).collect();
        let refused = self
            .patiently(async |client| {
                client.alter_reassignments(&wanted, ReplicationFactor::MayChange).await
            })
            .await?;
        for (place, why) in &refused {
            let reason = why.clone().about(&format!("partition {place}")).to_string();
            self.outcome.failed.push(FailedMove { place: place.clone(), reason });
        }
        let begun = shifts.iter().copied().filter(|it| !refused.contains_key(&it.place));
        Ok(begun.collect())
    }

    async fn under_way(&self) -> Result<BTreeMap<TopicPartition, Reassignment>, ClientError> {
        self.patiently(async |client| client.list_reassignments().await).await
    }

    /// Asks again while the cluster does not answer, as when its controller fails over.
    async fn patiently<T>(
        &self,
        ask: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let clock = self.client.clock();
        let deadline = clock.monotonic() + PATIENCE;
        loop {
            match ask(self.client).await {
                Err(why) if is_transient(&why) && clock.monotonic() < deadline => {
                    clock.sleep(ASKED_EVERY).await;
                }
                answer => return answer,
            }
        }
    }

    /// Which partitions have the replicas that they were to have, once brokers have learnt of it.
    async fn check_replicas(&mut self) -> Result<(), ClientError> {
        let failed: BTreeSet<&TopicPartition> =
            self.outcome.failed.iter().map(|it| &it.place).collect();
        let expected: Vec<&PartitionShift> =
            self.shifts.iter().filter(|it| !failed.contains(&it.place)).collect();
        let names: BTreeSet<String> =
            expected.iter().map(|it| it.place.topic.to_string()).collect();
        let names: Vec<String> = names.into_iter().collect();
        if names.is_empty() {
            return Ok(());
        }
        let clock = self.client.clock();
        let deadline = clock.monotonic() + LEARNING;
        loop {
            let topics =
                self.patiently(async |client| client.describe_topics(Some(&names)).await).await?;
            let found: BTreeMap<TopicPartition, &Vec<NodeId>> =
                all_partitions(&topics).map(|(place, it)| (place, &it.replicas)).collect();
            let other = expected.iter().filter(|it| found.get(&it.place) != Some(&&it.to));
            let reason = |place| match found.get(place) {
                Some(replicas) => format!("its replicas are {replicas:?}"),
                None => "it was deleted".to_owned(),
            };
            let other: Vec<FailedMove> = other
                .map(|it| FailedMove { place: it.place.clone(), reason: reason(&it.place) })
                .collect();
            if other.is_empty() || clock.monotonic() >= deadline {
                self.outcome.changed = expected.len() - other.len();
                self.outcome.failed.extend(other);
                return Ok(());
            }
            clock.sleep(ASKED_EVERY).await;
        }
    }

    async fn elect_preferred(&mut self) -> Result<(), ClientError> {
        let failed: BTreeSet<&TopicPartition> =
            self.outcome.failed.iter().map(|it| &it.place).collect();
        let changed = self.shifts.iter().map(|it| &it.place);
        let all = changed.chain(self.survey.under_way.keys()).chain(self.also_elected);
        let places: BTreeSet<TopicPartition> =
            all.filter(|place| !failed.contains(place)).cloned().collect();
        if places.is_empty() {
            return Ok(());
        }
        let outcomes = self
            .patiently(async |client| {
                client.elect_leaders(LeaderElection::Preferred, Some(&places)).await
            })
            .await?;
        for (place, elected) in outcomes {
            match elected {
                Ok(()) => self.outcome.elected += 1,
                Err(why) if why.code == ErrorCode::ELECTION_NOT_NEEDED => {}
                Err(why) => {
                    let reason = why.about(&format!("partition {place}")).to_string();
                    self.outcome.not_elected.push(FailedMove { place, reason });
                }
            }
        }
        Ok(())
    }

    /// Says what a signal leaves behind.
    async fn stopped(&self, signal: StopSignal) -> StopSignal {
        let under_way = match self.client.list_reassignments().await {
            Ok(under_way) => under_way,
            Err(error) => {
                print_to_stderr(format!(
                    "{signal}; which moves are under way is not known: {error}"
                ));
                return signal;
            }
        };
        let waiting = self.queue.iter().filter(|it| !under_way.contains_key(&it.place)).count();
        if under_way.is_empty() {
            print_to_stderr(format!(
                "{signal}: nothing moves, {waiting} partitions have not begun"
            ));
            if let Err(error) = remove_throttles(self.client, self.survey).await {
                print_to_stderr(format!("the throttles could not be removed: {error}"));
            }
            return signal;
        }
        print_to_stderr(format!(
            "{signal}: {} partitions are still moving, and go on: {}; {waiting} have not begun\n  {GO_ON}",
            under_way.len(),
            name_moves(&under_way),
        ));
        if let Some(rate) = self.limits.throttle {
            let rate = format_bytes(rate);
            print_to_stderr(format!(
                "  the throttle of {rate}/s stays until then; the same command removes it at its end"
            ));
        }
        signal
    }
}

/// May the same question be answered later?
fn is_transient(error: &ClientError) -> bool {
    let passes = |code| matches!(code, ErrorCode::NOT_CONTROLLER | ErrorCode::REQUEST_TIMED_OUT);
    error.code().is_none_or(passes)
}

/// Does a change copy nothing, and remove nothing?
fn is_reordered(shift: &PartitionShift) -> bool {
    shift.added().next().is_none() && shift.from.len() == shift.to.len()
}

/// The first of these moves, and where they go.
fn name_moves(all: &BTreeMap<TopicPartition, Reassignment>) -> String {
    let one = |(place, moving): (&TopicPartition, &Reassignment)| {
        let to: Vec<String> = moving.adding.iter().map(ToString::to_string).collect();
        format!("{place} (to broker {})", to.join(", "))
    };
    let shown: Vec<String> = all.iter().take(NAMED).map(one).collect();
    match all.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
