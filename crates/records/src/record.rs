//! One record, and one after the other.

use ottla_types::{Offset, TimestampMs};

use crate::batch::{BadBatch, Batch};
use crate::varint::{read_i32, read_i64};

/// One record, borrowed from its unpacked batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, or the batch's append time.
    pub timestamp: TimestampMs,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: usize,
}

impl<'a> Record<'a> {
    /// Its headers, in order; their bytes were looked at when the record was read.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        Headers { bytes: self.headers, left: self.header_count }
    }
}

/// The headers of a record: name and value.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        take_header(&mut self.bytes)
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let name = take_nullable(bytes)??;
    Some((name, take_nullable(bytes)?))
}

/// Bytes behind their length, where -1 is null; the outer `None` is broken.
#[expect(clippy::option_option, reason = "broken and null are two things")]
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_i32(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(value))
}

/// The records of a batch, one by one; ends at the first that is broken.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: Batch<'a>,
    bytes: &'a [u8],
    index: usize,
    count: usize,
    /// The timestamp of all of them, if it is the append time.
    append_time: Option<TimestampMs>,
}

impl<'a> Records<'a> {
    pub(crate) fn new(batch: Batch<'a>, bytes: &'a [u8]) -> Self {
        let append_time = batch.is_append_time().then(|| batch.max_timestamp());
        Self { append_time, ..Self::with_own_times(batch, bytes) }
    }

    /// With the timestamps that stand in the records, whatever type the batch claims them to have.
    pub(crate) fn with_own_times(batch: Batch<'a>, bytes: &'a [u8]) -> Self {
        let count = usize::try_from(batch.record_count()).unwrap_or(0);
        Self { batch, bytes, index: 0, count, append_time: None }
    }

    fn read(&mut self) -> Result<Record<'a>, &'static str> {
        let length = read_i32(&mut self.bytes).ok_or("its length does not end")?;
        let (mut body, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| self.bytes.split_at_checked(length))
            .ok_or("it is longer than the batch")?;
        self.bytes = rest;
        let record = self.body(&mut body).ok_or("its fields do not fit its length")?;
        if !body.is_empty() {
            return Err("it is shorter than its length");
        }
        Ok(record)
    }

    fn body(&self, body: &mut &'a [u8]) -> Option<Record<'a>> {
        let (_attributes, rest) = body.split_first()?;
        *body = rest;
        let timestamp = self.batch.base_timestamp().wrapping_add(read_i64(body)?);
        let offset = self.batch.base_offset() + Offset::from(read_i32(body)?);
        let key = take_nullable(body)?;
        let value = take_nullable(body)?;
        let header_count = usize::try_from(read_i32(body)?).ok()?;
        let headers = *body;
        for _ in 0..header_count {
            take_header(body)?;
        }
        let timestamp = self.append_time.unwrap_or(timestamp);
        Some(Record { offset, timestamp, key, value, headers, header_count })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BadBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index == self.count {
            if self.bytes.is_empty() {
                return None;
            }
            // One error, then the end: the bytes after the last record are not a record.
            self.bytes = &[];
            return Some(Err(BadBatch::Record { index, why: "the batch counts fewer records" }));
        }
        self.index += 1;
        match self.read() {
            Ok(record) => Some(Ok(record)),
            Err(why) => {
                (self.index, self.count, self.bytes) = (0, 0, &[]);
                Some(Err(BadBatch::Record { index, why }))
            }
        }
    }
}
