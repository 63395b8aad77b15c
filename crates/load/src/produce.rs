//! Writing: pre-encoded batches, several in flight.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use ottla_clock::Clock;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord};

use crate::Target;
use crate::measure::{Done, Report};
use crate::wire::{Connection, LoadError, frame};

/// The version that is spoken: the newest that brokers from 2.4 to 4.x have in common.
const VERSION: i16 = 8;
/// How long a broker may take, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;

/// How batches look and how many go out.
#[derive(Args, Clone, Debug)]
pub struct Batches {
    /// How many records a batch has.
    #[arg(long, default_value_t = 1)]
    pub records: usize,
    /// How many bytes a record's value has.
    #[arg(long, default_value_t = 100)]
    pub record_bytes: usize,
    /// 1, -1 (all) or 0.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub acks: i16,
}

impl Batches {
    /// A request for one partition.
    ///
    /// # Errors
    /// Sizes do not fit.
    pub fn frame(&self, topic: &str, index: i32) -> Result<Vec<u8>, LoadError> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = vec![b'x'; self.record_bytes];
        let now_ms = Clock::real().wall_ms();
        for _ in 0..self.records {
            let value = Some(&value[..]);
            builder.push(&NewRecord { timestamp: now_ms, value, ..NewRecord::default() });
        }
        let records = Some(Bytes::from(builder.build().map_err(std::io::Error::other)?));
        let partition = PartitionProduceData { index, records, ..Default::default() };
        let topic = TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![partition],
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: self.acks,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![topic],
            ..Default::default()
        };
        frame(&request, VERSION)
    }
}

/// Reads one answer.
///
/// # Errors
/// The connection broke, or the broker refuses.
pub fn acknowledged(connection: &mut Connection) -> Result<(), LoadError> {
    let answer = connection.answer::<ProduceRequest>(VERSION)?;
    let codes = answer.responses.iter().flat_map(|it| &it.partition_responses);
    match codes.map(|it| it.error_code).find(|code| *code != 0) {
        Some(code) => Err(LoadError::Refused(code)),
        None => Ok(()),
    }
}

/// Writes as fast as answers come, or at a rate.
#[derive(Args, Clone, Debug)]
pub struct Produce {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    batches: Batches,
    /// How many requests of a connection may be unanswered.
    #[arg(long, default_value_t = 5)]
    depth: usize,
    /// How many requests each connection sends.
    #[arg(long)]
    count: usize,
    /// How many requests a second each connection sends; 0 is as many as it can. A request's time
    /// counts from when it was due.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
}

impl Produce {
    /// Does it.
    ///
    /// # Errors
    /// The broker refuses, or a connection breaks.
    pub fn run(&self) -> Result<Report, LoadError> {
        let clock = Clock::real();
        let begun = clock.monotonic();
        let parts: Result<Vec<_>, LoadError> = thread::scope(|scope| {
            let one = |at: i32| {
                let clock = clock.clone();
                scope.spawn(move || self.one(at / self.target.sharing.max(1), &clock))
            };
            let running: Vec<_> = (0..self.target.connections).map(one).collect();
            running.into_iter().map(|it| it.join().unwrap_or(Err(LoadError::Thread))).collect()
        });
        Ok(Report::new(begun, parts?))
    }

    fn one(&self, index: i32, clock: &Clock) -> Result<Vec<Done>, LoadError> {
        let mut connection = Connection::open(self.target.port)?;
        let mut answers = connection.other()?;
        let frame = self.batches.frame(&self.target.topic, index)?;
        let (sent, unanswered) = sync_channel(self.depth);
        let (free, may_send) = sync_channel(self.depth);
        (0..self.depth).try_for_each(|_| free.send(())).map_err(|_| LoadError::Thread)?;
        let bytes = frame.len() as u64;
        let time = clock.clone();
        let reader = move || read_answers(&mut answers, (&unanswered, &free), bytes, &time);
        thread::scope(|scope| {
            let reader = scope.spawn(reader);
            let done = self.send_all(&mut connection, &frame, (&may_send, &sent), clock);
            drop(sent);
            let read = reader.join().unwrap_or(Err(LoadError::Thread));
            // A reader that has failed ends the sender too; its reason is the better one.
            read.and_then(|read| done.map(|()| read))
        })
    }

    fn send_all(
        &self,
        connection: &mut Connection,
        frame: &[u8],
        (may_send, sent): (&Receiver<()>, &SyncSender<Duration>),
        clock: &Clock,
    ) -> Result<(), LoadError> {
        let mut due = clock.monotonic();
        let step =
            if self.rate > 0.0 { Duration::from_secs_f64(1.0 / self.rate) } else { Duration::ZERO };
        for _ in 0..self.count {
            if !step.is_zero() {
                due += step;
                wait_until(due, clock);
            }
            if may_send.recv().is_err() {
                return Ok(());
            }
            if step.is_zero() {
                due = clock.monotonic();
            }
            if sent.send(due).is_err() {
                return Ok(());
            }
            connection.send(frame)?;
        }
        Ok(())
    }
}

/// Waits on this thread.
pub fn wait_until(due: Duration, clock: &Clock) {
    let left = due.saturating_sub(clock.monotonic());
    if !left.is_zero() {
        thread::park_timeout(left);
    }
}

fn read_answers(
    answers: &mut Connection,
    (unanswered, free): (&Receiver<Duration>, &SyncSender<()>),
    bytes: u64,
    clock: &Clock,
) -> Result<Vec<Done>, LoadError> {
    let mut all = Vec::new();
    while let Ok(since) = unanswered.recv() {
        acknowledged(answers)?;
        let at = clock.monotonic();
        all.push(Done { at, took: at.saturating_sub(since), bytes });
        // The sender may be done already.
        let _ = free.send(());
    }
    Ok(all)
}
