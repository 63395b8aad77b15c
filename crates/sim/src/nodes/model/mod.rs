//! What clients have seen, and what must be true of it.

mod groups;
mod log;
mod offsets;
mod transactions;

use std::collections::BTreeMap;

pub use groups::ModelGroups;
pub use log::LogModel;
pub use offsets::ModelOffset;
pub use transactions::{KnownEnd, ModelTransactions, TransactionId};

use crate::invariant::{Invariant, Violation};

/// A partition, by its topic's name.
pub type Place = (String, i32);

/// All that clients have seen so far.
#[derive(Debug, Default)]
pub struct Model {
    /// The logs.
    pub logs: BTreeMap<Place, LogModel>,
    /// The committed offsets, by group.
    pub offsets: BTreeMap<(String, Place), ModelOffset>,
    /// The transactions.
    pub transactions: ModelTransactions,
    /// The groups.
    pub groups: ModelGroups,
    /// Topics and settings that were created, by name: what each must be.
    pub topics: BTreeMap<String, Existence>,
    /// The first rule that was broken.
    pub broken: Option<Violation>,
    /// How often each rule was checked.
    pub checks: BTreeMap<Invariant, u64>,
    /// How many requests of each API were answered.
    pub requests: BTreeMap<&'static str, u64>,
}

/// Does a topic exist?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It was acknowledged that it does.
    Exists,
    /// It was acknowledged that it does not.
    Gone,
    /// A request was not answered.
    Unknown,
}

impl Model {
    /// The log of a partition.
    pub fn log(&mut self, topic: &str, partition: i32) -> &mut LogModel {
        self.logs.entry((topic.to_owned(), partition)).or_default()
    }

    /// A group's offset of a partition.
    pub fn offset(&mut self, group: &str, place: &Place) -> &mut ModelOffset {
        self.offsets.entry((group.to_owned(), place.clone())).or_default()
    }

    /// Counts the check of a rule, and keeps the first one that does not hold.
    pub fn demand(&mut self, at_ms: u64, invariant: Invariant, checked: Result<(), String>) {
        *self.checks.entry(invariant).or_default() += 1;
        if let (Err(why), None) = (checked, &self.broken) {
            self.broken = Some(Violation { invariant, at_ms, why });
        }
    }

    /// The node has stopped cleanly: all that was seen is durable.
    pub fn stopped_cleanly(&mut self) {
        self.logs.values_mut().for_each(LogModel::durable);
    }

    /// The power has gone, and what was not made durable may have gone with it.
    pub fn power_cut(&mut self, era: u32) {
        self.logs.values_mut().for_each(|log| log.power_cut(era));
        self.offsets.values_mut().for_each(ModelOffset::power_cut);
        self.transactions.power_cut();
        self.groups.forget();
    }
}
