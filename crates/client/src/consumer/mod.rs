//! Reading: some partitions, all of some topics, or a group's share of them.

mod fetch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_types::{ErrorCode, NO_EPOCH, Offset, TimestampMs, TopicPartition};

use crate::admin::OffsetAt;
use crate::client::Client;
use crate::error::ClientError;
use crate::membership::{GroupMembership, HeartbeatOutcome};
use crate::metadata::IfAbsent;
use crate::options::{ConsumerOptions, GroupProtocol, IsolationLevel, Start};
use crate::partitions::{CommittedPosition, CommittedPositions, PartitionOffsets, Partitions};
use crate::subscription::TopicSubscription;
use crate::transaction::GroupMember;
use fetch::PreferredReplica;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// From which topic and partition.
    pub place: TopicPartition,
    /// At which offset.
    pub offset: Offset,
    /// In which epoch of its partition's leader it was written; -1 if that is not known.
    pub leader_epoch: i32,
    /// Its time, in milliseconds.
    pub timestamp: TimestampMs,
    /// Is that the broker's append time, and not the producer's timestamp?
    pub is_append_time: bool,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its content.
    pub value: Option<Bytes>,
    /// Its headers, by name.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Reads topics.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    membership: Option<GroupMembership>,
    /// The next offset to be fetched of each partition.
    positions: PartitionOffsets,
    paused: Partitions,
    /// Partitions that a leader has sent it to a follower for (KIP-392).
    preferred: BTreeMap<TopicPartition, PreferredReplica>,
    ready: VecDeque<Received>,
    /// Up to where records were handed out.
    handed: CommittedPositions,
    /// When it last sent a heartbeat.
    last_heartbeat: Duration,
    /// When it last committed by itself.
    last_commit: Duration,
    /// When it last looked whether topics have changed.
    last_look: Duration,
}

impl Consumer {
    /// A consumer that reads nothing yet, with connections of its own.
    #[must_use]
    pub fn new(client: Client, options: ConsumerOptions) -> Self {
        let client = client.with_own_connections();
        let now = client.clock().monotonic();
        Self {
            client,
            options,
            membership: None,
            positions: PartitionOffsets::new(),
            paused: Partitions::new(),
            preferred: BTreeMap::new(),
            ready: VecDeque::new(),
            handed: CommittedPositions::new(),
            last_heartbeat: now,
            last_commit: now,
            last_look: now,
        }
    }

    /// Reads all partitions of a topic, or with a group that group's share of them.
    ///
    /// # Errors
    /// There is no such topic, or no broker answers.
    pub async fn open(
        client: Client,
        topic: &str,
        group: Option<&str>,
        start: Start,
    ) -> Result<Self, ClientError> {
        let group = group.map(str::to_owned);
        let mut consumer =
            Self::new(client, ConsumerOptions { group, start, ..Default::default() });
        consumer.subscribe(&[topic]).await?;
        Ok(consumer)
    }

    /// As [`Consumer::open`], as a member of a group by one of the two protocols.
    ///
    /// # Errors
    /// There is no such topic, no broker answers, or the group is of the other protocol.
    pub async fn join(
        client: Client,
        topic: &str,
        group: &str,
        protocol: GroupProtocol,
        start: Start,
    ) -> Result<Self, ClientError> {
        let group = Some(group.to_owned());
        let options = ConsumerOptions { group, protocol, start, ..Default::default() };
        let mut consumer = Self::new(client, options);
        consumer.subscribe(&[topic]).await?;
        Ok(consumer)
    }

    /// Reads these topics from now on: as a member of its group, or by itself all partitions.
    ///
    /// # Errors
    /// There is no such topic, or no broker answers.
    pub async fn subscribe(&mut self, topics: &[&str]) -> Result<(), ClientError> {
        for topic in topics {
            self.client.topic(topic, self.if_absent()).await?;
        }
        let topics = topics.iter().map(|it| (*it).to_owned()).collect();
        self.want(TopicSubscription::Topics(topics)).await
    }

