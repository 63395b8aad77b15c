//! What of the metadata log may be deleted, snapshots standing in for it (KIP-630).

use ottla_types::Offset;

use crate::quorum_log::SnapshotId;

/// A snapshot on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredSnapshot {
    /// Which.
    pub id: SnapshotId,
    /// How large it is.
    pub size_bytes: u64,
    /// The age of what it was taken of, in milliseconds.
    pub age_ms: u64,
}

/// What of log and snapshots is kept; `None` is without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogRetention {
    /// `metadata.max.retention.bytes`: of the log and all snapshots together.
    pub bytes_max: Option<u64>,
    /// `metadata.max.retention.ms`.
    pub ms_max: Option<u64>,
}

/// May a log start there? What is missing before its start must be in a snapshot that reaches at
/// least that far (KAFKA-14240).
#[must_use]
pub fn is_start_covered(start: Offset, snapshots: &[SnapshotId]) -> bool {
    start <= 0 || snapshots.iter().any(|id| id.end >= start)
}

/// To which snapshot the start of the log moves, so that all before it can be deleted: one step,
/// after which the caller asks again. The newest snapshot is always kept, and the log never
/// starts behind it.
#[must_use]
pub fn next_log_start(
    start: Offset,
    log_bytes: u64,
    snapshots: &[StoredSnapshot],
    retention: LogRetention,
) -> Option<SnapshotId> {
    let [oldest, next, ..] = snapshots else { return None };
    let all_bytes = log_bytes + snapshots.iter().map(|it| it.size_bytes).sum::<u64>();
    let is_large = retention.bytes_max.is_some_and(|most| all_bytes > most);
    let is_old = retention.ms_max.is_some_and(|most| oldest.age_ms > most);
    ((is_large || is_old) && next.id.end > start).then_some(next.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(end: Offset) -> SnapshotId {
        SnapshotId { end, epoch: 1 }
    }

    #[test]
    fn a_log_starts_at_0_or_where_a_snapshot_reaches() {
        let snapshots = [id(10), id(20)];
        for (start, is_covered) in [(0, true), (10, true), (15, true), (20, true), (21, false)] {
            assert_eq!(is_start_covered(start, &snapshots), is_covered, "{start}");
        }
        assert!(!is_start_covered(1, &[]));
    }

    #[test]
    fn the_log_is_cleaned_a_snapshot_at_a_time_and_never_behind_the_newest() {
        let stored = |end, age_ms| StoredSnapshot { id: id(end), size_bytes: 10, age_ms };
        let by_size = |most| LogRetention { bytes_max: Some(most), ms_max: None };
        let by_age = |most| LogRetention { bytes_max: None, ms_max: Some(most) };
        let two = [stored(10, 9), stored(20, 5)];
        let clean = |start, snapshots: &[StoredSnapshot], retention| {
            next_log_start(start, 100, snapshots, retention).map(|id| id.end)
        };
        assert_eq!(clean(0, &two, by_size(120)), None, "exactly as much as may be");
        assert_eq!(clean(0, &two, by_size(119)), Some(20));
        assert_eq!(clean(0, &two, by_age(9)), None);
        assert_eq!(clean(0, &two, by_age(8)), Some(20));
        assert_eq!(clean(20, &two, by_age(8)), None, "it starts there already");
        assert_eq!(clean(0, &two, LogRetention::default()), None);
        assert_eq!(clean(0, &two[..1], by_size(0)), None, "the only snapshot stays");
    }
}
