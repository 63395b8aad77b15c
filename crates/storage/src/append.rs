//! What a writer appends: batches with their headers stamped, each after the last.
//!
//! Several batches that came together go in one write: what an append costs is mostly the call.

use std::io::IoSlice;
use std::sync::atomic::Ordering;

use ottla_records::{Batch, HEADER_BYTES, crc32c_of_parts};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, TimestampMs};

use crate::error::{StorageError, is_shortage};
use crate::follow::FetchedError;
use crate::index::AbortedTransaction;
use crate::log::{Log, PendingBatches};
use crate::producers::{ProducerError, Producers};
use crate::segment::Segment;

/// What the leader writes into a batch.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// The time that all records get, if the topic counts the append time.
    pub append_time: Option<TimestampMs>,
    /// The newest timestamp of the records, if it is known; a header may claim another.
    pub max_timestamp: Option<TimestampMs>,
}

/// Where a batch went, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// The append time of its records; -1 if they have their own. Of a repeat, the newest timestamp
    /// of the batch that is there.
    pub append_time: TimestampMs,
    /// Was it there already?
    pub duplicate: bool,
}

impl Appended {
    const fn new(base_offset: Offset, end: Offset, stamp: Stamp) -> Self {
        let append_time = match stamp.append_time {
            Some(time) => time,
            None => -1,
        };
        Self { base_offset, end, append_time, duplicate: false }
    }
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Its producer may not.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The disk fails; the log accepts no more appends.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What a follower fetched is broken.
    #[error(transparent)]
    Fetched(#[from] FetchedError),
    /// What a follower fetched begins below the end of its log, which is not empty.
    #[error("the batch of offsets {first} to {last} begins below the log's end {end}")]
    BehindEnd {
        /// The first offset of the first batch.
        first: Offset,
        /// Its last offset.
        last: Offset,
        /// The log's end.
        end: Offset,
    },
}

impl AppendError {
    /// The error code for the client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Producer(error) => error.code(),
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
            Self::Fetched(error) => error.code(),
            Self::BehindEnd { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        }
    }
}

impl Log {
    /// Appends one batch that was checked: patches offset, epoch and perhaps time into a copy of
    /// its header and writes that and the rest in one call.
    ///
    /// # Errors
    /// The producer may not, or the disk fails: then no reader sees the batch, and the log
    /// accepts no more appends.
    pub fn append_as_leader(
        &mut self,
        bytes: &[u8],
        stamp: Stamp,
        now_ms: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let batch = Batch::first(bytes).map_err(StorageError::from)?;
        if batch.has_producer()
            && let Some(found) = self.producers.check(&batch)?
        {
            // As in Kafka, a repeat is answered with the newest timestamp of the stored batch,
            // whatever the topic's timestamp type.
            return Ok(Appended {
                base_offset: found.first_offset,
                end: found.last_offset + 1,
                append_time: found.timestamp,
                duplicate: true,
            });
        }
        self.append_stamped(&batch, stamp, now_ms)
    }

    /// As [`Log::append_as_leader`], for a batch of a coordinator: it has no place in a producer's
    /// sequence, though it may carry a producer's name.
    ///
    /// # Errors
    /// The disk fails.
    pub fn append_as_coordinator(
        &mut self,
        bytes: &[u8],
        stamp: Stamp,
        now_ms: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let batch = Batch::first(bytes).map_err(StorageError::from)?;
        self.append_stamped(&batch, stamp, now_ms)
    }

    /// Appends batches that came together, in one write; `None` if they must come one by one: there
    /// is an error in one of them, or a new segment begins. None of them was written
    /// then.
    ///
    /// # Errors
    /// The disk fails: then no reader sees any of the batches, and the log accepts no more appends.
    pub fn append_together_as_leader(
        &mut self,
        all: &[&[u8]],
        stamp: Stamp,
        now_ms: TimestampMs,
    ) -> Result<Option<Vec<Appended>>, StorageError> {
        let mut base_offset = self.log_end();
        let (mut parts, mut appended) = (Vec::new(), Vec::new());
        // As they will be known when those before it are there.
        let mut producers = Producers::default();
        for bytes in all {
            let batch = Batch::first(bytes)?;
            producers.learn(batch.producer_id(), &self.producers);
            let is_plain = matches!(producers.check(&batch), Ok(None));
            if !is_plain || batch.is_transactional() {
                return Ok(None);
            }
            let part = BatchPart::stamped(&batch, base_offset, stamp);
            let end = part.batch()?.next_offset();
            producers.appended(&part.batch()?);
            appended.push(Appended::new(base_offset, end, stamp));
            parts.push(part);
            base_offset = end;
        }
        if !self.has_room_for(&parts, now_ms)? {
            return Ok(None);
        }
        self.write(&parts, now_ms)?;
        Ok(Some(appended))
    }

    fn append_stamped(
        &mut self,
        batch: &Batch<'_>,
        stamp: Stamp,
        now_ms: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let base_offset = self.log_end();
        self.write_one(BatchPart::stamped(batch, base_offset, stamp), now_ms)?;
        Ok(Appended::new(base_offset, self.log_end(), stamp))
    }

    fn write_one(&mut self, part: BatchPart<'_>, now_ms: TimestampMs) -> Result<(), StorageError> {
        let part = [part];
        if !self.has_room_for(&part, now_ms)? {
            self.roll()?;
        }
        self.write(&part, now_ms)
    }

