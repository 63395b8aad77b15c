//! Membership in a classic group, as its members speak it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::shared::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition as Assigned,
};
use ottla_protocol::{Decoder, Message, encode_value};
use ottla_types::{ErrorCode, NodeId, TopicPartition};

use crate::assign::{Assignor, Candidate, PartitionsByTopic};
use crate::cluster::{Cluster, CoordinatorOf, MOMENT, PATIENCE};
use crate::error::ClientError;
use crate::member::{HeartbeatOutcome, LATE_ANSWER, Subscription, by_topic};
use crate::options::ConsumerOptions;

const CONSUMER: &str = "consumer";
/// The version of what members say of themselves: with what they own, and as of when.
const SUBSCRIPTION_VERSION: i16 = 3;

/// A member of a classic group.
#[derive(Debug)]
pub(crate) struct ClassicGroupMember {
    group: String,
    wanted: Subscription,
    assignors: Vec<Assignor>,
    pub instance: Option<String>,
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
    pub interval: Duration,
    pub coordinator: NodeId,
    pub member: String,
    pub generation: i32,
    /// The topics and their sizes, as of when it joined.
    seen: BTreeMap<String, usize>,
}

impl ClassicGroupMember {
    /// Somebody who wants to join.
    pub fn new(group: &str, wanted: Subscription, options: &ConsumerOptions) -> Self {
        Self {
            group: group.to_owned(),
            wanted,
            assignors: options.assignors.clone(),
            instance: options.instance.clone(),
            session_timeout_ms: options.session_timeout_ms,
            rebalance_timeout_ms: options.rebalance_timeout_ms,
            interval: options.heartbeat_interval,
            coordinator: -1,
            member: String::new(),
            generation: -1,
            seen: BTreeMap::new(),
        }
    }

