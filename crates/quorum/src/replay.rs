//! Reading metadata batches back, of a log or of a snapshot.

use bytes::Bytes;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::shared::kraft_version_record::KRaftVersionRecord;
use ottla_protocol::shared::voters_record::VotersRecord;
use ottla_protocol::{Decoder, Message, decode_metadata};
use ottla_raft::VoterSet;
use ottla_records::batches_in;
use ottla_records::control::ControlKind;

use crate::batch::voter_set;
use crate::driver::QuorumError;

/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// The result of reading the log.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Records for the metadata, in order; those of a transaction that was aborted are left out.
    pub records: Vec<MetadataRecord>,
    /// The voters, if the log has them.
    pub voters: Option<VoterSet>,
    /// The version of the quorum's protocol.
    pub kraft_version: i16,
    /// Where the open metadata transaction began, among the records.
    open: Option<usize>,
}

impl Replay {
    /// Takes all batches of `bytes` in.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), QuorumError> {
        for batch in batches_in(bytes) {
            let batch = batch?;
            if !batch.crc_is_right() {
                return Err(QuorumError::Corrupt(format!(
                    "the checksum at offset {} does not fit",
                    batch.base_offset()
                )));
            }
            let unpacked = batch.unpack(UNPACKED_BYTES_MAX)?;
            for record in unpacked.records() {
                let record = record?;
                let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
                if batch.is_control() {
                    self.control(ControlKind::of(&record), value)?;
                } else {
                    self.record(decode_metadata(value)?);
                }
            }
        }
        Ok(())
    }

    fn control(&mut self, kind: Option<ControlKind>, value: Bytes) -> Result<(), QuorumError> {
        let mut d = Decoder::new(value);
        match kind {
            Some(ControlKind::KraftVersion) => {
                self.kraft_version = KRaftVersionRecord::decode(&mut d, 0)?.kraft_version;
            }
            Some(ControlKind::KraftVoters) => {
                self.voters = Some(voter_set(&VotersRecord::decode(&mut d, 0)?));
            }
            _ => {}
        }
        Ok(())
    }

    fn record(&mut self, record: MetadataRecord) {
        match record {
            MetadataRecord::BeginTransaction(_) => self.open = Some(self.records.len()),
            MetadataRecord::EndTransaction(_) => self.open = None,
            MetadataRecord::AbortTransaction(_) => {
                if let Some(start) = self.open.take() {
                    self.records.truncate(start);
                }
            }
            other => self.records.push(other),
        }
    }

    /// Leaves a transaction out that was never ended; says whether there was one.
    pub fn finish(&mut self) -> bool {
        let open = self.open.take();
        if let Some(start) = open {
            self.records.truncate(start);
        }
        open.is_some()
    }
}
