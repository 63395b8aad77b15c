//! Groups that change their kind while their members stay: by the book, and in every order that
//! dice find.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinator::group::{
    GroupCommand, GroupMachine, GroupReply, GroupSettings, JoinCommand, MemberClient, Migration,
    TopicCatalog,
};
use ottla_machine::testkit::MachineBench;
use ottla_machine::{Machine as _, Ticket};
use ottla_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::shared::consumer_protocol_assignment as given;
use ottla_protocol::shared::consumer_protocol_subscription as said;
use ottla_protocol::{Decoder, Message, encode_value};
use ottla_types::{ErrorCode, Uuid};

use crate::play::{self, Dice, GROUP, heartbeat, leave};

const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid::of(100);
pub const SIZE: i32 = 6;
pub const SESSION_MS: i32 = 45_000;
/// Longer than a session: a silent member is removed before its time to answer is over.
pub const REBALANCE_MS: i32 = 60_000;

pub type Stage = MachineBench<GroupMachine>;
pub type Owned = BTreeSet<i32>;

pub fn settings() -> GroupSettings {
    let topics = TopicCatalog::new(1, [(Arc::from(TOPIC), TOPIC_ID, SIZE)].into_iter());
    GroupSettings { topics: Arc::new(topics), ..play::settings() }
}

pub fn stage() -> Stage {
    let mut bench = MachineBench::new(GroupMachine::new(settings()), 1_000_000);
    bench.run(GroupCommand::Loaded);
    bench
}

/// What a classic member says: that it reads the topic, and what it owns.
fn metadata(owned: &Owned) -> Bytes {
    let owned = said::TopicPartition {
        topic: TOPIC.to_owned(),
        partitions: owned.iter().copied().collect(),
        ..Default::default()
    };
    let text = said::ConsumerProtocolSubscription {
        topics: vec![TOPIC.to_owned()],
        owned_partitions: vec![owned],
        ..Default::default()
    };
    encode_value(&text, 1).unwrap()
}

fn assignment(partitions: &Owned) -> Bytes {
    let partitions = given::TopicPartition {
        topic: TOPIC.to_owned(),
        partitions: partitions.iter().copied().collect(),
        ..Default::default()
    };
    let text = given::ConsumerProtocolAssignment {
        assigned_partitions: vec![partitions],
        ..Default::default()
    };
    encode_value(&text, 1).unwrap()
}

fn read<M: Message>(bytes: &Bytes) -> M {
    let mut d = Decoder::new(bytes.clone());
    let version = d.i16().unwrap();
    M::decode(&mut d, version).unwrap()
}

fn partitions(assignment: &Bytes) -> Owned {
    let text: given::ConsumerProtocolAssignment = read(assignment);
    text.assigned_partitions.into_iter().flat_map(|it| it.partitions).collect()
}

pub fn join(member: &str, instance: Option<&str>, uuid: &str, owned: &Owned) -> GroupCommand {
    let GroupCommand::Join(JoinCommand { mut request, version, client, uuid }) =
        play::join(member, instance, uuid)
    else {
        unreachable!("it is a join");
    };
    request.session_timeout_ms = SESSION_MS;
    request.rebalance_timeout_ms = REBALANCE_MS;
    request.protocols[0].metadata = metadata(owned);
    GroupCommand::Join(JoinCommand { request, version, client, uuid })
}

pub fn sync(member: &str, generation: i32, assigned: &BTreeMap<String, Owned>) -> GroupCommand {
    let GroupCommand::Sync { mut request, version } = play::sync(member, generation, &[]) else {
        unreachable!("it is a sync");
    };
    let one = |(member, places): (&String, &Owned)| SyncGroupRequestAssignment {
        member_id: member.clone(),
        assignment: assignment(places),
        ..Default::default()
    };
    request.assignments = assigned.iter().map(one).collect();
    GroupCommand::Sync { request, version }
}

pub fn beat(member: &str, epoch: i32, owned: &Owned) -> GroupCommand {
    let partitions = owned.iter().copied().collect();
    let owned = TopicPartitions { topic_id: TOPIC_ID, partitions, ..Default::default() };
    let is_new = epoch == 0;
    // A member sends all its fields each time, as after an answer that was lost.
    let is_in = epoch >= 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        rebalance_timeout_ms: if is_in { REBALANCE_MS } else { -1 },
        subscribed_topic_names: is_in.then(|| vec![TOPIC.to_owned()]),
        topic_partitions: Some(if is_new { Vec::new() } else { vec![owned] }),
        ..Default::default()
    };
    let client = MemberClient { id: "c".to_owned(), host: "/127.0.0.1".to_owned() };
    GroupCommand::ConsumerHeartbeat { request, client }
}

