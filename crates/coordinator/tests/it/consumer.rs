//! Groups whose coordinator assigns: by the book, and in a network that loses and repeats.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_coordinator::group::{
    GroupCommand, GroupMachine, GroupReply, GroupSettings, MemberClient, OwnSettings, TopicCatalog,
};
use ottla_machine::testkit::MachineBench;
use ottla_machine::{Machine as _, Note};
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_types::{ErrorCode, Uuid};

use crate::play::{Dice, GROUP, restarted};

const TOPIC: Uuid = Uuid::of(100);
const SESSION_MS: i64 = 45_000;

type Owned = BTreeSet<(Uuid, i32)>;

fn topics(version: i64, sizes: &[(&str, u64, i32)]) -> GroupSettings {
    let all = sizes.iter().map(|(name, id, size)| (Arc::from(*name), Uuid::of(*id), *size));
    let topics = Arc::new(TopicCatalog::new(version, all));
    GroupSettings { topics, ..GroupSettings::default() }
}

fn stage() -> MachineBench<GroupMachine> {
    let mut bench = MachineBench::new(GroupMachine::new(GroupSettings::default()), 1_000_000);
    bench.machine.set_settings(topics(1, &[("t", 100, 6), ("other", 101, 3), ("odd", 102, 1)]));
    bench.run(GroupCommand::Loaded);
    bench
}

fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn joining(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..beat(member, 0)
    }
}

fn owning(
    mut request: ConsumerGroupHeartbeatRequest,
    owned: &Owned,
) -> ConsumerGroupHeartbeatRequest {
    let mut all: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in owned {
        all.entry(*topic).or_default().push(*partition);
    }
    let all = all.into_iter().map(|(topic_id, partitions)| TopicPartitions {
        topic_id,
        partitions,
        ..Default::default()
    });
    request.topic_partitions = Some(all.collect());
    request
}

fn told(
    bench: &mut MachineBench<GroupMachine>,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let client = MemberClient { id: "c".to_owned(), host: "/127.0.0.1".to_owned() };
    match bench.run(GroupCommand::ConsumerHeartbeat { request, client }).1.pop() {
        Some((_, GroupReply::ConsumerHeartbeat(response))) => response,
        other => panic!("no answer to the heartbeat: {other:?}"),
    }
}

fn assigned(response: &ConsumerGroupHeartbeatResponse) -> Option<Owned> {
    let all = response.assignment.as_ref()?.topic_partitions.iter();
    Some(all.flat_map(|it| it.partitions.iter().map(|at| (it.topic_id, *at))).collect())
}

fn places(partitions: &[i32]) -> Owned {
    partitions.iter().map(|it| (TOPIC, *it)).collect()
}

