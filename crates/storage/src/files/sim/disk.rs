//! What a simulated disk holds: files and directories, each with what a process sees and what
//! a power cut leaves.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ottla_types::TimestampMs;

use super::Fate;
use super::chance::Chance;
use super::content::Content;

/// Names a file or directory whatever it is called.
pub(super) type SimInodeId = u64;

/// The directory in which all others lie.
const ROOT: SimInodeId = 0;
/// How many files and directories without a name are kept before they are removed.
const UNREACHABLE_MAX: usize = 64;

/// The state of a disk.
#[derive(Debug)]
pub(super) struct Disk {
    nodes: BTreeMap<SimInodeId, SimInode>,
    nodes_made: u64,
    /// How many nodes the last sweep left.
    nodes_swept: usize,
    pub chance: Chance,
    /// Grows at each crash and power cut: what was opened in an earlier life is of no use.
    pub life: u64,
    /// Which files a process has locked; a lock is held as long as its `Arc` is cloned.
    locks: BTreeMap<PathBuf, Arc<()>>,
    /// How many changes have happened.
    pub changes: u64,
    /// How many changes may still happen before the power goes.
    pub changes_left: Option<u64>,
    /// The power is off.
    pub is_dark: bool,
    /// How many bytes all files together may have.
    pub capacity: Option<u64>,
    /// How many bytes the files have that a name or a handle leads to.
    pub used: u64,
}

#[derive(Debug)]
enum SimInode {
    File(FileNode),
    Directory(SimDirectory),
}

/// A file, whatever it is called.
#[derive(Debug, Default)]
pub(super) struct FileNode {
    pub content: Content,
    pub modified_ms: TimestampMs,
    /// The ranges that the page cache was advised to drop, in the order of the calls.
    pub let_go: Vec<Range<u64>>,
    /// How many open handles there are.
    pub handles: usize,
    /// Does a process find it by a name?
    is_named: bool,
}

/// The names in a directory.
#[derive(Debug, Default)]
struct SimDirectory {
    live: BTreeMap<String, SimInodeId>,
    durable: BTreeMap<String, SimInodeId>,
    /// What `live` has and `durable` has not, oldest first. A journal keeps the order of the
    /// changes in a directory: what a power cut leaves is a beginning of them.
    pending: Vec<SimNameChange>,
}

#[derive(Clone, Debug)]
enum SimNameChange {
    Put { name: String, node: SimInodeId },
    Move { from: String, to: String, node: SimInodeId },
    Remove { name: String },
}

impl SimNameChange {
    fn apply(self, names: &mut BTreeMap<String, SimInodeId>) {
        match self {
            Self::Put { name, node } => {
                names.insert(name, node);
            }
            Self::Move { from, to, node } => {
                names.remove(&from);
                names.insert(to, node);
            }
            Self::Remove { name } => {
                names.remove(&name);
            }
        }
    }
}

impl SimDirectory {
    fn change(&mut self, change: SimNameChange) {
        change.clone().apply(&mut self.live);
        self.pending.push(change);
    }

    fn make_durable(&mut self, count: usize) {
        for change in self.pending.drain(..count) {
            change.apply(&mut self.durable);
        }
    }

    fn power_cut(&mut self, fate: Fate, chance: &mut Chance) {
        if self.pending.is_empty() && self.live == self.durable {
            return;
        }
        let count = match fate {
            Fate::Kept => self.pending.len(),
            Fate::Lost => 0,
            Fate::Torn(_) => chance.below(self.pending.len() + 1),
        };
        self.make_durable(count);
        self.pending.clear();
        self.live.clone_from(&self.durable);
    }
}

