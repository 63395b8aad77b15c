//! Reading: what is there, or what comes.

use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use clap::Args;
use ottla_clock::Clock;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_records::{BadBatch, HEADER_BYTES, batches};

use crate::Target;
use crate::measure::{Done, Report};
use crate::produce::{Batches, acknowledged, wait_until};
use crate::wire::{Connection, LoadError, frame};

/// The version that is spoken: the newest with topic names and plain lengths.
const VERSION: i16 = 11;
/// How many requests of the tail may be under way, at most.
const UNDER_WAY_MAX: usize = 1 << 16;

/// One answer: the bytes of its records, and where to go on.
struct Read {
    bytes: u64,
    records: u64,
    next: i64,
    end: i64,
}

struct Reader<'a> {
    connection: Connection,
    topic: &'a str,
    partition: i32,
    bytes_max: i32,
}

impl<'a> Reader<'a> {
    fn open(target: &'a Target, partition: i32, bytes_max: i32) -> Result<Self, LoadError> {
        let connection = Connection::open(target.port)?;
        Ok(Self { connection, topic: &target.topic, partition, bytes_max })
    }

    fn read(&mut self, offset: i64) -> Result<Read, LoadError> {
        let partition = FetchPartition {
            partition: self.partition,
            fetch_offset: offset,
            partition_max_bytes: self.bytes_max,
            ..Default::default()
        };
        let topic = FetchTopic {
            topic: self.topic.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: self.bytes_max,
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        self.connection.send(&frame(&request, VERSION)?)?;
        let answer = self.connection.answer::<FetchRequest>(VERSION)?;
        let mut all = answer.responses.iter().flat_map(|it| &it.partitions);
        let Some(found) = all.next() else { return Err(LoadError::Refused(answer.error_code)) };
        if found.error_code != 0 {
            return Err(LoadError::Refused(found.error_code));
        }
        let records = found.records.clone().unwrap_or_default();
        let mut read = Read { bytes: 0, records: 0, next: offset, end: found.high_watermark };
        for batch in batches(&records) {
            let batch = match batch {
                Ok(batch) => batch,
                // Kafka may send the beginning of a batch at the end.
                Err(BadBatch::Truncated { .. }) if read.bytes > 0 => break,
                Err(error) => return Err(error.into()),
            };
            read.bytes += batch.size() as u64;
            read.records += u64::from(batch.record_count().unsigned_abs());
            read.next = batch.next_offset();
        }
        Ok(read)
    }
}

/// Reads from the start, or over and over.
#[derive(Args, Clone, Debug)]
pub struct Fetch {
    #[command(flatten)]
    target: Target,
    /// How many bytes one answer may have.
    #[arg(long, default_value_t = 1 << 20)]
    bytes_max: i32,
    /// For how many seconds to read, from the start again at the end; 0 is once to the end.
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Read along until so many records have come; 0 is to end at the end.
    #[arg(long, default_value_t = 0, conflicts_with = "seconds")]
    records: u64,
    /// How many MB (10^6 bytes) a second each connection reads at most; 0 is as many as it can.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
}

impl Fetch {
    /// Does it.
    ///
    /// # Errors
    /// The broker refuses, or a connection breaks.
    pub fn run(&self) -> Result<Report, LoadError> {
        let clock = Clock::real();
        let begun = clock.monotonic();
        let until = begun + Duration::from_secs(self.seconds);
        let parts: Result<Vec<_>, LoadError> = thread::scope(|scope| {
            let one = |at: i32| {
                let clock = clock.clone();
                scope.spawn(move || self.one(at / self.target.sharing.max(1), until, &clock))
            };
            let running: Vec<_> = (0..self.target.connections).map(one).collect();
            running.into_iter().map(|it| it.join().unwrap_or(Err(LoadError::Thread))).collect()
        });
        Ok(Report::new(begun, parts?))
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
    fn one(&self, at: i32, until: Duration, clock: &Clock) -> Result<Vec<Done>, LoadError> {
        let mut reader = Reader::open(&self.target, at, self.bytes_max)?;
        let (mut all, mut offset, mut records) = (Vec::new(), 0, 0);
        let mut due = clock.monotonic();
        loop {
            wait_until(due, clock);
            let since = clock.monotonic();
            if self.seconds > 0 && since >= until {
                return Ok(all);
            }
            let read = reader.read(offset)?;
            let at = clock.monotonic();
            if read.bytes > 0 {
                all.push(Done { at, took: at.saturating_sub(since), bytes: read.bytes });
            }
            if self.rate > 0.0 {
                due += Duration::from_secs_f64(read.bytes as f64 / self.rate / 1e6);
            }
            offset = read.next;
            records += read.records;
            if self.records > 0 {
                if records >= self.records {
                    return Ok(all);
                }
            } else if offset >= read.end {
                if self.seconds == 0 {
                    return Ok(all);
                }
                offset = 0;
            }
        }
    }
}

/// Writes at a rate and reads along.
#[derive(Args, Clone, Debug)]
pub struct Tail {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    batches: Batches,
    /// How many batches a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// How many batches.
    #[arg(long, default_value_t = 2000)]
    count: usize,
}

impl Tail {
    /// Does it, from the log's end on.
    ///
    /// # Errors
    /// The broker refuses, or a connection breaks.
    pub fn run(&self) -> Result<Report, LoadError> {
        let clock = Clock::real();
        let mut reader = Reader::open(&self.target, 0, 1 << 20)?;
        let mut offset = reader.read(0).map_or(0, |read| read.end);
        let (due, waiting) = sync_channel(UNDER_WAY_MAX);
        let begun = clock.monotonic();
        thread::scope(|scope| {
            let (time, this) = (clock.clone(), self.clone());
            let writer = scope.spawn(move || {
                let mut connection = Connection::open(this.target.port)?;
                let frame = this.batches.frame(&this.target.topic, 0)?;
                let step = Duration::from_secs_f64(1.0 / this.rate);
                let mut at = time.monotonic();
                for _ in 0..this.count {
                    at += step;
                    wait_until(at, &time);
                    if due.send(at).is_err() {
                        break;
                    }
                    connection.send(&frame)?;
                    acknowledged(&mut connection)?;
                }
                Ok::<(), LoadError>(())
            });
            let mut all = Vec::new();
            let (mut records, per_batch) = (0, self.batches.records.max(1) as u64);
            while all.len() < self.count && !(writer.is_finished() && records == 0) {
                let read = reader.read(offset)?;
                offset = read.next;
                records += read.records;
                let at = clock.monotonic();
                while records >= per_batch {
                    records -= per_batch;
                    let Ok(since) = waiting.recv() else { break };
                    let bytes = (HEADER_BYTES + self.batches.record_bytes) as u64;
                    all.push(Done { at, took: at.saturating_sub(since), bytes });
                }
            }
            drop(waiting);
            writer.join().unwrap_or(Err(LoadError::Thread))?;
            Ok(Report::new(begun, vec![all]))
        })
    }
}
