//! What plans keep, what they even out, and what they cost on a large cluster.

use ottla_clock::Clock;

use super::*;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn broker(id: NodeId, rack: Option<&str>) -> BalanceBroker {
    BalanceBroker {
        id,
        rack: rack.map(str::to_owned),
        share: BrokerShare::Full,
        capacity_bytes: None,
        free_bytes: None,
    }
}

fn partition(index: i32, replicas: &[NodeId], bytes: u64) -> BalancePartition {
    BalancePartition {
        place: TopicPartition::new("t", index),
        replicas: replicas.to_vec(),
        factor: replicas.len(),
        bytes,
        is_movable: true,
    }
}

/// 100 brokers in five racks, five of them new and empty; 10,000 partitions with three replicas in
/// three racks. A few partitions have most of the bytes, and some brokers were given more than
/// others.
fn large_cluster() -> (Vec<BalanceBroker>, Vec<BalancePartition>) {
    let mut dice = Dice(7);
    let rack = |id: NodeId| format!("rack-{}", id % 5);
    let brokers: Vec<BalanceBroker> = (1..=100).map(|id| broker(id, Some(&rack(id)))).collect();
    let mut partitions = Vec::new();
    for index in 0..10_000 {
        let mut replicas: Vec<NodeId> = Vec::new();
        while replicas.len() < 3 {
            // The lower of two throws: the first brokers hold three times as much as the last.
            let id = 1 + dice.below(95).min(dice.below(95 * 2)) as NodeId;
            if !replicas.iter().any(|it| it % 5 == id % 5) {
                replicas.push(id);
            }
        }
        let bytes =
            1_000_000_000 * (1 + dice.below(100)) / (1 + dice.below(50)) / (1 + dice.below(20));
        let place = TopicPartition::new(format!("topic-{}", index / 20), index % 20);
        partitions.push(BalancePartition { place, ..partition(0, &replicas, bytes) });
    }
    (brokers, partitions)
}

/// What `kafka-reassign-partitions --generate` proposes: each topic in turn over the brokers, as
/// if it were new, one rack after the other.
fn generate_anew(brokers: &[BalanceBroker], partitions: &[BalancePartition]) -> Vec<Vec<NodeId>> {
    let mut dice = Dice(11);
    let mut line: Vec<&BalanceBroker> = brokers.iter().collect();
    line.sort_by_key(|it| ((it.id - 1) / 5, it.rack.clone()));
    let count = line.len();
    let mut start = 0;
    let place = |at: usize| {
        if partitions[at].place.partition == 0 {
            start = dice.below(count as u64) as usize;
        }
        let first = start + partitions[at].place.partition as usize;
        (0..3).map(|n| line[(first + n) % count].id).collect()
    };
    (0..partitions.len()).map(place).collect()
}

fn applied(partitions: &[BalancePartition], plan: &BalancePlan) -> Vec<BalancePartition> {
    let shifts: BTreeMap<&TopicPartition, &PartitionShift> =
        plan.shifts.iter().map(|it| (&it.place, it)).collect();
    let after = |it: &BalancePartition| match shifts.get(&it.place) {
        Some(shift) => BalancePartition { replicas: shift.to.clone(), ..it.clone() },
        None => it.clone(),
    };
    partitions.iter().map(after).collect()
}

