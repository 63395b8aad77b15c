//! Waiting until what was appended is safe.

use std::pin::pin;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_types::{LeaderEpoch, Offset};

use crate::owner::AppendedBatch;
use crate::partition::Partition;
use crate::progress::{Ends, Interest, Wait};

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
        let done = || {
            // One look, so that all of it is about the same moment.
            let ends = self.ends();
            let committed = (ends.high_watermark >= end).then_some(Waited::Committed);
            leader_moved(&ends, leader_epoch)
                .or(committed)
                .or((!ends.enough_in_sync).then_some(Waited::TooFewReplicas))
        };
        let ended =
            wait_for_answer(done, async || wait.moved().await, clock.sleep_until(deadline)).await;
        ended.unwrap_or(Waited::TimedOut)
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
        let done = || {
            let ends = self.ends();
            let reached = (ends.low_watermark >= before).then_some(Ok(ends.low_watermark));
            (!ends.leading).then_some(Err(Waited::LeaderMoved)).or(reached)
        };
        let reached =
            wait_for_answer(done, async || wait.moved().await, clock.sleep_until(deadline)).await;
        reached.unwrap_or(Err(Waited::TimedOut))
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
        let done = || {
            let ends = self.ends();
            let durable = (ends.durable >= end).then_some(Waited::Committed);
            leader_moved(&ends, leader_epoch).or(durable)
        };
        let ended =
            wait_for_answer(done, async || wait.moved().await, clock.sleep_until(deadline)).await;
        ended.unwrap_or(Waited::TimedOut)
    }
}

/// Does another node lead, or this one in another epoch?
fn leader_moved(ends: &Ends, leader_epoch: LeaderEpoch) -> Option<Waited> {
    (!ends.leading || ends.leader_epoch != leader_epoch).then_some(Waited::LeaderMoved)
}

/// Waits until there is an answer; it is looked for after each move. `None` at the timeout.
async fn wait_for_answer<T>(
    done: impl Fn() -> Option<T>,
    moved: impl AsyncFn(),
    timeout: impl Future<Output = ()>,
) -> Option<T> {
    let mut timeout = pin!(timeout);
    loop {
        if let Some(answer) = done() {
            return Some(answer);
        }
        tokio::select! {
            biased;
            () = moved() => {}
            () = &mut timeout => return None,
        }
    }
}
