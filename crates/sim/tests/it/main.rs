//! A bounded number of seeds, each twice; and the seeds that once failed, by name.

use ottla_sim::nodes::NodesWorld;
use ottla_sim::report;
use ottla_sim::runner::{Runs, run_seed};
use ottla_sim::trace::Trace;

/// Runs a seed twice; panics with the line that repeats it.
fn clean(seed: u64) {
    if let Some(violation) = run_seed(seed, Runs::Twice).violation {
        panic!("{}", report::failure(seed, &violation));
    }
}

// Seeds that failed once. What they showed is a test of its core, too, where it was the core that
// was wrong; a seed means another history as soon as its world draws one number more.

#[test]
fn a_leader_elected_late_need_not_have_what_its_successor_committed() {
    clean(61_058);
}

#[test]
fn a_replica_that_joins_does_not_help_to_reach_the_minimum() {
    clean(46);
}

#[test]
fn a_late_fetch_of_an_earlier_life_does_not_count() {
    clean(12_511);
}

#[test]
fn a_stop_without_a_known_epoch_is_unclean() {
    clean(69_999);
}

#[test]
fn the_first_seeds_are_clean_and_the_same_twice() {
    (0..300).for_each(clean);
}

#[test]
fn a_node_lives_through_crashes_and_its_history_is_the_same_twice() {
    for seed in 0..10 {
        let run = || {
            let mut world = NodesWorld::new(seed, Trace::written());
            let checked = world.run().map_err(|it| it.to_string());
            (checked, world.trace.hash(), world.trace.lines().to_vec())
        };
        let first = run();
        assert_eq!(first.0, Ok(()), "seed {seed}");
        assert_eq!(first, run(), "seed {seed}");
    }
}
