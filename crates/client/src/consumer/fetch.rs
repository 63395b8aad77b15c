//! Fetching, and taking apart what came.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_records::batches_in;
use ottla_types::{ErrorCode, NodeId, Offset, PartitionIndex, TopicPartition, Uuid};

use super::{Consumer, Received};
use crate::client::{Line, SendTerms};
use crate::error::ClientError;
use crate::metadata::IfAbsent;
use crate::options::IsolationLevel;
use crate::partitions::by_topic;

/// What is asked of each leader.
type ByLeader<T> = BTreeMap<NodeId, Vec<T>>;

/// A follower that is read from instead of the leader.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreferredReplica {
    broker: NodeId,
    /// Until when; then the leader is asked again (`metadata.max.age.ms`, as in Kafka).
    until: Duration,
}

/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// How long a broker may wait before it answers.
fn fetch_wait(request: &FetchRequest) -> Duration {
    Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0))
}

impl Consumer {
    /// Reads once from every leader, or the follower that it has named instead.
    pub(super) async fn fetch(&mut self) -> Result<(), ClientError> {
        let mut by_leader: ByLeader<FetchTopic> = ByLeader::new();
        let mut names: BTreeMap<Uuid, String> = BTreeMap::new();
        let wanted = self.positions.iter().filter(|(place, _)| !self.paused.contains(place));
        let wanted = by_topic(wanted.map(|(place, offset)| (place, *offset)));
        for (name, partitions) in wanted {
            let known = match self.client.topic(&name, IfAbsent::Fail).await {
                Ok(known) => known,
                Err(ClientError::Refused {
                    code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ..
                }) => {
                    // The topic was deleted; the group or the caller finds out.
                    continue;
                }
                Err(error) => return Err(error),
            };
            names.insert(known.id, name.clone());
            let mut of_leader: ByLeader<FetchPartition> = ByLeader::new();
            for (partition, fetch_offset) in partitions {
                let leader = known.leaders.get(&partition).copied().unwrap_or(-1);
                let broker = self.preferred_broker(&name, partition).unwrap_or(leader);
                of_leader.entry(broker).or_default().push(FetchPartition {
                    partition,
                    fetch_offset,
                    partition_max_bytes: self.options.partition_bytes_max,
                    ..Default::default()
                });
            }
            for (broker, partitions) in of_leader {
                let (topic, topic_id) = (name.clone(), known.id);
                let topic = FetchTopic { topic, topic_id, partitions, ..Default::default() };
                by_leader.entry(broker).or_default().push(topic);
            }
        }
        if by_leader.is_empty() {
            self.client.pause().await;
        }
        // All leaders at once: each may wait for records.
        let mut replies = Vec::new();
        for (leader, topics) in by_leader {
            let request = self.fetch_request(topics);
            let limit = self.client.options().request_timeout + fetch_wait(&request);
            let terms = SendTerms { line: Line::Fetch, newest: None, limit };
            replies.push(self.client.send_on(leader, &request, terms).await);
        }
        let mut has_failed = false;
        for reply in replies {
            let answer = match reply {
                Ok(reply) => reply.wait().await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(response) => self.accept_all(response, &names).await?,
                Err(error) if error.is_passing() => has_failed = true,
                Err(error) => return Err(error),
            }
        }
        if has_failed {
            self.preferred.clear();
            names.values().for_each(|name| self.client.forget(name));
            self.client.pause().await;
        }
        Ok(())
    }

    /// The follower to read from, if the leader has named one not too long ago.
    fn preferred_broker(&mut self, topic: &str, partition: PartitionIndex) -> Option<NodeId> {
        if self.preferred.is_empty() {
            return None;
        }
        let place = TopicPartition::new(topic, partition);
        let now = self.client.clock().monotonic();
        let PreferredReplica { broker, until } = *self.preferred.get(&place)?;
        if now >= until {
            self.preferred.remove(&place);
            return None;
        }
        Some(broker)
    }

