//! Members come, go, fall silent, come back.

use std::sync::Arc;

use ottla_coordinator::group::{
    GroupCommand, GroupMachine, GroupRecord, GroupReply, GroupSettings, GroupTimer, JoinCommand,
};
use ottla_machine::Note;
use ottla_machine::testkit::MachineBench;
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_types::ErrorCode;

use crate::play::{
    GROUP, alone, beaten, enter, heartbeat, join, joined, leave, reloaded, settings, stage, sync,
    synced,
};

fn described(bench: &mut MachineBench<GroupMachine>) -> DescribedGroup {
    let command = GroupCommand::Describe { groups: vec![GROUP.to_owned()], version: 6 };
    match bench.run(command).1.pop() {
        Some((_, GroupReply::Describe(mut groups))) => groups.pop().unwrap(),
        other => panic!("no description: {other:?}"),
    }
}

#[test]
fn a_second_member_calls_the_first_back_and_both_get_their_share() {
    let mut bench = stage();
    let (one, generation) = alone(&mut bench);
    let (two, second, replies) = enter(&mut bench, "two");
    assert!(replies.is_empty(), "it waits for the first");
    let beat = bench.run(heartbeat(&one, generation)).1;
    assert_eq!(beaten(&beat), ErrorCode::REBALANCE_IN_PROGRESS);
    let (first, replies) = bench.run(join(&one, None, ""));
    let (to_one, to_two) = (joined(&replies, first), joined(&replies, second));
    assert_eq!((to_one.generation_id, to_two.generation_id), (2, 2));
    assert_eq!((&to_one.leader, &to_two.leader), (&one, &one));
    assert_eq!((to_one.members.len(), to_two.members.len()), (2, 0), "the leader gets the members");
    let (second, replies) = bench.run(sync(&two, 2, &[]));
    assert!(replies.is_empty(), "it waits for the leader");
    let (first, replies) = bench.run(sync(&one, 2, &[(&one, b"left"), (&two, b"right")]));
    assert_eq!(synced(&replies, first).assignment, "left");
    assert_eq!(synced(&replies, second).assignment, "right");
    assert_eq!(described(&mut bench).group_state, "Stable");
}

