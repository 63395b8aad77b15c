//! Membership in a group whose coordinator assigns (KIP-848).

use ottla_clock::Clock;
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_types::{ErrorCode, NodeId, TopicPartition, Uuid};

use std::collections::BTreeMap;
use std::time::Duration;

use crate::assign::PartitionsByTopic;
use crate::cluster::{Cluster, CoordinatorOf, MOMENT, PATIENCE};
use crate::error::ClientError;
use crate::member::{HeartbeatOutcome, LATE_ANSWER, Subscription, by_topic};
use crate::options::ConsumerOptions;

/// Leaves for good.
const LEAVES: i32 = -1;
/// A static member that will be back.
const AWAY: i32 = -2;

/// A member.
#[derive(Debug)]
pub(crate) struct ConsumerGroupMember {
    group: String,
    wanted: Subscription,
    pub instance: Option<String>,
    rebalance_timeout_ms: i32,
    remote_assignor: Option<String>,
    rack: String,
    /// The topics that it was told of by id.
    names: BTreeMap<Uuid, String>,
    pub coordinator: NodeId,
    pub member: String,
    pub epoch: i32,
    /// What it owns, and whether the coordinator has been told.
    owned: PartitionsByTopic,
    is_told: bool,
    /// How often it is to be heard.
    pub interval: Duration,
}

impl ConsumerGroupMember {
    /// Somebody who wants to join.
    pub fn new(
        group: &str,
        wanted: Subscription,
        options: &ConsumerOptions,
        clock: &Clock,
    ) -> Self {
        Self {
            group: group.to_owned(),
            wanted,
            instance: options.instance.clone(),
            rebalance_timeout_ms: options.rebalance_timeout_ms,
            remote_assignor: options.remote_assignor.clone(),
            rack: options.rack.clone(),
            names: BTreeMap::new(),
            coordinator: -1,
            member: clock.random_uuid().to_string(),
            epoch: 0,
            owned: PartitionsByTopic::new(),
            is_told: true,
            interval: MOMENT,
        }
    }

    /// Joins; what it owns at first.
    pub async fn join(&mut self, cluster: &mut Cluster) -> Result<PartitionsByTopic, ClientError> {
        let deadline = cluster.clock.monotonic() + PATIENCE * 4;
        (self.epoch, self.owned, self.is_told) = (0, PartitionsByTopic::new(), true);
        let request = self.everything(cluster).await?;
        loop {
            if self.coordinator < 0 {
                self.coordinator = cluster.coordinator(CoordinatorOf::Group, &self.group).await?;
            }
            match self.ask(cluster, &request).await {
                Ok(response) => {
                    self.take(cluster, response).await?;
                    return Ok(self.owned.clone());
                }
                Err(error) if error.is_passing() && cluster.clock.monotonic() < deadline => {
                    self.coordinator = -1;
                    cluster.clock.sleep(MOMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that it is there, and what it has given up.
    pub async fn heartbeat(
        &mut self,
        cluster: &mut Cluster,
    ) -> Result<HeartbeatOutcome, ClientError> {
        // An answer may have been lost: who says everything is told everything.
        let request = match self.is_told {
            true => self.beat(),
            false => self.everything(cluster).await?,
        };
        match self.ask(cluster, &request).await {
            Ok(response) => {
                self.is_told = true;
                self.take(cluster, response).await
            }
            Err(ClientError::Refused {
                code:
                    ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::FENCED_MEMBER_EPOCH
                    | ErrorCode::GROUP_ID_NOT_FOUND,
                ..
            }) => Ok(HeartbeatOutcome::Out),
            Err(error) if error.is_passing() => {
                // What it has told may not have been heard.
                self.is_told = false;
                self.coordinator = cluster.coordinator(CoordinatorOf::Group, &self.group).await?;
                Ok(HeartbeatOutcome::Same)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until a heartbeat that was given up has been heard: one that is heard after the
    /// member left would let it join again.
    pub async fn settle(&mut self, cluster: &mut Cluster) {
        cluster.late_answer::<ConsumerGroupHeartbeatRequest>(self.coordinator, LATE_ANSWER).await;
    }

    /// Leaves, so that others need not wait for the end of its session.
    pub async fn leave(&mut self, cluster: &mut Cluster) -> Result<(), ClientError> {
        if self.coordinator < 0 {
            return Ok(());
        }
        self.epoch = if self.instance.is_some() { AWAY } else { LEAVES };
        let request = self.beat();
        match self.ask(cluster, &request).await {
            // The coordinator knows of no such member: it is out already.
            Err(ClientError::Refused {
                code: ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND,
                ..
            }) => Ok(()),
            left => left.map(|_| ()),
        }
    }

    fn beat(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            ..Default::default()
        }
    }

    /// A heartbeat that leaves nothing out.
    async fn everything(
        &self,
        cluster: &mut Cluster,
    ) -> Result<ConsumerGroupHeartbeatRequest, ClientError> {
        let mut owned = Vec::new();
        for (topic, all) in by_topic(self.owned.iter().map(|it| (it, ()))) {
            let topic_id = cluster.topic(&topic, false).await?.id;
            let partitions = all.into_iter().map(|(at, ())| at).collect();
            owned.push(TopicPartitions { topic_id, partitions, ..Default::default() });
        }
        let (names, pattern) = match &self.wanted {
            Subscription::Topics(topics) => (topics.iter().cloned().collect(), None),
            Subscription::Pattern(pattern) => (Vec::new(), Some(pattern.clone())),
        };
        Ok(ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            subscribed_topic_names: Some(names),
            subscribed_topic_regex: pattern,
            server_assignor: self.remote_assignor.clone(),
            rack_id: Some(self.rack.clone()).filter(|it| !it.is_empty()),
            topic_partitions: Some(owned),
            ..self.beat()
        })
    }

    /// The name of a topic that it is told of by id.
    async fn name(
        &mut self,
        cluster: &mut Cluster,
        id: Uuid,
    ) -> Result<Option<String>, ClientError> {
        if !self.names.contains_key(&id) {
            for it in cluster.refresh(None, false).await? {
                self.names.extend(it.name.map(|name| (it.topic_id, name)));
            }
        }
        Ok(self.names.get(&id).cloned())
    }

    async fn ask(
        &self,
        cluster: &mut Cluster,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, ClientError> {
        let response = cluster.ask(self.coordinator, request).await?;
        let said = response.error_message.clone().unwrap_or_default();
        ClientError::check(response.error_code, || format!("group {}: {said}", self.group))?;
        Ok(response)
    }

    async fn take(
        &mut self,
        cluster: &mut Cluster,
        response: ConsumerGroupHeartbeatResponse,
    ) -> Result<HeartbeatOutcome, ClientError> {
        if let Some(member) = response.member_id {
            self.member = member;
        }
        self.epoch = response.member_epoch;
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(1000);
        self.interval = Duration::from_millis(interval);
        let Some(assignment) = response.assignment else { return Ok(HeartbeatOutcome::Same) };
        let mut mine = PartitionsByTopic::new();
        for it in assignment.topic_partitions {
            // A topic that is gone by now is gone from the assignment soon.
            let Some(name) = self.name(cluster, it.topic_id).await? else { continue };
            mine.extend(it.partitions.into_iter().map(|at| TopicPartition::new(name.as_str(), at)));
        }
        if mine == self.owned {
            return Ok(HeartbeatOutcome::Same);
        }
        // The coordinator waits to hear that the rest was given up.
        self.is_told = false;
        self.owned.clone_from(&mine);
        Ok(HeartbeatOutcome::Now(mine))
    }
}
