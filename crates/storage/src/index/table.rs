//! A file of entries of one size, ascending: the active segment's in memory, others on the disk.

use std::io;
use std::path::{Path, PathBuf};

use ottla_types::TimestampMs;

use crate::error::StorageError;
use crate::files::{FileRef, Files, read_exact_at, read_whole};

/// An entry of an index file.
pub(crate) trait Entry: Copy {
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

impl Entry for OffsetEntry {
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

impl Entry for TimeEntry {
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
enum Place<E> {
    /// Not yet all in the file.
    Memory(Vec<E>),
    /// In the file, sealed.
    Disk(FileRef, usize),
}

/// The entries of an index file.
#[derive(Debug)]
pub(crate) struct Table<E> {
    path: PathBuf,
    place: Place<E>,
}

impl<E: Entry> Table<E> {
    pub(crate) const fn empty(path: PathBuf) -> Self {
        Self { path, place: Place::Memory(Vec::new()) }
    }

    /// The entries of the file, in memory, without the zeros that a crash may leave behind them;
    /// `None` if there is no file or its length is wrong.
    pub(crate) fn load(files: &dyn Files, path: &Path) -> Result<Option<Vec<E>>, StorageError> {
        let bytes = read_whole(files, path).map_err(StorageError::io(path))?;
        let Some(bytes) = bytes.filter(|bytes| bytes.len().is_multiple_of(E::BYTES)) else {
            return Ok(None);
        };
        Ok(Some(bytes.chunks_exact(E::BYTES).map(E::read).collect()))
    }

    /// The file as it lies there; `None` if there is none or its length is wrong.
    pub(crate) fn on_disk(files: &dyn Files, path: PathBuf) -> Result<Option<Self>, StorageError> {
        let file = match files.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io(&path)(error)),
        };
        let size = file.size().map_err(StorageError::io(&path))?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !size.is_multiple_of(E::BYTES) {
            return Ok(None);
        }
        Ok(Some(Self { path, place: Place::Disk(file, size / E::BYTES) }))
    }

    pub(crate) const fn in_memory(path: PathBuf, entries: Vec<E>) -> Self {
        Self { path, place: Place::Memory(entries) }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.place {
            Place::Memory(entries) => entries.len(),
            Place::Disk(_, count) => *count,
        }
    }

    /// Adds an entry; only the active segment's table takes one.
    pub(crate) fn push(&mut self, entry: E) {
        if let Place::Memory(entries) = &mut self.place {
            entries.push(entry);
        }
    }

    pub(crate) fn at(&self, index: usize) -> Result<E, StorageError> {
        match &self.place {
            Place::Memory(entries) => Ok(entries[index]),
            Place::Disk(file, _) => {
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

    /// Writes all entries to the file; it is exactly as long as they are.
    pub(crate) fn save(&self, files: &dyn Files) -> Result<(), StorageError> {
        let Place::Memory(entries) = &self.place else { return Ok(()) };
        let mut bytes = Vec::with_capacity(entries.len() * E::BYTES);
        entries.iter().for_each(|entry| entry.write(&mut bytes));
        let write = || {
            let file = files.create(&self.path)?;
            file.write_at(&bytes, 0)?;
            file.sync()
        };
        write().map_err(StorageError::io(&self.path))
    }

    /// Writes all entries to the file and keeps none of them in memory.
    pub(crate) fn seal(&mut self, files: &dyn Files) -> Result<(), StorageError> {
        if matches!(self.place, Place::Memory(_)) {
            self.save(files)?;
            let file = files.open(&self.path).map_err(StorageError::io(&self.path))?;
            self.place = Place::Disk(file, self.len());
        }
        Ok(())
    }
}
