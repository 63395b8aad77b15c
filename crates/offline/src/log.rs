//! Logs and snapshots of the metadata: batches and records.

use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use ottla_protocol::shared::kraft_version_record::KRaftVersionRecord;
use ottla_protocol::shared::leader_change_message::LeaderChangeMessage;
use ottla_protocol::shared::snapshot_footer_record::SnapshotFooterRecord;
use ottla_protocol::shared::snapshot_header_record::SnapshotHeaderRecord;
use ottla_protocol::shared::voters_record::VotersRecord;
use ottla_protocol::{Decoder, Json, Message, ToJson};
use ottla_records::control::{ControlKind, coordinator_epoch};
use ottla_records::{Batch, Compression, Record, batches_in};

use crate::dump::{Differences, Dump, DumpError, java_optional, read_file};
use crate::stored;

/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 512 << 20;

pub(crate) fn dump_log(
    dump: &Dump,
    path: &Path,
    differences: &mut Differences,
    out: &mut impl Write,
) -> Result<(), DumpError> {
    let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
    let stem = path.file_stem().and_then(|it| it.to_str()).unwrap_or_default();
    if name == "bootstrap.checkpoint" {
        writeln!(out, "KRaft bootstrap snapshot")?;
    } else if let Some((end, epoch)) = name.strip_suffix(".checkpoint").and(stem.split_once('-')) {
        let number = |text: &str| text.parse::<i64>().unwrap_or(-1);
        writeln!(out, "Snapshot end offset: {}, epoch: {}", number(end), number(epoch))?;
    } else {
        writeln!(out, "Log starting offset: {}", stem.parse::<i64>().unwrap_or(0))?;
    }
    let bytes = read_file(path, dump.max_bytes)?;
    let (mut position, mut last) = (0, -1);
    for batch in batches_in(&bytes) {
        let Ok(batch) = batch else { break };
        show_batch(&batch, position, out)?;
        if dump.shows_records() {
            show_records(dump, path, &batch, out, |offset| {
                if offset != last + 1 {
                    differences.gaps.push((path.to_owned(), last, offset));
                }
                last = offset;
            })?;
        }
        position += batch.size();
    }
    if position < bytes.len() && dump.max_bytes == u64::MAX {
        let left = bytes.len() - position;
        writeln!(out, "Found {left} invalid bytes at the end of {name}")?;
        if position == 0 {
            // Apache's tool leaves it at that, and ends well.
            let _ = writeln!(
                io::stderr(),
                "{name}: no record batch begins here: this is not a log segment, or its first bytes are damaged; `ottla doctor --offline DIR` looks at a whole data directory"
            );
        }
    }
    Ok(())
}

fn kind_of_time(batch: &Batch<'_>) -> &'static str {
    if batch.is_append_time() { "LogAppendTime" } else { "CreateTime" }
}

fn show_batch(batch: &Batch<'_>, position: usize, out: &mut impl Write) -> Result<(), DumpError> {
    let (producer_id, producer_epoch) = batch.producer();
    let last_sequence = if batch.base_sequence() < 0 { -1 } else { batch.last_sequence() };
    let codec = batch.compression().map_or("unknown", Compression::name);
    writeln!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {last_sequence} \
         producerId: {producer_id} producerEpoch: {producer_epoch} partitionLeaderEpoch: {} \
         isTransactional: {} isControl: {} deleteHorizonMs: {} position: {position} {}: {} \
         size: {} magic: 2 compresscodec: {} crc: {} isvalid: {}",
        batch.base_offset(),
        batch.last_offset(),
        batch.record_count(),
        batch.base_sequence(),
        batch.leader_epoch(),
        batch.is_transactional(),
        batch.is_control(),
        java_optional(batch.delete_horizon_ms()),
        kind_of_time(batch),
        batch.max_timestamp(),
        batch.size(),
        if codec == "uncompressed" { "none" } else { codec },
        batch.crc(),
        batch.crc_is_right(),
    )?;
    Ok(())
}

fn show_records(
    dump: &Dump,
    path: &Path,
    batch: &Batch<'_>,
    out: &mut impl Write,
    mut met: impl FnMut(i64),
) -> Result<(), DumpError> {
    let broken = |why: String| DumpError::Broken { path: path.to_owned(), why };
    let unpacked = batch.unpack(UNPACKED_BYTES_MAX).map_err(|error| broken(error.to_string()))?;
    for record in unpacked.records() {
        let record = record.map_err(|error| broken(error.to_string()))?;
        met(record.offset);
        show_record(dump, batch, &record, out)?;
    }
    Ok(())
}

fn show_record(
    dump: &Dump,
    batch: &Batch<'_>,
    record: &Record<'_>,
    out: &mut impl Write,
) -> Result<(), DumpError> {
    let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |it| i64::try_from(it.len()).unwrap_or(-1));
    if !dump.skip_record_metadata {
        let since = record.offset - batch.base_offset();
        let sequence = match i64::from(batch.base_sequence()) {
            -1 => -1,
            base => (base + since) % (i64::from(i32::MAX) + 1),
        };
        let headers: Vec<String> =
            record.headers().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        write!(
            out,
            "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
            record.offset,
            kind_of_time(batch),
            record.timestamp,
            size(record.key),
            size(record.value),
            headers.join(","),
        )?;
    } else {
        write!(out, "|")?;
    }
    if batch.is_control() {
        write!(out, " {}", control_text(record))?;
    } else if dump.shows_data() {
        let (key, payload) = stored::record_texts(dump.decoder(), record);
        if let Some(key) = key {
            write!(out, " key: {key}")?;
        }
        if let Some(payload) = payload {
            write!(out, " payload: {payload}")?;
        }
    }
    writeln!(out)?;
    Ok(())
}

/// A message of the quorum, in the version that it says itself.
fn quorum_message<M: Message + ToJson>(value: &[u8]) -> String {
    let version = value.first_chunk::<2>().map_or(0, |bytes| i16::from_be_bytes(*bytes));
    let mut json = Json::default();
    match M::decode(&mut Decoder::new(Bytes::copy_from_slice(value)), version) {
        Ok(message) => {
            message.to_json(&mut json, version);
            json.into_text()
        }
        Err(error) => format!("({error})"),
    }
}

fn control_text(record: &Record<'_>) -> String {
    let value = record.value.unwrap_or_default();
    let ended = |kind: &str| {
        let epoch = coordinator_epoch(record).unwrap_or(-1);
        format!("endTxnMarker: {kind} coordinatorEpoch: {epoch}")
    };
    match ControlKind::of(record) {
        Some(ControlKind::Abort) => ended("ABORT"),
        Some(ControlKind::Commit) => ended("COMMIT"),
        Some(ControlKind::LeaderChange) => {
            format!("LeaderChange: {}", quorum_message::<LeaderChangeMessage>(value))
        }
        Some(ControlKind::SnapshotHeader) => {
            format!("SnapshotHeader {}", quorum_message::<SnapshotHeaderRecord>(value))
        }
        Some(ControlKind::SnapshotFooter) => {
            format!("SnapshotFooter {}", quorum_message::<SnapshotFooterRecord>(value))
        }
        Some(ControlKind::KraftVersion) => {
            format!("KRaftVersion {}", quorum_message::<KRaftVersionRecord>(value))
        }
        Some(ControlKind::KraftVoters) => {
            format!("KRaftVoters {}", quorum_message::<VotersRecord>(value))
        }
        None => "controlType: UNKNOWN(-1)".to_owned(),
    }
}
