//! Cutting a log off, beside its writer.
//!
//! A truncation is begun and ended under the writer's lock, in no time; between, it runs wherever
//! it may wait for the disk. Meanwhile the log accepts no appends, and its readers see it as it
//! was: where they ask for what has gone already, they find nothing.
//!
//! A file that was cut is not appended to: the log goes on in a new segment, in a new file. So a
//! reader that has looked up a place in a file before never finds other records there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_types::{LeaderEpoch, Offset};

use crate::epochs::Epochs;
use crate::error::StorageError;
use crate::files::{Files, remove_if_there};
use crate::folder::{FolderListing, remove_segment, remove_snapshot, segment_file, segment_files};
use crate::log::Log;
use crate::producers::Producers;
use crate::recovery::{Segments, load_producers};
use crate::segment::{Segment, SegmentKind};

/// A segment's file before it gets its name. A start removes it.
const UNNAMED_SEGMENT: &str = "first-segment.tmp";

/// A log that is cut off.
///
/// While it is at work, no [`crate::Flush`], [`crate::Retired::mark`] or [`crate::Swap::finish`] of
/// the same log may run: the caller must see to that.
#[derive(Debug)]
pub struct Truncation {
    files: Arc<dyn Files>,
    folder: PathBuf,
    segments: Arc<Vec<Arc<Segment>>>,
    goal: TruncationGoal,
    epochs: Epochs,
    /// Up to where the log was durable before, and where its recovery point was.
    durable: Offset,
    recovery_point: Offset,
}

#[derive(Clone, Copy, Debug)]
enum TruncationGoal {
    /// What lies from this offset on goes.
    EndAt(Offset),
    /// Everything goes, and the log starts and ends here.
    StartAt(Offset),
}

/// What a truncation has left of a log.
#[derive(Debug)]
pub struct TruncatedLog {
    segments: Vec<Arc<Segment>>,
    end: Offset,
    epochs: Epochs,
    producers: Producers,
    snapshot: Option<Offset>,
}

/// What stays of a log that is cut.
#[derive(Clone, Copy, Debug)]
struct TruncationCut {
    /// How many segments; the last of them has at least one batch that stays.
    segments: usize,
    /// How many bytes of the last of them.
    position: u64,
    /// Where the last batch that stays ends.
    batches_end: Offset,
    /// Where the log ends: behind `batches_end` if offsets are missing there.
    end: Offset,
}

impl Log {
    /// Begins to cut off everything from `offset` on. `None` if the log ends before: then only
    /// epochs that have no record yet are forgotten.
    ///
    /// From now on until [`Log::end_truncation`] the log accepts no appends, and
    /// [`Log::recovery_point`] is one that holds whatever happens. It must be written down before
    /// the end: a start after a power cut would believe what was cut off. An epoch that begins
    /// meanwhile is assigned after the end, as the log's end is known only then.
    ///
    /// The log is cut before the batch that holds `offset`. If none does, the log ends at `offset`.
    /// If `offset` lies below all segments, this is [`Log::begin_reset`].
    ///
    /// # Errors
    /// An earlier write failed, a truncation is at work, or the offset is negative.
    pub fn begin_truncation(&mut self, offset: Offset) -> Result<Option<Truncation>, StorageError> {
        self.check_truncation(offset)?;
        let end = self.log_end();
        if offset >= end {
            // As in Kafka: a leader that was elected and has appended nothing leaves an epoch that
            // is not its successor's.
            self.shared.epochs.write().truncate_end(end);
            return Ok(None);
        }
        let first = self.shared.segments.load()[0].base;
        let goal = match offset < first {
            true => TruncationGoal::StartAt(offset),
            false => TruncationGoal::EndAt(offset),
        };
        Ok(Some(self.begin(goal)))
    }

