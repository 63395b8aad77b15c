//! What a leader demands of a batch from outside.

use ottla_types::{ErrorCode, TimestampMs};

use crate::batch::{BadBatch, Batch};
use crate::builder::{BatchBuilder, BatchOptions};
use crate::codec::Compression;

/// The bounds of `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampRules {
    /// Now, in milliseconds.
    pub now_ms: TimestampMs,
    /// How far a timestamp may lie in the past, in milliseconds.
    pub before_max_ms: i64,
    /// How far a timestamp may lie in the future, in milliseconds.
    pub after_max_ms: i64,
}

/// What is demanded.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The largest batch, in bytes (`max.message.bytes`).
    pub batch_bytes_max: usize,
    /// May the batch be compressed with zstd? Not before Produce v7 (KIP-110).
    pub zstd_allowed: bool,
    /// Must every record have a key? It must in a compacted topic.
    pub keys_needed: bool,
    /// The bounds on create times; `None` where the append time counts.
    pub timestamps: Option<TimestampRules>,
    /// To how many bytes a batch may unpack when its records must be looked at.
    pub unpacked_bytes_max: usize,
}

/// A batch that may be appended.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a> {
    /// The batch.
    pub batch: Batch<'a>,
    /// How it is compressed.
    pub compression: Compression,
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecords {
    /// There is none.
    #[error("there is no batch")]
    Empty,
    /// More than one batch for one partition.
    #[error("one batch a partition is allowed, and there are more")]
    MoreThanOne,
    /// The bytes are no batch.
    #[error(transparent)]
    Broken(BadBatch),
    /// The checksum does not fit.
    #[error("the checksum of the batch does not fit its bytes")]
    Crc,
    /// Larger than the topic allows.
    #[error("the batch has {size} bytes, and the topic allows {max}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What is allowed.
        max: usize,
    },
    /// Only brokers write control batches.
    #[error("clients may not write control batches")]
    Control,
    /// Counts and offsets contradict each other.
    #[error("the batch has {count} records for {offsets} offsets")]
    Count {
        /// Records by the header.
        count: i64,
        /// Offsets by the header.
        offsets: i64,
    },
    /// A producer id needs a sequence, a transaction a producer id.
    #[error("producer id, epoch and sequence do not belong together")]
    Producer,
    /// The codec came later than the version the client speaks.
    #[error("zstd needs Produce version 7")]
    ZstdTooEarly,
    /// Records that break a rule, by index.
    #[error("{} record(s) have no key in a compacted topic", .0.len())]
    KeysMissing(Vec<usize>),
    /// A timestamp out of bounds.
    #[error("timestamp {timestamp} is out of the range [{from}, {to}]")]
    Timestamp {
        /// The timestamp.
        timestamp: TimestampMs,
        /// The oldest allowed.
        from: TimestampMs,
        /// The newest allowed.
        to: TimestampMs,
    },
}

