//! A new quorum of one voter, made of the metadata log of a survivor: for a quorum whose majority
//! is gone for good.
//!
//! The log is continued, not rewritten: one batch of control records takes the other voters out
//! one by one, as their removal would have. Apache Kafka reads it as any other.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_raft::{Durable, LogEnd, QuorumControl, Voter, VoterSet};
use ottla_storage::{Files, Stamp};
use ottla_types::{LeaderEpoch, TimestampMs};

use crate::FOLDER;
use crate::batch::{self, BatchPlace};
use crate::driver::QuorumError;
use crate::opening::{LogOpening, open_log};
use crate::state;
use crate::survey::LogSurvey;

/// By how much the epoch of the new quorum is higher than the highest that the survivor has seen.
/// The voters that are gone may have elected leaders of which it has not heard, and brokers may
/// have: they follow no leader of a lower epoch.
const EPOCHS_AHEAD: LeaderEpoch = 1000;

/// What is to be made of a survivor's metadata log.
#[derive(Debug)]
pub struct SoleVoter {
    /// The files it lies on.
    pub files: Arc<dyn Files>,
    /// The data directory with the metadata log; locked, and the mark of a clean stop is gone.
    pub dir: PathBuf,
    /// The survivor.
    pub own: Voter,
    /// When a segment is full, in bytes.
    pub segment_bytes: u64,
    /// The time.
    pub now_ms: TimestampMs,
}

impl LogSurvey {
    /// The epoch with which a quorum begins that is made of this log.
    #[must_use]
    pub fn epoch_of_recovery(&self) -> LeaderEpoch {
        self.epoch.saturating_add(EPOCHS_AHEAD)
    }

    /// The voters that this log names after each record of the batch that leaves only `own`.
    fn steps_to(&self, own: &Voter) -> Vec<VoterSet> {
        // A voter keeps where it listens: that is what the others of its time knew.
        let is_voter = self.voters.has(own.key);
        let mut voters = if is_voter { self.voters.clone() } else { self.voters.with(own.clone()) };
        let mut steps = Vec::new();
        if !is_voter {
            steps.push(voters.clone());
        }
        for other in self.voters.others(own.key) {
            voters = voters.without(other.id);
            steps.push(voters.clone());
        }
        steps
    }
}

impl SoleVoter {
    /// Makes `own` the only voter, if the log names the voters (kraft.version 1), and raises the
    /// epoch; returns where the log ends now. What is broken at its end is cut off. Everything is
    /// on the disk when this returns. A power cut in between leaves a directory of which the same
    /// can be made again.
    ///
    /// # Errors
    /// The disk fails.
    pub fn make(&self, survey: &LogSurvey) -> Result<LogEnd, QuorumError> {
        let folder = self.dir.join(FOLDER);
        let epoch = survey.epoch_of_recovery();
        let durable = Durable { epoch, leader: None, voted: None };
        state::write_state(&*self.files, &folder, &durable, survey.kraft_version)?;
        let mut log = open_log(LogOpening {
            files: &self.files,
            folder: &folder,
            clean: false,
            segment_bytes: self.segment_bytes,
            now_ms: self.now_ms,
        })?;
        // A snapshot that was fetched takes the place of the log; a crash may have come between.
        if let Some(id) = survey.newest_snapshot.filter(|id| log.log_end() < id.end) {
            log.reset_to(id.end, id.epoch)?;
        }
        if log.log_end() != survey.end.offset {
            let (found, due) = (log.log_end(), survey.end.offset);
            let why = format!("it ends at offset {found}, and not at {due} as it was read before");
            return Err(QuorumError::Corrupt(why));
        }
        let steps = if survey.kraft_version >= 1 { survey.steps_to(&self.own) } else { Vec::new() };
        let mut last_epoch = survey.end.epoch;
        if !steps.is_empty() {
            let place =
                BatchPlace { base_offset: log.log_end(), leader_epoch: epoch, now_ms: self.now_ms };
            let controls: Vec<_> = steps
                .into_iter()
                .map(|voters| batch::quorum_control(&QuorumControl::Voters(voters)))
                .collect::<Result<_, _>>()?;
            let bytes = batch::of_controls(place, &controls)?;
            let stamp = Stamp { leader_epoch: epoch, append_time: None, max_timestamp: None };
            log.append_as_leader(&bytes, stamp, self.now_ms)?;
            last_epoch = epoch;
        }
        let end = LogEnd { epoch: last_epoch, offset: log.log_end() };
        log.close_clean()?;
        Ok(end)
    }
}
