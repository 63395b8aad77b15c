//! Giving up what snapshots stand in for (KIP-630).

use ottla_raft::{Input, LogRetention, StoredSnapshot, next_log_start};

use crate::driver::{Quorum, QuorumError};
use crate::snapshot::{remove_snapshot, snapshot_path, snapshot_size, snapshot_time};

impl Quorum {
    /// Deletes the oldest snapshots, and the segments of the log that a later one stands in for, as
    /// long as there is more than is to be kept.
    ///
    /// # Errors
    /// The disk fails.
    pub fn clean(&mut self, retention: LogRetention) -> Result<(), QuorumError> {
        let now_ms = self.clock.wall_ms();
        loop {
            // The newest one stays.
            if self.raft().log().snapshots().len() < 2 {
                return Ok(());
            }
            let mut stored = Vec::new();
            for id in self.raft().log().snapshots() {
                let path = snapshot_path(*id, &self.folder);
                let size_bytes = snapshot_size(&*self.files, &path)?.unwrap_or(0);
                let of_ms = snapshot_time(&*self.files, &path)?.unwrap_or(now_ms);
                let age_ms = u64::try_from(now_ms.saturating_sub(of_ms)).unwrap_or(0);
                stored.push(StoredSnapshot { id: *id, size_bytes, age_ms });
            }
            let next = next_log_start(self.log_start(), self.size_bytes(), &stored, retention);
            let Some(start) = next else { return Ok(()) };
            self.log.advance_log_start(start.end);
            if let Some(retired) = self.log.retire_before(start.end)? {
                retired.mark()?;
                retired.remove()?;
            }
            for older in stored.iter().filter(|it| it.id < start) {
                remove_snapshot(&*self.files, &snapshot_path(older.id, &self.folder))?;
            }
            self.step(Input::Cleaned { start })?;
        }
    }
}
