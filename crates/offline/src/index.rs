//! Indexes and snapshots of producers.

use std::io::Write;
use std::path::Path;

use ottla_records::{Batch, batches_in, crc32c};

use crate::dump::{Differences, Dump, DumpError, java_optional, read_file};

/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 512 << 20;

fn base_of(path: &Path) -> i64 {
    path.file_stem().and_then(|it| it.to_str()).and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn be_bytes<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn be_int(bytes: &[u8], at: usize) -> i64 {
    i64::from(i32::from_be_bytes(be_bytes(bytes, at)))
}

fn be_long(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(be_bytes(bytes, at))
}

fn be_short(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(be_bytes(bytes, at))
}

/// The log that an index belongs to; empty if it is not there.
fn log_of(path: &Path) -> Vec<u8> {
    read_file(&path.with_extension("log"), u64::MAX).unwrap_or_default()
}

fn at_position(log: &[u8], position: i64) -> &[u8] {
    usize::try_from(position).ok().and_then(|at| log.get(at..)).unwrap_or_default()
}

pub(crate) fn dump_offset_index(
    dump: &Dump,
    path: &Path,
    differences: &mut Differences,
    out: &mut impl Write,
) -> Result<(), DumpError> {
    let (bytes, base) = (read_file(path, u64::MAX)?, base_of(path));
    if bytes.is_empty() {
        writeln!(out, "{} is empty.", path.display())?;
        return Ok(());
    }
    if dump.index_sanity_check {
        let last = bytes.as_chunks::<8>().0.last().map(|entry| be_int(entry, 0));
        return check_index_size(path, bytes.len(), 8, last, out);
    }
    let log = log_of(path);
    for (at, entry) in bytes.chunks_exact(8).enumerate() {
        let (offset, position) = (base + be_int(entry, 0), be_int(entry, 4));
        // A crash leaves the zeros of a file that was made larger than it needed to be.
        if offset == base && at > 0 {
            return Ok(());
        }
        let found = Batch::first(at_position(&log, position)).map_or(-1, |it| it.last_offset());
        if found != offset {
            differences.offsets.push((path.to_owned(), offset, found));
        }
        if !dump.verify_index_only {
            writeln!(out, "offset: {offset} position: {position}")?;
        }
    }
    Ok(())
}

/// Whether an index could be one: whole entries, of which the last is not before the first offset.
fn check_index_size(
    path: &Path,
    size: usize,
    entry: usize,
    last: Option<i64>,
    out: &mut impl Write,
) -> Result<(), DumpError> {
    let broken = |why: String| Err(DumpError::Broken { path: path.to_owned(), why });
    if !size.is_multiple_of(entry) {
        return broken(format!("{size} bytes are not a multiple of the entry size, {entry} bytes"));
    }
    if let Some(last) = last.filter(|last| *last < 0) {
        return broken(format!("its last entry lies {} before its first offset", -last));
    }
    writeln!(out, "{} passed sanity check.", path.display())?;
    Ok(())
}

/// Where the batch with the offset can be looked for, by the offset index beside.
fn look_up(index: &[u8], base: i64, offset: i64) -> i64 {
    let entries = index.as_chunks::<8>().0;
    let behind = entries.partition_point(|entry| base + be_int(entry, 0) <= offset);
    behind.checked_sub(1).map_or(0, |at| be_int(&entries[at], 4))
}

pub(crate) fn dump_time_index(
    dump: &Dump,
    path: &Path,
    differences: &mut Differences,
    out: &mut impl Write,
) -> Result<(), DumpError> {
    let (bytes, base) = (read_file(path, u64::MAX)?, base_of(path));
    if dump.index_sanity_check {
        let last = bytes.as_chunks::<12>().0.last().map(|entry| be_int(entry, 8));
        return check_index_size(path, bytes.len(), 12, last, out);
    }
    let log = log_of(path);
    let index = read_file(&path.with_extension("index"), u64::MAX).unwrap_or_default();
    let mut before = -1;
    for entry in bytes.chunks_exact(12) {
        let (timestamp, offset) = (be_long(entry, 0), base + be_int(entry, 8));
        let rest = at_position(&log, look_up(&index, base, offset));
        let found = batches_in(rest).flatten().find(|batch| batch.last_offset() >= offset);
        match found {
            None => differences.lost.push((offset, -1)),
            Some(batch) if batch.last_offset() != offset => {
                differences.lost.push((offset, batch.last_offset()));
            }
            Some(batch) => {
                let newest = newest_timestamp(&batch);
                if newest != timestamp {
                    differences.times.push((path.to_owned(), timestamp, newest));
                }
                if before >= timestamp {
                    differences.order.push((path.to_owned(), timestamp, before));
                }
            }
        }
        if !dump.verify_index_only {
            writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
        }
        before = timestamp;
    }
    Ok(())
}

/// The largest timestamp of the records that a batch still has; -1 if it has none.
fn newest_timestamp(batch: &Batch<'_>) -> i64 {
    let Ok(unpacked) = batch.unpack(UNPACKED_BYTES_MAX) else { return -1 };
    unpacked.records().flatten().map(|record| record.timestamp).max().unwrap_or(-1)
}

pub(crate) fn dump_aborted(path: &Path, out: &mut impl Write) -> Result<(), DumpError> {
    for entry in read_file(path, u64::MAX)?.chunks_exact(34) {
        writeln!(
            out,
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            be_short(entry, 0),
            be_long(entry, 2),
            be_long(entry, 10),
            be_long(entry, 18),
            be_long(entry, 26),
        )?;
    }
    Ok(())
}

pub(crate) fn dump_producers(path: &Path, out: &mut impl Write) -> Result<(), DumpError> {
    let bytes = read_file(path, u64::MAX)?;
    let is_whole = bytes.len() >= 10
        && (bytes.len() - 10).is_multiple_of(46)
        && u32::from_be_bytes(be_bytes(&bytes, 2)) == crc32c(&bytes[6..]);
    if !is_whole {
        let why = "its checksum or its length is wrong".to_owned();
        return Err(DumpError::Broken { path: path.to_owned(), why });
    }
    for entry in bytes[10..].chunks_exact(46) {
        let (last_sequence, delta) = (be_int(entry, 10), be_int(entry, 22));
        let open = Some(be_long(entry, 38)).filter(|offset| *offset >= 0);
        write!(
            out,
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} \
             lastTimestamp: {}",
            be_long(entry, 0),
            be_short(entry, 8),
            be_int(entry, 34),
            java_optional(open),
            be_long(entry, 26),
        )?;
        if be_long(entry, 14) >= 0 {
            write!(
                out,
                " firstSequence: {} lastSequence: {last_sequence} lastOffset: {} offsetDelta: {delta} \
                 timestamp: {}",
                last_sequence - delta,
                be_long(entry, 14),
                be_long(entry, 26),
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}
