use super::*;
use std::vec;

fn begun(end: Offset, watermark: Offset, in_sync_min: usize) -> Beginning {
    Beginning { end, watermark, in_sync_min, now_ms: 0 }
}

fn fetch(follower: NodeId, broker_epoch: i64, offset: Offset) -> FollowerFetch {
    fetch_at(0, follower, broker_epoch, offset)
}

fn fetch_at(now_ms: u64, follower: NodeId, broker_epoch: i64, offset: Offset) -> FollowerFetch {
    FollowerFetch { follower, broker_epoch, offset, log_start: 0, now_ms }
}

/// What the leader asks for, at a time, when every broker may join that is in life 5.
fn propose(leader: &mut Leader, now_ms: u64) -> Option<Vec<NodeId>> {
    let may_join = &|_, epoch| epoch == 5;
    let terms = InSyncTerms { now_ms, lag_max_ms: 30_000, own_epoch: 1, may_join };
    Some(leader.propose(&terms)?.in_sync.iter().map(|it| it.id).collect())
}

fn leader(in_sync: &[NodeId]) -> Leader {
    let assignment = Assignment {
        leader: 1,
        replicas: vec![1, 2, 3],
        in_sync: in_sync.to_vec(),
        ..Assignment::default()
    };
    Leader::new(1, assignment, begun(0, 0, 1))
}

#[test]
fn a_new_leader_commits_nothing_while_fewer_than_the_minimum_are_in_sync() {
    let beginning = |in_sync_min| begun(10, 4, in_sync_min);
    let assignment = leader(&[1]).assignment;
    let strict = Leader::new(1, assignment.clone(), beginning(2));
    assert_eq!(strict.watermark(), 4, "replica 1 alone is in sync, 2 must be");
    let loose = Leader::new(1, assignment, beginning(1));
    assert_eq!(loose.watermark(), 10);
}

#[test]
fn alone_in_the_in_sync_set_every_append_is_committed_at_once() {
    let mut leader = leader(&[1]);
    assert_eq!(leader.appended(10), Some(10));
    assert_eq!(leader.appended(10), None);
    assert_eq!(leader.watermark(), 10);
}

#[test]
fn the_watermark_waits_for_the_slowest_member_of_the_in_sync_set() {
    let mut leader = leader(&[1, 2, 3]);
    assert_eq!(leader.appended(10), None);
    assert_eq!(leader.fetched(fetch(2, 5, 10)), Ok(None));
    assert_eq!(leader.fetched(fetch(3, 5, 4)), Ok(Some(4)));
    assert_eq!(leader.fetched(fetch(3, 5, 10)), Ok(Some(10)));
    assert_eq!(leader.fetched(fetch(9, 5, 10)), Err(StaleFetch), "not a replica");
}

#[test]
fn too_few_in_sync_replicas_stop_acks_all_and_the_watermark() {
    let mut leader = leader(&[1]);
    let assignment = leader.assignment.clone();
    leader.assigned(assignment.clone(), 2);
    let refused = NotEnoughReplicas { in_sync: 1, required: 2 };
    assert_eq!(leader.may_append_for_all(), Err(refused));
    assert_eq!(leader.appended(10), None);
    assert_eq!(leader.assigned(assignment, 1), Some(10));
}

#[test]
fn a_lower_minimum_counts_only_with_the_in_sync_set_of_its_time() {
    let mut leader = leader(&[1]);
    leader.assigned(leader.assignment.clone(), 2);
    leader.appended(10);
    let joined = Assignment { in_sync: vec![1, 2], ..leader.assignment.clone() };
    assert_eq!(leader.assigned(joined, 1), None, "replica 2 has nothing yet");
}

#[test]
fn a_late_fetch_of_a_followers_earlier_life_does_not_count() {
    let mut leader = leader(&[1, 2]);
    leader.appended(10);
    assert_eq!(leader.fetched(fetch(2, 8, 4)), Ok(Some(4)));
    assert_eq!(leader.fetched(fetch(2, 7, 10)), Err(StaleFetch), "before it restarted");
    assert_eq!(leader.fetched(fetch(2, 8, 10)), Ok(Some(10)));
}

#[test]
fn who_joins_holds_the_watermark_back_and_counts_for_no_minimum() {
    let mut leader = leader(&[1, 2]);
    assert_eq!(leader.fetched(fetch(3, 5, 0)), Ok(None));
    assert_eq!(propose(&mut leader, 0), Some(vec![1, 2, 3]));
    leader.appended(10);
    assert_eq!(leader.fetched(fetch(2, 5, 10)), Ok(None), "replica 3 may be in sync, and lacks it");
    assert_eq!(leader.fetched(fetch(3, 5, 10)), Ok(Some(10)));
    let strict = Assignment { in_sync: vec![1], partition_epoch: 1, ..leader.assignment.clone() };
    leader.assigned(strict, 2);
    assert_eq!(propose(&mut leader, 0), Some(vec![1, 2, 3]));
    leader.appended(12);
    for id in [2, 3] {
        assert_eq!(leader.fetched(fetch(id, 5, 12)), Ok(None), "the controller decides who is in");
    }
}

