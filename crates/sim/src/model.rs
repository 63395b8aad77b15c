//! Every history of a small quorum, by `stateright`: the replicas are the real ones, and so are
//! the invariants; only time and chance are gone (docs/simulation.md).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_clock::Clock;
use ottla_locks::Mutex;
use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::coverage::Coverage;
use crate::invariant::Invariant;
use crate::quorum::{ModelAction, ModelState, ROWS};

/// How far the checker goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelBounds {
    /// How many nodes there are, all of them voters.
    pub voters: usize,
    /// The latest epoch that a replica comes to; each takes an election.
    pub epochs: i32,
    /// How many timeouts are noticed.
    pub timeouts: usize,
    /// How many nodes crash.
    pub crashes: usize,
    /// How many records clients propose.
    pub proposals: usize,
    /// How many messages are under way at most; others wait until one has come or is lost.
    pub messages: usize,
    /// How often a disk is slow: other things happen before its writes are done.
    pub slow_disks: usize,
    /// How often a replica that knows no leader asks another one.
    pub questions: usize,
    /// How often a follower finds that its leader refuses connections.
    pub refusals: usize,
}

impl ModelBounds {
    /// Three nodes and two elections, with two messages under way and nothing else that goes
    /// wrong.
    pub const ELECTIONS: Self = Self {
        voters: 3,
        epochs: 2,
        timeouts: 2,
        crashes: 0,
        proposals: 0,
        messages: 2,
        slow_disks: 0,
        questions: 0,
        refusals: 0,
    };
}

/// The searches that `sim/model` makes, by name: each adds to two elections among three nodes
/// what the others do without, since all at once would take days.
pub const SEARCHES: &[(&str, ModelBounds)] = &[
    ("elections", ModelBounds::ELECTIONS),
    ("records", ModelBounds { proposals: 1, ..ModelBounds::ELECTIONS }),
    ("crashes", ModelBounds { crashes: 1, ..ModelBounds::ELECTIONS }),
    ("slow-disks", ModelBounds { slow_disks: 1, ..ModelBounds::ELECTIONS }),
    ("late-messages", ModelBounds { messages: 3, ..ModelBounds::ELECTIONS }),
    ("timeouts", ModelBounds { timeouts: 3, ..ModelBounds::ELECTIONS }),
];

/// The quorum and the bounds of the search.
#[derive(Debug)]
struct QuorumModel {
    bounds: ModelBounds,
    clock: Clock,
    /// When the search ends, finished or not: `stateright` alone does not end one of one thread.
    until: Duration,
    /// Has it ended? Then steps are taken again, for the history of what was found.
    has_ended: AtomicBool,
    /// Has it ended unfinished?
    is_cut_short: AtomicBool,
    /// Guards the counts of all steps.
    coverage: Mutex<Coverage>,
}

/// The properties of these invariants: none of them ever breaks.
macro_rules! unbroken {
    ($($invariant:ident)*) => {
        [$(Property::always(stringify!($invariant), |_: &QuorumModel, state: &ModelState| {
            state.violation.as_ref().is_none_or(|it| it.invariant != Invariant::$invariant)
        })),*]
    };
}

impl Model for QuorumModel {
    type State = ModelState;
    type Action = ModelAction;

    fn init_states(&self) -> Vec<ModelState> {
        vec![ModelState::first(&self.bounds)]
    }

    fn actions(&self, state: &ModelState, actions: &mut Vec<ModelAction>) {
        let is_late = || self.clock.monotonic() >= self.until;
        if !self.has_ended.load(Ordering::Relaxed) && is_late() {
            self.is_cut_short.store(true, Ordering::Relaxed);
            return;
        }
        state.possible(&self.bounds, actions);
    }

    fn next_state(&self, last: &ModelState, action: ModelAction) -> Option<ModelState> {
        let mut next = last.after(action);
        let counts = next.take_coverage();
        self.coverage.lock().add_steps(&counts);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let sometimes = [
            Property::sometimes("an epoch has a leader", |_: &Self, state: &ModelState| {
                state.led_and_committed().0 > 0
            }),
            Property::sometimes("two epochs have a leader", |_: &Self, state: &ModelState| {
                state.led_and_committed().0 > 1
            }),
            Property::sometimes("two leaders commit", |_: &Self, state: &ModelState| {
                state.led_and_committed().1 > 1
            }),
        ];
        let always = unbroken! {
            ElectionSafety LogMatching LeaderCompleteness CommittedOnMajorityDurable
            CommittedPrefix HwMonotonic NoTruncateBelowHw VoteOnce PromiseBeforeWord
            EpochMonotonic EpochCatchesUp StateMatchesRole ElectionDecided ElectedByVotes
            VotersOfLog VoterSetsOverlap EarlierEpochIgnored NoFatal
        };
        always.into_iter().chain(sometimes).collect()
    }

