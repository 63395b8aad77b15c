//! Message formats 0 and 1, which clients before Kafka 0.11 speak: read into a batch, and written
//! for a fetch of theirs. Nothing is stored in them.
//!
//! ```text
//! offset i64 | size i32 | crc-32 u32 (of all behind it) | magic i8 | attributes i8
//! [timestamp i64, format 1 only] | key i32 + bytes | value i32 + bytes
//! ```
//! A compressed message holds a whole set of messages in its value.

use ottla_types::TimestampMs;

use crate::batch::{BadBatch, batches};
use crate::builder::{BatchBuilder, BatchOptions, NewRecord};
use crate::codec::Compression;

/// A message of the old formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message<'a> {
    magic: i8,
    attributes: i8,
    timestamp: TimestampMs,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

/// The checksum of the old formats: CRC-32 as in zip files.
fn crc32(bytes: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes);
    u32::try_from(crc & u64::from(u32::MAX)).unwrap_or_default()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[expect(clippy::option_option, reason = "broken and null are two things")]
fn nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = i32::from_be_bytes(take(bytes)?);
    if length < 0 {
        return Some(None);
    }
    let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(value))
}

/// Do the bytes begin with a whole message of format 0 or 1?
#[must_use]
pub fn is_message(bytes: &[u8]) -> bool {
    let size = bytes.get(8..12).and_then(|it| it.first_chunk::<4>()).copied();
    let size = size.and_then(|size| usize::try_from(i32::from_be_bytes(size)).ok());
    let message = size.and_then(|size| bytes.get(..size.checked_add(12)?));
    message.is_some_and(|mut message| matches!(next(&mut message, 0), Ok(Some(_))))
}

/// The next message of a set; `None` at its end.
fn next<'a>(set: &mut &'a [u8], index: usize) -> Result<Option<Message<'a>>, BadBatch> {
    if set.is_empty() {
        return Ok(None);
    }
    let broken = |why| BadBatch::Record { index, why };
    let cut = || broken("the message is cut short");
    take::<8>(set).ok_or_else(cut)?;
    let size = i32::from_be_bytes(take(set).ok_or_else(cut)?);
    let size = usize::try_from(size).map_err(|_| BadBatch::Length(size))?;
    let (mut body, rest) = set.split_at_checked(size).ok_or_else(cut)?;
    *set = rest;
    let crc = u32::from_be_bytes(take(&mut body).ok_or_else(cut)?);
    if crc != crc32(body) {
        return Err(broken("the checksum does not fit"));
    }
    let [magic, attributes] = take::<2>(&mut body).ok_or_else(cut)?.map(u8::cast_signed);
    let timestamp = match magic {
        0 => -1,
        1 => i64::from_be_bytes(take(&mut body).ok_or_else(cut)?),
        other => return Err(BadBatch::Magic(other)),
    };
    let key = nullable(&mut body).ok_or_else(cut)?;
    let value = nullable(&mut body).ok_or_else(cut)?;
    Ok(Some(Message { magic, attributes, timestamp, key, value }))
}

/// A set of old messages as one batch, compressed as the first of them was.
///
/// # Errors
/// A message is broken, or they unpack to more than `limit_bytes`.
pub fn up(set: &[u8], limit_bytes: usize) -> Result<Vec<u8>, BadBatch> {
    let first = next(&mut { set }, 0)?;
    let compression =
        first.map_or(Ok(Compression::None), |it| Compression::of(i16::from(it.attributes)))?;
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    let mut left = limit_bytes;
    let mut rest = set;
    let mut index = 0;
    while let Some(message) = next(&mut rest, index)? {
        index += 1;
        match Compression::of(i16::from(message.attributes))? {
            Compression::None => push(&mut builder, &message),
            codec => {
                let packed = message.value.unwrap_or_default();
                let inner = codec.decompress(packed, left)?;
                left -= inner.len();
                let mut inner = inner.as_slice();
                while let Some(message) = next(&mut inner, index)? {
                    if Compression::of(i16::from(message.attributes))? != Compression::None {
                        let why = "a compressed message inside a compressed one";
                        return Err(BadBatch::Record { index, why });
                    }
                    push(&mut builder, &message);
                }
            }
        }
    }
    builder.build()
}

fn push(builder: &mut BatchBuilder, message: &Message<'_>) {
    builder.push(&NewRecord {
        timestamp: message.timestamp,
        key: message.key,
        value: message.value,
        headers: &[],
    });
}

/// Batches as old messages of format `magic` (0 or 1), uncompressed; headers are lost, control
/// records left out.
///
/// # Errors
/// A batch is broken, or unpacks to more than `limit_bytes`.
pub fn down(bytes: &[u8], magic: i8, limit_bytes: usize) -> Result<Vec<u8>, BadBatch> {
    let mut out = Vec::new();
    for batch in batches(bytes) {
        let batch = batch?;
        if batch.is_control() {
            continue;
        }
        let kind = if batch.is_append_time() { 0x08 } else { 0 };
        for record in batch.unpack(limit_bytes)?.records() {
            let record = record?;
            let mut body = vec![magic.cast_unsigned(), if magic == 0 { 0 } else { kind }];
            if magic > 0 {
                body.extend(record.timestamp.to_be_bytes());
            }
            for part in [record.key, record.value] {
                let length = part.map_or(-1, |part| i32::try_from(part.len()).unwrap_or(i32::MAX));
                body.extend(length.to_be_bytes());
                body.extend(part.unwrap_or_default());
            }
            out.extend(record.offset.to_be_bytes());
            out.extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
            out.extend(crc32(&body).to_be_bytes());
            out.extend(body);
        }
    }
    Ok(out)
}
