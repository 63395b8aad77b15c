//! What a follower appends: batches as their leader wrote them, offsets and all.
//!
//! All batches of a partition in one fetch response are checked in one pass ([`FetchedBatches`],
//! for which no log is needed) and go to the disk in one write for each segment. Offsets may be
//! missing between them, as compaction leaves it. What a producer may do was for the leader to
//! judge; a follower takes over what came of it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_records::{BadBatch, Batch, batches_in};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, TimestampMs};

use crate::append::AppendError;
use crate::error::StorageError;
use crate::files::remove_if_there;
use crate::folder::segment_files;
use crate::log::{Log, PendingBatches};
use crate::segment::Segment;

/// Why fetched bytes are not appended, none of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchedError {
    /// Something is no batch.
    #[error("the fetched records have no batch at byte {position}: {why}")]
    Broken {
        /// Where it stands in the fetched bytes.
        position: usize,
        /// What is wrong.
        why: BadBatch,
    },
    /// The checksum of a batch is wrong.
    #[error("the checksum of the fetched batch at offset {offset} does not match its bytes")]
    Checksum {
        /// The batch's first offset.
        offset: Offset,
    },
    /// A batch without a leader's epoch.
    #[error("the fetched batch at offset {offset} has leader epoch {epoch}")]
    Epoch {
        /// The batch's first offset.
        offset: Offset,
        /// What stands in its header.
        epoch: LeaderEpoch,
    },
    /// Offsets do not ascend.
    #[error("the fetched batch at offset {offset} comes after offset {last}")]
    Disorder {
        /// The batch's first offset.
        offset: Offset,
        /// The last offset of the batch before it.
        last: Offset,
    },
}

impl FetchedError {
    /// What Kafka calls it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Broken { .. } | Self::Checksum { .. } => ErrorCode::CORRUPT_MESSAGE,
            Self::Epoch { .. } | Self::Disorder { .. } => ErrorCode::INVALID_RECORD,
        }
    }
}

/// The batches of one partition in a fetch response, checked: their frames, checksums, epochs and
/// the order of their offsets.
#[derive(Clone, Copy, Debug)]
pub struct FetchedBatches<'a> {
    bytes: &'a [u8],
    summary: FetchedSummary,
}

/// What fetched batches come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchedSummary {
    /// How many batches there are to append.
    pub batches: usize,
    /// The first and the last offset of the first of them; -1 if there is none.
    pub first: (Offset, Offset),
    /// The last offset of the last of them; -1 if there is none.
    pub last_offset: Offset,
    /// The largest timestamp; -1 if there is none.
    pub max_timestamp: TimestampMs,
    /// How many batches were left out, the rest of the response from the first on whose leader
    /// epoch is larger than the follower's (KAFKA-18723). Their checksums were not looked at.
    pub later_epoch_batches: usize,
    /// How many bytes at the end were left out because they are not a whole batch: responses are
    /// cut off at a number of bytes.
    pub incomplete_bytes: usize,
}

impl<'a> FetchedBatches<'a> {
    /// Checks what a follower in `leader_epoch` has fetched. Nothing is allocated, whatever the
    /// lengths in the bytes say.
    ///
    /// # Errors
    /// A batch is broken, or stands where it cannot: then none of the bytes is believed.
    pub fn check(records: &'a [u8], leader_epoch: LeaderEpoch) -> Result<Self, FetchedError> {
        let mut summary = FetchedSummary {
            batches: 0,
            first: (-1, -1),
            last_offset: -1,
            max_timestamp: -1,
            later_epoch_batches: 0,
            incomplete_bytes: 0,
        };
        let mut all = batches_in(records);
        let mut position = 0;
        while let Some(next) = all.next() {
            let batch = match next {
                Ok(batch) => batch,
                Err(BadBatch::Truncated { .. }) => {
                    summary.incomplete_bytes = records.len() - position;
                    break;
                }
                Err(why) => return Err(FetchedError::Broken { position, why }),
            };
            if batch.leader_epoch() > leader_epoch {
                summary.later_epoch_batches = 1 + all.map_while(Result::ok).count();
                break;
            }
            summary.take_in(&batch)?;
            position = all.position();
        }
        Ok(Self { bytes: &records[..position], summary })
    }

