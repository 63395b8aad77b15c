use super::*;
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Waker};

/// Adds numbers up; negative ones are asked to wait for the timer.
#[derive(Default)]
struct Sum {
    total: i64,
    waiting: Vec<Ticket>,
}

enum Command {
    Add(i64),
    Wait,
    Set(u8, i64),
    Fired,
    /// Adds, and drops the requests that wait.
    AddAndForget(i64),
    /// The timer that writes has fired.
    Write,
}

/// The timer whose command writes something.
const WRITING: u8 = 9;

impl Machine for Sum {
    type Command = Command;
    type Record = i64;
    type Reply = i64;
    type Timer = u8;
    type Volatile = Vec<Ticket>;
    type Settings = ();

    fn set_settings(&mut self, (): ()) {}

    fn decide(&mut self, command: Command, turn: &mut Turn<Self>) {
        match command {
            Command::Add(number) => {
                turn.record(number);
                turn.reply(self.total + number);
            }
            Command::Wait => {
                self.waiting.push(turn.ticket);
                turn.set_timer(0, 100);
            }
            Command::Set(timer, delay_ms) => turn.set_timer(timer, delay_ms),
            Command::Fired => {
                for ticket in self.waiting.drain(..) {
                    turn.reply_to(ticket, -self.total);
                }
            }
            Command::AddAndForget(number) => {
                self.waiting.clear();
                turn.record(number);
            }
            Command::Write => turn.record(10),
        }
    }

    fn apply(&mut self, record: &i64) {
        self.total += record;
    }

    fn expired(timer: u8) -> Command {
        if timer == WRITING { Command::Write } else { Command::Fired }
    }

    fn volatile(&self) -> Vec<Ticket> {
        self.waiting.clone()
    }

    fn restore(&mut self, before: Vec<Ticket>) {
        self.waiting = before;
    }
}

/// What happens to an append.
#[derive(Clone, Copy, Default, PartialEq)]
enum Ink {
    #[default]
    Flows,
    /// It is refused, as was known before.
    Missing,
    /// It is refused, without a warning.
    Dries,
    /// It may have been written.
    Smears,
}

#[derive(Clone, Default)]
struct Paper {
    end: Rc<Cell<Offset>>,
    committed: Rc<Cell<Offset>>,
    ink: Rc<Cell<Ink>>,
}

impl Journal<i64> for Paper {
    type Error = &'static str;

    fn accepts(&self) -> bool {
        self.ink.get() != Ink::Missing
    }