/// The names of a path, from the root on.
fn names_of(path: &Path) -> impl Iterator<Item = String> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, SimInode::Directory(SimDirectory::default()))]),
            nodes_made: 0,
            nodes_swept: 0,
            chance: Chance::new(seed),
            life: 0,
            locks: BTreeMap::new(),
            changes: 0,
            changes_left: None,
            is_dark: false,
            capacity: None,
            used: 0,
        }
    }

    /// Another change happens, unless the power goes at it.
    pub(super) fn change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => {
                self.is_dark = true;
                return Err(power_lost());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.changes += 1;
        Ok(())
    }

    fn find(&self, path: &Path) -> Option<SimInodeId> {
        names_of(path).try_fold(ROOT, |at, name| match self.nodes.get(&at) {
            Some(SimInode::Directory(directory)) => directory.live.get(&name).copied(),
            _ => None,
        })
    }

    fn directory_at(&mut self, path: &Path) -> io::Result<&mut SimDirectory> {
        let node = self.find(path).ok_or(io::ErrorKind::NotFound)?;
        match self.nodes.get_mut(&node) {
            Some(SimInode::Directory(directory)) => Ok(directory),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that a path lies in, and the last name.
    fn parent_of(&mut self, path: &Path) -> io::Result<(&mut SimDirectory, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.directory_at(parent)?, name.to_string_lossy().into_owned()))
    }

    pub(super) fn file(&mut self, node: SimInodeId) -> &mut FileNode {
        match self.nodes.get_mut(&node) {
            Some(SimInode::File(file)) => file,
            _ => unreachable!("handles and names of files lead to files"),
        }
    }

    /// The file of this name, if there is one.
    pub(super) fn file_at(&self, path: &Path) -> io::Result<SimInodeId> {
        let node = self.find(path).ok_or(io::ErrorKind::NotFound)?;
        match self.nodes.get(&node) {
            Some(SimInode::File(_)) => Ok(node),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.find(path).is_some()
    }

    fn add(&mut self, node: SimInode) -> SimInodeId {
        self.nodes_made += 1;
        self.nodes.insert(self.nodes_made, node);
        self.nodes_made
    }

    /// Makes the file, or empties it.
    pub(super) fn create(&mut self, path: &Path, now: TimestampMs) -> io::Result<SimInodeId> {
        let (_, name) = self.parent_of(path)?;
        if self.find(path).is_some() {
            let node = self.file_at(path)?;
            self.resize(node, 0, now)?;
            return Ok(node);
        }
        let file = FileNode { is_named: true, modified_ms: now, ..FileNode::default() };
        let node = self.add(SimInode::File(file));
        self.parent_of(path)?.0.change(SimNameChange::Put { name, node });
        Ok(node)
    }

    pub(super) fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        let mut at = PathBuf::from("/");
        for name in names_of(path) {
            let parent = at.clone();
            at.push(&name);
            if self.find(&at).is_none() {
                self.directory_at(&parent)?;
                let node = self.add(SimInode::Directory(SimDirectory::default()));
                self.directory_at(&parent)?.change(SimNameChange::Put { name, node });
            }
        }
        self.directory_at(path).map(drop)
    }

    /// The entries of a directory: name, and length if it is a file.
    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<(String, Option<u64>)>> {
        let names = self.directory_at(path)?.live.clone();
        let entry = |(name, node)| match self.nodes.get(&node) {
            Some(SimInode::File(file)) => (name, Some(file.content.live().len() as u64)),
            _ => (name, None),
        };
        Ok(names.into_iter().map(entry).collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from).ok_or(io::ErrorKind::NotFound)?;
        if from.parent() != to.parent() {
            // As between two mounts: a rename within one directory is all that a log needs.
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let replaced = self.find(to).filter(|there| *there != node);
        let is_directory = |node| matches!(self.nodes.get(node), Some(SimInode::Directory(_)));
        match &replaced {
            Some(there) if is_directory(there) && !is_directory(&node) => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Some(there) if !is_directory(there) && is_directory(&node) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Some(there) if is_directory(there) && !self.list(to)?.is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        let (_, to) = self.parent_of(to)?;
        let (directory, from) = self.parent_of(from)?;
        if from != to {
            directory.change(SimNameChange::Move { from, to, node });
        }
        replaced.into_iter().for_each(|node| self.unname(node));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = self.file_at(path)?;
        let (directory, name) = self.parent_of(path)?;
        directory.change(SimNameChange::Remove { name });
        self.unname(node);
        Ok(())
    }

    /// Removes a directory, file by file as a process does it, and itself last.
    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        for (name, size) in self.list(path)? {
            let inside = path.join(name);
            if size.is_some() { self.remove(&inside)? } else { self.remove_dir(&inside)? }
        }
        let (directory, name) = self.parent_of(path)?;
        directory.change(SimNameChange::Remove { name });
        self.sweep_if_many();
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.directory_at(path)?;
        directory.make_durable(directory.pending.len());
        Ok(())
    }

    /// A sync of a directory fails: a beginning of its changes is on the disk, and no later sync
    /// brings the rest there.
    pub(super) fn fail_sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let mut chance = self.chance.clone();
        let directory = self.directory_at(path)?;
        directory.make_durable(chance.below(directory.pending.len() + 1));
        directory.pending.clear();
        self.chance = chance;
        Ok(())
    }

    /// A process locks a file; `None` if another has it.
    pub(super) fn lock(&mut self, path: &Path) -> Option<Arc<()>> {
        let holder = self.locks.entry(path.to_path_buf()).or_default();
        (Arc::strong_count(holder) == 1).then(|| Arc::clone(holder))
    }

    /// Writes as much as there is room for.
    pub(super) fn write(
        &mut self,
        node: SimInodeId,
        bytes: &[u8],
        at: usize,
        now: TimestampMs,
    ) -> io::Result<()> {
        let room = self.room();
        let file = self.file(node);
        let held = file.content.live().len() as u64;
        let growth = (at as u64 + bytes.len() as u64).saturating_sub(held);
        let missing = usize::try_from(growth.saturating_sub(room)).unwrap_or(usize::MAX);
        let fitting = bytes.len().saturating_sub(missing);
        file.content.write_at(&bytes[..fitting], at);
        file.modified_ms = now;
        let grown = file.content.live().len() as u64 - held;
        self.used += grown;
        if missing > 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    pub(super) fn resize(
        &mut self,
        node: SimInodeId,
        len: usize,
        now: TimestampMs,
    ) -> io::Result<()> {
        let room = self.room();
        let file = self.file(node);
        let held = file.content.live().len() as u64;
        if (len as u64).saturating_sub(held) > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.content.truncate(len);
        file.modified_ms = now;
        self.used = self.used + len as u64 - held;
        Ok(())
    }

    /// How many more bytes fit.
    pub(super) fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used))
    }

    /// A handle was closed.
    pub(super) fn close(&mut self, node: SimInodeId) {
        let file = self.file(node);
        file.handles -= 1;
        if file.handles == 0 && !file.is_named {
            self.used -= self.file(node).content.live().len() as u64;
            self.sweep_if_many();
        }
    }

    /// No name leads to it any more.
    fn unname(&mut self, node: SimInodeId) {
        if let Some(SimInode::File(file)) = self.nodes.get_mut(&node) {
            file.is_named = false;
            if file.handles == 0 {
                self.used -= file.content.live().len() as u64;
            }
        }
        self.sweep_if_many();
    }

    /// The system writes some of what is dirty to the disk.
    pub(super) fn write_back(&mut self) {
        let chance = &mut self.chance;
        for node in self.nodes.values_mut() {
            match node {
                SimInode::File(file) if file.content.dirty_sectors() > 0 => {
                    file.content.write_back(chance);
                }
                SimInode::File(_) => {}
                SimInode::Directory(directory) => {
                    let count = chance.below(directory.pending.len() + 1);
                    directory.make_durable(count);
                }
            }
        }
    }

    /// The process ends, the machine does not.
    pub(super) fn crash(&mut self) {
        self.life += 1;
        self.locks.clear();
        (self.is_dark, self.changes_left) = (false, None);
        self.close_all();
    }

    /// The power goes, and comes back.
    pub(super) fn power_cut(&mut self, fate: Fate) {
        let mut chance = match fate {
            Fate::Torn(seed) => Chance::new(seed),
            Fate::Kept | Fate::Lost => Chance::new(0),
        };
        for node in self.nodes.values_mut() {
            match node {
                SimInode::File(file) => file.content.power_cut(fate, &mut chance),
                SimInode::Directory(directory) => directory.power_cut(fate, &mut chance),
            }
        }
        self.crash();
    }

    /// Closes what the process had open, and forgets what no name leads to.
    fn close_all(&mut self) {
        self.sweep(|_| false);
        let named = self.reachable(|directory| directory.live.values().copied().collect());
        self.used = 0;
        for (id, node) in &mut self.nodes {
            if let SimInode::File(file) = node {
                (file.handles, file.is_named) = (0, named.contains_key(id));
                file.let_go.clear();
                let bytes = if file.is_named { file.content.live().len() } else { 0 };
                self.used += bytes as u64;
            }
        }
    }

    fn sweep_if_many(&mut self) {
        if self.nodes.len() > 2 * self.nodes_swept + UNREACHABLE_MAX {
            self.sweep(|file| file.handles > 0);
        }
    }

    /// Forgets what neither a process nor a power cut could bring back.
    fn sweep(&mut self, is_open: impl Fn(&FileNode) -> bool) {
        let mut kept = self.reachable(|directory| {
            let pending = directory.pending.iter().filter_map(|change| match change {
                SimNameChange::Put { node, .. } | SimNameChange::Move { node, .. } => Some(*node),
                SimNameChange::Remove { .. } => None,
            });
            let named = directory.live.values().chain(directory.durable.values()).copied();
            named.chain(pending).collect()
        });
        for (id, node) in &self.nodes {
            if matches!(node, SimInode::File(file) if is_open(file)) {
                kept.insert(*id, ());
            }
        }
        self.nodes.retain(|id, _| kept.contains_key(id));
        self.nodes_swept = self.nodes.len();
    }

    /// What the names lead to, from the root on.
    fn reachable(
        &self,
        names: impl Fn(&SimDirectory) -> Vec<SimInodeId>,
    ) -> BTreeMap<SimInodeId, ()> {
        let (mut found, mut ahead) = (BTreeMap::new(), vec![ROOT]);
        while let Some(id) = ahead.pop() {
            if found.insert(id, ()).is_none()
                && let Some(SimInode::Directory(directory)) = self.nodes.get(&id)
            {
                ahead.extend(names(directory));
            }
        }
        found
    }
}

pub(super) fn power_lost() -> io::Error {
    io::Error::other("the power is off")
}
