//! Counters and histograms by Kafka's names, counted by each thread for itself.
//!
//! A [`Metrics`] is a node's set of numbers. [`Metrics::counter`] and [`Metrics::histogram`] give
//! handles; to count costs an add to a cell that only this thread writes: no lock, no allocation
//! (but for a thread's first touch of a range of cells), no other core's cache line. A reader
//! ([`Metrics::samples`]) adds up the threads, and may see a number that is some adds old.
//!
//! Names are those of Kafka's JMX beans ([`MetricName`]), so that what knows Kafka's knows these.
//! When the last handle of a name is dropped the name is gone, and its cells are used again: a
//! topic's numbers go with the topic. There are at most [`CELLS_MAX`] cells: what is registered
//! beyond is counted nowhere, and [`Metrics::refused`] says how often that happened.
#![forbid(unsafe_code)]

mod cells;
mod histogram;
mod name;
mod page;
mod seat;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_locks::Mutex;

use cells::Cells;

pub use cells::CELLS_MAX;
pub use histogram::HistogramSummary;
pub use name::MetricName;
pub use page::page;

/// A node's numbers. Cheap to clone; every clone is the same set.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Registry>);

#[derive(Debug, Default)]
struct Registry {
    cells: Cells,
    /// What the cells mean. No thread that counts takes this lock.
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    entries: BTreeMap<MetricName, MetricEntry>,
    /// Ranges that are free again, by their length.
    free: BTreeMap<usize, Vec<usize>>,
    /// The first cell that was never used.
    next: usize,
    refused: u64,
}

/// What a name has.
#[derive(Clone, Copy, Debug)]
struct MetricEntry {
    first: usize,
    kind: MetricKind,
    handles: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    Counter,
    /// The number is what 1 is recorded as, such as 1000 for microseconds that are shown as
    /// milliseconds.
    Histogram(u32),
}

impl MetricKind {
    const fn cells(self) -> usize {
        match self {
            Self::Counter => 1,
            Self::Histogram(_) => histogram::CELLS,
        }
    }
}

/// One name and its number.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSample {
    /// Its name.
    pub name: MetricName,
    /// Its number.
    pub value: MetricValue,
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// It only grows, from 0 at the node's start.
    Counter(u64),
    /// It is as it is now.
    Gauge(f64),
    /// How what was recorded is distributed, since the node's start.
    Histogram(HistogramSummary),
}

impl Metrics {
    /// A counter. Several of one name count together.
    #[must_use]
    pub fn counter(&self, name: MetricName) -> Counter {
        Counter(Handle::new(&self.0, name, MetricKind::Counter))
    }

    /// A histogram of whole numbers; `unit` of them are shown as 1, such as 1000 for microseconds
    /// under a name that ends in `Ms`. Several of one name record together.
    #[must_use]
    pub fn histogram(&self, name: MetricName, unit: u32) -> Histogram {
        Histogram(Handle::new(&self.0, name, MetricKind::Histogram(unit.max(1))))
    }

    /// A histogram of times, recorded with [`Histogram::record_time`] and shown in milliseconds.
    #[must_use]
    pub fn times(&self, name: MetricName) -> Histogram {
        const MICROS_PER_MS: u32 = 1_000;
        self.histogram(name, MICROS_PER_MS)
    }

    /// All counters and histograms, by name.
    #[must_use]
    pub fn samples(&self) -> Vec<MetricSample> {
        let book = self.0.book.lock();
        let sample = |(name, entry): (&MetricName, &MetricEntry)| {
            let value = match entry.kind {
                MetricKind::Counter => MetricValue::Counter(self.0.cells.sum(entry.first)),
                MetricKind::Histogram(unit) => {
                    let sums = (0..histogram::CELLS).map(|at| self.0.cells.sum(entry.first + at));
                    MetricValue::Histogram(HistogramSummary::new(&sums.collect::<Vec<_>>(), unit))
                }
            };
            MetricSample { name: name.clone(), value }
        };
        book.entries.iter().map(sample).collect()
    }

    /// How many names were refused because there were too many already.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.book.lock().refused
    }
}

/// Counts what happens.
#[derive(Debug)]
pub struct Counter(Handle);

impl Counter {
    /// It happened `count` times.
    pub fn add(&self, count: u64) {
        self.0.registry.cells.add(self.0.first, count);
    }

    /// How often it has happened, of all threads.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.registry.cells.sum(self.0.first)
    }
}

