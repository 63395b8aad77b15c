//! `ottla demo trucks`: positions of trucks are written and read, while brokers come and go.

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use ottla_client::{Brokers, ChangeMode, Client, NewTopic, Stop};
use ottla_clock::Clock;
use ottla_types::ErrorCode;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::moves::watch_leaders;
use super::reading::{TruckGroup, follow_trucks};
use super::tally::{DemoEvent, DemoTally, TruckId};
use super::writing::{TruckFleet, drive_trucks, partition_of, truck_key};
use crate::front::{Environment, Front, SharedOptions};
use crate::output::{Cell, OutputFormat, OutputTable, column, titled};

/// The topic of the example.
const TOPIC: &str = "trucks_gps";
/// Of how many trucks the positions are printed, and every how many seconds.
const SHOWN_TRUCKS: usize = 3;
const SHOWN_EVERY: u64 = 5;
/// How many events may wait to be counted.
const EVENTS_AHEAD: usize = 1024;
/// How long the end waits for acknowledgements and for records to be read, each.
const ENDING: Duration = Duration::from_secs(30);
/// How long the consumer may take to leave its group at the end.
const LEAVING: Duration = Duration::from_secs(5);

/// Trucks send their positions to the topic trucks_gps, and a consumer group follows them.
///
/// The key of a record is the truck's id, the value its position in JSON. The topic is created with
/// as many replicas as there are brokers, at most three; with three a record is acknowledged when
/// two of them have it. Each second a line counts what was sent, acknowledged and read, what was
/// lost or written twice, and the longest time a partition waited for an acknowledgement. Start
/// `ottla up 3` in one terminal and this in another, kill a broker there, and watch.
#[derive(Args, Debug)]
pub struct TrucksArgs {
    /// End after so many seconds (default: at Ctrl-C).
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// How many positions are sent each second, by all trucks together.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rate: u32,
    /// How many trucks there are.
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=999))]
    trucks: u32,
    /// With how many partitions the topic is created, if it does not exist.
    #[arg(long, short, value_name = "COUNT", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=100))]
    partitions: i32,
    #[command(flatten)]
    shared: SharedOptions,
}

pub(crate) async fn run_trucks(
    args: TrucksArgs,
    environment: &Environment,
) -> Result<(), Box<dyn Error>> {
    args.shared.refuse_watch("demo trucks")?;
    let front = Front::new(&args.shared, environment)?;
    let client = front.connect().await?;
    let clock = Clock::real();
    let partitions = find_or_create_topic(&client, &args).await?;
    let run = clock.random_uuid().to_string();
    let group = TruckGroup {
        group: format!("trucks-{run}"),
        topic: TOPIC.to_owned(),
        partitions,
        run: run.clone(),
    };
    group.begin_at_end(&client).await?;
    let (events, received) = mpsc::channel(EVENTS_AHEAD);
    let (stop_writing, writing) = watch::channel(false);
    let (stop_reading, reading) = watch::channel(false);
    let mut writers = JoinSet::new();
    for fleet in truck_fleets(&args, partitions, &run) {
        writers.spawn_local(drive_trucks(client.clone(), fleet, events.clone(), writing.clone()));
    }
    let mut readers = JoinSet::new();
    readers.spawn_local(follow_trucks(
        client.clone(),
        group.clone(),
        events.clone(),
        reading.clone(),
    ));
    readers.spawn_local(watch_leaders(client.clone(), TOPIC.to_owned(), events, reading));
    let is_seen = args.shared.output == OutputFormat::Table;
    let mut demo = TruckDemo {
        tally: DemoTally::default(),
        events: received,
        stop: Stop::listen()?,
        began: clock.monotonic(),
        clock,
        is_seen,
    };
    demo.print(|_| format!("group {} reads {TOPIC}; end with Ctrl-C", group.group))?;
    demo.play(args.seconds).await?;
    stop_writing.send_replace(true);
    demo.finish_writing(&mut writers).await?;
    demo.finish_reading().await?;
    stop_reading.send_replace(true);
    demo.await_readers(&mut readers).await;
    // It has served; one that stays is removed by the cluster when its offsets expire.
    let _ = client.delete_group(&group.group).await;
    front.print(&demo.table())?;
    demo.verdict()
}

