//! The topics that there are, as far as groups care.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;

use ottla_types::Uuid;

use crate::pattern::{Alphabet, BadPattern, compile_whole};

/// Names, ids and sizes of topics at one moment.
#[derive(Clone, Debug, Default)]
pub struct TopicCatalog {
    /// Later ones have larger numbers.
    pub version: i64,
    by_name: BTreeMap<Arc<str>, (Uuid, i32)>,
    by_id: BTreeMap<Uuid, Arc<str>>,
}

impl PartialEq for TopicCatalog {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl Eq for TopicCatalog {}

impl TopicCatalog {
    /// Names with ids and numbers of partitions.
    pub fn new(version: i64, all: impl Iterator<Item = (Arc<str>, Uuid, i32)>) -> Self {
        let mut topics = Self { version, ..Self::default() };
        for (name, id, partitions) in all {
            topics.by_id.insert(id, Arc::clone(&name));
            topics.by_name.insert(name, (id, partitions));
        }
        topics
    }

    /// The id of a topic and how many partitions it has.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        self.by_name.get(name).copied()
    }

    /// The name of a topic.
    #[must_use]
    pub fn name(&self, id: Uuid) -> Option<&str> {
        self.by_id.get(&id).map(AsRef::as_ref)
    }

    /// The topics whose whole name matches a pattern. Takes time in the size of names and pattern,
    /// whatever the pattern.
    ///
    /// # Errors
    /// The text is not a pattern of RE2/J.
    pub fn matching(&self, pattern: &str) -> Result<BTreeSet<String>, BadPattern> {
        let pattern = compile_whole(pattern, Alphabet::Ascii)?;
        let names = self.by_name.keys().filter(|name| pattern.is_match(name));
        Ok(names.map(|name| String::from(&**name)).collect())
    }

    /// A number that changes when one of these topics does; 0 if there is none.
    pub fn hash<'a>(&self, names: impl Iterator<Item = &'a String>) -> i64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        };
        let mut is_empty = true;
        for name in names {
            if let Some((id, partitions)) = self.find(name) {
                is_empty = false;
                add(name.as_bytes());
                add(&id.0);
                add(&partitions.to_be_bytes());
            }
        }
        if is_empty { 0 } else { hash.cast_signed() }
    }
}
