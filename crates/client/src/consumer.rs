//! Reading: all partitions of a topic, or a group's share of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::PartitionData;
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_records::batches;
use ottla_types::{ErrorCode, NodeId, Offset, TimestampMs};

use crate::cluster::{Cluster, MOMENT};
use crate::error::ClientError;
use crate::group::Membership;
use crate::modern::Beaten;
use crate::transaction::GroupMember;

/// How long a broker waits for records, in milliseconds.
const WAIT_MS: i32 = 250;
const FETCH_BYTES: i32 = 8 << 20;
/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// Where reading starts when no offset is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record there is.
    Beginning,
    /// Behind the last record there is.
    End,
}

/// How a group shares partitions out (`group.protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One of the members does (`classic`).
    #[default]
    Classic,
    /// The coordinator does (`consumer`, KIP-848).
    Consumer,
}

/// Which records of transactions are read (`isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All.
    #[default]
    Uncommitted,
    /// Those of committed transactions, once they are.
    Committed,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// From which partition.
    pub partition: i32,
    /// At which offset.
    pub offset: Offset,
    /// Its time, in milliseconds.
    pub timestamp: TimestampMs,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its content.
    pub value: Option<Bytes>,
}

/// Reads a topic.
#[derive(Debug)]
pub struct Consumer {
    cluster: Cluster,
    topic: String,
    start: Start,
    isolation: Isolation,
    auto_commit: bool,
    membership: Option<Membership>,
    /// The next offset of each partition.
    positions: BTreeMap<i32, Offset>,
    ready: VecDeque<Received>,
    /// Up to where records were handed out.
    handed: BTreeMap<i32, Offset>,
    beaten: Duration,
}

impl Consumer {
    /// Reads all partitions of a topic, or with a group that group's share of them.
    ///
    /// # Errors
    /// There is no such topic, or no broker answers.
    pub async fn open(
        cluster: Cluster,
        topic: &str,
        group: Option<&str>,
        start: Start,
    ) -> Result<Self, ClientError> {
        let member = group.map(|group| Membership::new(group, topic));
        Self::of(cluster, topic, member, start).await
    }

    /// As [`Consumer::open`], as a member of a group by one of the two protocols.
    ///
    /// # Errors
    /// There is no such topic, no broker answers, or the group is of the other protocol.
    pub async fn join(
        cluster: Cluster,
        topic: &str,
        (group, protocol): (&str, GroupProtocol),
        start: Start,
    ) -> Result<Self, ClientError> {
        let member = match protocol {
            GroupProtocol::Classic => Membership::new(group, topic),
            GroupProtocol::Consumer => Membership::modern(group, topic, &cluster.clock),
        };
        Self::of(cluster, topic, Some(member), start).await
    }

    async fn of(
        mut cluster: Cluster,
        topic: &str,
        membership: Option<Membership>,
        start: Start,
    ) -> Result<Self, ClientError> {
        let known = cluster.topic(topic, true).await?;
        let mut consumer = Self {
            cluster,
            topic: topic.to_owned(),
            start,
            isolation: Isolation::default(),
            auto_commit: true,
            membership,
            positions: BTreeMap::new(),
            ready: VecDeque::new(),
            handed: BTreeMap::new(),
            beaten: Duration::ZERO,
        };
        if consumer.membership.is_some() {
            consumer.enter().await?;
        } else {
            let all = known.leaders.keys().copied().collect();
            consumer.begin(all, &BTreeMap::new()).await?;
        }
        Ok(consumer)
    }

    /// Reads only what is committed from now on, or everything.
    pub const fn set_isolation(&mut self, isolation: Isolation) {
        self.isolation = isolation;
    }

    /// Says how far it has read by itself, every few seconds and at the end, or leaves that to the
    /// caller (`enable.auto.commit`).
    pub const fn set_auto_commit(&mut self, auto_commit: bool) {
        self.auto_commit = auto_commit;
    }

    /// For which member of its group it reads; nobody without a group.
    #[must_use]
    pub fn group_member(&self) -> GroupMember {
        self.membership.as_ref().map(Membership::member).unwrap_or_default()
    }

    /// The partitions that it reads.
    #[must_use]
    pub fn assignment(&self) -> Vec<i32> {
        self.positions.keys().copied().collect()
    }

