//! A file of entries of one size, ascending: the active segment's in memory, others on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::TimestampMs;

use crate::error::StorageError;
use crate::files::{
    Durability, FileRef, Files, LazyFile, read_exact_at, read_whole, replace_durably,
};

/// An entry of an index file.
pub(crate) trait IndexEntry: Copy + PartialEq {
    const BYTES: usize;
    fn read(bytes: &[u8]) -> Self;
    fn write(&self, out: &mut Vec<u8>);
}

/// In `.index`: the batch that ends at this offset starts at this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// The batch's last offset, relative to the segment's base.
    pub offset: u32,
    /// Where the batch starts in the log, in bytes.
    pub position: u32,
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;

    fn read(bytes: &[u8]) -> Self {
        Self { offset: be_u32(bytes), position: be_u32(&bytes[4..]) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.offset.to_be_bytes());
        out.extend(self.position.to_be_bytes());
    }
}

/// In `.timeindex`: the largest timestamp up to here, and the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// The timestamp.
    pub timestamp: TimestampMs,
    /// The last offset of its batch, relative to the segment's base.
    pub offset: u32,
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;

    fn read(bytes: &[u8]) -> Self {
        let mut timestamp = [0; 8];
        timestamp.copy_from_slice(&bytes[..8]);
        Self { timestamp: i64::from_be_bytes(timestamp), offset: be_u32(&bytes[8..]) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.offset.to_be_bytes());
    }
}

fn be_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[derive(Debug)]
enum TableEntries<E> {
    /// More may come.
    Memory(Vec<E>, Saved),
    /// In the file, sealed.
    Disk(FileRef, usize),
}

/// What of a table's entries its file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// There is no file.
    Nothing,
    /// The first so many, and nothing else.
    First(usize),
    /// There may be a file, but it has entries that are not true. It must not be written over: a
    /// power cut would leave a mixture that looks right.
    Untrue,
}

impl Saved {
    pub(crate) fn count(self) -> usize {
        if let Self::First(count) = self { count } else { 0 }
    }
}

/// What the file of a table does not have yet.
#[derive(Debug)]
pub(crate) struct Unsaved {
    pub path: PathBuf,
    pub saved: Saved,
    /// Where `bytes` go.
    pub at: u64,
    pub bytes: Vec<u8>,
    /// How many entries there are with them.
    pub count: usize,
}

impl Unsaved {
    /// Brings the file up to date.
    pub(crate) fn write(
        &self,
        files: &dyn Files,
        durability: Durability,
    ) -> Result<(), StorageError> {
        let is_synced = durability == Durability::Synced;
        let write = || {
            let file = match self.saved {
                Saved::Untrue => return replace_durably(files, &self.path, &self.bytes),
                Saved::First(_) if self.bytes.is_empty() && !is_synced => return Ok(()),
                // Also with nothing to add: what was written while more could come is not durable.
                Saved::First(_) if self.at > 0 => files.open(&self.path)?,
                Saved::First(_) | Saved::Nothing => files.create(&self.path)?,
            };
            file.write_at(&self.bytes, self.at)?;
            if is_synced { file.sync() } else { Ok(()) }
        };
        write().map_err(StorageError::io(&self.path))
    }
}

/// The entries of an index file.
#[derive(Debug)]
pub(crate) struct IndexTable<E> {
    path: PathBuf,
    place: TableEntries<E>,
}

impl<E: IndexEntry> IndexTable<E> {
    pub(crate) const fn empty(path: PathBuf) -> Self {
        Self { path, place: TableEntries::Memory(Vec::new(), Saved::Nothing) }
    }

    /// The entries of the file, in memory; `None` if there is no file or its length is wrong.
    pub(crate) fn load(files: &dyn Files, path: &Path) -> Result<Option<Vec<E>>, StorageError> {
        let bytes = read_whole(files, path).map_err(StorageError::io(path))?;
        let Some(bytes) = bytes.filter(|bytes| bytes.len().is_multiple_of(E::BYTES)) else {
            return Ok(None);
        };
        Ok(Some(bytes.chunks_exact(E::BYTES).map(E::read).collect()))
    }

    /// The file as it lies there; `None` if there is none or its length is wrong.
    pub(crate) fn on_disk(
        files: &Arc<dyn Files>,
        path: PathBuf,
        size_bytes: Option<u64>,
    ) -> Option<Self> {
        let size = usize::try_from(size_bytes?).ok().filter(|it| it.is_multiple_of(E::BYTES))?;
        let file = LazyFile::at(files, path.clone());
        Some(Self { path, place: TableEntries::Disk(file, size / E::BYTES) })
    }

