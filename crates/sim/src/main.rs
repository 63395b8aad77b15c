//! `sim/run`: seeds on all cores, or one seed again.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ottla_clock::Clock;
use ottla_sim::ledger::Ledger;
use ottla_sim::runner::{RunPlan, Runs};
use ottla_sim::seed::{self, CoreWorlds, Detail, NodeCount, SimRing};
use ottla_sim::{report, runner};
use ottla_types::Bug;

/// Runs cores, or whole nodes, under faults and checks what must be true.
#[derive(Debug, Parser)]
#[command(name = "sim/run")]
struct Arguments {
    /// What is simulated: 1 is the cores, 2 are whole nodes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    ring: u8,
    /// How many nodes there are in ring 2; otherwise each seed decides: one, three or five.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
    /// Which world of ring 1: all, quorum, partition or forming.
    #[arg(long, default_value = "all", value_parser = parse_world)]
    world: CoreWorlds,
    /// How many seeds to run.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Stop after so many minutes, finished or not.
    #[arg(long)]
    minutes: Option<u64>,
    /// How many threads run them; as many as there are cores, without it.
    #[arg(long)]
    threads: Option<usize>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Run this seed only, and write down its history.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: print what the nodes log to the standard error.
    #[arg(long, requires = "seed")]
    log: bool,
    /// Run each seed twice; both histories must be the same.
    #[arg(long)]
    twice: bool,
    /// Note clean seeds in this file, and skip those that are in it.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// The folder for the histories of failing seeds.
    #[arg(long, default_value = "target/sim")]
    traces: PathBuf,
    /// Switch this bug on: only in a build with bugs on purpose (see sim/planted).
    #[arg(long)]
    planted: Option<String>,
    /// Print the bugs that can be planted and stop.
    #[arg(long)]
    bugs: bool,
    /// Print the invariants and stop.
    #[arg(long)]
    invariants: bool,
}

fn main() -> ExitCode {
    // A panic of a core is a finding, and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    match run_command(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sim/run: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse_world(name: &str) -> Result<CoreWorlds, String> {
    let known = CoreWorlds::ALL.iter().find(|it| it.1 == name);
    known.map(|it| it.0).ok_or_else(|| format!("there is no world {name}"))
}

fn run_command(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    if arguments.invariants {
        print!("{}", report::list_invariants());
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.bugs {
        Bug::ALL.iter().for_each(|bug| {
            println!("{}\t{}\t{}\t{}", bug.name(), bug.ring(), bug.nodes(), bug.text());
        });
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &arguments.planted {
        let bug = Bug::ALL.iter().find(|bug| bug.name() == name);
        plant_bug(*bug.ok_or_else(|| format!("unknown bug {name}; --bugs names them all"))?)?;
    }
    if arguments.log {
        // The wall clock is not that of the nodes.
        let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
        log.without_time().with_ansi(false).with_target(false).init();
    }
    let count = arguments.nodes.map_or(NodeCount::Drawn, |it| NodeCount::Exactly(it.into()));
    let ring =
        if arguments.ring == 2 { SimRing::Nodes(count) } else { SimRing::Cores(arguments.world) };
    if let Some(seed) = arguments.seed {
        return Ok(repeat_seed(ring, seed, &arguments.traces)?);
    }
    let plan = RunPlan {
        ring,
        first: arguments.first,
        seeds: arguments.seeds,
        time_max: arguments.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
        threads: arguments.threads,
        runs: if arguments.twice { Runs::Twice } else { Runs::Once },
    };
    let ledger = arguments.ledger.as_deref().map(Ledger::open).transpose()?;
    let clock = Clock::real();
    let summary = runner::run_plan(&plan, ledger, &clock)?;
    match ring {
        SimRing::Cores(_) => print!("{}", report::coverage_table(&summary.coverage)),
        SimRing::Nodes(_) => print!("{}", report::node_coverage(&summary.coverage)),
    }
    println!("\n{} seeds skipped, being in the ledger", summary.known);
    println!("{:.1} s of real time", clock.monotonic().as_secs_f64());
    for (seed, violation) in &summary.failures {
        println!("{}", report::failure_text(ring, *seed, violation));
    }
    if let Some((seed, _)) = summary.failures.first() {
        repeat_seed(ring, *seed, &arguments.traces)?;
        return Ok(ExitCode::FAILURE);
    }
    println!("all {} seeds are clean", summary.coverage.seeds);
    Ok(ExitCode::SUCCESS)
}

#[cfg(planted)]
#[expect(clippy::unnecessary_wraps, reason = "it fails in the other builds")]
fn plant_bug(bug: Bug) -> Result<(), String> {
    ottla_types::plant_bug(bug);
    Ok(())
}

#[cfg(not(planted))]
fn plant_bug(bug: Bug) -> Result<(), String> {
    Err(format!("this build has no bug {} in it; use sim/planted", bug.name()))
}

/// Runs one seed and keeps its history.
fn repeat_seed(ring: SimRing, seed: u64, traces: &Path) -> std::io::Result<ExitCode> {
    let outcome = seed::run_seed(ring, seed, Detail::Text);
    std::fs::create_dir_all(traces)?;
    let path = traces.join(format!("seed-{seed}.txt"));
    let mut text = outcome.lines.join("\n");
    text.push('\n');
    let code = match &outcome.violation {
        None => {
            println!("seed {seed} is clean");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("{}", report::failure_text(ring, seed, violation));
            text.push_str(&format!("{violation}\n"));
            ExitCode::FAILURE
        }
    };
    std::fs::write(&path, text)?;
    println!("its history: {}, hash {:016x}", path.display(), outcome.hash);
    Ok(code)
}