#[test]
fn a_member_gives_up_before_another_gets() {
    let mut bench = stage();
    let one = told(&mut bench, joining("a"));
    assert_eq!(assigned(&one), Some(places(&[0, 1, 2, 3, 4, 5])));
    let two = told(&mut bench, joining("b"));
    assert_eq!(assigned(&two), Some(places(&[])), "all of it is still the first's");
    assert!(two.heartbeat_interval_ms < 5000, "it need not wait long");
    let one = told(&mut bench, beat("a", one.member_epoch));
    assert_eq!(assigned(&one), Some(places(&[0, 1, 2])));
    let epoch = one.member_epoch;
    let two = told(&mut bench, beat("b", two.member_epoch));
    assert_eq!(assigned(&two), None, "nothing is free yet");
    let one = told(&mut bench, owning(beat("a", epoch), &places(&[0, 1, 2])));
    assert!(one.member_epoch > epoch, "it has given up, and may go on");
    let two = told(&mut bench, beat("b", two.member_epoch));
    assert_eq!(assigned(&two), Some(places(&[3, 4, 5])));
    assert_eq!(bench.machine.stored().consumers[GROUP].state(), "Stable");
    // What it holds back is taken from it, with its membership.
    let three = told(&mut bench, joining("c"));
    told(&mut bench, beat("a", one.member_epoch));
    bench.pass(30_001);
    let late = told(&mut bench, beat("a", one.member_epoch));
    assert_eq!(late.error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    assert_eq!(told(&mut bench, beat("c", three.member_epoch)).error_code, 0);
}

#[test]
fn a_heartbeat_renames_no_member() {
    let named = |request: ConsumerGroupHeartbeatRequest, instance: &str| {
        let instance_id = Some(instance.to_owned());
        ConsumerGroupHeartbeatRequest { instance_id, ..request }
    };
    let mut bench = stage();
    let fixed = told(&mut bench, named(joining("static"), "i")).member_epoch;
    let dynamic = told(&mut bench, joining("dynamic")).member_epoch;
    let cases = [
        ("static", fixed, "i", ErrorCode::NONE),
        ("static", fixed, "foreign", ErrorCode::UNKNOWN_MEMBER_ID),
        ("dynamic", dynamic, "foreign", ErrorCode::UNKNOWN_MEMBER_ID),
        ("dynamic", dynamic, "i", ErrorCode::FENCED_INSTANCE_ID),
        ("stranger", fixed, "i", ErrorCode::FENCED_INSTANCE_ID),
        ("stranger", fixed, "foreign", ErrorCode::UNKNOWN_MEMBER_ID),
    ];
    for (member, epoch, instance, code) in cases {
        let answer = told(&mut bench, named(beat(member, epoch), instance));
        assert_eq!(answer.error_code, code.0, "{member} as {instance}");
    }
    let members = &bench.machine.stored().consumers[GROUP].members;
    let names: Vec<_> = members.values().map(|it| it.instance.as_deref()).collect();
    assert_eq!(names, [None, Some("i")]);
    // A member that joins again may take an instance id.
    assert_eq!(told(&mut bench, named(joining("dynamic"), "new")).error_code, 0);
}

#[test]
fn a_member_that_says_too_much_is_refused() {
    let mut bench = stage();
    let epoch = told(&mut bench, joining("a")).member_epoch;
    let names = (0..50_000).map(|number| format!("a-topic-that-is-not-there-{number}"));
    let request = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(names.collect()),
        ..joining("b")
    };
    let answer = told(&mut bench, request);
    assert_eq!(answer.error_code, ErrorCode::UNKNOWN_SERVER_ERROR.0);
    assert_eq!(bench.machine.stored().consumers[GROUP].members.len(), 1);
    assert_eq!(told(&mut bench, beat("a", epoch)).error_code, 0, "the other goes on");
}

#[test]
fn epochs_tell_members_from_their_ghosts() {
    let mut bench = stage();
    let one = told(&mut bench, joining("a"));
    let epoch = one.member_epoch;
    let code = |bench: &mut _, request| ErrorCode(told(bench, request).error_code);
    assert_eq!(code(&mut bench, beat("a", epoch + 1)), ErrorCode::FENCED_MEMBER_EPOCH);
    assert_eq!(code(&mut bench, beat("unknown-member", epoch)), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(code(&mut bench, beat("a", -3)), ErrorCode::INVALID_REQUEST);
    let elsewhere = ConsumerGroupHeartbeatRequest { group_id: "x".to_owned(), ..beat("a", 1) };
    assert_eq!(code(&mut bench, elsewhere), ErrorCode::GROUP_ID_NOT_FOUND);
    let odd = Some("fair".to_owned());
    let odd = ConsumerGroupHeartbeatRequest { server_assignor: odd, ..joining("b") };
    assert_eq!(code(&mut bench, odd), ErrorCode::UNSUPPORTED_ASSIGNOR);
    // The member lost the answer: it asks again with its old epoch and partitions.
    bench.machine.set_settings(topics(2, &[("t", 100, 8)]));
    let further = told(&mut bench, owning(beat("a", epoch), &assigned(&one).unwrap()));
    assert!(further.member_epoch > epoch);
    let full = ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..joining("a") };
    let again = told(&mut bench, owning(full, &assigned(&one).unwrap()));
    assert_eq!((again.error_code, again.member_epoch), (0, further.member_epoch));
    assert_eq!(assigned(&again).unwrap().len(), 8);
    assert_eq!(code(&mut bench, beat("a", epoch)), ErrorCode::FENCED_MEMBER_EPOCH);
}

#[test]
fn a_group_can_have_settings_of_its_own() {
    let mut bench = stage();
    let topics = Arc::new(TopicCatalog::new(1, [(Arc::from("t"), TOPIC, 6)].into_iter()));
    let own = OwnSettings { session_timeout_ms: Some(50_000), heartbeat_interval_ms: Some(7_000) };
    let own = Arc::new([(GROUP.to_owned(), own)].into());
    bench.machine.set_settings(GroupSettings { topics, own, ..GroupSettings::default() });
    let told_one = told(&mut bench, joining("a"));
    assert_eq!(told_one.heartbeat_interval_ms, 7_000);
    let elsewhere = ConsumerGroupHeartbeatRequest { group_id: "x".to_owned(), ..joining("a") };
    assert_eq!(told(&mut bench, elsewhere).heartbeat_interval_ms, 1_000);
    bench.pass(SESSION_MS + 4_000);
    let groups = &bench.machine.stored().consumers;
    assert_eq!((groups[GROUP].members.len(), groups["x"].members.len()), (1, 0));
}

