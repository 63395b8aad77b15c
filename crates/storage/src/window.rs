//! The part of a log that is kept in the system's cache, and what lies outside it.
//!
//! Appended records stay in the page cache for consumers, up to a window; what lies behind
//! it goes to the disk early and leaves the cache, so that neither the kernel's write-back limit
//! nor its memory is ever reached by a log that is written fast. Reads of what has left are for a
//! thread that may wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_types::Offset;

use crate::error::StorageError;
use crate::segment::Segment;
use crate::view::LogView;

/// How much of what was let go before is let go once more.
const AGAIN_BYTES: u64 = 128 << 20;
/// The write-back of an active segment stays behind its end, at a multiple of this: the kernel
/// locks what it writes, in pieces of up to 2 MB, and an append to the last of them would wait for
/// the disk's queue.
const TAIL_BYTES: u64 = 4 << 20;
/// How much is read at once from the disk.
const BITE_BYTES: usize = 1 << 20;

const _: () = assert!(TAIL_BYTES < AGAIN_BYTES && TAIL_BYTES.is_power_of_two());

impl LogView {
    /// Starts the write-back of what was appended, but for the tail, and lets go of what lies more
    /// than `window_bytes` behind the end.
    pub fn trim_cache(&self, window_bytes: u64) {
        let segments = self.shared.segments.load_full();
        let mut behind = 0;
        for (age, segment) in segments.iter().rev().enumerate() {
            let size = segment.size();
            // What of it is within the window.
            let kept = window_bytes.saturating_sub(behind).min(size);
            let before = segment.let_go.load(Ordering::Acquire);
            let is_active = age == 0;
            let calm = if is_active { size - size % TAIL_BYTES } else { size };
            let started = segment.started.fetch_max(calm, Ordering::AcqRel);
            if started < calm {
                segment.file.let_go(started..calm);
            }
            if before < size - kept {
                // What was still on its way to the disk the last time could not be dropped.
                let again = before.saturating_sub(AGAIN_BYTES);
                segment.file.let_go(again..size - kept);
                segment.let_go.store(size - kept, Ordering::Release);
            }
            if before == size && size > 0 {
                break;
            }
            behind += size;
        }
    }

    /// Must the disk be waited for to read from `offset` on?
    #[must_use]
    pub fn is_cold(&self, offset: Offset, bytes: usize) -> bool {
        if offset >= self.log_end() {
            return false;
        }
        let Some((segment, position)) = self.place(offset) else { return false };
        if position >= segment.let_go.load(Ordering::Acquire) {
            return false;
        }
        let end = (position + bytes as u64).min(segment.size());
        !segment.file.is_cached(position..end)
    }

    /// Brings what lies from `offset` on into the cache, and lets go of what was brought there
    /// long ago.
    ///
    /// # Errors
    /// The disk fails.
    pub fn warm(&self, offset: Offset, bytes: usize) -> Result<(), StorageError> {
        let Some((segment, position)) = self.place(offset) else { return Ok(()) };
        let end = position.saturating_add(bytes as u64).min(segment.size());
        let mut scratch = Vec::new();
        let mut at = position;
        while at < end {
            let more = usize::try_from(end - at).unwrap_or(BITE_BYTES).min(BITE_BYTES);
            scratch.clear();
            segment.file.read_into(&mut scratch, at, more).map_err(segment.io())?;
            at += more as u64;
        }
        for old in segment.warmed(position..end) {
            segment.file.let_go(old);
        }
        Ok(())
    }

    fn place(&self, offset: Offset) -> Option<(Arc<Segment>, u64)> {
        let segments = self.shared.segments.load();
        let behind = segments.partition_point(|segment| segment.base <= offset);
        let segment = segments.get(behind.checked_sub(1)?)?;
        let position = segment.look_up(offset).ok()?;
        Some((Arc::clone(segment), position))
    }
}
