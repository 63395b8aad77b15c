//! Fetch sessions (KIP-227): what a consumer fetches, remembered, so that it need not say it again.
//!
//! A session is a list of partitions with the position of each. An incremental request names only
//! what changed; an incremental reply holds only partitions with news.

use ottla_locks::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Uuid};

/// A fetched partition as the client names it: by topic id (v13+) or by topic name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchedPartition {
    /// The topic's id, zero when the client fetches by name.
    pub topic_id: Uuid,
    /// The topic's name, empty when the client fetches by id.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: PartitionIndex,
}

/// From where and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The first offset wanted.
    pub offset: Offset,
    /// The leader epoch the client knows, or -1.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the last record it has, or -1.
    pub last_epoch: LeaderEpoch,
    /// Where the log of a follower starts; -1 of a consumer.
    pub log_start: Offset,
    /// The most bytes of this partition.
    pub bytes_max: i32,
}

/// A partition's state in the last reply; the next reply has it only if it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReply {
    /// The high watermark.
    pub high_watermark: Offset,
    /// The log start.
    pub log_start: Offset,
}

/// Which changes answer a follower's waiting fetch though there are no records for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerNews {
    /// Another start of the log.
    LogStart,
    /// That, and another high watermark: consumers read from the follower (KIP-392).
    LogStartOrWatermark,
}

/// The partitions of a fetch request, after its session was looked up.
#[derive(Debug)]
pub struct FetchPlan {
    /// All partitions to look at, in the order to read them.
    pub wanted: Vec<(FetchedPartition, Position)>,
    /// The session, if there is one.
    pub session: Option<Arc<Mutex<FetchSession>>>,
    /// Does the reply hold only partitions with news?
    pub incremental: bool,
}

/// One client's session.
#[derive(Debug)]
pub struct FetchSession {
    id: i32,
    epoch: i32,
    by_id: bool,
    used: Duration,
    order: Vec<FetchedPartition>,
    tracked: HashMap<FetchedPartition, Tracked>,
}

#[derive(Clone, Copy, Debug)]
struct Tracked {
    position: Position,
    said: Option<LastReply>,
}

/// All sessions of the node.
#[derive(Debug)]
pub struct Sessions {
    slots: usize,
    /// All sessions, by id, to look one up or to make room. A session may be locked while this is
    /// held, never the other way round.
    live: Mutex<BTreeMap<i32, Arc<Mutex<FetchSession>>>>,
}

/// What a request says of its session, and of its partitions.
#[derive(Debug)]
pub struct SessionRequest {
    /// The session's id, 0 for none.
    pub id: i32,
    /// -1: no session; 0: a new one; else the next in order.
    pub epoch: i32,
    /// Does the client name topics by id?
    pub by_id: bool,
    /// Partitions to add or to move.
    pub wanted: Vec<(FetchedPartition, Position)>,
    /// Partitions to drop.
    pub forgotten: Vec<FetchedPartition>,
}

/// A session unused for so long gives its slot to a new one.
const IDLE_MAX: Duration = Duration::from_secs(120);

const SESSIONLESS: i32 = -1;
const NEW: i32 = 0;

