//! `sim/model`: every history of a small quorum.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ottla_clock::Clock;
use ottla_sim::model::{self, ModelBounds, SEARCHES};
use ottla_types::Bug;

/// Looks at every history of a small quorum and checks what must be true.
#[derive(Debug, Parser)]
#[command(name = "sim/model")]
struct ModelArguments {
    /// Make this search only; the options below change its bounds.
    #[arg(long)]
    search: Option<String>,
    /// How many voters there are.
    #[arg(long)]
    voters: Option<usize>,
    /// The latest epoch: how many elections there are.
    #[arg(long)]
    epochs: Option<i32>,
    /// How many timeouts are noticed.
    #[arg(long)]
    timeouts: Option<usize>,
    /// How many nodes crash.
    #[arg(long)]
    crashes: Option<usize>,
    /// How many records clients propose.
    #[arg(long)]
    proposals: Option<usize>,
    /// How many messages are under way at most.
    #[arg(long)]
    messages: Option<usize>,
    /// How often a disk is slow: other things happen before its writes are done.
    #[arg(long)]
    slow_disks: Option<usize>,
    /// How often a replica that knows no leader asks another one.
    #[arg(long)]
    questions: Option<usize>,
    /// How often a follower finds that its leader refuses connections.
    #[arg(long)]
    refusals: Option<usize>,
    /// End each search after so many seconds, finished or not.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Switch this bug on: only in a build with bugs on purpose (see sim/planted).
    #[arg(long)]
    planted: Option<String>,
}

fn main() -> ExitCode {
    let arguments = ModelArguments::parse();
    if let Some(name) = &arguments.planted {
        let Some(bug) = Bug::ALL.iter().find(|bug| bug.name() == name) else {
            eprintln!("sim/model: unknown bug {name}");
            return ExitCode::from(2);
        };
        plant_bug(*bug);
    }
    let wanted = |name: &str| arguments.search.as_deref().is_none_or(|only| only == name);
    let searches: Vec<_> = SEARCHES.iter().filter(|(name, _)| wanted(name)).collect();
    if searches.is_empty() {
        let names: Vec<_> = SEARCHES.iter().map(|(name, _)| *name).collect();
        eprintln!("sim/model: there are only the searches {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut is_clean = true;
    for (name, bounds) in searches {
        let bounds = arguments.change_bounds(*bounds);
        let time_max = Duration::from_secs(arguments.seconds);
        let report = model::explore_quorum(bounds, time_max, &Clock::real());
        println!("search {name}: {}", model::report_text(&bounds, &report));
        is_clean &= report.is_exhausted;
        if report.broken.is_some() {
            break;
        }
    }
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl ModelArguments {
    fn change_bounds(&self, known: ModelBounds) -> ModelBounds {
        ModelBounds {
            voters: self.voters.unwrap_or(known.voters),
            epochs: self.epochs.unwrap_or(known.epochs),
            timeouts: self.timeouts.unwrap_or(known.timeouts),
            crashes: self.crashes.unwrap_or(known.crashes),
            proposals: self.proposals.unwrap_or(known.proposals),
            messages: self.messages.unwrap_or(known.messages),
            slow_disks: self.slow_disks.unwrap_or(known.slow_disks),
            questions: self.questions.unwrap_or(known.questions),
            refusals: self.refusals.unwrap_or(known.refusals),
        }
    }
}

#[cfg(planted)]
fn plant_bug(bug: Bug) {
    ottla_types::plant_bug(bug);
}

#[cfg(not(planted))]
fn plant_bug(bug: Bug) {
    eprintln!("sim/model: this build has no bug {} in it; use sim/planted", bug.name());
}
