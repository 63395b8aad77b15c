//! A simulated disk, whose power can be cut at any moment, and which fails as disks do; for tests.
//!
//! What a process sees and what lies on the disk are two things. The bytes of a file are on the
//! disk when the file was synced, its name when the directory was: neither brings the other along.
//! A new directory is a name in the directory above. The rules are those that any file system of
//! POSIX may follow; some give more, and no code of ours may count on that.
//!
//! | happens | unsynced bytes | unsynced names |
//! |---|---|---|
//! | [`SimDisk::crash`]: the process ends | stay | stay |
//! | [`SimDisk::power_cut`] | each sector stays or goes | of a directory, the first changes stay |
//! | [`SimDisk::write_back`] | some are on the disk now | some are |
//! | a sync fails | are on the disk or never will be; reads hide it | the same |

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_locks::{Mutex, MutexGuard};
use ottla_types::TimestampMs;

use super::faults::{Fault, FaultPlan};
use super::{File, FileRef, Files, Listed, Lock};
use disk::{Disk, SimInodeId, power_lost};

mod chance;
mod content;
mod disk;

/// What becomes of what no sync had made durable when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of it survives.
    Kept,
    /// All of it is lost.
    Lost,
    /// Each sector and each name as chance has it, drawn from this seed.
    Torn(u64),
}

/// What a call to a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// A file is made, emptied or opened, or a directory made.
    Open,
    /// A directory is listed.
    List,
    /// A name is changed or removed.
    Rename,
    /// Bytes are read.
    Read,
    /// Bytes are written, or a file's length is set.
    Write,
    /// A file or directory is made durable.
    Sync,
}

/// A call to a disk, before it is carried out.
#[derive(Debug)]
pub struct DiskCall<'a> {
    /// What it does.
    pub operation: DiskOperation,
    /// To which file or directory; for an open file, the name by which it was opened.
    pub path: &'a Path,
    /// How many bytes it writes or wants to read; 0 for all others.
    pub bytes: usize,
}

/// A hook that sees each call. It may wait, which is how a disk is slow for threads, or take note,
/// which is how a simulation knows how long the work would have taken.
pub type OnDiskCall = Arc<dyn Fn(&DiskCall<'_>) + Send + Sync>;

/// A disk in memory. Clones are the same disk.
///
/// - [`SimDisk::new`] makes one: empty, with a seed that decides whatever chance decides.
/// - [`SimDisk::files`] are what a process is given. They end with the process: after a crash or a
///   power cut what it had open fails, its locks are free, and `files` gives the next process its
///   own.
/// - [`SimDisk::crash`], [`SimDisk::power_cut`] and [`SimDisk::power_cut_as`] end a process;
///   [`SimDisk::cut_power_after`] lets the power go in the middle of what it does.
/// - [`SimDisk::write_back`] makes some of what is dirty durable: to be called now and then, or
///   nothing reaches the disk that was not synced.
/// - [`SimDisk::set_fault`] and [`SimDisk::set_capacity`] make calls fail; [`SimDisk::rot`] and
///   [`SimDisk::roll_back`] change what lies on the disk, without any call.
/// - [`SimDisk::on_call`] makes calls slow, and [`SimDisk::set_clock`] gives files their times.
#[derive(Clone)]
pub struct SimDisk(Arc<Shared>);

struct Shared {
    /// Guards all that the disk holds; held for one call, never while a hook is called.
    disk: Mutex<Disk>,
    faults: FaultPlan,
    /// Set before the disk is used, or between calls; never held while it is called.
    hooks: Mutex<Hooks>,
}

#[derive(Clone, Default)]
struct Hooks {
    on_call: Option<OnDiskCall>,
    now_ms: Option<Arc<dyn Fn() -> TimestampMs + Send + Sync>>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.lock();
        write!(f, "SimDisk(life {}, {} changes, {} bytes)", disk.life, disk.changes, disk.used)
    }
}