    /// Begins to throw everything away: the log then starts and ends at `offset`, and knows no
    /// epochs and no producers. What is said at [`Log::begin_truncation`] holds here too.
    ///
    /// # Errors
    /// An earlier write failed, a truncation is at work, or the offset is negative.
    pub fn begin_reset(&mut self, offset: Offset) -> Result<Truncation, StorageError> {
        self.check_truncation(offset)?;
        Ok(self.begin(TruncationGoal::StartAt(offset)))
    }

    fn check_truncation(&self, offset: Offset) -> Result<(), StorageError> {
        self.check_writable()?;
        if offset < 0 { Err(StorageError::NegativeOffset(offset)) } else { Ok(()) }
    }

    fn begin(&mut self, goal: TruncationGoal) -> Truncation {
        let segments = self.shared.segments.load_full();
        let truncation = Truncation {
            files: Arc::clone(&self.files),
            folder: self.folder.clone(),
            goal,
            epochs: self.shared.epochs.read().clone(),
            durable: self.durable,
            recovery_point: self.recovery_point,
            segments,
        };
        // Where the last batch that stays ends is not known yet; no batch reaches across segments.
        let safe = truncation.safe_point();
        self.recovery_point = self.recovery_point.min(safe);
        self.durable = self.durable.min(safe);
        self.truncating = true;
        self.truncations += 1;
        truncation
    }

    /// Ends a truncation that was run: readers see what it has left. Returns where the log ends.
    ///
    /// # Errors
    /// Those of the run: what is on the disk is unknown then, so the log accepts no more appends.
    pub fn end_truncation(
        &mut self,
        truncation: Truncation,
        done: Result<TruncatedLog, StorageError>,
    ) -> Result<Offset, StorageError> {
        self.truncating = false;
        // What was begun meanwhile is void, too.
        self.truncations += 1;
        let left = match done {
            Ok(left) => left,
            Err(error) => {
                self.failed = true;
                return Err(error);
            }
        };
        let TruncatedLog { segments, end, epochs, producers, snapshot } = left;
        self.producers = producers;
        self.snapshot = snapshot;
        self.former_snapshot = self.former_snapshot.filter(|at| Some(*at) < snapshot);
        let base = segments.last().map_or(end, |last| last.base);
        self.snapshots_due.retain(|(at, _)| *at <= base);
        if segments.len() > 1 && snapshot != Some(base) {
            // As of the end of the segment that was cut, which is closed now.
            self.snapshots_due.retain(|(at, _)| *at < base);
            self.snapshots_due.push((base, self.producers.clone()));
        }
        *self.shared.epochs.write() = epochs;
        let is_reset = matches!(truncation.goal, TruncationGoal::StartAt(_));
        if is_reset {
            self.snapshots_due.clear();
        }
        self.shared.segments.store(Arc::new(segments));
        // A batch goes as a whole, also one in which the log was made to start.
        self.shared.log_start.fetch_min(end, Ordering::AcqRel);
        self.shared.log_end.store(end, Ordering::Release);
        let durable = if is_reset {
            self.shared.log_start.store(end, Ordering::Release);
            self.flushed_bytes = self.written_bytes;
            end
        } else {
            truncation.recovery_point.min(base)
        };
        self.recovery_point = durable;
        self.durable = if is_reset { end } else { truncation.durable.min(base) };
        Ok(end)
    }

    /// Cuts everything from `offset` on off, as [`Log::begin_truncation`] says, and waits for the
    /// disk. The recovery point that is written down must be no higher before this is called.
    ///
    /// # Errors
    /// The disk fails; the log takes no more then.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), StorageError> {
        let Some(truncation) = self.begin_truncation(offset)? else { return Ok(()) };
        let done = truncation.run();
        self.end_truncation(truncation, done).map(|_| ())
    }

    /// Throws everything away, as [`Log::begin_reset`] says, and waits for the disk: the log starts
    /// and ends at `offset` from now on, behind a record of `epoch` that it does not have. For a
    /// log that a snapshot takes the place of.
    ///
    /// # Errors
    /// The disk fails; the log takes no more then.
    pub fn reset_to(&mut self, offset: Offset, epoch: LeaderEpoch) -> Result<(), StorageError> {
        let truncation = self.begin_reset(offset)?;
        let done = truncation.run();
        self.end_truncation(truncation, done)?;
        self.assign_epoch(epoch, offset);
        Ok(())
    }
}

