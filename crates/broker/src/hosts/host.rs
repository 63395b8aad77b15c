//! Runs one machine on one journal: decide, append, apply, answer when committed.
//!
//! A turn runs where the request is served, under the host's lock; the journal's append is part of
//! it. Replies wait here until what they rest on has committed. The task that fires timers and
//! watches commits sleeps until the first timer is due; a turn that sets an earlier one, or writes
//! what is not committed yet, wakes it.
//!
//! An append that is refused fails the request that wanted it, and nothing else: the decision is
//! taken back. An append of which it is unknown whether it was written unloads the machine, since
//! only the journal shows which of the two is true; every request that waits is answered.

use ottla_locks::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audit;
use ottla_clock::Clock;
use ottla_machine::{Alarm, Machine, Ticket, Turn};
use ottla_types::{Offset, TimestampMs};
use tokio::sync::{Notify, oneshot};

/// Where a machine's records go: a partition of an internal topic, or the metadata quorum.
pub trait Journal<R> {
    /// Why a record could not be written.
    type Error: std::fmt::Display;

    /// Does it take records now, as far as is known before the append?
    fn accepts(&self) -> bool;

    /// Writes `records` as one atomic batch at `base`, the journal's end when they were decided;
    /// returns its end after them.
    ///
    /// # Errors
    /// Nothing was written, or it is unknown whether it was.
    fn append(
        &mut self,
        records: &[R],
        base: Offset,
        now_ms: TimestampMs,
    ) -> Result<Offset, AppendFailed<Self::Error>>;

    /// The journal's end.
    fn end(&self) -> Offset;

    /// Up to where replies may rest on it: everything below is committed. `Offset::MIN` if its
    /// records may be others by now.
    fn committed(&self) -> Offset;

    /// Writes into the node's log that an append was refused; nothing was written.
    fn log_refused(&self, error: &Self::Error);

    /// Logs that an append failed, and that the machine is unloaded for it.
    fn log_failed(&self, error: &Self::Error);
}

/// The task that fires a host's timers and watches its commits.
pub trait Wake: std::fmt::Debug + Send + Sync {
    /// Lets it look at once. It may be called while the host's lock is held.
    fn wake(&self);

    /// Something was appended that has not committed yet, and may be waited for. Called as
    /// [`Wake::wake`] is.
    fn watch_commit(&self) {
        self.wake();
    }
}

impl Wake for Notify {
    fn wake(&self) {
        self.notify_one();
    }
}

/// Why a journal has not appended records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFailed<E> {
    /// It refuses them: nothing was written.
    Refused(E),
    /// They, or some of them, may have been written.
    Unknown(E),
}

/// Why a command gets no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered<E> {
    /// The machine is not here any more: it was unloaded, or lost its journal.
    Lost,
    /// The journal refuses the records of the decision, which was taken back.
    Refused(E),
}

/// After how long a timer fires again whose records were refused, in milliseconds.
const REFUSED_AGAIN_MS: i64 = 500;

/// One machine, its journal, its timers, and the requests that wait for it.
pub struct Host<M: Machine, J> {
    clock: Clock,
    /// Set once, under the lock of `inner`; a read that comes too early finds the lost machine
    /// itself.
    is_lost: AtomicBool,
    /// The machine and its journal: one turn at a time, its append included.
    inner: Mutex<HostInner<M, J>>,
}

/// Replies of one turn, and the journal's end that they wait for.
type Parked<M> = (Offset, Vec<(Ticket, <M as Machine>::Reply)>);

struct HostInner<M: Machine, J> {
    machine: M,
    journal: J,
    is_lost: bool,
    /// Is the last append known to have gone well? If not, the next decision can be taken back.
    /// That takes a copy of the machine's volatile part, too expensive for every turn.
    is_trusted: bool,
    /// Was the last append refused? Then the log says so already.
    is_refused: bool,
    tickets: u64,
    asking: BTreeMap<Ticket, oneshot::Sender<M::Reply>>,
    parked: VecDeque<Parked<M>>,
    timers: Timers<M::Timer>,
    /// The task that fires timers and watches commits.
    wake: Arc<dyn Wake>,
    /// When that task is going to look next, as far as this host is concerned.
    awaited_ms: TimestampMs,
}

/// Timers and when each is due.
struct Timers<T> {
    due_ms: BTreeMap<T, TimestampMs>,
    /// The same, the first one first.
    in_order: BTreeSet<(TimestampMs, T)>,
}

