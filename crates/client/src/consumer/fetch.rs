//! Fetching, and taking apart what came.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_records::batches_in;
use ottla_types::{ErrorCode, NodeId, Offset, TopicPartition, Uuid};

use super::{Consumer, Received};
use crate::cluster::MOMENT;
use crate::error::ClientError;
use crate::member::by_topic;
use crate::options::IsolationLevel;

/// What is asked of each leader.
type ByLeader<T> = BTreeMap<NodeId, Vec<T>>;

/// To how many bytes a batch may unpack.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

impl Consumer {
    /// Reads from every leader once.
    pub(super) async fn fetch(&mut self) -> Result<(), ClientError> {
        let mut by_leader: ByLeader<FetchTopic> = ByLeader::new();
        let mut names: BTreeMap<Uuid, String> = BTreeMap::new();
        let wanted = self.positions.iter().filter(|(place, _)| !self.paused.contains(place));
        let wanted = by_topic(wanted.map(|(place, offset)| (place, *offset)));
        for (name, partitions) in wanted {
            let known = match self.cluster.topic(&name, false).await {
                Ok(known) => known,
                Err(ClientError::Refused {
                    code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ..
                }) => {
                    // It was deleted; its group, or who reads it, finds out.
                    continue;
                }
                Err(error) => return Err(error),
            };
            names.insert(known.id, name.clone());
            let mut of_leader: ByLeader<FetchPartition> = ByLeader::new();
            for (partition, fetch_offset) in partitions {
                let leader = known.leaders.get(&partition).copied().unwrap_or(-1);
                of_leader.entry(leader).or_default().push(FetchPartition {
                    partition,
                    fetch_offset,
                    partition_max_bytes: self.options.partition_bytes_max,
                    ..Default::default()
                });
            }
            for (leader, partitions) in of_leader {
                let (topic, topic_id) = (name.clone(), known.id);
                let topic = FetchTopic { topic, topic_id, partitions, ..Default::default() };
                by_leader.entry(leader).or_default().push(topic);
            }
        }
        if by_leader.is_empty() {
            self.cluster.clock.sleep(MOMENT).await;
        }
        for (leader, topics) in by_leader {
            let request = FetchRequest {
                max_wait_ms: self.options.fetch_wait_ms.min(self.wait_ms()),
                min_bytes: self.options.fetch_bytes_min,
                max_bytes: self.options.fetch_bytes_max,
                session_epoch: -1,
                isolation_level: i8::from(self.options.isolation == IsolationLevel::Committed),
                topics,
                rack_id: self.options.rack.clone(),
                ..Default::default()
            };
            match self.cluster.ask(leader, &request).await {
                Ok(response) => self.take_all(response, &names).await?,
                Err(error) if error.is_passing() => {
                    names.values().for_each(|name| self.cluster.forget(name));
                    self.cluster.clock.sleep(MOMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How long a broker may wait for records: no longer than until the next heartbeat.
    fn wait_ms(&self) -> i32 {
        let Some(membership) = &self.membership else { return i32::MAX };
        let since = self.cluster.clock.monotonic().saturating_sub(self.beaten);
        let left = membership.interval().saturating_sub(since).as_millis();
        i32::try_from(left).unwrap_or(i32::MAX).max(1)
    }

    async fn take_all(
        &mut self,
        response: FetchResponse,
        names: &BTreeMap<Uuid, String>,
    ) -> Result<(), ClientError> {
        for topic in response.responses {
            let by_id = names.get(&topic.topic_id).filter(|_| topic.topic.is_empty());
            let name = by_id.unwrap_or(&topic.topic);
            for data in topic.partitions {
                let place = TopicPartition::new(name.as_str(), data.partition_index);
                self.take(place, data).await?;
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        place: TopicPartition,
        data: PartitionData,
    ) -> Result<(), ClientError> {
        match ClientError::check(data.error_code, || place.to_string()) {
            Ok(()) => {}
            Err(ClientError::Refused { code: ErrorCode::OFFSET_OUT_OF_RANGE, .. }) => {
                let start = self.edge(&place, self.options.start).await?;
                self.positions.insert(place, start);
                return Ok(());
            }
            Err(error) if error.is_passing() => {
                self.cluster.forget(&place.topic);
                self.cluster.clock.sleep(MOMENT).await;
                return Ok(());
            }
            Err(error) => return Err(error),
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
