//! Commands, replies and timers of a group coordinator.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use ottla_protocol::messages::{
    consumer_group_describe_response as described,
    consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest,
    consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse,
    delete_groups_response::DeletableGroupResult, describe_groups_response::DescribedGroup,
    heartbeat_request::HeartbeatRequest, heartbeat_response::HeartbeatResponse,
    join_group_request::JoinGroupRequest, join_group_response::JoinGroupResponse,
    leave_group_request::LeaveGroupRequest, leave_group_response::LeaveGroupResponse,
    list_groups_request::ListGroupsRequest, list_groups_response::ListedGroup,
    offset_commit_request::OffsetCommitRequest, offset_commit_response::OffsetCommitResponse,
    offset_delete_request::OffsetDeleteRequest, offset_delete_response::OffsetDeleteResponse,
    offset_fetch_request::OffsetFetchRequestGroup, offset_fetch_response::OffsetFetchResponseGroup,
    sync_group_request::SyncGroupRequest, sync_group_response::SyncGroupResponse,
    txn_offset_commit_request::TxnOffsetCommitRequest,
    txn_offset_commit_response::TxnOffsetCommitResponse,
};
use ottla_types::Uuid;

use super::record::TransactionEnd;

/// The client of a member, as DescribeGroups and ConsumerGroupDescribe show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberClient {
    /// The client id of the request's header; empty if it has none.
    pub id: String,
    /// The address, as Java writes it: `/127.0.0.1`.
    pub host: String,
}

/// A JoinGroup request, and what the coordinator needs beside it.
#[derive(Clone, Debug)]
pub struct JoinCommand {
    /// The request.
    pub request: JoinGroupRequest,
    /// Its version, on which some answers depend.
    pub version: i16,
    /// The client.
    pub client: MemberClient,
    /// A fresh random uuid as text, for the member id if one has to be made.
    pub uuid: String,
}

impl JoinCommand {
    /// A member id for a JoinGroup without one.
    pub(super) fn new_member_id(&self) -> String {
        let prefix = self.request.group_instance_id.as_ref().unwrap_or(&self.client.id);
        format!("{prefix}-{}", self.uuid)
    }

    /// The assignors that the member supports, the preferred one first, with its metadata for each.
    pub(super) fn protocols(&self) -> Vec<(String, Bytes)> {
        self.request.protocols.iter().map(|it| (it.name.clone(), it.metadata.clone())).collect()
    }

    /// `rebalance.timeout.ms`; in version 0 the session timeout counts for it.
    pub(super) const fn rebalance_timeout_ms(&self) -> i32 {
        if self.version == 0 {
            self.request.session_timeout_ms
        } else {
            self.request.rebalance_timeout_ms
        }
    }
}

/// A topic that no longer exists. There may be another of the same name already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
}

/// A command for a group coordinator.
///
/// Requests about several groups are split by the host, one command for each coordinator.
#[derive(Clone, Debug)]
pub enum GroupCommand {
    /// The partition has been replayed: timers start now.
    Loaded,
    /// A timer fired.
    Expired(GroupTimer),
    /// JoinGroup.
    Join(JoinCommand),
    /// SyncGroup.
    Sync {
        /// The request.
        request: SyncGroupRequest,
        /// Its version.
        version: i16,
    },
    /// Heartbeat.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup.
    Leave {
        /// The request.
        request: LeaveGroupRequest,
        /// Its version; below 3 it names one member outside the list.
        version: i16,
    },
    /// OffsetCommit. The host has put the name beside each topic id, and has taken out what may
    /// not be written or does not exist.
    CommitOffsets {
        /// The request.
        request: OffsetCommitRequest,
        /// Its version.
        version: i16,
    },
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat {
        /// The request.
        request: ConsumerGroupHeartbeatRequest,
        /// The client that asks.
        client: MemberClient,
    },
    /// ConsumerGroupDescribe for those groups that live here.
    ConsumerDescribe(Vec<String>),
    /// TxnOffsetCommit. The host has seen to it that the transaction knows of this coordinator's
    /// partition, and has taken out what may not be written or does not exist.
    CommitInTransaction(TxnOffsetCommitRequest),
    /// A transaction marker: the pending offsets of the producer are committed, or dropped. The
    /// host has checked that the marker may be written.
    EndTransaction(TransactionEnd),
    /// OffsetFetch for one group. Versions below 8 name one; the host turns them into this form.
    FetchOffsets {
        /// Which offsets; no topics means all of them.
        request: OffsetFetchRequestGroup,
        /// Refuse offsets that an open transaction may still replace.
        require_stable: bool,
    },
    /// OffsetDelete.
    DeleteOffsets(OffsetDeleteRequest),
    /// DescribeGroups for those groups that live here.
    Describe {
        /// The groups.
        groups: Vec<String>,
        /// The request's version; from 6 on an unknown group is an error.
        version: i16,
    },
    /// ListGroups, for this coordinator's part.
    List(ListGroupsRequest),
    /// DeleteGroups for those groups that live here.
    Delete {
        /// The groups.
        groups: Vec<String>,
    },
    /// These topics no longer exist: their offsets go too.
    TopicsDeleted(Vec<DeletedTopic>),
}

