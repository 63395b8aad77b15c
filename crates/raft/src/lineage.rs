//! Where two logs part: each leader epoch of a log, and the offset at which it begins.

use alloc::vec::Vec;

use ottla_types::{Bug, LeaderEpoch, Offset, is_planted};

use crate::input::LogEnd;

/// The epochs of a log. Two logs that have a record of the same offset and epoch are equal up to
/// there, so comparing epochs is enough to find the place where they part (KIP-101, KIP-595).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lineage {
    /// Each epoch that has records, ascending, with the offset of its first.
    starts: Vec<(LeaderEpoch, Offset)>,
    end: Offset,
}

impl Lineage {
    /// Records of `epoch` were appended; the log ends at `end` now.
    pub fn appended(&mut self, epoch: LeaderEpoch, end: Offset) {
        if self.starts.last().is_none_or(|(last, _)| *last < epoch) {
            self.starts.push((epoch, self.end));
        }
        self.end = end;
    }

    /// Everything from `end` on was cut off.
    pub fn truncated(&mut self, end: Offset) {
        self.end = self.end.min(end);
        self.starts.retain(|(_, start)| *start < end);
    }

    /// Where the log ends.
    #[must_use]
    pub fn end(&self) -> LogEnd {
        LogEnd { epoch: self.starts.last().map_or(0, |(epoch, _)| *epoch), offset: self.end }
    }

    /// The newest epoch that is not later than `epoch`, and where it ends here.
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch) -> LogEnd {
        let at = self.starts.partition_point(|(known, _)| *known <= epoch);
        let offset = self.starts.get(at).map_or(self.end, |(_, start)| *start);
        let epoch = at.checked_sub(1).map_or(0, |at| self.starts[at].0);
        LogEnd { epoch, offset }
    }

    /// On a leader: where the log of a follower that ends at `follower` parts from this one;
    /// `None` if it does not, and the follower can be sent what comes next.
    #[must_use]
    pub fn diverging(&self, follower: LogEnd) -> Option<LogEnd> {
        let known = self.end_of(follower.epoch);
        let agrees = known.epoch == follower.epoch && follower.offset <= known.offset;
        let agrees = agrees || is_planted(Bug::DivergenceUnseen) && follower.offset <= self.end;
        (!agrees && follower.offset > 0).then_some(known)
    }

    /// On a follower whose leader says that the logs part at `diverging`: from which offset on to
    /// cut. They may still part there, at an epoch that this log does not have; then it is asked
    /// again (KIP-279).
    #[must_use]
    pub fn cut(&self, diverging: LogEnd) -> Offset {
        let own = self.end_of(diverging.epoch);
        if is_planted(Bug::CutTooDeep) {
            return self.end_of(diverging.epoch - 1).offset;
        }
        if own.epoch == diverging.epoch { own.offset.min(diverging.offset) } else { own.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log whose records have these epochs.
    fn lineage(epochs: &[LeaderEpoch]) -> Lineage {
        let mut lineage = Lineage::default();
        for (at, epoch) in (1..).zip(epochs) {
            lineage.appended(*epoch, at);
        }
        lineage
    }

    #[test]
    fn a_follower_is_led_back_to_where_its_log_parts_from_the_leaders() {
        let leader = lineage(&[1, 1, 3, 3, 5]);
        // The follower's log, and how long it is when the two agree.
        let cases: [(&[LeaderEpoch], Offset); 7] = [
            (&[], 0),
            (&[1, 1, 3], 3),
            (&[1, 1, 1, 1], 2),
            (&[1, 1, 2, 2, 2, 2], 2),
            (&[1, 1, 3, 3, 4, 4], 4),
            (&[1, 1, 3, 3, 3], 4),
            (&[2, 2, 2], 0),
        ];
        for (epochs, agreed) in cases {
            let mut follower = lineage(epochs);
            while let Some(diverging) = leader.diverging(follower.end()) {
                let cut = follower.cut(diverging);
                assert!(cut < follower.end().offset, "{epochs:?} does not end");
                follower.truncated(cut);
            }
            assert_eq!(follower.end().offset, agreed, "{epochs:?}");
        }
    }
}