    /// The batches to append.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What they come to.
    #[must_use]
    pub const fn summary(&self) -> FetchedSummary {
        self.summary
    }
}

impl FetchedSummary {
    fn take_in(&mut self, batch: &Batch<'_>) -> Result<(), FetchedError> {
        let (offset, last) = (batch.base_offset(), self.last_offset);
        if offset <= last {
            return Err(FetchedError::Disorder { offset, last });
        }
        if batch.leader_epoch() < 0 {
            return Err(FetchedError::Epoch { offset, epoch: batch.leader_epoch() });
        }
        if !batch.crc_is_right() {
            return Err(FetchedError::Checksum { offset });
        }
        if self.batches == 0 {
            self.first = (offset, batch.last_offset());
        }
        self.batches += 1;
        self.last_offset = batch.last_offset();
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp());
        Ok(())
    }
}

/// What a follower has appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerAppended {
    /// The first offset; the log's end if there was nothing to append.
    pub first_offset: Offset,
    /// The last offset; the one before the log's end if there was nothing to append.
    pub last_offset: Offset,
    /// Where the log ends now.
    pub end: Offset,
    /// The largest timestamp; -1 if there was nothing to append.
    pub max_timestamp: TimestampMs,
    /// How many bytes were written.
    pub bytes: u64,
}

/// Batches that go into the active segment in one write.
#[derive(Debug)]
struct FetchedRun {
    /// Where they stand in the fetched bytes.
    range: Range<usize>,
    pending: PendingBatches,
    /// How many bytes the segment will have behind its last index entry.
    since_entry: u64,
}

impl Log {
    /// Appends batches as a leader wrote them: one write for each segment that they go into. Where
    /// a segment ends is decided as for a leader.
    ///
    /// Offsets may be missing before and between the batches. The first batch must not begin below
    /// the log's end, but for one case: if the log has no records, the batch may hold the offset
    /// where it starts. So it is where the leader's log starts within a batch (DeleteRecords). The
    /// log's start stays where it is.
    ///
    /// # Errors
    /// The batches begin below the log's end: then nothing was written. Or the disk fails: then
    /// what went into earlier segments is there, and the log's end says up to where.
    pub fn append_as_follower(
        &mut self,
        fetched: &FetchedBatches<'_>,
        now_ms: TimestampMs,
    ) -> Result<FollowerAppended, AppendError> {
        self.check_writable()?;
        let FetchedSummary { batches, first, max_timestamp, .. } = fetched.summary;
        let mut appended = FollowerAppended {
            first_offset: self.log_end(),
            last_offset: self.log_end() - 1,
            end: self.log_end(),
            max_timestamp,
            bytes: 0,
        };
        if batches == 0 {
            return Ok(appended);
        }
        self.begin_at(first.0, first.1)?;
        self.write_fetched(fetched.bytes, now_ms)?;
        // A batch that begins below the log's start must not bring its epoch there.
        let log_start = self.log_start();
        if first.0 < log_start {
            self.shared.epochs.write().truncate_start(log_start);
        }
        appended.first_offset = first.0;
        appended.last_offset = fetched.summary.last_offset;
        appended.end = self.log_end();
        appended.bytes = fetched.bytes.len() as u64;
        Ok(appended)
    }

    /// Makes sure that a batch with these first and last offsets can come next.
    fn begin_at(&mut self, first: Offset, last: Offset) -> Result<(), AppendError> {
        let end = self.log_end();
        if first >= end {
            return Ok(());
        }
        let has_one_segment = self.shared.segments.load().len() == 1;
        let has_nothing = self.log_start() == end && has_one_segment && self.active().size() == 0;
        if last < end || !has_nothing {
            return Err(AppendError::BehindEnd { first, last, end });
        }
        Ok(self.move_empty_segment(first)?)
    }

