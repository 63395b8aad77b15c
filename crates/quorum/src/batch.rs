//! Batches of the metadata log: records, and control records.

use bytes::Bytes;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::shared::kraft_version_record::KRaftVersionRecord;
use ottla_protocol::shared::leader_change_message::{LeaderChangeMessage, Voter as LeaderVoter};
use ottla_protocol::shared::snapshot_footer_record::SnapshotFooterRecord;
use ottla_protocol::shared::snapshot_header_record::SnapshotHeaderRecord;
use ottla_protocol::shared::voters_record::{
    Endpoint as RecordEndpoint, KRaftVersionFeature, Voter as RecordVoter, VotersRecord,
};
use ottla_protocol::{EncodeError, Encoder, Message, encode_metadata};
use ottla_raft::{QuorumControl, ReplicaKey, Voter, VoterSet};
use ottla_records::control::ControlKind;
use ottla_records::{BadBatch, BatchBuilder, BatchOptions, NewRecord};
use ottla_types::{LeaderEpoch, NodeId, Offset, TimestampMs};

use crate::driver::QuorumError;
use crate::wire::{read_endpoints, written_endpoints};

/// Where and when a batch is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchPlace {
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub now_ms: TimestampMs,
}

/// A batch of metadata records, each in its version.
pub(crate) fn of_records(
    place: BatchPlace,
    records: &[(MetadataRecord, i16)],
) -> Result<Vec<u8>, QuorumError> {
    let mut builder = BatchBuilder::new(batch_options(place, false));
    for (record, version) in records {
        let value = encode_metadata(record, *version)?;
        builder.push(&NewRecord {
            timestamp: place.now_ms,
            value: Some(&value),
            ..NewRecord::default()
        });
    }
    Ok(builder.build()?)
}

fn batch_options(place: BatchPlace, control: bool) -> BatchOptions {
    BatchOptions {
        base_offset: place.base_offset,
        leader_epoch: place.leader_epoch,
        control,
        ..BatchOptions::default()
    }
}

/// A control record: its kind, and its value.
pub(crate) type Control = (ControlKind, Bytes);

/// A batch of control records.
pub(crate) fn of_controls(place: BatchPlace, controls: &[Control]) -> Result<Vec<u8>, BadBatch> {
    let mut builder = BatchBuilder::new(batch_options(place, true));
    for (kind, value) in controls {
        builder.push(&NewRecord {
            timestamp: place.now_ms,
            key: Some(&kind.key()),
            value: Some(value),
            ..NewRecord::default()
        });
    }
    builder.build()
}

fn control_record(kind: ControlKind, value: &impl Message) -> Result<Control, EncodeError> {
    let mut e = Encoder::new();
    value.encode(&mut e, 0)?;
    Ok((kind, e.into_bytes()))
}

pub(crate) fn leader_change(
    leader: NodeId,
    voters: &VoterSet,
    granted: &[NodeId],
) -> Result<Control, EncodeError> {
    let of = |id: NodeId| LeaderVoter { voter_id: id, ..Default::default() };
    let message = LeaderChangeMessage {
        leader_id: leader,
        voters: voters.iter().map(|voter| of(voter.key.id)).collect(),
        granting_voters: granted.iter().copied().map(of).collect(),
        ..Default::default()
    };
    control_record(ControlKind::LeaderChange, &message)
}

/// A control record that changes the quorum.
pub(crate) fn quorum_control(control: &QuorumControl) -> Result<Control, EncodeError> {
    match control {
        QuorumControl::KraftVersion(version) => kraft_version(*version),
        QuorumControl::Voters(voters) => voters_record(voters),
    }
}

pub(crate) fn kraft_version(version: i16) -> Result<Control, EncodeError> {
    let record = KRaftVersionRecord { kraft_version: version, ..Default::default() };
    control_record(ControlKind::KraftVersion, &record)
}

pub(crate) fn voters_record(voters: &VoterSet) -> Result<Control, EncodeError> {
    let voter = |voter: &Voter| RecordVoter {
        voter_id: voter.key.id,
        voter_directory_id: voter.key.directory,
        endpoints: written_endpoints!(voter.endpoints => RecordEndpoint),
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
            ..Default::default()
        },
        ..Default::default()
    };
    let record = VotersRecord { voters: voters.iter().map(voter).collect(), ..Default::default() };
    control_record(ControlKind::KraftVoters, &record)
}

pub(crate) fn voter_set(record: &VotersRecord) -> VoterSet {
    VoterSet::of(record.voters.iter().map(|voter| Voter {
        key: ReplicaKey { id: voter.voter_id, directory: voter.voter_directory_id },
        endpoints: read_endpoints!(voter.endpoints),
        kraft_versions: (
            voter.kraft_version_feature.min_supported_version,
            voter.kraft_version_feature.max_supported_version,
        ),
    }))
}

pub(crate) fn snapshot_header(last_contained: TimestampMs) -> Result<Control, EncodeError> {
    let record =
        SnapshotHeaderRecord { last_contained_log_timestamp: last_contained, ..Default::default() };
    control_record(ControlKind::SnapshotHeader, &record)
}

pub(crate) fn snapshot_footer() -> Result<Control, EncodeError> {
    control_record(ControlKind::SnapshotFooter, &SnapshotFooterRecord::default())
}