    /// Do these belong into the active segment, all of them?
    fn has_room_for(
        &self,
        parts: &[BatchPart<'_>],
        now_ms: TimestampMs,
    ) -> Result<bool, StorageError> {
        self.check_writable()?;
        let bytes = size_of_all(parts);
        for part in parts {
            let batch = part.batch()?;
            let others = PendingBatches {
                bytes: bytes - batch.size() as u64,
                index_entries: parts.len() - 1,
                first_timestamp: None,
            };
            if self.is_full(&batch, others, now_ms) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes them behind the active segment's end, and lets readers see all of them at once.
    fn write(&mut self, parts: &[BatchPart<'_>], now_ms: TimestampMs) -> Result<(), StorageError> {
        for part in parts {
            let batch = part.batch()?;
            self.assign_epoch(batch.leader_epoch(), batch.base_offset());
        }
        let segment = self.active();
        let position = segment.size();
        self.put(&segment, |at| write_parts(&segment, parts, at))?;
        let (mut at, mut end) = (position, self.log_end());
        for part in parts {
            let batch = part.batch()?;
            let aborted = self.took_in(&batch, part);
            segment.take_in(at, &batch, aborted, self.options.index_interval_bytes);
            at += batch.size() as u64;
            end = batch.next_offset();
        }
        self.publish(&segment, at, end, now_ms);
        Ok(())
    }

    /// Writes behind the active segment's end; no reader sees it yet.
    ///
    /// # Errors
    /// The disk fails. If half a batch may be left, the log accepts no more appends.
    pub(crate) fn put(
        &mut self,
        segment: &Segment,
        write: impl FnOnce(u64) -> std::io::Result<()>,
    ) -> Result<(), StorageError> {
        let position = segment.size();
        if let Err(error) = segment.file.ready() {
            return Err(segment.io()(error));
        }
        let Err(error) = write(position) else { return Ok(()) };
        // Nothing may follow half a batch. If it can be taken back and only room was missing,
        // the next append may find some; otherwise recovery cuts it off.
        let is_whole = segment.file.truncate(position).is_ok();
        let is_harmless = is_whole && is_shortage(&error);
        self.failed = !is_harmless;
        Err(segment.io()(error))
    }

    /// Lets readers see what was written: the active segment has so many bytes now, and the log
    /// ends at `end`.
    pub(crate) fn publish(
        &mut self,
        segment: &Segment,
        size: u64,
        end: Offset,
        now_ms: TimestampMs,
    ) {
        let position = segment.size();
        self.written_bytes += size - position;
        if position == 0 {
            self.segment_written_ms.0 = now_ms;
        }
        self.segment_written_ms.1 = now_ms;
        segment.publish(size);
        self.shared.log_end.store(end, Ordering::Release);
    }

    /// Updates the producer state with the batch; a marker is read whole, it is small.
    fn took_in(&mut self, batch: &Batch<'_>, part: &BatchPart<'_>) -> Option<AbortedTransaction> {
        if batch.is_control() && batch.has_producer() {
            let whole = [&part.header, part.rest].concat();
            let whole = Batch::first(&whole).ok()?;
            return self.producers.appended(&whole);
        }
        self.producers.appended(batch)
    }
}

/// A batch on its way: its header as it will stand in the log, and what comes after.
struct BatchPart<'a> {
    header: [u8; HEADER_BYTES],
    rest: &'a [u8],
}

impl<'a> BatchPart<'a> {
    /// As a leader writes it.
    fn stamped(batch: &Batch<'a>, base_offset: Offset, stamp: Stamp) -> Self {
        Self {
            header: stamped_header(batch, base_offset, stamp),
            rest: &batch.bytes()[HEADER_BYTES..],
        }
    }

    fn batch(&self) -> Result<Batch<'_>, StorageError> {
        Ok(Batch::header_only(&self.header)?)
    }

    fn slices(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(&self.header), IoSlice::new(self.rest)]
    }
}

fn size_of_all(parts: &[BatchPart<'_>]) -> u64 {
    parts.iter().map(|part| (HEADER_BYTES + part.rest.len()) as u64).sum()
}

fn write_parts(segment: &Segment, parts: &[BatchPart<'_>], at: u64) -> std::io::Result<()> {
    if let [one] = parts {
        return segment.file.write_parts_at(&one.slices(), at);
    }
    let slices: Vec<IoSlice<'_>> = parts.iter().flat_map(BatchPart::slices).collect();
    segment.file.write_parts_at(&slices, at)
}

/// The batch's header with what the leader writes into it. The checksum does not cover offset and
/// epoch; with another time or timestamp type it is made again.
fn stamped_header(batch: &Batch<'_>, base_offset: Offset, stamp: Stamp) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&batch.bytes()[..HEADER_BYTES]);
    header[..8].copy_from_slice(&base_offset.to_be_bytes());
    header[12..16].copy_from_slice(&stamp.leader_epoch.to_be_bytes());
    let is_append_time = stamp.append_time.is_some();
    let newest = stamp.append_time.or(stamp.max_timestamp).unwrap_or(batch.max_timestamp());
    if batch.is_append_time() == is_append_time && batch.max_timestamp() == newest {
        return header;
    }
    header[35..43].copy_from_slice(&newest.to_be_bytes());
    // A producer may not claim an append time where the topic counts create times.
    let kind = if is_append_time { 0x08 } else { 0 };
    let attributes = batch.attributes() & !0x08 | kind;
    header[21..23].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc32c_of_parts(&[&header[21..], &batch.bytes()[HEADER_BYTES..]]);
    header[17..21].copy_from_slice(&crc.to_be_bytes());
    header
}
