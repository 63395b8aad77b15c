//! The cells: for each seat one of each number.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::seat::{SEATS, seat};

/// How many cells there are, of all names together.
pub const CELLS_MAX: usize = CHUNK_CELLS * CHUNKS;
const CHUNK_CELLS: usize = 256;
const CHUNKS: usize = 256;

type Chunk = [AtomicU64; CHUNK_CELLS];

/// The cells of a seat: a chunk is made when its thread first counts there.
struct Row([OnceLock<Box<Chunk>>; CHUNKS]);

/// A row for each seat, and one that the threads without a seat share.
pub struct Cells([OnceLock<Box<Row>>; SEATS + 1]);

impl Default for Cells {
    fn default() -> Self {
        Self([const { OnceLock::new() }; SEATS + 1])
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().filter(|row| row.get().is_some()).count();
        f.debug_struct("Cells").field("rows", &rows).finish()
    }
}

impl Cells {
    /// Adds to this thread's cell; nothing, if there is no such cell.
    pub fn add(&self, at: usize, count: u64) {
        if at >= CELLS_MAX {
            return;
        }
        let seat = seat();
        let row = self.0[seat].get_or_init(|| Box::new(Row([const { OnceLock::new() }; CHUNKS])));
        let chunk = row.0[at / CHUNK_CELLS]
            .get_or_init(|| Box::new([const { AtomicU64::new(0) }; CHUNK_CELLS]));
        let cell = &chunk[at % CHUNK_CELLS];
        if seat == SEATS {
            cell.fetch_add(count, Ordering::Relaxed);
        } else {
            // Only this thread writes it: what is read is what it wrote last.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
        }
    }

    /// Of all threads.
    pub fn sum(&self, at: usize) -> u64 {
        let all = self.of_all(at);
        all.fold(0, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }

    /// Back to 0, while no thread counts there.
    pub fn clear(&self, at: usize) {
        self.of_all(at).for_each(|cell| cell.store(0, Ordering::Relaxed));
    }

    fn of_all(&self, at: usize) -> impl Iterator<Item = &AtomicU64> {
        let rows = self.0.iter().filter_map(OnceLock::get);
        let chunks = rows.filter_map(move |row| row.0.get(at / CHUNK_CELLS)?.get());
        chunks.map(move |chunk| &chunk[at % CHUNK_CELLS])
    }
}
