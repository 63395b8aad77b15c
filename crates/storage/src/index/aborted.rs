//! `.txnindex`: the aborted transactions whose markers lie in the segment (KIP-98).

use std::path::{Path, PathBuf};

use ottla_types::{Offset, ProducerId};

use crate::error::StorageError;
use crate::files::{Files, read_whole};
use crate::index::table::{Saved, Unsaved};

const BYTES: usize = 34;

/// The version, and four numbers.
const _: () = assert!(BYTES == 2 + 4 * 8);

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first offset.
    pub first_offset: Offset,
    /// The offset of its marker.
    pub last_offset: Offset,
    /// The last stable offset after the marker.
    pub last_stable: Offset,
}

impl AbortedTransaction {
    fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            let mut value = [0; 8];
            value.copy_from_slice(&bytes[at..at + 8]);
            i64::from_be_bytes(value)
        };
        Self {
            producer_id: number(2),
            first_offset: number(10),
            last_offset: number(18),
            last_stable: number(26),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend([0, 0]);
        for number in [self.producer_id, self.first_offset, self.last_offset, self.last_stable] {
            out.extend(number.to_be_bytes());
        }
    }
}

/// The aborted transactions of one segment. They are few: all of them stay in memory.
#[derive(Debug)]
pub(crate) struct AbortedIndex {
    path: PathBuf,
    all: Vec<AbortedTransaction>,
    saved: Saved,
    /// Is what is saved on the disk, as far as this process knows?
    is_durable: bool,
}

impl AbortedIndex {
    pub(crate) const fn empty(path: PathBuf) -> Self {
        Self { path, all: Vec::new(), saved: Saved::First(0), is_durable: true }
    }

    /// The entries of the file; an empty one if there is none.
    pub(crate) fn read(files: &dyn Files, path: &Path) -> Result<Self, StorageError> {
        let bytes = read_whole(files, path).map_err(StorageError::io(path))?.unwrap_or_default();
        let all: Vec<_> = bytes.chunks_exact(BYTES).map(AbortedTransaction::read).collect();
        // Half an entry is what a crash leaves: the file is rewritten then.
        let is_whole = bytes.len().is_multiple_of(BYTES);
        let saved = if is_whole { Saved::First(all.len()) } else { Saved::Untrue };
        Ok(Self { path: path.to_owned(), saved, all, is_durable: false })
    }

    pub(crate) fn push(&mut self, aborted: AbortedTransaction) {
        self.all.push(aborted);
    }

    pub(crate) fn all(&self) -> &[AbortedTransaction] {
        &self.all
    }

    /// Does the file have everything?
    pub(crate) fn is_saved(&self) -> bool {
        self.saved == Saved::First(self.all.len())
    }

    /// What the file lacks; `None` if it lacks nothing, or there is no need of one.
    pub(crate) fn unsaved(&self) -> Option<Unsaved> {
        if self.is_saved() && (self.is_durable || self.all.is_empty()) {
            return None;
        }
        let count = self.saved.count();
        let mut bytes = Vec::with_capacity((self.all.len() - count) * BYTES);
        self.all[count..].iter().for_each(|aborted| aborted.write(&mut bytes));
        let at = (count * BYTES) as u64;
        let (path, count) = (self.path.clone(), self.all.len());
        Some(Unsaved { path, saved: self.saved, at, bytes, count })
    }

    /// The file has what was unsaved then.
    pub(crate) fn saved(&mut self, unsaved: &Unsaved) {
        self.saved = Saved::First(unsaved.count);
        self.is_durable = true;
    }

    /// The file has everything.
    pub(crate) fn all_saved(&mut self) {
        self.saved = Saved::First(self.all.len());
        self.is_durable = true;
    }

    /// From `offset` on these were aborted, and no others.
    ///
    /// An example: the file says that a transaction was aborted by the marker at 25, but a crash
    /// has taken that marker, and other records have its offset now. Replayed from the snapshot at
    /// 20, the batches name no marker: `set_from(20, [])`.
    pub(crate) fn set_from(&mut self, offset: Offset, found: Vec<AbortedTransaction>) {
        let kept = self.all.partition_point(|it| it.last_offset < offset);
        if !found.starts_with(&self.all[kept..]) {
            self.truncate(offset);
        }
        let held = self.all.len() - kept;
        self.all.extend_from_slice(&found[held.min(found.len())..]);
    }

    /// Forgets what was aborted from `end` on; the file is rewritten when it is next saved.
    pub(crate) fn truncate(&mut self, end: Offset) {
        let kept = self.all.partition_point(|it| it.last_offset < end);
        if kept < self.all.len() {
            self.all.truncate(kept);
            self.saved = Saved::Untrue;
        }
    }
}
