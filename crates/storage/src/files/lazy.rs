//! A file that is opened when it is first needed: most segments of most logs never are.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use ottla_types::TimestampMs;

use super::{File, FileRef, Files};

/// A file that exists, open or not yet.
#[derive(Debug)]
pub(crate) struct LazyFile {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// Set by the first use. Two that come at once both open it, and one of the files is dropped.
    open: OnceLock<FileRef>,
}

impl LazyFile {
    pub(crate) fn at(files: &Arc<dyn Files>, path: PathBuf) -> FileRef {
        Arc::new(Self { files: Arc::clone(files), path, open: OnceLock::new() })
    }

    fn file(&self) -> io::Result<&FileRef> {
        if let Some(file) = self.open.get() {
            return Ok(file);
        }
        let file = self.files.open(&self.path)?;
        Ok(self.open.get_or_init(|| file))
    }
}

impl File for LazyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file()?.read_at(buf, at)
    }

    fn read_into(&self, out: &mut Vec<u8>, at: u64, len: usize) -> io::Result<()> {
        self.file()?.read_into(out, at, len)
    }

    fn is_cached(&self, range: Range<u64>) -> bool {
        self.file().is_ok_and(|file| file.is_cached(range))
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file()?.write_at(bytes, at)
    }

    fn write_parts_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        self.file()?.write_parts_at(parts, at)
    }

    fn ready(&self) -> io::Result<()> {
        self.file().map(|_| ())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file()?.truncate(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file()?.size()
    }

    fn sync(&self) -> io::Result<()> {
        self.file()?.sync()
    }

    fn modified_ms(&self) -> io::Result<TimestampMs> {
        self.file()?.modified_ms()
    }

    fn let_go(&self, range: Range<u64>) {
        if let Some(file) = self.open.get() {
            file.let_go(range);
        }
    }

    fn reserve(&self, range: Range<u64>) -> io::Result<()> {
        self.file()?.reserve(range)
    }
}