    /// Behind the last record that was handed out, by partition.
    #[must_use]
    pub const fn handed_out(&self) -> &BTreeMap<i32, Offset> {
        &self.handed
    }

    async fn enter(&mut self) -> Result<(), ClientError> {
        let Some(membership) = &mut self.membership else { return Ok(()) };
        let mine = membership.join(&mut self.cluster).await?;
        let committed = membership.committed(&mut self.cluster, &mine).await?;
        self.ready.clear();
        self.handed.clear();
        self.begin(mine, &committed).await?;
        self.beaten = self.cluster.clock.monotonic();
        Ok(())
    }

    async fn begin(
        &mut self,
        partitions: Vec<i32>,
        committed: &BTreeMap<i32, Offset>,
    ) -> Result<(), ClientError> {
        self.positions.clear();
        self.start_in(partitions, committed).await
    }

    /// Begins to read in further partitions, where the group has come to or else at the start.
    async fn start_in(
        &mut self,
        partitions: Vec<i32>,
        committed: &BTreeMap<i32, Offset>,
    ) -> Result<(), ClientError> {
        for partition in partitions {
            let position = match committed.get(&partition) {
                Some(offset) => *offset,
                None => self.edge(partition, self.start).await?,
            };
            self.positions.insert(partition, position);
        }
        Ok(())
    }

    async fn edge(&mut self, partition: i32, start: Start) -> Result<Offset, ClientError> {
        let known = self.cluster.topic(&self.topic, false).await?;
        let leader = known.leaders.get(&partition).copied().unwrap_or(-1);
        let timestamp = if start == Start::Beginning { -2 } else { -1 };
        let asked =
            ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: self.topic.clone(),
                partitions: vec![asked],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = self.cluster.ask(leader, &request).await?;
        let mut found = response.topics.iter().flat_map(|topic| &topic.partitions);
        let found = found.next();
        let code = found.map_or(-1, |it| it.error_code);
        ClientError::check(code, || format!("{}-{partition}", self.topic))?;
        Ok(found.map_or(0, |it| it.offset))
    }

    /// The next record; `None` if none came within a moment.
    ///
    /// # Errors
    /// Something that does not pass.
    pub async fn poll(&mut self) -> Result<Option<Received>, ClientError> {
        if self.ready.is_empty() {
            self.stay().await?;
            self.fetch().await?;
        }
        let next = self.ready.pop_front();
        if let Some(next) = &next {
            self.handed.insert(next.partition, next.offset + 1);
        }
        Ok(next)
    }

    /// Keeps the membership alive, and says how far the group has come.
    async fn stay(&mut self) -> Result<(), ClientError> {
        let now = self.cluster.clock.monotonic();
        let every = self.membership.as_ref().map_or(Duration::MAX, Membership::interval);
        if now.saturating_sub(self.beaten) < every {
            return Ok(());
        }
        self.beaten = now;
        if self.auto_commit {
            self.commit().await?;
        }
        let Some(membership) = &mut self.membership else { return Ok(()) };
        match membership.heartbeat(&mut self.cluster).await? {
            Beaten::Same => Ok(()),
            Beaten::Out => self.enter().await,
            Beaten::Now(mine) => self.shift(mine).await,
        }
    }

    /// Other partitions are its own from now on; in those that stay it goes on where it is.
    async fn shift(&mut self, mine: Vec<i32>) -> Result<(), ClientError> {
        self.positions.retain(|partition, _| mine.contains(partition));
        self.handed.retain(|partition, _| mine.contains(partition));
        self.ready.retain(|record| mine.contains(&record.partition));
        let fresh: Vec<i32> =
            mine.into_iter().filter(|it| !self.positions.contains_key(it)).collect();
        // At once, so that others need not wait for what was given up.
        self.beaten = Duration::ZERO;
        if fresh.is_empty() {
            return Ok(());
        }
        let Some(membership) = &self.membership else { return Ok(()) };
        let committed = membership.committed(&mut self.cluster, &fresh).await?;
        self.start_in(fresh, &committed).await
    }