impl SimDisk {
    /// An empty disk; the same seed and the same calls give the same accidents.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = Mutex::new(Disk::new(seed));
        Self(Arc::new(Shared { disk, faults: FaultPlan::default(), hooks: Mutex::default() }))
    }

    /// The files, for the process that runs now.
    #[must_use]
    pub fn files(&self) -> Arc<dyn Files> {
        let life = self.lock().life;
        Arc::new(SimFiles { disk: self.clone(), life })
    }

    /// The process is killed: all it has written stays, what it had open fails from now on.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// The power goes and comes back; what becomes of what was not durable, chance decides.
    pub fn power_cut(&self) {
        let mut disk = self.lock();
        let seed = disk.chance.next();
        disk.power_cut(Fate::Torn(seed));
    }

    /// As [`SimDisk::power_cut`], with a fate of the caller's choice.
    pub fn power_cut_as(&self, fate: Fate) {
        self.lock().power_cut(fate);
    }

    /// Lets `changes` more changes happen; at the next one the power goes, and every later call
    /// fails until [`SimDisk::power_cut`] or [`SimDisk::power_cut_as`] says what is left. If that
    /// change is a write, a beginning of it may have been carried out.
    pub fn cut_power_after(&self, changes: u64) {
        self.lock().changes_left = Some(changes);
    }

    /// How many changes have happened so far: files made, written, cut, renamed, removed, synced.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// The system writes back some of what is dirty, bytes and names, as chance has it.
    pub fn write_back(&self) {
        self.lock().write_back();
    }

    /// From now on everything under `dir` has this fault, or none.
    pub fn set_fault(&self, dir: &Path, fault: Option<Fault>) {
        self.0.faults.set(dir, fault);
    }

    /// How many bytes all files together may have; a write that needs more is cut off where they
    /// end (ENOSPC). `None` is without end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// How many bytes the files have.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().used
    }

    /// Turns one bit over in these bytes of a file, for readers and for good; `false` if the file
    /// has nothing there.
    pub fn rot(&self, path: &Path, range: Range<u64>) -> bool {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let mut disk = self.lock();
        let Ok(node) = disk.file_at(path) else { return false };
        let mut chance = disk.chance.clone();
        let is_done =
            disk.file(node).content.rot(place(range.start)..place(range.end), &mut chance);
        disk.chance = chance;
        is_done
    }

    /// What a power cut without luck would leave of a file; `None` if a process finds none of this
    /// name. To be given to [`SimDisk::roll_back`] later.
    #[must_use]
    pub fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        let mut disk = self.lock();
        let node = disk.file_at(path).ok()?;
        Some(disk.file(node).content.durable())
    }

    /// What a process reads of a file from this position on, whatever faults are set; `None` if it
    /// finds none of this name.
    #[must_use]
    pub fn peek(&self, path: &Path, from: usize) -> Option<Vec<u8>> {
        let mut disk = self.lock();
        let node = disk.file_at(path).ok()?;
        let live = disk.file(node).content.live();
        Some(live.get(from..).unwrap_or_default().to_vec())
    }

    /// Sets a file back to an older state, for readers and for good, as a controller does that
    /// promised more than it kept; `false` if there is no such file.
    pub fn roll_back(&self, path: &Path, older: &[u8]) -> bool {
        let mut disk = self.lock();
        let Ok(node) = disk.file_at(path) else { return false };
        let content = &mut disk.file(node).content;
        let before = content.live().len() as u64;
        content.set(older);
        disk.used = disk.used - before + older.len() as u64;
        true
    }

    /// Shows each later call to `hook`, before it is carried out and while no lock is held.
    pub fn on_call(&self, hook: OnDiskCall) {
        self.0.hooks.lock().on_call = Some(hook);
    }

    /// Where files have the time from at which they were last written; without it that is 0.
    pub fn set_clock(&self, now_ms: Arc<dyn Fn() -> TimestampMs + Send + Sync>) {
        self.0.hooks.lock().now_ms = Some(now_ms);
    }

    /// The ranges that the page cache was advised to drop, in the order of the calls; none for a
    /// file that is not there.
    #[must_use]
    pub fn let_go(&self, path: &Path) -> Vec<Range<u64>> {
        let mut disk = self.lock();
        disk.file_at(path).map_or_else(|_| Vec::new(), |node| disk.file(node).let_go.clone())
    }

    /// How many sectors of 512 bytes a sync of the file would have to write.
    #[must_use]
    pub fn dirty_sectors(&self, path: &Path) -> usize {
        let mut disk = self.lock();
        disk.file_at(path).map_or(0, |node| disk.file(node).content.dirty_sectors())
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock()
    }

    fn now_ms(&self) -> TimestampMs {
        let hook = self.0.hooks.lock().now_ms.clone();
        hook.map_or(0, |now_ms| now_ms())
    }

    /// Shows a call to the hook.
    fn show(&self, operation: DiskOperation, path: &Path, bytes: usize) {
        let hook = self.0.hooks.lock().on_call.clone();
        if let Some(hook) = hook {
            hook(&DiskCall { operation, path, bytes });
        }
    }

    /// The disk, for a call of a process that lives.
    fn enter(&self, life: u64) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.lock();
        if disk.life != life {
            return Err(io::Error::other("the process that opened this has ended"));
        }
        if disk.is_dark {
            return Err(power_lost());
        }
        Ok(disk)
    }
}

