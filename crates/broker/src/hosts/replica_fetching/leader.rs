//! Following one leader: fetch, take in, fetch again.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_client::{BrokerLink, ClientError};
use ottla_partitions::{
    FetchedRecords, FollowRefused, FollowerPosition, Interest, LeaderEpochEnd, Partition, Wait,
};
use ottla_protocol::messages::fetch_request::{FetchRequest, ReplicaState};
use ottla_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_types::{ErrorCode, NodeId, Offset};
use tokio::sync::watch;

use super::session::{FetchedKey, LeaderSession, WantedPositions, fetch_topics};
use super::{ByLeader, ReplicaFetching};
use crate::hosts::broker_links::BrokerLinkUse;
use crate::seldom::SeldomWarning;

/// The newest version that a follower fetches with: what later ones have is of no use to it.
const FETCH_VERSION: i16 = 17;
/// After how long a partition that was refused is asked for again, the first time.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// After how long a partition is looked at again that is throttled.
const THROTTLED_AGAIN: Duration = Duration::from_millis(100);
/// After how long a partition is asked for again whose disk refuses records.
const DISK_AGAIN: Duration = Duration::from_secs(10);

/// How long the first fetches of a partition wait for records, while the usual fetch is under way.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The epoch of a fetch that belongs to no session.
const SESSIONLESS: i32 = -1;

/// In ListOffsets: the end of the log, and its start.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Follows one leader.
pub struct LeaderFetcher {
    fetching: Arc<ReplicaFetching>,
    leader: NodeId,
    session: LeaderSession,
    partitions: BTreeMap<FetchedKey, FollowedPartition>,
    /// What is asked for in the next fetch.
    wanted: WantedPositions,
    /// When partitions that are left alone are asked for again. An entry that is not what the
    /// partition says is out of date.
    due: BTreeSet<(Duration, FetchedKey)>,
    changed: watch::Receiver<Arc<ByLeader>>,
    failures: SeldomWarning,
}

/// A partition that is followed.
struct FollowedPartition {
    partition: Partition,
    /// Until when it is left alone.
    until: Option<Duration>,
    /// How often it was refused in a row.
    refusals: u32,
    /// Did it have all that the leader says is committed, when it was answered last? Only one that
    /// did not is throttled.
    has_committed: bool,
}

impl FollowedPartition {
    /// How long it is left alone after this.
    fn pause(&mut self, next: AfterAnswer, longest: Duration) -> Option<Duration> {
        match next {
            AfterAnswer::GoOn => {
                self.refusals = 0;
                None
            }
            AfterAnswer::Wait(pause) => Some(pause),
            AfterAnswer::Refused => {
                let pause = RETRY_AFTER.saturating_mul(1 << self.refusals.min(16));
                self.refusals += 1;
                Some(pause.min(longest))
            }
        }
    }
}

/// What is to be done with a partition after an answer.
enum AfterAnswer {
    /// It goes on from where it is.
    GoOn,
    /// It is left alone for that long.
    Wait(Duration),
    /// It was refused: it waits, the longer the more often.
    Refused,
}

impl LeaderFetcher {
    /// Follows this leader, whatever it leads.
    pub fn new(fetching: &Arc<ReplicaFetching>, leader: NodeId) -> Self {
        let mut changed = fetching.followed.subscribe();
        changed.mark_changed();
        Self {
            fetching: Arc::clone(fetching),
            leader,
            session: LeaderSession::default(),
            partitions: BTreeMap::new(),
            wanted: WantedPositions::default(),
            due: BTreeSet::new(),
            changed,
            failures: SeldomWarning::default(),
        }
    }

    /// Fetches as long as the node runs.
    pub async fn run(mut self) {
        loop {
            self.take_list();
            let now = self.fetching.parts.clock.monotonic();
            let due = self.wake_due(now);
            if self.wanted.is_empty() {
                self.session.lost();
                if self.rest(due).await.is_err() {
                    return;
                }
                continue;
            }
            let Some(link) =
                self.fetching.parts.brokers.link(BrokerLinkUse::Replicating, self.leader)
            else {
                // It comes with the metadata.
                if self.rest(Some(now + self.fetching.parts.rules.backoff)).await.is_err() {
                    return;
                }
                continue;
            };
            match self.fetch(&link).await {
                Ok(response) => self.take_answer(&link, response).await,
                Err(error) => self.fetch_failed(&error).await,
            }
        }
    }

