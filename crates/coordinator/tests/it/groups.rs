//! Every state of a group against everything that can be asked of it, in both protocols.

use std::collections::BTreeMap;
use std::fmt::Write;

use ottla_coordinator::group::{GroupCommand, GroupReply};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_types::ErrorCode;

use crate::migration::{
    Owned, REBALANCE_MS, SESSION_MS, SIZE, Stage, again, alone, assigned, beat, join, stage, sync,
};
use crate::play::{GROUP, heartbeat, leave};

/// The member that acts, and its epoch or generation.
#[derive(Clone, Debug, Default)]
struct Actor {
    id: String,
    epoch: i32,
    /// What it owns, as it believes.
    owned: Owned,
    instance: Option<&'static str>,
}

impl Actor {
    fn beat(&self, epoch: i32, owned: Option<&Owned>) -> GroupCommand {
        let said = beat(&self.id, epoch, owned.unwrap_or(&self.owned));
        let GroupCommand::ConsumerHeartbeat { mut request, client } = said else {
            unreachable!("it is a heartbeat");
        };
        if owned.is_none() && epoch != 0 {
            request.topic_partitions = None;
        }
        request.instance_id = self.instance.map(str::to_owned);
        GroupCommand::ConsumerHeartbeat { request, client }
    }
}

/// The answer, in short: an error's name, or what is worth knowing. Epochs count from the actor's.
fn told(bench: &mut Stage, actor: &Actor, command: GroupCommand) -> String {
    let (ticket, replies) = bench.run(command);
    let answer = replies.into_iter().find(|(to, _)| *to == ticket).map(|(_, reply)| reply);
    let (code, more) = match answer {
        None => return "waits".to_owned(),
        Some(GroupReply::ConsumerHeartbeat(it)) => {
            let epoch = it.member_epoch;
            let delta = if epoch < 0 { epoch } else { epoch - actor.epoch };
            let has = assigned(&it).map_or_else(String::new, |it| format!(" has {}", it.len()));
            (it.error_code, format!("{delta:+}{has}"))
        }
        Some(GroupReply::Join(it)) => {
            let leads = if it.leader == it.member_id { " leads" } else { "" };
            (it.error_code, format!("{:+}{leads}", it.generation_id - actor.epoch))
        }
        Some(GroupReply::Sync(it)) => {
            (it.error_code, if it.assignment.is_empty() { "nothing" } else { "given" }.to_owned())
        }
        Some(GroupReply::Heartbeat(it)) => (it.error_code, String::new()),
        Some(GroupReply::Leave(it)) => {
            (it.members.first().map_or(it.error_code, |one| one.error_code), String::new())
        }
        Some(GroupReply::CommitOffsets(it)) => {
            (it.topics[0].partitions[0].error_code, String::new())
        }
        Some(GroupReply::Delete(it)) => (it[0].error_code, String::new()),
        Some(other) => panic!("unexpected reply {other:?}"),
    };
    match ErrorCode(code) {
        ErrorCode::NONE => format!("ok {more}").trim_end().to_owned(),
        code => code.name().to_owned(),
    }
}

fn commit(member: &str, epoch: i32) -> GroupCommand {
    let partition = OffsetCommitRequestPartition { committed_offset: 5, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "t".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        member_id: member.to_owned(),
        generation_id_or_member_epoch: epoch,
        topics: vec![topic],
        ..Default::default()
    };
    GroupCommand::CommitOffsets { request, version: 9 }
}

/// What the group has become: its kind, state, and how many are in it.
fn state(bench: &mut Stage) -> String {
    if let Some(group) = bench.machine.stored().consumers.get(GROUP) {
        let classic = group.members.values().filter(|it| it.classic.is_some()).count();
        let new = group.members.len() - classic;
        return format!("consumer {} {new}+{classic}", group.state());
    }
    let asked = GroupCommand::Describe { groups: vec![GROUP.to_owned()], version: 6 };
    match bench.run(asked).1.pop() {
        Some((_, GroupReply::Describe(told))) if told[0].error_code == 0 => {
            format!("classic {} {}", told[0].group_state, told[0].members.len())
        }
        _ => "none".to_owned(),
    }
}

fn epoch(bench: &mut Stage, command: GroupCommand) -> i32 {
    match bench.run(command).1.pop() {
        Some((_, GroupReply::ConsumerHeartbeat(it))) => {
            assert_eq!(it.error_code, 0);
            it.member_epoch
        }
        other => panic!("no answer to the heartbeat: {other:?}"),
    }
}