#[test]
fn a_replica_joins_that_has_what_is_committed_and_may() {
    let mut leader = leader(&[1]);
    leader.appended(10);
    assert_eq!(leader.fetched(fetch(2, 5, 9)), Ok(None));
    assert!(!leader.may_ask_for(2) && propose(&mut leader, 0).is_none(), "it lacks one record");
    assert_eq!(leader.fetched(fetch(2, 5, 10)), Ok(None));
    assert_eq!(leader.fetched(fetch(3, 4, 10)), Ok(None));
    assert!(leader.may_ask_for(2));
    assert_eq!(propose(&mut leader, 0), Some(vec![1, 2]), "broker 3 has another life by now");
    assert!(!leader.may_ask_for(3), "one proposal at a time");
}

#[test]
fn a_proposal_is_repeated_as_it_was_until_it_is_decided_or_refused() {
    let mut leader = leader(&[1]);
    assert_eq!(leader.fetched(fetch(2, 5, 0)), Ok(None));
    assert_eq!(propose(&mut leader, 0), Some(vec![1, 2]));
    assert_eq!(leader.fetched(fetch(3, 5, 0)), Ok(None));
    assert_eq!(propose(&mut leader, 50_000), Some(vec![1, 2]));
    leader.proposal_refused(7);
    assert_eq!(propose(&mut leader, 50_000), Some(vec![1, 2]), "another one was refused");
    leader.proposal_refused(0);
    assert_eq!(propose(&mut leader, 50_000), Some(vec![1, 2, 3]));
    let decided =
        Assignment { in_sync: vec![1, 2, 3], partition_epoch: 1, ..leader.assignment.clone() };
    leader.assigned(decided, 1);
    assert_eq!(propose(&mut leader, 50_000), None);
}

#[test]
fn a_member_that_has_not_had_everything_for_too_long_leaves() {
    let mut leader = leader(&[1, 2, 3]);
    leader.appended(10);
    for id in [2, 3] {
        assert_eq!(leader.fetched(fetch_at(1000, id, 5, 0)), Ok(None));
    }
    assert_eq!(propose(&mut leader, 30_000), None, "it has led for 30 s");
    // It asks for what came after its last fetch: it had everything then.
    leader.appended(20);
    let moved = leader.fetched(fetch_at(20_000, 2, 5, 10));
    assert_eq!(moved, Ok(None));
    assert_eq!(propose(&mut leader, 30_001), Some(vec![1, 2]));
    assert_eq!(leader.watermark(), 0, "until the controller has decided, replica 3 counts");
}

#[test]
fn a_member_that_has_everything_stays_however_long_ago_it_fetched() {
    let mut leader = leader(&[1, 2]);
    leader.appended(10);
    assert_eq!(leader.fetched(fetch_at(0, 2, 5, 10)), Ok(Some(10)));
    assert_eq!(propose(&mut leader, 100_000), None);
    leader.appended(11);
    assert_eq!(propose(&mut leader, 100_000), Some(vec![1]));
}

#[test]
fn more_required_replicas_than_there_are_means_all_there_are() {
    let assignment =
        Assignment { leader: 1, replicas: vec![1], in_sync: vec![1], ..Assignment::default() };
    let leader = Leader::new(1, assignment, begun(0, 0, 2));
    assert_eq!(leader.may_append_for_all(), Ok(()));
}

#[test]
fn consumers_could_read_from_followers_in_sync_that_have_the_offset() {
    let mut leader = leader(&[1, 2]);
    leader.appended(10);
    let starts_at = |log_start, fetch| FollowerFetch { log_start, ..fetch };
    let readable =
        |leader: &Leader, offset| leader.readable_from(offset).map(|it| it.id).collect::<Vec<_>>();
    assert_eq!(readable(&leader, 5), [0; 0], "replica 2 has not fetched yet");
    for follower in [2, 3] {
        assert!(leader.fetched(starts_at(4, fetch_at(9, follower, 5, 8))).is_ok());
    }
    // The offset, and the replicas; replica 3 is not in sync.
    for (offset, replicas) in [(3, vec![]), (4, vec![2]), (8, vec![2]), (9, vec![])] {
        assert_eq!(readable(&leader, offset), replicas, "offset {offset}");
    }
    let found = leader.readable_from(4).next();
    assert_eq!(found, Some(ReadableReplica { id: 2, end: 8, caught_up_ms: Some(0) }));
}

#[test]
fn the_low_watermark_is_the_lowest_log_start_of_all_live_replicas() {
    let mut leader = leader(&[1, 2, 3]);
    assert_eq!(leader.low_watermark(5), 5, "none of the followers lives");
    let live = |leader: &Leader, live: &[NodeId]| Assignment {
        live: live.to_vec(),
        ..leader.assignment.clone()
    };
    leader.assigned(live(&leader, &[1, 2, 3]), 1);
    assert_eq!(leader.low_watermark(5), -1, "they have not fetched yet");
    for (follower, log_start) in [(2, 5), (3, 2)] {
        let fetch = FollowerFetch { log_start, ..fetch(follower, 5, 9) };
        assert!(leader.fetched(fetch).is_ok());
    }
    assert_eq!(leader.low_watermark(5), 2);
    leader.assigned(live(&leader, &[1, 2]), 1);
    assert_eq!(leader.low_watermark(5), 5, "replica 3 is gone");
}
