//! A member of a classic group: one of the members assigns the partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::shared::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition as Assigned,
};
use ottla_protocol::{DecodeError, Decoder, Message, encode_value};
use ottla_types::{ErrorCode, NodeId, TopicPartition};

use crate::assign::{Assignor, Candidate};
use crate::client::{Client, CoordinatorOf, Line, SendTerms};
use crate::error::ClientError;
use crate::membership::{HeartbeatOutcome, PendingCall};
use crate::metadata::IfAbsent;
use crate::options::ConsumerOptions;
use crate::partitions::{Partitions, indexes_by_topic};
use crate::subscription::TopicSubscription;

const CONSUMER: &str = "consumer";
/// The version of what members say of themselves: with what they own, and as of when.
const SUBSCRIPTION_VERSION: i16 = 3;

/// How much longer than the rebalance timeout an answer may take.
const LINGER: Duration = Duration::from_secs(5);

/// A member of a classic group.
#[derive(Debug)]
pub(crate) struct ClassicMembership {
    group: String,
    wanted: TopicSubscription,
    assignors: Vec<Assignor>,
    pub instance: Option<String>,
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
    pub interval: Duration,
    pub coordinator: NodeId,
    pub member: String,
    pub generation: i32,
    /// How many partitions each topic had when it joined.
    seen: BTreeMap<String, usize>,
    /// A JoinGroup whose answer has the member's id.
    joining: PendingCall<JoinGroupRequest>,
}

