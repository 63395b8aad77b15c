//! Reading a produced batch through before its partition's turn.
//!
//! To unpack a batch, or to compress it another way, takes long beside what an append takes. So it
//! happens outside of the partition's lock, and may happen on another thread than the append.

use ottla_records::{BadRecords, Batch, Compression, check_batches, only_batch};

use crate::owner::Terms;
use crate::partition::Partition;

/// To how many bytes a batch may unpack.
pub(crate) const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// How much work a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// So little that a thread may do it that has others to serve.
    Small,
    /// Whatever it takes.
    Any,
}

/// How many bytes a batch has at most that is a small effort, and to how many it unpacks. Both are
/// about a tenth of a millisecond; to hand it to another thread costs half of that.
const SMALL_BYTES_MAX: usize = 32 << 10;
pub(crate) const SMALL_UNPACKED_BYTES_MAX: usize = 128 << 10;
/// As above, for codecs that unpack several times as fast: snappy and LZ4.
const SMALL_FAST_BYTES_MAX: usize = 96 << 10;

const _: () = assert!(SMALL_BYTES_MAX <= SMALL_UNPACKED_BYTES_MAX);
const _: () = assert!(SMALL_UNPACKED_BYTES_MAX <= UNPACKED_BYTES_MAX);

/// A batch that was read through.
#[derive(Debug)]
pub struct Inspected(pub(crate) Result<Sound, BadRecords>);

/// A batch in which everything is as it should be.
#[derive(Debug)]
pub(crate) struct Sound {
    /// The batch as it is to be stored, if not as it came.
    pub repacked: Option<Vec<u8>>,
    /// The newest timestamp of its records.
    pub max_timestamp: i64,
}

impl Partition {
    /// Must the batch be read through before it is appended? So it must if it is compressed, or is
    /// to be.
    #[must_use]
    pub fn must_inspect(&self, records: &[u8]) -> bool {
        claims_compression(records) || self.repacks()
    }

    /// Reads a batch through; `None` if that is more work than it may be, or the partition has been
    /// closed.
    #[must_use]
    pub fn inspect(&self, records: &[u8], terms: &Terms, effort: Effort) -> Option<Inspected> {
        let mut rules = self.peek(|owner| owner.record_rules(terms))?;
        let bounded = effort == Effort::Small;
        if bounded {
            rules.unpacked_bytes_max = SMALL_UNPACKED_BYTES_MAX;
            let batch = only_batch(records).ok();
            if batch.is_some_and(|it| !is_small(&it, rules.store_as.is_some())) {
                return None;
            }
        }
        match check_batches(records, &rules) {
            Err(error) if bounded && error.is_too_large_unpacked() => None,
            Err(error) => Some(Inspected(Err(error))),
            Ok(checked) => {
                let max_timestamp = checked.max_timestamp;
                Some(Inspected(Ok(Sound { repacked: checked.repacked, max_timestamp })))
            }
        }
    }
}

/// Does the batch say that it is compressed? Bytes that are no batch may say anything.
#[must_use]
pub fn claims_compression(records: &[u8]) -> bool {
    // The codec stands in the low byte of the attributes.
    records.get(22).is_some_and(|low| low & 0x07 != 0)
}

fn is_small(batch: &Batch<'_>, is_repacked: bool) -> bool {
    let most = match batch.compression() {
        // To compress takes several times as long as to unpack.
        _ if is_repacked => SMALL_BYTES_MAX / 4,
        Ok(Compression::None) => return true,
        Ok(Compression::Snappy | Compression::Lz4) => SMALL_FAST_BYTES_MAX,
        _ => SMALL_BYTES_MAX,
    };
    batch.bytes().len() <= most
}
