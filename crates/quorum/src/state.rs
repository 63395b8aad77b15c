//! `quorum-state`: a voter's epoch and vote, on the disk before it answers.

use std::path::Path;

use ottla_raft::{Durable, ReplicaKey};
use ottla_storage::{Files, StorageError};
use ottla_types::Uuid;

use crate::snapshot::{read_file, replace_file};

const FILE: &str = "quorum-state";

/// Reads it; nothing was promised if there is no file.
pub(crate) fn read_state(files: &dyn Files, folder: &Path) -> Result<Durable, StorageError> {
    let path = &folder.join(FILE);
    let Some(bytes) = read_file(files, path)? else { return Ok(Durable::default()) };
    let text = String::from_utf8_lossy(&bytes);
    let number = |name: &str| -> Option<i32> { json_value(&text, name)?.parse().ok() };
    let epoch = number("leaderEpoch").ok_or_else(|| StorageError::Corrupt {
        path: path.clone(),
        why: "leaderEpoch is missing".to_owned(),
    })?;
    let directory = json_value(&text, "votedDirectoryId").and_then(|id| id.parse().ok());
    let directory = directory.unwrap_or_default();
    let voted = number("votedId").filter(|id| *id >= 0);
    Ok(Durable {
        epoch,
        leader: number("leaderId").filter(|id| *id >= 0),
        voted: voted.map(|id| ReplicaKey { id, directory }),
    })
}

/// The value behind a name; the file is one flat object of numbers and texts without escapes.
fn json_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("\"{name}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    Some(rest.split([',', '}']).next()?.trim().trim_matches('"'))
}

/// Replaces it; on the disk before this returns.
pub(crate) fn write_state(
    files: &dyn Files,
    folder: &Path,
    state: &Durable,
    kraft_version: i16,
) -> Result<(), StorageError> {
    let leader = state.leader.unwrap_or(-1);
    let voted = state.voted.map_or(-1, |voted| voted.id);
    let epoch = state.epoch;
    let text = if kraft_version == 0 {
        format!(
            "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\
             \"votedId\":{voted},\"appliedOffset\":0,\"currentVoters\":[],\"data_version\":0}}"
        )
    } else {
        let directory = state.voted.map_or(Uuid::ZERO, |voted| voted.directory);
        format!(
            "{{\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\
             \"votedDirectoryId\":\"{directory}\",\"data_version\":1}}"
        )
    };
    replace_file(files, &folder.join(FILE), text.as_bytes())
}