impl ClassicMembership {
    /// A member that has not joined yet.
    pub fn new(group: &str, wanted: TopicSubscription, options: &ConsumerOptions) -> Self {
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
            joining: PendingCall::none(),
        }
    }

    /// Only if every way of sharing out that it offers is.
    pub fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|it| it.is_cooperative())
    }

    /// Joins, and waits until it knows its partitions.
    pub async fn join(
        &mut self,
        client: &Client,
        owned: &Partitions,
    ) -> Result<Partitions, ClientError> {
        let deadline = client.clock().monotonic() + client.options().retry_timeout * 4;
        let mut owned = owned.clone();
        loop {
            match self.try_join(client, &owned).await {
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
                Err(error) if error.is_passing() && client.clock().monotonic() < deadline => {
                    self.coordinator = -1;
                    client.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_join(
        &mut self,
        client: &Client,
        owned: &Partitions,
    ) -> Result<Partitions, ClientError> {
        if self.coordinator < 0 {
            self.coordinator = client.coordinator(CoordinatorOf::Group, &self.group).await?;
        }
        let topics = self.wanted.topics(client).await?;
        self.seen = partition_counts(client, &topics).await?;
        let protocol = |assignor: &Assignor| {
            let said = assignor.subscription(&topics, owned, self.generation);
            Ok(JoinGroupRequestProtocol {
                name: assignor.name().to_owned(),
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
        let limit = self.rebalance_limit(client);
        let terms = SendTerms { line: Line::Group, newest: None, limit };
        let joined = self.joining.ask(client, self.coordinator, request, limit).await?;
        if !joined.member_id.is_empty() {
            self.member.clone_from(&joined.member_id);
        }
        ClientError::check(joined.error_code, || format!("group {}", self.group))?;
        self.generation = joined.generation_id;
        let protocol_name = joined.protocol_name.clone();
        let leads = joined.leader == self.member && !joined.skip_assignment;
        let assignments = if leads { self.assign(client, joined).await? } else { Vec::new() };
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
        let sent = client.send_on(self.coordinator, &request, terms).await?;
        let synced = sent.wait().await?;
        ClientError::check(synced.error_code, || format!("group {}", self.group))?;
        if synced.assignment.is_empty() {
            return Ok(Partitions::new());
        }
        Ok(decode_assignment(synced.assignment)?)
    }

    /// How long the coordinator may take: it waits for the other members.
    fn rebalance_limit(&self, client: &Client) -> Duration {
        let rebalance = u64::try_from(self.rebalance_timeout_ms).unwrap_or(0);
        client.options().request_timeout.max(Duration::from_millis(rebalance) + LINGER)
    }

    /// As the group's leader: which member is to read what.
    async fn assign(
        &self,
        client: &Client,
        joined: JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let name = joined.protocol_name.unwrap_or_default();
        let assignor = Assignor::named(&name).unwrap_or(Assignor::Range);
        let mut members: Vec<Candidate> = Vec::new();
        for it in joined.members {
            members.push(assignor.candidate(it.member_id, it.group_instance_id, &it.metadata)?);
        }
        let topics = members.iter().flat_map(|it| it.topics.iter().cloned()).collect();
        let counts = partition_counts(client, &topics).await?.into_iter();
        let counts = counts.map(|(topic, count)| (topic, i32::try_from(count).unwrap_or(i32::MAX)));
        let mut all = Vec::new();
        for (member_id, places) in assignor.assign(&members, &counts.collect()) {
            let assigned = indexes_by_topic(&places)
                .into_iter()
                .map(|(topic, partitions)| Assigned { topic, partitions, ..Default::default() });
            let assigned_partitions = assigned.collect();
            let text = ConsumerProtocolAssignment { assigned_partitions, ..Default::default() };
            let assignment = encode_value(&text, SUBSCRIPTION_VERSION)?;
            all.push(SyncGroupRequestAssignment { member_id, assignment, ..Default::default() });
        }
        Ok(all)
    }

    /// Sends a heartbeat to the coordinator.
    pub async fn heartbeat(&mut self, client: &Client) -> Result<HeartbeatOutcome, ClientError> {
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member.clone(),
            group_instance_id: self.instance.clone(),
            ..Default::default()
        };
        let response = match client.ask(self.coordinator, &request).await {
            Ok(response) => response,
            Err(error) if error.is_passing() => {
                self.coordinator = -1;
                return Ok(HeartbeatOutcome::Rebalance);
            }
            Err(error) => return Err(error),
        };
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => Ok(HeartbeatOutcome::Unchanged),
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(HeartbeatOutcome::Rebalance),
            ErrorCode::ILLEGAL_GENERATION => Ok(HeartbeatOutcome::Removed),
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.member.clear();
                Ok(HeartbeatOutcome::Removed)
            }
            code if code.is_retriable() => {
                self.coordinator = -1;
                Ok(HeartbeatOutcome::Rebalance)
            }
            code => Err(ClientError::Refused { what: format!("group {}", self.group), code }),
        }
    }

    /// Are the topics, or the numbers of their partitions, others than when it joined?
    pub async fn topics_changed(&mut self, client: &Client) -> Result<bool, ClientError> {
        let topics = self.wanted.topics(client).await?;
        topics.iter().for_each(|topic| client.forget(topic));
        Ok(partition_counts(client, &topics).await? != self.seen)
    }

    /// Learns of the member id that the coordinator gave in an answer that was not waited for.
    /// Without it the member could not leave, and the others would wait for its session to end.
    pub async fn settle(&mut self, client: &Client) {
        let joined = self.joining.late_answer(client, self.coordinator).await;
        if self.member.is_empty()
            && let Some(joined) = joined
        {
            self.member = joined.member_id;
        }
    }

    /// Leaves; a static member will be back, and only stops.
    pub async fn leave(&mut self, client: &Client) -> Result<(), ClientError> {
        if self.member.is_empty() || self.instance.is_some() || self.coordinator < 0 {
            return Ok(());
        }
        let request = LeaveGroupRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            members: vec![MemberIdentity { member_id: self.member.clone(), ..Default::default() }],
            ..Default::default()
        };
        client.ask(self.coordinator, &request).await?;
        Ok(())
    }
}

/// The partitions that a group's leader has given to a member.
pub(crate) fn decode_assignment(assignment: Bytes) -> Result<Partitions, DecodeError> {
    let mut d = Decoder::new(assignment);
    let version = d.i16()?.clamp(0, *ConsumerProtocolAssignment::VERSIONS.end());
    let assigned = ConsumerProtocolAssignment::decode(&mut d, version)?;
    let partitions = |assigned: Assigned| {
        let topic = assigned.topic;
        assigned.partitions.into_iter().map(move |at| TopicPartition::new(topic.as_str(), at))
    };
    Ok(assigned.assigned_partitions.into_iter().flat_map(partitions).collect())
}

/// How many partitions each of these topics has; those that do not exist are left out.
async fn partition_counts(
    client: &Client,
    topics: &BTreeSet<String>,
) -> Result<BTreeMap<String, usize>, ClientError> {
    let mut all = BTreeMap::new();
    for topic in topics {
        match client.topic(topic, IfAbsent::Fail).await {
            Ok(known) => drop(all.insert(topic.clone(), known.leaders.len())),
            // It may be created later.
            Err(ClientError::Refused { code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
