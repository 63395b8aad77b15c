//! Consumers: each reads partitions from their start, and looks at every answer.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_types::ErrorCode;

use super::{SimClient, is_passing};
use crate::invariant::Invariant;
use crate::nodes::model::Place;
use crate::nodes::value::{ReadBatch, SimValue, ValueMarker, read_batches};
use crate::nodes::wire::RequestLost;

/// The versions that name topics, and know all codecs.
const VERSIONS: (u64, u64) = (10, 12);

/// Which records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeIsolation {
    /// All.
    Uncommitted,
    /// Those of transactions only when they have committed.
    Committed,
}

/// What a fetch has found.
pub enum ConsumedRecords {
    /// These batches, and the records of them that a consumer shows.
    Batches(Vec<ReadBatch>, Vec<SimValue>),
    /// There is no such offset any more.
    OutOfRange,
    /// Nothing for now.
    Nothing,
}

impl SimClient {
    /// Fetches from one partition, and checks what every answer must be.
    ///
    /// # Errors
    /// No answer came.
    pub async fn fetch(
        &mut self,
        place: &Place,
        from: i64,
        isolation: ConsumeIsolation,
    ) -> Result<ConsumedRecords, RequestLost> {
        self.connect().await?;
        let era = self.shared.era.get();
        let (high_watermark, last_stable) = {
            let mut model = self.shared.model.borrow_mut();
            let log = model.log(&place.0, place.1);
            (log.high_watermark, log.last_stable)
        };
        let limits: &[i32] =
            if self.is_thorough { &[1 << 20] } else { &[1, 100, 1 << 12, 1 << 20] };
        let partition = FetchPartition {
            partition: place.1,
            fetch_offset: from,
            partition_max_bytes: limits[self.dice.index(limits.len())],
            ..Default::default()
        };
        let topic = FetchTopic {
            topic: place.0.clone(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = FetchRequest {
            max_wait_ms: if self.is_thorough {
                0
            } else {
                i32::try_from(self.dice.below(1_000)).unwrap_or(0)
            },
            min_bytes: i32::try_from(self.dice.below(3)).unwrap_or(0),
            max_bytes: limits[self.dice.index(limits.len())],
            isolation_level: i8::from(isolation == ConsumeIsolation::Committed),
            topics: vec![topic],
            ..Default::default()
        };
        let version = i16::try_from(self.dice.between(VERSIONS.0, VERSIONS.1)).unwrap_or(4);
        let answer = self.ask_in(era, &request, version).await?;
        let partition = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let Some(data) = partition else {
            self.unexpected("Fetch without a partition", ErrorCode(answer.error_code));
            return Ok(ConsumedRecords::Nothing);
        };
        let known = Known { from, high_watermark, last_stable };
        Ok(self.look_at(place, &data, &known, isolation))
    }

    fn look_at(
        &mut self,
        place: &Place,
        data: &PartitionData,
        known: &Known,
        isolation: ConsumeIsolation,
    ) -> ConsumedRecords {
        match ErrorCode(data.error_code) {
            ErrorCode::NONE => {}
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                let holds = known.from > known.high_watermark;
                let why = format!("{place:?} has no offset {} any more", known.from);
                self.demand(Invariant::RecordsStay, if holds { Ok(()) } else { Err(why) });
                return ConsumedRecords::OutOfRange;
            }
            code if is_passing(code) => return ConsumedRecords::Nothing,
            code => {
                self.unexpected("Fetch", code);
                return ConsumedRecords::Nothing;
            }
        }
        let checked = ends_grow(data, known).map_err(|why| format!("{place:?}: {why}"));
        self.demand(Invariant::WatermarksGrow, checked);
        let read = read_batches(data.records.as_deref().unwrap_or_default());
        let read = read.and_then(|batches| {
            follow_on(&batches, data, known.from, isolation)?;
            Ok(batches)
        });
        let (batches, whole) = match read {
            Ok(batches) => (batches, Ok(())),
            Err(why) => (Vec::new(), Err(format!("{place:?} from {}: {why}", known.from))),
        };
        self.demand(Invariant::ReadsAreWhole, whole);
        self.saw(place, data, &batches);
        let mut shown = Vec::new();
        if isolation == ConsumeIsolation::Committed {
            shown = committed_values(data, &batches);
            let checked = self.may_see(&shown).map_err(|why| format!("{place:?}: {why}"));
            self.demand(Invariant::CommittedReads, checked);
        }
        if batches.is_empty() {
            ConsumedRecords::Nothing
        } else {
            ConsumedRecords::Batches(batches, shown)
        }
    }

    fn saw(&self, place: &Place, data: &PartitionData, batches: &[ReadBatch]) {
        let mut checked = Ok(());
        {
            let mut model = self.shared.model.borrow_mut();
            let log = model.log(&place.0, place.1);
            log.high_watermark = log.high_watermark.max(data.high_watermark);
            log.last_stable = log.last_stable.max(data.last_stable_offset);
            for batch in batches {
                if batch.marker.is_some() {
                    checked = checked.and_then(|()| log.see(batch.base_offset, None));
                }
                for (offset, value) in &batch.values {
                    checked = checked.and_then(|()| log.see(*offset, Some(*value)));
                }
            }
        }
        let checked = checked.map_err(|why| format!("{place:?}: read: {why}"));
        self.demand(Invariant::RecordsStay, checked);
    }

    fn may_see(&self, shown: &[SimValue]) -> Result<(), String> {
        let model = self.shared.model.borrow();
        shown.iter().try_for_each(|value| model.transactions.see(value))
    }
}

/// What was known when a fetch was sent.
struct Known {
    from: i64,
    high_watermark: i64,
    last_stable: i64,
}

fn ends_grow(data: &PartitionData, known: &Known) -> Result<(), String> {
    let (high_watermark, last_stable) = (data.high_watermark, data.last_stable_offset);
    if high_watermark < known.high_watermark {
        let before = known.high_watermark;
        return Err(format!("the high watermark was {before} and is {high_watermark}"));
    }
    if last_stable < known.last_stable {
        let before = known.last_stable;
        return Err(format!("the last stable offset was {before} and is {last_stable}"));
    }
    if last_stable > high_watermark {
        return Err(format!("the last stable offset {last_stable} is behind {high_watermark}"));
    }
    Ok(())
}

/// Do the batches begin where they were asked for, and follow upon each other up to what may be
/// read?
fn follow_on(
    batches: &[ReadBatch],
    data: &PartitionData,
    from: i64,
    isolation: ConsumeIsolation,
) -> Result<(), String> {
    let limit = match isolation {
        ConsumeIsolation::Uncommitted => data.high_watermark,
        ConsumeIsolation::Committed => data.last_stable_offset,
    };
    let mut due = None;
    for batch in batches {
        let (base, next) = (batch.base_offset, batch.next_offset);
        match due {
            None if base > from || next <= from => {
                return Err(format!("the first batch has offsets {base} to {next}"));
            }
            Some(due) if base != due => {
                return Err(format!("a batch begins at {base}, and {due} was due"));
            }
            _ => {}
        }
        if next > limit {
            return Err(format!("a batch ends at {next}, behind {limit}"));
        }
        due = Some(next);
    }
    Ok(())
}

/// The records that a consumer shows that reads what is committed: without those of the producers
/// that the answer names as aborted, each from an offset to its next abort.
fn committed_values(data: &PartitionData, batches: &[ReadBatch]) -> Vec<SimValue> {
    let mut aborted: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for it in data.aborted_transactions.iter().flatten() {
        aborted.entry(it.first_offset).or_default().push(it.producer_id);
    }
    let (mut shown, mut hidden) = (Vec::new(), BTreeSet::new());
    for batch in batches {
        while let Some(first) = aborted.first_entry().filter(|it| *it.key() < batch.next_offset) {
            hidden.extend(first.remove());
        }
        match batch.marker {
            Some(ValueMarker::Abort) => {
                hidden.remove(&batch.producer_id);
            }
            Some(ValueMarker::Commit) => {}
            None if batch.is_transactional && hidden.contains(&batch.producer_id) => {}
            None => shown.extend(batch.values.iter().map(|(_, value)| *value)),
        }
    }
    shown
}

/// Reads partitions, one after the other, until the faults are over.
pub async fn follow_partitions(client: &mut SimClient) {
    let mut positions: BTreeMap<Place, i64> = BTreeMap::new();
    while !client.is_over() {
        let place = client.some_partition();
        let isolation = if client.dice.chance(500) {
            ConsumeIsolation::Committed
        } else {
            ConsumeIsolation::Uncommitted
        };
        // From where it was, or from the start again.
        let from = if client.dice.chance(100) { 0 } else { *positions.get(&place).unwrap_or(&0) };
        match client.fetch(&place, from, isolation).await {
            Ok(ConsumedRecords::Batches(batches, _)) => {
                let next = batches.last().map_or(from, |batch| batch.next_offset);
                positions.insert(place, next);
            }
            Ok(ConsumedRecords::OutOfRange) => {
                positions.insert(place, 0);
            }
            Ok(ConsumedRecords::Nothing) | Err(_) => client.rest().await,
        }
        if client.dice.chance(500) {
            client.rest().await;
        }
    }
}
