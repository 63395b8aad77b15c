//! The real file system.

use std::fs;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ottla_types::TimestampMs;

use super::{File, FileRef, Files, Listed, Lock};

/// How many parts the system takes in one call.
const PARTS_MAX: usize = 1024;

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn create(&self, path: &Path) -> io::Result<FileRef> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(DiskFile(options.open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<FileRef> {
        Ok(Arc::new(DiskFile(fs::OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // No name of ours is anything but ASCII; what else lies here is not ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            // The directory's own entries show what is a directory: there may be thousands.
            let size = match entry.file_type() {
                Ok(kind) if kind.is_dir() => Ok(None),
                _ => entry.metadata().map(|it| Some(it.len()).filter(|_| !it.is_dir())),
            };
            match size {
                Ok(size) => found.push(Listed {
                    name,
                    is_dir: size.is_none(),
                    size_bytes: size.unwrap_or(0),
                }),
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self, dir: &Path) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(dir).ok()?;
        Some((found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

#[derive(Debug)]
struct DiskFile(fs::File);

impl File for DiskFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buf.len() {
            match self.0.read_at(&mut buf[read..], at + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn read_into(&self, out: &mut Vec<u8>, at: u64, len: usize) -> io::Result<()> {
        // Into the vector's unused room: nothing is zeroed first only to be overwritten.
        let start = out.len();
        out.reserve_exact(len);
        while out.len() - start < len {
            let position = at + (out.len() - start) as u64;
            match rustix::io::pread(&self.0, rustix::buffer::spare_capacity(out), position) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The vector may have had more room than was asked for.
        out.truncate(start + len);
        Ok(())
    }

    fn is_cached(&self, range: Range<u64>) -> bool {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};
        let last = range.end.saturating_sub(1).max(range.start);
        [range.start, u64::midpoint(range.start, last), last].into_iter().all(|at| {
            let mut byte = [0];
            let place = &mut [io::IoSliceMut::new(&mut byte)];
            // A file system that does not know the flag is always taken to have it at hand.
            !matches!(preadv2(&self.0, place, at, ReadWriteFlags::NOWAIT), Err(Errno::AGAIN))
        })
    }

    fn let_go(&self, range: Range<u64>) {
        use rustix::fs::{Advice, fadvise};
        // Linux starts the write-back of dirty pages in the range and drops the clean ones.
        if let Some(length) = std::num::NonZeroU64::new(range.end.saturating_sub(range.start)) {
            let _ = fadvise(&self.0, range.start, Some(length), Advice::DontNeed);
        }
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let length = range.end.saturating_sub(range.start);
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, range.start, length) {
            // Not every file system supports it; it is only for speed.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn write_parts_at(&self, parts: &[IoSlice<'_>], mut at: u64) -> io::Result<()> {
        for some in parts.chunks(PARTS_MAX) {
            let total: usize = some.iter().map(|part| part.len()).sum();
            let written = match rustix::io::pwritev(&self.0, some, at) {
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            if written < total {
                // A short write is rare enough to be finished plainly.
                let all = some.iter().flat_map(|part| part.iter().copied());
                self.write_at(&all.skip(written).collect::<Vec<u8>>(), at + written as u64)?;
            }
            at += total as u64;
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn modified_ms(&self) -> io::Result<TimestampMs> {
        let since = self.0.metadata()?.modified()?.duration_since(UNIX_EPOCH);
        Ok(since
            .map_or(0, |age| TimestampMs::try_from(age.as_millis()).unwrap_or(TimestampMs::MAX)))
    }
}