/// Records how large something was, or how long it took.
#[derive(Debug)]
pub struct Histogram(Handle);

impl Histogram {
    /// It was this large.
    pub fn record(&self, value: u64) {
        if !self.0.is_refused() {
            let cells = &self.0.registry.cells;
            cells.add(self.0.first + histogram::bucket(value), 1);
            cells.add(self.0.first + histogram::SUM, value);
        }
    }
}

impl Histogram {
    /// It took so long; for a histogram of [`Metrics::times`].
    pub fn record_time(&self, took: Duration) {
        self.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

/// A name as long as it is counted.
struct Handle {
    registry: Arc<Registry>,
    name: MetricName,
    /// The first of its cells; [`CELLS_MAX`] if there was no room.
    first: usize,
}

impl Handle {
    fn new(registry: &Arc<Registry>, name: MetricName, kind: MetricKind) -> Self {
        let first = registry.book.lock().enter(&name, kind);
        Self { registry: Arc::clone(registry), name, first }
    }

    const fn is_refused(&self) -> bool {
        self.first == CELLS_MAX
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.is_refused() {
            return;
        }
        let mut book = self.registry.book.lock();
        let entry = book.entries.get_mut(&self.name).expect("it was entered with the handle");
        entry.handles -= 1;
        if entry.handles == 0 {
            let MetricEntry { first, kind, .. } = *entry;
            book.entries.remove(&self.name);
            // No handle is left, so no thread writes them.
            (first..first + kind.cells()).for_each(|at| self.registry.cells.clear(at));
            book.free.entry(kind.cells()).or_default().push(first);
        }
    }
}

impl Book {
    /// The first cell of a name.
    fn enter(&mut self, name: &MetricName, kind: MetricKind) -> usize {
        if let Some(entry) = self.entries.get_mut(name) {
            // One name is one kind of number, or the second would write into others' cells.
            assert_eq!(entry.kind.cells(), kind.cells(), "{name} is two kinds of number");
            entry.handles += 1;
            return entry.first;
        }
        let free = self.free.get_mut(&kind.cells()).and_then(Vec::pop);
        let Some(first) = free.or_else(|| self.next_cells(kind.cells())) else {
            self.refused += 1;
            return CELLS_MAX;
        };
        self.entries.insert(name.clone(), MetricEntry { first, kind, handles: 1 });
        first
    }

    fn next_cells(&mut self, cells: usize) -> Option<usize> {
        let first = self.next;
        let next = first + cells;
        (next <= CELLS_MAX).then(|| {
            self.next = next;
            first
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_in(topic: usize) -> MetricName {
        MetricName::new("kafka.server", "BrokerTopicMetrics", "BytesInPerSec").tag("topic", topic)
    }

    #[test]
    fn every_thread_counts_for_itself_and_all_are_added_up() {
        let metrics = Metrics::default();
        let counter = metrics.counter(bytes_in(1));
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| (0..1_000).for_each(|_| counter.add(2)));
            }
        });
        counter.add(1);
        assert_eq!(counter.sum(), 200_001);
        let sample = MetricSample { name: bytes_in(1), value: MetricValue::Counter(200_001) };
        assert_eq!(metrics.samples(), [sample]);
    }

    #[test]
    fn a_name_goes_with_its_last_handle_and_leaves_nothing_behind() {
        let metrics = Metrics::default();
        let (first, second) = (metrics.counter(bytes_in(1)), metrics.counter(bytes_in(1)));
        first.add(1);
        drop(first);
        second.add(1);
        assert_eq!(second.sum(), 2);
        drop(second);
        assert!(metrics.samples().is_empty());
        assert_eq!(metrics.counter(bytes_in(2)).sum(), 0, "the cell is used again, from 0");
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_nowhere() {
        let metrics = Metrics::default();
        let all: Vec<_> = (0..CELLS_MAX).map(|topic| metrics.counter(bytes_in(topic))).collect();
        assert_eq!(metrics.refused(), 0);
        let refused = metrics.counter(bytes_in(CELLS_MAX));
        refused.add(1);
        metrics.histogram(MetricName::new("a", "B", "C"), 1).record(1);
        assert_eq!((metrics.refused(), refused.sum(), all[0].sum()), (2, 0, 0));
        drop(all);
        assert_eq!(metrics.counter(bytes_in(0)).sum(), 0, "there is room again");
        assert_eq!(metrics.refused(), 2);
    }
}