    /// Says how far the group has come: behind the last record that was handed out.
    ///
    /// # Errors
    /// The group's coordinator refuses for good.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let Some(membership) = &self.membership else { return Ok(()) };
        match membership.commit(&mut self.cluster, &self.handed).await {
            // The next generation starts from what was committed before.
            Err(ClientError::Refused { code, .. })
                if code != ErrorCode::GROUP_AUTHORIZATION_FAILED =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Commits, if it does that by itself, and leaves the group.
    ///
    /// # Errors
    /// The group's coordinator is gone.
    pub async fn close(mut self) -> Result<(), ClientError> {
        if self.auto_commit {
            self.commit().await?;
        }
        match &mut self.membership {
            Some(membership) => membership.leave(&mut self.cluster).await,
            None => Ok(()),
        }
    }

    /// Reads from every leader once.
    async fn fetch(&mut self) -> Result<(), ClientError> {
        let known = self.cluster.topic(&self.topic, false).await?;
        let mut by_leader: BTreeMap<NodeId, Vec<FetchPartition>> = BTreeMap::new();
        for (partition, offset) in &self.positions {
            let leader = known.leaders.get(partition).copied().unwrap_or(-1);
            by_leader.entry(leader).or_default().push(FetchPartition {
                partition: *partition,
                fetch_offset: *offset,
                partition_max_bytes: FETCH_BYTES,
                ..Default::default()
            });
        }
        if by_leader.is_empty() {
            self.cluster.clock.sleep(MOMENT).await;
        }
        for (leader, partitions) in by_leader {
            let topic = FetchTopic {
                topic: self.topic.clone(),
                topic_id: known.id,
                partitions,
                ..Default::default()
            };
            let request = FetchRequest {
                max_wait_ms: WAIT_MS,
                min_bytes: 1,
                max_bytes: FETCH_BYTES,
                session_epoch: -1,
                isolation_level: i8::from(self.isolation == Isolation::Committed),
                topics: vec![topic],
                ..Default::default()
            };
            match self.cluster.ask(leader, &request).await {
                Ok(response) => {
                    for data in response.responses.into_iter().flat_map(|it| it.partitions) {
                        self.take(data).await?;
                    }
                }
                Err(error) if error.is_passing() => {
                    self.cluster.forget(&self.topic);
                    self.cluster.clock.sleep(MOMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn take(&mut self, data: PartitionData) -> Result<(), ClientError> {
        let partition = data.partition_index;
        let refused = ClientError::check(data.error_code, || format!("{}-{partition}", self.topic));
        match refused {
            Ok(()) => {}
            Err(ClientError::Refused { code: ErrorCode::OFFSET_OUT_OF_RANGE, .. }) => {
                let start = self.edge(partition, self.start).await?;
                self.positions.insert(partition, start);
                return Ok(());
            }
            Err(error) if error.is_passing() => {
                self.cluster.forget(&self.topic);
                self.cluster.clock.sleep(MOMENT).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let from = self.positions.get(&partition).copied().unwrap_or(0);
        let bytes = data.records.unwrap_or_default();
        let mut next = from;
        let mut aborted = data.aborted_transactions.unwrap_or_default();
        aborted.sort_by_key(|it| it.first_offset);
        let mut aborted = aborted.into_iter().peekable();
        let mut aborting = BTreeSet::new();
        for batch in batches(&bytes) {
            // The last batch may be cut; the next fetch brings it whole.
            let Ok(batch) = batch else { break };
            next = batch.next_offset();
            while let Some(it) = aborted.next_if(|it| it.first_offset <= batch.last_offset()) {
                aborting.insert(it.producer_id);
            }
            if batch.is_control() {
                // The transaction has ended, one way or the other; the next may be committed.
                aborting.remove(&batch.producer_id());
                continue;
            }
            if batch.is_transactional() && aborting.contains(&batch.producer_id()) {
                continue;
            }
            for record in batch.unpack(UNPACKED_BYTES_MAX)?.records() {
                let record = record?;
                if record.offset >= from {
                    self.ready.push_back(Received {
                        partition,
                        offset: record.offset,
                        timestamp: record.timestamp,
                        key: record.key.map(Bytes::copy_from_slice),
                        value: record.value.map(Bytes::copy_from_slice),
                    });
                }
            }
        }
        self.positions.insert(partition, next);
        Ok(())
    }
}