impl Sessions {
    /// Room for `slots` sessions (`max.incremental.fetch.session.cache.slots`).
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { slots, live: Mutex::new(BTreeMap::new()) }
    }

    /// Looks the session up, or makes one. `random` draws an id.
    ///
    /// # Errors
    /// The session is gone, its epoch is not the one that was due, or ids and names are mixed.
    pub fn plan(
        &self,
        ask: SessionRequest,
        now: Duration,
        random: impl Fn() -> i32,
    ) -> Result<FetchPlan, ErrorCode> {
        if ask.epoch == SESSIONLESS || ask.epoch == NEW {
            if ask.id != 0 {
                self.live().remove(&ask.id);
            }
            let session = (ask.epoch == NEW).then(|| self.create(&ask, now, random)).flatten();
            return Ok(FetchPlan { wanted: ask.wanted, session, incremental: false });
        }
        let session = self.live().get(&ask.id).cloned();
        let session = session.ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let wanted = {
            let mut state = lock_session(&session);
            if state.epoch != ask.epoch {
                return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
            }
            if state.by_id != ask.by_id {
                return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
            }
            state.epoch = if state.epoch == i32::MAX { 1 } else { state.epoch + 1 };
            state.used = now;
            state.take(&ask.wanted, &ask.forgotten);
            state.wanted()
        };
        if wanted.is_empty() {
            // As in Kafka, a session whose last partition is dropped ends by that.
            self.live().remove(&ask.id);
            return Ok(FetchPlan { wanted: ask.wanted, session: None, incremental: false });
        }
        Ok(FetchPlan { wanted, session: Some(session), incremental: true })
    }

    #[cfg(test)]
    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.live().len()
    }

    fn create(
        &self,
        ask: &SessionRequest,
        now: Duration,
        random: impl Fn() -> i32,
    ) -> Option<Arc<Mutex<FetchSession>>> {
        let mut live = self.live();
        if live.len() >= self.slots {
            let oldest =
                live.iter().map(|(id, session)| (lock_session(session).used, *id)).min()?;
            if now.saturating_sub(oldest.0) < IDLE_MAX {
                return None;
            }
            live.remove(&oldest.1);
        }
        let id = loop {
            let id = random() & i32::MAX;
            if id != 0 && !live.contains_key(&id) {
                break id;
            }
        };
        let mut session = FetchSession {
            id,
            epoch: 1,
            by_id: ask.by_id,
            used: now,
            order: Vec::new(),
            tracked: HashMap::new(),
        };
        session.take(&ask.wanted, &[]);
        let session = Arc::new(Mutex::new(session));
        live.insert(id, Arc::clone(&session));
        Some(session)
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<Mutex<FetchSession>>>> {
        self.live.lock()
    }
}

/// Locks a session; it holds no invariant that a panic could break.
pub fn lock_session(session: &Mutex<FetchSession>) -> MutexGuard<'_, FetchSession> {
    session.lock()
}

impl FetchSession {
    /// The id that the reply names.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Does the reply differ from the last one for `place`? Remembers it.
    pub fn is_news(&mut self, place: &FetchedPartition, said: LastReply) -> bool {
        let Some(tracked) = self.tracked.get_mut(place) else { return true };
        tracked.said.replace(said) != Some(said)
    }

    /// Has a partition's log start moved since the last reply, or its high watermark where that
    /// `counts`?
    #[must_use]
    pub fn is_behind(
        &self,
        place: &FetchedPartition,
        ends: LastReply,
        counts: FollowerNews,
    ) -> bool {
        let said = self.tracked.get(place).and_then(|tracked| tracked.said);
        said.is_some_and(|said| {
            let is_watermark_news = counts == FollowerNews::LogStartOrWatermark
                && said.high_watermark < ends.high_watermark;
            is_watermark_news || said.log_start < ends.log_start
        })
    }

    /// An error is always news, and so is whatever follows it.
    pub fn said_error(&mut self, place: &FetchedPartition) {
        if let Some(tracked) = self.tracked.get_mut(place) {
            tracked.said = None;
        }
    }

    /// Partitions that got bytes go to the end of the line, so that none of them starves.
    pub fn served(&mut self, served: &[FetchedPartition]) {
        if served.len() < self.order.len() && !served.is_empty() {
            self.order.retain(|place| !served.contains(place));
            self.order.extend(served.iter().cloned());
        }
    }

    fn take(&mut self, wanted: &[(FetchedPartition, Position)], forgotten: &[FetchedPartition]) {
        for (place, position) in wanted {
            match self.tracked.get_mut(place) {
                Some(tracked) => tracked.position = *position,
                None => {
                    self.order.push(place.clone());
                    let tracked = Tracked { position: *position, said: None };
                    self.tracked.insert(place.clone(), tracked);
                }
            }
        }
        for place in forgotten {
            if self.tracked.remove(place).is_some() {
                self.order.retain(|kept| kept != place);
            }
        }
    }

    fn wanted(&self) -> Vec<(FetchedPartition, Position)> {
        let position =
            |place: &FetchedPartition| self.tracked.get(place).map(|tracked| tracked.position);
        self.order.iter().filter_map(|place| Some((place.clone(), position(place)?))).collect()
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
