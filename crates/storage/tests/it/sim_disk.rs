//! The simulated disk itself: against the file system of this machine while the power is on, and
//! against a plain model when it goes.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_storage::{DiskFiles, DiskOperation, Fate, Fault, Files, SimDisk};
use proptest::prelude::*;

fn read(files: &dyn Files, path: &Path) -> Option<Vec<u8>> {
    let file = files.open(path).ok()?;
    let mut bytes = Vec::new();
    file.read_into(&mut bytes, 0, usize::try_from(file.size().unwrap()).unwrap()).unwrap();
    Some(bytes)
}

fn write(files: &dyn Files, path: &Path, bytes: &[u8]) {
    files.create(path).unwrap().write_at(bytes, 0).unwrap();
}

fn sync(files: &dyn Files, path: &Path) {
    files.open(path).unwrap().sync().unwrap();
}

/// A disk with a directory `/d` that is there for good.
fn disk(seed: u64) -> (SimDisk, Arc<dyn Files>) {
    let disk = SimDisk::new(seed);
    let files = disk.files();
    files.make_dir(Path::new("/d")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    (disk, files)
}

const FILE: &str = "/d/file";
const OTHER: &str = "/d/other";

#[test]
fn bytes_and_names_become_durable_independently() {
    // Is the file synced? Is the directory? What the worst power cut leaves.
    let cases = [
        (false, false, None),
        (true, false, None),
        (false, true, Some(&b""[..])),
        (true, true, Some(&b"bytes"[..])),
    ];
    for (bytes_synced, name_synced, left) in cases {
        let (disk, files) = disk(1);
        write(&*files, Path::new(FILE), b"bytes");
        if bytes_synced {
            sync(&*files, Path::new(FILE));
        }
        if name_synced {
            files.sync_dir(Path::new("/d")).unwrap();
        }
        disk.power_cut_as(Fate::Lost);
        let found = read(&*disk.files(), Path::new(FILE));
        assert_eq!(found.as_deref(), left, "{bytes_synced} {name_synced}");
    }
}

#[test]
fn a_rename_and_a_removal_are_undone_unless_the_directory_was_synced() {
    for is_synced in [false, true] {
        let (disk, files) = disk(1);
        for (path, bytes) in [(FILE, b"one"), (OTHER, b"two")] {
            write(&*files, Path::new(path), bytes);
            sync(&*files, Path::new(path));
        }
        files.sync_dir(Path::new("/d")).unwrap();
        files.rename(Path::new(FILE), Path::new("/d/third")).unwrap();
        files.remove(Path::new(OTHER)).unwrap();
        if is_synced {
            files.sync_dir(Path::new("/d")).unwrap();
        }
        disk.power_cut_as(Fate::Lost);
        let files = disk.files();
        let names: Vec<String> =
            files.list(Path::new("/d")).unwrap().into_iter().map(|it| it.name).collect();
        let due: &[&str] = if is_synced { &["third"] } else { &["file", "other"] };
        assert_eq!(names, due);
    }
}

#[test]
fn a_directory_is_a_name_in_the_one_above() {
    let (disk, files) = disk(1);
    let inside = Path::new("/d/e/file");
    files.make_dir(Path::new("/d/e")).unwrap();
    write(&*files, inside, b"bytes");
    sync(&*files, inside);
    files.sync_dir(Path::new("/d/e")).unwrap();
    disk.power_cut_as(Fate::Lost);
    assert!(!disk.files().exists(Path::new("/d/e")));
}

#[test]
fn a_crash_keeps_all_and_ends_what_was_open() {
    let (disk, files) = disk(1);
    let file = files.create(Path::new(FILE)).unwrap();
    file.write_at(b"bytes", 0).unwrap();
    let lock = files.lock(Path::new("/d/.lock")).unwrap();
    assert!(lock.is_some() && files.lock(Path::new("/d/.lock")).unwrap().is_none());
    disk.crash();
    assert!(file.write_at(b"more", 5).is_err() && file.sync().is_err());
    assert!(files.open(Path::new(FILE)).is_err() && files.create(Path::new(OTHER)).is_err());
    let files = disk.files();
    assert_eq!(read(&*files, Path::new(FILE)).unwrap(), b"bytes");
    assert!(files.lock(Path::new("/d/.lock")).unwrap().is_some());
    drop((file, lock));
}

#[test]
fn a_failed_sync_is_hidden_until_the_cache_lets_go_and_no_later_one_helps() {
    let mut hidden = 0;
    for seed in 0..20 {
        let (disk, files) = disk(seed);
        let file = files.create(Path::new(FILE)).unwrap();
        file.write_at(&[1; 2000], 0).unwrap();
        file.sync().unwrap();
        files.sync_dir(Path::new("/d")).unwrap();
        file.write_at(&[2; 2000], 0).unwrap();
        disk.set_fault(Path::new("/d"), Some(Fault::Syncs));
        assert!(file.sync().is_err());
        disk.set_fault(Path::new("/d"), None);
        file.sync().unwrap();
        assert_eq!(read(&*files, Path::new(FILE)).unwrap(), [2; 2000], "the cache has it");
        assert_eq!(disk.dirty_sectors(Path::new(FILE)), 0);
        let durable = disk.durable(Path::new(FILE)).unwrap();
        hidden += usize::from(durable != [2; 2000]);
        // What is written again is dirty again, and a sync brings it to the disk.
        file.write_at(&[3; 512], 0).unwrap();
        file.sync().unwrap();
        file.let_go(0..2000);
        let seen = read(&*files, Path::new(FILE)).unwrap();
        assert_eq!((&seen[..512], &seen[512..]), (&[3; 512][..], &durable[512..]));
        disk.power_cut_as(Fate::Kept);
        assert_eq!(read(&*disk.files(), Path::new(FILE)).unwrap(), seen);
    }
    assert!(hidden > 10, "{hidden} of 20");
}

#[test]
fn a_sync_costs_what_was_written_and_not_what_is_there() {
    let (disk, files) = disk(1);
    let file = files.create(Path::new(FILE)).unwrap();
    file.write_at(&vec![1; 1 << 20], 0).unwrap();
    assert_eq!(disk.dirty_sectors(Path::new(FILE)), 2048);
    file.sync().unwrap();
    file.write_at(b"x", 1 << 20).unwrap();
    assert_eq!(disk.dirty_sectors(Path::new(FILE)), 1);
    file.write_at(b"x", 700).unwrap();
    assert_eq!(disk.dirty_sectors(Path::new(FILE)), 2);
    file.truncate(1 << 19).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.dirty_sectors(Path::new(FILE)), 0);
}