#[test]
fn patterns_follow_topics_as_they_come_and_go() {
    let mut bench = stage();
    let by = |regex: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(regex.to_owned()),
        ..joining("a")
    };
    let broken = told(&mut bench, by("o("));
    assert_eq!(broken.error_code, ErrorCode::INVALID_REGULAR_EXPRESSION.0);
    let one = told(&mut bench, by("o.*"));
    assert_eq!(assigned(&one).unwrap().len(), 4, "other and odd");
    bench.machine.set_settings(topics(2, &[("odd", 102, 1), ("oh", 103, 2), ("who", 104, 9)]));
    let one = told(&mut bench, owning(beat("a", one.member_epoch), &assigned(&one).unwrap()));
    let now = assigned(&one).unwrap();
    assert!(now.contains(&(Uuid::of(102), 0)) && !now.contains(&(Uuid::of(101), 0)), "{now:?}");
    // Time in the size of the text, whatever the pattern.
    assert_eq!(
        told(
            &mut bench,
            ConsumerGroupHeartbeatRequest { member_id: "b".to_owned(), ..by("(a*)*(a*)*(a*)*b") }
        )
        .error_code,
        0
    );
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut bench = stage();
    let named = |member: &str, epoch| {
        let instance_id = Some("machine".to_owned());
        let request = if epoch == 0 { joining(member) } else { beat(member, epoch) };
        ConsumerGroupHeartbeatRequest { instance_id, ..request }
    };
    let one = told(&mut bench, named("a", 0));
    told(&mut bench, joining("b"));
    let two = told(&mut bench, named("z", 0));
    assert_eq!(two.error_code, ErrorCode::UNRELEASED_INSTANCE_ID.0, "it is still there");
    assert_eq!(told(&mut bench, named("a", -2)).member_epoch, -2);
    let back = told(&mut bench, named("z", 0));
    assert_eq!(back.error_code, 0);
    let had = assigned(&one).unwrap();
    assert!(assigned(&back).unwrap().is_subset(&had) && !assigned(&back).unwrap().is_empty());
    assert_eq!(told(&mut bench, named("a", 1)).error_code, ErrorCode::FENCED_INSTANCE_ID.0);
    assert_eq!(bench.machine.stored().consumers[GROUP].members.len(), 2);
}

#[test]
fn ranges_of_topics_of_one_size_lie_alike() {
    let mut bench = stage();
    bench.machine.set_settings(topics(2, &[("t", 100, 5), ("u", 101, 5)]));
    let both = |member: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec!["t".to_owned(), "u".to_owned()]),
        server_assignor: Some("range".to_owned()),
        ..joining(member)
    };
    told(&mut bench, both("a"));
    told(&mut bench, both("b"));
    let group = &bench.machine.stored().consumers[GROUP];
    let of = |member: &str| group.targets[member].values().cloned().collect::<Vec<_>>();
    assert_eq!(of("a"), [BTreeSet::from([0, 1, 2]), BTreeSet::from([0, 1, 2])]);
    assert_eq!(of("b"), [BTreeSet::from([3, 4]), BTreeSet::from([3, 4])]);
}

/// A client that follows the protocol, and what it believes to own.
#[derive(Clone, Default)]
struct Consumer {
    id: String,
    epoch: i32,
    owned: Owned,
    /// The assignment that it got, if it has to revoke partitions first.
    wanted: Owned,
    /// When it was last heard.
    heard_ms: i64,
}

impl Consumer {
    /// It asks; the answer may be lost.
    fn beat(&mut self, bench: &mut MachineBench<GroupMachine>, is_lost: bool) {
        if bench.now_ms - self.heard_ms > SESSION_MS {
            // It knows that the coordinator has given it up.
            (self.epoch, self.owned, self.wanted) = (0, Owned::new(), Owned::new());
        }
        let request = if self.epoch == 0 {
            joining(&self.id)
        } else {
            // Everything each time, as after an answer that was lost.
            let all =
                ConsumerGroupHeartbeatRequest { member_epoch: self.epoch, ..joining(&self.id) };
            owning(all, &self.owned)
        };
        let response = told(bench, request);
        if is_lost {
            return;
        }
        self.heard_ms = bench.now_ms;
        if response.error_code != 0 {
            (self.epoch, self.owned, self.wanted) = (0, Owned::new(), Owned::new());
            return;
        }
        self.epoch = response.member_epoch;
        if let Some(assigned) = assigned(&response) {
            self.wanted = assigned;
            // It gives up at once, and takes what is new.
            self.owned = self.wanted.clone();
        }
    }
}