    /// Reads the topics whose whole name matches a pattern, also those that are yet to come.
    ///
    /// # Errors
    /// It is no pattern, or no broker answers.
    pub async fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), ClientError> {
        self.want(TopicSubscription::Pattern(pattern.to_owned())).await
    }

    async fn want(&mut self, wanted: TopicSubscription) -> Result<(), ClientError> {
        self.leave().await?;
        let Some(group) = self.options.group.clone() else {
            let mut all = Partitions::new();
            for topic in wanted.topics(&self.client).await? {
                let known = self.client.topic(&topic, IfAbsent::Fail).await?;
                all.extend(known.leaders.keys().map(|it| TopicPartition::new(topic.as_str(), *it)));
            }
            return self.assign(all).await;
        };
        self.membership = Some(GroupMembership::new(&group, wanted, &self.options, &self.client));
        self.enter(Partitions::new()).await
    }

    /// Reads these partitions, and does not join its group: from the group's committed offsets, or
    /// else from where `auto.offset.reset` says.
    ///
    /// # Errors
    /// There is no such partition, or no broker answers.
    pub async fn assign(&mut self, places: BTreeSet<TopicPartition>) -> Result<(), ClientError> {
        self.forget_all();
        let committed = match &self.options.group {
            Some(group) => GroupMembership::outside(group).committed(&self.client, &places).await?,
            None => PartitionOffsets::new(),
        };
        self.start_in(places, &committed).await
    }

    const fn if_absent(&self) -> IfAbsent {
        if self.options.create_topics { IfAbsent::Create } else { IfAbsent::Fail }
    }

    fn forget_all(&mut self) {
        self.positions.clear();
        self.handed.clear();
        self.paused.clear();
        self.preferred.clear();
        self.ready.clear();
    }

    /// Reads only what is committed from now on, or everything.
    pub const fn set_isolation(&mut self, isolation: IsolationLevel) {
        self.options.isolation = isolation;
    }

    /// Says how far it has read by itself, every few seconds and at the end, or leaves that to the
    /// caller (`enable.auto.commit`).
    pub const fn set_auto_commit(&mut self, auto_commit: bool) {
        self.options.auto_commit = auto_commit;
    }

    /// The client, for other requests.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// How many records have been fetched and not yet been handed out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.ready.len()
    }

    /// The member of its group that it is; `None` without a group.
    #[must_use]
    pub fn group_member(&self) -> GroupMember {
        self.membership.as_ref().map(GroupMembership::member).unwrap_or_default()
    }

    /// The partitions that it reads.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.positions.keys().cloned().collect()
    }

    /// Behind the last record that was handed out, by partition.
    #[must_use]
    pub fn handed_out(&self) -> PartitionOffsets {
        self.handed.iter().map(|(place, next)| (place.clone(), next.offset)).collect()
    }

    /// The offset of the next record that [`Consumer::poll`] gives of a partition.
    #[must_use]
    pub fn position(&self, place: &TopicPartition) -> Option<Offset> {
        let waiting = self.ready.iter().find(|record| record.place == *place);
        waiting.map(|record| record.offset).or_else(|| self.positions.get(place).copied())
    }

    /// Gives no records of these partitions until they are resumed; membership goes on.
    pub fn pause(&mut self, places: &[TopicPartition]) {
        let mine = places.iter().filter(|it| self.positions.contains_key(it)).cloned();
        self.paused.extend(mine.collect::<Vec<_>>());
    }

    /// Gives records of these partitions again.
    pub fn resume(&mut self, places: &[TopicPartition]) {
        for place in places {
            self.paused.remove(place);
        }
    }

    /// The partitions that are paused.
    #[must_use]
    pub const fn paused(&self) -> &BTreeSet<TopicPartition> {
        &self.paused
    }

    /// Goes on at this offset in a partition that it reads; says whether it does.
    pub fn seek(&mut self, place: &TopicPartition, offset: Offset) -> bool {
        let Some(position) = self.positions.get_mut(place) else { return false };
        *position = offset;
        self.ready.retain(|record| record.place != *place);
        self.handed.insert(place.clone(), CommittedPosition { offset, leader_epoch: NO_EPOCH });
        true
    }

    /// Goes on at one end of partitions that it reads.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn seek_to(
        &mut self,
        places: &[TopicPartition],
        start: Start,
    ) -> Result<(), ClientError> {
        for place in places {
            let offset = self.edge(place, start).await?;
            self.seek(place, offset);
        }
        Ok(())
    }

    /// Joins; `owned` is what it may go on reading meanwhile.
    async fn enter(&mut self, mut owned: Partitions) -> Result<(), ClientError> {
        loop {
            let Some(membership) = &mut self.membership else { return Ok(()) };
            let mine = membership.join(&self.client, &owned).await?;
            let again = membership.is_cooperative() && !owned.is_subset(&mine);
            self.shift(mine.clone()).await?;
            self.last_heartbeat = self.client.clock().monotonic();
            if !again {
                return Ok(());
            }
            // Partitions that it has revoked belong to another member in the next generation.
            owned = mine;
        }
    }

    /// Begins to read in further partitions, at the group's committed offset or else at the start.
    async fn start_in(
        &mut self,
        places: Partitions,
        committed: &PartitionOffsets,
    ) -> Result<(), ClientError> {
        for place in places {
            let position = match committed.get(&place) {
                Some(offset) => *offset,
                None => self.edge(&place, self.options.start).await?,
            };
            self.positions.insert(place, position);
        }
        Ok(())
    }

    /// The first offset of a partition, or the one after the last.
    async fn edge(&mut self, place: &TopicPartition, start: Start) -> Result<Offset, ClientError> {
        let at = match start {
            Start::Beginning => OffsetAt::Earliest,
            Start::End => OffsetAt::Latest,
            Start::Nowhere => return Err(ClientError::NoOffset(place.to_string())),
        };
        self.client.offset_at(place, at, self.options.isolation).await
    }

    /// The next record; `None` if none came within a moment.
    ///
    /// # Errors
    /// An error that a retry cannot mend.
    pub async fn poll(&mut self) -> Result<Option<Received>, ClientError> {
        if self.next().is_none() {
            self.stay().await?;
            self.fetch().await?;
        }
        let next = self.next().and_then(|at| self.ready.remove(at));
        if let Some(next) = &next {
            let (offset, leader_epoch) = (next.offset + 1, next.leader_epoch);
            self.handed.insert(next.place.clone(), CommittedPosition { offset, leader_epoch });
        }
        Ok(next)
    }

    /// The first record that waits and is not of a paused partition.
    fn next(&self) -> Option<usize> {
        self.ready.iter().position(|record| !self.paused.contains(&record.place))
    }

    /// Keeps the membership alive, and commits the group's offsets.
    async fn stay(&mut self) -> Result<(), ClientError> {
        let now = self.client.clock().monotonic();
        let Some(membership) = &self.membership else { return self.commit_if_due(now).await };
        if now.saturating_sub(self.last_heartbeat) < membership.interval() {
            return Ok(());
        }
        self.last_heartbeat = now;
        self.commit_if_due(now).await?;
        let Some(membership) = &mut self.membership else { return Ok(()) };
        let is_old = now.saturating_sub(self.last_look) >= self.options.metadata_age;
        let mut outcome = membership.heartbeat(&self.client).await?;
        if is_old {
            self.last_look = now;
            if outcome == HeartbeatOutcome::Unchanged
                && membership.topics_changed(&self.client).await?
            {
                outcome = HeartbeatOutcome::Rebalance;
            }
        }
        let keeps = membership.is_cooperative();
        match outcome {
            HeartbeatOutcome::Unchanged => Ok(()),
            HeartbeatOutcome::Assigned(mine) => {
                self.shift(mine).await?;
                // At once, so that other members need not wait for the revoked partitions.
                self.last_heartbeat = Duration::ZERO;
                Ok(())
            }
            HeartbeatOutcome::Rebalance => {
                // Before another member goes on from there.
                self.commit_if_own().await?;
                let owned = self.positions.keys().cloned().collect();
                if keeps {
                    return self.enter(owned).await;
                }
                self.forget_all();
                self.enter(Partitions::new()).await
            }
            HeartbeatOutcome::Removed => {
                self.forget_all();
                self.enter(Partitions::new()).await
            }
        }
    }

    async fn commit_if_own(&mut self) -> Result<(), ClientError> {
        if self.options.auto_commit { self.commit().await } else { Ok(()) }
    }

    async fn commit_if_due(&mut self, now: Duration) -> Result<(), ClientError> {
        if now.saturating_sub(self.last_commit) < self.options.auto_commit_interval {
            return Ok(());
        }
        self.last_commit = now;
        self.commit_if_own().await
    }

    /// Other partitions are its own from now on; in those that stay it goes on where it is.
    async fn shift(&mut self, mine: Partitions) -> Result<(), ClientError> {
        if self.positions.keys().any(|it| !mine.contains(it)) {
            self.commit_if_own().await?;
        }
        self.positions.retain(|place, _| mine.contains(place));
        self.handed.retain(|place, _| mine.contains(place));
        self.paused.retain(|place| mine.contains(place));
        self.ready.retain(|record| mine.contains(&record.place));
        let fresh: Partitions =
            mine.into_iter().filter(|it| !self.positions.contains_key(it)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let Some(membership) = &self.membership else { return Ok(()) };
        let committed = membership.committed(&self.client, &fresh).await?;
        self.start_in(fresh, &committed).await
    }

    /// Commits the group's offsets: the next record that would be handed out, also where
    /// none was yet.
    ///
    /// # Errors
    /// The group's coordinator refuses for good.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let here = |place: &TopicPartition| {
            let leader_epoch = self.handed.get(place).map_or(NO_EPOCH, |it| it.leader_epoch);
            let offset = self.position(place)?;
            Some((place.clone(), CommittedPosition { offset, leader_epoch }))
        };
        let all = self.positions.keys().filter_map(here).collect();
        match self.commit_all(&all).await {
            // The next generation starts from what was committed before.
            Err(ClientError::Refused { code, .. })
                if code != ErrorCode::GROUP_AUTHORIZATION_FAILED =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Commits these offsets for the group.
    ///
    /// # Errors
    /// The group's coordinator refuses, also for a reason that the next generation ends.
    pub async fn commit_offsets(&mut self, offsets: &PartitionOffsets) -> Result<(), ClientError> {
        let offsets = offsets.iter().map(|(place, offset)| {
            (place.clone(), CommittedPosition { offset: *offset, leader_epoch: NO_EPOCH })
        });
        self.commit_all(&offsets.collect()).await
    }

    async fn commit_all(&mut self, offsets: &CommittedPositions) -> Result<(), ClientError> {
        if let Some(membership) = &self.membership {
            return membership.commit(&self.client, offsets).await;
        }
        let Some(group) = self.options.group.clone() else { return Ok(()) };
        GroupMembership::outside(&group).commit(&self.client, offsets).await
    }

    /// Commits, if it does that by itself, and leaves the group; also after a call that was given
    /// up (dropped before it was ready), whatever that was waiting for.
    ///
    /// # Errors
    /// The group's coordinator is gone.
    pub async fn close(mut self) -> Result<(), ClientError> {
        self.leave().await
    }

    /// As [`Consumer::close`], and gives up when that takes longer: each of the commit and the
    /// leaving may take `limit`.
    ///
    /// # Errors
    /// The group's coordinator is gone or silent.
    pub async fn close_within(mut self, limit: Duration) -> Result<(), ClientError> {
        let clock = self.client.clock().clone();
        let late = |what: &str| Err(ClientError::TimedOut(what.to_owned()));
        self.settle().await;
        let committed = tokio::select! {
            biased;
            committed = self.commit_if_own() => committed,
            () = clock.sleep(limit) => late("committing the group's offsets"),
        };
        let left = tokio::select! {
            biased;
            left = self.leave_only() => left,
            () = clock.sleep(limit) => late("leaving the group"),
        };
        committed.and(left)
    }

    async fn leave(&mut self) -> Result<(), ClientError> {
        self.settle().await;
        let committed = self.commit_if_own().await;
        // Also when that failed: the group need not wait for this member.
        let left = self.leave_only().await;
        committed.and(left)
    }

    async fn settle(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.settle(&self.client).await;
        }
    }

    async fn leave_only(&mut self) -> Result<(), ClientError> {
        self.forget_all();
        match self.membership.take() {
            Some(mut membership) => membership.leave(&self.client).await,
            None => Ok(()),
        }
    }
}
