//! When the faults are over: all logs are read from their start to their end, and must be as
//! the answers to clients said.

use std::collections::{BTreeMap, BTreeSet};

use super::SimClient;
use super::consume::{ConsumeIsolation, ConsumedRecords};
use crate::invariant::Invariant;
use crate::nodes::model::Place;
use crate::nodes::value::SimValue;

/// After how many answers in a row with nothing new a log is at its end.
const EMPTY_MAX: u32 = 3;

/// Reads everything.
pub async fn audit(client: &mut SimClient) {
    client.is_thorough = true;
    let mut committed: BTreeSet<(Place, SimValue)> = BTreeSet::new();
    for topic in client.shared.topics.clone() {
        for partition in 0..topic.partitions {
            let place = (topic.name.clone(), partition);
            let found =
                read_all(client, &place, ConsumeIsolation::Uncommitted, &mut |_, _| {}).await;
            let mut checked = Ok(());
            {
                let mut model = client.shared.model.borrow_mut();
                checked = checked.and_then(|()| model.log(&place.0, place.1).audit(&found));
            }
            let checked = checked.map_err(|why| format!("{place:?}: {why}"));
            client.demand(Invariant::RecordsStay, checked);
            let mut keep = |place: &Place, value: SimValue| {
                committed.insert((place.clone(), value));
            };
            read_all(client, &place, ConsumeIsolation::Committed, &mut keep).await;
        }
    }
    for topic in client.shared.topics.clone() {
        for partition in 0..topic.partitions {
            nothing_open(client, &(topic.name.clone(), partition)).await;
        }
    }
    let checked = {
        let model = client.shared.model.borrow();
        let is_there =
            |place: &Place, value: &SimValue| committed.contains(&(place.clone(), *value));
        model.transactions.audit(is_there)
    };
    client.demand(Invariant::TransactionsAreAtomic, checked);
}

/// Coordinators have ended all transactions, unless a power cut has taken one from its coordinator.
async fn nothing_open(client: &mut SimClient, place: &Place) {
    if client.shared.era.get() > 0 {
        return;
    }
    let (high_watermark, last_stable) = {
        let mut model = client.shared.model.borrow_mut();
        let log = model.log(&place.0, place.1);
        (log.high_watermark, log.last_stable)
    };
    let holds = high_watermark == last_stable;
    let why = format!("{place:?}: a transaction is open at {last_stable} of {high_watermark}");
    client.demand(Invariant::TransactionsEnd, if holds { Ok(()) } else { Err(why) });
}

async fn read_all(
    client: &mut SimClient,
    place: &Place,
    isolation: ConsumeIsolation,
    keep: &mut dyn FnMut(&Place, SimValue),
) -> BTreeMap<i64, Option<SimValue>> {
    let (mut found, mut from, mut empty) = (BTreeMap::new(), 0, 0);
    while empty < EMPTY_MAX {
        match client.fetch(place, from, isolation).await {
            Ok(ConsumedRecords::Batches(batches, shown)) => {
                empty = 0;
                for batch in &batches {
                    if batch.marker.is_some() {
                        found.insert(batch.base_offset, None);
                    }
                    for (offset, value) in &batch.values {
                        found.insert(*offset, Some(*value));
                    }
                    from = batch.next_offset;
                }
                shown.into_iter().for_each(|value| keep(place, value));
            }
            Ok(_) => {
                empty += 1;
                client.rest().await;
            }
            Err(_) => client.rest().await,
        }
    }
    found
}
