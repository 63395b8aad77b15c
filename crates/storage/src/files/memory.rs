//! A file system in memory whose power can be cut: at any write, with any part of what was not
//! yet synced lost.
//!
//! Names and contents each have two states, the live one and the durable one. A crash keeps what
//! is durable for sure; what is only live survives block by block and name by name, as chance has
//! it. Nobody may rely on anything that was not synced.

use ottla_locks::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::TimestampMs;

use super::{Fate, File, FileRef, Files, Listed, Lock};

/// A file system in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    disk: Arc<Mutex<MemoryDisk>>,
}

impl MemoryFiles {
    /// An empty file system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `changes` more changes happen; the one after them and all later ones fail, as when
    /// the power goes. (The failing write itself may still reach the platter in part.)
    pub fn cut_power_after(&self, changes: u64) {
        self.disk().changes_left = Some(changes);
    }

    /// How many changes have happened so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.disk().changes
    }

    /// What of the file the cache was told to let go, in the order of the calls; nothing for a file
    /// that is not there.
    #[must_use]
    pub fn let_go(&self, path: &Path) -> Vec<Range<u64>> {
        let disk = self.disk();
        disk.live.get(path).map_or_else(Vec::new, |&node| disk.nodes[node].let_go.clone())
    }

    /// The file system as a machine finds it that starts after the power went now.
    #[must_use]
    pub fn after_crash(&self, fate: Fate) -> Self {
        Self { disk: Arc::new(Mutex::new(self.disk().after_crash(fate))) }
    }

    fn disk(&self) -> MutexGuard<'_, MemoryDisk> {
        self.disk.lock()
    }

    fn file(&self, node: usize) -> FileRef {
        Arc::new(MemoryFile { disk: Arc::clone(&self.disk), node })
    }
}

impl Files for MemoryFiles {
    fn create(&self, path: &Path) -> io::Result<FileRef> {
        let mut disk = self.disk();
        disk.change()?;
        disk.parent_exists(path)?;
        let node = match disk.live.get(path) {
            Some(&node) => {
                disk.nodes[node].live.clear();
                node
            }
            None => {
                disk.nodes.push(MemoryInode::default());
                let node = disk.nodes.len() - 1;
                disk.name(NameChange::Link { path: path.to_path_buf(), node });
                node
            }
        };
        drop(disk);
        Ok(self.file(node))
    }

