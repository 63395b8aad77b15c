//! What a leader knows of a follower.

use ottla_types::{Bug, NO_OFFSET, NodeId, Offset, is_planted};

/// A follower's fetch, as its leader counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// The follower.
    pub follower: NodeId,
    /// The epoch of the registration in which it fetches; -1 if it does not say (KIP-903).
    pub broker_epoch: i64,
    /// What it asks for: it has everything below.
    pub offset: Offset,
    /// Where its log starts; -1 if it does not say.
    pub log_start: Offset,
    /// Now, in milliseconds of a clock that is not set.
    pub now_ms: u64,
}

/// How far a follower has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FollowerProgress {
    /// The epoch of the registration in which it fetched last; -1 if it has not.
    pub broker_epoch: i64,
    /// Where its log ends; -1 until it has fetched in this leader epoch.
    pub end: Offset,
    /// Where its log starts; -1 until it has fetched in this leader epoch.
    pub log_start: Offset,
    /// When it last had everything; never, if it was not in sync when the leader began.
    pub caught_up_ms: Option<u64>,
    /// When it last fetched, and where the leader's log ended then.
    pub last_fetch: Option<(u64, Offset)>,
}

impl FollowerProgress {
    pub const UNKNOWN: Self = Self {
        broker_epoch: -1,
        end: NO_OFFSET,
        log_start: NO_OFFSET,
        caught_up_ms: None,
        last_fetch: None,
    };

    /// It has fetched from a leader whose log ends at `leader_end`. If it asks for what came after
    /// its last fetch, it had everything then.
    pub fn fetched(&mut self, fetch: FollowerFetch, leader_end: Offset) {
        let FollowerFetch { broker_epoch, offset, now_ms, .. } = fetch;
        if offset >= leader_end {
            self.caught_up_ms = self.caught_up_ms.max(Some(now_ms));
        } else if let Some((fetched_ms, _)) = self.last_fetch.filter(|(_, end)| offset >= *end) {
            self.caught_up_ms = self.caught_up_ms.max(Some(fetched_ms));
        }
        self.broker_epoch = broker_epoch;
        let known = if is_planted(Bug::LossUnseen) { self.end } else { NO_OFFSET };
        self.end = offset.min(leader_end).max(known);
        self.log_start = fetch.log_start;
        self.last_fetch = Some((now_ms, leader_end));
    }

    /// Has it been without something for longer than that?
    pub fn lags(&self, leader_end: Offset, now_ms: u64, lag_max_ms: u64) -> bool {
        let is_late = |at_ms: u64| now_ms.saturating_sub(at_ms) > lag_max_ms;
        self.end != leader_end && self.caught_up_ms.is_none_or(is_late)
    }
}
