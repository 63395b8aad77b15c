//! Clients of a node. Each does one thing after another, reports to the model what it has seen, and
//! ends what it has begun when the faults are over.

pub mod audit;
pub mod consume;
pub mod members;
pub mod offsets;
pub mod produce;
pub mod topics;
pub mod transact;

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::rc::Rc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_protocol::Request;
use ottla_types::ErrorCode;

use super::model::Model;
use super::wire::{RequestLost, Wire};
use crate::invariant::Invariant;
use crate::random::Dice;
use crate::trace::Trace;

/// Where a history stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientStage {
    /// Things go wrong.
    Faults,
    /// Nothing goes wrong any more: clients end what they have begun.
    Settling,
}

/// A topic of the history.
#[derive(Clone, Debug)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
}

/// What all clients of a history share. All of it is used by one thread.
#[derive(Debug)]
pub struct ClientsShared {
    /// What they have seen.
    pub model: RefCell<Model>,
    /// What has happened.
    pub trace: RefCell<Trace>,
    /// Where the history stands.
    pub stage: Cell<ClientStage>,
    /// How many power cuts there have been that may lose records.
    pub era: Cell<u32>,
    /// The highest offset that members of groups have committed.
    pub offsets: Cell<i64>,
    /// How many clients have not ended yet.
    pub busy: Cell<usize>,
    /// The topics.
    pub topics: Vec<TopicPlan>,
}

impl ClientsShared {
    /// Before anything has happened.
    pub fn new(trace: Trace, topics: Vec<TopicPlan>) -> Self {
        Self {
            model: RefCell::new(Model::default()),
            trace: RefCell::new(trace),
            stage: Cell::new(ClientStage::Faults),
            era: Cell::new(0),
            offsets: Cell::new(0),
            busy: Cell::new(0),
            topics,
        }
    }
}

/// A request that can be written down with its answer.
pub trait Asked: Request<Response: Debug> + Debug {}

impl<R: Request<Response: Debug> + Debug> Asked for R {}

/// A client.
pub struct SimClient {
    /// Its number among the clients.
    pub number: u32,
    /// What it shares with the others.
    pub shared: Rc<ClientsShared>,
    /// Its way to the node.
    pub wire: Wire,
    /// Its clock.
    pub clock: Clock,
    /// When that began.
    pub began: Duration,
    /// Its chance.
    pub dice: Dice,
    /// Does it read in large pieces, without waiting?
    pub is_thorough: bool,
}

/// How long a client does nothing at most between two requests, in milliseconds.
const PAUSE_MS_MAX: u64 = 400;

impl SimClient {
    /// Is it time to end?
    pub fn is_over(&self) -> bool {
        self.shared.stage.get() == ClientStage::Settling
    }

    /// Does nothing for a while.
    pub async fn rest(&mut self) {
        let ms = self.dice.between(1, PAUSE_MS_MAX);
        self.clock.sleep(Duration::from_millis(ms)).await;
    }

    /// One of the topics, and one of its partitions.
    pub fn some_partition(&mut self) -> (String, i32) {
        let topic = &self.shared.topics[self.dice.index(self.shared.topics.len())];
        let partitions = usize::try_from(topic.partitions).unwrap_or(1);
        let partition = i32::try_from(self.dice.index(partitions)).unwrap_or(0);
        (topic.name.clone(), partition)
    }

    /// Connects, if need be.
    ///
    /// # Errors
    /// The node cannot be reached.
    pub async fn connect(&mut self) -> Result<(), RequestLost> {
        self.wire.connect().await
    }

    /// Asks the node, in the era that it is now.
    ///
    /// # Errors
    /// No answer came.
    pub async fn ask<R: Asked>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, RequestLost> {
        self.connect().await?;
        let era = self.shared.era.get();
        self.ask_in(era, request, version).await
    }

    /// Asks the node on the connection that there is, if the era is still that one. An answer of an
    /// earlier era counts as lost: what it says may have been lost, too.
    ///
    /// # Errors
    /// No answer came.
    pub async fn ask_in<R: Asked>(
        &mut self,
        era: u32,
        request: &R,
        version: i16,
    ) -> Result<R::Response, RequestLost> {
        if self.shared.era.get() != era {
            return Err(RequestLost::Broken);
        }
        let mut answered = self.wire.ask(request, version).await;
        if self.shared.era.get() != era {
            answered = Err(RequestLost::Broken);
        }
        let at_ms = self.now_ms();
        let hash = answered.as_ref().map_or(0, |_| self.wire.answer_hash);
        let node = usize::try_from(self.number).unwrap_or(usize::MAX);
        let mut trace = self.shared.trace.borrow_mut();
        trace.event(at_ms, node, &(R::NAME, version, hash));
        match &answered {
            Ok(answer) => trace.note(at_ms, node, || brief_text(&request) + &brief_text(&answer)),
            Err(lost) => {
                trace.note(at_ms, node, || format!("{}\n        {lost}", brief_text(&request)))
            }
        }
        drop(trace);
        match &answered {
            Ok(_) => {
                *self.shared.model.borrow_mut().requests.entry(R::NAME).or_default() += 1;
            }
            Err(RequestLost::Wrong(why)) => {
                self.demand(Invariant::AnswersAreSound, Err(why.clone()));
            }
            Err(_) => {}
        }
        answered
    }

    /// Counts a check, and reports it to the model if it fails.
    pub fn demand(&self, invariant: Invariant, checked: Result<(), String>) {
        let checked = checked.map_err(|why| format!("client {}: {why}", self.number));
        self.shared.model.borrow_mut().demand(self.now_ms(), invariant, checked);
    }

    /// The simulated time, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        u64::try_from((self.clock.monotonic() + self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// A code that no client ought to be given at all.
    pub fn unexpected(&self, what: &str, code: ErrorCode) {
        self.demand(Invariant::AnswersAreSound, Err(format!("{what} is answered {}", code.name())));
    }
}

/// Does this code say that the node is not ready, and that the same request may pass later?
pub fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::NOT_CONTROLLER
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::CONCURRENT_TRANSACTIONS
            | ErrorCode::UNSTABLE_OFFSET_COMMIT
            | ErrorCode::REBALANCE_IN_PROGRESS
    )
}

/// A message without the fields that hardly any has.
fn brief_text(message: &impl Debug) -> String {
    let text = format!("{message:?}");
    let text = text.replace(", unknown_tags: UnknownTags([])", "");
    let text = text.replace("topic_id: AAAAAAAAAAAAAAAAAAAAAA, ", "");
    let shown: String = text.chars().take(BRIEF_CHARS).collect();
    format!("\n        {shown}")
}

/// How much of a message is shown, in characters.
const BRIEF_CHARS: usize = 700;
