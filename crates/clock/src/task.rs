//! Background work has one shape: a named round that does what there is to do and says when it
//! wants to run next. A [`crate::Lane`] runs the rounds, on its threads or by simulated time; a
//! test may call [`Task::round`] itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Share;

/// When the next round of a task is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After so long. Rings in between do not make it earlier; they are not lost either.
    After(Duration),
    /// As soon as the task is rung, or has been since this round began; at the latest after
    /// `at_most`.
    WhenRung {
        /// `Duration::MAX` waits for a ring however long that takes.
        at_most: Duration,
    },
    /// Never.
    End,
}

/// Background work: a round that is run again and again, never twice at the same time.
pub struct Task {
    name: &'static str,
    round: Box<dyn FnMut() -> Next + Send>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.name)
    }
}

impl Task {
    /// A task whose rounds wait for nothing but a disk.
    #[must_use]
    pub fn new(name: &'static str, round: impl FnMut() -> Next + Send + 'static) -> Self {
        Self { name, round: Box::new(round) }
    }

    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs one round on this thread.
    pub fn round(&mut self) -> Next {
        (self.round)()
    }
}

/// Which task of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

/// The tasks of a lane, and when the next round of each is due.
#[derive(Debug, Default)]
pub(crate) struct TaskSchedule {
    tasks: BTreeMap<TaskId, Planned>,
    made: u64,
}

/// A task between two rounds, or in one; then it is not `due`, and rings wait for the end of the
/// round.
#[derive(Debug)]
struct Planned {
    share: Share,
    /// `None` while a round runs.
    task: Option<Task>,
    due: Option<Duration>,
    /// Does a ring make it due at once?
    hears: bool,
    /// Was it rung since the last round began?
    is_rung: bool,
}

impl TaskSchedule {
    /// Takes a task in; its first round is due at once.
    pub(crate) fn add(&mut self, share: Share, task: Task, now: Duration) -> TaskId {
        self.made += 1;
        let id = TaskId(self.made);
        let task = Some(task);
        let planned = Planned { share, task, due: Some(now), hears: false, is_rung: false };
        self.tasks.insert(id, planned);
        id
    }

    pub(crate) fn ring(&mut self, id: TaskId, now: Duration) {
        // A task that has ended takes no rings.
        let Some(planned) = self.tasks.get_mut(&id) else { return };
        planned.is_rung = true;
        if planned.hears {
            planned.due = Some(now);
        }
    }

    /// When the next round is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.tasks.values().filter_map(|planned| planned.due).min()
    }

    /// The tasks that are due now. They are not due again before [`TaskSchedule::end`].
    pub(crate) fn take_due(&mut self, now: Duration) -> Vec<(Share, TaskId)> {
        let mut due = Vec::new();
        for (id, planned) in &mut self.tasks {
            if planned.due.is_some_and(|at| at <= now) {
                (planned.due, planned.hears) = (None, false);
                due.push((planned.share, *id));
            }
        }
        due
    }

    /// The task, for one round.
    pub(crate) fn begin(&mut self, id: TaskId) -> Option<Task> {
        let planned = self.tasks.get_mut(&id)?;
        planned.is_rung = false;
        planned.task.take()
    }

    /// The round has been run.
    pub(crate) fn end(&mut self, id: TaskId, task: Task, next: Next, now: Duration) {
        let Some(planned) = self.tasks.get_mut(&id) else { return };
        planned.task = Some(task);
        match next {
            Next::After(pause) => planned.due = now.checked_add(pause),
            Next::WhenRung { .. } if planned.is_rung => planned.due = Some(now),
            Next::WhenRung { at_most } => {
                (planned.due, planned.hears) = (now.checked_add(at_most), true);
            }
            Next::End => self.remove(id),
        }
    }

    pub(crate) fn remove(&mut self, id: TaskId) {
        self.tasks.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Runs the round that is due at `now`, which says `next`.
    fn run(schedule: &mut TaskSchedule, now: Duration, next: Next, rings: usize) {
        let due = schedule.take_due(now);
        let [(_, id)] = due[..] else { panic!("one is due: {due:?}") };
        let task = schedule.begin(id).expect("not running");
        (0..rings).for_each(|_| schedule.ring(id, now));
        schedule.end(id, task, next, now);
    }

    #[test]
    fn a_round_says_when_the_next_one_is_due() {
        // What the round says, rings during it, rings after it, when the next is due.
        let rung = Next::WhenRung { at_most: at(50) };
        let forever = Next::WhenRung { at_most: Duration::MAX };
        let cases = [
            (Next::After(at(10)), 0, 0, Some(at(11))),
            (Next::After(at(10)), 1, 1, Some(at(11))),
            (rung, 0, 0, Some(at(51))),
            (rung, 2, 0, Some(at(1))),
            (rung, 0, 2, Some(at(3))),
            (forever, 0, 0, None),
            (forever, 0, 1, Some(at(3))),
            (Next::End, 1, 1, None),
        ];
        for (next, during, after, due) in cases {
            let mut schedule = TaskSchedule::default();
            let id = schedule.add(Share(0), Task::new("test", || Next::End), at(1));
            run(&mut schedule, at(1), next, during);
            (0..after).for_each(|_| schedule.ring(id, at(3)));
            assert_eq!(schedule.next_due(), due, "{next:?}, rings {during} and {after}");
        }
    }

    #[test]
    fn a_task_whose_round_runs_is_not_due() {
        let mut schedule = TaskSchedule::default();
        let id = schedule.add(Share(4), Task::new("test", || Next::End), at(1));
        assert_eq!(schedule.take_due(at(0)), []);
        assert_eq!(schedule.take_due(at(1)), [(Share(4), id)]);
        let task = schedule.begin(id).expect("it is there");
        schedule.ring(id, at(2));
        assert_eq!((schedule.take_due(at(2)), schedule.next_due()), (vec![], None));
        assert!(schedule.begin(id).is_none(), "no round runs twice at once");
        schedule.end(id, task, Next::End, at(2));
        assert!(schedule.begin(id).is_none());
    }
}
