//! Waiting until what was appended is safe.

use std::time::Duration;

use ottla_clock::Clock;
use ottla_types::Offset;

use crate::owner::AppendedBatch;
use crate::partition::Partition;
use crate::progress::{Interest, Wait};

/// How a wait for the in-sync set ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// All of it has the records.
    Committed,
    /// It shrank below what the topic asks for.
    TooFewReplicas,
    /// Another node leads now.
    LeaderMoved,
    /// It took too long.
    TimedOut,
}

/// What waits. None of this takes the owner's lock.
impl Partition {
    /// Waits until what was appended is committed, at most until `deadline`.
    pub async fn committed(
        &self,
        appended: &AppendedBatch,
        clock: &Clock,
        deadline: Duration,
    ) -> Waited {
        let AppendedBatch { end, leader_epoch, .. } = *appended;
        let wait = self.progress().wait_for_commit(end);
        loop {
            let ends = self.ends();
            if !ends.leading || ends.leader_epoch != leader_epoch {
                return Waited::LeaderMoved;
            }
            if ends.high_watermark >= end {
                return Waited::Committed;
            }
            if !ends.enough_in_sync {
                return Waited::TooFewReplicas;
            }
            tokio::select! {
                biased;
                () = wait.moved() => {}
                () = clock.sleep_until(deadline) => return Waited::TimedOut,
            }
        }
    }

    /// Waits until no live replica has records below `before` any more, at most until `deadline`;
    /// returns the low watermark then.
    ///
    /// # Errors
    /// Another node leads now, or it took too long.
    pub async fn deleted_everywhere(
        &self,
        before: Offset,
        clock: &Clock,
        deadline: Duration,
    ) -> Result<Offset, Waited> {
        let mut wait = Wait::new();
        wait.add(self.progress(), Interest::LowWatermark);
        loop {
            let ends = self.ends();
            if !ends.leading {
                return Err(Waited::LeaderMoved);
            }
            if ends.low_watermark >= before {
                return Ok(ends.low_watermark);
            }
            tokio::select! {
                biased;
                () = wait.moved() => {}
                () = clock.sleep_until(deadline) => return Err(Waited::TimedOut),
            }
        }
    }

    /// Waits until what was appended is durable on this node, at most until `deadline`.
    pub async fn until_durable(
        &self,
        appended: &AppendedBatch,
        clock: &Clock,
        deadline: Duration,
    ) -> Waited {
        let AppendedBatch { end, leader_epoch, .. } = *appended;
        let mut wait = Wait::new();
        wait.add(self.progress(), Interest::Durable);
        loop {
            let ends = self.ends();
            if !ends.leading || ends.leader_epoch != leader_epoch {
                return Waited::LeaderMoved;
            }
            if ends.durable >= end {
                return Waited::Committed;
            }
            tokio::select! {
                biased;
                () = wait.moved() => {}
                () = clock.sleep_until(deadline) => return Waited::TimedOut,
            }
        }
    }
}
