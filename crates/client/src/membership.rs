//! GroupMembership in a group, in either protocol: what is read, and how far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_net::peer::PendingRequest;
use ottla_protocol::Request;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_types::NodeId;

use crate::admin::group_offsets::committed_in;
use crate::classic_member::ClassicMembership;
use crate::client::{Client, CoordinatorOf, Line, SendTerms};
use crate::consumer_member::ConsumerMembership;
use crate::error::ClientError;
use crate::metadata::IfAbsent;
use crate::options::{ConsumerOptions, GroupProtocol};
use crate::partitions::{
    CommittedPositions, PartitionOffsets, Partitions, by_topic, indexes_by_topic,
};
use crate::subscription::TopicSubscription;
use crate::transaction::GroupMember;

/// How long a member that leaves waits for the answer to what it asked before.
pub(crate) const LATE_ANSWER: Duration = Duration::from_secs(1);

/// What a heartbeat brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeartbeatOutcome {
    /// The member keeps its partitions.
    Unchanged,
    /// These partitions are the member's from now on, and no others.
    Assigned(Partitions),
    /// The group rebalances: the member has to join again, and may keep its partitions meanwhile.
    Rebalance,
    /// The member was removed: it has to join again, without partitions.
    Removed,
}

/// A request to the coordinator whose answer matters even if the caller stops waiting for it.
pub(crate) struct PendingCall<R: Request>(Option<PendingRequest<Result<R::Response, ClientError>>>);

impl<R: Request> std::fmt::Debug for PendingCall<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PendingCall").field(&self.0.is_some()).finish()
    }
}

impl<R: Request + Send + Sync + 'static> PendingCall<R> {
    pub const fn none() -> Self {
        Self(None)
    }

    /// Asks, and waits. If the caller stops waiting, [`Self::late_answer`] has the answer.
    pub async fn ask(
        &mut self,
        client: &Client,
        node: NodeId,
        request: R,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        if self.0.take().is_some() {
            // The answer to a call that was given up must not hold this one up.
            client.disconnect(node, Line::Group);
        }
        let own = client.clone();
        let terms = SendTerms { line: Line::Group, newest: None, limit };
        let call = async move { own.send_on(node, &request, terms).await?.wait().await };
        let answer = self.0.insert(Box::pin(call)).as_mut().await;
        self.0 = None;
        answer
    }

    /// The answer to a call that was given up, if there was one and it comes soon enough. If not,
    /// the connection is closed, so that the next request is not held up.
    pub async fn late_answer(&mut self, client: &Client, node: NodeId) -> Option<R::Response> {
        let call = self.0.take()?;
        tokio::select! {
            biased;
            answer = call => answer.ok(),
            () = client.clock().sleep(LATE_ANSWER) => {
                client.disconnect(node, Line::Group);
                None
            }
        }
    }
}

#[derive(Debug)]
enum MemberProtocol {
    Classic(ClassicMembership),
    Consumer(ConsumerMembership),
}

/// A member of a group.
#[derive(Debug)]
pub(crate) struct GroupMembership {
    group: String,
    kind: MemberProtocol,
}

impl GroupMembership {
    /// A member that has not joined yet.
    pub fn new(
        group: &str,
        wanted: TopicSubscription,
        options: &ConsumerOptions,
        client: &Client,
    ) -> Self {
        let kind = match options.protocol {
            GroupProtocol::Classic => {
                MemberProtocol::Classic(ClassicMembership::new(group, wanted, options))
            }
            GroupProtocol::Consumer => {
                MemberProtocol::Consumer(ConsumerMembership::new(group, wanted, options, client))
            }
        };
        Self { group: group.to_owned(), kind }
    }

    /// Commits and looks up offsets for a group without being a member of it.
    pub fn outside(group: &str) -> Self {
        let wanted = TopicSubscription::Topics(BTreeSet::new());
        let member = ClassicMembership::new(group, wanted, &ConsumerOptions::default());
        Self { group: group.to_owned(), kind: MemberProtocol::Classic(member) }
    }

    /// Does it keep reading what stays its own while the group rebalances?
    pub fn is_cooperative(&self) -> bool {
        match &self.kind {
            MemberProtocol::Classic(member) => member.is_cooperative(),
            MemberProtocol::Consumer(_) => true,
        }
    }

    /// The time from one heartbeat to the next.
    pub const fn interval(&self) -> Duration {
        match &self.kind {
            MemberProtocol::Classic(member) => member.interval,
            MemberProtocol::Consumer(member) => member.interval,
        }
    }

    /// As which member its offsets are committed.
    pub fn member(&self) -> GroupMember {
        let (member, generation) = match &self.kind {
            MemberProtocol::Classic(member) => (member.member.clone(), member.generation),
            MemberProtocol::Consumer(member) => (member.member.clone(), member.epoch),
        };
        GroupMember { group: self.group.clone(), member, generation }
    }

