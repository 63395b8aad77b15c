//! Reading, without the writer.

use ottla_locks::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_records::{Batch, HEADER_BYTES};
use ottla_types::{LeaderEpoch, Offset, TimestampMs};

use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::index::AbortedTransaction;
use crate::segment::{Segment, header_at};

/// How far behind an index entry the batch looked for may start, in bytes; more costs a second
/// read, not an error.
const SLACK: usize = 8 * 1024;
/// To how many bytes a batch may unpack during a search by timestamp.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// What writer and readers share.
#[derive(Debug)]
pub(crate) struct LogShared {
    /// Replaced as a whole by the log's writer; a reader keeps the list that it has loaded, whose
    /// files stay readable for as long as it does.
    pub segments: ArcSwap<Vec<Arc<Segment>>>,
    /// Stored by the writer alone. A reader that still sees the old start finds the segment gone,
    /// which it is answered as out of range.
    pub log_start: AtomicI64,
    /// Stored by the writer alone, after what lies below it was written and is to be found in
    /// `segments`.
    pub log_end: AtomicI64,
    /// Guards the epochs; held for a look-up or a change in memory, never while a file is written.
    pub epochs: RwLock<Epochs>,
}

/// Reads a log while its writer appends to it; cheap to clone.
#[derive(Clone, Debug)]
pub struct LogView {
    pub(crate) shared: Arc<LogShared>,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such offset, and will not be soon.
    #[error("offset {offset} is not between {start} and {end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first offset there is.
        start: Offset,
        /// The first offset there is not yet.
        end: Offset,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// From which offset on; the batch that holds it comes whole.
    pub offset: Offset,
    /// How many bytes at most.
    pub bytes_max: usize,
    /// Read the first batch even if it has more bytes.
    pub at_least_one: bool,
    /// Batches from here on are not for this reader.
    pub upper: Offset,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct BatchesRead {
    /// Whole batches, as they lie on the disk.
    pub records: Bytes,
    /// The offset after them; what was asked for, if there are none.
    pub next: Offset,
}

impl LogView {
    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.shared.log_start.load(Ordering::Acquire)
    }

