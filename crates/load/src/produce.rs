//! Writing: pre-encoded batches, several in flight.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use ottla_clock::Clock;
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{BatchBuilder, BatchOptions, Compression, NewRecord};

use crate::LoadTarget;
use crate::measure::{DoneRequest, LoadReport};
use crate::wire::{HEAD_BYTES, LoadError, WireConnection, WireReader, wire_frame};

/// The version that is spoken: the newest that brokers from 2.4 to 4.x have in common.
const VERSION: i16 = 8;
/// How long a broker may take, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;
/// Up to how many bytes a request goes in one write with others.
const TOGETHER_BYTES_MAX: usize = 4096;

/// How batches look and how many go out.
#[derive(Args, Clone, Debug)]
pub struct BatchShape {
    /// How many records a batch has.
    #[arg(long, default_value_t = 1)]
    pub records: usize,
    /// How many bytes a record's value has.
    #[arg(long, default_value_t = 100)]
    pub record_bytes: usize,
    /// none, gzip, snappy, lz4 or zstd. Values of compressed batches are text, which becomes
    /// a quarter or so.
    #[arg(long, default_value = "none", value_parser = parse_codec)]
    pub compression: Compression,
    /// 1, -1 (all) or 0.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub acks: i16,
}

impl BatchShape {
    /// A request for one partition.
    ///
    /// # Errors
    /// The records do not fit into a batch of this size.
    pub fn frame(&self, topic: &str, index: i32) -> Result<Vec<u8>, LoadError> {
        let compression = self.compression;
        let mut builder =
            BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
        let now_ms = Clock::real().wall_ms();
        let mut value = vec![b'x'; self.record_bytes];
        let mut words = Words::default();
        for _ in 0..self.records {
            if compression != Compression::None {
                words.fill(&mut value);
            }
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
        wire_frame(&request, VERSION)
    }
}

fn parse_codec(name: &str) -> Result<Compression, String> {
    Compression::named(name).ok_or_else(|| format!("{name} is not a codec"))
}

/// Words that follow each other without a pattern, always the same.
#[derive(Default)]
struct Words {
    state: u32,
}

impl Words {
    const ALL: [&'static str; 16] = [
        "order",
        "customer",
        "id",
        "null",
        "true",
        "2026-11",
        "price",
        "warehouse",
        "47",
        "EUR",
        "shipment",
        "a7f3",
        "status",
        "open",
        "c0de",
        "9",
    ];

    fn fill(&mut self, value: &mut [u8]) {
        let mut text = std::iter::from_fn(|| {
            // The generator of Numerical Recipes.
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let word = Self::ALL[(self.state >> 28) as usize];
            Some(word.bytes().chain([b' ' + (self.state >> 20 & 15).to_le_bytes()[0]]))
        })
        .flatten();
        value.fill_with(|| text.next().unwrap_or(b' '));
    }
}

/// Reads one answer.
///
/// # Errors
/// The connection broke, or the broker refuses.
pub fn read_acknowledgement(connection: &mut WireConnection) -> Result<(), LoadError> {
    check_accepted(&mut connection.next_answer()?)
}

/// Looks at the code of each partition.
///
/// # Errors
/// The broker refuses, or it is no such answer.
pub fn check_accepted(answer: &mut WireReader<'_>) -> Result<(), LoadError> {
    let _correlation = answer.i32()?;
    for _topic in 0..answer.i32()? {
        answer.text()?;
        for _partition in 0..answer.i32()? {
            let (_index, error) = (answer.i32()?, answer.i16()?);
            if error != 0 {
                return Err(LoadError::Refused(error));
            }
            let (_base, _appended_ms, _start) = (answer.i64()?, answer.i64()?, answer.i64()?);
            for _refused in 0..answer.i32()? {
                let (_record, _why) = (answer.i32()?, answer.text()?);
            }
            let _why = answer.text()?;
        }
    }
    Ok(())
}

/// Writes as fast as answers come, or at a rate.
#[derive(Args, Clone, Debug)]
pub struct ProduceLoad {
    #[command(flatten)]
    target: LoadTarget,
    #[command(flatten)]
    batches: BatchShape,
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
    /// How many partitions each connection takes in turn; without it, it stays at its own.
    #[arg(long, conflicts_with = "sharing", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
}

impl ProduceLoad {
    /// Runs the load.
    ///
    /// # Errors
    /// The broker refuses, or a connection breaks.
    pub fn run(&self) -> Result<LoadReport, LoadError> {
        let clock = Clock::real();
        self.target.each(&clock, |at| self.one(at, &clock))
    }