fn rack_count(brokers: &[BalanceBroker], replicas: &[NodeId]) -> usize {
    let rack = |id: &NodeId| brokers.iter().find(|it| it.id == *id).and_then(|it| it.rack.clone());
    replicas.iter().filter_map(rack).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_hundred_brokers_become_even_for_few_bytes() {
    let (brokers, partitions) = large_cluster();
    let clock = Clock::real();
    let began = clock.monotonic();
    let plan = plan_balance(&brokers, &partitions, PlanScope::All).unwrap();
    let took = clock.monotonic() - began;
    let generated = generate_anew(&brokers, &partitions);
    let pairs = || partitions.iter().zip(&generated);
    let copied = pairs()
        .map(|(it, to)| it.bytes * to.iter().filter(|id| !it.replicas.contains(id)).count() as u64);
    let generated_bytes: u64 = copied.sum();
    let proposed: Vec<BalancePartition> =
        pairs().map(|(it, to)| BalancePartition { replicas: to.clone(), ..it.clone() }).collect();
    let proposed = BalanceLayout::new(&brokers, &proposed).imbalance();
    let total: u64 = partitions.iter().map(|it| it.bytes * 3).sum();
    // What brokers have too much has to go, whatever the plan.
    let least: u64 = plan.before.values().map(|it| it.bytes.saturating_sub(total / 100)).sum();
    let part =
        |bytes: u64| format!("{} ({} %)", crate::output::format_bytes(bytes), bytes * 100 / total);
    eprintln!(
        "100 brokers, 10,000 partitions x 3, {}: planned in {took:?}\n  before     {:?}\n  after      {:?}, {} moved, at least {}; {} replicas in {} partitions\n  --generate {proposed:?}, {} moved",
        crate::output::format_bytes(total),
        plan.imbalance_before,
        plan.imbalance_after,
        part(plan.bytes_moved()),
        part(least),
        plan.replicas_moved(),
        plan.shifts.len(),
        part(generated_bytes),
    );
    assert!(plan.imbalance_before.bytes > 1.5, "{:?}", plan.imbalance_before);
    let after = plan.imbalance_after;
    assert!(after.bytes < 1.03 && after.replicas < 1.05 && after.leaders < 1.05, "{after:?}");
    assert!(plan.bytes_moved() < least * 11 / 10, "{} of {least}", plan.bytes_moved());
    assert!(plan.bytes_moved() < generated_bytes / 2);
    for shift in &plan.shifts {
        let once: BTreeSet<&NodeId> = shift.to.iter().collect();
        assert_eq!(once.len(), 3, "{shift:?}");
        assert_eq!(rack_count(&brokers, &shift.to), 3, "{shift:?}");
    }
    let again = plan_balance(&brokers, &partitions, PlanScope::All).unwrap();
    assert_eq!(again, plan, "the same input has the same plan");
    let next = plan_balance(&brokers, &applied(&partitions, &plan), PlanScope::All).unwrap();
    assert!(next.bytes_moved() < total / 200, "a plan that was carried out leaves little to do");
}

#[test]
fn a_new_broker_takes_its_share_and_no_partition_moves_twice() {
    let brokers: Vec<BalanceBroker> = (1..=4).map(|id| broker(id, None)).collect();
    let partitions: Vec<BalancePartition> =
        (0..12).map(|index| partition(index, &[1 + index % 3, 1 + (index + 1) % 3], 100)).collect();
    let plan = plan_balance(&brokers, &partitions, PlanScope::All).unwrap();
    let share = BrokerHolding { bytes: 600, replicas: 6, leaders: 3 };
    assert_eq!(plan.after, (1..=4).map(|id| (id, share)).collect());
    assert_eq!((plan.bytes_moved(), plan.replicas_moved()), (600, 6));
    let even = plan_balance(&brokers, &applied(&partitions, &plan), PlanScope::All).unwrap();
    assert_eq!(even.shifts, []);
}

#[test]
fn larger_disks_get_more() {
    let sized = |id, size| BalanceBroker { capacity_bytes: Some(size), ..broker(id, None) };
    let brokers = [sized(1, 1000), sized(2, 3000)];
    let partitions: Vec<BalancePartition> =
        (0..40).map(|index| partition(index, &[1], 10)).collect();
    let plan = plan_balance(&brokers, &partitions, PlanScope::All).unwrap();
    assert_eq!((plan.after[&1].bytes, plan.after[&2].bytes), (100, 300));
    assert!(plan.imbalance_after.bytes < 1.01, "{:?}", plan.imbalance_after);
}

#[test]
fn a_disk_is_never_filled_beyond_what_is_free() {
    let mut brokers = [broker(1, None), broker(2, None)];
    brokers[1].free_bytes = Some(25);
    let partitions: Vec<BalancePartition> =
        (0..10).map(|index| partition(index, &[1], 10)).collect();
    let plan = plan_balance(&brokers, &partitions, PlanScope::All).unwrap();
    assert_eq!(plan.after[&2].bytes, 20);
    brokers[0].share = BrokerShare::Leaving;
    let why = plan_balance(&brokers, &partitions, PlanScope::Needed).unwrap_err();
    assert_eq!(why, PlanObstacle::NoRoom { place: TopicPartition::new("t", 2), bytes: 10 });
    assert_eq!(why.to_string(), "no other broker has room for the 10 B of partition t-2");
}

#[test]
fn replicas_of_one_rack_are_spread_and_stay_so() {
    let brokers =
        [broker(1, Some("a")), broker(2, Some("a")), broker(3, Some("b")), broker(4, Some("b"))];
    let partitions: Vec<BalancePartition> = (0..8)
        .map(|index| partition(index, if index < 4 { &[1, 2] } else { &[3, 1] }, 10))
        .collect();
    let plan = plan_balance(&brokers, &partitions, PlanScope::All).unwrap();
    for it in applied(&partitions, &plan) {
        assert_eq!(rack_count(&brokers, &it.replicas), 2, "{it:?}");
    }
    assert!(plan.after.values().all(|it| it.replicas == 4 && it.leaders == 2), "{:?}", plan.after);
}

#[test]
fn a_leaving_broker_is_emptied_and_nothing_else_moves() {
    let mut brokers: Vec<BalanceBroker> = (1..=4).map(|id| broker(id, None)).collect();
    brokers[3].share = BrokerShare::Leaving;
    let partitions: Vec<BalancePartition> =
        (0..12).map(|index| partition(index, &[1 + index % 4, 1 + (index + 1) % 4], 100)).collect();
    let plan = plan_balance(&brokers, &partitions, PlanScope::Needed).unwrap();
    assert_eq!(plan.after[&4], BrokerHolding::default());
    assert_eq!(plan.bytes_moved(), 600);
    assert!(plan.shifts.iter().all(|it| it.from.contains(&4)), "{:?}", plan.shifts);
    assert!([1, 2, 3].iter().all(|id| plan.after[id].replicas == 8), "{:?}", plan.after);
    brokers.remove(2);
    brokers.remove(1);
    let why = plan_balance(&brokers, &[partition(0, &[1, 4], 5)], PlanScope::Needed).unwrap_err();
    let said = "1 brokers remain, and these topics have more replicas: t (2)";
    assert_eq!(why.to_string(), said);
}

#[test]
fn more_replicas_come_to_the_emptiest_brokers_and_leaders_spread() {
    let brokers: Vec<BalanceBroker> = (1..=3).map(|id| broker(id, None)).collect();
    let partitions: Vec<BalancePartition> =
        (0..6).map(|index| BalancePartition { factor: 2, ..partition(index, &[1], 10) }).collect();
    let plan = plan_balance(&brokers, &partitions, PlanScope::Needed).unwrap();
    assert_eq!(plan.bytes_moved(), 60);
    let holds = |id| (plan.after[&id].replicas, plan.after[&id].leaders);
    assert_eq!([1, 2, 3].map(holds), [(6, 2), (3, 2), (3, 2)]);
}

#[test]
fn kept_brokers_and_chosen_topics_keep_what_they_have() {
    let mut brokers: Vec<BalanceBroker> = (1..=3).map(|id| broker(id, None)).collect();
    brokers[0].share = BrokerShare::Kept;
    let partitions: Vec<BalancePartition> = (0..6)
        .map(|index| BalancePartition {
            is_movable: index > 1,
            ..partition(index, &[if index < 1 { 1 } else { 2 }, 9], 10)
        })
        .collect();
    let plan = plan_balance(&brokers, &partitions, PlanScope::All).unwrap();
    assert!(plan.shifts.iter().all(|it| it.place.partition > 1), "{:?}", plan.shifts);
    assert_eq!((plan.after[&1].replicas, plan.after[&9].replicas), (1, 6));
    assert_eq!((plan.after[&2].replicas, plan.after[&3].replicas), (3, 2));
}
