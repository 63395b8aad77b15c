//! Which batches belong to aborted transactions, and which markers still have something to mark.

use std::collections::{HashMap, HashSet};

use ottla_records::control::ControlKind;
use ottla_records::{Batch, Unpacked};
use ottla_types::{Offset, ProducerId};

use crate::index::AbortedTransaction;

/// What is known of transactions while a log is read from front to back.
#[derive(Debug, Default)]
pub(crate) struct TransactionTracker {
    /// Aborted transactions that begin after the reader's position; the last begins first.
    waiting: Vec<AbortedTransaction>,
    /// Begun and to be aborted; has a record of it been seen?
    aborted: HashMap<ProducerId, (AbortedTransaction, bool)>,
    /// Begun, with records, and not to be aborted.
    committed: HashSet<ProducerId>,
    /// Aborted, with records that are still there.
    kept: Vec<AbortedTransaction>,
}

impl TransactionTracker {
    pub(crate) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|it| std::cmp::Reverse(it.first_offset));
        Self { waiting: aborted, ..Self::default() }
    }

    fn begin_upto(&mut self, offset: Offset) {
        while self.waiting.last().is_some_and(|next| next.first_offset <= offset) {
            if let Some(next) = self.waiting.pop() {
                self.aborted.entry(next.producer_id).or_insert((next, false));
            }
        }
    }

    /// The batch holds records; do they belong to an aborted transaction?
    pub(crate) fn is_aborted(&mut self, batch: &Batch<'_>) -> bool {
        self.begin_upto(batch.last_offset());
        if !batch.is_transactional() {
            return false;
        }
        if let Some((_, seen)) = self.aborted.get_mut(&batch.producer_id()) {
            *seen = true;
            return true;
        }
        self.committed.insert(batch.producer_id());
        false
    }

    /// The batch holds a marker; has its transaction no record left?
    pub(crate) fn is_empty_marker(&mut self, unpacked: &Unpacked<'_>) -> bool {
        let batch = unpacked.batch();
        self.begin_upto(batch.last_offset());
        let Some(Ok(record)) = unpacked.records().next() else {
            // Emptied before; it stands for its producer only.
            return true;
        };
        match ControlKind::of(&record) {
            Some(ControlKind::Abort) => match self.aborted.remove(&batch.producer_id()) {
                Some((aborted, true)) => {
                    self.kept.push(aborted);
                    false
                }
                _ => true,
            },
            Some(ControlKind::Commit) => !self.committed.remove(&batch.producer_id()),
            _ => false,
        }
    }

    /// The aborted transactions that were met since the last call and have records left.
    pub(crate) fn take_kept(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.kept)
    }
}
