//! What a log has said about something, by offset.

use alloc::vec::Vec;

use ottla_types::Offset;

/// The values that control records have set, each from its offset on. It is as long as the log:
/// what is truncated there is forgotten here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OffsetHistory<T> {
    /// By offset, ascending. A value of a snapshot stands at the last offset that it contains, so
    /// that of the snapshot with which a cluster begins at -1.
    entries: Vec<(Offset, T)>,
}

impl<T> Default for OffsetHistory<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> OffsetHistory<T> {
    /// The record at `offset` sets this value; nothing behind it is known yet.
    pub fn set(&mut self, offset: Offset, value: T) {
        self.truncated(offset);
        self.entries.push((offset, value));
    }

    /// The newest value.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.entries.last().map(|(_, value)| value)
    }

    /// The offset of the newest value.
    #[must_use]
    pub fn last_offset(&self) -> Option<Offset> {
        self.entries.last().map(|(offset, _)| *offset)
    }

    /// The value that was in force behind the record at `offset`.
    #[must_use]
    pub fn at(&self, offset: Offset) -> Option<&T> {
        let behind = self.entries.partition_point(|(at, _)| *at <= offset);
        behind.checked_sub(1).map(|last| &self.entries[last].1)
    }

    /// The log was cut off at `end`.
    pub fn truncated(&mut self, end: Offset) {
        self.entries.retain(|(offset, _)| *offset < end);
    }

    /// What was in force before the one at `offset` is needed no more.
    pub fn trimmed(&mut self, offset: Offset) {
        let behind = self.entries.partition_point(|(at, _)| *at <= offset);
        self.entries.drain(..behind.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_force_from_its_offset_on_and_goes_with_the_log() {
        let mut history = OffsetHistory::default();
        for (offset, value) in [(-1, 'a'), (4, 'b'), (9, 'c')] {
            history.set(offset, value);
        }
        let at = |history: &OffsetHistory<char>, offset| history.at(offset).copied();
        let found = [-2, -1, 3, 4, 8, 9, 99].map(|offset| at(&history, offset));
        let (a, b, c) = (Some('a'), Some('b'), Some('c'));
        assert_eq!(found, [None, a, a, b, b, c, c]);

        history.truncated(9);
        assert_eq!((history.last().copied(), history.last_offset()), (b, Some(4)));
        history.trimmed(7);
        assert_eq!([3, 4].map(|offset| at(&history, offset)), [None, b], "trimmed at a snapshot");
        history.set(4, 'd');
        assert_eq!(at(&history, 4), Some('d'), "another record at the same offset");
    }
}
