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
}

impl Machine for Sum {
    type Command = Command;
    type Record = i64;
    type Reply = i64;
    type Timer = u8;

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
        }
    }

    fn apply(&mut self, record: &i64) {
        self.total += record;
    }

    fn expired(_: u8) -> Command {
        Command::Fired
    }
}

#[derive(Clone, Default)]
struct Paper {
    end: Rc<Cell<Offset>>,
    committed: Rc<Cell<Offset>>,
    torn: Rc<Cell<bool>>,
}

impl Journal<i64> for Paper {
    type Error = &'static str;

    fn append(&mut self, records: &[i64], _: TimestampMs) -> Result<Offset, &'static str> {
        if self.torn.get() {
            return Err("torn");
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
}

#[test]
fn an_answer_waits_until_what_it_rests_on_has_committed() {
    let paper = Paper::default();
    let host = Host::new(Clock::manual(0), Sum::default(), paper.clone(), Arc::default());
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
    let host = Host::new(clock.clone(), Sum::default(), Paper::default(), Arc::default());
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
    let host = Host::new(clock.clone(), Sum::default(), paper.clone(), Arc::clone(&wake));
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
    assert!(!host.committed());
    drop(answer);
}

#[test]
fn a_failed_append_loses_the_machine_and_everybody_who_waits() {
    let paper = Paper::default();
    let host = Host::new(Clock::manual(0), Sum::default(), paper.clone(), Arc::default());
    let mut waiting = host.start(Command::Wait).expect("here");
    paper.torn.set(true);
    assert_eq!(host.start(Command::Add(1)).err(), Some(Lost));
    assert!(matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    paper.torn.set(false);
    assert_eq!(host.tell(Command::Add(1)), Err(Lost), "only a reload brings it back");
    assert_eq!(host.look(|sum| sum.total), 0);
}
