//! Reads all records of a batch without keeping them: do they fit the header,
//! which timestamps do they have, is a key missing?
//!
//! This runs for every produced record, so it takes no memory and as few steps as it can. Records
//! of one layout often follow each other (same lengths, same time); of those only the offset delta
//! changes, and one comparison of their first 16 bytes with what is due checks a record.

use ottla_types::TimestampMs;

use crate::batch::{BadBatch, Batch};
use crate::record::Records;
use crate::varint;

/// What the records of a batch have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The oldest of their timestamps; `i64::MAX` if there are no records.
    pub oldest: TimestampMs,
    /// The newest of their timestamps, at least -1.
    pub newest: TimestampMs,
    /// Is there a record without a key?
    pub keyless: bool,
    /// Do their offset deltas count 0, 1, 2, and so on?
    pub in_order: bool,
}

/// Reads the unpacked `records` of the batch through; their timestamps are their own, whatever
/// timestamp type the header claims.
///
/// # Errors
/// [`BadBatch::Record`]: a record is broken, or there are more or fewer bytes than the batch's
/// record count takes.
pub fn survey_records(batch: &Batch<'_>, records: &[u8]) -> Result<Survey, BadBatch> {
    let count = usize::try_from(batch.record_count()).unwrap_or(0);
    let mut seen = SurveyState::default();
    let (mut at, mut index) = (0, 0);
    while index < count {
        let Some(layout) = Layout::read(records, at) else {
            return Err(find_broken(batch, records));
        };
        seen.take(&layout, index);
        index += 1;
        let next = at + layout.bytes;
        let alike = if index < count { layout.repeats(&records[at..], index, count) } else { 0 };
        at = next + layout.bytes * alike;
        index += alike;
    }
    if at < records.len() {
        return Err(find_broken(batch, records));
    }
    seen.survey(batch, records)
}

/// What was seen so far.
struct SurveyState {
    oldest_delta: i64,
    newest_delta: i64,
    keyless: bool,
    in_order: bool,
}

impl Default for SurveyState {
    fn default() -> Self {
        Self { oldest_delta: i64::MAX, newest_delta: i64::MIN, keyless: false, in_order: true }
    }
}

impl SurveyState {
    fn take(&mut self, layout: &Layout, index: usize) {
        self.oldest_delta = self.oldest_delta.min(layout.time_delta);
        self.newest_delta = self.newest_delta.max(layout.time_delta);
        self.keyless |= layout.keyless;
        // Zigzag: an offset delta of n is written as 2n.
        self.in_order &= layout.raw_offset_delta as usize == 2 * index;
    }

    fn survey(&self, batch: &Batch<'_>, records: &[u8]) -> Result<Survey, BadBatch> {
        let Self { oldest_delta, newest_delta, keyless, in_order } = *self;
        let base = batch.base_timestamp();
        let ends = (base.checked_add(oldest_delta), base.checked_add(newest_delta));
        let (oldest, newest) = match ends {
            _ if oldest_delta > newest_delta => (i64::MAX, -1),
            (Some(oldest), Some(newest)) => (oldest, newest),
            // A time wraps around: then the smallest delta is not that of the oldest record.
            _ => survey_wrapped(batch, records)?,
        };
        Ok(Survey { oldest, newest: newest.max(-1), keyless, in_order })
    }
}

#[cold]
fn survey_wrapped(
    batch: &Batch<'_>,
    records: &[u8],
) -> Result<(TimestampMs, TimestampMs), BadBatch> {
    let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
    for record in Records::with_own_times(*batch, records) {
        let timestamp = record?.timestamp;
        (oldest, newest) = (oldest.min(timestamp), newest.max(timestamp));
    }
    Ok((oldest, newest))
}

/// Which record is broken, and how.
#[cold]
fn find_broken(batch: &Batch<'_>, records: &[u8]) -> BadBatch {
    let found = Records::with_own_times(*batch, records).find_map(Result::err);
    found.unwrap_or(BadBatch::Record { index: 0, why: "it cannot be decoded" })
}

/// How a record is laid out.
struct Layout {
    /// How many bytes it has, its length included.
    bytes: usize,
    time_delta: i64,
    /// As it is written: zigzag.
    raw_offset_delta: u32,
    /// Where its offset delta stands, counted from its start.
    offset_delta_at: usize,
    keyless: bool,
    /// Where the bytes of its value begin, counted from its start.
    value_at: usize,
    has_headers: bool,
}

/// How many bytes of records are compared at once.
const WINDOW: usize = 16;

impl Layout {
    /// The record at `at`; `None` if it is broken.
    #[inline(always)]
    fn read(records: &[u8], at: usize) -> Option<Self> {
        match Self::short(records, at) {
            Some(layout) => Some(layout),
            None => Self::any(records, at),
        }
    }

    /// The record at `at`, if it is as most are: numbers of one or two bytes, no headers, and a few
    /// bytes of other records after it. Eight bytes are tested at once.
    #[inline(always)]
    fn short(records: &[u8], at: usize) -> Option<Self> {
        let mut front = EightBytes::at(records, at)?;
        let length = front.length()?;
        let end = at + front.used + length;
        // The attributes of a record mean nothing yet.
        front.skip();
        let time_delta = front.raw()?;
        let offset_delta_at = front.used;
        let mut middle = EightBytes::at(records, at + offset_delta_at)?;
        let raw_offset_delta = middle.raw()?;
        let raw_key = middle.raw()?;
        let mut next = at + offset_delta_at + middle.used;
        let keyless = raw_key == NULL;
        let raw_value = if keyless {
            let value = middle.raw()?;
            next = at + offset_delta_at + middle.used;
            value
        } else if raw_key & 1 == 0 {
            next += (raw_key >> 1) as usize;
            let mut back = EightBytes::at(records, next)?;
            let value = back.raw()?;
            next += back.used;
            value
        } else {
            return None;
        };
        let value_at = next - at;
        if raw_value & 1 == 0 {
            next += (raw_value >> 1) as usize;
        } else if raw_value != NULL {
            return None;
        }
        // What is left is the count of headers.
        let is_simple = next + 1 == end && records.get(next) == Some(&0);
        is_simple.then_some(Self {
            bytes: end - at,
            time_delta: varint::unzigzag(time_delta.into()),
            raw_offset_delta,
            offset_delta_at,
            keyless,
            value_at,
            has_headers: false,
        })
    }

