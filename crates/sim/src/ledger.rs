//! Which seeds have run already, so that a run that was stopped goes on where it was.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// A file with one line for each block of seeds that ran without a finding: its first seed, and
/// how many.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    done: Vec<(u64, u64)>,
}

impl Ledger {
    /// Opens or begins the ledger at `path`; a line that is only half there does not count.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let text = std::fs::read_to_string(path)?;
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let block = |line: &str| {
            let (first, count) = line.trim().split_once(' ')?;
            Some((first.parse().ok()?, count.parse().ok()?))
        };
        let done = whole.filter_map(block).collect();
        let mut ledger = Self { file, done };
        if !text.is_empty() && !text.ends_with('\n') {
            ledger.file.write_all(b"\n")?;
        }
        Ok(ledger)
    }

    /// Have all seeds of this block run?
    #[must_use]
    pub fn has(&self, first: u64, count: u64) -> bool {
        let holds = |(from, length): &(u64, u64)| {
            *from <= first && first.saturating_add(count) <= from.saturating_add(*length)
        };
        self.done.iter().any(holds)
    }

    /// A block of seeds has run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, first: u64, count: u64) -> io::Result<()> {
        self.done.push((first, count));
        self.file.write_all(format!("{first} {count}\n").as_bytes())
    }
}