    /// Where the next record goes.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.shared.log_end.load(Ordering::Acquire)
    }

    /// The segments: where each begins, and how many bytes of records it has.
    #[must_use]
    pub fn extents(&self) -> Vec<(Offset, u64)> {
        self.shared.segments.load().iter().map(|it| (it.base, it.size())).collect()
    }

    /// How many bytes the segments have.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.segments.load().iter().map(|segment| segment.size()).sum()
    }

    /// Whole batches, as they lie on the disk.
    ///
    /// # Errors
    /// The offset does not exist, or the disk fails.
    pub fn read(&self, slice: Slice) -> Result<Bytes, ReadError> {
        self.read_on(slice).map(|found| found.records)
    }

    /// As [`LogView::read`]; says where to go on, too.
    ///
    /// # Errors
    /// The offset does not exist, or the disk fails.
    pub fn read_on(&self, slice: Slice) -> Result<BatchesRead, ReadError> {
        let nothing = BatchesRead { records: Bytes::new(), next: slice.offset };
        let (start, end) = (self.log_start(), self.log_end());
        if !(start..=end).contains(&slice.offset) {
            return Err(ReadError::OutOfRange { offset: slice.offset, start, end });
        }
        if slice.offset >= slice.upper.min(end) {
            return Ok(nothing);
        }
        let segments = self.shared.segments.load();
        let behind = segments.partition_point(|segment| segment.base <= slice.offset);
        for segment in &segments[behind.saturating_sub(1)..] {
            if let Some(found) = read_segment(segment, &slice)? {
                return Ok(found);
            }
        }
        Ok(nothing)
    }

    /// The epoch in which the record at `offset` was written; -1 if it is not known.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> LeaderEpoch {
        self.epochs().of(offset).unwrap_or(-1)
    }

    /// The largest epoch up to `epoch`, and the offset where it ends.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs().end_of(epoch, self.log_end())
    }

    /// The last epoch; -1 if there is none.
    #[must_use]
    pub fn latest_epoch(&self) -> LeaderEpoch {
        self.epochs().latest().unwrap_or(-1)
    }

    /// All epochs.
    #[must_use]
    pub fn epochs(&self) -> Epochs {
        self.shared.epochs.read().clone()
    }

    /// The aborted transactions that have records in `from..upto`.
    #[must_use]
    pub fn aborted(&self, from: Offset, upto: Offset) -> Vec<AbortedTransaction> {
        let segments = self.shared.segments.load();
        let all = segments.iter().flat_map(|segment| segment.aborted());
        all.filter(|it| it.last_offset >= from && it.first_offset < upto).collect()
    }

    /// The first record whose timestamp is at least `timestamp`: its timestamp and offset.
    ///
    /// # Errors
    /// The disk fails, or a batch is broken.
    pub fn at_time(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<(TimestampMs, Offset)>, StorageError> {
        let start = self.log_start();
        for segment in self.shared.segments.load().iter() {
            if segment.newest()?.is_none_or(|(newest, _)| newest < timestamp) {
                continue;
            }
            let from = segment.look_up_time(timestamp)?;
            let mut scan = segment.scan(segment.look_up(from)?);
            while let Some((_, batch)) = scan.next()? {
                if batch.max_timestamp() < timestamp || batch.last_offset() < start {
                    continue;
                }
                let found =
                    first_record(&batch, |time, offset| time >= timestamp && offset >= start)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp: its timestamp and offset.
    ///
    /// # Errors
    /// The disk fails, or a batch is broken.
    pub fn newest(&self) -> Result<Option<(TimestampMs, Offset)>, StorageError> {
        let segments = self.shared.segments.load();
        let mut best: Option<(TimestampMs, Offset, &Arc<Segment>)> = None;
        for segment in segments.iter() {
            if let Some((timestamp, offset)) = segment.newest()?
                && best.is_none_or(|(newest, ..)| timestamp > newest)
            {
                best = Some((timestamp, offset, segment));
            }
        }
        let Some((timestamp, offset, segment)) = best else { return Ok(None) };
        let mut scan = segment.scan(segment.look_up(offset)?);
        while let Some((_, batch)) = scan.next()? {
            if batch.last_offset() >= offset {
                return first_record(&batch, |time, _| time >= timestamp);
            }
        }
        Ok(None)
    }
}

fn first_record(
    batch: &Batch<'_>,
    wanted: impl Fn(TimestampMs, Offset) -> bool,
) -> Result<Option<(TimestampMs, Offset)>, StorageError> {
    let unpacked = batch.unpack(UNPACKED_BYTES_MAX)?;
    for record in unpacked.records() {
        let record = record?;
        if wanted(record.timestamp, record.offset) {
            return Ok(Some((record.timestamp, record.offset)));
        }
    }
    Ok(None)
}

/// What of a segment belongs to the slice; `None` if all of the segment lies before it.
fn read_segment(segment: &Segment, slice: &Slice) -> Result<Option<BatchesRead>, StorageError> {
    let mut size = segment.size();
    loop {
        let read = read_up_to(segment, slice, size);
        // A segment grows, unless its log is truncated: then what was read of the part that went
        // may be anything.
        let left = segment.size();
        if left >= size {
            return read;
        }
        size = left;
    }
}

/// As [`read_segment`], of a segment of `size` bytes.
fn read_up_to(
    segment: &Segment,
    slice: &Slice,
    size: u64,
) -> Result<Option<BatchesRead>, StorageError> {
    let (mut position, slack) = match segment.places.of(slice.offset) {
        Some(position) => (position, 0),
        None => (position_near(segment, slice.offset, size)?, SLACK),
    };
    while position < size {
        let left = usize::try_from(size - position).unwrap_or(usize::MAX);
        let want = left.min(slice.bytes_max.saturating_add(slack).max(HEADER_BYTES));
        let mut buffer = Vec::new();
        segment.file.read_into(&mut buffer, position, want).map_err(segment.io())?;
        match pick_batches(&buffer, slice)? {
            Picked::Bytes(from, to, next) => {
                if let Some(next) = next {
                    segment.places.remember(next, position + to as u64);
                }
                let records = Bytes::from(buffer).slice(from..to);
                return Ok(Some(BatchesRead { records, next: next.unwrap_or(slice.offset) }));
            }
            Picked::Whole(at, length, next) => {
                let mut whole = Vec::new();
                let at = position + at as u64;
                segment.file.read_into(&mut whole, at, length).map_err(segment.io())?;
                segment.places.remember(next, at + length as u64);
                return Ok(Some(BatchesRead { records: Bytes::from(whole), next }));
            }
            Picked::Beyond(0) => return Ok(None),
            Picked::Beyond(next) => position += next as u64,
        }
    }
    Ok(None)
}

/// A position at or a little before the batch that holds `offset`.
fn position_near(segment: &Segment, offset: Offset, size: u64) -> Result<u64, StorageError> {
    let position = segment.look_up(offset)?;
    if offset <= segment.base || position + HEADER_BYTES as u64 > size {
        return Ok(position);
    }
    // An index entry names the end of a batch and where that batch begins: if it is a long one,
    // it is cheaper to step over it than to read it in vain.
    let header = header_at(segment, position)?;
    let batch = Batch::header_only(&header)?;
    let is_long = batch.last_offset() < offset && batch.size() > SLACK;
    Ok(if is_long { position + batch.size() as u64 } else { position })
}

enum Picked {
    /// The batches between these two places, perhaps none, and the offset after them.
    Bytes(usize, usize, Option<Offset>),
    /// One batch that the buffer has not whole: where, how long, and the offset after it.
    Whole(usize, usize, Offset),
    /// Nothing here; go on at this place.
    Beyond(usize),
}

fn pick_batches(buffer: &[u8], slice: &Slice) -> Result<Picked, StorageError> {
    let mut at = 0;
    let mut start = None;
    let mut behind = None;
    while let Some(header) = buffer.get(at..).and_then(|rest| rest.first_chunk::<HEADER_BYTES>()) {
        let batch = match (Batch::header_only(header), start) {
            (Ok(batch), _) => batch,
            // A read that begins there gets the error; one that begins before gets what is
            // readable.
            (Err(_), Some(from)) => return Ok(Picked::Bytes(from, at, behind)),
            (Err(error), None) => return Err(error.into()),
        };
        let next = at + batch.size();
        if start.is_none() && batch.last_offset() < slice.offset {
            at = next;
            continue;
        }
        let from = start.unwrap_or(at);
        if batch.base_offset() >= slice.upper {
            return Ok(Picked::Bytes(from, at, behind));
        }
        let first = start.is_none();
        let fits = next - from <= slice.bytes_max || first && slice.at_least_one;
        if !fits {
            return Ok(Picked::Bytes(from, at, behind));
        }
        if next > buffer.len() {
            return Ok(if first {
                Picked::Whole(at, batch.size(), batch.next_offset())
            } else {
                Picked::Bytes(from, at, behind)
            });
        }
        (start, behind) = (Some(from), Some(batch.next_offset()));
        at = next;
    }
    Ok(match start {
        Some(from) => Picked::Bytes(from, at.min(buffer.len()), behind),
        None => Picked::Beyond(at),
    })
}