#[test]
fn a_write_is_cut_off_where_the_room_ends_and_a_removal_gives_it_back() {
    let (disk, files) = disk(1);
    disk.set_capacity(Some(1000));
    let file = files.create(Path::new(FILE)).unwrap();
    assert_eq!(file.write_at(&[1; 1200], 0).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((file.size().unwrap(), disk.used_bytes()), (1000, 1000));
    assert_eq!(file.reserve(1000..1001).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_at(&[2; 1000], 0).unwrap();
    files.remove(Path::new(FILE)).unwrap();
    assert_eq!(disk.used_bytes(), 1000, "it is still open");
    drop(file);
    assert_eq!(files.space(Path::new("/d")), Some((1000, 1000)));
    write(&*files, Path::new(OTHER), &[1; 1000]);
    disk.crash();
    assert_eq!(disk.used_bytes(), 1000);
}

#[test]
fn each_fault_fails_what_it_says() {
    let (disk, files) = disk(1);
    let file = files.create(Path::new(FILE)).unwrap();
    file.write_at(b"bytes", 0).unwrap();
    // Fault, do these fail: open, read, write, sync, rename.
    let cases = [
        (Fault::Full, [false, false, true, false, false]),
        (Fault::NoHandles, [true, false, false, false, false]),
        (Fault::Reads, [false, true, false, false, false]),
        (Fault::Writes, [false, false, true, false, false]),
        (Fault::ReadOnly, [false, false, true, false, true]),
        (Fault::Syncs, [false, false, false, true, false]),
    ];
    for (fault, due) in cases {
        disk.set_fault(Path::new("/d"), Some(fault));
        let failed = [
            files.open(Path::new(FILE)).is_err(),
            file.read_at(&mut [0], 0).is_err(),
            file.write_at(b"bytes", 0).is_err(),
            file.sync().is_err(),
            files.rename(Path::new(FILE), Path::new(FILE)).is_err(),
        ];
        assert_eq!(failed, due, "{fault:?}");
        disk.set_fault(Path::new("/d"), None);
    }
}

#[test]
fn bits_rot_and_files_fall_back_to_an_older_state_for_good() {
    let (disk, files) = disk(1);
    let path = Path::new(FILE);
    write(&*files, path, &[7; 600]);
    sync(&*files, path);
    files.sync_dir(Path::new("/d")).unwrap();
    let older = disk.durable(path).unwrap();
    write(&*files, path, &[8; 900]);
    sync(&*files, path);
    assert!(disk.rot(path, 100..110) && !disk.rot(path, 900..1000));
    let rotten = read(&*files, path).unwrap();
    let wrong: Vec<usize> = (0..900).filter(|at| rotten[*at] != 8).collect();
    assert!(wrong.len() == 1 && (100..110).contains(&wrong[0]), "{wrong:?}");
    disk.power_cut_as(Fate::Lost);
    assert_eq!(read(&*disk.files(), path).unwrap(), rotten);
    assert!(disk.roll_back(path, &older) && !disk.roll_back(Path::new(OTHER), &older));
    disk.power_cut_as(Fate::Lost);
    assert_eq!(read(&*disk.files(), path).unwrap(), [7; 600]);
}

#[test]
fn a_hook_sees_each_call_and_files_have_their_times_from_a_clock() {
    let (disk, files) = disk(1);
    let syncs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&syncs);
    disk.on_call(Arc::new(move |call| {
        if call.operation == DiskOperation::Sync && call.path.starts_with("/d") {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    }));
    disk.set_clock(Arc::new(|| 1234));
    write(&*files, Path::new(FILE), b"bytes");
    sync(&*files, Path::new(FILE));
    files.sync_dir(Path::new("/d")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    assert_eq!(syncs.load(Ordering::SeqCst), 2);
    assert_eq!(files.open(Path::new(FILE)).unwrap().modified_ms().unwrap(), 1234);
}

#[test]
fn the_power_goes_at_the_change_it_is_to_go_at() {
    let (disk, files) = disk(1);
    let before = disk.changes();
    disk.cut_power_after(2);
    let file = files.create(Path::new(FILE)).unwrap();
    file.write_at(b"bytes", 0).unwrap();
    assert!(file.write_at(b"more", 5).is_err() && files.sync_dir(Path::new("/d")).is_err());
    assert_eq!(disk.changes(), before + 2);
    disk.power_cut_as(Fate::Kept);
    let left = read(&*disk.files(), Path::new(FILE)).unwrap();
    assert!(b"bytesmore".starts_with(&left[..]) && left.len() >= 5, "{left:?}");
}

/// Something that a process does to a few files in two directories.
#[derive(Clone, Debug)]
enum Act {
    Create(PathBuf),
    Write {
        path: PathBuf,
        at: u64,
        len: usize,
    },
    Truncate(PathBuf, u64),
    Sync(PathBuf),
    /// Within its directory.
    Rename(PathBuf, String),
    Remove(PathBuf),
    SyncDir(PathBuf),
    WriteBack,
}

fn act() -> impl Strategy<Value = Act> {
    let name = || prop_oneof![Just("f"), Just("g"), Just("h")];
    let dir = || prop_oneof![Just("a"), Just("b")];
    let path = move || (dir(), name()).prop_map(|(dir, name)| Path::new("/").join(dir).join(name));
    prop_oneof![
        3 => path().prop_map(Act::Create),
        6 => (path(), 0_u64..2000, 1_usize..1500)
            .prop_map(|(path, at, len)| Act::Write { path, at, len }),
        1 => (path(), 0_u64..2500).prop_map(|(path, len)| Act::Truncate(path, len)),
        2 => path().prop_map(Act::Sync),
        2 => (path(), name()).prop_map(|(path, to)| Act::Rename(path, to.to_owned())),
        1 => path().prop_map(Act::Remove),
        2 => dir().prop_map(|dir| Act::SyncDir(Path::new("/").join(dir))),
        1 => Just(Act::WriteBack),
    ]
}

/// Carries an act out below `root`; `true` if it was possible. The bytes written depend on `now`.
fn carry_out(files: &dyn Files, root: &Path, act: &Act, now: u8) -> bool {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    match act {
        Act::Create(path) => files.create(&below(path)).is_ok(),
        Act::Write { path, at, len } => {
            files.open(&below(path)).is_ok_and(|file| file.write_at(&vec![now; *len], *at).is_ok())
        }
        Act::Truncate(path, len) => {
            files.open(&below(path)).is_ok_and(|file| file.truncate(*len).is_ok())
        }
        Act::Sync(path) => files.open(&below(path)).is_ok_and(|file| file.sync().is_ok()),
        Act::Rename(path, to) => {
            files.rename(&below(path), &below(&path.with_file_name(to))).is_ok()
        }
        Act::Remove(path) => files.remove(&below(path)).is_ok(),
        Act::SyncDir(path) => files.sync_dir(&below(path)).is_ok(),
        Act::WriteBack => true,
    }
}

fn make_dirs(files: &dyn Files, root: &Path) {
    for dir in ["a", "b"] {
        files.make_dir(&root.join(dir)).unwrap();
    }
    files.sync_dir(root).unwrap();
}

/// All that a process sees: names, lengths, bytes.
fn seen(files: &dyn Files, root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for dir in ["a", "b"] {
        for entry in files.list(&root.join(dir)).unwrap() {
            let bytes = read(files, &root.join(dir).join(&entry.name)).unwrap();
            assert_eq!(entry.size_bytes, bytes.len() as u64);
            all.insert(format!("{dir}/{}", entry.name), bytes);
        }
    }
    all
}

/// A file of the model, whole in both of its states.
#[derive(Clone, Debug, Default)]
struct Plain {
    live: Vec<u8>,
    durable: Vec<u8>,
}

impl Plain {
    /// Could a power cut have left these bytes?
    fn allows(&self, bytes: &[u8]) -> bool {
        let (a, b) = (self.live.len(), self.durable.len());
        let state = |of: &Vec<u8>| {
            let mut of = of.clone();
            of.resize(bytes.len(), 0);
            of
        };
        let (live, durable) = (state(&self.live), state(&self.durable));
        let is_either = |(at, sector): (usize, &[u8])| {
            let place = at * 512..at * 512 + sector.len();
            live[place.clone()] == *sector || durable[place] == *sector
        };
        (a.min(b)..=a.max(b)).contains(&bytes.len()) && bytes.chunks(512).enumerate().all(is_either)
    }
}

/// The disk as one would write it down: copies of everything at each sync.
#[derive(Default)]
struct Model {
    files: Vec<Plain>,
    /// Of each directory, what it has held since it was synced, oldest first.
    names: BTreeMap<PathBuf, Vec<BTreeMap<String, usize>>>,
}

impl Model {
    fn new() -> Self {
        let names = ["/a", "/b"].map(|dir| (PathBuf::from(dir), vec![BTreeMap::new()])).into();
        Self { files: Vec::new(), names }
    }

    fn find(&mut self, path: &Path) -> Option<&mut Plain> {
        let names = self.names[path.parent().unwrap()].last().unwrap();
        let at = names.get(path.file_name()?.to_str()?)?;
        self.files.get_mut(*at)
    }

    fn rename(&mut self, path: &Path, change: impl FnOnce(&mut BTreeMap<String, usize>, String)) {
        let states = self.names.get_mut(path.parent().unwrap()).unwrap();
        let mut names = states.last().unwrap().clone();
        change(&mut names, path.file_name().unwrap().to_str().unwrap().to_owned());
        states.push(names);
    }

    fn carry_out(&mut self, act: &Act, now: u8) {
        match act {
            Act::Create(path) => match self.find(path) {
                Some(file) => file.live.clear(),
                None => {
                    self.files.push(Plain::default());
                    let node = self.files.len() - 1;
                    self.rename(path, |names, name| {
                        names.insert(name, node);
                    });
                }
            },
            Act::Write { path, at, len } => {
                let file = self.find(path).unwrap();
                let at = usize::try_from(*at).unwrap();
                let end = file.live.len().max(at + len);
                file.live.resize(end, 0);
                file.live[at..at + len].fill(now);
            }
            Act::Truncate(path, len) => {
                self.find(path).unwrap().live.resize(usize::try_from(*len).unwrap(), 0);
            }
            Act::Sync(path) => {
                let file = self.find(path).unwrap();
                file.durable = file.live.clone();
            }
            Act::Rename(path, to) => self.rename(path, |names, name| {
                let node = names.remove(&name).unwrap();
                names.insert(to.clone(), node);
            }),
            Act::Remove(path) => self.rename(path, |names, name| {
                names.remove(&name);
            }),
            Act::SyncDir(path) => {
                let states = self.names.get_mut(path).unwrap();
                states.drain(..states.len() - 1);
            }
            Act::WriteBack => {}
        }
    }

    /// Could a power cut have left this?
    fn allows(&self, seen: &BTreeMap<String, Vec<u8>>) -> bool {
        self.names.iter().all(|(dir, states)| {
            let prefix = format!("{}/", dir.strip_prefix("/").unwrap().display());
            let found: BTreeMap<&str, &Vec<u8>> = seen
                .iter()
                .filter_map(|(path, bytes)| Some((path.strip_prefix(&prefix)?, bytes)))
                .collect();
            states.iter().any(|names| {
                names.len() == found.len()
                    && names.iter().all(|(name, node)| {
                        let bytes = found.get(name.as_str());
                        bytes.is_some_and(|bytes| self.files[*node].allows(bytes))
                    })
            })
        })
    }
}

proptest! {
    #[test]
    fn while_the_power_is_on_it_is_like_the_file_system_of_this_machine(
        acts in proptest::collection::vec(act(), 1..40),
        seed in any::<u64>(),
    ) {
        let work = tempfile::tempdir().unwrap();
        let disk = SimDisk::new(seed);
        let files = disk.files();
        make_dirs(&DiskFiles, work.path());
        make_dirs(&*files, Path::new("/"));
        for (now, act) in (1..).zip(&acts) {
            if matches!(act, Act::WriteBack) {
                disk.write_back();
            }
            let real = carry_out(&DiskFiles, work.path(), act, now);
            prop_assert_eq!(carry_out(&*files, Path::new("/"), act, now), real, "{:?}", act);
        }
        let here = seen(&*files, Path::new("/"));
        prop_assert_eq!(&here, &seen(&DiskFiles, work.path()));
        let used: usize = here.values().map(Vec::len).sum();
        prop_assert_eq!(disk.used_bytes(), used as u64);
        disk.crash();
        prop_assert_eq!(&here, &seen(&*disk.files(), Path::new("/")));
        prop_assert_eq!(disk.used_bytes(), used as u64);
    }

    #[test]
    fn a_power_cut_leaves_what_the_plain_model_allows(
        acts in proptest::collection::vec(act(), 1..40),
        seed in any::<u64>(),
        fate in prop_oneof![Just(Fate::Kept), Just(Fate::Lost), any::<u64>().prop_map(Fate::Torn)],
    ) {
        let run = || {
            let disk = SimDisk::new(seed);
            let (files, mut model) = (disk.files(), Model::new());
            make_dirs(&*files, Path::new("/"));
            let mut is_written_back = false;
            for (now, act) in (1..).zip(&acts) {
                if matches!(act, Act::WriteBack) {
                    disk.write_back();
                    is_written_back = true;
                }
                if carry_out(&*files, Path::new("/"), act, now) {
                    model.carry_out(act, now);
                }
            }
            let before = seen(&*files, Path::new("/"));
            disk.power_cut_as(fate);
            let after = seen(&*disk.files(), Path::new("/"));
            (before, after, model, is_written_back)
        };
        let (before, after, model, is_written_back) = run();
        prop_assert_eq!(&after, &run().1, "the same seed");
        if fate == Fate::Kept {
            prop_assert_eq!(&after, &before);
        }
        // What was written back is in a state between the two that the model keeps.
        if !is_written_back {
            prop_assert!(model.allows(&after), "{:?}: {:?} of {:?}", fate, after, model.names);
        }
        if fate == Fate::Lost && !is_written_back {
            let oldest = |states: &Vec<BTreeMap<String, usize>>| states[0].len();
            let named: usize = model.names.values().map(oldest).sum();
            prop_assert_eq!(after.len(), named);
        }
    }
}