    /// Only if every way of sharing out that it offers is.
    pub fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|it| it.is_cooperative())
    }

    /// Joins, and waits until it knows its partitions.
    pub async fn join(
        &mut self,
        cluster: &mut Cluster,
        owned: &PartitionsByTopic,
    ) -> Result<PartitionsByTopic, ClientError> {
        let deadline = cluster.clock.monotonic() + PATIENCE * 4;
        let mut owned = owned.clone();
        loop {
            match self.try_join(cluster, &owned).await {
                Ok(places) => return Ok(places),
                Err(ClientError::Refused {
                    code: ErrorCode::MEMBER_ID_REQUIRED | ErrorCode::REBALANCE_IN_PROGRESS,
                    ..
                }) => {}
                Err(ClientError::Refused {
                    code: ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION,
                    ..
                }) => {
                    // What it had may be another's by now.
                    owned.clear();
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

    async fn try_join(
        &mut self,
        cluster: &mut Cluster,
        owned: &PartitionsByTopic,
    ) -> Result<PartitionsByTopic, ClientError> {
        if self.coordinator < 0 {
            self.coordinator = cluster.coordinator(CoordinatorOf::Group, &self.group).await?;
        }
        let topics = self.wanted.topics(cluster).await?;
        self.seen = sizes(cluster, &topics).await?;
        let protocol = |it: &Assignor| {
            let said = it.subscription(&topics, owned, self.generation);
            Ok(JoinGroupRequestProtocol {
                name: it.name().to_owned(),
                metadata: encode_value(&said, SUBSCRIPTION_VERSION)?,
                ..Default::default()
            })
        };
        let protocols: Result<Vec<_>, ClientError> = self.assignors.iter().map(protocol).collect();
        let request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            member_id: self.member.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: CONSUMER.to_owned(),
            protocols: protocols?,
            reason: None,
            ..Default::default()
        };
        let joined = cluster.ask(self.coordinator, &request).await?;
        if !joined.member_id.is_empty() {
            self.member.clone_from(&joined.member_id);
        }
        ClientError::check(joined.error_code, || format!("group {}", self.group))?;
        self.generation = joined.generation_id;
        let protocol_name = joined.protocol_name.clone();
        let leads = joined.leader == self.member && !joined.skip_assignment;
        let assignments = if leads { self.assign(cluster, joined).await? } else { Vec::new() };
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: Some(CONSUMER.to_owned()),
            protocol_name,
            assignments,
            ..Default::default()
        };
        let synced = cluster.ask(self.coordinator, &request).await?;
        ClientError::check(synced.error_code, || format!("group {}", self.group))?;
        if synced.assignment.is_empty() {
            return Ok(PartitionsByTopic::new());
        }
        let mut d = Decoder::new(synced.assignment);
        let version = d.i16()?.clamp(0, *ConsumerProtocolAssignment::VERSIONS.end());
        let assigned = ConsumerProtocolAssignment::decode(&mut d, version)?;
        let of = |it: Assigned| {
            let topic = it.topic;
            it.partitions.into_iter().map(move |at| TopicPartition::new(topic.as_str(), at))
        };
        Ok(assigned.assigned_partitions.into_iter().flat_map(of).collect())
    }

    /// As leader: who is to read what.
    async fn assign(
        &self,
        cluster: &mut Cluster,
        joined: JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let name = joined.protocol_name.unwrap_or_default();
        let assignor = Assignor::named(&name).unwrap_or(Assignor::Range);
        let mut members: Vec<Candidate> = Vec::new();
        for it in joined.members {
            members.push(assignor.candidate(it.member_id, it.group_instance_id, &it.metadata)?);
        }
        let topics = members.iter().flat_map(|it| it.topics.iter().cloned()).collect();
        let sizes = sizes(cluster, &topics).await?.into_iter();
        let sizes = sizes.map(|(topic, size)| (topic, i32::try_from(size).unwrap_or(i32::MAX)));
        let mut all = Vec::new();
        for (member_id, places) in assignor.assign(&members, &sizes.collect()) {
            let by_topic = by_topic(places.iter().map(|it| (it, ()))).into_iter();
            let assigned = by_topic.map(|(topic, all)| Assigned {
                topic,
                partitions: all.into_iter().map(|(at, ())| at).collect(),
                ..Default::default()
            });
            let assigned_partitions = assigned.collect();
            let text = ConsumerProtocolAssignment { assigned_partitions, ..Default::default() };
            let assignment = encode_value(&text, SUBSCRIPTION_VERSION)?;
            all.push(SyncGroupRequestAssignment { member_id, assignment, ..Default::default() });
        }
        Ok(all)
    }

    /// Is everything as it was?
    pub async fn heartbeat(
        &mut self,
        cluster: &mut Cluster,
    ) -> Result<HeartbeatOutcome, ClientError> {
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member.clone(),
            group_instance_id: self.instance.clone(),
            ..Default::default()
        };
        let response = match cluster.ask(self.coordinator, &request).await {
            Ok(response) => response,
            Err(error) if error.is_passing() => {
                self.coordinator = -1;
                return Ok(HeartbeatOutcome::Called);
            }
            Err(error) => return Err(error),
        };
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => Ok(HeartbeatOutcome::Same),
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(HeartbeatOutcome::Called),
            ErrorCode::ILLEGAL_GENERATION => Ok(HeartbeatOutcome::Out),
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.member.clear();
                Ok(HeartbeatOutcome::Out)
            }
            code if code.is_retriable() => {
                self.coordinator = -1;
                Ok(HeartbeatOutcome::Called)
            }
            code => Err(ClientError::Refused { what: format!("group {}", self.group), code }),
        }
    }

    /// Are the topics other ones than when it joined?
    pub async fn has_news(&mut self, cluster: &mut Cluster) -> Result<bool, ClientError> {
        let topics = self.wanted.topics(cluster).await?;
        topics.iter().for_each(|topic| cluster.forget(topic));
        Ok(sizes(cluster, &topics).await? != self.seen)
    }

    /// Learns of the member id that the coordinator gave in an answer that was not waited for.
    /// Without it the member could not leave, and the others would wait for its session to end.
    pub async fn settle(&mut self, cluster: &mut Cluster) {
        if self.member.is_empty()
            && let Some(joined) =
                cluster.late_answer::<JoinGroupRequest>(self.coordinator, LATE_ANSWER).await
        {
            self.member = joined.member_id;
        }
    }

    /// Leaves; a static member will be back, and only stops.
    pub async fn leave(&mut self, cluster: &mut Cluster) -> Result<(), ClientError> {
        if self.member.is_empty() || self.instance.is_some() || self.coordinator < 0 {
            return Ok(());
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

async fn sizes(
    cluster: &mut Cluster,
    topics: &BTreeSet<String>,
) -> Result<BTreeMap<String, usize>, ClientError> {
    let mut all = BTreeMap::new();
    for topic in topics {
        match cluster.topic(topic, false).await {
            Ok(known) => drop(all.insert(topic.clone(), known.leaders.len())),
            // It may come.
            Err(ClientError::Refused { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