    fn append(
        &mut self,
        records: &[i64],
        _: Offset,
        _: TimestampMs,
    ) -> Result<Offset, AppendFailed<&'static str>> {
        match self.ink.get() {
            Ink::Flows => {}
            Ink::Missing | Ink::Dries => return Err(AppendFailed::Refused("no ink")),
            Ink::Smears => return Err(AppendFailed::Unknown("smeared")),
        }
        self.end.set(self.end.get() + records.len() as i64);
        Ok(self.end.get())
    }

    fn end(&self) -> Offset {
        self.end.get()
    }

    fn committed(&self) -> Offset {
        self.committed.get()
    }

    fn log_refused(&self, _: &&'static str) {}

    fn log_failed(&self, _: &&'static str) {}
}

/// A task that is never waited for.
fn wake() -> Arc<dyn Wake> {
    Arc::new(Notify::new())
}

#[test]
fn an_answer_waits_until_what_it_rests_on_has_committed() {
    let paper = Paper::default();
    let host = Host::new(Clock::manual(0), Sum::default(), paper.clone(), wake());
    let mut first = host.start(Command::Add(3)).expect("here");
    assert!(first.try_recv().is_err(), "nothing has committed");
    let mut second = host.start(Command::Add(4)).expect("here");
    paper.committed.set(1);
    host.committed();
    assert_eq!(first.try_recv(), Ok(3));
    assert!(second.try_recv().is_err());
    paper.committed.set(2);
    host.committed();
    assert_eq!(second.try_recv(), Ok(7));
}

#[test]
fn a_timer_fires_at_its_time_and_not_before() {
    let clock = Clock::manual(0);
    let host = Host::new(clock.clone(), Sum::default(), Paper::default(), wake());
    let mut answer = host.start(Command::Wait).expect("here");
    clock.advance(99);
    assert_eq!(host.fire(), Some(100));
    assert!(answer.try_recv().is_err());
    clock.advance(1);
    assert_eq!(host.fire(), None);
    assert_eq!(answer.try_recv(), Ok(0));
}

#[test]
fn only_a_timer_that_is_due_earlier_wakes() {
    let is_woken = |wake: &Notify| {
        let mut woken = std::pin::pin!(wake.notified());
        woken.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    };
    let (clock, wake) = (Clock::manual(0), Arc::new(Notify::new()));
    let paper = Paper::default();
    let task = Arc::clone(&wake) as Arc<dyn Wake>;
    let host = Host::new(clock.clone(), Sum::default(), paper.clone(), task);
    assert_eq!(host.fire(), None);
    let set = |timer, delay_ms| host.tell(Command::Set(timer, delay_ms)).expect("here");
    set(0, 100);
    assert!(is_woken(&wake), "the first");
    set(0, 150);
    set(1, 100);
    assert!(!is_woken(&wake), "it is going to look then");
    set(2, 99);
    assert!(is_woken(&wake));
    assert_eq!(host.fire(), Some(99));
    clock.advance(149);
    assert_eq!(host.fire(), Some(150), "the first was put off");
    set(3, 1);
    assert!(!is_woken(&wake), "at the same time");
    let answer = host.start(Command::Add(1)).expect("here");
    assert!(is_woken(&wake), "an answer waits for its record");
    paper.committed.set(1);
    assert!(host.awaits_commit());
    host.committed();
    assert!(!host.awaits_commit());
    drop(answer);
}

/// A host whose last append went well, and a request that waits for its timer.
fn with_waiting(paper: &Paper) -> (Host<Sum, Paper>, Clock, oneshot::Receiver<i64>) {
    let clock = Clock::manual(0);
    let host = Host::new(clock.clone(), Sum::default(), paper.clone(), wake());
    host.tell(Command::Add(1)).expect("here");
    paper.committed.set(1);
    let waiting = host.start(Command::Wait).expect("here");
    (host, clock, waiting)
}

#[test]
fn an_append_of_unknown_outcome_loses_the_machine_and_answers_every_request() {
    let paper = Paper::default();
    let (host, _, mut waiting) = with_waiting(&paper);
    paper.ink.set(Ink::Smears);
    assert_eq!(host.start(Command::Add(1)).err(), Some(Unanswered::Lost));
    assert!(host.is_lost());
    assert!(matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    paper.ink.set(Ink::Flows);
    assert_eq!(host.tell(Command::Add(1)), Err(Unanswered::Lost), "only a reload brings it back");
    assert_eq!(host.look(|sum| sum.total), 1);
}

#[test]
fn a_refused_append_fails_its_request_and_takes_the_decision_back() {
    let paper = Paper::default();
    let (host, clock, mut waiting) = with_waiting(&paper);
    paper.ink.set(Ink::Missing);
    for _ in 0..2 {
        assert_eq!(host.start(Command::Add(1)).err(), Some(Unanswered::Refused("no ink")));
        assert_eq!(host.tell(Command::AddAndForget(1)), Err(Unanswered::Refused("no ink")));
    }
    assert!(!host.is_lost());
    assert_eq!(host.look(|sum| (sum.total, sum.waiting.len())), (1, 1), "nothing has changed");
    // What writes nothing is served.
    let mut other = host.start(Command::Wait).expect("here");
    clock.advance(100);
    host.fire();
    assert_eq!((waiting.try_recv(), other.try_recv()), (Ok(-1), Ok(-1)));
    paper.ink.set(Ink::Flows);
    paper.committed.set(9);
    let mut answer = host.start(Command::Add(2)).expect("here");
    assert_eq!(answer.try_recv(), Ok(3));
}

#[test]
fn after_a_load_even_an_unforeseen_refusal_is_taken_back() {
    let paper = Paper::default();
    paper.ink.set(Ink::Dries);
    let host = Host::new(Clock::manual(0), Sum::default(), paper, wake());
    let mut waiting = host.start(Command::Wait).expect("here");
    assert_eq!(host.tell(Command::AddAndForget(1)), Err(Unanswered::Refused("no ink")));
    assert!(!host.is_lost() && waiting.try_recv() == Err(oneshot::error::TryRecvError::Empty));
}

#[test]
fn a_refusal_that_could_not_be_foreseen_loses_the_machine() {
    let paper = Paper::default();
    let (host, _, mut waiting) = with_waiting(&paper);
    paper.ink.set(Ink::Dries);
    assert_eq!(host.start(Command::Add(1)).err(), Some(Unanswered::Refused("no ink")));
    assert!(host.is_lost());
    assert!(matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
}

#[test]
fn a_timer_whose_records_are_refused_fires_again() {
    let paper = Paper::default();
    let (host, clock, _waiting) = with_waiting(&paper);
    host.tell(Command::Set(WRITING, 50)).expect("here");
    paper.ink.set(Ink::Missing);
    clock.advance(50);
    assert_eq!(host.fire(), Some(100), "the other timer");
    clock.advance(50);
    assert_eq!(host.fire(), Some(550));
    paper.ink.set(Ink::Flows);
    clock.advance(450);
    assert_eq!(host.fire(), None);
    assert_eq!(host.look(|sum| sum.total), 11);
}

#[test]
fn an_unloaded_machine_answers_every_request() {
    let paper = Paper::default();
    let (host, _, mut waiting) = with_waiting(&paper);
    let mut uncommitted = host.start(Command::Add(1)).expect("here");
    host.unload();
    let closed = Err(oneshot::error::TryRecvError::Closed);
    assert_eq!((waiting.try_recv(), uncommitted.try_recv()), (closed.clone(), closed));
    assert_eq!(host.tell(Command::Wait), Err(Unanswered::Lost));
}
