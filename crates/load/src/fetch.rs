//! Reading: what is there, or what comes.

use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use clap::Args;
use ottla_clock::Clock;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_records::{BadBatch, HEADER_BYTES, batches_in};

use crate::LoadTarget;
use crate::measure::{DoneRequest, LoadReport};
use crate::produce::{BatchShape, read_acknowledgement, wait_until};
use crate::wire::{LoadError, WireConnection, WireReader, wire_frame};

/// The version that is spoken: the newest with topic names and plain lengths.
const VERSION: i16 = 11;
/// How many requests of the tail may be under way, at most.
const UNDER_WAY_MAX: usize = 1 << 16;

/// One answer: the bytes of its records, and where to go on.
struct FetchedBytes {
    bytes: u64,
    records: u64,
    next: i64,
    end: i64,
}

struct FetchReader {
    connection: WireConnection,
    /// Encoded once; only the offset changes.
    request: Vec<u8>,
}

impl FetchReader {
    fn open(target: &LoadTarget, partition: i32, bytes_max: i32) -> Result<Self, LoadError> {
        let connection = WireConnection::open(target.port)?;
        Ok(Self { connection, request: fetch_request(&target.topic, partition, bytes_max, 0)? })
    }

    fn read(&mut self, offset: i64) -> Result<FetchedBytes, LoadError> {
        set_offset(&mut self.request, offset);
        self.connection.send(&self.request)?;
        read_fetched(&mut self.connection.next_answer()?, offset)
    }
}

fn fetch_request(
    topic: &str,
    partition: i32,
    bytes_max: i32,
    offset: i64,
) -> Result<Vec<u8>, LoadError> {
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: bytes_max,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: bytes_max,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    wire_frame(&request, VERSION)
}

/// Behind the offset: the log's start, the most bytes, no forgotten topics, no rack.
fn set_offset(request: &mut [u8], offset: i64) {
    let at = request.len() - (8 + 8 + 4 + 4 + 2);
    request[at..at + 8].copy_from_slice(&offset.to_be_bytes());
}

/// What a fetch from `offset` brought. The headers of its batches are checked; none may be missing.
fn read_fetched(answer: &mut WireReader<'_>, offset: i64) -> Result<FetchedBytes, LoadError> {
    let (_correlation, _throttled_ms, error) = (answer.i32()?, answer.i32()?, answer.i16()?);
    let (_session, topics) = (answer.i32()?, answer.i32()?);
    if error != 0 || topics == 0 {
        return Err(LoadError::Refused(error));
    }
    let (_topic, _partitions) = (answer.text()?, answer.i32()?);
    let (_index, error, end) = (answer.i32()?, answer.i16()?, answer.i64()?);
    if error != 0 {
        return Err(LoadError::Refused(error));
    }
    let (_stable, _start, aborted) = (answer.i64()?, answer.i64()?, answer.i32()?);
    answer.take(16 * usize::try_from(aborted).unwrap_or(0))?;
    let _preferred = answer.i32()?;
    let mut read = FetchedBytes { bytes: 0, records: 0, next: offset, end };
    for batch in batches_in(answer.blob()?) {
        let batch = match batch {
            Ok(batch) => batch,
            // Kafka may send the beginning of a batch at the end.
            Err(BadBatch::Truncated { .. }) if read.bytes > 0 => break,
            Err(error) => return Err(error.into()),
        };
        let found = batch.base_offset();
        // The first may begin before what was asked for.
        if read.next < found
            || batch.next_offset() <= read.next
            || read.bytes > 0 && found < read.next
        {
            return Err(LoadError::Gap { due: read.next, found });
        }
        read.bytes += batch.size() as u64;
        read.records += u64::from(batch.record_count().unsigned_abs());
        read.next = batch.next_offset();
    }
    Ok(read)
}