/// The topic, created if it does not exist; how many partitions it has.
async fn find_or_create_topic(client: &Client, args: &TrucksArgs) -> Result<i32, Box<dyn Error>> {
    let found = client.describe_topic(TOPIC).await?;
    let topic = match found.error {
        ErrorCode::NONE => found,
        _ => {
            let brokers = client.describe_cluster(Brokers::Unfenced).await?.brokers.len();
            let factor = brokers.clamp(1, 3);
            // A record that one broker has would be lost with it.
            let min_in_sync = if factor == 3 { "2" } else { "1" };
            let configs = [("min.insync.replicas".to_owned(), min_in_sync.to_owned())];
            let new = NewTopic {
                partitions: args.partitions,
                replication_factor: i16::try_from(factor)?,
                configs: configs.into(),
                ..NewTopic::named(TOPIC)
            };
            let created = client.create_topic(&new, ChangeMode::Change).await;
            created.map_err(crate::topics::in_its_words)?;
            client.await_topic(TOPIC).await?
        }
    };
    let replicas = topic.partitions.first().map_or(0, |it| it.replicas.len());
    let count = topic.partitions.len();
    if args.shared.output == OutputFormat::Table {
        let many = if replicas == 1 { "" } else { "s" };
        writeln!(io::stdout(), "topic {TOPIC}: {count} partitions, {replicas} replica{many} each")?;
    }
    Ok(i32::try_from(count)?)
}

/// The trucks by the partitions of their keys.
fn truck_fleets(args: &TrucksArgs, partitions: i32, run: &str) -> Vec<TruckFleet> {
    let of = |partition: i32| -> Vec<TruckId> {
        let is_here = |truck: &TruckId| partition_of(&truck_key(*truck), partitions) == partition;
        (1..=args.trucks).filter(is_here).collect()
    };
    let fleets: Vec<(i32, Vec<TruckId>)> =
        (0..partitions).map(|it| (it, of(it))).filter(|(_, trucks)| !trucks.is_empty()).collect();
    let count = u32::try_from(fleets.len()).unwrap_or(1).max(1);
    let every = Duration::from_secs(1) * count / args.rate;
    let fleet = |(partition, trucks)| TruckFleet {
        topic: TOPIC.to_owned(),
        partition,
        trucks,
        run: run.to_owned(),
        every,
    };
    fleets.into_iter().map(fleet).collect()
}

/// The example while it plays.
struct TruckDemo {
    tally: DemoTally,
    events: mpsc::Receiver<DemoEvent>,
    stop: Stop,
    clock: Clock,
    began: Duration,
    /// Are lines printed for people?
    is_seen: bool,
}

impl TruckDemo {
    /// Counts until the time is over or a signal comes.
    async fn play(&mut self, seconds: Option<u64>) -> io::Result<()> {
        let mut printed = 0;
        loop {
            let next = self.began + Duration::from_secs(printed + 1);
            tokio::select! {
                biased;
                _ = self.stop.asked() => return Ok(()),
                () = self.clock.sleep_until(next) => {
                    printed += 1;
                    self.tally.note_waiting(self.clock.monotonic());
                    self.print(|tally| counter_line(tally, printed))?;
                    if printed.is_multiple_of(SHOWN_EVERY) {
                        self.print(|tally| format!("      {}", tally.seen(SHOWN_TRUCKS).join("   ")))?;
                    }
                    if seconds.is_some_and(|limit| printed >= limit) {
                        return Ok(());
                    }
                }
                Some(event) = self.events.recv() => self.take_in(event)?,
            }
        }
    }

