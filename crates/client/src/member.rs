//! Membership in a group, whichever protocol it speaks: what is read, and how far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_types::{NodeId, Offset, TopicPartition};
use regex::Regex;

use crate::assign::PartitionsByTopic;
use crate::cluster::{Cluster, CoordinatorOf};
use crate::error::ClientError;
use crate::group::ClassicGroupMember;
use crate::groups::{self, CommittedOffsets};
use crate::modern::ConsumerGroupMember;
use crate::options::{ConsumerOptions, GroupProtocol};
use crate::transaction::GroupMember;

/// How long a member that leaves waits for the answer to what it asked before.
pub(crate) const LATE_ANSWER: Duration = Duration::from_secs(1);

/// Offsets by place.
pub type PartitionOffsets = BTreeMap<TopicPartition, Offset>;

/// What a consumer wants to read.
#[derive(Clone, Debug)]
pub(crate) enum Subscription {
    Topics(BTreeSet<String>),
    /// Topics whose whole name matches.
    Pattern(String),
}

impl Subscription {
    /// The topics that it stands for at the moment.
    pub async fn topics(&self, cluster: &mut Cluster) -> Result<BTreeSet<String>, ClientError> {
        match self {
            Self::Topics(topics) => Ok(topics.clone()),
            Self::Pattern(pattern) => {
                let whole = Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|error| ClientError::Pattern(error.to_string()))?;
                let all = cluster.topics().await?.into_iter();
                let all = all.filter(|it| !it.internal && whole.is_match(&it.name));
                Ok(all.map(|it| it.name).collect())
            }
        }
    }
}

/// What a heartbeat brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeartbeatOutcome {
    /// Nothing new.
    Same,
    /// These partitions are the member's from now on, and no others.
    Now(PartitionsByTopic),
    /// The members are called together.
    Called,
    /// It is no member any more, and is to join anew.
    Out,
}

#[derive(Debug)]
enum MemberProtocol {
    Classic(ClassicGroupMember),
    Modern(ConsumerGroupMember),
}

/// A member of a group.
#[derive(Debug)]
pub(crate) struct Membership {
    group: String,
    kind: MemberProtocol,
}

impl Membership {
    /// Somebody who wants to join.
    pub fn new(
        group: &str,
        wanted: Subscription,
        options: &ConsumerOptions,
        cluster: &Cluster,
    ) -> Self {
        let kind = match options.protocol {
            GroupProtocol::Classic => {
                MemberProtocol::Classic(ClassicGroupMember::new(group, wanted, options))
            }
            GroupProtocol::Consumer => MemberProtocol::Modern(ConsumerGroupMember::new(
                group,
                wanted,
                options,
                &cluster.clock,
            )),
        };
        Self { group: group.to_owned(), kind }
    }

    /// Somebody who speaks for a group that has no members.
    pub fn nobody(group: &str) -> Self {
        let wanted = Subscription::Topics(BTreeSet::new());
        let kind = MemberProtocol::Classic(ClassicGroupMember::new(
            group,
            wanted,
            &ConsumerOptions::default(),
        ));
        Self { group: group.to_owned(), kind }
    }

    /// Does it keep what stays its own while the group shares out anew?
    pub fn is_cooperative(&self) -> bool {
        match &self.kind {
            MemberProtocol::Classic(classic) => classic.is_cooperative(),
            MemberProtocol::Modern(_) => true,
        }
    }

    /// How often it is to be heard.
    pub const fn interval(&self) -> Duration {
        match &self.kind {
            MemberProtocol::Classic(classic) => classic.interval,
            MemberProtocol::Modern(modern) => modern.interval,
        }
    }

    /// As whom its offsets are committed.
    pub fn member(&self) -> GroupMember {
        let (member, generation) = match &self.kind {
            MemberProtocol::Classic(classic) => (classic.member.clone(), classic.generation),
            MemberProtocol::Modern(modern) => (modern.member.clone(), modern.epoch),
        };
        GroupMember { group: self.group.clone(), member, generation }
    }

    const fn coordinator(&self) -> NodeId {
        match &self.kind {
            MemberProtocol::Classic(classic) => classic.coordinator,
            MemberProtocol::Modern(modern) => modern.coordinator,
        }
    }

    fn instance(&self) -> Option<String> {
        match &self.kind {
            MemberProtocol::Classic(classic) => classic.instance.clone(),
            MemberProtocol::Modern(modern) => modern.instance.clone(),
        }
    }

