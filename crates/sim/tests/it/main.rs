//! A bounded number of seeds, each twice; and the seeds that once failed, by name.

use ottla_sim::report;
use ottla_sim::runner::{Runs, run_seed};

/// Runs a seed twice; panics with the line that repeats it.
fn clean(seed: u64) {
    if let Some(violation) = run_seed(seed, Runs::Twice).violation {
        panic!("{}", report::failure(seed, &violation));
    }
}

#[test]
fn the_first_seeds_are_clean_and_the_same_twice() {
    (0..300).for_each(clean);
}