    /// One thread sends and reads: two would wake each other for every answer.
    fn one(&self, at: i32, clock: &Clock) -> Result<Vec<DoneRequest>, LoadError> {
        let mut connection = WireConnection::open(self.target.port)?;
        let mut index = self.target.partition(at);
        let mut frame = self.batches.frame(&self.target.topic, index)?;
        let bytes = frame.len() as u64;
        // Small ones that may go at the same time go in one write, as a driver's calls are time
        // that the broker does not have.
        let together =
            frame.len() <= TOGETHER_BYTES_MAX && self.rate <= 0.0 && self.partitions.is_none();
        let many = if together { frame.repeat(self.depth.max(1)) } else { Vec::new() };
        let (mut all, mut unanswered) = (Vec::with_capacity(self.count), VecDeque::new());
        let step =
            if self.rate > 0.0 { Duration::from_secs_f64(1.0 / self.rate) } else { Duration::ZERO };
        // Connections take turns, so that they are no crowd that comes all at once.
        let mut due = clock.monotonic()
            + step * at.unsigned_abs() / self.target.connections.unsigned_abs().max(1);
        while all.len() < self.count {
            let left = self.count - all.len() - unanswered.len();
            let room = left.min(self.depth.max(1) - unanswered.len());
            if together && room > 0 && !connection.has_bytes() {
                let now = clock.monotonic();
                unanswered.extend(std::iter::repeat_n(now, room));
                connection.send(&many[..room * frame.len()])?;
            }
            let may_send = !together && room > 0;
            if may_send && self.is_due(due, &connection, unanswered.is_empty(), clock)? {
                unanswered.push_back(if step.is_zero() { clock.monotonic() } else { due });
                due += step;
                if let Some(partitions) = self.partitions {
                    index %= partitions;
                    set_index(&mut frame, &self.target.topic, index);
                    index += 1;
                }
                connection.send(&frame)?;
                continue;
            }
            read_acknowledgement(&mut connection)?;
            let now = clock.monotonic();
            let since = unanswered.pop_front().unwrap_or(now);
            all.push(DoneRequest { at: now, took: now.saturating_sub(since), bytes });
        }
        Ok(all)
    }

    /// Waits until the next request may go, or an answer is there; whether it is the former.
    fn is_due(
        &self,
        due: Duration,
        connection: &WireConnection,
        nothing_comes: bool,
        clock: &Clock,
    ) -> Result<bool, LoadError> {
        if self.rate <= 0.0 {
            return Ok(true);
        }
        if nothing_comes {
            wait_until(due, clock);
            return Ok(true);
        }
        let left = due.saturating_sub(clock.monotonic());
        Ok(left.is_zero() || !connection.answers_within(left)?)
    }
}

/// Sets the partition of an encoded request: it comes after the head, no transactional id, acks,
/// the time, and the topic with the counts around it.
fn set_index(frame: &mut [u8], topic: &str, index: i32) {
    let at = 4 + HEAD_BYTES + 2 + 2 + 4 + (4 + 2 + topic.len() + 4);
    frame[at..at + 4].copy_from_slice(&index.to_be_bytes());
}

/// Waits on this thread.
pub fn wait_until(due: Duration, clock: &Clock) {
    loop {
        let left = due.saturating_sub(clock.monotonic());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_partition_is_as_an_encoded_one() {
        let compression = Compression::None;
        let batches = BatchShape { records: 3, record_bytes: 10, compression, acks: -1 };
        for (topic, index) in [("t", 0), ("a-longer-name", 9_999), ("", i32::MAX)] {
            let encoded = batches.frame(topic, index).unwrap();
            let mut patched = encoded.clone();
            set_index(&mut patched, topic, 77);
            assert_ne!(patched, encoded);
            set_index(&mut patched, topic, index);
            assert_eq!(patched, encoded, "{topic} {index}");
        }
    }

    /// One topic with two partitions; the second has this code, and a record that was refused.
    fn answer(error: i16) -> Vec<u8> {
        let mut out = [&[0; 4][..], b"\0\0\0\x01\0\x01t\0\0\0\x02"].concat();
        out.extend_from_slice(&[&[0; 4 + 2 + 8 + 8 + 8 + 4][..], &[255; 2]].concat());
        out.extend_from_slice(&[&[0; 4][..], &error.to_be_bytes(), &[0; 24]].concat());
        out.extend_from_slice(b"\0\0\0\x01\0\0\0\x07\0\x03bad\0\x04none\0\0\0\0");
        out
    }

    #[test]
    fn every_partition_s_code_is_looked_at() {
        assert!(check_accepted(&mut WireReader(&answer(0))).is_ok());
        assert!(matches!(check_accepted(&mut WireReader(&answer(6))), Err(LoadError::Refused(6))));
        let cut = &answer(0)[..80];
        assert!(matches!(check_accepted(&mut WireReader(cut)), Err(LoadError::Io(_))));
    }
}