fn told(bench: &mut Stage, command: GroupCommand) -> ConsumerGroupHeartbeatResponse {
    let (ticket, replies) = bench.run(command);
    match replies.into_iter().find(|(to, _)| *to == ticket) {
        Some((_, GroupReply::ConsumerHeartbeat(response))) => response,
        other => panic!("no answer to the heartbeat: {other:?}"),
    }
}

pub fn assigned(response: &ConsumerGroupHeartbeatResponse) -> Option<Owned> {
    let all = response.assignment.as_ref()?.topic_partitions.iter();
    Some(all.flat_map(|it| it.partitions.iter().copied()).collect())
}

/// A classic member on its own, which owns everything; says its id and generation.
pub fn alone(bench: &mut Stage, instance: Option<&str>) -> (String, i32) {
    let (ticket, replies) = bench.run(join("", instance, "one", &Owned::new()));
    let mut answer = play::joined(&replies, ticket);
    if answer.error_code == ErrorCode::MEMBER_ID_REQUIRED.0 {
        let (ticket, replies) = bench.run(join(&answer.member_id, None, "", &Owned::new()));
        answer = play::joined(&replies, ticket);
    }
    let all = BTreeMap::from([(answer.member_id.clone(), (0..SIZE).collect())]);
    bench.run(sync(&answer.member_id, answer.generation_id, &all));
    (answer.member_id, answer.generation_id)
}

fn beaten(bench: &mut Stage, member: &str, generation: i32) -> ErrorCode {
    play::beaten(&bench.run(heartbeat(member, generation)).1)
}

