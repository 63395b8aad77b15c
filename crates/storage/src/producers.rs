//! What each idempotent producer wrote last: the window against duplicates, open transactions,
//! and the `.snapshot` files (KIP-98).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use ottla_records::{Batch, control, crc32c};
use ottla_types::{ErrorCode, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::error::StorageError;
use crate::files::{Durability, Files, read_whole, replace_durably};
use crate::index::AbortedTransaction;

/// How many batches of a producer are remembered; as many may be in flight.
const WINDOW: usize = 5;
const ENTRY_BYTES: usize = 46;
const VERSION: i16 = 1;
/// Id, epoch, sequence, offset, delta, timestamp, coordinator epoch, start of the transaction.
const _: () = assert!(ENTRY_BYTES == 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8);
/// The epoch of a producer that has not written anything.
const NO_PRODUCER_EPOCH: ProducerEpoch = -1;

/// One batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProducerBatch {
    first_sequence: Sequence,
    last_sequence: Sequence,
    first_offset: Offset,
    last_offset: Offset,
    timestamp: TimestampMs,
}

/// A producer, as far as one log knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its epoch; -1 before it has written anything.
    pub epoch: ProducerEpoch,
    /// The epoch of the coordinator that wrote its last marker; -1 if there is none.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub open_since: Option<Offset>,
    /// When it last wrote.
    pub last_timestamp: TimestampMs,
    /// How many of its transactions have ended since the log was opened, but for those that
    /// [`crate::Log::keep_verified`] was called for.
    pub ended: u32,
    batches: VecDeque<ProducerBatch>,
}

impl ProducerEntry {
    /// The sequence number of its last record; -1 if it has none.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        self.batches.back().map_or(-1, |last| last.last_sequence)
    }

    /// The offset of its last record; `None` if it has none.
    #[must_use]
    pub fn last_offset(&self) -> Option<Offset> {
        self.batches.back().map(|last| last.last_offset)
    }

    fn push(&mut self, written: ProducerBatch) {
        if self.batches.len() == WINDOW {
            self.batches.pop_front();
        }
        self.last_timestamp = written.timestamp;
        self.batches.push_back(written);
    }
}

/// Why a producer's batch is not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A later incarnation has written.
    #[error("producer epoch {sent} is older than the current {current}")]
    Fenced {
        /// The batch's epoch.
        sent: ProducerEpoch,
        /// The epoch in force.
        current: ProducerEpoch,
    },
    /// Something is missing before the batch.
    #[error("sequence {sent} does not follow {last}")]
    OutOfOrder {
        /// The batch's first sequence number.
        sent: Sequence,
        /// The last that was written.
        last: Sequence,
    },
}

impl ProducerError {
    /// The error code for the client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Fenced { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
            Self::OutOfOrder { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        }
    }
}

/// A batch that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub timestamp: TimestampMs,
}

