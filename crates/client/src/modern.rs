//! Membership in a group whose coordinator assigns (KIP-848).

use ottla_clock::Clock;
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_types::{ErrorCode, NodeId, Uuid};

use std::time::Duration;

use crate::cluster::{Cluster, CoordinatorOf, MOMENT, PATIENCE};
use crate::error::ClientError;
use crate::transaction::GroupMember;

/// How long a member may take to give a partition up, in milliseconds.
const REBALANCE_MS: i32 = 300_000;
/// Leaves for good.
const LEAVES: i32 = -1;

/// What a heartbeat brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beaten {
    /// Nothing new.
    Same,
    /// These partitions are the member's from now on, and no others.
    Now(Vec<i32>),
    /// It is no member any more, and is to join anew.
    Out,
}

/// A member.
#[derive(Debug)]
pub(crate) struct Modern {
    group: String,
    topic: String,
    topic_id: Uuid,
    pub coordinator: NodeId,
    member: String,
    epoch: i32,
    /// What it owns, and whether the coordinator has been told.
    owned: Vec<i32>,
    is_told: bool,
    /// How often it is to be heard.
    pub interval: Duration,
}

impl Modern {
    /// Somebody who wants to join.
    pub fn new(group: &str, topic: &str, clock: &Clock) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            topic_id: Uuid::ZERO,
            coordinator: -1,
            member: clock.random_uuid().to_string(),
            epoch: 0,
            owned: Vec::new(),
            is_told: true,
            interval: MOMENT,
        }
    }

    /// As whom its offsets are committed.
    pub fn member(&self) -> GroupMember {
        GroupMember {
            group: self.group.clone(),
            member: self.member.clone(),
            generation: self.epoch,
        }
    }

    /// Joins; what it owns at first.
    pub async fn join(&mut self, cluster: &mut Cluster) -> Result<Vec<i32>, ClientError> {
        self.topic_id = cluster.topic(&self.topic, false).await?.id;
        let deadline = cluster.clock.monotonic() + PATIENCE * 4;
        (self.epoch, self.owned, self.is_told) = (0, Vec::new(), true);
        let request = ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: REBALANCE_MS,
            subscribed_topic_names: Some(vec![self.topic.clone()]),
            topic_partitions: Some(Vec::new()),
            ..self.beat()
        };
        loop {
            if self.coordinator < 0 {
                self.coordinator = cluster.coordinator(CoordinatorOf::Group, &self.group).await?;
            }
            match self.ask(cluster, &request).await {
                Ok(response) => {
                    self.take(response);
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
    pub async fn heartbeat(&mut self, cluster: &mut Cluster) -> Result<Beaten, ClientError> {
        let owned = TopicPartitions {
            topic_id: self.topic_id,
            partitions: self.owned.clone(),
            ..Default::default()
        };
        let owned: Vec<_> = (!self.owned.is_empty()).then_some(owned).into_iter().collect();
        let topic_partitions = (!self.is_told).then_some(owned);
        let request = ConsumerGroupHeartbeatRequest { topic_partitions, ..self.beat() };
        match self.ask(cluster, &request).await {
            Ok(response) => {
                self.is_told = true;
                Ok(self.take(response))
            }
            Err(ClientError::Refused {
                code:
                    ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::FENCED_MEMBER_EPOCH
                    | ErrorCode::GROUP_ID_NOT_FOUND,
                ..
            }) => Ok(Beaten::Out),
            Err(error) if error.is_passing() => {
                // What it has told may not have been heard.
                self.is_told = false;
                self.coordinator = cluster.coordinator(CoordinatorOf::Group, &self.group).await?;
                Ok(Beaten::Same)
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves, so that others need not wait for the end of its session.
    pub async fn leave(&mut self, cluster: &mut Cluster) -> Result<(), ClientError> {
        self.epoch = LEAVES;
        let request = self.beat();
        self.ask(cluster, &request).await.map(|_| ())
    }

    fn beat(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            member_epoch: self.epoch,
            ..Default::default()
        }
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

    fn take(&mut self, response: ConsumerGroupHeartbeatResponse) -> Beaten {
        if let Some(member) = response.member_id {
            self.member = member;
        }
        self.epoch = response.member_epoch;
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(1000);
        self.interval = Duration::from_millis(interval);
        let Some(assignment) = response.assignment else { return Beaten::Same };
        let mine = assignment.topic_partitions.into_iter();
        let mine = mine.filter(|it| it.topic_id == self.topic_id);
        let mut mine: Vec<i32> = mine.flat_map(|it| it.partitions).collect();
        mine.sort_unstable();
        if mine == self.owned {
            return Beaten::Same;
        }
        // The coordinator waits to hear that the rest was given up.
        self.is_told = false;
        self.owned.clone_from(&mine);
        Beaten::Now(mine)
    }
}
