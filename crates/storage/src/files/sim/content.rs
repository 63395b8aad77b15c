//! The bytes of one simulated file: what a process reads, and what lies on the disk.
//!
//! Only what the two differ in is kept twice, sector by sector, so that an fsync costs what was
//! written since the last one, whatever the size of the file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Fate;
use super::chance::Chance;

/// What a disk writes whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;

/// The bytes of a sector.
type Sector = Box<[u8; SECTOR]>;

/// The bytes of a file.
///
/// An example: 1,300 bytes were written and made durable, then 400 appended, then byte 10 changed.
/// Now `live` has 1,700 bytes, `durable_len` is 1,300, and `undo` has sector 0 as it was before
/// byte 10 changed and sector 2 with its 276 durable bytes. Sector 3 lies behind the durable end:
/// it is dirty without an entry.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// What a process reads.
    live: Vec<u8>,
    /// How many bytes the file has on the disk.
    durable_len: usize,
    /// What the disk has, where a process has written something else since the last sync.
    undo: BTreeMap<usize, Sector>,
    /// What the disk has, where a sync failed: `live` shows the new bytes, and no later sync
    /// writes them.
    lost: BTreeMap<usize, Sector>,
}

/// How many sectors `len` bytes take.
const fn sector_count(len: usize) -> usize {
    len.div_ceil(SECTOR)
}

impl Content {
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    /// How many sectors a sync would have to write.
    pub(super) fn dirty_sectors(&self) -> usize {
        self.undo.len()
            + sector_count(self.live.len()).saturating_sub(sector_count(self.durable_len))
    }

    /// What the disk has, whole; for tests and for setting a file back.
    pub(super) fn durable(&self) -> Vec<u8> {
        let mut bytes = self.live.clone();
        bytes.resize(self.durable_len, 0);
        for (&at, sector) in self.undo.iter().chain(&self.lost) {
            put_sector(&mut bytes, at, sector);
        }
        bytes
    }

    /// Keeps what the disk has of the bytes that are about to change.
    fn before_change(&mut self, range: Range<usize>) {
        // The sector with the durable end in it, too: it may be written or not as a whole.
        let end = sector_count(range.end).min(sector_count(self.durable_len));
        for at in range.start / SECTOR..end {
            let old = self.lost.remove(&at);
            self.undo.entry(at).or_insert_with(|| old.unwrap_or_else(|| sector_of(&self.live, at)));
        }
    }

    pub(super) fn write_at(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        self.before_change(at.min(self.live.len())..end);
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[at..end].copy_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        let (short, long) = (self.live.len().min(len), self.live.len().max(len));
        self.before_change(short..long);
        self.live.resize(len, 0);
    }

    /// All of it is on the disk now.
    pub(super) fn sync(&mut self) {
        self.undo.clear();
        self.durable_len = self.live.len();
        drop(self.lost.split_off(&sector_count(self.durable_len)));
    }

    /// A sync fails, as Linux does after EIO: each dirty sector is written or not, as chance has
    /// it, and all of them are clean. What was not written stays readable until the cache lets it
    /// go, and no later sync writes it.
    pub(super) fn fail_sync(&mut self, chance: &mut Chance) {
        let behind = sector_count(self.durable_len)..sector_count(self.live.len());
        for (at, old) in std::mem::take(&mut self.undo) {
            if at < sector_count(self.live.len()) && chance.one_in_two() {
                self.lost.insert(at, old);
            }
        }
        for at in behind {
            if chance.one_in_two() {
                self.lost.insert(at, Box::new([0; SECTOR]));
            }
        }
        self.durable_len = self.live.len();
    }

    /// The cache lets these bytes go: what a failed sync did not write is seen now.
    pub(super) fn evict(&mut self, range: Range<u64>) {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let whole = place(range.start).div_ceil(SECTOR)..place(range.end).div_ceil(SECTOR);
        let evicted: Vec<usize> =
            self.lost.keys().copied().filter(|at| whole.contains(at)).collect();
        for at in evicted {
            if let Some(old) = self.lost.remove(&at) {
                put_sector(&mut self.live, at, &old);
            }
        }
    }

    /// The system writes back some of what is dirty, as chance has it; the file's length on the
    /// disk may grow with that.
    pub(super) fn write_back(&mut self, chance: &mut Chance) {
        let live = sector_count(self.live.len());
        self.undo.retain(|at, _| *at >= live || chance.one_in_two());
        if self.durable_len < self.live.len() {
            let more = chance.below(self.live.len() - self.durable_len + 1);
            // The sector in which the durable end lies is written with it.
            self.undo.remove(&(self.durable_len / SECTOR));
            self.durable_len += more;
        }
    }

    /// The power went: what lies on the disk is what a process reads from now on.
    pub(super) fn power_cut(&mut self, fate: Fate, chance: &mut Chance) {
        let (live_len, durable_len) = (self.live.len(), self.durable_len);
        let len = match fate {
            Fate::Kept => live_len,
            Fate::Lost => durable_len,
            Fate::Torn(_) => {
                let (short, long) = (live_len.min(durable_len), live_len.max(durable_len));
                short + chance.below(long - short + 1)
            }
        };
        let mut is_lost = |fate| match fate {
            Fate::Kept => false,
            Fate::Lost => true,
            Fate::Torn(_) => chance.one_in_two(),
        };
        self.live.resize(live_len.max(durable_len), 0);
        for (at, old) in std::mem::take(&mut self.undo) {
            // Of what was cut off the disk has the old bytes, as nothing was written there.
            if at * SECTOR >= live_len || is_lost(fate) {
                put_sector(&mut self.live, at, &old);
            }
        }
        for at in sector_count(durable_len)..sector_count(live_len) {
            if is_lost(fate) {
                put_sector(&mut self.live, at, &[0; SECTOR]);
            }
        }
        for (at, old) in std::mem::take(&mut self.lost) {
            put_sector(&mut self.live, at, &old);
        }
        self.live.resize(len, 0);
        self.durable_len = len;
    }

    /// Another state of the file, on the disk and for readers.
    pub(super) fn set(&mut self, bytes: &[u8]) {
        *self = Self { live: bytes.to_vec(), durable_len: bytes.len(), ..Self::default() };
    }

    /// Turns one bit in the range over, on the disk and for readers; `false` if the file has
    /// nothing there.
    pub(super) fn rot(&mut self, range: Range<usize>, chance: &mut Chance) -> bool {
        let range = range.start.min(self.live.len())..range.end.min(self.live.len());
        if range.is_empty() {
            return false;
        }
        let (at, bit) = (range.start + chance.below(range.len()), 1 << chance.below(8));
        self.live[at] ^= bit;
        for kept in [&mut self.undo, &mut self.lost] {
            if let Some(sector) = kept.get_mut(&(at / SECTOR)) {
                sector[at % SECTOR] ^= bit;
            }
        }
        true
    }
}

/// A copy of a sector; zeros where the bytes have ended.
fn sector_of(bytes: &[u8], at: usize) -> Sector {
    let mut sector = Box::new([0; SECTOR]);
    let held = bytes.get(at * SECTOR..).unwrap_or_default();
    let held = &held[..held.len().min(SECTOR)];
    sector[..held.len()].copy_from_slice(held);
    sector
}

/// Puts a sector into its place, as far as there are bytes.
fn put_sector(bytes: &mut [u8], at: usize, sector: &[u8; SECTOR]) {
    let place = bytes.get_mut(at * SECTOR..).unwrap_or_default();
    let len = place.len().min(SECTOR);
    place[..len].copy_from_slice(&sector[..len]);
}
