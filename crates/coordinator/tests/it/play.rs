//! The stage: a machine, its clock, and the requests in short form.

use std::collections::BTreeMap;

use ottla_coordinator::group::{
    GroupCommand, GroupMachine, GroupRecord, GroupReply, GroupSettings, JoinCommand, MemberClient,
};
use ottla_machine::Ticket;
use ottla_machine::testkit::MachineBench;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_protocol::messages::sync_group_response::SyncGroupResponse;
use ottla_types::ErrorCode;

pub const GROUP: &str = "g";
pub type Replies = Vec<(Ticket, GroupReply)>;

pub fn settings() -> GroupSettings {
    GroupSettings { initial_rebalance_delay_ms: 0, ..GroupSettings::default() }
}

pub fn stage() -> MachineBench<GroupMachine> {
    let mut bench = MachineBench::new(GroupMachine::new(settings()), 1000);
    bench.run(GroupCommand::Loaded);
    bench
}

/// A machine that has read what another wrote.
pub fn reloaded(records: &[GroupRecord], now_ms: i64) -> MachineBench<GroupMachine> {
    use ottla_machine::Machine;
    let mut machine = GroupMachine::new(settings());
    records.iter().for_each(|record| machine.apply(record));
    let mut bench = MachineBench::new(machine, now_ms);
    bench.run(GroupCommand::Loaded);
    bench
}

/// The same after a restart of the node: another machine has read what is left of the log once it
/// was compacted.
pub fn restarted(
    bench: MachineBench<GroupMachine>,
    settings: GroupSettings,
) -> MachineBench<GroupMachine> {
    use ottla_machine::Machine;
    let mut machine = GroupMachine::new(settings);
    let keys: Vec<_> = bench.records.iter().map(|record| record.encode(0).0).collect();
    let last: BTreeMap<_, _> = keys.iter().zip(0..).collect();
    for (at, record) in bench.records.iter().enumerate().filter(|(at, _)| last[&keys[*at]] == *at) {
        let (key, value) = record.encode(0);
        assert_eq!(GroupRecord::decode(key, value).unwrap().as_ref(), Some(record), "record {at}");
        machine.apply(record);
    }
    let (found, wanted) = (machine.stored(), bench.machine.stored());
    assert_eq!(found.consumers, wanted.consumers, "G4 LoadEqualsRun");
    assert_eq!(found.groups, wanted.groups, "G4 LoadEqualsRun");
    let mut fresh = MachineBench::new(machine, bench.now_ms);
    fresh.records = bench.records;
    fresh.run(GroupCommand::Loaded);
    fresh
}

/// Chance that can be had again.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }
}

pub fn join(member: &str, instance: Option<&str>, uuid: &str) -> GroupCommand {
    let protocol = JoinGroupRequestProtocol {
        name: "range".to_owned(),
        metadata: bytes::Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\0\0\0\0"),
        ..Default::default()
    };
    let request = JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let client = MemberClient { id: "c".to_owned(), host: "/127.0.0.1".to_owned() };
    GroupCommand::Join(JoinCommand { request, version: 9, client, uuid: uuid.to_owned() })
}

pub fn sync(member: &str, generation: i32, assigned: &[(&str, &'static [u8])]) -> GroupCommand {
    let assignment = |(member, bytes): &(&str, &'static [u8])| SyncGroupRequestAssignment {
        member_id: (*member).to_owned(),
        assignment: bytes::Bytes::from_static(bytes),
        ..Default::default()
    };
    let request = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: generation,
        member_id: member.to_owned(),
        assignments: assigned.iter().map(assignment).collect(),
        ..Default::default()
    };
    GroupCommand::Sync { request, version: 5 }
}

pub fn heartbeat(member: &str, generation: i32) -> GroupCommand {
    GroupCommand::Heartbeat(HeartbeatRequest {
        group_id: GROUP.to_owned(),
        generation_id: generation,
        member_id: member.to_owned(),
        ..Default::default()
    })
}

pub fn leave(member: &str, instance: Option<&str>) -> GroupCommand {
    let member = MemberIdentity {
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..Default::default()
    };
    let request = LeaveGroupRequest {
        group_id: GROUP.to_owned(),
        members: vec![member],
        ..Default::default()
    };
    GroupCommand::Leave { request, version: 5 }
}

pub fn joined(replies: &Replies, ticket: Ticket) -> JoinGroupResponse {
    let found = replies.iter().find(|(to, _)| *to == ticket);
    match found {
        Some((_, GroupReply::Join(response))) => response.clone(),
        other => panic!("no answer to the join: {other:?}"),
    }
}

pub fn synced(replies: &Replies, ticket: Ticket) -> SyncGroupResponse {
    let found = replies.iter().find(|(to, _)| *to == ticket);
    match found {
        Some((_, GroupReply::Sync(response))) => response.clone(),
        other => panic!("no answer to the sync: {other:?}"),
    }
}

pub fn beaten(replies: &Replies) -> ErrorCode {
    match replies.as_slice() {
        [(_, GroupReply::Heartbeat(response))] => ErrorCode(response.error_code),
        other => panic!("no answer to the heartbeat: {other:?}"),
    }
}

/// A new dynamic member joins: it is given its id, and comes back with it.
pub fn enter(bench: &mut MachineBench<GroupMachine>, name: &str) -> (String, Ticket, Replies) {
    let (ticket, replies) = bench.run(join("", None, name));
    let told = joined(&replies, ticket);
    assert_eq!(told.error_code, ErrorCode::MEMBER_ID_REQUIRED.0);
    assert_eq!(told.member_id, format!("c-{name}"));
    let (ticket, replies) = bench.run(join(&told.member_id, None, ""));
    (told.member_id, ticket, replies)
}

/// A group of one member with an assignment; says who and in which generation.
pub fn alone(bench: &mut MachineBench<GroupMachine>) -> (String, i32) {
    let (member, ticket, replies) = enter(bench, "one");
    let told = joined(&replies, ticket);
    assert_eq!((told.error_code, &told.leader), (0, &member));
    let generation = told.generation_id;
    let (ticket, replies) = bench.run(sync(&member, generation, &[(&member, b"all")]));
    assert_eq!(synced(&replies, ticket).assignment, "all");
    (member, generation)
}
