//! What is known of one partition's log from what clients have seen: which value each offset has,
//! up to where that can no longer change, and what was acknowledged.
//!
//! A power cut takes the end of a log that was not made durable. From then on what was seen before
//! is uncertain, up to the first offset that is seen to have survived: a log loses nothing in its
//! middle.

use std::collections::BTreeMap;

use crate::nodes::value::SimValue;

/// An offset's record.
#[derive(Clone, Copy, Debug)]
struct ModelEntry {
    /// `None` is the end of a transaction.
    value: Option<SimValue>,
    era: u32,
    /// Is it durable?
    is_certain: bool,
}

impl ModelEntry {
    /// May a power cut have taken it, as far as is known?
    const fn may_be_lost(&self, era: u32) -> bool {
        self.era < era && !self.is_certain
    }
}

/// One partition's log.
#[derive(Debug, Default)]
pub struct LogModel {
    entries: BTreeMap<i64, ModelEntry>,
    places: BTreeMap<SimValue, i64>,
    /// The highest high watermark, and the highest last stable offset, that was seen.
    pub high_watermark: i64,
    pub last_stable: i64,
    era: u32,
}

impl LogModel {
    /// The power has gone: what was not durable may be gone.
    pub fn power_cut(&mut self, era: u32) {
        self.era = era;
        let certain = self.entries.iter().rev().find(|(_, entry)| entry.is_certain);
        let end = certain.map_or(0, |(at, _)| at + 1);
        if end < self.high_watermark {
            // The end of a transaction may be lost: then it is open again from its first record on.
            self.last_stable = 0;
        }
        self.high_watermark = self.high_watermark.min(end);
    }

    /// All that was seen so far is durable: the node has stopped cleanly.
    pub fn durable(&mut self) {
        let era = self.era;
        self.entries.values_mut().for_each(|entry| entry.is_certain |= entry.era == era);
    }

    /// An offset was seen to have this value, or to be the end of a transaction.
    ///
    /// # Errors
    /// The batch contradicts what was seen before.
    pub fn see(&mut self, offset: i64, value: Option<SimValue>) -> Result<(), String> {
        let era = value.map_or(self.era, |value| value.era);
        if let Some(entry) = self.entries.get(&offset) {
            if entry.value == value {
                if value.is_some() {
                    self.survived(offset, entry.era);
                }
                return Ok(());
            }
            if !entry.may_be_lost(self.era) {
                let before = entry.value;
                return Err(format!("offset {offset} had {before:?} and now has {value:?}"));
            }
        }
        if value.is_some() && era == self.era {
            self.forget_lost(offset);
        }
        if let Some(value) = value {
            if let Some(place) = self.places.get(&value) {
                return Err(format!("{value:?} is at offset {place} and at {offset}"));
            }
            self.places.insert(value, offset);
        }
        self.entries.insert(offset, ModelEntry { value, era, is_certain: false });
        self.survived(offset, era);
        Ok(())
    }

    /// What was written before a power cut and is read after it: all of its era before it has
    /// survived, too. What earlier eras had there may have been replaced without an answer.
    fn survived(&mut self, offset: i64, era: u32) {
        if era < self.era {
            let before = self.entries.range_mut(..=offset);
            before
                .filter(|(_, entry)| entry.era == era)
                .for_each(|(_, entry)| entry.is_certain = true);
        }
    }

    /// An offset has a record of this era: what earlier eras had from there on is lost.
    fn forget_lost(&mut self, offset: i64) {
        let era = self.era;
        let lost = self.entries.range(offset..).filter(|(_, entry)| entry.may_be_lost(era));
        let lost: Vec<i64> = lost.map(|(at, _)| *at).collect();
        lost.into_iter().for_each(|at| self.forget(at));
    }

    fn forget(&mut self, offset: i64) {
        let entry = self.entries.remove(&offset);
        if let Some(value) = entry.and_then(|entry| entry.value) {
            self.places.remove(&value);
        }
    }

    /// The whole log was read, from its start to its end, and each offset was seen: nothing that
    /// must be there may be missing. What may be missing and is, is forgotten.
    ///
    /// # Errors
    /// It lacks something, or the records of an idempotent producer are out of order.
    pub fn audit(&mut self, found: &BTreeMap<i64, Option<SimValue>>) -> Result<(), String> {
        let missing = self.entries.iter().filter(|(at, _)| !found.contains_key(at));
        let missing: Vec<(i64, ModelEntry)> = missing.map(|(at, entry)| (*at, *entry)).collect();
        for (at, entry) in missing {
            if !entry.may_be_lost(self.era) {
                return Err(format!("offset {at} is missing; it had {:?}", entry.value));
            }
            self.forget(at);
        }
        let mut last: BTreeMap<u32, SimValue> = BTreeMap::new();
        for (at, value) in found {
            let Some(value) = value.filter(|value| value.is_idempotent) else { continue };
            if let Some(before) = last.insert(value.writer, value)
                && before.number >= value.number
            {
                return Err(format!("at offset {at} {value:?} comes after {before:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(era: u32, number: u64) -> SimValue {
        SimValue { writer: 1, era, number, transaction: 0, is_idempotent: true }
    }

    fn model(values: &[(i64, SimValue)]) -> LogModel {
        let mut model = LogModel::default();
        values.iter().for_each(|(at, value)| model.see(*at, Some(*value)).expect("agrees"));
        model
    }

    fn found(values: &[(i64, SimValue)]) -> BTreeMap<i64, Option<SimValue>> {
        values.iter().map(|(at, value)| (*at, Some(*value))).collect()
    }

    #[test]
    fn an_offset_keeps_its_value_and_a_value_its_offset() {
        let mut model = model(&[(0, value(0, 1)), (1, value(0, 2))]);
        model.see(0, Some(value(0, 1))).expect("it is the same");
        model.see(0, Some(value(0, 3))).expect_err("overwritten");
        model.see(2, Some(value(0, 2))).expect_err("doubled");
        model.audit(&found(&[(0, value(0, 1))])).expect_err("one is missing");
    }

    #[test]
    fn records_of_an_idempotent_producer_are_in_order() {
        let out_of_order = [(0, value(0, 2)), (1, value(0, 1))];
        model(&out_of_order).audit(&found(&out_of_order)).expect_err("out of order");
    }

    #[test]
    fn a_power_cut_takes_the_end_of_a_log_and_nothing_in_its_middle() {
        let all = [(0, value(0, 1)), (1, value(0, 2)), (2, value(0, 3))];
        let cut = || {
            let mut model = model(&all);
            model.power_cut(1);
            model
        };
        cut().audit(&found(&[])).expect("all may be lost");
        cut().audit(&found(&all[..2])).expect("or the last");
        let mut survived = cut();
        survived.see(1, Some(value(0, 2))).expect("it has survived");
        survived.see(0, Some(value(1, 9))).expect_err("so the one before has, too");
        let mut lost = cut();
        lost.see(1, Some(value(1, 9))).expect("the second is lost");
        lost.audit(&found(&[(0, value(0, 1)), (1, value(1, 9))])).expect("and the third");
        let mut durable = model(&all);
        durable.durable();
        durable.power_cut(1);
        durable.audit(&found(&all[..2])).expect_err("all were durable");
    }
}