impl BadRecords {
    /// What a client is told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Empty | Self::MoreThanOne | Self::Control | Self::Count { .. } => {
                ErrorCode::INVALID_RECORD
            }
            Self::Broken(BadBatch::Codec(_)) | Self::ZstdTooEarly => {
                ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
            }
            Self::Broken(BadBatch::Magic(_)) => ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
            Self::Broken(BadBatch::Record { .. }) => ErrorCode::INVALID_RECORD,
            Self::Broken(_) | Self::Crc => ErrorCode::CORRUPT_MESSAGE,
            Self::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            Self::Producer | Self::KeysMissing(_) => ErrorCode::INVALID_RECORD,
            Self::Timestamp { .. } => ErrorCode::INVALID_TIMESTAMP,
        }
    }

    /// Which records are wrong, and what is wrong with each (KIP-467).
    #[must_use]
    pub fn records(&self) -> Vec<(usize, String)> {
        match self {
            Self::KeysMissing(indexes) => indexes
                .iter()
                .map(|index| (*index, "a record of a compacted topic needs a key".to_owned()))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Looks a produced batch over. Records are unpacked only where a rule is about them: the checksum
/// already says that they are what the client sent.
///
/// # Errors
/// The first rule that is broken.
pub fn check<'a>(bytes: &'a [u8], rules: &Rules) -> Result<Checked<'a>, BadRecords> {
    if bytes.is_empty() {
        return Err(BadRecords::Empty);
    }
    let batch = Batch::first(bytes).map_err(BadRecords::Broken)?;
    if batch.bytes().len() < bytes.len() {
        return Err(BadRecords::MoreThanOne);
    }
    if !batch.crc_is_right() {
        return Err(BadRecords::Crc);
    }
    let size = batch.bytes().len();
    if size > rules.batch_bytes_max {
        return Err(BadRecords::TooLarge { size, max: rules.batch_bytes_max });
    }
    let compression = batch.compression().map_err(BadRecords::Broken)?;
    if compression == Compression::Zstd && !rules.zstd_allowed {
        return Err(BadRecords::ZstdTooEarly);
    }
    header(&batch)?;
    if let Some(bounds) = rules.timestamps {
        timestamps(&batch, bounds)?;
    }
    if rules.keys_needed {
        keys(&batch, rules)?;
    }
    Ok(Checked { batch, compression })
}

fn header(batch: &Batch<'_>) -> Result<(), BadRecords> {
    if batch.is_control() {
        return Err(BadRecords::Control);
    }
    let count = i64::from(batch.record_count());
    let offsets = i64::from(batch.last_offset_delta()) + 1;
    if count != offsets || count == 0 {
        return Err(BadRecords::Count { count, offsets });
    }
    // A record has at least seven bytes before compression; a count beyond that is a lie.
    let room = batch.bytes().len() - crate::HEADER_BYTES;
    let plain = batch.compression() == Ok(Compression::None);
    if plain && count.saturating_mul(7) > i64::try_from(room).unwrap_or(i64::MAX) {
        return Err(BadRecords::Count { count, offsets });
    }
    let idempotent = batch.has_producer();
    let negative = batch.producer_epoch() < 0 || batch.base_sequence() < 0;
    if idempotent && (negative || batch.producer_id() < 0)
        || !idempotent && batch.is_transactional()
    {
        return Err(BadRecords::Producer);
    }
    Ok(())
}

fn timestamps(batch: &Batch<'_>, rules: TimestampRules) -> Result<(), BadRecords> {
    let from = rules.now_ms.saturating_sub(rules.before_max_ms);
    let to = rules.now_ms.saturating_add(rules.after_max_ms);
    // The base is the first record's time, the maximum the newest: the two that the header tells.
    for timestamp in [batch.base_timestamp(), batch.max_timestamp()] {
        // -1 is "none", which any topic takes.
        if timestamp != -1 && !(from..=to).contains(&timestamp) {
            return Err(BadRecords::Timestamp { timestamp, from, to });
        }
    }
    Ok(())
}

fn keys(batch: &Batch<'_>, rules: &Rules) -> Result<(), BadRecords> {
    let unpacked = batch.unpack(rules.unpacked_bytes_max).map_err(BadRecords::Broken)?;
    let mut missing = Vec::new();
    for (index, record) in unpacked.records().enumerate() {
        if record.map_err(BadRecords::Broken)?.key.is_none() {
            missing.push(index);
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(BadRecords::KeysMissing(missing)) }
}

/// The batch packed another way, for a topic that has its own `compression.type`.
///
/// # Errors
/// The batch is broken, or unpacks to more than `limit_bytes`.
pub fn recompress(
    batch: &Batch<'_>,
    compression: Compression,
    level: Option<i32>,
    limit_bytes: usize,
) -> Result<Vec<u8>, BadBatch> {
    let unpacked = batch.unpack(limit_bytes)?;
    let mut builder =
        BatchBuilder::new(BatchOptions { compression, level, ..BatchOptions::of(batch)? });
    for record in unpacked.records() {
        builder.push_as_it_was(&record?, batch.base_offset());
    }
    builder.build()
}