    const fn known_coordinator(&self) -> NodeId {
        match &self.kind {
            MemberProtocol::Classic(member) => member.coordinator,
            MemberProtocol::Consumer(member) => member.coordinator,
        }
    }

    fn instance(&self) -> Option<String> {
        match &self.kind {
            MemberProtocol::Classic(member) => member.instance.clone(),
            MemberProtocol::Consumer(member) => member.instance.clone(),
        }
    }

    /// Joins, and waits until it knows its partitions; `owned` is what it reads so far.
    pub async fn join(
        &mut self,
        client: &Client,
        owned: &Partitions,
    ) -> Result<Partitions, ClientError> {
        match &mut self.kind {
            MemberProtocol::Classic(member) => member.join(client, owned).await,
            MemberProtocol::Consumer(member) => member.join(client).await,
        }
    }

    /// Sends a heartbeat to the coordinator, and takes its changes.
    pub async fn heartbeat(&mut self, client: &Client) -> Result<HeartbeatOutcome, ClientError> {
        match &mut self.kind {
            MemberProtocol::Classic(member) => member.heartbeat(client).await,
            MemberProtocol::Consumer(member) => member.heartbeat(client).await,
        }
    }

    /// Have topics come, gone or grown since it joined, so that it has to join again?
    pub async fn topics_changed(&mut self, client: &Client) -> Result<bool, ClientError> {
        match &mut self.kind {
            MemberProtocol::Classic(member) => member.topics_changed(client).await,
            // There the coordinator looks.
            MemberProtocol::Consumer(_) => Ok(false),
        }
    }

    /// Handles the coordinator's answer to a request that was given up, before leaving.
    pub async fn settle(&mut self, client: &Client) {
        match &mut self.kind {
            MemberProtocol::Classic(member) => member.settle(client).await,
            MemberProtocol::Consumer(member) => member.settle(client).await,
        }
    }

    /// Leaves, so that the other members need not wait for the end of its session.
    pub async fn leave(&mut self, client: &Client) -> Result<(), ClientError> {
        match &mut self.kind {
            MemberProtocol::Classic(member) => member.leave(client).await,
            MemberProtocol::Consumer(member) => member.leave(client).await,
        }
    }

    async fn coordinator(&self, client: &Client) -> Result<NodeId, ClientError> {
        match self.known_coordinator() {
            node if node >= 0 => Ok(node),
            _ => client.coordinator(CoordinatorOf::Group, &self.group).await,
        }
    }

    /// How far the group has read these partitions.
    pub async fn committed(
        &self,
        client: &Client,
        places: &Partitions,
    ) -> Result<PartitionOffsets, ClientError> {
        if places.is_empty() {
            return Ok(PartitionOffsets::new());
        }
        let mut topics = Vec::new();
        let mut names = BTreeMap::new();
        for (name, partition_indexes) in indexes_by_topic(places) {
            let topic_id = client.topic(&name, IfAbsent::Fail).await?.id;
            names.insert(topic_id, name.clone());
            topics.push(OffsetFetchRequestTopics {
                name,
                topic_id,
                partition_indexes,
                ..Default::default()
            });
        }
        let group_id = self.group.clone();
        let group =
            OffsetFetchRequestGroup { group_id, topics: Some(topics), ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let node = self.coordinator(client).await?;
        let response = client.ask(node, &request).await?;
        let found = committed_in(response, &self.group, &names)?.into_iter();
        Ok(found.map(|(place, committed)| (place, committed.offset)).collect())
    }

    /// Commits how far the group has read.
    pub async fn commit(
        &self,
        client: &Client,
        offsets: &CommittedPositions,
    ) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut topics = Vec::new();
        let mut names = BTreeMap::new();
        for (name, partitions) in by_topic(offsets.iter().map(|(place, it)| (place, *it))) {
            let topic_id = client.topic(&name, IfAbsent::Fail).await?.id;
            names.insert(topic_id, name.clone());
            let partitions = partitions.into_iter().map(|(partition_index, committed)| {
                OffsetCommitRequestPartition {
                    partition_index,
                    committed_offset: committed.offset,
                    committed_leader_epoch: committed.leader_epoch,
                    committed_metadata: Some(String::new()),
                    ..Default::default()
                }
            });
            topics.push(OffsetCommitRequestTopic {
                name,
                topic_id,
                partitions: partitions.collect(),
                ..Default::default()
            });
        }
        let member = self.member();
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: member.generation,
            member_id: member.member,
            group_instance_id: self.instance(),
            topics,
            ..Default::default()
        };
        let node = self.coordinator(client).await?;
        let response = client.ask(node, &request).await?;
        for topic in &response.topics {
            for partition in &topic.partitions {
                ClientError::check(partition.error_code, || {
                    // From version 10 on an answer has only the topic's id.
                    let by_id = names.get(&topic.topic_id).filter(|_| topic.name.is_empty());
                    let name = by_id.unwrap_or(&topic.name);
                    format!("the offset of {name}-{}", partition.partition_index)
                })?;
            }
        }
        Ok(())
    }
}