impl<T: Ord + Clone> Timers<T> {
    const fn new() -> Self {
        Self { due_ms: BTreeMap::new(), in_order: BTreeSet::new() }
    }

    fn set(&mut self, timer: T, at_ms: TimestampMs) {
        self.cancel(&timer);
        self.in_order.insert((at_ms, timer.clone()));
        self.due_ms.insert(timer, at_ms);
    }

    /// Sets a timer, unless it is set already.
    fn start(&mut self, timer: T, at_ms: TimestampMs) {
        if !self.due_ms.contains_key(&timer) {
            self.set(timer, at_ms);
        }
    }

    fn cancel(&mut self, timer: &T) {
        if let Some(at_ms) = self.due_ms.remove(timer) {
            self.in_order.remove(&(at_ms, timer.clone()));
        }
    }

    fn next_ms(&self) -> Option<TimestampMs> {
        self.in_order.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes out the first timer, if it is due.
    fn take_due(&mut self, now_ms: TimestampMs) -> Option<T> {
        self.next_ms().filter(|at_ms| *at_ms <= now_ms)?;
        let (_, timer) = self.in_order.pop_first()?;
        self.due_ms.remove(&timer);
        Some(timer)
    }

    fn clear(&mut self) {
        self.due_ms.clear();
        self.in_order.clear();
    }
}

impl<M: Machine, J> std::fmt::Debug for Host<M, J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

impl<M: Machine, J: Journal<M::Record>> Host<M, J> {
    /// A host for `machine`, whose state is that of `journal`'s end. `wake` is for the task that
    /// calls [`Host::fire`] and [`Host::committed`]: a timer is due earlier than `fire` has said,
    /// there is something to commit, or the machine is lost.
    pub fn new(clock: Clock, machine: M, journal: J, wake: Arc<dyn Wake>) -> Self {
        let inner = HostInner {
            machine,
            journal,
            is_lost: false,
            is_trusted: false,
            is_refused: false,
            tickets: 0,
            asking: BTreeMap::new(),
            parked: VecDeque::new(),
            timers: Timers::new(),
            wake,
            awaited_ms: TimestampMs::MAX,
        };
        Self { clock, is_lost: AtomicBool::new(false), inner: Mutex::new(inner) }
    }

    /// Runs `command` at once; the answer arrives when what it rests on has committed.
    ///
    /// # Errors
    /// The machine is gone, now or before it could answer, or its records are refused.
    pub async fn ask(&self, command: M::Command) -> Result<M::Reply, Unanswered<J::Error>> {
        let answer = self.start(command)?;
        answer.await.map_err(|_| Unanswered::Lost)
    }

    /// Like [`Host::ask`], for a caller that waits elsewhere.
    ///
    /// # Errors
    /// The machine is gone, or its records are refused.
    pub fn start(
        &self,
        command: M::Command,
    ) -> Result<oneshot::Receiver<M::Reply>, Unanswered<J::Error>> {
        let (sender, answer) = oneshot::channel();
        self.turn(&mut self.lock(), command, Some(sender))?;
        Ok(answer)
    }

    /// Runs a command without waiting for a reply.
    ///
    /// # Errors
    /// The machine is gone, or its records are refused.
    pub fn tell(&self, command: M::Command) -> Result<(), Unanswered<J::Error>> {
        self.turn(&mut self.lock(), command, None)
    }

    fn turn(
        &self,
        inner: &mut HostInner<M, J>,
        command: M::Command,
        asker: Option<oneshot::Sender<M::Reply>>,
    ) -> Result<(), Unanswered<J::Error>> {
        let done = inner.run(command, asker, self.clock.wall_ms());
        if inner.is_lost {
            self.is_lost.store(true, Ordering::Release);
        }
        done
    }

    /// Hands new settings to the machine. One that is lost gets them when it is loaded again.
    pub fn set_settings(&self, settings: M::Settings) {
        self.lock().machine.set_settings(settings);
    }

    /// Fires every timer that is due; returns when the next one is.
    pub fn fire(&self) -> Option<TimestampMs> {
        let mut inner = self.lock();
        let now_ms = self.clock.wall_ms();
        while let Some(timer) = inner.timers.take_due(now_ms) {
            match self.turn(&mut inner, M::expired(timer.clone()), None) {
                Ok(()) => {}
                Err(Unanswered::Lost) => return None,
                Err(Unanswered::Refused(_)) => {
                    inner.timers.set(timer, now_ms.saturating_add(REFUSED_AGAIN_MS));
                }
            }
        }
        let next_ms = inner.timers.next_ms();
        inner.awaited_ms = next_ms.unwrap_or(TimestampMs::MAX);
        next_ms
    }