/// Reads from the start, or over and over.
#[derive(Args, Clone, Debug)]
pub struct FetchLoad {
    #[command(flatten)]
    target: LoadTarget,
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

impl FetchLoad {
    /// Runs the load.
    ///
    /// # Errors
    /// The broker refuses, or a connection breaks.
    pub fn run(&self) -> Result<LoadReport, LoadError> {
        let clock = Clock::real();
        let until = clock.monotonic() + Duration::from_secs(self.seconds);
        self.target.each(&clock, |at| self.one(self.target.partition(at), until, &clock))
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
    fn one(&self, at: i32, until: Duration, clock: &Clock) -> Result<Vec<DoneRequest>, LoadError> {
        let mut reader = FetchReader::open(&self.target, at, self.bytes_max)?;
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
                all.push(DoneRequest { at, took: at.saturating_sub(since), bytes: read.bytes });
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
    target: LoadTarget,
    #[command(flatten)]
    batches: BatchShape,
    /// How many batches a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// How many batches.
    #[arg(long, default_value_t = 2000)]
    count: usize,
}

impl Tail {
    /// Runs the load, from the log's end on.
    ///
    /// # Errors
    /// The broker refuses, or a connection breaks.
    pub fn run(&self) -> Result<LoadReport, LoadError> {
        let clock = Clock::real();
        let mut reader = FetchReader::open(&self.target, 0, 1 << 20)?;
        let mut offset = reader.read(0).map_or(0, |read| read.end);
        let (due, waiting) = sync_channel(UNDER_WAY_MAX);
        let begun = clock.monotonic();
        thread::scope(|scope| {
            let (time, this) = (clock.clone(), self.clone());
            let writer = scope.spawn(move || {
                let mut connection = WireConnection::open(this.target.port)?;
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
                    read_acknowledgement(&mut connection)?;
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
                    all.push(DoneRequest { at, took: at.saturating_sub(since), bytes });
                }
            }
            drop(waiting);
            writer.join().unwrap_or(Err(LoadError::Thread))?;
            Ok(LoadReport::new(begun, vec![all]))
        })
    }
}

#[cfg(test)]
mod tests {
    use ottla_records::{BatchBuilder, BatchOptions, NewRecord};

    use super::*;

    #[test]
    fn a_patched_offset_is_as_an_encoded_one() {
        for (topic, offset) in [("t", 0), ("a-longer-name", 1), ("t", i64::MAX), ("", 77)] {
            let mut patched = fetch_request(topic, 3, 1 << 20, 123).unwrap();
            set_offset(&mut patched, offset);
            assert_eq!(
                patched,
                fetch_request(topic, 3, 1 << 20, offset).unwrap(),
                "{topic} {offset}"
            );
        }
    }

    fn batch(base: i64, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        (0..records).for_each(|_| builder.push(&NewRecord::default()));
        let mut bytes = builder.build().unwrap();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes
    }

    /// An answer with these error codes of the request and of the partition.
    fn answer(all: i16, one: i16, records: &[u8]) -> Vec<u8> {
        let mut out = [&[0; 8][..], &all.to_be_bytes(), &[0; 4], &1i32.to_be_bytes()].concat();
        out.extend_from_slice(b"\0\x01t\0\0\0\x01\0\0\0\x03");
        out.extend_from_slice(&one.to_be_bytes());
        out.extend_from_slice(&[&100i64.to_be_bytes()[..], &[0; 16]].concat());
        // One aborted transaction, no preferred replica.
        out.extend_from_slice(&[&1i32.to_be_bytes()[..], &[0; 16], &[255; 4]].concat());
        out.extend_from_slice(&u32::try_from(records.len()).unwrap().to_be_bytes());
        [&out, records].concat()
    }

    #[test]
    fn an_answer_tells_where_to_go_on_or_what_is_wrong() {
        let (a, b, c) = (batch(5, 3), batch(8, 2), batch(9, 2));
        let half = [&a[..], &b[..70]].concat();
        let (ab, ac, ba) = ([&a[..], &b].concat(), [&a[..], &c].concat(), [&b[..], &a].concat());
        // what comes, asked from which offset, the records and the next offset or part of the error
        let cases = [
            (answer(0, 0, &ab), 5, Ok((5, 10))),
            (answer(0, 0, &ab), 7, Ok((5, 10))),
            (answer(0, 0, &half), 5, Ok((3, 8))),
            (answer(0, 0, &[]), 5, Ok((0, 5))),
            (answer(0, 0, &ab), 4, Err("at offset 5, where 4")),
            (answer(0, 0, &ab), 8, Err("at offset 5, where 8")),
            (answer(0, 0, &ac), 5, Err("at offset 9, where 8")),
            (answer(0, 0, &ba), 8, Err("at offset 5, where 10")),
            (answer(0, 0, &a[..70]), 5, Err("broken")),
            (answer(0, 3, &ab), 5, Err("code 3")),
            (answer(70, 0, &ab), 5, Err("code 70")),
            (answer(0, 0, &ab)[..80].to_vec(), 5, Err("end of file")),
        ];
        for (bytes, offset, wanted) in cases {
            let found = read_fetched(&mut WireReader(&bytes), offset);
            let found = found.map(|it| (it.records, it.next)).map_err(|error| error.to_string());
            match (&found, wanted) {
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}: no {part}"),
                _ => assert_eq!(found, wanted.map_err(str::to_owned)),
            }
        }
    }
}