    fn fetch_request(&self, topics: Vec<FetchTopic>) -> FetchRequest {
        FetchRequest {
            max_wait_ms: self.options.fetch_wait_ms.min(self.wait_ms()),
            min_bytes: self.options.fetch_bytes_min,
            max_bytes: self.options.fetch_bytes_max,
            session_epoch: -1,
            isolation_level: i8::from(self.options.isolation == IsolationLevel::Committed),
            topics,
            rack_id: self.options.rack.clone(),
            ..Default::default()
        }
    }

    /// How long a broker may wait for records: no longer than until the next heartbeat.
    fn wait_ms(&self) -> i32 {
        let Some(membership) = &self.membership else { return i32::MAX };
        let since = self.client.clock().monotonic().saturating_sub(self.last_heartbeat);
        let left = membership.interval().saturating_sub(since).as_millis();
        i32::try_from(left).unwrap_or(i32::MAX).max(1)
    }

    async fn accept_all(
        &mut self,
        response: FetchResponse,
        names: &BTreeMap<Uuid, String>,
    ) -> Result<(), ClientError> {
        for topic in response.responses {
            let by_id = names.get(&topic.topic_id).filter(|_| topic.topic.is_empty());
            let name = by_id.unwrap_or(&topic.topic);
            for data in topic.partitions {
                let place = TopicPartition::new(name.as_str(), data.partition_index);
                self.accept(place, data).await?;
            }
        }
        Ok(())
    }

    async fn accept(
        &mut self,
        place: TopicPartition,
        data: PartitionData,
    ) -> Result<(), ClientError> {
        match ClientError::check(data.error_code, || place.to_string()) {
            Ok(()) => {}
            // The leader knows whether it is out of range, or only not there yet.
            Err(ClientError::Refused { code: ErrorCode::OFFSET_OUT_OF_RANGE, .. })
                if self.preferred.remove(&place).is_some() =>
            {
                return Ok(());
            }
            Err(ClientError::Refused { code: ErrorCode::OFFSET_OUT_OF_RANGE, .. }) => {
                let start = self.edge(&place, self.options.start).await?;
                self.positions.insert(place, start);
                return Ok(());
            }
            Err(error) if error.is_passing() => {
                self.preferred.remove(&place);
                self.client.forget(&place.topic);
                self.client.pause().await;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if data.preferred_read_replica >= 0 {
            let until = self.client.clock().monotonic() + self.options.metadata_age;
            let broker = data.preferred_read_replica;
            self.preferred.insert(place, PreferredReplica { broker, until });
            return Ok(());
        }
        let Some(from) = self.positions.get(&place).copied() else { return Ok(()) };
        let next = self.unpack(&place, from, data)?;
        self.positions.insert(place, next);
        Ok(())
    }

    /// Makes records of what came, but of aborted transactions; says where to go on.
    fn unpack(
        &mut self,
        place: &TopicPartition,
        from: Offset,
        data: PartitionData,
    ) -> Result<Offset, ClientError> {
        let bytes = data.records.unwrap_or_default();
        let mut next = from;
        let mut aborted = data.aborted_transactions.unwrap_or_default();
        aborted.sort_by_key(|it| it.first_offset);
        let mut aborted = aborted.into_iter().peekable();
        let mut aborting = BTreeSet::new();
        for batch in batches_in(&bytes) {
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
                if record.offset < from {
                    continue;
                }
                let header = |(name, value): (&[u8], Option<&[u8]>)| {
                    let name = String::from_utf8_lossy(name).into_owned();
                    (name, value.map(Bytes::copy_from_slice))
                };
                self.ready.push_back(Received {
                    place: place.clone(),
                    offset: record.offset,
                    leader_epoch: batch.leader_epoch(),
                    timestamp: record.timestamp,
                    is_append_time: batch.is_append_time(),
                    key: record.key.map(Bytes::copy_from_slice),
                    value: record.value.map(Bytes::copy_from_slice),
                    headers: record.headers().map(header).collect(),
                });
            }
        }
        Ok(next)
    }
}