fn everything() -> Owned {
    (0..SIZE).collect()
}

/// A state, and how a group and the actor come to it.
type From = (&'static str, fn(&mut Stage) -> Actor);

const STATES: [From; 13] = [
    ("none", |_| Actor { id: "a".to_owned(), epoch: 1, ..Actor::default() }),
    ("classic Empty", |b| {
        let (id, epoch) = alone(b, None);
        b.run(leave(&id, None));
        Actor { id, epoch, ..Actor::default() }
    }),
    ("classic Stable", |b| {
        let (id, epoch) = alone(b, None);
        Actor { id, epoch, owned: everything(), ..Actor::default() }
    }),
    ("classic Preparing", |b| {
        let (id, epoch) = alone(b, None);
        b.run(join("", None, "two", &Owned::new()));
        b.run(join("c-two", None, "", &Owned::new()));
        Actor { id, epoch, owned: everything(), ..Actor::default() }
    }),
    ("classic Completing", |b| {
        let (id, epoch) = alone(b, None);
        b.run(join("", None, "two", &Owned::new()));
        b.run(join("c-two", None, "", &Owned::new()));
        b.run(join(&id, None, "", &Owned::new()));
        Actor { id, epoch: epoch + 1, ..Actor::default() }
    }),
    ("consumer Empty", |b| {
        let actor = Actor { id: "a".to_owned(), ..Actor::default() };
        let epoch = epoch(b, actor.beat(0, Some(&Owned::new())));
        b.run(actor.beat(-1, None));
        Actor { epoch, ..actor }
    }),
    ("consumer, settled", |b| {
        let actor = Actor { id: "a".to_owned(), owned: everything(), ..Actor::default() };
        let epoch = epoch(b, actor.beat(0, Some(&Owned::new())));
        Actor { epoch, ..actor }
    }),
    ("consumer, behind", |b| {
        let actor = Actor { id: "a".to_owned(), owned: everything(), ..Actor::default() };
        let epoch = epoch(b, actor.beat(0, Some(&Owned::new())));
        b.run(beat("b", 0, &Owned::new()));
        Actor { epoch, ..actor }
    }),
    ("consumer, gives up", |b| {
        let actor = Actor { id: "a".to_owned(), owned: everything(), ..Actor::default() };
        let epoch = epoch(b, actor.beat(0, Some(&Owned::new())));
        b.run(beat("b", 0, &Owned::new()));
        b.run(actor.beat(epoch, None));
        Actor { epoch, ..actor }
    }),
    ("consumer, waits", |b| {
        b.run(beat("b", 0, &Owned::new()));
        let actor = Actor { id: "a".to_owned(), ..Actor::default() };
        let epoch = epoch(b, actor.beat(0, Some(&Owned::new())));
        Actor { epoch, ..actor }
    }),
    ("consumer, away", |b| {
        let instance = Some("machine");
        let actor = Actor { id: "a".to_owned(), instance, ..Actor::default() };
        let epoch = epoch(b, actor.beat(0, Some(&Owned::new())));
        b.run(actor.beat(-2, None));
        Actor { epoch, ..actor }
    }),
    ("consumer, classic behind", |b| {
        let (id, epoch) = alone(b, None);
        b.run(beat("b", 0, &Owned::new()));
        Actor { id, epoch, owned: everything(), ..Actor::default() }
    }),
    ("consumer, classic settled", |b| {
        let (id, _) = alone(b, None);
        let new = epoch(b, beat("b", 0, &Owned::new()));
        b.run(join(&id, None, "", &Owned::new()));
        b.run(sync(&id, new, &BTreeMap::new()));
        b.run(beat("b", new, &Owned::new()));
        Actor { id, epoch: new, owned: (0..SIZE / 2).collect(), ..Actor::default() }
    }),
];

/// What is asked, as a line of the table, and how.
type Event = (&'static str, fn(&mut Stage, &Actor) -> String);

const EVENTS: [Event; 23] = [
    ("ConsumerGroupHeartbeat: a new member joins", |b, a| told(b, a, beat("z", 0, &Owned::new()))),
    ("ConsumerGroupHeartbeat: it joins again", |b, a| told(b, a, a.beat(0, Some(&Owned::new())))),
    ("ConsumerGroupHeartbeat: it is there", |b, a| told(b, a, a.beat(a.epoch, None))),
    ("ConsumerGroupHeartbeat: with what it owns", |b, a| {
        told(b, a, a.beat(a.epoch, Some(&a.owned)))
    }),
    ("ConsumerGroupHeartbeat: it has given half up", |b, a| {
        told(b, a, a.beat(a.epoch, Some(&(0..SIZE / 2).collect())))
    }),
    ("ConsumerGroupHeartbeat: of a later epoch", |b, a| told(b, a, a.beat(a.epoch + 5, None))),
    ("ConsumerGroupHeartbeat: it leaves", |b, a| told(b, a, a.beat(-1, None))),
    ("ConsumerGroupHeartbeat: it will be back", |b, a| told(b, a, a.beat(-2, None))),
    ("JoinGroup: a new member", |b, a| told(b, a, join("", None, "z", &Owned::new()))),
    ("JoinGroup: with the id it was given", |b, a| {
        b.run(join("", None, "z", &Owned::new()));
        told(b, a, join("c-z", None, "", &Owned::new()))
    }),
    ("JoinGroup: it joins again", |b, a| told(b, a, join(&a.id, a.instance, "", &Owned::new()))),
    ("JoinGroup: in place of a static member", |b, a| {
        told(b, a, join("", Some("machine"), "z", &Owned::new()))
    }),
    ("SyncGroup", |b, a| told(b, a, sync(&a.id, a.epoch, &BTreeMap::new()))),
    ("SyncGroup: of another generation", |b, a| {
        told(b, a, sync(&a.id, a.epoch + 5, &BTreeMap::new()))
    }),
    ("Heartbeat", |b, a| told(b, a, heartbeat(&a.id, a.epoch))),
    ("Heartbeat: of another generation", |b, a| told(b, a, heartbeat(&a.id, a.epoch + 5))),
    ("LeaveGroup", |b, a| told(b, a, leave(&a.id, a.instance))),
    ("OffsetCommit: as the member", |b, a| told(b, a, commit(&a.id, a.epoch))),
    ("OffsetCommit: of another epoch", |b, a| told(b, a, commit(&a.id, a.epoch + 5))),
    ("OffsetCommit: without a member id", |b, a| told(b, a, commit("", -1))),
    ("DeleteGroups", |b, a| told(b, a, GroupCommand::Delete { groups: vec![GROUP.to_owned()] })),
    ("a session passes in silence", |b, _| {
        b.pass(i64::from(SESSION_MS) + 1);
        String::new()
    }),
    ("it sends heartbeats, but does not rejoin", |b, a| {
        for _ in 0..4 {
            b.pass(i64::from(REBALANCE_MS) / 3);
            b.run(a.beat(a.epoch, None));
            b.run(heartbeat(&a.id, a.epoch));
        }
        String::new()
    }),
];

/// The table: for each event, what every state answers and becomes.
fn table() -> String {
    let mut all = String::new();
    for (event, act) in EVENTS {
        writeln!(all, "{event}").unwrap();
        for (from, reach) in STATES {
            let mut bench = stage();
            let actor = reach(&mut bench);
            let answer = act(&mut bench, &actor);
            let becomes = state(&mut bench);
            writeln!(all, "  {from:<25} {answer:<26} {becomes}").unwrap();
        }
    }
    all
}

/// A row that is missing or not as agreed fails; `docs/protocol.md#groups` says where `groups.txt`
/// comes from.
#[test]
fn every_state_answers_every_event_as_agreed() {
    let found = table();
    assert_eq!(found.lines().count(), EVENTS.len() * (1 + STATES.len()), "every pair has a row");
    ottla_expected::check_table("crates/coordinator/tests/it/groups.txt", &found);
}

/// A state that is loaded from a compacted log is the state that was.
#[test]
fn what_was_loaded_goes_on_where_it_stood() {
    for (from, reach) in STATES {
        let mut before = stage();
        let actor = reach(&mut before);
        let mut after = again(before);
        let answer = told(&mut after, &actor, actor.beat(actor.epoch, None));
        let mut bench = stage();
        reach(&mut bench);
        let agreed = told(&mut bench, &actor, actor.beat(actor.epoch, None));
        assert_eq!(answer, agreed, "{from}");
    }
}