    fn open(&self, path: &Path) -> io::Result<FileRef> {
        let node = *self.disk().live.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(node))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let disk = self.disk();
        if !disk.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |path: &Path| path.parent() == Some(dir);
        let name = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
        };
        let files = disk.live.iter().filter(|(path, _)| inside(path)).map(|(path, &node)| {
            let size_bytes = disk.nodes[node].live.len() as u64;
            Listed { name: name(path), size_bytes, is_dir: false }
        });
        let dirs = disk.dirs.iter().filter(|path| inside(path));
        let dirs = dirs.map(|path| Listed { name: name(path), size_bytes: 0, is_dir: true });
        let mut found: Vec<Listed> = files.chain(dirs).collect();
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        // Directories are durable at once: what a crash does to names shows in the files.
        for dir in dir.ancestors() {
            disk.dirs.insert(dir.to_path_buf());
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        disk.parent_exists(to)?;
        if disk.dirs.contains(from) {
            return disk.rename_dir(from, to);
        }
        let node = *disk.live.get(from).ok_or(io::ErrorKind::NotFound)?;
        disk.name(NameChange::Rename { from: from.to_path_buf(), to: to.to_path_buf(), node });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        if !disk.live.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.name(NameChange::Unlink { path: path.to_path_buf() });
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        if !disk.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let disk = &mut *disk;
        disk.live.retain(|path, _| !path.starts_with(dir));
        disk.durable.retain(|path, _| !path.starts_with(dir));
        disk.dirs.retain(|path| !path.starts_with(dir));
        disk.pending.retain(|change| !change.path().starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        let pending = std::mem::take(&mut disk.pending);
        let (now, later) = pending.into_iter().partition(|c| c.path().parent() == Some(dir));
        disk.pending = later;
        for change in now {
            change.apply(&mut disk.durable);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let mut disk = self.disk();
        let holder = disk.locks.entry(path.to_path_buf()).or_default();
        if Arc::strong_count(holder) > 1 {
            return Ok(None);
        }
        let lock = Arc::clone(holder);
        Ok(Some(Box::new(lock)))
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.disk();
        disk.live.contains_key(path) || disk.dirs.contains(path)
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: Arc<Mutex<MemoryDisk>>,
    node: usize,
}

impl MemoryFile {
    fn disk(&self) -> MutexGuard<'_, MemoryDisk> {
        self.disk.lock()
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let disk = self.disk();
        let content = &disk.nodes[self.node].live;
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let read = buf.len().min(content.len() - at);
        buf[..read].copy_from_slice(&content[at..at + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.changes_left.is_some_and(|left| left == 0) && disk.dark {
            return Err(power_lost());
        }
        // The write at which the power goes is under way already: it may leave a part behind.
        let content = &mut disk.nodes[self.node].live;
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let end = at + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[at..end].copy_from_slice(bytes);
        disk.change()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        disk.nodes[self.node].live.resize(len, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk().nodes[self.node].live.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        let node = &mut disk.nodes[self.node];
        node.durable.clone_from(&node.live);
        Ok(())
    }

    fn modified_ms(&self) -> io::Result<TimestampMs> {
        // There is no clock here; zero is as good as any time.
        Ok(0)
    }

    fn let_go(&self, range: Range<u64>) {
        self.disk().nodes[self.node].let_go.push(range);
    }
}

#[derive(Debug, Default)]
struct MemoryDisk {
    nodes: Vec<MemoryInode>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Changes of `live` that `durable` has not seen, oldest first.
    pending: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeMap<PathBuf, Arc<()>>,
    changes: u64,
    changes_left: Option<u64>,
    dark: bool,
}

#[derive(Clone, Debug, Default)]
struct MemoryInode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What the cache was told to let go.
    let_go: Vec<Range<u64>>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link { path: PathBuf, node: usize },
    Rename { from: PathBuf, to: PathBuf, node: usize },
    Unlink { path: PathBuf },
}

impl NameChange {
    fn path(&self) -> &Path {
        match self {
            Self::Link { path, .. } | Self::Unlink { path } => path,
            Self::Rename { to, .. } => to,
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link { path, node } => {
                names.insert(path, node);
            }
            Self::Rename { from, to, node } => {
                names.remove(&from);
                names.insert(to, node);
            }
            Self::Unlink { path } => {
                names.remove(&path);
            }
        }
    }
}

impl MemoryDisk {
    fn change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => {
                self.dark = true;
                return Err(power_lost());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.changes += 1;
        Ok(())
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(dir) if !self.dirs.contains(dir) => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }

    fn name(&mut self, change: NameChange) {
        change.clone().apply(&mut self.live);
        self.pending.push(change);
    }

    fn rename_dir(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.dirs.contains(to) || self.live.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let moved = |path: &Path| match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.to_path_buf(),
            Ok(rest) => to.join(rest),
            Err(_) => path.to_path_buf(),
        };
        for names in [&mut self.live, &mut self.durable] {
            *names = names.iter().map(|(path, &node)| (moved(path), node)).collect();
        }
        self.dirs = self.dirs.iter().map(|path| moved(path)).collect();
        for change in &mut self.pending {
            match change {
                NameChange::Link { path, .. } | NameChange::Unlink { path } => *path = moved(path),
                NameChange::Rename { from, to, .. } => {
                    *from = moved(from);
                    *to = moved(to);
                }
            }
        }
        Ok(())
    }

    fn after_crash(&self, fate: Fate) -> Self {
        let mut chance = Chance(match fate {
            Fate::Torn(seed) => seed.wrapping_mul(2).wrapping_add(1),
            Fate::Kept | Fate::Lost => 1,
        });
        let mut names = self.durable.clone();
        // A journal keeps the order of the changes: what survives is a prefix of them.
        let survive = match fate {
            Fate::Kept => self.pending.len(),
            Fate::Lost => 0,
            Fate::Torn(_) => chance.below(self.pending.len() + 1),
        };
        for change in self.pending.iter().take(survive) {
            change.clone().apply(&mut names);
        }
        let content = |node: &MemoryInode, chance: &mut Chance| match fate {
            Fate::Kept => node.live.clone(),
            Fate::Lost => node.durable.clone(),
            Fate::Torn(_) => chance.torn(node),
        };
        let nodes: Vec<MemoryInode> = self
            .nodes
            .iter()
            .map(|node| content(node, &mut chance))
            .map(|bytes| MemoryInode {
                live: bytes.clone(),
                durable: bytes,
                ..MemoryInode::default()
            })
            .collect();
        Self {
            nodes,
            live: names.clone(),
            durable: names,
            dirs: self.dirs.clone(),
            ..Self::default()
        }
    }
}

/// A small generator, so that each crash can be had again from its seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap_or(0) % bound
    }

    /// Each block is the live one or the durable one; the length lies between the two.
    fn torn(&mut self, node: &MemoryInode) -> Vec<u8> {
        let (short, long) = {
            let (a, b) = (node.live.len(), node.durable.len());
            (a.min(b), a.max(b))
        };
        let len = short + self.below(long - short + 1);
        let mut out = vec![0; len];
        for (index, block) in out.chunks_mut(BLOCK).enumerate() {
            let from = if self.next() & 1 == 0 { &node.live } else { &node.durable };
            let at = (index * BLOCK).min(from.len());
            let known = block.len().min(from.len() - at);
            block[..known].copy_from_slice(&from[at..at + known]);
        }
        out
    }
}

fn power_lost() -> io::Error {
    io::Error::other("the power is off")
}

/// What a disk writes whole or not at all.
const BLOCK: usize = 512;
