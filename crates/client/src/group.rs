//! Membership in a classic group, as its members speak it.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::shared::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition,
};
use ottla_protocol::shared::consumer_protocol_subscription::ConsumerProtocolSubscription;
use ottla_protocol::{Decoder, Message, encode_value};
use ottla_types::{ErrorCode, NodeId, Offset};

use crate::cluster::{Cluster, CoordinatorOf, MOMENT, PATIENCE};
use crate::error::ClientError;
use crate::modern::{Beaten, Modern};
use crate::transaction::GroupMember;

const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 60_000;
const PROTOCOL: &str = "range";
const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Membership {
    group: String,
    topic: String,
    coordinator: NodeId,
    member: String,
    generation: i32,
    /// If the coordinator assigns.
    modern: Option<Modern>,
}

impl Membership {
    /// Somebody who wants to join.
    pub fn new(group: &str, topic: &str) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            coordinator: -1,
            member: String::new(),
            generation: -1,
            modern: None,
        }
    }

    /// The same, in a group whose coordinator assigns.
    pub fn modern(group: &str, topic: &str, clock: &Clock) -> Self {
        Self { modern: Some(Modern::new(group, topic, clock)), ..Self::new(group, topic) }
    }

    /// How often it is to be heard.
    pub fn interval(&self) -> Duration {
        self.modern.as_ref().map_or(HEARTBEAT_EVERY, |modern| modern.interval)
    }

    /// As whom its offsets are committed.
    pub fn member(&self) -> GroupMember {
        if let Some(modern) = &self.modern {
            return modern.member();
        }
        GroupMember {
            group: self.group.clone(),
            member: self.member.clone(),
            generation: self.generation,
        }
    }

    fn coordinator(&self) -> NodeId {
        self.modern.as_ref().map_or(self.coordinator, |modern| modern.coordinator)
    }

    /// Joins, and waits until it knows its partitions.
    pub async fn join(&mut self, cluster: &mut Cluster) -> Result<Vec<i32>, ClientError> {
        if let Some(modern) = &mut self.modern {
            return modern.join(cluster).await;
        }
        let deadline = cluster.clock.monotonic() + PATIENCE * 4;
        loop {
            match self.try_join(cluster).await {
                Ok(partitions) => return Ok(partitions),
                Err(ClientError::Refused {
                    code:
                        ErrorCode::MEMBER_ID_REQUIRED
                        | ErrorCode::REBALANCE_IN_PROGRESS
                        | ErrorCode::ILLEGAL_GENERATION,
                    ..
                }) => {}
                Err(ClientError::Refused { code: ErrorCode::UNKNOWN_MEMBER_ID, .. }) => {
                    self.member.clear();
                }
                Err(error) if error.is_passing() && cluster.clock.monotonic() < deadline => {
                    self.coordinator = -1;
                    cluster.clock.sleep(MOMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_join(&mut self, cluster: &mut Cluster) -> Result<Vec<i32>, ClientError> {
        if self.coordinator < 0 {
            self.coordinator = cluster.coordinator(CoordinatorOf::Group, &self.group).await?;
        }
        let subscription =
            ConsumerProtocolSubscription { topics: vec![self.topic.clone()], ..Default::default() };
        let request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.member.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: PROTOCOL.to_owned(),
                metadata: encode_value(&subscription, 0)?,
                ..Default::default()
            }],
            reason: None,
            ..Default::default()
        };
        let joined = cluster.ask(self.coordinator, &request).await?;
        if !joined.member_id.is_empty() {
            self.member.clone_from(&joined.member_id);
        }
        ClientError::check(joined.error_code, || format!("group {}", self.group))?;
        self.generation = joined.generation_id;
        let assignments = if joined.leader == self.member && !joined.skip_assignment {
            self.assign(cluster, &joined).await?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some(PROTOCOL.to_owned()),
            assignments,
            ..Default::default()
        };
        let synced = cluster.ask(self.coordinator, &request).await?;
        ClientError::check(synced.error_code, || format!("group {}", self.group))?;
        if synced.assignment.is_empty() {
            return Ok(Vec::new());
        }
        let mut d = Decoder::new(synced.assignment);
        let version = d.i16()?.min(*ConsumerProtocolAssignment::VERSIONS.end());
        let assigned = ConsumerProtocolAssignment::decode(&mut d, version)?;
        let mine = assigned.assigned_partitions.into_iter().filter(|it| it.topic == self.topic);
        Ok(mine.flat_map(|it| it.partitions).collect())
    }

    /// As leader: each member gets a range of the topic's partitions.
    async fn assign(
        &self,
        cluster: &mut Cluster,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let known = cluster.topic(&self.topic, false).await?;
        let partitions: Vec<i32> = known.leaders.keys().copied().collect();
        let mut members: Vec<&String> = joined.members.iter().map(|it| &it.member_id).collect();
        members.sort();
        let (each, more) =
            (partitions.len() / members.len().max(1), partitions.len() % members.len().max(1));
        let mut at = 0;
        let mut all = Vec::new();
        for (index, member) in members.into_iter().enumerate() {
            let count = each + usize::from(index < more);
            let mine = partitions[at..at + count].to_vec();
            at += count;
            let topic = TopicPartition {
                topic: self.topic.clone(),
                partitions: mine,
                ..Default::default()
            };
            let assignment = ConsumerProtocolAssignment {
                assigned_partitions: vec![topic],
                ..Default::default()
            };
            all.push(SyncGroupRequestAssignment {
                member_id: member.clone(),
                assignment: encode_value(&assignment, 0)?,
                ..Default::default()
            });
        }
        Ok(all)
    }

    /// Is everything as it was?
    pub async fn heartbeat(&mut self, cluster: &mut Cluster) -> Result<Beaten, ClientError> {
        if let Some(modern) = &mut self.modern {
            return modern.heartbeat(cluster).await;
        }
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member.clone(),
            ..Default::default()
        };
        let response = cluster.ask(self.coordinator, &request).await?;
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => Ok(Beaten::Same),
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => Ok(Beaten::Out),
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.member.clear();
                Ok(Beaten::Out)
            }
            _ => {
                self.coordinator = -1;
                Ok(Beaten::Out)
            }
        }
    }

    /// How far the group has come in these partitions of the topic.
    pub async fn committed(
        &self,
        cluster: &mut Cluster,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, Offset>, ClientError> {
        let known = cluster.topic(&self.topic, false).await?;
        let topics = OffsetFetchRequestTopics {
            name: self.topic.clone(),
            topic_id: known.id,
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: self.group.clone(),
            topics: Some(vec![topics]),
            ..Default::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let response = cluster.ask(self.coordinator(), &request).await?;
        let mut all = BTreeMap::new();
        for group in response.groups {
            ClientError::check(group.error_code, || format!("group {}", self.group))?;
            for it in group.topics.iter().flat_map(|topic| &topic.partitions) {
                if it.error_code == 0 && it.committed_offset >= 0 {
                    all.insert(it.partition_index, it.committed_offset);
                }
            }
        }
        Ok(all)
    }

    /// Says how far the group has come.
    pub async fn commit(
        &self,
        cluster: &mut Cluster,
        offsets: &BTreeMap<i32, Offset>,
    ) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let known = cluster.topic(&self.topic, false).await?;
        let member = self.member();
        let partition = |(index, offset): (&i32, &Offset)| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_metadata: Some(String::new()),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: member.generation,
            member_id: member.member,
            topics: vec![OffsetCommitRequestTopic {
                name: self.topic.clone(),
                topic_id: known.id,
                partitions: offsets.iter().map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = cluster.ask(self.coordinator(), &request).await?;
        for it in response.topics.iter().flat_map(|topic| &topic.partitions) {
            ClientError::check(it.error_code, || format!("{}-{}", self.topic, it.partition_index))?;
        }
        Ok(())
    }

    /// Leaves, so that the others need not wait.
    pub async fn leave(&mut self, cluster: &mut Cluster) -> Result<(), ClientError> {
        if let Some(modern) = &mut self.modern {
            return modern.leave(cluster).await;
        }
        let request = LeaveGroupRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            members: vec![MemberIdentity { member_id: self.member.clone(), ..Default::default() }],
            ..Default::default()
        };
        cluster.ask(self.coordinator, &request).await?;
        Ok(())
    }
}