    /// Joins, and waits until it knows its partitions; `owned` is what it reads so far.
    pub async fn join(
        &mut self,
        cluster: &mut Cluster,
        owned: &PartitionsByTopic,
    ) -> Result<PartitionsByTopic, ClientError> {
        match &mut self.kind {
            MemberProtocol::Classic(classic) => classic.join(cluster, owned).await,
            MemberProtocol::Modern(modern) => modern.join(cluster).await,
        }
    }

    /// Is everything as it was?
    pub async fn heartbeat(
        &mut self,
        cluster: &mut Cluster,
    ) -> Result<HeartbeatOutcome, ClientError> {
        match &mut self.kind {
            MemberProtocol::Classic(classic) => classic.heartbeat(cluster).await,
            MemberProtocol::Modern(modern) => modern.heartbeat(cluster).await,
        }
    }

    /// Are the topics other ones by now, so that it has to join again?
    pub async fn has_news(&mut self, cluster: &mut Cluster) -> Result<bool, ClientError> {
        match &mut self.kind {
            MemberProtocol::Classic(classic) => classic.has_news(cluster).await,
            // There the coordinator looks.
            MemberProtocol::Modern(_) => Ok(false),
        }
    }

    /// Takes note of what the coordinator answers to a request that was given up, before leaving.
    pub async fn settle(&mut self, cluster: &mut Cluster) {
        match &mut self.kind {
            MemberProtocol::Classic(classic) => classic.settle(cluster).await,
            MemberProtocol::Modern(modern) => modern.settle(cluster).await,
        }
    }

    /// Leaves, so that the others need not wait.
    pub async fn leave(&mut self, cluster: &mut Cluster) -> Result<(), ClientError> {
        match &mut self.kind {
            MemberProtocol::Classic(classic) => classic.leave(cluster).await,
            MemberProtocol::Modern(modern) => modern.leave(cluster).await,
        }
    }

    async fn any_coordinator(&self, cluster: &mut Cluster) -> Result<NodeId, ClientError> {
        match self.coordinator() {
            node if node >= 0 => Ok(node),
            _ => cluster.coordinator(CoordinatorOf::Group, &self.group).await,
        }
    }

    /// How far the group has come in these partitions.
    pub async fn committed(
        &self,
        cluster: &mut Cluster,
        places: &PartitionsByTopic,
    ) -> Result<PartitionOffsets, ClientError> {
        if places.is_empty() {
            return Ok(PartitionOffsets::new());
        }
        let mut topics = Vec::new();
        let mut names = BTreeMap::new();
        for (name, partitions) in by_topic(places.iter().map(|it| (it, ()))) {
            let topic_id = cluster.topic(&name, false).await?.id;
            names.insert(topic_id, name.clone());
            let partition_indexes = partitions.into_iter().map(|(index, ())| index).collect();
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
        let node = self.any_coordinator(cluster).await?;
        let response = cluster.ask(node, &request).await?;
        let found = groups::committed(response, &self.group, &names)?.into_iter();
        Ok(found.map(|(place, (offset, _))| (place, offset)).collect())
    }

    /// Says how far the group has come.
    pub async fn commit(
        &self,
        cluster: &mut Cluster,
        offsets: &CommittedOffsets,
    ) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut topics = Vec::new();
        let mut names = BTreeMap::new();
        for (name, partitions) in by_topic(offsets.iter().map(|(place, it)| (place, *it))) {
            let topic_id = cluster.topic(&name, false).await?.id;
            names.insert(topic_id, name.clone());
            let partition = |(partition_index, (committed_offset, committed_leader_epoch))| {
                OffsetCommitRequestPartition {
                    partition_index,
                    committed_offset,
                    committed_leader_epoch,
                    committed_metadata: Some(String::new()),
                    ..Default::default()
                }
            };
            let partitions = partitions.into_iter().map(partition).collect();
            topics.push(OffsetCommitRequestTopic {
                name,
                topic_id,
                partitions,
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
        let node = self.any_coordinator(cluster).await?;
        let response = cluster.ask(node, &request).await?;
        for topic in &response.topics {
            for it in &topic.partitions {
                ClientError::check(it.error_code, || {
                    // From version 10 on an answer has only the topic's id.
                    let by_id = names.get(&topic.topic_id).filter(|_| topic.name.is_empty());
                    let name = by_id.unwrap_or(&topic.name);
                    format!("the offset of {name}-{}", it.partition_index)
                })?;
            }
        }
        Ok(())
    }
}

/// The same with the partitions of each topic together.
pub(crate) fn by_topic<'a, T>(
    all: impl Iterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<String, Vec<(i32, T)>> {
    let mut found: BTreeMap<String, Vec<(i32, T)>> = BTreeMap::new();
    for (place, it) in all {
        found.entry(place.topic.to_string()).or_default().push((place.partition, it));
    }
    found
}
