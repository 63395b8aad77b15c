//! What clients write: no two records of a history have the same value, so that a record that is
//! read shows its producer, its time, and its number.

use bytes::Bytes;
use ottla_records::control::ControlKind;
use ottla_records::{Batch, BatchBuilder, BatchOptions, Compression, NewRecord, batches_in};

/// A record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimValue {
    /// Which client.
    pub writer: u32,
    /// How many power cuts there had been that may lose records.
    pub era: u32,
    /// Which of the client's records.
    pub number: u64,
    /// Which of the client's transactions; 0 is none.
    pub transaction: u64,
    /// Is it an idempotent producer's?
    pub is_idempotent: bool,
}

/// How many bytes of a value say what it is; what is behind them only takes room.
const HEAD_BYTES: usize = 25;
/// Up to how much a batch may unpack, in bytes.
const UNPACKED_BYTES_MAX: usize = 16 << 20;

impl SimValue {
    fn encode(&self, padding: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + padding);
        bytes.extend_from_slice(&self.writer.to_be_bytes());
        bytes.extend_from_slice(&self.era.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.transaction.to_be_bytes());
        bytes.push(u8::from(self.is_idempotent));
        bytes.resize(HEAD_BYTES + padding, b'.');
        bytes
    }

    /// The value of a record; `None` if no client of a history has written it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            writer: u32::from_be_bytes(*bytes.first_chunk()?),
            era: u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?),
            number: u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?),
            transaction: u64::from_be_bytes(*bytes.get(16..)?.first_chunk()?),
            is_idempotent: *bytes.get(24)? != 0,
        })
    }
}

/// The producer of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchWriter {
    /// -1 if it is not idempotent.
    pub producer_id: i64,
    /// Which incarnation of it.
    pub epoch: i16,
    /// The sequence number of the batch's first record.
    pub sequence: i32,
}

impl BatchWriter {
    /// A producer that is not idempotent.
    pub const PLAIN: Self = Self { producer_id: -1, epoch: -1, sequence: -1 };
}

/// A batch of these values, each with so many bytes after it.
pub fn batch_of(
    values: &[SimValue],
    writer: BatchWriter,
    now_ms: i64,
    (padding, compression): (usize, Compression),
) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression,
        transactional: values.iter().any(|value| value.transaction > 0),
        producer_id: writer.producer_id,
        producer_epoch: writer.epoch,
        base_sequence: writer.sequence,
        ..BatchOptions::default()
    });
    for value in values {
        let bytes = value.encode(padding);
        let record = NewRecord { timestamp: now_ms, key: None, value: Some(&bytes), headers: &[] };
        builder.push(&record);
    }
    Bytes::from(builder.build().expect("small batches can be built"))
}

/// What a batch that was read has in it.
#[derive(Debug)]
pub struct ReadBatch {
    pub base_offset: i64,
    pub next_offset: i64,
    pub producer_id: i64,
    pub is_transactional: bool,
    /// Does it end a transaction, and is that its commit?
    pub marker: Option<ValueMarker>,
    /// Its records, by offset.
    pub values: Vec<(i64, SimValue)>,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueMarker {
    Commit,
    Abort,
}

/// The batches of an answer; a part of a batch at its end is left out.
///
/// # Errors
/// The bytes are not what clients and coordinators write.
pub fn read_batches(bytes: &[u8]) -> Result<Vec<ReadBatch>, String> {
    let mut all = Vec::new();
    for batch in batches_in(bytes) {
        let Ok(batch) = batch else { break };
        all.push(read_batch(&batch)?);
    }
    Ok(all)
}

fn read_batch(batch: &Batch<'_>) -> Result<ReadBatch, String> {
    let at = batch.base_offset();
    if !batch.crc_is_right() {
        return Err(format!("the checksum of the batch at offset {at} is wrong"));
    }
    let unpacked = batch.unpack(UNPACKED_BYTES_MAX).map_err(|error| error.to_string())?;
    let (mut values, mut marker) = (Vec::new(), None);
    for record in unpacked.records() {
        let record = record.map_err(|error| error.to_string())?;
        if batch.is_control() {
            marker = match ControlKind::of(&record) {
                Some(ControlKind::Commit) => Some(ValueMarker::Commit),
                Some(ControlKind::Abort) => Some(ValueMarker::Abort),
                _ => return Err(format!("offset {at} has a strange control record")),
            };
        } else {
            let value = record.value.and_then(SimValue::decode);
            let value =
                value.ok_or_else(|| format!("offset {} has a strange value", record.offset));
            values.push((record.offset, value?));
        }
    }
    Ok(ReadBatch {
        base_offset: at,
        next_offset: batch.next_offset(),
        producer_id: batch.producer_id(),
        is_transactional: batch.is_transactional(),
        marker,
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let value =
            |number| SimValue { writer: 3, era: 1, number, transaction: 9, is_idempotent: true };
        let values = [value(7), value(8)];
        let writer = BatchWriter { producer_id: 5, epoch: 0, sequence: 0 };
        let batch = batch_of(&values, writer, 1, (100, Compression::None));
        let read = read_batches(&[&batch[..], &batch[..20]].concat()).expect("whole");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].values, [(0, values[0]), (1, values[1])]);
        assert!(read[0].is_transactional && read[0].marker.is_none());
    }
}
