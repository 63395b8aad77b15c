//! Message formats 0 and 1, which clients before Kafka 0.11 speak: read into a batch, and written
//! for a fetch of theirs. Nothing is stored in them.
//!
//! ```text
//! offset i64 | size i32 | crc-32 u32 (of all behind it) | magic i8 | attributes i8
//! [timestamp i64, format 1 only] | key i32 + bytes | value i32 + bytes
//! ```
//! A compressed message holds a whole set of messages in its value.

use ottla_types::{Offset, TimestampMs};

use crate::batch::{BadBatch, batches_in};
use crate::builder::{BatchBuilder, BatchOptions, NewRecord};
use crate::codec::Compression;
use crate::crc32;
use crate::unpack::with_right_lz4_head;

/// A message of the old formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LegacyMessage<'a> {
    offset: Offset,
    magic: i8,
    attributes: i8,
    timestamp: TimestampMs,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

fn take_bytes<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[expect(clippy::option_option, reason = "broken and null are two things")]
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = i32::from_be_bytes(take_bytes(bytes)?);
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
    message.is_some_and(|mut message| matches!(next_message(&mut message, 0), Ok(Some(_))))
}

/// The next message of a set; `None` at its end. A part of a message ends the set, as in Kafka.
fn next_message<'a>(
    set: &mut &'a [u8],
    index: usize,
) -> Result<Option<LegacyMessage<'a>>, BadBatch> {
    let Some((head, rest)) = set.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3] = *head;
    let size = i32::from_be_bytes([s0, s1, s2, s3]);
    let length = usize::try_from(size).ok().filter(|length| *length >= BODY_BYTES_MIN);
    let length = length.ok_or(BadBatch::Length(size))?;
    let Some((mut body, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *set = rest;
    let broken = |why| BadBatch::Record { index, why };
    let cut = || broken("the message is cut short");
    let crc = u32::from_be_bytes(take_bytes(&mut body).ok_or_else(cut)?);
    if crc != crc32(body) {
        return Err(BadBatch::Checksum(index));
    }
    let [magic, attributes] = take_bytes::<2>(&mut body).ok_or_else(cut)?.map(u8::cast_signed);
    let timestamp = match magic {
        0 => NO_TIMESTAMP,
        1 => i64::from_be_bytes(take_bytes(&mut body).ok_or_else(cut)?),
        other => return Err(BadBatch::Magic(other)),
    };
    let key = take_nullable(&mut body).ok_or_else(cut)?;
    let value = take_nullable(&mut body).ok_or_else(cut)?;
    if !body.is_empty() {
        return Err(broken("the message is longer than its key and value"));
    }
    let offset = i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
    Ok(Some(LegacyMessage { offset, magic, attributes, timestamp, key, value }))
}

impl LegacyMessage<'_> {
    fn compression(&self) -> Result<Compression, BadBatch> {
        Compression::of(i16::from(self.attributes))
    }

    /// Is the timestamp of a compressed message that of all messages in it?
    const fn is_append_time(&self) -> bool {
        self.magic == 1 && self.attributes & 0x08 != 0
    }
}

/// How many bytes stand before those that a message's size counts: offset and size.
const HEAD_BYTES: usize = 12;
/// The shortest message behind them: checksum, magic, attributes, and two lengths, in bytes.
const BODY_BYTES_MIN: usize = 14;
/// The time of a message that has none.
const NO_TIMESTAMP: TimestampMs = -1;

/// A set of old messages as one batch, compressed as the first of them was.
///
/// # Errors
/// A message is broken, or they unpack to more than `limit_bytes`.
pub fn convert_up(set: &[u8], limit_bytes: usize) -> Result<Vec<u8>, BadBatch> {
    let mut rest = set;
    let Some(first) = next_message(&mut rest, 0)? else {
        return Err(BadBatch::Truncated { due: HEAD_BYTES + BODY_BYTES_MIN, left: set.len() });
    };
    let compression = first.compression()?;
    if compression != Compression::None {
        if next_message(&mut rest, 1)?.is_some() {
            let why = "a compressed message must be the only one of its set";
            return Err(BadBatch::Record { index: 1, why });
        }
        return unwrap_message(&first, compression, limit_bytes);
    }
    let mut builder = BatchBuilder::new(BatchOptions::default());
    push_message(&mut builder, &first);
    let mut index = 1;
    while let Some(message) = next_message(&mut rest, index)? {
        check_inner(&message, first.magic, index)?;
        push_message(&mut builder, &message);
        index += 1;
    }
    builder.build()
}

/// The messages inside a compressed one, as a batch.
fn unwrap_message(
    outer: &LegacyMessage<'_>,
    compression: Compression,
    limit_bytes: usize,
) -> Result<Vec<u8>, BadBatch> {
    let broken = |index, why| Err(BadBatch::Record { index, why });
    let Some(packed) = outer.value else { return broken(0, "a compressed message has no value") };
    let unpacked = match compression {
        Compression::Zstd => return broken(0, "zstd needs message format 2"),
        // Clients of that time got the checksum of the frame's header wrong.
        Compression::Lz4 => compression.decompress(&with_right_lz4_head(packed), limit_bytes)?,
        _ => compression.decompress(packed, limit_bytes)?,
    };
    let append_time = outer.is_append_time().then_some(outer.timestamp);
    let mut builder =
        BatchBuilder::new(BatchOptions { compression, append_time, ..BatchOptions::default() });
    let (mut set, mut index, mut last) = (unpacked.as_slice(), 0, 0);
    while let Some(message) = next_message(&mut set, index)? {
        check_inner(&message, outer.magic, index)?;
        push_message(&mut builder, &message);
        (index, last) = (index + 1, message.offset);
    }
    if index == 0 {
        return broken(0, "a compressed message has no messages in it");
    }
    // Some producers leave 0 there.
    if outer.magic == 1 && outer.offset != 0 && outer.offset < last {
        return broken(0, "the offset of a compressed message is below those in it");
    }
    builder.build()
}

/// May the message stand there, in a set of messages of this format?
fn check_inner(message: &LegacyMessage<'_>, magic: i8, index: usize) -> Result<(), BadBatch> {
    if message.magic != magic {
        let why = "its message format is not that of the first message";
        return Err(BadBatch::Record { index, why });
    }
    if message.compression()? != Compression::None {
        let why = "a compressed message must not stand among others";
        return Err(BadBatch::Record { index, why });
    }
    Ok(())
}

fn push_message(builder: &mut BatchBuilder, message: &LegacyMessage<'_>) {
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
pub fn convert_down(bytes: &[u8], magic: i8, limit_bytes: usize) -> Result<Vec<u8>, BadBatch> {
    let mut out = Vec::new();
    for batch in batches_in(bytes) {
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