/// A reply of a group coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupReply {
    /// To [`GroupCommand::Join`].
    Join(JoinGroupResponse),
    /// To [`GroupCommand::Sync`].
    Sync(SyncGroupResponse),
    /// To [`GroupCommand::Heartbeat`].
    Heartbeat(HeartbeatResponse),
    /// To [`GroupCommand::Leave`].
    Leave(LeaveGroupResponse),
    /// To [`GroupCommand::CommitOffsets`].
    CommitOffsets(OffsetCommitResponse),
    /// To [`GroupCommand::ConsumerHeartbeat`].
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To [`GroupCommand::ConsumerDescribe`].
    ConsumerDescribe(Vec<described::DescribedGroup>),
    /// To [`GroupCommand::CommitInTransaction`].
    CommitInTransaction(TxnOffsetCommitResponse),
    /// To [`GroupCommand::EndTransaction`].
    TransactionEnded,
    /// To [`GroupCommand::FetchOffsets`].
    FetchOffsets(OffsetFetchResponseGroup),
    /// To [`GroupCommand::DeleteOffsets`].
    DeleteOffsets(OffsetDeleteResponse),
    /// To [`GroupCommand::Describe`].
    Describe(Vec<DescribedGroup>),
    /// To [`GroupCommand::List`].
    List(Vec<ListedGroup>),
    /// To [`GroupCommand::Delete`].
    Delete(Vec<DeletableGroupResult>),
    /// To [`GroupCommand::TopicsDeleted`]: the tombstones are in the log.
    TopicsDeleted,
}

ottla_machine::answers! {
    GroupReply {
        Join(it) => JoinGroupResponse = it;
        Sync(it) => SyncGroupResponse = it;
        Heartbeat(it) => HeartbeatResponse = it;
        Leave(it) => LeaveGroupResponse = it;
        CommitOffsets(it) => OffsetCommitResponse = it;
        ConsumerHeartbeat(it) => ConsumerGroupHeartbeatResponse = it;
        ConsumerDescribe(it) => Vec<described::DescribedGroup> = it;
        CommitInTransaction(it) => TxnOffsetCommitResponse = it;
        TransactionEnded => () = ();
        FetchOffsets(it) => OffsetFetchResponseGroup = it;
        DeleteOffsets(it) => OffsetDeleteResponse = it;
        Describe(it) => Vec<DescribedGroup> = it;
        List(it) => Vec<ListedGroup> = it;
        Delete(it) => Vec<DeletableGroupResult> = it;
    }
}

/// A timer of a group coordinator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupTimer {
    /// The session timeout of a classic member.
    Session {
        /// Its group.
        group: Arc<str>,
        /// The member, or one that was given an id and has not come back with it.
        member: Arc<str>,
    },
    /// The time that members have to send JoinGroup.
    Join {
        /// The group.
        group: Arc<str>,
    },
    /// The time that members have to send SyncGroup.
    Sync {
        /// The group.
        group: Arc<str>,
    },
    /// The session timeout of a member of a consumer group.
    ConsumerSession {
        /// Its group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// The time that a member of a consumer group has to give partitions up.
    ConsumerRebalance {
        /// Its group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// The time that a member of a consumer group that uses the classic protocol has to send
    /// JoinGroup.
    ConsumerJoin {
        /// Its group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// The time that such a member has to send SyncGroup.
    ConsumerSync {
        /// Its group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// Look for expired offsets.
    OffsetExpiry,
}