/// The disk, as one process has it.
#[derive(Debug)]
struct SimFiles {
    disk: SimDisk,
    life: u64,
}

impl SimFiles {
    fn enter(&self, operation: DiskOperation, path: &Path) -> io::Result<MutexGuard<'_, Disk>> {
        self.disk.show(operation, path, 0);
        self.disk.enter(self.life)
    }

    fn faults(&self) -> &FaultPlan {
        &self.disk.0.faults
    }

    fn handle(&self, disk: &mut Disk, node: SimInodeId, path: &Path) -> FileRef {
        disk.file(node).handles += 1;
        let (disk, life) = (self.disk.clone(), self.life);
        Arc::new(SimFile { disk, life, node, path: path.to_owned() })
    }
}

impl Files for SimFiles {
    fn create(&self, path: &Path) -> io::Result<FileRef> {
        let now = self.disk.now_ms();
        let mut disk = self.enter(DiskOperation::Open, path)?;
        self.faults().check_open(path)?;
        self.faults().check_write(path)?;
        disk.change()?;
        let node = disk.create(path, now)?;
        Ok(self.handle(&mut disk, node, path))
    }

    fn open(&self, path: &Path) -> io::Result<FileRef> {
        let mut disk = self.enter(DiskOperation::Open, path)?;
        self.faults().check_open(path)?;
        let node = disk.file_at(path)?;
        Ok(self.handle(&mut disk, node, path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let mut disk = self.enter(DiskOperation::List, dir)?;
        self.faults().check_read(dir)?;
        let listed = |(name, size): (String, Option<u64>)| Listed {
            name,
            size_bytes: size.unwrap_or(0),
            is_dir: size.is_none(),
        };
        Ok(disk.list(dir)?.into_iter().map(listed).collect())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.enter(DiskOperation::Open, dir)?;
        self.faults().check_write(dir)?;
        disk.change()?;
        disk.make_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.enter(DiskOperation::Rename, from)?;
        self.faults().check_change(from)?;
        disk.change()?;
        disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.enter(DiskOperation::Rename, path)?;
        self.faults().check_change(path)?;
        disk.change()?;
        disk.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.enter(DiskOperation::Rename, dir)?;
        self.faults().check_change(dir)?;
        disk.change()?;
        disk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.show(DiskOperation::Sync, dir, 0);
        let checked = self.faults().check_sync(dir);
        let mut disk = self.disk.enter(self.life)?;
        disk.change()?;
        match checked {
            Ok(()) => disk.sync_dir(dir),
            Err(error) => {
                disk.fail_sync_dir(dir)?;
                Err(error)
            }
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let now = self.disk.now_ms();
        let mut disk = self.enter(DiskOperation::Open, path)?;
        if !disk.exists(path) {
            disk.change()?;
            disk.create(path, now)?;
        }
        Ok(disk.lock(path).map(|lock| Box::new(lock) as Lock))
    }

    fn space(&self, _: &Path) -> Option<(u64, u64)> {
        let disk = self.disk.lock();
        disk.capacity.map(|capacity| (capacity, disk.room()))
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk.lock().exists(path)
    }
}

/// An open file.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    life: u64,
    node: SimInodeId,
    /// The name by which it was opened.
    path: PathBuf,
}

impl SimFile {
    fn enter(&self, operation: DiskOperation, bytes: usize) -> io::Result<MutexGuard<'_, Disk>> {
        self.disk.show(operation, &self.path, bytes);
        self.disk.enter(self.life)
    }

    fn faults(&self) -> &FaultPlan {
        &self.disk.0.faults
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.life == self.life {
            disk.close(self.node);
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut disk = self.enter(DiskOperation::Read, buf.len())?;
        self.faults().check_read(&self.path)?;
        let content = disk.file(self.node).content.live();
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let read = buf.len().min(content.len() - at);
        buf[..read].copy_from_slice(&content[at..at + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let now = self.disk.now_ms();
        let mut disk = self.enter(DiskOperation::Write, bytes.len())?;
        let at = usize::try_from(at).map_err(io::Error::other)?;
        if let Err(error) = self.faults().check_write(&self.path) {
            if error.kind() == io::ErrorKind::StorageFull {
                disk.write(self.node, &bytes[..bytes.len() / 2], at, now)?;
            }
            return Err(error);
        }
        if let Err(error) = disk.change() {
            // It was under way when the power went.
            let begun = disk.chance.below(bytes.len() + 1);
            disk.write(self.node, &bytes[..begun], at, now)?;
            return Err(error);
        }
        disk.write(self.node, bytes, at, now)
    }

    fn write_parts_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        // As one: what is cut off is the end of all together.
        let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.write_at(&all, at)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let now = self.disk.now_ms();
        let mut disk = self.enter(DiskOperation::Write, 0)?;
        self.faults().check_change(&self.path)?;
        disk.change()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        disk.resize(self.node, len, now)
    }

    fn size(&self) -> io::Result<u64> {
        let mut disk = self.disk.enter(self.life)?;
        Ok(disk.file(self.node).content.live().len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.show(DiskOperation::Sync, &self.path, 0);
        let checked = self.faults().check_sync(&self.path);
        let mut disk = self.disk.enter(self.life)?;
        disk.change()?;
        if checked.is_err() {
            let mut chance = disk.chance.clone();
            disk.file(self.node).content.fail_sync(&mut chance);
            disk.chance = chance;
        } else {
            disk.file(self.node).content.sync();
        }
        checked
    }

    fn modified_ms(&self) -> io::Result<TimestampMs> {
        Ok(self.disk.enter(self.life)?.file(self.node).modified_ms)
    }

    fn let_go(&self, range: Range<u64>) {
        self.faults().wait_while_hanging(&self.path);
        if let Ok(mut disk) = self.disk.enter(self.life) {
            let file = disk.file(self.node);
            file.content.evict(range.clone());
            file.let_go.push(range);
        }
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        self.faults().wait_while_hanging(&self.path);
        let mut disk = self.disk.enter(self.life)?;
        let held = disk.file(self.node).content.live().len() as u64;
        if range.end.saturating_sub(held) > disk.room() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}
