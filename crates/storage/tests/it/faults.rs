//! A disk that is full, and one that fails.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ottla_records::BatchOptions;
use ottla_storage::{
    AppendError, File, FileRef, Files, Listed, Lock, Log, MemoryFiles, Stamp, StorageError,
};

use crate::{batch, opening, read_all};

const STAMP: Stamp = Stamp { leader_epoch: 0, append_time: None };

/// How the disk is: fine, full (a write is cut off in its middle), or failing at writes, or at
/// making them durable.
const FINE: u8 = 0;
const FULL: u8 = 1;
const BROKEN: u8 = 2;
const UNSYNCED: u8 = 3;

#[derive(Clone, Debug)]
struct Faulty {
    files: Arc<dyn Files>,
    state: Arc<AtomicU8>,
}

#[derive(Debug)]
struct FaultyFile {
    file: FileRef,
    state: Arc<AtomicU8>,
}

impl Faulty {
    fn new() -> Self {
        Self { files: Arc::new(MemoryFiles::new()), state: Arc::default() }
    }

    fn is(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }

    fn wrap(&self, file: FileRef) -> FileRef {
        Arc::new(FaultyFile { file, state: Arc::clone(&self.state) })
    }
}

impl Files for Faulty {
    fn create(&self, path: &Path) -> io::Result<FileRef> {
        match self.state.load(Ordering::SeqCst) {
            FULL => Err(io::ErrorKind::StorageFull.into()),
            BROKEN => Err(io::Error::other("EIO")),
            _ => self.files.create(path).map(|file| self.wrap(file)),
        }
    }

    fn open(&self, path: &Path) -> io::Result<FileRef> {
        self.files.open(path).map(|file| self.wrap(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        self.files.list(dir)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.make_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.files.lock(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.exists(path)
    }
}

impl File for FaultyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        match self.state.load(Ordering::SeqCst) {
            FULL => {
                self.file.write_at(&bytes[..bytes.len() / 2], at)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            BROKEN => Err(io::Error::other("EIO")),
            _ => self.file.write_at(bytes, at),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        match self.state.load(Ordering::SeqCst) {
            UNSYNCED => Err(io::Error::other("EIO")),
            _ => self.file.sync(),
        }
    }

    fn modified_ms(&self) -> io::Result<i64> {
        self.file.modified_ms()
    }
}

fn open(disk: &Faulty) -> Log {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let mut opening = opening(&files, Path::new("/data/t-0"), false);
    opening.options.segment_bytes = 400;
    Log::open(opening).unwrap()
}

fn append(log: &mut Log, count: usize) -> Result<i64, AppendError> {
    let bytes = batch(count, BatchOptions::default());
    log.append_as_leader(&bytes, STAMP, 0).map(|it| it.end)
}

fn flush(log: &mut Log) -> Result<(), StorageError> {
    let Some(flush) = log.begin_flush()? else { return Ok(()) };
    let done = flush.run();
    log.end_flush(flush, done)
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    let disk = Faulty::new();
    let mut log = open(&disk);
    for _ in 0..4 {
        append(&mut log, 2).unwrap();
    }
    let before = read_all(&log);
    disk.is(FULL);
    // Small ones fail at the write, large ones at the new segment.
    for count in [1, 1, 20, 20, 1] {
        assert!(matches!(append(&mut log, count), Err(AppendError::Storage(_))));
        assert_eq!(log.log_end(), 8);
    }
    assert!(flush(&mut log).is_err());
    assert_eq!(read_all(&log), before, "reads go on");
    disk.is(FINE);
    assert_eq!(append(&mut log, 20).unwrap(), 28);
    flush(&mut log).unwrap();
    assert_eq!(log.recovery_point(), 28);
    drop(log);
    assert!(read_all(&open(&disk)).starts_with(&before));
    assert_eq!(open(&disk).log_end(), 28);
}

#[test]
fn a_disk_that_fails_to_write_ends_the_log_until_it_is_opened_again() {
    let disk = Faulty::new();
    let mut log = open(&disk);
    append(&mut log, 3).unwrap();
    disk.is(BROKEN);
    assert!(append(&mut log, 1).is_err());
    disk.is(FINE);
    assert!(matches!(append(&mut log, 1), Err(AppendError::Storage(StorageError::Failed))));
    assert_eq!(log.log_end(), 3);
    assert!(!read_all(&log).is_empty());
    assert_eq!(open(&disk).log_end(), 3);
}

#[test]
fn what_could_not_be_made_durable_is_never_called_so() {
    for thorough in [false, true] {
        let disk = Faulty::new();
        let mut log = open(&disk);
        append(&mut log, 3).unwrap();
        disk.is(UNSYNCED);
        let done = if thorough { flush(&mut log) } else { log.flush().map(|_| ()) };
        assert!(done.is_err());
        disk.is(FINE);
        // A second fsync would succeed though the pages are gone.
        assert!(matches!(flush(&mut log), Err(StorageError::Failed)));
        assert!(matches!(log.flush(), Err(StorageError::Failed)));
        assert_eq!((log.durable(), log.recovery_point()), (0, 0));
    }
}
