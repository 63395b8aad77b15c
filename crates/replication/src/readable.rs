//! Where the logs of all replicas lie, as their leader knows it: which of them consumers could read
//! from (KIP-392), and below which offset no replica has records any more (KIP-107).

use ottla_types::{NodeId, Offset};

use crate::Leader;

/// A follower in sync whose log has the offset that a consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadableReplica {
    /// Its broker.
    pub id: NodeId,
    /// Where its log ends, as of its last fetch.
    pub end: Offset,
    /// When it last had everything, in milliseconds of the leader's clock; never, as far as this
    /// leader has seen.
    pub caught_up_ms: Option<u64>,
}

impl Leader {
    /// The followers that a consumer could read `offset` from: in sync, as one that is not may fall
    /// behind for good, and with a log that has the offset or ends there.
    pub fn readable_from(&self, offset: Offset) -> impl Iterator<Item = ReadableReplica> {
        let in_sync = self.followers.iter().filter(|(id, _)| self.assignment.in_sync.contains(id));
        let readable = in_sync.filter(move |(_, it)| (it.log_start..=it.end).contains(&offset));
        readable.map(|(id, follower)| ReadableReplica {
            id: *id,
            end: follower.end,
            caught_up_ms: follower.caught_up_ms,
        })
    }

    /// The lowest log start of this replica, which is `own`, and of all that live; -1 if one of
    /// them has not fetched from this leader yet. Records below it are gone from all of them.
    #[must_use]
    pub fn low_watermark(&self, own: Offset) -> Offset {
        let live = self.followers.iter().filter(|(id, _)| self.assignment.live.contains(id));
        live.map(|(_, it)| it.log_start).fold(own, Offset::min)
    }
}
