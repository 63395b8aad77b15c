//! Reading metadata batches back, of a log or of a snapshot.

use bytes::Bytes;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::shared::kraft_version_record::KRaftVersionRecord;
use ottla_protocol::shared::voters_record::VotersRecord;
use ottla_protocol::{Decoder, Message, decode_metadata};
use ottla_raft::{LogBatch, QuorumControl, QuorumLog, SnapshotId};
use ottla_records::control::ControlKind;
use ottla_records::{Batch, batches_in};

use crate::batch::voter_set;
use crate::driver::QuorumError;

/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// The result of reading the log.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Records for the metadata, in order; those that begin and end metadata transactions among
    /// them.
    pub records: Vec<MetadataRecord>,
    /// The epochs, snapshots and voters of the log.
    pub log: QuorumLog,
}

impl Replay {
    /// Nothing has been read yet.
    pub fn over(log: QuorumLog) -> Self {
        Self { log, ..Self::default() }
    }

    /// Takes all batches of a snapshot in; returns what it says of the quorum.
    pub fn take_snapshot(
        &mut self,
        id: SnapshotId,
        bytes: &[u8],
    ) -> Result<Vec<QuorumControl>, QuorumError> {
        let mut controls = Vec::new();
        for batch in batches_in(bytes) {
            let batch = self.take_batch(&batch?)?;
            controls.extend(batch.controls.into_iter().map(|(_, control)| control));
        }
        self.log.replaced(id, controls.clone());
        Ok(controls)
    }

    /// Takes all batches of a part of the log in.
    pub fn take_log(&mut self, bytes: &[u8]) -> Result<(), QuorumError> {
        for batch in batches_in(bytes) {
            let batch = self.take_batch(&batch?)?;
            self.log.appended(&batch);
        }
        Ok(())
    }

    fn take_batch(&mut self, batch: &Batch<'_>) -> Result<LogBatch, QuorumError> {
        let known = log_batch(batch)?;
        if !batch.is_control() {
            for record in batch.unpack(UNPACKED_BYTES_MAX)?.records() {
                let value = Bytes::copy_from_slice(record?.value.unwrap_or_default());
                self.records.push(decode_metadata(value)?);
            }
        }
        Ok(known)
    }
}

/// A batch as far as the quorum is concerned; one that is not as it was written is refused.
fn log_batch(batch: &Batch<'_>) -> Result<LogBatch, QuorumError> {
    let base = batch.base_offset();
    if !batch.crc_is_right() {
        return Err(QuorumError::Corrupt(format!("the checksum at offset {base} does not fit")));
    }
    let mut controls = Vec::new();
    if batch.is_control() {
        for record in batch.unpack(UNPACKED_BYTES_MAX)?.records() {
            let record = record?;
            let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
            let control = decode_control(ControlKind::of(&record), value)?;
            controls.extend(control.map(|control| (record.offset, control)));
        }
    }
    Ok(LogBatch { base, end: batch.next_offset(), epoch: batch.leader_epoch(), controls })
}

/// The batches of an answer to a fetch, up to the first that is cut off or broken: the bytes of
/// each, and what it is for the quorum.
pub(crate) fn whole_batches(records: &Bytes) -> (Vec<Bytes>, Vec<LogBatch>) {
    let (mut bytes, mut known) = (Vec::new(), Vec::new());
    let mut at = 0;
    for batch in batches_in(records) {
        let Ok(batch) = batch else { break };
        if !batch.crc_is_right() {
            // It is fetched again; the quorum must not count on what its log will refuse.
            break;
        }
        let Ok(one) = log_batch(&batch) else { break };
        let end = at + batch.size();
        bytes.push(records.slice(at..end));
        known.push(one);
        at = end;
    }
    (bytes, known)
}

/// What a control record says of the quorum, if it does.
fn decode_control(
    kind: Option<ControlKind>,
    value: Bytes,
) -> Result<Option<QuorumControl>, QuorumError> {
    let mut d = Decoder::new(value);
    Ok(match kind {
        Some(ControlKind::KraftVersion) => {
            let version = KRaftVersionRecord::decode(&mut d, 0)?.kraft_version;
            Some(QuorumControl::KraftVersion(version))
        }
        Some(ControlKind::KraftVoters) => {
            Some(QuorumControl::Voters(voter_set(&VotersRecord::decode(&mut d, 0)?)))
        }
        _ => None,
    })
}