#[test]
fn a_member_that_falls_silent_is_out_after_its_session() {
    let mut bench = stage();
    let (one, generation) = alone(&mut bench);
    assert!(bench.pass(9_000).is_empty());
    assert_eq!(beaten(&bench.run(heartbeat(&one, generation)).1), ErrorCode::NONE);
    bench.pass(9_000);
    assert_eq!(described(&mut bench).group_state, "Stable", "the heartbeat counted");
    bench.pass(2_000);
    assert_eq!(described(&mut bench).group_state, "Empty");
    let beat = bench.run(heartbeat(&one, generation)).1;
    assert_eq!(beaten(&beat), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn who_does_not_come_back_in_time_is_left_out() {
    let mut bench = stage();
    let (one, generation) = alone(&mut bench);
    let (two, second, _) = enter(&mut bench, "two");
    for _ in 0..7 {
        // It lives, but does not join.
        bench.run(heartbeat(&one, generation));
        let replies = bench.pass(9_000);
        if !replies.is_empty() {
            let told = joined(&replies, second);
            assert_eq!((told.generation_id, told.leader), (2, two.clone()));
            let beat = bench.run(heartbeat(&one, generation)).1;
            assert_eq!(beaten(&beat), ErrorCode::UNKNOWN_MEMBER_ID);
            return;
        }
    }
    panic!("the rebalance timeout of a minute has passed");
}

#[test]
fn a_rebalance_timeout_is_literal_from_version_1_on() {
    // Version 0 has none, and the session's stands for it.
    for (version, timeout_ms) in [(0, 10_000), (1, 0), (9, 0)] {
        let mut bench = stage();
        let (one, _) = alone(&mut bench);
        let GroupCommand::Join(join) = join(&one, None, "") else { unreachable!("it is a join") };
        let request = JoinGroupRequest { rebalance_timeout_ms: -1, ..join.request };
        bench.run(GroupCommand::Join(JoinCommand { request, version, ..join }));
        let sync = GroupTimer::Sync { group: Arc::from(GROUP) };
        assert_eq!(bench.timers()[&sync] - bench.now_ms, timeout_ms, "version {version}");
    }
}

#[test]
fn wrong_generations_and_strangers_are_refused() {
    let mut bench = stage();
    let (one, generation) = alone(&mut bench);
    let code = |bench: &mut MachineBench<GroupMachine>, command| beaten(&bench.run(command).1);
    assert_eq!(code(&mut bench, heartbeat(&one, 7)), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(code(&mut bench, heartbeat("who", generation)), ErrorCode::UNKNOWN_MEMBER_ID);
    let (ticket, replies) = bench.run(join("who", None, ""));
    assert_eq!(joined(&replies, ticket).error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    let (ticket, replies) = bench.run(sync(&one, 9, &[]));
    assert_eq!(synced(&replies, ticket).error_code, ErrorCode::ILLEGAL_GENERATION.0);
    let GroupCommand::Join(mut wrong) = join("", None, "x") else { unreachable!() };
    wrong.request.protocols[0].name = "other".to_owned();
    let (ticket, replies) = bench.run(GroupCommand::Join(wrong.clone()));
    assert_eq!(joined(&replies, ticket).error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL.0);
    wrong.request.session_timeout_ms = 1;
    let (ticket, replies) = bench.run(GroupCommand::Join(wrong));
    assert_eq!(joined(&replies, ticket).error_code, ErrorCode::INVALID_SESSION_TIMEOUT.0);
}

#[test]
fn a_static_member_comes_back_under_a_new_id_and_nobody_else_moves() {
    let mut bench = stage();
    let (ticket, replies) = bench.run(join("", Some("i"), "first"));
    let told = joined(&replies, ticket);
    assert_eq!((told.error_code, &*told.member_id), (0, "i-first"), "no detour for static members");
    bench.run(sync("i-first", 1, &[("i-first", b"all")]));
    let (ticket, replies) = bench.run(join("", Some("i"), "second"));
    let told = joined(&replies, ticket);
    assert_eq!((told.generation_id, &*told.member_id), (1, "i-second"));
    assert!(told.skip_assignment && told.leader == "i-second");
    let (ticket, replies) = bench.run(sync("i-second", 1, &[]));
    assert_eq!(synced(&replies, ticket).assignment, "all", "it has its partitions still");
    let GroupCommand::Heartbeat(mut old) = heartbeat("i-first", 1) else { unreachable!() };
    old.group_instance_id = Some("i".to_owned());
    let beat = bench.run(GroupCommand::Heartbeat(old)).1;
    assert_eq!(beaten(&beat), ErrorCode::FENCED_INSTANCE_ID);
}

#[test]
fn leaving_a_group_without_a_name_is_refused_in_every_version() {
    for version in 0..=5 {
        let GroupCommand::Leave { mut request, .. } = leave("m", None) else {
            unreachable!("it is a leave")
        };
        request.group_id.clear();
        let mut bench = stage();
        match bench.run(GroupCommand::Leave { request, version }).1.pop() {
            Some((_, GroupReply::Leave(it))) => {
                assert_eq!(it.error_code, ErrorCode::INVALID_GROUP_ID.0, "version {version}");
            }
            other => panic!("no answer to the leave: {other:?}"),
        }
    }
}

#[test]
fn a_generation_that_does_not_fit_the_log_is_refused_and_the_group_goes_on() {
    let mut bench = stage();
    let (one, ticket, replies) = enter(&mut bench, "one");
    let generation = joined(&replies, ticket).generation_id;
    let before = bench.records.len();
    let large: &'static [u8] = vec![0; 2 << 20].leak();
    let (ticket, replies) = bench.run(sync(&one, generation, &[(&one, large)]));
    assert_eq!(synced(&replies, ticket).error_code, ErrorCode::UNKNOWN_SERVER_ERROR.0);
    assert_eq!(bench.records.len(), before, "nothing was written");
    let beat = bench.run(heartbeat(&one, generation)).1;
    assert_eq!(beaten(&beat), ErrorCode::REBALANCE_IN_PROGRESS);
    let (ticket, replies) = bench.run(join(&one, None, ""));
    let generation = joined(&replies, ticket).generation_id;
    let (ticket, replies) = bench.run(sync(&one, generation, &[(&one, b"small")]));
    assert_eq!(synced(&replies, ticket).assignment, "small");
}

#[test]
fn an_operator_removes_a_static_member_by_its_name() {
    let mut bench = stage();
    bench.run(join("", Some("i"), "first"));
    let replies = bench.run(leave("", Some("i"))).1;
    assert!(matches!(&replies[0].1, GroupReply::Leave(left) if left.members[0].error_code == 0));
    assert_eq!(described(&mut bench).group_state, "Empty");
    let replies = bench.run(leave("", Some("i"))).1;
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID.0;
    assert!(
        matches!(&replies[0].1, GroupReply::Leave(left) if left.members[0].error_code == unknown)
    );
}

#[test]
fn the_first_members_wait_for_each_other() {
    let waiting = GroupSettings { initial_rebalance_delay_ms: 3_000, ..settings() };
    let mut bench = MachineBench::new(GroupMachine::new(waiting), 0);
    let (_, first, replies) = enter(&mut bench, "one");
    assert!(replies.is_empty());
    assert!(bench.pass(2_000).is_empty());
    let (_, second, replies) = enter(&mut bench, "two");
    assert!(replies.is_empty());
    assert!(bench.pass(2_000).is_empty(), "a member joined: a little longer");
    let replies = bench.pass(3_000);
    assert_eq!(joined(&replies, first).generation_id, 1);
    assert_eq!(joined(&replies, second).generation_id, 1);
}

#[test]
fn a_group_is_as_its_last_generation_left_it_after_a_restart() {
    let mut bench = stage();
    let (one, generation) = alone(&mut bench);
    let written: Vec<GroupRecord> = bench.records.clone();
    assert!(!written.is_empty());
    let mut bench = reloaded(&written, 50_000);
    assert_eq!(beaten(&bench.run(heartbeat(&one, generation)).1), ErrorCode::NONE);
    let (ticket, replies) = bench.run(sync(&one, generation, &[]));
    assert_eq!(synced(&replies, ticket).assignment, "all");
    bench.pass(11_000);
    assert_eq!(described(&mut bench).group_state, "Empty", "its session began again, and ended");
}

/// A JoinGroup whose client does not come back leaves no group behind.
#[test]
fn ten_thousand_groups_of_a_scanner_are_forgotten() {
    let mut bench = stage();
    for at in 0..10_000 {
        let GroupCommand::Join(mut join) = join("", None, "scan") else {
            unreachable!("it is a join")
        };
        join.request.group_id = format!("scan-{at}");
        bench.run(GroupCommand::Join(join));
    }
    let count = |bench: &mut MachineBench<GroupMachine>| match bench
        .run(GroupCommand::List(ListGroupsRequest::default()))
        .1
        .pop()
    {
        Some((_, GroupReply::List(all))) => all.len(),
        other => panic!("no list: {other:?}"),
    };
    assert_eq!(count(&mut bench), 10_000);
    assert!(bench.records.is_empty(), "no record of it is in the log");
    // A session timeout, and the next round that removes groups without members and offsets.
    bench.pass(10_000 + 600_000);
    assert_eq!(count(&mut bench), 0);
    assert!(bench.timers().len() <= 1, "only the next round is set: {}", bench.timers().len());
}

#[test]
fn a_static_member_that_does_not_say_its_name_keeps_it() {
    let mut bench = stage();
    let (ticket, replies) = bench.run(join("", Some("i"), "first"));
    let id = joined(&replies, ticket).member_id;
    bench.run(sync(&id, 1, &[(&id, b"all")]));
    let (ticket, replies) = bench.run(join(&id, None, ""));
    assert_eq!(joined(&replies, ticket).error_code, 0);
    let (other, _, _) = enter(&mut bench, "other");
    // It is away while the group rebalances, and starts again after that.
    bench.pass(60_000);
    let (ticket, mut replies) = bench.run(join("", Some("i"), "second"));
    bench.run(join(&other, None, "")).1.into_iter().for_each(|reply| replies.push(reply));
    let told = joined(&replies, ticket);
    assert_eq!(told.error_code, 0);
    assert_ne!(told.member_id, id);
}

#[test]
fn a_second_request_for_the_assignment_answers_the_first() {
    let mut bench = stage();
    let (one, _) = alone(&mut bench);
    let (two, second, _) = enter(&mut bench, "two");
    let (first, replies) = bench.run(join(&one, None, ""));
    let generation = joined(&replies, second).generation_id;
    let follower = if joined(&replies, first).leader == one { &two } else { &one };
    let (waiting, replies) = bench.run(sync(follower, generation, &[]));
    assert!(replies.is_empty());
    let (again, replies) = bench.run(sync(follower, generation, &[]));
    assert_eq!(synced(&replies, waiting).error_code, ErrorCode::REBALANCE_IN_PROGRESS.0);
    let leader = if *follower == two { &one } else { &two };
    let replies = bench.run(sync(leader, generation, &[(follower, b"half")])).1;
    assert_eq!(synced(&replies, again).assignment, "half");
}

#[test]
fn the_last_leave_ends_a_rebalance_in_the_log() {
    let mut bench = stage();
    let (one, _) = alone(&mut bench);
    let (two, _, _) = enter(&mut bench, "two");
    bench.run(join(&one, None, ""));
    bench.notes.clear();
    bench.run(leave(&two, None));
    bench.run(leave(&one, None));
    let told = |note: &Note| match note {
        Note::Group { event, members, reason, .. } => (*event, *members, reason.clone()),
        Note::Broker { .. } => panic!("{note:?}"),
    };
    let events: Vec<_> = bench.notes.iter().map(told).collect();
    let [(started, 1, _), (finished, 0, reason)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*started, *finished), ("group rebalance started", "group rebalance finished"));
    assert_eq!(reason, "the group has no members left");
}
