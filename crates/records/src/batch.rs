//! One batch, looked at where it lies.

use std::borrow::Cow;

use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::codec::Compression;
use crate::record::Records;
use crate::{HEADER_BYTES, NO_PRODUCER, OVERHEAD_BYTES, crc32c};

const MAGIC: i8 = 2;
/// The length of the shortest message, one of format 0 without key and value, in bytes.
const OLDEST_BYTES_MIN: i32 = 14;

/// Why bytes are no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// Fewer bytes than the batch says it has: an incomplete batch, or a wrong length.
    #[error("the batch needs {due} bytes, but only {left} are left")]
    Truncated {
        /// How many it takes.
        due: usize,
        /// How many there are.
        left: usize,
    },
    /// A length that no batch has.
    #[error("batch length {0} is invalid")]
    Length(i32),
    /// A message of the old formats whose checksum does not fit.
    #[error("the checksum of message {0} does not match its bytes")]
    Checksum(usize),
    /// Another message format.
    #[error("message format {0} where message format 2 is required")]
    Magic(i8),
    /// A number in the header that cannot be.
    #[error("the batch's {field} cannot be {value}")]
    Header {
        /// Which number.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// No such codec.
    #[error("unknown compression codec {0} in the batch")]
    Codec(i16),
    /// The codec refuses the bytes.
    #[error("the batch's {codec} data cannot be decompressed: {why}")]
    Compressed {
        /// Which codec.
        codec: &'static str,
        /// What it says.
        why: String,
    },
    /// Decompressed, the batch would be larger than allowed.
    #[error("the batch decompresses to more than {0} bytes")]
    TooLarge(usize),
    /// A record is not what the format says.
    #[error("record {index} of the batch is malformed: {why}")]
    Record {
        /// Which record, from 0.
        index: usize,
        /// What is wrong.
        why: &'static str,
    },
}

/// One v2 batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    bytes: &'a [u8],
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $ty:ident at $at:literal;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> $ty {
                self.$ty($at)
            }
        )*
    };
}

impl<'a> Batch<'a> {
    /// The batch at the front of `bytes`. Its header is checked, its checksum and records are not.
    ///
    /// # Errors
    /// The bytes are not a batch, or only a part of one.
    pub fn first(bytes: &'a [u8]) -> Result<Self, BadBatch> {
        let left = bytes.len();
        if left < OVERHEAD_BYTES {
            return Err(BadBatch::Truncated { due: HEADER_BYTES, left });
        }
        let claimed = Self { bytes }.i32(8);
        let due = usize::try_from(claimed)
            .ok()
            .map(|length| length + OVERHEAD_BYTES)
            .filter(|due| *due > OVERHEAD_BYTES + 4)
            .ok_or(BadBatch::Length(claimed))?;
        if left > 16 {
            let magic = bytes[16].cast_signed();
            if magic != MAGIC {
                return Err(BadBatch::Magic(magic));
            }
        }
        if due < HEADER_BYTES {
            return Err(BadBatch::Length(claimed));
        }
        if left < due {
            return Err(BadBatch::Truncated { due, left });
        }
        let batch = Self { bytes: &bytes[..due] };
        batch.bounded()?;
        Ok(batch)
    }

    /// As [`Batch::first`], of bytes that a producer sent: any numbers may be in the header, and
    /// a part of a batch is [`BadBatch::Truncated`] whatever is in it.
    ///
    /// # Errors
    /// The bytes are not a batch, or only a part of one.
    pub fn produced(bytes: &'a [u8]) -> Result<Self, BadBatch> {
        let left = bytes.len();
        let Some(length) = bytes.get(8..OVERHEAD_BYTES).and_then(|it| it.first_chunk::<4>()) else {
            return Err(BadBatch::Truncated { due: HEADER_BYTES, left });
        };
        let claimed = i32::from_be_bytes(*length);
        let due = usize::try_from(claimed).ok().map(|length| length + OVERHEAD_BYTES);
        // No message of any format is shorter.
        let Some(due) = due.filter(|_| claimed >= OLDEST_BYTES_MIN) else {
            return Err(BadBatch::Length(claimed));
        };
        if let Some(magic) = bytes.get(16).map(|it| it.cast_signed())
            && !(0..=MAGIC).contains(&magic)
        {
            return Err(BadBatch::Magic(magic));
        }
        if left < due {
            return Err(BadBatch::Truncated { due, left });
        }
        let magic = bytes[16].cast_signed();
        if magic != MAGIC {
            return Err(BadBatch::Magic(magic));
        }
        if due < HEADER_BYTES {
            return Err(BadBatch::Length(claimed));
        }
        Ok(Self { bytes: &bytes[..due] })
    }

    /// The batch whose header alone is `header`; nothing may be read of it but the header.
    ///
    /// # Errors
    /// As [`Batch::first`].
    pub fn header_only(header: &'a [u8; HEADER_BYTES]) -> Result<Self, BadBatch> {
        let batch = Self { bytes: header };
        if batch.magic() != MAGIC {
            return Err(BadBatch::Magic(batch.magic()));
        }
        if batch.i32(8) < 49 {
            return Err(BadBatch::Length(batch.i32(8)));
        }
        batch.bounded()?;
        Ok(batch)
    }