    /// Waits until then, or until other partitions are to be followed.
    async fn rest(&mut self, until: Option<Duration>) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            biased;
            changed = self.changed.changed() => {
                self.changed.mark_changed();
                changed
            }
            () = self.fetching.parts.clock.sleep_until_due(until) => Ok(()),
        }
    }

    /// Takes over which partitions are to be followed, if that may have changed.
    fn take_list(&mut self) {
        if !self.changed.has_changed().unwrap_or(false) {
            return;
        }
        let followed = Arc::clone(&self.changed.borrow_and_update());
        let list = followed.get(&self.leader).map_or(&[][..], |list| list);
        let mut before = std::mem::take(&mut self.partitions);
        self.due.clear();
        for partition in list {
            let key = (partition.topic_id(), partition.index());
            let known = before.remove(&key).filter(|it| it.partition.is_same(partition));
            // Another leader epoch is a reason to ask again.
            let followed = known.unwrap_or_else(|| FollowedPartition {
                partition: partition.clone(),
                until: None,
                refusals: 0,
                has_committed: false,
            });
            self.partitions.insert(key, FollowedPartition { until: None, ..followed });
            self.look_again(key);
        }
        for key in before.into_keys() {
            self.wanted.leave(key);
        }
    }

    /// Where the partition goes on now.
    fn look_again(&mut self, key: FetchedKey) {
        let (leader, parts) = (self.leader, &self.fetching.parts);
        if let Some(followed) = self.partitions.get_mut(&key)
            && followed.until.is_none()
            && !followed.has_committed
            && followed.partition.throttled().as_follower
            && parts.quotas.following.is_exceeded()
        {
            let again = parts.clock.monotonic() + THROTTLED_AGAIN;
            followed.until = Some(again);
            self.due.insert((again, key));
        }
        let followed = self.partitions.get(&key).filter(|it| it.until.is_none());
        let position = followed.and_then(|it| it.partition.position());
        match position.filter(|it| it.leader == leader) {
            Some(position) => self.wanted.want(key, position),
            None => self.wanted.leave(key),
        }
    }

    /// Asks again for what was left alone until now; says until when the next one is.
    fn wake_due(&mut self, now: Duration) -> Option<Duration> {
        while let Some((until, key)) = self.due.first().copied() {
            if until > now {
                return Some(until);
            }
            self.due.pop_first();
            let followed = self.partitions.get_mut(&key);
            if let Some(followed) = followed.filter(|it| it.until == Some(until)) {
                followed.until = None;
                self.look_again(key);
            }
        }
        None
    }

    /// One fetch of all that is followed. While it waits for records, partitions that have begun to
    /// be followed since are fetched beside it: or the first records of a topic, and those after
    /// the loss of a leader, would wait for as long.
    async fn fetch(&mut self, link: &BrokerLink) -> Result<FetchResponse, ClientError> {
        let rules = self.fetching.parts.rules;
        let session = self.session.next(&mut self.wanted, rules.partition_bytes_max);
        let request = FetchRequest {
            session_id: session.id,
            session_epoch: session.epoch,
            topics: session.topics,
            forgotten_topics_data: session.forgotten,
            ..self.request(rules.wait_max)
        };
        let sent = link.send(&request, Some(FETCH_VERSION), rules.answer_limit).await?;
        let mut answered = pin!(sent.wait());
        let mut changed = self.changed.clone();
        loop {
            let clock = self.fetching.parts.clock.clone();
            let due = self.wake_due(clock.monotonic());
            let fresh = self.fresh();
            tokio::select! {
                biased;
                answer = &mut answered => return answer,
                news = changed.changed() => {
                    if news.is_err() {
                        return answered.await;
                    }
                    self.changed.mark_changed();
                    self.take_list();
                }
                () = clock.sleep_until_due(due) => {}
                first = self.fetch_first(&fresh), if !fresh.is_empty() => {
                    let Some((link, response)) = first else {
                        // The usual fetch finds out what is wrong.
                        clock.sleep(RETRY_AFTER).await;
                        continue;
                    };
                    self.take_partitions(&link, response, |key| fresh.get(key).copied()).await;
                }
            }
        }
    }

    /// A request without partitions.
    fn request(&self, wait_max: Duration) -> FetchRequest {
        let parts = &self.fetching.parts;
        let replica_epoch = parts.cluster.load().broker(parts.id).map_or(-1, |it| it.epoch);
        let replica_state =
            ReplicaState { replica_id: parts.id, replica_epoch, ..Default::default() };
        FetchRequest {
            replica_state,
            max_wait_ms: i32::try_from(wait_max.as_millis()).unwrap_or(i32::MAX),
            min_bytes: parts.rules.bytes_min,
            max_bytes: parts.rules.bytes_max,
            ..Default::default()
        }
    }

    /// What the fetch that is under way does not ask for, or not as it is now.
    fn fresh(&self) -> BTreeMap<FetchedKey, FollowerPosition> {
        let is_fresh = |it: &(FetchedKey, FollowerPosition)| self.session.told(&it.0) != Some(it.1);
        self.wanted.changed().filter(is_fresh).collect()
    }

    /// Fetches some partitions, outside of the session; `None` if the leader does not answer.
    async fn fetch_first(
        &self,
        fresh: &BTreeMap<FetchedKey, FollowerPosition>,
    ) -> Option<(BrokerLink, FetchResponse)> {
        let parts = &self.fetching.parts;
        let link = parts.brokers.link(BrokerLinkUse::ReplicatingFirst, self.leader)?;
        let topics = fetch_topics(fresh, parts.rules.partition_bytes_max);
        let wait_max = FIRST_WAIT.min(parts.rules.wait_max);
        let request = FetchRequest { session_epoch: SESSIONLESS, topics, ..self.request(wait_max) };
        let limit = parts.rules.answer_limit;
        let response = link.ask(&request, Some(FETCH_VERSION), limit).await.ok()?;
        (response.error_code == 0).then_some((link, response))
    }

    async fn fetch_failed(&mut self, error: &ClientError) {
        self.session.reset();
        let parts = &self.fetching.parts;
        parts.peers.suspect(self.leader);
        if let Some(count) = self.failures.count(parts.clock.monotonic()) {
            let (broker, partitions) = (self.leader, self.partitions.len());
            tracing::warn!(
                broker,
                partitions,
                %error,
                count,
                "replica fetch failed: leader not reached; retrying"
            );
        }
        let until = parts.clock.monotonic() + RETRY_AFTER;
        // A closed channel ends the task at its next rest.
        let _ = self.rest(Some(until)).await;
    }

    async fn take_answer(&mut self, link: &BrokerLink, response: FetchResponse) {
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => self.session.answered(response.session_id),
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND => return self.session.lost(),
            code => {
                self.session.reset();
                let is_usual = matches!(
                    code,
                    ErrorCode::INVALID_FETCH_SESSION_EPOCH
                        | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
                );
                if !is_usual {
                    let why = ClientError::Refused { code, what: "Fetch".to_owned() };
                    self.fetch_failed(&why).await;
                }
                return;
            }
        }
        let session = std::mem::take(&mut self.session);
        self.take_partitions(link, response, |key| session.told(key)).await;
        self.session = session;
    }

    /// Takes in an answer to what was `asked` of each partition.
    async fn take_partitions(
        &mut self,
        link: &BrokerLink,
        response: FetchResponse,
        asked: impl Fn(&FetchedKey) -> Option<FollowerPosition>,
    ) {
        for topic in response.responses {
            for data in topic.partitions {
                let key = (topic.topic_id, data.partition_index);
                let Some(asked) = asked(&key) else { continue };
                let Some(followed) = self.partitions.get(&key) else { continue };
                let partition = followed.partition.clone();
                let next = self.take_partition(link, &partition, asked, &data).await;
                self.count_taken(key, &data);
                self.go_on(key, next);
            }
        }
    }

    /// Notes whether a replica has caught up, and counts what was copied if it is throttled.
    fn count_taken(&mut self, key: FetchedKey, data: &PartitionData) {
        if let Some(followed) = self.partitions.get_mut(&key) {
            if data.error_code == 0 {
                followed.has_committed = followed.partition.ends().log_end >= data.high_watermark;
            }
            if followed.partition.throttled().as_follower {
                let bytes = data.records.as_ref().map_or(0, Bytes::len);
                self.fetching.parts.quotas.following.count_copied(bytes);
            }
        }
    }

    fn go_on(&mut self, key: FetchedKey, next: AfterAnswer) {
        let now = self.fetching.parts.clock.monotonic();
        let longest = self.fetching.parts.rules.backoff;
        if let Some(followed) = self.partitions.get_mut(&key) {
            let pause = followed.pause(next, longest);
            followed.until = pause.map(|pause| now + pause);
            self.due.extend(followed.until.map(|until| (until, key)));
        }
        self.look_again(key);
    }

    async fn take_partition(
        &self,
        link: &BrokerLink,
        partition: &Partition,
        asked: FollowerPosition,
        data: &PartitionData,
    ) -> AfterAnswer {
        match ErrorCode(data.error_code) {
            ErrorCode::NONE => {}
            ErrorCode::OFFSET_OUT_OF_RANGE => return self.find_place(link, partition, asked).await,
            code => {
                let name = partition.name();
                tracing::debug!(
                    partition = %name,
                    leader = self.leader,
                    error = code.name(),
                    "replica fetch refused; retrying"
                );
                return AfterAnswer::Refused;
            }
        }
        if data.diverging_epoch.epoch >= 0 {
            let (epoch, end) = (data.diverging_epoch.epoch, data.diverging_epoch.end_offset);
            let leader = LeaderEpochEnd { epoch, end };
            let cut = self.fetching.parts.partitions.cut_to_leader(partition, asked, leader).await;
            return self.was_cut(partition, asked, cut);
        }
        let records = data.records.clone().unwrap_or_default();
        let fetched = FetchedRecords {
            leader_epoch: asked.leader_epoch,
            offset: asked.end,
            records: &records,
            high_watermark: data.high_watermark,
            log_start: data.log_start_offset,
        };
        let taken = partition.append_fetched(&fetched, self.fetching.parts.clock.wall_ms());
        match taken {
            Ok(()) => {
                wait_for_disk(partition).await;
                AfterAnswer::GoOn
            }
            Err(refused) => self.refused(partition, asked, &refused),
        }
    }

    fn was_cut(
        &self,
        partition: &Partition,
        asked: FollowerPosition,
        cut: Result<Offset, FollowRefused>,
    ) -> AfterAnswer {
        match cut {
            Ok(end) => {
                let (name, leader, leader_epoch) =
                    (partition.name(), self.leader, asked.leader_epoch);
                tracing::info!(
                    partition = %name,
                    leader,
                    leader_epoch,
                    before = asked.end,
                    end,
                    "replica truncated to the leader's log"
                );
                AfterAnswer::GoOn
            }
            Err(refused) => self.refused(partition, asked, &refused),
        }
    }

    fn refused(
        &self,
        partition: &Partition,
        asked: FollowerPosition,
        refused: &FollowRefused,
    ) -> AfterAnswer {
        match refused {
            FollowRefused::Outdated => AfterAnswer::GoOn,
            FollowRefused::Moving => AfterAnswer::Refused,
            FollowRefused::Storage(_) => AfterAnswer::Wait(DISK_AGAIN),
            FollowRefused::Broken(_) | FollowRefused::Discontinuous(_) => {
                let (name, leader, offset) = (partition.name(), self.leader, asked.end);
                tracing::error!(
                    partition = %name,
                    leader,
                    offset,
                    error = %refused,
                    "replica fetch brought records that do not continue this log; retrying"
                );
                AfterAnswer::Refused
            }
        }
    }

    /// The leader's log has no such offset: it ends before this one, or starts behind it.
    async fn find_place(
        &self,
        link: &BrokerLink,
        partition: &Partition,
        asked: FollowerPosition,
    ) -> AfterAnswer {
        let Ok(end) = self.leader_offset(link, partition, asked, LATEST).await else {
            return AfterAnswer::Refused;
        };
        if end < asked.end {
            let name = partition.name();
            tracing::warn!(
                partition = %name,
                leader = self.leader,
                leader_end = end,
                end = asked.end,
                "replica has more records than its leader; they are truncated"
            );
            let cut = self.fetching.parts.partitions.cut_to(partition, asked, end).await;
            return self.was_cut(partition, asked, cut);
        }
        match self.leader_offset(link, partition, asked, EARLIEST).await {
            Ok(start) if start > asked.end => {
                let name = partition.name();
                tracing::warn!(
                    partition = %name,
                    leader = self.leader,
                    leader_start = start,
                    end = asked.end,
                    "leader has deleted what this replica lacks; the replica starts over"
                );
                let started =
                    self.fetching.parts.partitions.start_over(partition, asked, start).await;
                match started {
                    Ok(()) => AfterAnswer::GoOn,
                    Err(refused) => self.refused(partition, asked, &refused),
                }
            }
            // It has the offset by now.
            Ok(_) => AfterAnswer::GoOn,
            Err(_) => AfterAnswer::Refused,
        }
    }

    async fn leader_offset(
        &self,
        link: &BrokerLink,
        partition: &Partition,
        asked: FollowerPosition,
        timestamp: i64,
    ) -> Result<Offset, ErrorCode> {
        let wanted = ListOffsetsPartition {
            partition_index: partition.index(),
            current_leader_epoch: asked.leader_epoch,
            timestamp,
            ..Default::default()
        };
        let topic = ListOffsetsTopic {
            name: partition.topic().to_owned(),
            partitions: vec![wanted],
            ..Default::default()
        };
        let request = ListOffsetsRequest {
            replica_id: self.fetching.parts.id,
            topics: vec![topic],
            ..Default::default()
        };
        let limit = self.fetching.parts.rules.answer_limit;
        let asked = link.ask(&request, None, limit).await;
        let response = asked.map_err(|_| ErrorCode::NETWORK_EXCEPTION)?;
        let mut found = response.topics.iter().flat_map(|topic| &topic.partitions);
        let found = found.next().ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        ErrorCode(found.error_code).check().map(|()| found.offset)
    }
}

/// With `flush.messages=1` a follower has only what is durable.
async fn wait_for_disk(partition: &Partition) {
    if !partition.awaits_disk() {
        return;
    }
    let mut wait = Wait::new();
    wait.add(partition.progress(), Interest::Durable);
    while partition.awaits_disk() {
        wait.moved().await;
    }
}
