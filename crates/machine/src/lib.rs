//! The shape of a replicated state machine, and its test kit.
//!
//! A machine is driven by a host, in turns. This is their order, for groups, transactions and the
//! controller alike:
//!
//! 1. **decide**: the host hands over a command and the time; [`Machine::decide`] answers with
//!    records, replies and timers in a [`Turn`].
//! 2. **append**: the host appends the records to a journal. If that is refused, the decision is
//!    taken back with [`Machine::restore`]; if it is unknown what was written, the machine is
//!    lost.
//! 3. **apply**: [`Machine::apply`] changes the machine, record by record. What it knows is ahead
//!    of what has committed.
//! 4. **commit**: when the journal has committed the records, the replies leave.
//!
//! A new leader, or a restart, feeds the journal's records to [`Machine::apply`], and nothing else
//! is needed to restore the machine's state.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use ottla_types::{NodeId, Offset, TimestampMs};

/// A replicated state machine: `decide` looks, `apply` changes.
pub trait Machine {
    /// What the machine is to do: a client's request, a timer that fired, a change from outside.
    type Command;
    /// What it writes to its journal; its only durable output.
    type Record;
    /// The answer to a command.
    type Reply;
    /// What a timer is set for; a timer set again under the same name replaces the earlier one.
    type Timer: Ord + Clone;
    /// What [`Machine::decide`] itself may change: what only this leader knows, such as members
    /// between two generations, and what a load does not bring back. `()` if there is nothing.
    type Volatile: Clone;
    /// What an operator decides about the machine. It is in no record: the host hands it over when
    /// the machine is loaded, and whenever it changes. `()` if there is nothing.
    type Settings;

    /// Takes new settings over; decisions follow them from the next one on.
    fn set_settings(&mut self, settings: Self::Settings);

    /// Turns a command into records, replies and timers. Must not touch durable state: it may
    /// count on `apply` being called with each record of the turn before the next `decide`, or on
    /// `restore`, when the journal has refused them.
    fn decide(&mut self, command: Self::Command, turn: &mut Turn<Self>);

    /// Changes durable state. Never fails: a record in the log is a fact.
    fn apply(&mut self, record: &Self::Record);

    /// Asserts what must hold after every turn, once its `records` are applied. It may look at what
    /// the records have changed, and in debug builds at everything. What is in a log, which another
    /// implementation may have written, or in a request is no reason to panic.
    fn check_turn(&self, _records: &[Self::Record]) {}

    /// The command that a timer becomes when it fires.
    fn expired(timer: Self::Timer) -> Self::Command;

    /// A copy of what decisions may change, to take one back with [`Machine::restore`].
    fn volatile(&self) -> Self::Volatile;

    /// Takes decisions back that were made since this copy, and whose records were not written.
    fn restore(&mut self, before: Self::Volatile);
}

/// A request waiting for its answer. The host draws it; the machine only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the machine wants of a timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm<T> {
    /// Fire at `at_ms` (wall clock); replaces an earlier alarm of the same name.
    Set {
        /// Which timer.
        timer: T,
        /// When, in wall-clock milliseconds.
        at_ms: TimestampMs,
    },
    /// Fire at `at_ms`, unless an alarm of this name is already set.
    Start {
        /// Which timer.
        timer: T,
        /// When, in wall-clock milliseconds.
        at_ms: TimestampMs,
    },
    /// Forget it, if it was set.
    Cancel {
        /// Which timer.
        timer: T,
    },
}

/// One command's way through a machine: what comes in beside it, and what goes out.
#[derive(Debug)]
pub struct Turn<M: Machine + ?Sized> {
    /// Now, in wall-clock milliseconds.
    pub now_ms: TimestampMs,
    /// The request that this command stands for.
    pub ticket: Ticket,
    /// The offset that the first of `records` will get.
    pub base_offset: Offset,
    /// To be appended as one atomic batch, in this order.
    pub records: Vec<M::Record>,
    /// Each for the ticket of this or *any* earlier request. They leave when `records` have
    /// committed; without records, when all that was appended before has.
    pub replies: Vec<(Ticket, M::Reply)>,
    /// Timers to set and to cancel, in order.
    pub alarms: Vec<Alarm<M::Timer>>,
    /// What the host is to write into its log, for operators.
    pub notes: Vec<Note>,
}

/// A log event. A machine does not log; its host does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// About a group.
    Group {
        /// What has happened, such as `group rebalance started`.
        event: &'static str,
        /// To which group.
        group: String,
        /// Its generation, or its epoch.
        generation: i32,
        /// How many members it has.
        members: usize,
        /// Why.
        reason: String,
    },
    /// About a broker.
    Broker {
        /// What has happened, such as `broker fenced`.
        event: &'static str,
        /// To which broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
        /// Why.
        reason: String,
    },
}

impl<M: Machine + ?Sized> Turn<M> {
    /// A turn at `now_ms` for `ticket`, with nothing in it yet; its journal is empty, unless the
    /// host says where it ends ([`Turn::base_offset`]).
    #[must_use]
    pub fn new(now_ms: TimestampMs, ticket: Ticket) -> Self {
        Self {
            now_ms,
            ticket,
            base_offset: 0,
            records: Vec::new(),
            replies: Vec::new(),
            alarms: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Write `record` down.
    pub fn record(&mut self, record: M::Record) {
        self.records.push(record);
    }

    /// Answer the request of this turn.
    pub fn reply(&mut self, reply: M::Reply) {
        self.replies.push((self.ticket, reply));
    }

    /// Answer an earlier request.
    pub fn reply_to(&mut self, ticket: Ticket, reply: M::Reply) {
        self.replies.push((ticket, reply));
    }

    /// Fire `timer` in `delay_ms` from now.
    pub fn set_timer(&mut self, timer: M::Timer, delay_ms: i64) {
        let at_ms = self.now_ms.saturating_add(delay_ms);
        self.alarms.push(Alarm::Set { timer, at_ms });
    }

    /// Fire `timer` in `delay_ms` from now, unless it is set already.
    pub fn start_timer(&mut self, timer: M::Timer, delay_ms: i64) {
        let at_ms = self.now_ms.saturating_add(delay_ms);
        self.alarms.push(Alarm::Start { timer, at_ms });
    }

    /// Forget `timer`, if it was set.
    pub fn cancel_timer(&mut self, timer: M::Timer) {
        self.alarms.push(Alarm::Cancel { timer });
    }
}

/// Declares which reply holds which type of answer, so that a caller names the type of the answer
/// and not the reply: `answers! { Reply { Sum(sum) => u64 = sum; Done => () = (); } }`.
#[macro_export]
macro_rules! answers {
    ($reply:ident { $($variant:ident $(($($held:ident),+))? => $answer:ty = $value:expr;)+ }) => {
        $(impl TryFrom<$reply> for $answer {
            type Error = $reply;

            fn try_from(reply: $reply) -> Result<Self, $reply> {
                match reply {
                    $reply::$variant $(($($held),+))? => Ok($value),
                    other => Err(other),
                }
            }
        })+
    };
}

/// The answer that a reply holds.
///
/// # Panics
/// The reply is that to another command: a mistake in the machine, which no client can cause.
#[must_use]
pub fn expect_reply<T, R: Debug>(reply: R) -> T
where
    T: TryFrom<R, Error = R>,
{
    T::try_from(reply).unwrap_or_else(|other| unreachable!("a reply of another kind: {other:?}"))
}

pub mod testkit;