    /// The journal may have committed more: answers the requests that waited for it.
    pub fn committed(&self) {
        self.lock().release();
    }

    /// Do requests wait for a commit?
    pub fn awaits_commit(&self) -> bool {
        !self.lock().parked.is_empty()
    }

    /// Looks at the journal.
    pub fn look_at_journal<T>(&self, look: impl FnOnce(&J) -> T) -> T {
        look(&self.lock().journal)
    }

    /// Has the machine lost its journal, or was it unloaded?
    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Ends the machine: every request that waits is answered, and every later one refused.
    pub fn unload(&self) {
        self.lock().lose();
        self.is_lost.store(true, Ordering::Release);
    }

    /// Looks at the machine between two turns.
    #[cfg(test)]
    pub fn look<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.lock().machine)
    }

    fn lock(&self) -> MutexGuard<'_, HostInner<M, J>> {
        self.inner.lock()
    }
}

impl<M: Machine, J: Journal<M::Record>> HostInner<M, J> {
    fn run(
        &mut self,
        command: M::Command,
        asker: Option<oneshot::Sender<M::Reply>>,
        now_ms: TimestampMs,
    ) -> Result<(), Unanswered<J::Error>> {
        if self.is_lost {
            return Err(Unanswered::Lost);
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if let Some(asker) = asker {
            self.asking.insert(ticket, asker);
        }
        let mut turn = Turn::new(now_ms, ticket);
        turn.base_offset = self.journal.end();
        let is_trusted = self.is_trusted && self.journal.accepts();
        let before = (!is_trusted).then(|| self.machine.volatile());
        self.machine.decide(command, &mut turn);
        let end = if turn.records.is_empty() {
            turn.base_offset
        } else {
            match self.journal.append(&turn.records, turn.base_offset, now_ms) {
                Ok(end) => {
                    (self.is_trusted, self.is_refused) = (true, false);
                    end
                }
                Err(failed) => {
                    self.asking.remove(&ticket);
                    return Err(self.take_back(failed, before));
                }
            }
        };
        for record in &turn.records {
            self.machine.apply(record);
        }
        self.machine.check_turn(&turn.records);
        turn.notes.iter().for_each(audit::log_note);
        for alarm in turn.alarms {
            match alarm {
                Alarm::Set { timer, at_ms } => self.timers.set(timer, at_ms),
                Alarm::Start { timer, at_ms } => self.timers.start(timer, at_ms),
                Alarm::Cancel { timer } => self.timers.cancel(&timer),
            }
        }
        if !turn.replies.is_empty() {
            self.parked.push_back((end, turn.replies));
        }
        self.release();
        let next_ms = self.timers.next_ms().unwrap_or(TimestampMs::MAX);
        if next_ms < self.awaited_ms {
            self.awaited_ms = next_ms;
            self.wake.wake();
        }
        if self.journal.committed() < end {
            self.wake.watch_commit();
        }
        Ok(())
    }

    fn release(&mut self) {
        let committed = self.journal.committed();
        while let Some((_, replies)) = self.parked.pop_front_if(|(end, _)| *end <= committed) {
            for (ticket, reply) in replies {
                if let Some(asker) = self.asking.remove(&ticket) {
                    // A client that disconnected meanwhile needs no answer.
                    let _ = asker.send(reply);
                }
            }
        }
    }

    /// The records of a decision were not appended: it is taken back, or the machine is lost.
    fn take_back(
        &mut self,
        failed: AppendFailed<J::Error>,
        before: Option<M::Volatile>,
    ) -> Unanswered<J::Error> {
        let (error, is_unknown) = match failed {
            AppendFailed::Refused(error) => (error, false),
            AppendFailed::Unknown(error) => (error, true),
        };
        match before {
            Some(before) if !is_unknown => {
                if !std::mem::replace(&mut self.is_refused, true) {
                    self.journal.log_refused(&error);
                }
                self.machine.restore(before);
            }
            _ => {
                self.journal.log_failed(&error);
                self.lose();
            }
        }
        self.is_trusted = false;
        if is_unknown { Unanswered::Lost } else { Unanswered::Refused(error) }
    }

    /// Dropping the senders ends each request that waits without an answer. The task that runs the
    /// host loads the machine again.
    fn lose(&mut self) {
        self.is_lost = true;
        self.wake.wake();
        self.asking.clear();
        self.parked.clear();
        self.timers.clear();
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
