//! The last offset of each key, in bounded memory.

use std::collections::HashMap;
use std::hash::Hasher as _;

use ottla_types::Offset;
use siphasher::sip128::{Hasher128, SipHasher13};

/// About what one key takes in the table, in bytes.
const ENTRY_BYTES: usize = 48;

/// Which offset is the last of each key.
///
/// A key is known by 128 bits of a keyed hash: two keys that share them are as good as impossible
/// to meet and, as the hash's key is drawn again for each cleaning, impossible to make.
#[derive(Debug)]
pub(crate) struct Keys {
    offsets: HashMap<u128, Offset>,
    most: usize,
    hasher: SipHasher13,
}

impl Keys {
    /// A table that takes about so much memory.
    pub(crate) fn new(memory_bytes: usize, seed: [u8; 16]) -> Self {
        let hasher = SipHasher13::new_with_key(&seed);
        Self { offsets: HashMap::new(), most: (memory_bytes / ENTRY_BYTES).max(1), hasher }
    }

    fn hash(&self, key: &[u8]) -> u128 {
        let mut hasher = self.hasher;
        hasher.write(key);
        hasher.finish128().as_u128()
    }

    /// Is there room for that many more keys? An empty table always has.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.offsets.is_empty() || self.offsets.len() + more <= self.most
    }

    /// The key's last record, up to now, is at `offset`.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) {
        let hash = self.hash(key);
        self.offsets.insert(hash, offset);
    }

    /// Is there a later record of the key than the one at `offset`?
    pub(crate) fn is_outdated(&self, key: &[u8], offset: Offset) -> bool {
        self.offsets.get(&self.hash(key)).is_some_and(|last| *last > offset)
    }
}
