//! Makes a batch.

use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::batch::{BadBatch, Batch};
use crate::codec::Compression;
use crate::record::Record;
use crate::varint::{length_i64, size_i64, write_i64};
use crate::{HEADER_BYTES, NO_PRODUCER, OVERHEAD_BYTES, crc32c};

/// The fields of a batch's header that do not follow from its records.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The leader's epoch; -1 from a producer.
    pub leader_epoch: LeaderEpoch,
    /// How to compress.
    pub compression: Compression,
    /// How hard to compress; the codec's default by default.
    pub level: Option<i32>,
    /// Does it belong to a transaction?
    pub transactional: bool,
    /// Does it hold control records?
    pub control: bool,
    /// The append time of all records, if that is their timestamp.
    pub append_time: Option<TimestampMs>,
    /// The producer's id; -1 if not idempotent.
    pub producer_id: ProducerId,
    /// Which incarnation of it.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record; -1 if not idempotent.
    pub base_sequence: Sequence,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            compression: Compression::None,
            level: None,
            transactional: false,
            control: false,
            append_time: None,
            producer_id: NO_PRODUCER,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }
}

impl BatchOptions {
    /// Those of a batch that there is.
    ///
    /// # Errors
    /// Its codec is unknown.
    pub fn of(batch: &Batch<'_>) -> Result<Self, BadBatch> {
        Ok(Self {
            base_offset: batch.base_offset(),
            leader_epoch: batch.leader_epoch(),
            compression: batch.compression()?,
            level: None,
            transactional: batch.is_transactional(),
            control: batch.is_control(),
            append_time: batch.is_append_time().then(|| batch.max_timestamp()),
            producer_id: batch.producer_id(),
            producer_epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
        })
    }
}

/// A record to be put into a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Its timestamp.
    pub timestamp: TimestampMs,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A batch in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    records: Vec<u8>,
    count: i32,
    last_delta: i32,
    horizon: Option<TimestampMs>,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
}

impl BatchBuilder {
    /// A batch without records.
    #[must_use]
    pub const fn new(options: BatchOptions) -> Self {
        Self {
            options,
            records: Vec::new(),
            count: 0,
            last_delta: -1,
            horizon: None,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// From when on the batch's tombstones and markers may go (KIP-534). Its time stands where
    /// the base timestamp does, so it must be set before the first record is added.
    pub const fn set_delete_horizon(&mut self, horizon_ms: TimestampMs) {
        self.horizon = Some(horizon_ms);
        self.base_timestamp = horizon_ms;
    }

    /// The batch reaches so far behind its first offset, though its last records are gone; one
    /// that has lost all keeps `max_timestamp`.
    pub fn reach(&mut self, last_delta: i32, max_timestamp: TimestampMs) {
        self.last_delta = self.last_delta.max(last_delta);
        if self.count == 0 {
            self.max_timestamp = max_timestamp;
            self.base_timestamp = self.horizon.unwrap_or(max_timestamp);
        }
    }

    /// Adds a record at the next offset.
    pub fn push(&mut self, record: &NewRecord<'_>) {
        self.push_at(self.last_delta + 1, record);
    }

    /// Adds a record so far behind the first offset.
    pub fn push_at(&mut self, delta: i32, record: &NewRecord<'_>) {
        if self.count == 0 {
            self.base_timestamp = self.horizon.unwrap_or(record.timestamp);
        }
        self.count += 1;
        self.last_delta = delta;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let since = record.timestamp - self.base_timestamp;
        write_i64(&mut self.records, body_length(since, delta, record));
        self.records.push(0);
        write_i64(&mut self.records, since);
        write_i64(&mut self.records, delta.into());
        write_nullable(&mut self.records, record.key);
        write_nullable(&mut self.records, record.value);
        write_i64(&mut self.records, i64::try_from(record.headers.len()).unwrap_or(i64::MAX));
        for (name, value) in record.headers {
            write_nullable(&mut self.records, Some(name));
            write_nullable(&mut self.records, *value);
        }
    }

    /// Adds a record of another batch at the offset it has there; `base_offset` is this batch's.
    pub fn push_as_it_was(&mut self, record: &Record<'_>, base_offset: Offset) {
        let headers: Vec<_> = record.headers().collect();
        let delta = i32::try_from(record.offset - base_offset).unwrap_or(i32::MAX);
        let (timestamp, key, value) = (record.timestamp, record.key, record.value);
        self.push_at(delta, &NewRecord { timestamp, key, value, headers: &headers });
    }

    /// How many records there are.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// How many bytes the batch would have, uncompressed.
    #[must_use]
    pub fn size(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// The batch.
    ///
    /// # Errors
    /// The codec cannot compress with this level.
    pub fn build(self) -> Result<Vec<u8>, BadBatch> {
        let options = self.options;
        let packed = match options.compression {
            Compression::None => self.records,
            codec => codec.compress(&self.records, options.level)?,
        };
        let size = HEADER_BYTES + packed.len();
        let mut out = Vec::with_capacity(size);
        let length = i32::try_from(size - OVERHEAD_BYTES).map_err(|_| BadBatch::TooLarge(size))?;
        let flags = [
            (options.append_time.is_some(), 0x08),
            (options.transactional, 0x10),
            (options.control, 0x20),
            (self.horizon.is_some(), 0x40),
        ];
        let attributes = flags
            .iter()
            .filter(|(set, _)| *set)
            .fold(options.compression.bits(), |bits, (_, flag)| bits | flag);
        let max_timestamp = options.append_time.unwrap_or(self.max_timestamp);
        out.extend(options.base_offset.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(options.leader_epoch.to_be_bytes());
        out.push(2);
        out.extend([0; 4]);
        out.extend(attributes.to_be_bytes());
        out.extend(self.last_delta.max(0).to_be_bytes());
        out.extend(self.base_timestamp.to_be_bytes());
        out.extend(max_timestamp.to_be_bytes());
        out.extend(options.producer_id.to_be_bytes());
        out.extend(options.producer_epoch.to_be_bytes());
        out.extend(options.base_sequence.to_be_bytes());
        out.extend(self.count.to_be_bytes());
        out.extend(packed);
        let crc = crc32c(&out[21..]).to_be_bytes();
        out[17..21].copy_from_slice(&crc);
        Ok(out)
    }
}

fn nullable_size(bytes: Option<&[u8]>) -> i64 {
    match bytes {
        Some(bytes) => i64::try_from(size_i64(length_i64(bytes))).unwrap_or(0) + length_i64(bytes),
        None => 1,
    }
}

fn body_length(since: i64, delta: i32, record: &NewRecord<'_>) -> i64 {
    let numbers = [since, delta.into(), i64::try_from(record.headers.len()).unwrap_or(i64::MAX)];
    let numbers: usize = numbers.into_iter().map(size_i64).sum();
    let headers = record.headers.iter();
    1 + i64::try_from(numbers).unwrap_or(0)
        + nullable_size(record.key)
        + nullable_size(record.value)
        + headers
            .map(|(name, value)| nullable_size(Some(name)) + nullable_size(*value))
            .sum::<i64>()
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            write_i64(out, length_i64(bytes));
            out.extend(bytes);
        }
        None => write_i64(out, -1),
    }
}
