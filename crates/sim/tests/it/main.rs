//! A bounded number of seeds, each twice; and the seeds that once failed, by name.

use std::time::Duration;

use ottla_clock::Clock;
use ottla_sim::model::{ModelBounds, explore_quorum};
use ottla_sim::report;
use ottla_sim::runner::{Runs, run_seed};
use ottla_sim::seed::{CoreWorlds, NodeCount, SimRing};

const ONE_NODE: SimRing = SimRing::Nodes(NodeCount::Exactly(1));
const THREE_NODES: SimRing = SimRing::Nodes(NodeCount::Exactly(3));
const FIVE_NODES: SimRing = SimRing::Nodes(NodeCount::Exactly(5));

/// Runs a seed twice; panics with the line that repeats it.
fn clean_in(ring: SimRing, seed: u64) {
    if let Some(violation) = run_seed(ring, seed, Runs::Twice).violation {
        panic!("{}", report::failure_text(ring, seed, &violation));
    }
}

fn clean(seed: u64) {
    clean_in(SimRing::Cores(CoreWorlds::All), seed);
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
fn a_heartbeat_that_comes_late_does_not_make_a_stopped_broker_serve() {
    [1442, 2486, 3559].into_iter().for_each(clean);
}

#[test]
fn an_in_sync_set_that_is_refused_is_not_asked_for_again_without_end() {
    [5636, 20_158, 43_777].into_iter().for_each(clean);
}

#[test]
fn a_replica_that_votes_no_more_and_is_in_a_later_epoch_finds_the_leader() {
    [413_036, 576_522, 763_653].into_iter().for_each(clean);
}

#[test]
fn a_disk_is_not_lost_that_a_voter_needs_who_does_not_know_that_it_votes() {
    clean(474_996);
}

#[test]
fn a_follower_may_cut_off_what_a_later_leader_committed() {
    clean_in(SimRing::Cores(CoreWorlds::Partition), 1_422_777);
}

#[test]
fn the_first_seeds_are_clean_and_the_same_twice() {
    (0..300).for_each(clean);
}

#[test]
fn whole_nodes_keep_their_promises_in_the_first_seeds() {
    (0..12).for_each(|seed| clean_in(ONE_NODE, seed));
}

#[test]
fn clusters_lose_no_metadata_in_the_first_seeds() {
    (0..6).for_each(|seed| clean_in(THREE_NODES, seed));
    (0..2).for_each(|seed| clean_in(FIVE_NODES, seed));
}

#[test]
fn what_a_power_cut_leaves_of_partition_metadata_does_not_keep_a_node_from_starting() {
    clean_in(ONE_NODE, 2);
}

#[test]
fn a_coordinator_whose_records_must_be_durable_answers() {
    clean_in(ONE_NODE, 10);
}

#[test]
fn aborted_records_stay_hidden_after_a_power_cut() {
    clean_in(ONE_NODE, 385);
}

#[test]
fn every_history_of_one_election_with_a_slow_disk_is_clean() {
    let bounds = ModelBounds { timeouts: 1, slow_disks: 1, ..ModelBounds::ELECTIONS };
    let report = explore_quorum(bounds, Duration::from_secs(3600), &Clock::real());
    assert_eq!(report.broken, None);
    assert!(report.is_exhausted);
    assert!(report.coverage.elections > 0 && report.coverage.committed > 0);
}

#[test]
fn every_history_of_two_elections_between_two_voters_is_clean() {
    let bounds = ModelBounds { voters: 2, timeouts: 3, ..ModelBounds::ELECTIONS };
    let report = explore_quorum(bounds, Duration::from_secs(3600), &Clock::real());
    assert_eq!((report.broken, report.unseen), (None, Vec::new()));
    assert!(report.is_exhausted);
}
