//! Each assignor by example, and all of them on groups that dice make.

use ottla_clock::Clock;

use super::*;

fn member(id: &str, topics: &[&str]) -> Candidate {
    let topics = topics.iter().map(|it| (*it).to_owned()).collect();
    Candidate { id: id.to_owned(), topics, ..Candidate::default() }
}

fn sizes(all: &[(&str, i32)]) -> BTreeMap<String, i32> {
    all.iter().map(|(topic, size)| ((*topic).to_owned(), *size)).collect()
}

fn shown(all: &BTreeMap<String, Partitions>) -> Vec<String> {
    let one = |(id, places): (&String, &Partitions)| {
        let places: Vec<String> = places.iter().map(ToString::to_string).collect();
        format!("{id}: {}", places.join(" "))
    };
    all.iter().map(one).collect()
}

#[test]
fn ranges_are_cut_in_each_topic_alike() {
    let members = [member("a", &["t", "u"]), member("b", &["t", "u"])];
    let all = Assignor::Range.assign(&members, &sizes(&[("t", 3), ("u", 3)]));
    assert_eq!(shown(&all), ["a: t-0 t-1 u-0 u-1", "b: t-2 u-2"]);
}

#[test]
fn turns_pass_over_who_does_not_read_a_topic() {
    let members = [member("a", &["t"]), member("b", &["t", "u"]), member("c", &["t", "u"])];
    let all = Assignor::RoundRobin.assign(&members, &sizes(&[("t", 2), ("u", 3)]));
    assert_eq!(shown(&all), ["a: t-0", "b: t-1 u-1", "c: u-0 u-2"]);
}

#[test]
fn a_static_member_keeps_its_range_under_another_id() {
    let mut members = [member("z", &["t"]), member("b", &["t"])];
    members[0].instance = Some("first".to_owned());
    let all = Assignor::Range.assign(&members, &sizes(&[("t", 3)]));
    assert_eq!(shown(&all), ["b: t-2", "z: t-0 t-1"]);
}

#[test]
fn what_was_read_stays_and_the_ghost_of_an_earlier_generation_loses() {
    let mut members = [member("a", &["t"]), member("b", &["t"]), member("c", &["t"])];
    let place = |it| TopicPartition::new("t", it);
    members[0].owned = [place(0), place(1), place(2), place(3)].into();
    members[0].generation = 4;
    members[1].owned = [place(1), place(4)].into();
    members[1].generation = 3;
    let all = Assignor::Sticky.assign(&members, &sizes(&[("t", 6)]));
    assert_eq!(shown(&all), ["a: t-0 t-1", "b: t-3 t-4", "c: t-2 t-5"]);
    // Cooperatively, a partition that moves has no owner for one generation.
    let all = Assignor::CooperativeSticky.assign(&members, &sizes(&[("t", 6)]));
    assert_eq!(shown(&all), ["a: t-0 t-1", "b: t-4", "c: t-5"]);
}

#[test]
fn members_say_what_they_are_in_a_form_that_reads_back() {
    let topics: BTreeSet<String> = ["t".to_owned()].into();
    let owned: Partitions = [TopicPartition::new("t", 3), TopicPartition::new("u", 0)].into();
    for assignor in Assignor::ALL {
        let said = assignor.subscription(&topics, &owned, 7);
        let bytes = ottla_protocol::encode_value(&said, 3).unwrap();
        let read = assignor.candidate("m".to_owned(), None, &bytes).unwrap();
        let remembers = matches!(assignor, Assignor::Sticky | Assignor::CooperativeSticky);
        assert_eq!(read.owned, if remembers { owned.clone() } else { Partitions::new() });
        assert_eq!((read.topics, read.generation), (topics.clone(), 7));
        assert_eq!(Assignor::named(assignor.name()), Some(assignor));
    }
    let java = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    assert_eq!(Assignor::named(java), Some(Assignor::CooperativeSticky));
    assert_eq!(Assignor::named("fair"), None);
}

/// Every partition of a subscribed topic has one owner, which subscribes to it; loads differ no
/// more than subscriptions force them to; and again from there nothing moves.
#[test]
fn whoever_shares_out_gives_each_partition_once() {
    let clock = Clock::real();
    for _ in 0..200 {
        let below = |bound: u64| clock.random_below(bound);
        let sizes =
            sizes(&[("t", below(7) as i32), ("u", below(5) as i32), ("v", below(4) as i32)]);
        let alike = below(2) == 0;
        let members: Vec<Candidate> = (0..=below(5))
            .map(|at| {
                let all = ["t", "u", "v"];
                let some = all.into_iter().filter(|_| alike || below(3) > 0).collect::<Vec<_>>();
                member(&format!("m{at}"), &some)
            })
            .collect();
        for assignor in Assignor::ALL {
            let found = assignor.assign(&members, &sizes);
            let mut given: Vec<&TopicPartition> = found.values().flatten().collect();
            let count = given.len();
            given.sort();
            given.dedup();
            assert_eq!(given.len(), count, "{assignor:?}: one owner each");
            let read = |topic: &str| members.iter().any(|it| it.topics.contains(topic));
            let wanted = all_partitions(&sizes).filter(|it| read(&it.topic)).count();
            assert_eq!(count, wanted, "{assignor:?}: {members:?}");
            for it in &members {
                assert!(found[&it.id].iter().all(|place| it.topics.contains(&*place.topic)));
            }
            if assignor != Assignor::Sticky {
                continue;
            }
            let loads: Vec<usize> = found.values().map(BTreeSet::len).collect();
            assert!(!alike || loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
            let again: Vec<Candidate> = members
                .iter()
                .map(|it| Candidate { owned: found[&it.id].clone(), ..it.clone() })
                .collect();
            assert_eq!(assignor.assign(&again, &sizes), found, "nothing moves without a reason");
        }
    }
}