/// Members come, go, crash and are silent; answers are lost; topics grow; the node starts again.
#[test]
fn a_partition_has_one_owner_whatever_happens() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut bench = stage();
        let (mut size, mut version) = (6, 1);
        let mut all: Vec<Consumer> = Vec::new();
        let mut named = 0;
        for _ in 0..200 {
            match dice.below(20) {
                0 if all.len() < 5 => {
                    named += 1;
                    let heard_ms = bench.now_ms;
                    all.push(Consumer { id: format!("m{named}"), heard_ms, ..Consumer::default() });
                }
                1 if !all.is_empty() => {
                    let at = dice.below(all.len());
                    let gone = all.swap_remove(at);
                    if dice.below(2) == 0 && gone.epoch > 0 {
                        told(&mut bench, beat(&gone.id, -1));
                    }
                }
                2 => {
                    bench.pass(i64::try_from(dice.below(9_000)).unwrap());
                }
                3 if size < 12 => {
                    (size, version) = (size + 1, version + 1);
                    bench.machine.set_settings(topics(version, &[("t", 100, size)]));
                }
                4 => bench = again(bench, version, size),
                _ if !all.is_empty() => {
                    let at = dice.below(all.len());
                    let is_lost = dice.below(6) == 0;
                    all[at].beat(&mut bench, is_lost);
                }
                _ => {}
            }
            let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
            for one in all.iter().filter(|it| bench.now_ms - it.heard_ms <= SESSION_MS) {
                for place in &one.owned {
                    let other = owners.insert(*place, &one.id);
                    assert_eq!(other, None, "seed {seed}: G2 OneOwner of {place:?}: {}", one.id);
                }
            }
        }
        // Then the group is stable: every partition is assigned, and evenly so.
        for _ in 0..30 {
            bench.pass(3_000);
            all.iter_mut().for_each(|it| it.beat(&mut bench, false));
        }
        if all.is_empty() {
            continue;
        }
        let loads: Vec<usize> = all.iter().map(|it| it.owned.len()).collect();
        assert_eq!(loads.iter().sum::<usize>(), usize::try_from(size).unwrap(), "seed {seed}");
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "seed {seed}");
        assert_eq!(bench.machine.stored().consumers[GROUP].state(), "Stable", "seed {seed}");
    }
}

/// The node starts again: another machine reads what was written.
fn again(bench: MachineBench<GroupMachine>, version: i64, size: i32) -> MachineBench<GroupMachine> {
    restarted(bench, topics(version, &[("t", 100, size)]))
}

#[test]
fn each_rebalance_in_the_log_has_its_end() {
    let mut bench = stage();
    let events = |bench: &mut MachineBench<GroupMachine>| -> Vec<(&str, i32, usize)> {
        let all = bench.notes.drain(..);
        let word = |event: &'static str| event.strip_prefix("group rebalance ").unwrap();
        let told = |note: Note| match note {
            Note::Group { event, generation, members, .. } => (word(event), generation, members),
            Note::Broker { .. } => panic!("{note:?}"),
        };
        all.map(told).collect()
    };
    let one = told(&mut bench, joining("a"));
    let epoch = one.member_epoch;
    // A member that is alone has everything at once.
    assert_eq!(events(&mut bench), [("started", epoch, 1), ("finished", epoch, 1)]);
    let two = told(&mut bench, joining("b"));
    let next = two.member_epoch;
    assert_eq!(events(&mut bench), [("started", next, 2)], "the other has not given up yet");
    told(&mut bench, beat("a", epoch));
    assert_eq!(events(&mut bench), []);
    told(&mut bench, owning(beat("a", epoch), &places(&[0, 1, 2])));
    assert_eq!(events(&mut bench), [], "the second does not have it yet");
    told(&mut bench, beat("b", next));
    assert_eq!(events(&mut bench), [("finished", next, 2)]);
    told(&mut bench, beat("b", next));
    assert_eq!(events(&mut bench), [], "nothing has happened");
    told(&mut bench, beat("b", -1));
    assert_eq!(events(&mut bench), [("started", next + 1, 1)]);
    told(&mut bench, beat("a", -1));
    let gone = [("started", next + 2, 0), ("finished", next + 2, 0)];
    assert_eq!(events(&mut bench), gone);
}
