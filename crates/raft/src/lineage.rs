//! Where two logs part: each leader epoch of a log, and the offset at which it begins.

use alloc::vec::Vec;

use ottla_types::{Bug, LeaderEpoch, Offset, is_planted};

use crate::input::LogEnd;

/// The epochs of a log. Two logs that have a record of the same offset and epoch are equal up to
/// there, so comparing epochs is enough to find the place where they part (KIP-101, KIP-595).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lineage {
    /// What the log starts with: the end of a snapshot, or the beginning of everything.
    start: LogEnd,
    /// Each epoch that begins behind the start, ascending, with the offset of its first record.
    starts: Vec<(LeaderEpoch, Offset)>,
    end: Offset,
}

impl Lineage {
    /// The lineage of a log that starts at the end of a snapshot and has nothing behind it.
    #[must_use]
    pub const fn starting(start: LogEnd) -> Self {
        Self { start, starts: Vec::new(), end: start.offset }
    }

    /// Records of `epoch` were appended; the log ends at `end` now.
    pub fn appended(&mut self, epoch: LeaderEpoch, end: Offset) {
        if self.end().epoch < epoch {
            self.starts.push((epoch, self.end));
        }
        self.end = end;
    }

    /// Everything from `end` on was cut off.
    pub fn truncated(&mut self, end: Offset) {
        self.end = self.end.min(end);
        self.starts.retain(|(_, start)| *start < end);
    }

    /// The log starts at the end of a snapshot now, of which it has all that lies behind.
    pub fn cleaned(&mut self, start: LogEnd) {
        self.start = start;
        self.starts.retain(|(_, first)| *first >= start.offset);
    }

    /// What the log starts with.
    #[must_use]
    pub const fn start(&self) -> LogEnd {
        self.start
    }

    /// Where the log ends.
    #[must_use]
    pub fn end(&self) -> LogEnd {
        let epoch = self.starts.last().map_or(self.start.epoch, |(epoch, _)| *epoch);
        LogEnd { epoch, offset: self.end }
    }

    /// The newest epoch that is not later than `epoch`, and where it ends here.
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch) -> LogEnd {
        let at = self.starts.partition_point(|(known, _)| *known <= epoch);
        let offset = self.starts.get(at).map_or(self.end, |(_, start)| *start);
        let epoch = at.checked_sub(1).map_or(self.start.epoch, |at| self.starts[at].0);
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

    #[test]
    fn a_log_that_starts_with_a_snapshot_knows_its_epoch() {
        let mut cleaned = lineage(&[1, 1, 3, 3, 5]);
        cleaned.cleaned(LogEnd { epoch: 3, offset: 3 });
        let ends = [1, 3, 4, 5].map(|epoch| cleaned.end_of(epoch));
        let end = |epoch, offset| LogEnd { epoch, offset };
        assert_eq!(ends, [end(3, 4), end(3, 4), end(3, 4), end(5, 5)]);

        let mut fresh = Lineage::starting(end(3, 10));
        assert_eq!((fresh.end(), fresh.end_of(3)), (end(3, 10), end(3, 10)));
        fresh.appended(3, 11);
        fresh.appended(4, 12);
        fresh.truncated(10);
        assert_eq!(fresh.end(), end(3, 10), "cut off to where it starts");
    }
}