    /// The record at `at`, whatever it is like; `None` if it is broken.
    #[inline(never)]
    fn any(records: &[u8], at: usize) -> Option<Self> {
        let bytes = records.get(at..)?;
        let mut next = 0;
        let length = length_of(varint::raw_u32(bytes, &mut next)?)??;
        let end = next.checked_add(length)?;
        let bytes = bytes.get(..end)?;
        next += 1;
        let time_delta = varint::unzigzag(varint::raw_u64(bytes, &mut next)?);
        let offset_delta_at = next;
        let raw_offset_delta = varint::raw_u32(bytes, &mut next)?;
        let key = length_of(varint::raw_u32(bytes, &mut next)?)?;
        next += key.unwrap_or(0);
        let value = length_of(varint::raw_u32(bytes, &mut next)?)?;
        let value_at = next;
        next += value.unwrap_or(0);
        let headers = length_of(varint::raw_u32(bytes, &mut next)?)??;
        if headers > 0 {
            next = after_headers(bytes, next, headers)?;
        }
        let has_headers = headers > 0;
        (next == end).then_some(Self {
            bytes: end,
            time_delta,
            raw_offset_delta,
            offset_delta_at,
            keyless: key.is_none(),
            value_at,
            has_headers,
        })
    }

    /// How many records come right after the first of `records`, the one that is laid out so, that
    /// differ from it only in their value and their offset delta, which counts on. `index` is the
    /// number of the first of them, `count` how many records the batch has. (Only records without
    /// key and headers are compared.)
    #[inline(always)]
    fn repeats(&self, records: &[u8], index: usize, count: usize) -> usize {
        let is_simple = self.keyless && !self.has_headers;
        // At 64, 128 and so on the count carries into its second byte: that record is read.
        let carried = index % ONE_CARRY;
        let is_due = carried != 0 && self.raw_offset_delta as usize == 2 * (index - 1);
        if !is_simple || !is_due || self.value_at > WINDOW || self.bytes < WINDOW {
            return 0;
        }
        let (Some(first), Some(behind)) =
            (records.first_chunk::<WINDOW>(), records.get(self.bytes..))
        else {
            return 0;
        };
        let mask = u128::MAX >> (8 * (WINDOW - self.value_at));
        let step = 2u128 << (8 * self.offset_delta_at);
        let mut due = u128::from_le_bytes(*first) & mask;
        let most = (count - index).min(ONE_CARRY - carried);
        let mut alike = 0;
        let mut rest = behind;
        while alike < most {
            due += step;
            let (Some(window), Some(last)) =
                (rest.first_chunk::<WINDOW>(), rest.get(self.bytes - 1))
            else {
                break;
            };
            // The last byte is the count of headers.
            if u128::from_le_bytes(*window) & mask != due || *last != 0 {
                break;
            }
            rest = &rest[self.bytes..];
            alike += 1;
        }
        alike
    }
}

/// Eight bytes, taken off from the front.
struct EightBytes {
    bytes: u64,
    used: usize,
}

impl EightBytes {
    #[inline(always)]
    fn at(records: &[u8], at: usize) -> Option<Self> {
        let bytes = records.get(at..)?.first_chunk::<8>()?;
        Some(Self { bytes: u64::from_le_bytes(*bytes), used: 0 })
    }

    #[inline(always)]
    const fn skip(&mut self) {
        self.bytes >>= 8;
        self.used += 1;
    }

    /// A number of one or two bytes, still zigzag.
    #[inline(always)]
    const fn raw(&mut self) -> Option<u32> {
        let low = self.bytes & 0x7f;
        if self.bytes & 0x80 == 0 {
            self.skip();
            return Some(low as u32);
        }
        if self.bytes & 0x8000 != 0 {
            return None;
        }
        let raw = low | self.bytes >> 1 & 0x3f80;
        self.bytes >>= 16;
        self.used += 2;
        Some(raw as u32)
    }

    /// As [`EightBytes::raw`], a length that is not null.
    #[inline(always)]
    fn length(&mut self) -> Option<usize> {
        let raw = self.raw()?;
        (raw & 1 == 0).then_some((raw >> 1) as usize)
    }
}

/// -1 as it is written.
const NULL: u32 = 1;

/// So many offset deltas differ only in their first byte.
const ONE_CARRY: usize = 64;

/// A length as it is written: `Some(None)` is null, `None` is no length.
#[expect(clippy::option_option, reason = "broken and null are two things")]
const fn length_of(raw: u32) -> Option<Option<usize>> {
    match raw {
        1 => Some(None),
        raw if raw & 1 == 1 => None,
        raw => Some(Some((raw >> 1) as usize)),
    }
}

/// Where the headers end that begin at `at`.
fn after_headers(bytes: &[u8], at: usize, count: usize) -> Option<usize> {
    let mut next = at;
    for _ in 0..count {
        // A name must be there, a value may be null.
        next += length_of(varint::raw_u32(bytes, &mut next)?)??;
        next += length_of(varint::raw_u32(bytes, &mut next)?)?.unwrap_or(0);
    }
    Some(next)
}
