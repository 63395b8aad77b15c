//! The record batch: bytes, compression, checksums, control records.
//!
//! A batch (message format v2, KIP-98) is read in place: [`Batch`] is a borrowed view of
//! its bytes, [`Batch::unpack`] decompresses under a bound, and a [`Record`] borrows from that.
//! [`check_batches`] is what a leader demands of a batch from outside, [`BatchBuilder`] makes one.
//!
//! ```text
//! 0 base offset i64 | 8 length i32 (bytes after it) | 12 leader epoch i32 | 16 magic i8 = 2
//! 17 crc-32c u32 (of all behind it) | 21 attributes i16 | 23 last offset delta i32
//! 27 base timestamp i64 | 35 max timestamp i64 | 43 producer id i64 | 51 producer epoch i16
//! 53 base sequence i32 | 57 record count i32 | 61 records, compressed as a whole
//! ```

mod batch;
mod builder;
mod check;
mod codec;
pub mod control;
pub mod legacy;
mod record;
mod repack;
mod survey;
mod unpack;
mod varint;
mod xxhash;

pub use batch::{BadBatch, Batch, Batches, Unpacked, batches_in};
pub use builder::{BatchBuilder, BatchOptions, NewRecord};
pub use check::{
    BadRecords, BatchRules, CheckedBatch, RecordError, RecordRule, TimestampRules, at_a_glance,
    check_batches, only_batch,
};
pub use codec::Compression;
pub use record::{Headers, Record, Records};
pub use repack::RepackAs;
pub use unpack::Scratch;

/// How many bytes a batch's header has.
pub const HEADER_BYTES: usize = 61;
/// How many bytes stand before those that a batch's length counts.
pub const OVERHEAD_BYTES: usize = 12;
/// The producer id of a producer that is not idempotent.
pub const NO_PRODUCER: i64 = -1;

/// The checksum of a batch: CRC-32C (Castagnoli).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    low(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes))
}

/// As [`crc32c`], of parts that follow each other.
#[must_use]
pub fn crc32c_of_parts(parts: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    low(digest.finalize())
}

/// The checksum of the old message formats and of gzip: CRC-32 as in zip files.
fn crc32(bytes: &[u8]) -> u32 {
    low(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes))
}

fn low(crc: u64) -> u32 {
    u32::try_from(crc & u64::from(u32::MAX)).unwrap_or_default()
}
