//! A member of a group of the consumer protocol: the coordinator assigns (KIP-848).

use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_types::{ErrorCode, NodeId, TopicPartition, Uuid};

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::{Client, CoordinatorOf};
use crate::error::ClientError;
use crate::membership::{HeartbeatOutcome, PendingCall};
use crate::metadata::IfAbsent;
use crate::options::ConsumerOptions;
use crate::partitions::{Partitions, indexes_by_topic};
use crate::subscription::TopicSubscription;

/// Leaves for good.
const LEAVES: i32 = -1;
/// A static member that will be back.
const AWAY: i32 = -2;

/// A member.
#[derive(Debug)]
pub(crate) struct ConsumerMembership {
    group: String,
    wanted: TopicSubscription,
    pub instance: Option<String>,
    rebalance_timeout_ms: i32,
    remote_assignor: Option<String>,
    rack: String,
    /// The names of the topics that the coordinator has named by their ids.
    names: BTreeMap<Uuid, String>,
    pub coordinator: NodeId,
    pub member: String,
    pub epoch: i32,
    /// What it owns.
    owned: Partitions,
    /// Has the coordinator heard what it owns?
    is_reported: bool,
    /// The time from one heartbeat to the next.
    pub interval: Duration,
    /// A heartbeat that is on its way.
    asking: PendingCall<ConsumerGroupHeartbeatRequest>,
}

impl ConsumerMembership {
    /// A member that has not joined yet.
    pub fn new(
        group: &str,
        wanted: TopicSubscription,
        options: &ConsumerOptions,
        client: &Client,
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
            member: client.clock().random_uuid().to_string(),
            epoch: 0,
            owned: Partitions::new(),
            is_reported: true,
            interval: client.options().retry_backoff,
            asking: PendingCall::none(),
        }
    }

    /// Joins; what it owns at first.
    pub async fn join(&mut self, client: &Client) -> Result<Partitions, ClientError> {
        let deadline = client.clock().monotonic() + client.options().retry_timeout * 4;
        (self.epoch, self.owned, self.is_reported) = (0, Partitions::new(), true);
        let request = self.full_heartbeat(client).await?;
        loop {
            if self.coordinator < 0 {
                self.coordinator = client.coordinator(CoordinatorOf::Group, &self.group).await?;
            }
            match self.ask(client, request.clone()).await {
                Ok(response) => {
                    self.accept(client, response).await?;
                    return Ok(self.owned.clone());
                }
                Err(error) if error.is_passing() && client.clock().monotonic() < deadline => {
                    self.coordinator = -1;
                    client.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a heartbeat with the partitions that the member still has.
    pub async fn heartbeat(&mut self, client: &Client) -> Result<HeartbeatOutcome, ClientError> {
        // An answer may have been lost: a full heartbeat is answered in full.
        let request = match self.is_reported {
            true => self.short_heartbeat(),
            false => self.full_heartbeat(client).await?,
        };
        match self.ask(client, request).await {
            Ok(response) => {
                self.is_reported = true;
                self.accept(client, response).await
            }
            Err(ClientError::Refused {
                code:
                    ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::FENCED_MEMBER_EPOCH
                    | ErrorCode::GROUP_ID_NOT_FOUND,
                ..
            }) => Ok(HeartbeatOutcome::Removed),
            Err(error) if error.is_passing() => {
                // The coordinator may not have heard it.
                self.is_reported = false;
                self.coordinator = client.coordinator(CoordinatorOf::Group, &self.group).await?;
                Ok(HeartbeatOutcome::Unchanged)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the broker has handled a heartbeat that was given up: one that is handled after
    /// the member left would let it join again.
    pub async fn settle(&mut self, client: &Client) {
        self.asking.late_answer(client, self.coordinator).await;
    }

    /// Leaves, so that others need not wait for the end of its session.
    pub async fn leave(&mut self, client: &Client) -> Result<(), ClientError> {
        if self.coordinator < 0 {
            return Ok(());
        }
        self.epoch = if self.instance.is_some() { AWAY } else { LEAVES };
        let request = self.short_heartbeat();
        match self.ask(client, request).await {
            // The coordinator knows of no such member: it is out already.
            Err(ClientError::Refused {
                code: ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND,
                ..
            }) => Ok(()),
            left => left.map(|_| ()),
        }
    }

    fn short_heartbeat(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            ..Default::default()
        }
    }

    /// A heartbeat that leaves nothing out.
    async fn full_heartbeat(
        &self,
        client: &Client,
    ) -> Result<ConsumerGroupHeartbeatRequest, ClientError> {
        let mut owned = Vec::new();
        for (topic, partitions) in indexes_by_topic(&self.owned) {
            let topic_id = client.topic(&topic, IfAbsent::Fail).await?.id;
            owned.push(TopicPartitions { topic_id, partitions, ..Default::default() });
        }
        let (names, pattern) = match &self.wanted {
            TopicSubscription::Topics(topics) => (topics.iter().cloned().collect(), None),
            TopicSubscription::Pattern(pattern) => (Vec::new(), Some(pattern.clone())),
        };
        Ok(ConsumerGroupHeartbeatRequest {
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            subscribed_topic_names: Some(names),
            subscribed_topic_regex: pattern,
            server_assignor: self.remote_assignor.clone(),
            rack_id: Some(self.rack.clone()).filter(|it| !it.is_empty()),
            topic_partitions: Some(owned),
            ..self.short_heartbeat()
        })
    }

    /// The name of a topic that the coordinator has named by its id.
    async fn topic_name(
        &mut self,
        client: &Client,
        id: Uuid,
    ) -> Result<Option<String>, ClientError> {
        if !self.names.contains_key(&id) {
            for it in client.refresh(None, IfAbsent::Fail).await? {
                self.names.extend(it.name.map(|name| (it.topic_id, name)));
            }
        }
        Ok(self.names.get(&id).cloned())
    }

    async fn ask(
        &mut self,
        client: &Client,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, ClientError> {
        let limit = client.options().request_timeout;
        let response = self.asking.ask(client, self.coordinator, request, limit).await?;
        let said = response.error_message.clone().unwrap_or_default();
        ClientError::check(response.error_code, || format!("group {}: {said}", self.group))?;
        Ok(response)
    }

    async fn accept(
        &mut self,
        client: &Client,
        response: ConsumerGroupHeartbeatResponse,
    ) -> Result<HeartbeatOutcome, ClientError> {
        if let Some(member) = response.member_id {
            self.member = member;
        }
        self.epoch = response.member_epoch;
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(1000);
        self.interval = Duration::from_millis(interval);
        let Some(assignment) = response.assignment else { return Ok(HeartbeatOutcome::Unchanged) };
        let mut mine = Partitions::new();
        for it in assignment.topic_partitions {
            // A topic that is gone by now is gone from the assignment soon.
            let Some(name) = self.topic_name(client, it.topic_id).await? else { continue };
            mine.extend(it.partitions.into_iter().map(|at| TopicPartition::new(name.as_str(), at)));
        }
        if mine == self.owned {
            return Ok(HeartbeatOutcome::Unchanged);
        }
        // The coordinator waits until the member reports that it gave up the rest.
        self.is_reported = false;
        self.owned.clone_from(&mine);
        Ok(HeartbeatOutcome::Assigned(mine))
    }
}