/// All producers of a log, as of one offset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    all: BTreeMap<ProducerId, ProducerEntry>,
    open: BTreeSet<(Offset, ProducerId)>,
    /// Transactions whose marker is in the log, but perhaps not below the high watermark yet: the
    /// first offset of each, and the offset of its marker. A transaction from 10 on whose marker
    /// stands at 25 is `10: 25` until the high watermark is above 25.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl Producers {
    pub(crate) fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.all.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.all.iter().map(|(id, producer)| (*id, producer))
    }

    /// The first offset of any open transaction.
    fn first_open(&self) -> Option<Offset> {
        self.open.first().map(|(offset, _)| *offset)
    }

    /// The first offset of any transaction that is open, or whose marker is not below
    /// `high_watermark`: a new leader may not have that marker, and end the transaction the other
    /// way.
    pub(crate) fn first_unstable(&self, high_watermark: Offset) -> Option<Offset> {
        let mut ended = self.unreplicated.iter().filter(|(_, marker)| **marker >= high_watermark);
        let first_ended = ended.next().map(|(first, _)| *first);
        self.first_open().into_iter().chain(first_ended).min()
    }

    /// Everything below `high_watermark` is replicated, markers too.
    pub(crate) fn replicated(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= high_watermark);
    }

    /// Takes over what another knows of a producer, if this one knows nothing.
    pub(crate) fn learn(&mut self, id: ProducerId, other: &Self) {
        if !self.all.contains_key(&id)
            && let Some(known) = other.all.get(&id)
        {
            self.all.insert(id, known.clone());
        }
    }

    /// May the batch be appended? Is it there already?
    pub(crate) fn check(&self, batch: &Batch<'_>) -> Result<Option<Duplicate>, ProducerError> {
        let (id, sent) = batch.producer();
        let Some(known) = self.all.get(&id) else {
            // Before it has written anything, a producer's epoch is -1.
            let is_old = sent < NO_PRODUCER_EPOCH;
            let fenced = ProducerError::Fenced { sent, current: NO_PRODUCER_EPOCH };
            return if is_old { Err(fenced) } else { Ok(None) };
        };
        let (first, last) = (batch.base_sequence(), batch.last_sequence());
        let same = |written: &&ProducerBatch| {
            written.first_sequence == first && written.last_sequence == last
        };
        if known.epoch == sent
            && !batch.is_control()
            && let Some(found) = known.batches.iter().find(same)
        {
            return Ok(Some(Duplicate {
                first_offset: found.first_offset,
                last_offset: found.last_offset,
                timestamp: found.timestamp,
            }));
        }
        if sent < known.epoch {
            return Err(ProducerError::Fenced { sent, current: known.epoch });
        }
        if batch.is_control() {
            // A marker is the coordinator's, it has no place in the sequence.
            return Ok(None);
        }
        let before = known.last_sequence();
        let follows = if sent > known.epoch {
            first == 0 || known.epoch < 0
        } else {
            let wrapped = before == Sequence::MAX && first == 0;
            // A marker may have begun the epoch: then nothing comes before sequence 0.
            wrapped || before.checked_add(1) == Some(first)
        };
        if follows {
            Ok(None)
        } else {
            Err(ProducerError::OutOfOrder { sent: first, last: before })
        }
    }

    /// The batch is in the log; returns the transaction that it aborts, if it does.
    pub(crate) fn appended(&mut self, batch: &Batch<'_>) -> Option<AbortedTransaction> {
        let (id, epoch) = batch.producer();
        if id < 0 {
            return None;
        }
        if batch.is_control() {
            return self.ended(batch);
        }
        let producer = self.all.entry(id).or_insert_with(unknown_producer);
        if producer.epoch != epoch {
            producer.batches.clear();
            producer.epoch = epoch;
        }
        producer.push(ProducerBatch {
            first_sequence: batch.base_sequence(),
            last_sequence: batch.last_sequence(),
            first_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            timestamp: batch.max_timestamp(),
        });
        if batch.is_transactional() && producer.open_since.is_none() {
            producer.open_since = Some(batch.base_offset());
            self.open.insert((batch.base_offset(), id));
        }
        None
    }

    fn ended(&mut self, batch: &Batch<'_>) -> Option<AbortedTransaction> {
        let (id, epoch) = batch.producer();
        let unpacked = batch.unpack(batch.bytes().len()).ok()?;
        let record = unpacked.records().next()?.ok()?;
        let kind = control::ControlKind::of(&record)?;
        let aborts = match kind {
            control::ControlKind::Abort => true,
            control::ControlKind::Commit => false,
            _ => return None,
        };
        let producer = self.all.entry(id).or_insert_with(unknown_producer);
        if producer.epoch != epoch {
            producer.batches.clear();
            producer.epoch = epoch;
        }
        producer.coordinator_epoch = control::coordinator_epoch(&record).unwrap_or(-1);
        producer.last_timestamp = record.timestamp;
        producer.ended = producer.ended.wrapping_add(1);
        let first_offset = producer.open_since.take()?;
        self.open.remove(&(first_offset, id));
        let last_offset = batch.base_offset();
        self.unreplicated.insert(first_offset, last_offset);
        let last_stable = self.first_open().unwrap_or(last_offset + 1);
        aborts.then_some(AbortedTransaction {
            producer_id: id,
            first_offset,
            last_offset,
            last_stable,
        })
    }

    /// See [`crate::Log::keep_verified`].
    pub(crate) fn keep_verified(&mut self, id: ProducerId) {
        if let Some(producer) = self.all.get_mut(&id) {
            producer.ended = producer.ended.wrapping_sub(1);
        }
    }

    /// Forgets producers that have been silent since before `oldest` and have nothing open.
    pub(crate) fn forget_before(&mut self, oldest: TimestampMs) {
        self.all.retain(|_, it| it.open_since.is_some() || it.last_timestamp >= oldest);
    }

    pub(crate) fn read(files: &dyn Files, path: &Path) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = read_whole(files, path).map_err(StorageError::io(path))? else {
            return Ok(None);
        };
        Ok(Self::parse(&bytes))
    }

    /// The producers that a snapshot's bytes name; `None` if they are no snapshot.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(6)?;
        let version = i16::from_be_bytes([head[0], head[1]]);
        let crc = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        if version != VERSION || crc != crc32c(rest) {
            return None;
        }
        let (count, entries) = rest.split_first_chunk::<4>()?;
        let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
        if entries.len() != count.checked_mul(ENTRY_BYTES)? {
            return None;
        }
        let mut all = Self::default();
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let (id, producer) = read_entry(entry);
            if let Some(offset) = producer.open_since {
                all.open.insert((offset, id));
            }
            all.all.insert(id, producer);
        }
        Some(all)
    }

    /// Writes the file. If it is not synced, a power cut may leave a part of it, which its checksum
    /// shows.
    pub(crate) fn write(
        &self,
        files: &dyn Files,
        path: &Path,
        durability: Durability,
    ) -> Result<(), StorageError> {
        let mut body = i32::try_from(self.all.len()).unwrap_or(i32::MAX).to_be_bytes().to_vec();
        for (id, producer) in &self.all {
            write_entry(&mut body, *id, producer);
        }
        let mut bytes = VERSION.to_be_bytes().to_vec();
        bytes.extend(crc32c(&body).to_be_bytes());
        bytes.extend(body);
        if durability == Durability::Synced {
            return replace_durably(files, path, &bytes).map_err(StorageError::io(path));
        }
        let write = || files.create(path)?.write_at(&bytes, 0);
        write().map_err(StorageError::io(path))
    }
}

