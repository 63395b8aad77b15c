//! A follower's fetch, as its leader takes it: how far the follower is, and whether its log is part
//! of the leader's.
//!
//! All partitions of a request are noted before the first is read: what that commits, the records
//! that are read tell the follower of.

use ottla_partitions::{FollowerFetch, Interest, LeaderEpochEnd, Partition};
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_types::{ErrorCode, LeaderEpoch, NO_EPOCH, NodeId};

use crate::hosts::sessions::{FollowerNews, Position};
use crate::node::Node;

/// What wakes a follower's fetch that waits.
#[must_use]
pub const fn follower_interest(news: FollowerNews) -> Interest {
    match news {
        FollowerNews::LogStart => Interest::LogEnd,
        FollowerNews::LogStartOrWatermark => Interest::LogEndAndWatermark,
    }
}

/// The broker that fetches, if it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchingReplica {
    /// Its id.
    pub id: NodeId,
    /// The epoch of its registration, from version 15 on (KIP-903); else -1.
    pub broker_epoch: i64,
}

impl FetchingReplica {
    /// Who fetches; `None` of a consumer.
    #[must_use]
    pub fn of(request: &FetchRequest) -> Option<Self> {
        // Each is -1 where the version has only the other.
        let state = &request.replica_state;
        let id = request.replica_id.max(state.replica_id);
        (id >= 0).then_some(Self { id, broker_epoch: state.replica_epoch })
    }

    /// The code for a broker that has no replica of the partition. As in Kafka, one that sends the
    /// leader's epoch gets a code that makes it refresh its metadata.
    pub const fn no_replica(leader_epoch: LeaderEpoch) -> ErrorCode {
        match leader_epoch {
            NO_EPOCH => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            _ => ErrorCode::UNKNOWN_LEADER_EPOCH,
        }
    }

    /// Has it to wait for the records of this partition, because throttled replicas have had
    /// enough for the moment (KIP-73)? Not while it is in sync, so that it stays so.
    pub fn is_throttled(self, node: &Node, partition: &Partition) -> bool {
        partition.throttled().as_leader
            && node.replicas.quotas.leading.is_exceeded()
            && !partition.is_in_sync(self.id)
    }

    /// Takes in how far the follower is with a partition; says where its log parts from the
    /// leader's, if it does. It counts as far as it is only if it does not.
    ///
    /// # Errors
    /// The code for the follower.
    pub fn note(
        self,
        node: &Node,
        partition: &Partition,
        position: &Position,
    ) -> Result<Option<LeaderEpochEnd>, ErrorCode> {
        partition.fence(position.leader_epoch).map_err(|refused| refused.code())?;
        if !partition.has_replica(self.id) {
            return Err(Self::no_replica(position.leader_epoch));
        }
        let ends = partition.ends();
        if !(ends.log_start..=ends.log_end).contains(&position.offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        match partition.parts_from(position.offset, position.last_epoch) {
            Some(parting) if parting.end < 0 => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
            Some(parting) => return Ok(Some(parting)),
            None => {}
        }
        let fetch = FollowerFetch {
            follower: self.id,
            broker_epoch: self.broker_epoch,
            offset: position.offset,
            log_start: position.log_start,
            now_ms: node.clock.monotonic_ms(),
        };
        let noted = partition.fetched_by(fetch).map_err(|_| ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        if noted.may_join {
            node.replicas.in_sync.ask_for(partition);
        }
        Ok(None)
    }
}