    fn within_boundary(&self, state: &ModelState) -> bool {
        state.latest_epoch() <= self.bounds.epochs && state.messages() <= self.bounds.messages
    }
}

/// What a search has found.
#[derive(Debug)]
pub struct ModelReport {
    /// How many different states there are.
    pub states: usize,
    /// How many steps led to them.
    pub steps: usize,
    /// How many steps the longest history has that was looked at.
    pub depth: usize,
    /// Was all looked at, within the bounds?
    pub is_exhausted: bool,
    /// The invariant that breaks, and how it comes to that.
    pub broken: Option<(&'static str, Vec<String>)>,
    /// What should be possible and was not seen.
    pub unseen: Vec<&'static str>,
    /// What was covered.
    pub coverage: Coverage,
    /// How long it took.
    pub took: Duration,
}

/// Looks at every history within the bounds, until an invariant breaks, or for so long.
#[must_use]
pub fn explore_quorum(bounds: ModelBounds, time_max: Duration, clock: &Clock) -> ModelReport {
    let began = clock.monotonic();
    let (has_ended, is_cut_short) = (AtomicBool::new(false), AtomicBool::new(false));
    let coverage = Mutex::default();
    let (until, clock) = (began + time_max, clock.clone());
    let model = QuorumModel { bounds, clock, until, has_ended, is_cut_short, coverage };
    let search = model.checker().threads(1);
    let search = search.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let took = search.model().clock.monotonic() - began;
    search.model().has_ended.store(true, Ordering::Relaxed);
    let is_cut_short = search.model().is_cut_short.load(Ordering::Relaxed);
    let coverage = search.model().coverage.lock().clone();
    let found = search.discoveries();
    let properties = search.model().properties();
    let is_failure = |name: &str| {
        let property = properties.iter().find(|it| it.name == name);
        property.is_some_and(|it| it.expectation.discovery_is_failure())
    };
    let broken = found.into_iter().find(|(name, _)| is_failure(name)).map(|(name, path)| {
        let steps = path.into_vec();
        let described = steps
            .iter()
            .filter_map(|(state, action)| action.map(|action| state.describe(action)))
            .chain(steps.last().and_then(|(state, _)| Some(state.violation.as_ref()?.to_string())));
        (name, described.collect())
    });
    let unseen = properties
        .iter()
        .filter(|it| !is_failure(it.name) && search.discovery(it.name).is_none())
        .map(|it| it.name);
    let unseen = unseen.collect();
    ModelReport {
        states: search.unique_state_count(),
        steps: search.state_count(),
        depth: search.max_depth(),
        is_exhausted: broken.is_none() && !is_cut_short,
        broken,
        unseen,
        coverage,
        took,
    }
}

/// What a search prints.
#[must_use]
pub fn report_text(bounds: &ModelBounds, report: &ModelReport) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{bounds:?}");
    let coverage = &report.coverage;
    let counts = [
        ("different states", report.states as u64),
        ("steps between them", report.steps as u64),
        ("steps of the longest history", report.depth as u64),
        ("elections won", coverage.elections),
        ("crashes", coverage.crashes),
        ("records committed", coverage.committed),
        ("records lost in crashes", coverage.lost_records),
        ("records cut off", coverage.cut_records),
    ];
    for (name, count) in counts {
        let _ = writeln!(text, "{count:>14}  {name}");
    }
    text.push_str("\nraft: moves between roles\n");
    for (row, count) in ROWS.iter().zip(coverage.rows) {
        let _ = writeln!(text, "{count:>14}  {row}");
    }
    text.push_str("\ninvariants: how often each was checked\n");
    for invariant in Invariant::ALL {
        let count = coverage.checks[invariant as usize];
        if count > 0 {
            let _ = writeln!(text, "{count:>14}  {invariant}");
        }
    }
    let _ = writeln!(text, "\n{:.1} s of real time", report.took.as_secs_f64());
    for name in &report.unseen {
        let _ = writeln!(text, "not seen: {name}");
    }
    if let Some((invariant, steps)) = &report.broken {
        steps.iter().for_each(|step| text.push_str(&format!("{step}\n")));
        let _ = writeln!(text, "{invariant} breaks after {} steps", steps.len());
    } else if report.is_exhausted {
        text.push_str("all histories within these bounds are clean\n");
    } else {
        text.push_str("there was no time for all histories within these bounds\n");
    }
    text
}