    /// Entries of which the file has some.
    pub(crate) const fn in_memory(path: PathBuf, entries: Vec<E>, saved: Saved) -> Self {
        Self { path, place: TableEntries::Memory(entries, saved) }
    }

    /// Looks what of the entries the file has.
    pub(crate) fn compare(&mut self, files: &dyn Files) -> Result<(), StorageError> {
        if let TableEntries::Memory(entries, saved) = &mut self.place {
            *saved = match Self::load(files, &self.path)? {
                Some(held) if entries.starts_with(&held) => Saved::First(held.len()),
                Some(_) => Saved::Untrue,
                None if files.exists(&self.path) => Saved::Untrue,
                None => Saved::Nothing,
            };
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        match &self.place {
            TableEntries::Memory(entries, _) => entries.len(),
            TableEntries::Disk(_, count) => *count,
        }
    }

    /// Adds an entry; only the active segment's table takes one.
    pub(crate) fn push(&mut self, entry: E) {
        if let TableEntries::Memory(entries, _) = &mut self.place {
            entries.push(entry);
        }
    }

    /// Keeps the front part of the entries for which `keep` holds, in memory.
    ///
    /// # Errors
    /// The file of a sealed table cannot be read.
    pub(crate) fn cut(
        &mut self,
        files: &dyn Files,
        keep: impl Fn(&E) -> bool,
    ) -> Result<(), StorageError> {
        if self.is_sealed() {
            let wrong = || StorageError::corrupt(&self.path, "its length is not that of an index");
            let entries = Self::load(files, &self.path)?.ok_or_else(wrong)?;
            let held = entries.len();
            self.place = TableEntries::Memory(entries, Saved::First(held));
        }
        if let TableEntries::Memory(entries, saved) = &mut self.place {
            entries.truncate(entries.partition_point(keep));
            if saved.count() > entries.len() {
                *saved = Saved::Untrue;
            }
        }
        Ok(())
    }

    pub(crate) fn at(&self, index: usize) -> Result<E, StorageError> {
        match &self.place {
            TableEntries::Memory(entries, _) => Ok(entries[index]),
            TableEntries::Disk(file, _) => {
                let mut bytes = [0; 16];
                let bytes = &mut bytes[..E::BYTES];
                let at = (index * E::BYTES) as u64;
                read_exact_at(&**file, bytes, at).map_err(StorageError::io(&self.path))?;
                Ok(E::read(bytes))
            }
        }
    }

    pub(crate) fn last(&self) -> Result<Option<E>, StorageError> {
        self.len().checked_sub(1).map(|last| self.at(last)).transpose()
    }

    /// The last entry for which `before` holds; it must hold for a front part of them.
    pub(crate) fn last_where(
        &self,
        before: impl Fn(&E) -> bool,
    ) -> Result<Option<E>, StorageError> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if before(&self.at(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).map(|last| self.at(last)).transpose()
    }

    pub(crate) const fn is_sealed(&self) -> bool {
        matches!(self.place, TableEntries::Disk(..))
    }

    /// Does the file have everything?
    pub(crate) fn is_saved(&self) -> bool {
        match &self.place {
            TableEntries::Memory(entries, saved) => *saved == Saved::First(entries.len()),
            TableEntries::Disk(..) => true,
        }
    }

    /// What the file lacks; `None` if the table is sealed.
    pub(crate) fn unsaved(&self) -> Option<Unsaved> {
        let TableEntries::Memory(entries, saved) = &self.place else { return None };
        let count = saved.count();
        let mut bytes = Vec::with_capacity((entries.len() - count) * E::BYTES);
        entries[count..].iter().for_each(|entry| entry.write(&mut bytes));
        let at = (count * E::BYTES) as u64;
        let (path, count) = (self.path.clone(), entries.len());
        Some(Unsaved { path, saved: *saved, at, bytes, count })
    }

    /// The file has what was unsaved then.
    pub(crate) fn saved(&mut self, unsaved: &Unsaved) {
        if let TableEntries::Memory(_, saved) = &mut self.place {
            *saved = Saved::First(unsaved.count);
        }
    }

    /// The file has everything.
    pub(crate) fn all_saved(&mut self) {
        if let TableEntries::Memory(entries, saved) = &mut self.place {
            *saved = Saved::First(entries.len());
        }
    }

    /// All of it is in the file and nothing more comes: memory need not hold it.
    pub(crate) fn seal(&mut self, files: &Arc<dyn Files>) {
        if let TableEntries::Memory(entries, saved) = &self.place
            && *saved == Saved::First(entries.len())
        {
            let count = entries.len();
            self.place = TableEntries::Disk(LazyFile::at(files, self.path.clone()), count);
        }
    }
}
