//! Where readers go on: the ends of recent reads, so that the next one needs no search.

use ottla_locks::Mutex;
use std::collections::VecDeque;

use ottla_types::Offset;

/// How many ends are remembered for each segment.
const PLACES_MAX: usize = 32;

/// Offsets and the positions, in bytes, where their batches begin. The lock guards the list, for a
/// look or a push.
#[derive(Debug, Default)]
pub(crate) struct BatchPositions(Mutex<VecDeque<(Offset, u64)>>);

impl BatchPositions {
    /// Where a read ended whose next offset was `offset`: no batch before that holds it.
    pub(crate) fn of(&self, offset: Offset) -> Option<u64> {
        let all = self.0.lock();
        // The reader that read last is the likeliest to read on.
        all.iter().rev().find(|(known, _)| *known == offset).map(|(_, position)| *position)
    }

    /// A read has ended there.
    pub(crate) fn remember(&self, offset: Offset, position: u64) {
        let mut all = self.0.lock();
        if all.iter().any(|(known, _)| *known == offset) {
            return;
        }
        if all.len() == PLACES_MAX {
            all.pop_front();
        }
        all.push_back((offset, position));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ends_are_remembered_and_no_more_than_a_few() {
        let places = BatchPositions::default();
        for at in 0..40 {
            places.remember(at, 100 * at.unsigned_abs());
        }
        assert_eq!((places.of(39), places.of(8), places.of(7)), (Some(3900), Some(800), None));
        assert_eq!(places.of(40), None);
    }
}