#[test]
fn a_classic_group_takes_in_a_member_of_the_new_protocol_and_is_classic_again_without_it() {
    let mut bench = stage();
    let (old, generation) = alone(&mut bench, None);
    let all: Owned = (0..SIZE).collect();
    let new = told(&mut bench, beat("n", 0, &Owned::new()));
    assert_eq!(
        (new.error_code, assigned(&new)),
        (0, Some(Owned::new())),
        "it is still the other's"
    );
    assert!(!bench.machine.stored().groups.contains_key(GROUP));
    let group = &bench.machine.stored().consumers[GROUP];
    assert_eq!(group.members[&old].classic.as_ref().unwrap().session_timeout_ms, SESSION_MS);
    // The classic member learns of it, joins without what it revokes, and is answered at once.
    let code = beaten(&mut bench, &old, generation);
    assert_eq!(code, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(beaten(&mut bench, &old, generation + 7), ErrorCode::ILLEGAL_GENERATION);
    let (ticket, replies) = bench.run(join(&old, None, "", &Owned::new()));
    let joined = play::joined(&replies, ticket);
    assert_eq!((joined.error_code, joined.leader.as_str(), joined.members.len()), (0, "", 0));
    assert_eq!(joined.generation_id, new.member_epoch);
    let (ticket, replies) = bench.run(sync(&old, joined.generation_id, &BTreeMap::new()));
    let mine = partitions(&play::synced(&replies, ticket).assignment);
    let new = told(&mut bench, beat("n", new.member_epoch, &Owned::new()));
    let theirs = assigned(&new).unwrap();
    assert_eq!(mine.union(&theirs).copied().collect::<Owned>(), all);
    assert_eq!((mine.len(), theirs.len()), (3, 3));
    assert_eq!(beaten(&mut bench, &old, joined.generation_id), ErrorCode::NONE);
    assert_eq!(bench.machine.stored().consumers[GROUP].state(), "Stable");
    bench = again(bench);
    // The new member leaves: the other rejoins by the classic protocol, and leads again.
    assert_eq!(told(&mut bench, beat("n", -1, &theirs)).error_code, 0);
    assert!(!bench.machine.stored().consumers.contains_key(GROUP));
    let code = beaten(&mut bench, &old, joined.generation_id);
    assert_eq!(code, ErrorCode::REBALANCE_IN_PROGRESS);
    let (ticket, replies) = bench.run(join(&old, None, "", &Owned::new()));
    let led = play::joined(&replies, ticket);
    assert_eq!((led.error_code, &led.leader), (0, &old));
    assert!(led.generation_id > joined.generation_id);
}

#[test]
fn a_loaded_group_is_called_together_if_its_leader_has_not_assigned() {
    let mut bench = stage();
    let (old, generation) = alone(&mut bench, None);
    bench = again(bench);
    let code = beaten(&mut bench, &old, generation);
    assert_eq!(code, ErrorCode::NONE, "its leader has assigned");
    told(&mut bench, beat("n", 0, &Owned::new()));
    told(&mut bench, beat("n", -1, &Owned::new()));
    // It is classic again, and the node stops before its member has joined.
    let generation = bench.machine.stored().groups[GROUP].generation;
    bench = again(bench);
    assert_eq!(beaten(&mut bench, &old, generation), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn an_operator_can_forbid_either_way() {
    let with = |up, down| GroupSettings { migration: Migration { up, down }, ..settings() };
    let mut bench = stage();
    let (old, generation) = alone(&mut bench, None);
    bench.machine.set_settings(with(false, true));
    let refused = told(&mut bench, beat("n", 0, &Owned::new()));
    assert_eq!(refused.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
    assert_eq!(beaten(&mut bench, &old, generation), ErrorCode::NONE, "nothing has happened");
    bench.machine.set_settings(with(true, false));
    let new = told(&mut bench, beat("n", 0, &Owned::new()));
    assert_eq!(told(&mut bench, beat("n", -1, &Owned::new())).error_code, 0);
    let group = &bench.machine.stored().consumers[GROUP];
    assert_eq!(group.members.keys().collect::<Vec<_>>(), [&old], "it remains, and knows both ways");
    assert!(group.epoch > new.member_epoch);
}

#[test]
fn a_static_member_changes_its_protocol_and_keeps_its_place() {
    let mut bench = stage();
    let (old, _) = alone(&mut bench, Some("machine"));
    let named = |member: &str, epoch| {
        let GroupCommand::ConsumerHeartbeat { mut request, client } =
            beat(member, epoch, &Owned::new())
        else {
            unreachable!("it is a heartbeat");
        };
        request.instance_id = Some("machine".to_owned());
        GroupCommand::ConsumerHeartbeat { request, client }
    };
    // It comes back as a member of the new protocol, and has what it had.
    let new = told(&mut bench, named("n", 0));
    assert_eq!((new.error_code, assigned(&new).map(|it| it.len())), (0, Some(6)));
    assert!(!bench.machine.stored().consumers[GROUP].members.contains_key(&old));
    // And back again: no other member uses the new protocol, so that the group is classic.
    let (ticket, replies) = bench.run(join("", Some("machine"), "two", &Owned::new()));
    let joined = play::joined(&replies, ticket);
    assert_eq!(joined.error_code, 0);
    assert!(!bench.machine.stored().consumers.contains_key(GROUP));
    let (ticket, replies) =
        bench.run(sync(&joined.member_id, joined.generation_id, &BTreeMap::new()));
    assert_eq!(partitions(&play::synced(&replies, ticket).assignment).len(), 6);
    let late = told(&mut bench, named("n", new.member_epoch));
    assert_eq!(late.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
}

#[test]
fn a_classic_member_that_does_not_come_when_called_is_out() {
    let mut bench = stage();
    let (old, generation) = alone(&mut bench, None);
    let new = told(&mut bench, beat("n", 0, &Owned::new()));
    // It goes on with heartbeats, but never joins again.
    let mut epoch = new.member_epoch;
    for _ in 0..7 {
        let _ = bench.run(heartbeat(&old, generation));
        bench.pass(10_000);
        epoch = told(&mut bench, beat("n", epoch, &Owned::new())).member_epoch;
    }
    assert_eq!(beaten(&mut bench, &old, generation), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.machine.stored().consumers[GROUP].members.len(), 1);
}

/// How a member speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speech {
    New,
    /// Gives everything up before it joins.
    Eager,
    /// Keeps what it has, and gives up only what it is not given again.
    Cooperative,
}

#[derive(Debug)]
enum Step {
    Out,
    /// It knows the generation, and what it gives to whom if it leads.
    Told(BTreeMap<String, Owned>),
    In,
    Waits(Ticket),
}

#[derive(Debug)]
struct Consumer {
    name: String,
    speech: Speech,
    id: String,
    epoch: i32,
    owned: Owned,
    step: Step,
    heard_ms: i64,
}

impl Consumer {
    fn new(name: String, speech: Speech, heard_ms: i64) -> Self {
        let id = if speech == Speech::New { name.clone() } else { String::new() };
        Self { name, speech, id, epoch: 0, owned: Owned::new(), step: Step::Out, heard_ms }
    }

    fn is_out(&mut self, code: ErrorCode) {
        if code == ErrorCode::UNKNOWN_MEMBER_ID {
            self.id.clear();
        }
        if code != ErrorCode::REBALANCE_IN_PROGRESS && code != ErrorCode::MEMBER_ID_REQUIRED {
            self.owned.clear();
        }
        self.step = Step::Out;
    }

    fn request(&mut self, now_ms: i64) -> Option<GroupCommand> {
        if now_ms - self.heard_ms > i64::from(SESSION_MS) && !matches!(self.step, Step::Waits(_)) {
            (self.epoch, self.step) = (0, Step::Out);
            self.owned.clear();
        }
        if self.speech == Speech::New {
            return Some(beat(&self.id, self.epoch, &self.owned));
        }
        match &self.step {
            Step::Waits(_) => None,
            Step::Out => {
                if self.speech == Speech::Eager {
                    self.owned.clear();
                }
                Some(join(&self.id, None, &self.name, &self.owned))
            }
            Step::Told(gives) => Some(sync(&self.id, self.epoch, gives)),
            Step::In => Some(heartbeat(&self.id, self.epoch)),
        }
    }

    fn hears(&mut self, reply: &GroupReply, now_ms: i64) {
        self.heard_ms = now_ms;
        match reply {
            GroupReply::ConsumerHeartbeat(response) if response.error_code != 0 => {
                self.epoch = 0;
                self.owned.clear();
            }
            GroupReply::ConsumerHeartbeat(response) => {
                self.epoch = response.member_epoch;
                self.owned = assigned(response).unwrap_or_else(|| self.owned.clone());
            }
            GroupReply::Join(response) => self.joined(response),
            GroupReply::Sync(response) if response.error_code == 0 => {
                let now = partitions(&response.assignment);
                let gives_up = !self.owned.is_subset(&now);
                self.owned = now;
                // A member that has revoked partitions joins again, so that another gets them.
                let again = gives_up && self.speech == Speech::Cooperative;
                self.step = if again { Step::Out } else { Step::In };
            }
            GroupReply::Sync(response) => self.is_out(ErrorCode(response.error_code)),
            GroupReply::Heartbeat(response) if response.error_code == 0 => self.step = Step::In,
            GroupReply::Heartbeat(response) => self.is_out(ErrorCode(response.error_code)),
            other => panic!("unexpected reply {other:?}"),
        }
    }

    fn joined(&mut self, response: &JoinGroupResponse) {
        if response.error_code != 0 {
            self.is_out(ErrorCode(response.error_code));
            if response.error_code == ErrorCode::MEMBER_ID_REQUIRED.0 {
                self.id.clone_from(&response.member_id);
            }
            return;
        }
        self.id.clone_from(&response.member_id);
        self.epoch = response.generation_id;
        let leads = response.leader == self.id;
        self.step = Step::Told(if leads { share(response) } else { BTreeMap::new() });
    }
}

/// As leader: members keep their share; a partition that moves has no owner for one round.
fn share(response: &JoinGroupResponse) -> BTreeMap<String, Owned> {
    let mut owners: BTreeMap<i32, &str> = BTreeMap::new();
    for it in &response.members {
        let text: said::ConsumerProtocolSubscription = read(&it.metadata);
        for partition in text.owned_partitions.into_iter().flat_map(|it| it.partitions) {
            owners.insert(partition, &it.member_id);
        }
    }
    let mut all: BTreeMap<String, Owned> =
        response.members.iter().map(|it| (it.member_id.clone(), Owned::new())).collect();
    let most = usize::try_from(SIZE).unwrap().div_ceil(all.len());
    for (partition, owner) in &owners {
        let mine = all.get_mut(*owner).unwrap();
        if mine.len() < most {
            mine.insert(*partition);
        }
    }
    for partition in (0..SIZE).filter(|it| !owners.contains_key(it)) {
        let least = all.values_mut().min_by_key(|it| it.len()).unwrap();
        least.insert(partition);
    }
    all
}

struct World {
    bench: Stage,
    all: Vec<Consumer>,
}

impl World {
    fn deliver(&mut self, replies: Vec<(Ticket, GroupReply)>) {
        let now = self.bench.now_ms;
        for (ticket, reply) in replies {
            let waits = |it: &&mut Consumer| matches!(it.step, Step::Waits(at) if at == ticket);
            if let Some(one) = self.all.iter_mut().find(waits) {
                one.step = Step::Out;
                one.hears(&reply, now);
            }
        }
    }

    /// It asks; the answer may come at once, later, or (of the new protocol) never.
    fn act(&mut self, at: usize, is_lost: bool) {
        let Some(command) = self.all[at].request(self.bench.now_ms) else { return };
        let (ticket, replies) = self.bench.run(command);
        let keeps_waiting = !(is_lost && self.all[at].speech == Speech::New);
        if keeps_waiting {
            self.all[at].step = Step::Waits(ticket);
        }
        self.deliver(replies);
        self.check();
    }

    fn pass(&mut self, ms: usize) {
        let replies = self.bench.pass(i64::try_from(ms).unwrap());
        self.deliver(replies);
        self.check();
    }

    /// The node starts again: requests that wait are not answered.
    fn restart(self) -> Self {
        let mut all = self.all;
        for one in all.iter_mut().filter(|it| matches!(it.step, Step::Waits(_))) {
            one.step = Step::Out;
        }
        Self { bench: again(self.bench), all }
    }

    fn goes(&mut self, at: usize, says_so: bool) {
        let gone = self.all.swap_remove(at);
        if !says_so || gone.id.is_empty() {
            return;
        }
        let command = match gone.speech {
            Speech::New => beat(&gone.id, -1, &Owned::new()),
            _ => leave(&gone.id, None),
        };
        let (_, replies) = self.bench.run(command);
        self.deliver(replies);
    }

    fn check(&self) {
        let mut owners: BTreeMap<i32, &str> = BTreeMap::new();
        let now = self.bench.now_ms;
        for one in self.all.iter().filter(|it| now - it.heard_ms <= i64::from(SESSION_MS)) {
            for place in &one.owned {
                let other = owners.insert(*place, &one.name);
                assert_eq!(other, None, "G2 OneOwner of {place}: {}", one.name);
            }
        }
    }
}

/// The node starts again: another machine reads what is left of the log.
pub fn again(bench: Stage) -> Stage {
    play::restarted(bench, settings())
}

fn life(seed: u64, old: Speech) {
    let mut dice = Dice(seed);
    let mut world = World { bench: stage(), all: Vec::new() };
    for named in 0..250 {
        match dice.below(24) {
            0 | 1 if world.all.len() < 5 => {
                let speech = if dice.below(2) == 0 { Speech::New } else { old };
                let now = world.bench.now_ms;
                world.all.push(Consumer::new(format!("m{named}"), speech, now));
            }
            2 if !world.all.is_empty() => {
                let at = dice.below(world.all.len());
                world.goes(at, dice.below(3) > 0);
            }
            3 | 4 => world.pass(dice.below(9_000)),
            5 if dice.below(3) == 0 => world = world.restart(),
            _ if !world.all.is_empty() => {
                let at = dice.below(world.all.len());
                let is_lost = dice.below(6) == 0;
                world.act(at, is_lost);
            }
            _ => {}
        }
    }
    // Then the group is stable: every partition is assigned, and it has its members' protocol.
    for _ in 0..80 {
        world.pass(2_000);
        (0..world.all.len()).for_each(|at| world.act(at, false));
    }
    if world.all.is_empty() {
        return;
    }
    let loads: Vec<usize> = world.all.iter().map(|it| it.owned.len()).collect();
    assert_eq!(loads.iter().sum::<usize>(), 6, "{:#?}", world.all);
    assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 2, "{:#?}", world.all);
    let is_new = world.all.iter().any(|it| it.speech == Speech::New);
    assert_eq!(world.bench.machine.stored().consumers.contains_key(GROUP), is_new);
    assert_eq!(world.bench.machine.stored().groups.contains_key(GROUP), !is_new);
}

/// Members of both protocols come, go, crash and are silent; answers are lost; the node restarts.
#[test]
fn a_partition_has_one_owner_while_the_group_changes_its_kind() {
    for seed in 0..300 {
        for old in [Speech::Eager, Speech::Cooperative] {
            let lived = std::panic::catch_unwind(|| life(seed, old));
            assert!(lived.is_ok(), "seed {seed}, {old:?}");
        }
    }
}
