//! The outcomes of transactions, as far as their producers know.

use std::collections::BTreeMap;

use super::Place;
use crate::nodes::value::SimValue;

/// Which transaction: a client, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// The client.
    pub writer: u32,
    /// From 1.
    pub number: u64,
}

impl TransactionId {
    /// The transaction that a record belongs to, if it belongs to one.
    pub fn of(value: &SimValue) -> Option<Self> {
        let SimValue { writer, transaction, .. } = *value;
        (transaction > 0).then_some(Self { writer, number: transaction })
    }
}

/// What a producer knows of the end of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownEnd {
    /// Its commit was not asked for: it must not be seen.
    Open,
    /// Its commit was asked for, and not answered.
    InDoubt,
    /// Its commit was acknowledged.
    Committed,
    /// Its abort was acknowledged.
    Aborted,
}

/// One transaction.
#[derive(Debug)]
pub struct ModelTransaction {
    /// How it ends.
    pub outcome: KnownEnd,
    /// What it has written, as far as that was acknowledged.
    pub written: Vec<(Place, SimValue)>,
}

/// All transactions.
#[derive(Debug, Default)]
pub struct ModelTransactions {
    all: BTreeMap<TransactionId, ModelTransaction>,
}

impl ModelTransactions {
    /// A transaction begins.
    pub fn begin(&mut self, id: TransactionId) {
        self.all.insert(id, ModelTransaction { outcome: KnownEnd::Open, written: Vec::new() });
    }

    /// A record of it was acknowledged.
    pub fn wrote(&mut self, id: TransactionId, place: Place, value: SimValue) {
        // What a power cut has ended is not looked at any more.
        if let Some(transaction) = self.all.get_mut(&id) {
            transaction.written.push((place, value));
        }
    }

    /// More is known of its end.
    pub fn ends(&mut self, id: TransactionId, outcome: KnownEnd) {
        if let Some(transaction) = self.all.get_mut(&id) {
            transaction.outcome = outcome;
        }
    }

    /// The power has gone. Markers and decisions of several logs may be lost each by itself: of
    /// what came before nothing is promised any more.
    pub fn power_cut(&mut self) {
        self.all.clear();
    }

    /// How many have begun.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// A record was read by a client that reads what is committed.
    ///
    /// # Errors
    /// It must not be seen.
    pub fn see(&self, value: &SimValue) -> Result<(), String> {
        let Some(id) = TransactionId::of(value) else { return Ok(()) };
        match self.all.get(&id).map(|it| it.outcome) {
            Some(outcome @ (KnownEnd::Open | KnownEnd::Aborted)) => {
                Err(format!("{value:?} is read, and its transaction is {outcome:?}"))
            }
            _ => Ok(()),
        }
    }

    /// All that is committed was read, in all partitions.
    ///
    /// # Errors
    /// A transaction is there in part, or lacks what was acknowledged.
    pub fn audit(&self, is_there: impl Fn(&Place, &SimValue) -> bool) -> Result<(), String> {
        for (id, transaction) in &self.all {
            let written = transaction.written.iter();
            let (there, missing): (Vec<_>, Vec<_>) =
                written.partition(|(place, value)| is_there(place, value));
            let due = match transaction.outcome {
                KnownEnd::Committed => missing.is_empty(),
                KnownEnd::Open | KnownEnd::Aborted => there.is_empty(),
                KnownEnd::InDoubt => missing.is_empty() || there.is_empty(),
            };
            if !due {
                let outcome = transaction.outcome;
                return Err(format!(
                    "{id:?} is {outcome:?}; of its records {there:?} are there, {missing:?} are not"
                ));
            }
        }
        Ok(())
    }
}