    /// Lets the active segment, which is empty, begin at `base`.
    fn move_empty_segment(&mut self, base: Offset) -> Result<(), StorageError> {
        let active = self.active();
        active.file.ready().map_err(active.io())?;
        let moved = Segment::of(&self.folder, base, Arc::clone(&active.file));
        self.files.rename(&active.path, &moved.path).map_err(active.io())?;
        let [_, indexes @ ..] = segment_files(&self.folder, active.base);
        for path in indexes {
            remove_if_there(&*self.files, &path).map_err(StorageError::io(&path))?;
        }
        moved.reserved.store(active.reserved.load(Ordering::Acquire), Ordering::Release);
        let mut segments = Vec::clone(&self.shared.segments.load());
        segments.pop();
        segments.push(Arc::new(moved));
        self.shared.segments.store(Arc::new(segments));
        // What is being made durable now has the old name; the next flush brings the new one to
        // the disk before anything in it counts as durable.
        self.truncations += 1;
        self.recovery_point = self.recovery_point.min(base);
        self.durable = self.durable.min(base);
        Ok(())
    }

    /// Writes batches that were checked, segment by segment.
    fn write_fetched(&mut self, bytes: &[u8], now_ms: TimestampMs) -> Result<(), StorageError> {
        let interval = self.options.index_interval_bytes;
        let mut run = self.begin_run(0);
        for batch in batches_in(bytes) {
            let batch = batch?;
            if self.is_full(&batch, run.pending, now_ms) {
                self.write_run(&bytes[run.range.clone()], now_ms)?;
                self.roll_for(&batch)?;
                run = self.begin_run(run.range.end);
            }
            run.take_in(&batch, interval);
        }
        self.write_run(&bytes[run.range], now_ms)
    }

    fn begin_run(&self, position: usize) -> FetchedRun {
        let segment = self.active();
        let since_entry = segment.state().since_entry;
        FetchedRun { range: position..position, pending: PendingBatches::default(), since_entry }
    }

    /// Begins a segment for the batch.
    fn roll_for(&mut self, batch: &Batch<'_>) -> Result<(), StorageError> {
        let end = self.log_end();
        if batch.last_offset() - end <= Offset::from(i32::MAX) {
            return self.roll_at(end);
        }
        // So many offsets are missing that no index entry could name the batch, were the segment
        // to begin at the log's end.
        let base = batch.base_offset();
        if self.active().size() == 0 {
            self.move_empty_segment(base)?;
        } else {
            self.roll_at(base)?;
        }
        self.shared.log_end.store(base, Ordering::Release);
        Ok(())
    }

    /// Writes batches into the active segment, which has room for them, in one call.
    fn write_run(&mut self, bytes: &[u8], now_ms: TimestampMs) -> Result<(), StorageError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.assign_epochs(bytes)?;
        let segment = self.active();
        self.put(&segment, |at| segment.file.write_at(bytes, at))?;
        let (mut at, mut end) = (segment.size(), self.log_end());
        for batch in batches_in(bytes) {
            let batch = batch?;
            let aborted = self.producers.appended(&batch);
            segment.take_in(at, &batch, aborted, self.options.index_interval_bytes);
            at += batch.size() as u64;
            end = batch.next_offset();
        }
        self.publish(&segment, at, end, now_ms);
        Ok(())
    }

    fn assign_epochs(&self, bytes: &[u8]) -> Result<(), StorageError> {
        let mut epochs = self.shared.epochs.write();
        for batch in batches_in(bytes) {
            let batch = batch?;
            epochs.assign(batch.leader_epoch(), batch.base_offset());
        }
        Ok(())
    }
}

impl FetchedRun {
    /// Counts a batch in, as [`crate::segment::SegmentState::add`] will.
    fn take_in(&mut self, batch: &Batch<'_>, index_interval_bytes: u64) {
        if self.since_entry > index_interval_bytes {
            self.pending.index_entries += 1;
            self.since_entry = 0;
        }
        self.since_entry += batch.size() as u64;
        self.range.end += batch.size();
        self.pending.bytes += batch.size() as u64;
        self.pending.first_timestamp.get_or_insert(batch.max_timestamp());
    }
}
