//! `cargo xtask nightly`: what takes longer than a change may wait.

use std::error::Error;

use ottla_xtask::steps::{Step, run_all};
use ottla_xtask::tree;

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// Which jobs, and for how long.
#[derive(Debug, Default)]
pub struct Nightly {
    /// How many minutes each job takes that can take any time; 5 without it.
    pub minutes: Option<u64>,
    /// Just the jobs whose names begin so.
    pub only: Option<String>,
    /// Show the jobs, run none.
    pub is_list: bool,
}

/// Runs the jobs one after the other.
pub fn run(nightly: &Nightly) -> Done {
    let minutes = nightly.minutes.unwrap_or(5).max(1);
    let mut jobs = jobs(minutes);
    if let Some(only) = &nightly.only {
        jobs.retain(|job| job.name.starts_with(only.as_str()));
        if jobs.is_empty() {
            return Err(format!("no job begins with {only}; --list shows them").into());
        }
    }
    if nightly.is_list {
        for job in jobs {
            println!("{:<16} {}", job.name, job.words.join(" "));
        }
        return Ok(());
    }
    if run_all(&tree::tree_root(), &jobs) { Ok(()) } else { Err("a job has failed".into()) }
}

/// The jobs. Those with a time of their own get `minutes`; each is ended when it takes much longer
/// than that and its build.
fn jobs(minutes: u64) -> Vec<Step> {
    /// For a build, a server's start, or a run that has no time of its own.
    const MORE_MINUTES: u64 = 30;
    let (seconds, crashes) = (minutes * 60, minutes * 25);
    let fuzz_seconds = seconds / 4;
    let fuzzing = Step {
        needs: Some(("cargo-fuzz", "cargo install cargo-fuzz; rustup toolchain install nightly")),
        ..Step::new("fuzzing", &format!("fuzz/run {fuzz_seconds}"))
    };
    let mutants = Step {
        needs: Some(("cargo-mutants", "cargo install cargo-mutants")),
        ..Step::new("mutants", &format!("cargo xtask mutants --minutes {minutes}"))
    };
    let mut transactions = Step::new(
        "transactions",
        "cargo test --locked -p ottla-partitions --test it transactions_are",
    );
    // A minute is about 12,000 schedules on 2 cores.
    transactions.environment.insert("OTTLA_SCHEDULES".into(), (minutes * 12_000).to_string());
    let mut power_cuts =
        Step::new("power-cuts", "cargo test --locked -p ottla-storage --test it no_power_cut_in");
    power_cuts.environment.insert("PROPTEST_CASES".into(), (minutes * 200_000).to_string());
    let sim = format!("sim/run --seeds 1000000000 --minutes {minutes}");
    let exactly_once = format!("conformance/run exactly-once --minutes {minutes}");
    let differential = format!("conformance/run differential --seconds {seconds}");
    let mut jobs = vec![
        Step::new("simulation", &sim),
        Step::new("planted", "sim/planted"),
        Step::new("planted-storage", "crates/storage/planted/run"),
        transactions,
        power_cuts,
        fuzzing,
        Step::new("release", "cargo build --release --locked"),
        Step::new("exactly-once", &exactly_once),
        Step::new("crash", &format!("conformance/run crash --times {crashes}")),
        Step::new("quorum", &format!("conformance/run quorum --kills {crashes}")),
        Step::new("differential", &differential),
        Step::new("soak", "bench/storage sustained"),
        Step::new("bench", "bench/run --quick"),
        mutants,
    ];
    jobs.iter_mut().for_each(|job| job.minutes_max = Some(2 * minutes + MORE_MINUTES));
    jobs
}