    fn bounded(&self) -> Result<(), BadBatch> {
        let refuse = |field, value| Err(BadBatch::Header { field, value });
        if self.last_offset_delta() < 0 {
            return refuse("the last offset delta", self.last_offset_delta().into());
        }
        if self.record_count() < 0 {
            return refuse("the record count", self.record_count().into());
        }
        if self.base_offset() < 0 || self.base_offset().checked_add(1 << 32).is_none() {
            return refuse("the base offset", self.base_offset());
        }
        Ok(())
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut value = [0; N];
        value.copy_from_slice(&self.bytes[at..at + N]);
        value
    }

    fn i8(&self, at: usize) -> i8 {
        self.bytes[at].cast_signed()
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_be_bytes(self.array(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_be_bytes(self.array(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_be_bytes(self.array(at))
    }

    fields! {
        /// The offset of the first record; a producer leaves 0 here.
        base_offset: i64 at 0;
        /// The epoch of the leader that wrote the batch.
        leader_epoch: i32 at 12;
        /// The message format, 2.
        magic: i8 at 16;
        /// The checksum in the batch's header.
        crc: u32 at 17;
        /// Codec, timestamp type and flags.
        attributes: i16 at 21;
        /// The distance from the first offset to the last.
        last_offset_delta: i32 at 23;
        /// What the records' timestamps are relative to; the delete horizon, if there is one.
        base_timestamp: i64 at 27;
        /// The newest timestamp, or the append time.
        max_timestamp: i64 at 35;
        /// The producer's id; -1 if not idempotent.
        producer_id: i64 at 43;
        /// Which incarnation of it.
        producer_epoch: i16 at 51;
        /// The sequence number of the first record; -1 if not idempotent.
        base_sequence: i32 at 53;
        /// How many records there are; compaction leaves fewer than offsets.
        record_count: i32 at 57;
    }

    /// The batch's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes the batch has, by its length field.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::try_from(self.i32(8)).unwrap_or(0) + OVERHEAD_BYTES
    }

    /// Does the checksum fit the bytes?
    #[must_use]
    pub fn crc_is_right(&self) -> bool {
        crc32c(&self.bytes[21..]) == self.crc()
    }

    /// The offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset() + Offset::from(self.last_offset_delta())
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// There is no such codec.
    pub fn compression(&self) -> Result<Compression, BadBatch> {
        Compression::of(self.attributes())
    }

    /// Is the append time the timestamp of all records?
    #[must_use]
    pub fn is_append_time(&self) -> bool {
        self.attributes() & 0x08 != 0
    }

    /// Does it belong to a transaction?
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes() & 0x10 != 0
    }

    /// Does it hold control records?
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes() & 0x20 != 0
    }

    /// From when on its tombstones may go (KIP-534).
    #[must_use]
    pub fn delete_horizon_ms(&self) -> Option<TimestampMs> {
        (self.attributes() & 0x40 != 0).then(|| self.base_timestamp())
    }

    /// Was it written by an idempotent producer?
    #[must_use]
    pub fn has_producer(&self) -> bool {
        self.producer_id() != NO_PRODUCER
    }

    /// The id and epoch of its producer.
    #[must_use]
    pub fn producer(&self) -> (ProducerId, ProducerEpoch) {
        (self.producer_id(), self.producer_epoch())
    }

    /// The sequence number of the last record; they wrap around behind the largest.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        if self.base_sequence() < 0 {
            return self.base_sequence();
        }
        let last = i64::from(self.base_sequence()) + i64::from(self.last_offset_delta());
        i32::try_from(last % (i64::from(i32::MAX) + 1)).unwrap_or(0)
    }

    /// The records, decompressed to at most `limit_bytes`.
    ///
    /// # Errors
    /// The codec is unknown, refuses the bytes, or would make more of them.
    pub fn unpack(&self, limit_bytes: usize) -> Result<Unpacked<'a>, BadBatch> {
        let packed = &self.bytes[HEADER_BYTES..];
        let records = match self.compression()? {
            Compression::None => Cow::Borrowed(packed),
            codec => Cow::Owned(codec.decompress(packed, limit_bytes)?),
        };
        Ok(Unpacked { batch: *self, records })
    }
}

/// A batch with its records decompressed.
#[derive(Clone, Debug)]
pub struct Unpacked<'a> {
    batch: Batch<'a>,
    records: Cow<'a, [u8]>,
}

impl<'a> Unpacked<'a> {
    /// The batch.
    #[must_use]
    pub const fn batch(&self) -> Batch<'a> {
        self.batch
    }

    /// The records' bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.records
    }

    /// The records one by one; ends at the first that is broken.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::new(self.batch, &self.records)
    }
}

/// The batches in `bytes`, one after the other. The first that is broken ends them.
#[must_use]
pub const fn batches_in(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, at: 0 }
}

/// See [`batches_in`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Batches<'_> {
    /// Where the next batch starts.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BadBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return None;
        }
        let batch = Batch::first(rest);
        match &batch {
            Ok(batch) => self.at += batch.bytes().len(),
            Err(_) => self.bytes = &self.bytes[..self.at],
        }
        Some(batch)
    }
}
