//! Where produced batches are read through that take long: compressed ones, and those that a topic
//! stores in another codec.
//!
//! A small one is read by the thread that serves its connection, as fast as another could be woken.
//! A large one is read by a thread of its own, so that the other connections are served meanwhile.
//! Its own connection waits, so that its requests keep their order.

use bytes::Bytes;
use ottla_partitions::{Effort, Inspected, Partition, Terms};
use tokio::sync::Semaphore;

/// The turns to unpack.
#[derive(Debug)]
pub struct Unpacking {
    /// As many large batches are read at once: this bounds the memory that they unpack to, and
    /// leaves the other cores to the threads that serve.
    turns: Semaphore,
}

impl Unpacking {
    /// One turn less than there are cores, and at least one.
    #[must_use]
    pub fn for_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { turns: Semaphore::new(cores.saturating_sub(1).max(1)) }
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
        // The turns are never closed.
        let _turn = self.turns.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::error!(%error, "reading a produced batch failed");
                None
            }
        }
    }
}
