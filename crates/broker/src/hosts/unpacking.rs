//! Reads all records of produced batches for which that takes long: compressed batches, and those
//! that the topic stores in another codec.
//!
//! A small batch is read by the thread that serves its connection: waking another would take as
//! long. A large batch is read by a thread of lower priority, so that the other connections are
//! served meanwhile. Its own connection waits, so that its requests keep their order (ADR 0010).

use bytes::Bytes;
use ottla_clock::{Lane, Share};
use ottla_partitions::{Effort, Inspected, Partition, Terms};
use ottla_types::TopicPartition;

/// Reads large batches in the background.
#[derive(Debug)]
pub struct Unpacking {
    /// As many large batches are read at once as there are threads: this bounds the memory that
    /// they unpack to.
    lane: Lane,
}

impl Unpacking {
    /// Reads them on this lane.
    #[must_use]
    pub const fn on(lane: Lane) -> Self {
        Self { lane }
    }

    /// Reads a produced batch through; `None` if its partition has been closed.
    pub async fn inspect(
        &self,
        partition: &Partition,
        records: &Bytes,
        terms: &Terms,
    ) -> Option<Inspected> {
        let small = partition.inspect(records, terms, Effort::Small);
        if small.is_some() {
            return small;
        }
        let (partition, records, terms) = (partition.clone(), records.clone(), *terms);
        let name = partition.name().clone();
        self.work(&name, move || partition.inspect(&records, &terms, Effort::Any)).await.flatten()
    }

    /// Does work for a produce to this partition that takes long, when its turn comes; `None` if
    /// it has panicked or the lane is stopped.
    pub async fn work<T: Send + 'static>(
        &self,
        partition: &TopicPartition,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let done = self.lane.run(Share::default(), work).await;
        if done.is_none() {
            tracing::error!(
                %partition,
                "produced batch cannot be decompressed: its task did not end; the produce fails"
            );
        }
        done
    }
}