impl Truncation {
    /// Everything below is there and as durable as before, wherever the run is ended by a crash.
    fn safe_point(&self) -> Offset {
        let mut bases = self.segments.iter().map(|segment| segment.base);
        match self.goal {
            TruncationGoal::EndAt(offset) => bases.rev().find(|base| *base < offset),
            TruncationGoal::StartAt(offset) => bases.next().map(|first| first.min(offset)),
        }
        .unwrap_or(0)
    }

    /// Runs the truncation. This takes as long as the disk does; when it has returned, what was cut
    /// off does not come back.
    ///
    /// # Errors
    /// The disk fails, or a batch that stays is broken. A start finds a front part of the log.
    pub fn run(&self) -> Result<TruncatedLog, StorageError> {
        let mut left = match self.goal {
            TruncationGoal::EndAt(offset) => self.end_at(offset)?,
            TruncationGoal::StartAt(offset) => self.start_at(offset)?,
        };
        // Last: what a start finds of the log has its epochs in any case.
        if let Some(epochs) = left.epochs.take_changed() {
            epochs.write(&*self.files, &self.folder)?;
            self.sync_folder()?;
        }
        Ok(left)
    }

    fn end_at(&self, offset: Offset) -> Result<TruncatedLog, StorageError> {
        let cut = self.find_cut(offset)?;
        self.drop_snapshots_behind(cut.end)?;
        let (kept, gone) = self.segments.split_at(cut.segments);
        let mut segments = kept.to_vec();
        let Some(last) = kept.last() else {
            let first = self.segments[0].base;
            self.remove_all_but_one()?;
            segments.push(Arc::new(self.replace_segment(first)?));
            return self.left(segments, cut.end);
        };
        self.remove_segments(gone)?;
        if cut.position < last.size() {
            last.cut(&*self.files, cut.position, cut.batches_end)?;
        }
        let mut left = self.left(segments, cut.end)?;
        if !last.is_sealed() {
            last.file.sync().map_err(last.io())?;
            last.state_mut().add_time(last.base);
            last.save_indexes(&self.files, SegmentKind::Closed)?;
        }
        let fresh = Segment::create(&*self.files, &self.folder, cut.batches_end)?;
        self.sync_folder()?;
        left.segments.push(Arc::new(fresh));
        Ok(left)
    }

    /// What there is to know of the log that ends at `end`.
    fn left(&self, segments: Vec<Arc<Segment>>, end: Offset) -> Result<TruncatedLog, StorageError> {
        let mut epochs = self.epochs.clone();
        epochs.truncate_end(end);
        let snapshots = FolderListing::read(&*self.files, &self.folder)?.snapshot_offsets();
        let all = Segments { all: &segments, end };
        let (producers, snapshot) = load_producers(&*self.files, &self.folder, &snapshots, all)?;
        Ok(TruncatedLog { segments, end, epochs, producers, snapshot })
    }

    /// Where the log is cut, so that no batch stays that holds `offset` or comes after it.
    fn find_cut(&self, offset: Offset) -> Result<TruncationCut, StorageError> {
        let mut end = offset;
        for (at, segment) in self.segments.iter().enumerate().rev() {
            if segment.base >= offset {
                continue;
            }
            let mut scan = segment.scan(segment.look_up(offset - 1)?);
            let mut kept = None;
            while let Some((position, batch)) = scan.next()? {
                if batch.last_offset() >= offset {
                    end = end.min(batch.base_offset());
                    break;
                }
                kept = Some((position + batch.size() as u64, batch.next_offset()));
            }
            if let Some((position, batches_end)) = kept {
                return Ok(TruncationCut { segments: at + 1, position, batches_end, end });
            }
        }
        let first = self.segments[0].base;
        Ok(TruncationCut { segments: 0, position: 0, batches_end: first, end: end.max(first) })
    }