    /// Waits until all that was sent is acknowledged or given up.
    async fn finish_writing(&mut self, writers: &mut JoinSet<()>) -> io::Result<()> {
        let deadline = self.clock.monotonic() + ENDING;
        while !writers.is_empty() {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.take_in(event)?,
                _ = writers.join_next() => {}
                _ = self.stop.asked() => return Ok(()),
                () = self.clock.sleep_until(deadline) => {
                    return self.print(|tally| {
                        let waits = tally.sent - tally.acknowledged - tally.given_up;
                        format!("{waits} positions were not acknowledged in time")
                    });
                }
            }
        }
        Ok(())
    }

    /// Waits until all that was acknowledged is read.
    async fn finish_reading(&mut self) -> io::Result<()> {
        let deadline = self.clock.monotonic() + ENDING;
        // What the writers said last comes before what is read later.
        while let Ok(event) = self.events.try_recv() {
            self.take_in(event)?;
        }
        while self.tally.unread() > 0 {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.take_in(event)?,
                _ = self.stop.asked() => return Ok(()),
                () = self.clock.sleep_until(deadline) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits until the consumer has left its group; what it still says is dropped.
    async fn await_readers(&mut self, readers: &mut JoinSet<()>) {
        let deadline = self.clock.monotonic() + LEAVING;
        self.events.close();
        tokio::select! {
            biased;
            () = async { while readers.join_next().await.is_some() {} } => {}
            () = self.clock.sleep_until(deadline) => {}
        }
    }

    fn take_in(&mut self, event: DemoEvent) -> io::Result<()> {
        match self.tally.note(event) {
            Some(line) => self.print(|_| format!("  ->  {line}")),
            None => Ok(()),
        }
    }

    fn print(&self, line: impl FnOnce(&DemoTally) -> String) -> io::Result<()> {
        match self.is_seen {
            true => writeln!(io::stdout(), "{}", line(&self.tally)),
            false => Ok(()),
        }
    }

    /// What it came to.
    fn table(&self) -> OutputTable {
        let mut table = OutputTable::new(&[
            titled("sent", "sent_records"),
            titled("acknowledged", "acknowledged_records"),
            titled("read", "read_records"),
            titled("lost", "lost_records"),
            titled("duplicated", "duplicated_records"),
            titled("unread", "unread_records"),
            titled("longest gap", "longest_gap_ms"),
            column("topic"),
        ]);
        let tally = &self.tally;
        let counts = [tally.sent, tally.acknowledged, tally.read, tally.lost(), tally.duplicates];
        let mut row: Vec<_> = counts.map(Cell::count).into();
        row.push(Cell::count(tally.unread()));
        let gap = gap_ms(tally);
        row.push(Cell::count(gap).shown(format!("{gap} ms")));
        row.push(TOPIC.into());
        table.row(row);
        table
    }

    /// # Errors
    /// A record was lost, written twice, or not read in time.
    fn verdict(&self) -> Result<(), Box<dyn Error>> {
        let tally = &self.tally;
        match (tally.lost(), tally.duplicates, tally.unread()) {
            (0, 0, 0) => Ok(()),
            (lost, duplicates, unread) => Err(format!(
                "topic {TOPIC}: {lost} acknowledged records lost, {duplicates} written twice, {unread} not read by the end"
            )
            .into()),
        }
    }
}

fn gap_ms(tally: &DemoTally) -> u64 {
    u64::try_from(tally.longest_gap.as_millis()).unwrap_or(u64::MAX)
}

fn counter_line(tally: &DemoTally, second: u64) -> String {
    let DemoTally { sent, acknowledged, read, duplicates, .. } = tally;
    let (lost, gap) = (tally.lost(), gap_ms(tally));
    format!(
        "{second:4} s  sent {sent}  acknowledged {acknowledged}  read {read}  lost {lost}  duplicates {duplicates}  longest gap {gap} ms"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_truck_has_a_fleet_and_all_fleets_make_the_rate() {
        let args = TrucksArgs {
            seconds: None,
            rate: 200,
            trucks: 30,
            partitions: 6,
            shared: SharedOptions::default(),
        };
        let fleets = truck_fleets(&args, 6, "r");
        assert_eq!(fleets.iter().map(|it| it.trucks.len()).sum::<usize>(), 30);
        let a_second: u128 = fleets.iter().map(|it| 1_000_000 / it.every.as_micros()).sum();
        assert_eq!(a_second, 200 / fleets.len() as u128 * fleets.len() as u128);
        let one = truck_fleets(&TrucksArgs { trucks: 1, ..args }, 6, "r");
        assert_eq!((one.len(), one[0].every), (1, Duration::from_millis(5)));
    }
}