fn unknown_producer() -> ProducerEntry {
    ProducerEntry { epoch: -1, coordinator_epoch: -1, ..ProducerEntry::default() }
}

fn read_entry(entry: &[u8]) -> (ProducerId, ProducerEntry) {
    let long = |at: usize| {
        let mut value = [0; 8];
        value.copy_from_slice(&entry[at..at + 8]);
        i64::from_be_bytes(value)
    };
    let int =
        |at: usize| i32::from_be_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
    let (last_sequence, last_offset, delta, timestamp) = (int(10), long(14), int(22), long(26));
    let mut producer = ProducerEntry {
        epoch: i16::from_be_bytes([entry[8], entry[9]]),
        coordinator_epoch: int(34),
        open_since: Some(long(38)).filter(|offset| *offset >= 0),
        last_timestamp: timestamp,
        ended: 0,
        batches: VecDeque::new(),
    };
    if last_offset >= 0 {
        producer.push(ProducerBatch {
            first_sequence: last_sequence.wrapping_sub(delta) & i32::MAX,
            last_sequence,
            first_offset: last_offset - i64::from(delta),
            last_offset,
            timestamp,
        });
    }
    (long(0), producer)
}

fn write_entry(out: &mut Vec<u8>, id: ProducerId, producer: &ProducerEntry) {
    let last = producer.batches.back();
    let delta = last.map_or(0, |last| last.last_offset - last.first_offset);
    out.extend(id.to_be_bytes());
    out.extend(producer.epoch.to_be_bytes());
    out.extend(producer.last_sequence().to_be_bytes());
    out.extend(last.map_or(-1, |last| last.last_offset).to_be_bytes());
    out.extend(i32::try_from(delta).unwrap_or(0).to_be_bytes());
    out.extend(producer.last_timestamp.to_be_bytes());
    out.extend(producer.coordinator_epoch.to_be_bytes());
    out.extend(producer.open_since.unwrap_or(-1).to_be_bytes());
}
