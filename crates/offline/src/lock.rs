//! Which process has a file locked, without taking a lock.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The id of the process that has this file locked; `None` if none has, or if the system does not
/// say (another machine, another container).
pub(crate) fn lock_holder(path: &Path) -> Option<u32> {
    let file = std::fs::metadata(path).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let (major, minor) = (file.dev() >> 8 & 0xFFF, file.dev() & 0xFF | file.dev() >> 12 & 0xFFF00);
    let device = format!("{major:02x}:{minor:02x}");
    locks
        .lines()
        .filter_map(Held::read)
        .find(|held| {
            // Where file systems lie over each other, the device of the lock is another one.
            held.inode == file.ino() && (held.device == device || has_open(held.process, path))
        })
        .map(|held| held.process)
}

/// A line of `/proc/locks`.
struct Held<'a> {
    process: u32,
    device: &'a str,
    inode: u64,
}

impl<'a> Held<'a> {
    /// `1: FLOCK  ADVISORY  WRITE 4711 08:01:131098 0 EOF`; lines of processes that wait have an
    /// arrow after the number.
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(4);
        let process = words.next()?.parse().ok()?;
        let (device, inode) = words.next()?.rsplit_once(':')?;
        Some(Self { process, device, inode: inode.parse().ok()? })
    }
}

fn has_open(process: u32, path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.into_iter().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_locks_are_read() {
        let held = Held::read("12: FLOCK  ADVISORY  WRITE 4711 fd:00:131098 0 EOF").unwrap();
        assert_eq!((held.process, held.device, held.inode), (4711, "fd:00", 131_098));
        assert!(Held::read("12: -> FLOCK  ADVISORY  WRITE 4712 fd:00:131098 0 EOF").is_none());
        assert!(Held::read("").is_none());
    }

    #[test]
    fn a_file_without_a_lock_has_no_holder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".lock");
        assert_eq!(lock_holder(&file), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(lock_holder(&file), None);
    }
}
