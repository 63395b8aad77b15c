//! A batch compressed another way, for a topic that has its own `compression.type`.

use crate::batch::{BadBatch, Batch};
use crate::builder::{BatchBuilder, BatchOptions, NewRecord};
use crate::codec::Compression;
use crate::record::Records;
use crate::survey::Survey;
use crate::{HEADER_BYTES, OVERHEAD_BYTES, crc32c};

/// How a topic stores batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepackAs {
    /// The codec (`compression.type`).
    pub codec: Compression,
    /// How hard to compress; the codec's default if `None`.
    pub level: Option<i32>,
}

/// The batch with its unpacked `records` compressed another way; offsets that do not count from the
/// first are put right.
///
/// # Errors
/// The codec cannot compress with this level, or a record is broken.
pub fn repack(
    batch: &Batch<'_>,
    records: &[u8],
    to: RepackAs,
    survey: &Survey,
) -> Result<Vec<u8>, BadBatch> {
    if !survey.in_order || batch.is_append_time() {
        return rewrite(batch, records, to);
    }
    // The records themselves stay as they are.
    let packed;
    let body = match to.codec {
        Compression::None => records,
        codec => {
            packed = codec.compress(records, to.level)?;
            &packed
        }
    };
    let size = HEADER_BYTES + body.len();
    let length = i32::try_from(size - OVERHEAD_BYTES).map_err(|_| BadBatch::TooLarge(size))?;
    let attributes = batch.attributes() & !Compression::MASK | to.codec.bits();
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&batch.bytes()[..HEADER_BYTES]);
    out.extend_from_slice(body);
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[21..23].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc32c(&out[21..]).to_be_bytes();
    out[17..21].copy_from_slice(&crc);
    Ok(out)
}

/// Record by record, with the timestamps that the batch gives them.
fn rewrite(batch: &Batch<'_>, records: &[u8], to: RepackAs) -> Result<Vec<u8>, BadBatch> {
    let RepackAs { codec: compression, level } = to;
    let options = BatchOptions { append_time: None, ..BatchOptions::of(batch)? };
    let mut builder = BatchBuilder::new(BatchOptions { compression, level, ..options });
    for record in Records::new(*batch, records) {
        let record = record?;
        let headers: Vec<_> = record.headers().collect();
        let (timestamp, key, value) = (record.timestamp, record.key, record.value);
        builder.push(&NewRecord { timestamp, key, value, headers: &headers });
    }
    builder.build()
}
