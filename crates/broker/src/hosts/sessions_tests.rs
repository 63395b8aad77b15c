use super::*;

fn place(topic: &str) -> FetchedPartition {
    FetchedPartition { topic_id: Uuid::ZERO, topic: topic.into(), partition: 0 }
}

fn at(offset: Offset) -> Position {
    Position { offset, leader_epoch: -1, last_epoch: -1, log_start: -1, bytes_max: 1000 }
}

fn ask(id: i32, epoch: i32, wanted: &[(&str, Offset)], forgotten: &[&str]) -> SessionRequest {
    SessionRequest {
        id,
        epoch,
        by_id: false,
        wanted: wanted.iter().map(|(topic, offset)| (place(topic), at(*offset))).collect(),
        forgotten: forgotten.iter().map(|topic| place(topic)).collect(),
    }
}

fn offsets(plan: &FetchPlan) -> Vec<(String, Offset)> {
    plan.wanted.iter().map(|(place, at)| (place.topic.to_string(), at.offset)).collect()
}

const NOW: Duration = Duration::from_secs(1000);

#[test]
fn an_incremental_request_changes_what_the_session_remembers() {
    let sessions = Sessions::new(10);
    let plan = sessions.plan(ask(0, 0, &[("a", 0), ("b", 5)], &[]), NOW, || 77).expect("new");
    assert_eq!(lock_session(plan.session.as_ref().expect("a session")).id(), 77);
    assert!(!plan.incremental);
    let plan = sessions.plan(ask(77, 1, &[("a", 3), ("c", 1)], &["b"]), NOW, || 0).expect("next");
    assert!(plan.incremental);
    assert_eq!(offsets(&plan), [("a".to_owned(), 3), ("c".to_owned(), 1)]);
    let plan = sessions.plan(ask(77, 2, &[], &[]), NOW, || 0).expect("next");
    assert_eq!(offsets(&plan), [("a".to_owned(), 3), ("c".to_owned(), 1)]);
}

#[test]
fn wrong_ids_epochs_and_namings_are_refused() {
    let sessions = Sessions::new(10);
    sessions.plan(ask(0, 0, &[("a", 0)], &[]), NOW, || 7).expect("new");
    let refused = |ask| sessions.plan(ask, NOW, || 9).expect_err("refused");
    assert_eq!(refused(ask(8, 1, &[], &[])), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert_eq!(refused(ask(7, 2, &[], &[])), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    let by_id = SessionRequest { by_id: true, ..ask(7, 1, &[], &[]) };
    assert_eq!(refused(by_id), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
    let both = SessionRequest { by_id: true, ..ask(7, 2, &[], &[]) };
    assert_eq!(refused(both), ErrorCode::INVALID_FETCH_SESSION_EPOCH, "the epoch comes first");
}

#[test]
fn the_last_partition_that_is_dropped_closes_the_session() {
    let sessions = Sessions::new(10);
    sessions.plan(ask(0, 0, &[("a", 0)], &[]), NOW, || 7).expect("new");
    let plan = sessions.plan(ask(7, 1, &[("b", 0)], &["a", "b"]), NOW, || 9).expect("closing");
    assert!(plan.session.is_none());
    assert_eq!(offsets(&plan), [("b".to_owned(), 0)], "what the request names is read once more");
    assert_eq!(sessions.count(), 0);
}

#[test]
fn the_final_epoch_closes_the_session() {
    let sessions = Sessions::new(10);
    sessions.plan(ask(0, 0, &[("a", 0)], &[]), NOW, || 7).expect("new");
    let plan = sessions.plan(ask(7, -1, &[("a", 1)], &[]), NOW, || 9).expect("closing");
    assert!(plan.session.is_none());
    assert_eq!(sessions.count(), 0);
}

#[test]
fn a_full_cache_evicts_only_who_has_been_idle_for_long() {
    let sessions = Sessions::new(1);
    sessions.plan(ask(0, 0, &[("a", 0)], &[]), NOW, || 1).expect("new");
    let soon =
        sessions.plan(ask(0, 0, &[("b", 0)], &[]), NOW + IDLE_MAX / 2, || 2).expect("served");
    assert!(soon.session.is_none(), "served without a session");
    let late = sessions.plan(ask(0, 0, &[("b", 0)], &[]), NOW + IDLE_MAX, || 2).expect("served");
    assert!(late.session.is_some());
    assert_eq!(sessions.count(), 1);
}

#[test]
fn only_news_is_told_and_an_error_makes_all_that_follows_news() {
    let sessions = Sessions::new(1);
    let plan = sessions.plan(ask(0, 0, &[("a", 0)], &[]), NOW, || 1).expect("new");
    let session = plan.session.expect("a session");
    let mut session = lock_session(&session);
    let said = LastReply { high_watermark: 4, log_start: 0 };
    assert!(session.is_news(&place("a"), said));
    assert!(!session.is_news(&place("a"), said));
    session.said_error(&place("a"));
    assert!(session.is_news(&place("a"), said));
    assert!(session.is_news(&place("a"), LastReply { high_watermark: 5, log_start: 0 }));
}

#[test]
fn who_was_served_goes_to_the_end_of_the_line() {
    let sessions = Sessions::new(1);
    let plan = sessions.plan(ask(0, 0, &[("a", 0), ("b", 0)], &[]), NOW, || 1).expect("new");
    lock_session(plan.session.as_ref().expect("a session")).served(&[place("a")]);
    let plan = sessions.plan(ask(1, 1, &[], &[]), NOW, || 0).expect("next");
    assert_eq!(offsets(&plan), [("b".to_owned(), 0), ("a".to_owned(), 0)]);
}