    fn start_at(&self, offset: Offset) -> Result<TruncatedLog, StorageError> {
        self.drop_snapshots_behind(-1)?;
        let fresh = match self.remove_all_but_one()? {
            Some(first) if first == offset => self.replace_segment(offset)?,
            first => {
                if let Some(first) = first {
                    self.empty_segment(first)?;
                }
                // Before the last of the old ones goes: a log without any segment would begin at 0
                // again.
                let fresh = Segment::create(&*self.files, &self.folder, offset)?;
                self.sync_folder()?;
                if let Some(first) = first {
                    remove_segment(&*self.files, &self.folder, first)?;
                    self.sync_folder()?;
                }
                fresh
            }
        };
        let mut epochs = self.epochs.clone();
        epochs.clear();
        Ok(TruncatedLog {
            segments: vec![Arc::new(fresh)],
            end: offset,
            epochs,
            producers: Producers::default(),
            snapshot: None,
        })
    }

    /// Removes segments, the last first: what a crash leaves is a front part of the log.
    fn remove_segments(&self, gone: &[Arc<Segment>]) -> Result<(), StorageError> {
        for segment in gone.iter().rev() {
            self.let_readers_go(segment)?;
            remove_segment(&*self.files, &self.folder, segment.base)?;
        }
        // Or a power cut brings them back beside what takes their offsets.
        self.sync_folder()
    }

    /// Readers of the segment find nothing more in it.
    fn let_readers_go(&self, segment: &Segment) -> Result<(), StorageError> {
        if !segment.is_sealed() {
            // A sync that has begun must find the file, though its name goes.
            segment.file.ready().map_err(segment.io())?;
        }
        segment.publish(0);
        Ok(())
    }

    /// Removes all segments but the first, and says where that begins.
    fn remove_all_but_one(&self) -> Result<Option<Offset>, StorageError> {
        self.segments.iter().try_for_each(|segment| self.let_readers_go(segment))?;
        let bases = FolderListing::read(&*self.files, &self.folder)?.segment_bases();
        let Some((first, others)) = bases.split_first() else { return Ok(None) };
        for base in others.iter().rev() {
            remove_segment(&*self.files, &self.folder, *base)?;
        }
        self.sync_folder()?;
        Ok(Some(*first))
    }

    /// Removes the records of a segment, for good.
    fn empty_segment(&self, base: Offset) -> Result<(), StorageError> {
        let path = segment_file(&self.folder, base, "log");
        let empty = || {
            let file = self.files.open(&path)?;
            file.truncate(0)?;
            file.sync()
        };
        empty().map_err(StorageError::io(&path))
    }

    /// Puts an empty segment in the place of one that begins at the same offset. Readers keep the
    /// file that they have.
    fn replace_segment(&self, base: Offset) -> Result<Segment, StorageError> {
        let [log, indexes @ ..] = segment_files(&self.folder, base);
        for path in indexes {
            remove_if_there(&*self.files, &path).map_err(StorageError::io(&path))?;
        }
        let aside = self.folder.join(UNNAMED_SEGMENT);
        let replace = || {
            let file = self.files.create(&aside)?;
            self.files.rename(&aside, &log)?;
            Ok(file)
        };
        let file = replace().map_err(StorageError::io(&log))?;
        self.sync_folder()?;
        Ok(Segment::of(&self.folder, base, file))
    }

    /// Removes the snapshots of producers as of later offsets.
    fn drop_snapshots_behind(&self, offset: Offset) -> Result<(), StorageError> {
        let listing = FolderListing::read(&*self.files, &self.folder)?;
        for at in listing.snapshot_offsets().into_iter().filter(|at| *at > offset) {
            remove_snapshot(&*self.files, &self.folder, at)?;
        }
        Ok(())
    }

    fn sync_folder(&self) -> Result<(), StorageError> {
        self.files.sync_dir(&self.folder).map_err(StorageError::io(&self.folder))
    }
}
