//! Where produced batches are read through that take long: compressed ones, and those that a topic
//! stores in another codec.
//!
//! A small one is read by the thread that serves its connection, as fast as another could be woken.
//! A large one is read by a thread of lower priority, so that the other connections are served
//! meanwhile. Its own connection waits, so that its requests keep their order (ADR 0010).

use bytes::Bytes;
use ottla_clock::{Lane, Share};
use ottla_partitions::{Effort, Inspected, Partition, Terms};

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
        self.work(move || partition.inspect(&records, &terms, Effort::Any)).await.flatten()
    }

    /// Does what takes long, when its turn comes; `None` if it has failed in a way that it should
    /// not.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let done = self.lane.run(Share::default(), work).await;
        if done.is_none() {
            tracing::error!("reading a produced batch failed");
        }
        done
    }
}
