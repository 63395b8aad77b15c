//! What nodes that form decide, step by step.

use super::*;

fn list() -> ClusterList {
    ClusterList::parse("a:9092,b:9092,c:9092").expect("a list")
}

/// The directory id of a node's first, second, ... disk.
fn disk(node: NodeId, number: u8) -> ReplicaKey {
    let mut id = [number; 16];
    id[0] = u8::try_from(node).expect("a small id");
    ReplicaKey { id: node, directory: Uuid(id) }
}

fn fresh(number: u8) -> Uuid {
    Uuid([0xc0 + number; 16])
}

fn blank(node: NodeId, number: u8) -> Forming {
    Forming::begin(list(), disk(node, number), None).expect("nothing is stored")
}

/// The same node after a crash.
fn restarted(node: &Forming) -> Forming {
    let report = node.report().clone();
    let stored = (report.stage != FormingStage::Blank).then_some(report);
    // A new process would choose another id, if none is stored.
    Forming::begin(list(), disk(node.report().key.id, 99), stored).expect("its own list")
}

/// `asker` asks `other`.
fn ask(asker: &mut Forming, other: &Forming) {
    let report = other.report().clone();
    asker.heard(report.key.id, FormingPeer::Forming(report));
}

fn step(node: &Forming) -> FormingStep {
    node.next_step(fresh(1)).expect("no contradiction")
}

/// Takes the step, which must be to persist something.
fn persist(node: &mut Forming) -> FormingStage {
    let FormingStep::Persist(stage) = step(node) else { panic!("{:?}", step(node)) };
    node.persisted(stage.clone());
    stage
}

fn founding(attempt: u32, cluster: u8, disks: [u8; 3]) -> Founding {
    let founders = (1..).zip(disks).map(|(node, number)| disk(node, number)).collect();
    Founding { attempt, cluster_id: fresh(cluster).to_string(), founders }
}

/// Three blank nodes of which the first has proposed, and the others have promised.
fn promised() -> [Forming; 3] {
    let mut nodes = [1, 2, 3].map(|id| blank(id, 1));
    let [first, second, third] = &mut nodes;
    ask(first, second);
    ask(first, third);
    persist(first);
    for other in [second, third] {
        ask(other, first);
        persist(other);
    }
    nodes
}

#[test]
fn a_cluster_is_proposed_when_all_are_blank_and_decided_when_all_have_promised() {
    let [mut first, mut second, mut third] = [1, 2, 3].map(|id| blank(id, 1));
    assert_eq!(step(&first), FormingStep::Wait, "not asked yet");
    ask(&mut first, &second);
    first.heard(3, FormingPeer::Unreachable("connection refused".to_owned()));
    assert_eq!(step(&first), FormingStep::Wait, "one does not answer");
    let missing: Vec<String> = first.missing().iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["node 3 (c:9093): connection refused"]);
    ask(&mut first, &third);
    let wanted = founding(1, 1, [1, 1, 1]);
    assert_eq!(persist(&mut first), FormingStage::Promised(wanted.clone()));
    assert_eq!(step(&first), FormingStep::Wait, "the others have not promised");
    // Nodes that are not the coordinator propose nothing to each other.
    ask(&mut second, &third);
    assert_eq!(step(&second), FormingStep::Wait);
    for other in [&mut second, &mut third] {
        ask(other, &first);
        assert_eq!(persist(other), FormingStage::Promised(wanted.clone()));
    }
    ask(&mut first, &second);
    assert_eq!(step(&first), FormingStep::Wait, "one has not promised, as far as is known");
    ask(&mut first, &third);
    assert_eq!(persist(&mut first), FormingStage::Decided(wanted.clone()));
    assert_eq!(step(&first), FormingStep::Found(wanted.clone()));
    // The others learn of it from any node that knows.
    ask(&mut second, &first);
    assert_eq!(persist(&mut second), FormingStage::Decided(wanted.clone()));
    third.heard(2, FormingPeer::Formatted { cluster_id: wanted.cluster_id.clone() });
    assert_eq!(persist(&mut third), FormingStage::Decided(wanted));
}

#[test]
fn what_is_stored_goes_on_after_a_crash() {
    let [mut first, second, third] = promised().map(|it| restarted(&it));
    ask(&mut first, &second);
    ask(&mut first, &third);
    assert_eq!(persist(&mut first), FormingStage::Decided(founding(1, 1, [1, 1, 1])));
    let first = restarted(&first);
    assert_eq!(step(&first), FormingStep::Found(founding(1, 1, [1, 1, 1])));
}

#[test]
fn a_node_that_lost_its_disk_before_the_decision_gets_another_proposal() {
    let [mut first, _, mut third] = promised();
    let mut second = blank(2, 2);
    ask(&mut second, &first);
    assert_eq!(step(&second), FormingStep::Wait, "the proposal is for its former disk");
    ask(&mut first, &second);
    first.heard(3, FormingPeer::Unreachable("gone".to_owned()));
    assert_eq!(step(&first), FormingStep::Wait, "one does not answer");
    ask(&mut first, &third);
    let FormingStep::Persist(stage) = first.next_step(fresh(2)).expect("no contradiction") else {
        panic!("another proposal");
    };
    assert_eq!(stage, FormingStage::Promised(founding(2, 2, [1, 2, 1])));
    first.persisted(stage.clone());
    for other in [&mut second, &mut third] {
        ask(other, &first);
        assert_eq!(persist(other), stage);
    }
    // A proposal of before, that comes late, changes nothing.
    third.heard(1, FormingPeer::Forming(promised()[0].report().clone()));
    assert_eq!(step(&third), FormingStep::Wait);
}

#[test]
fn a_coordinator_that_lost_its_disk_proposes_nothing_to_one_that_has_promised() {
    let [_, mut second, third] = promised();
    let mut first = blank(1, 2);
    ask(&mut first, &second);
    ask(&mut first, &third);
    assert_eq!(step(&first), FormingStep::Wait);
    let missing = first.missing()[0].to_string();
    assert!(missing.contains("remove forming.properties"), "{missing}");
    ask(&mut second, &first);
    assert_eq!(step(&second), FormingStep::Wait);
    assert!(second.missing()[0].to_string().contains("its disk was replaced"));
    // A proposal of the new disk is not for those that have promised something to the old one.
    let report = FormingReport {
        list: list(),
        key: disk(1, 2),
        stage: FormingStage::Promised(founding(7, 3, [2, 1, 1])),
    };
    second.heard(1, FormingPeer::Forming(report));
    assert_eq!(step(&second), FormingStep::Wait);
}

#[test]
fn a_blank_node_joins_one_that_is_formatted() {
    for id in [1, 2] {
        let mut node = blank(id, 1);
        node.heard(3, FormingPeer::Formatted { cluster_id: "C".to_owned() });
        let cluster_id = "C".to_owned();
        assert_eq!(persist(&mut node), FormingStage::Joining { cluster_id });
        assert_eq!(step(&node), FormingStep::Join { cluster_id: "C".to_owned() });
        assert_eq!(step(&restarted(&node)), FormingStep::Join { cluster_id: "C".to_owned() });
    }
}

#[test]
fn a_node_alone_in_its_list_founds_its_cluster() {
    let list = ClusterList::parse("a:9092").expect("a list");
    let mut node = Forming::begin(list, disk(1, 1), None).expect("nothing is stored");
    persist(&mut node);
    persist(&mut node);
    let FormingStep::Found(founding) = step(&node) else { panic!("{:?}", step(&node)) };
    assert_eq!(founding.founders, [disk(1, 1)]);
}

#[test]
fn nodes_that_contradict_each_other_refuse_with_what_to_do() {
    let formatted = |cluster: &str| FormingPeer::Formatted { cluster_id: cluster.to_owned() };
    let reported = |list: &str, key| {
        let list = ClusterList::parse(list).expect("a list");
        FormingPeer::Forming(FormingReport { list, key, stage: FormingStage::Blank })
    };
    let [_, promised, _] = promised();
    // The node, what it hears of nodes 1 and 3, and a part of what is said.
    let cases = [
        (
            blank(2, 1),
            reported("a:9092,b:9092,d:9092", disk(1, 1)),
            "this node has 1@a:9092,2@b:9092,3@c:9092, but node 1 has 1@a:9092,2@b:9092,3@d:9092",
        ),
        (blank(2, 1), reported("a:9092,b:9092,c:9092", disk(2, 5)), "but node 2 answers there"),
        (blank(2, 1), formatted("C"), "node 1 belongs to cluster C, but node 3 to cluster D"),
        (promised, formatted("D"), "but node 1 belongs to cluster D"),
    ];
    for (mut node, heard, part) in cases {
        node.heard(1, heard);
        node.heard(3, formatted("D"));
        let why = node.next_step(fresh(1)).expect_err(part).to_string();
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_promise_holds_for_the_list_that_it_was_made_with() {
    let [_, node, _] = promised();
    let begin = |text: &str, id, stored: &Forming| {
        let list = ClusterList::parse(text).expect("a list");
        Forming::begin(list, disk(id, 3), Some(stored.report().clone())).map(|_| ())
    };
    let why = begin("a:9092,b:9092", 2, &node).expect_err("another list").to_string();
    assert!(why.contains("3@c:9092, but its settings have 1@a:9092,2@b:9092 now"), "{why}");
    let why = begin("a:9092,b:9092,c:9092", 3, &node).expect_err("another node").to_string();
    assert!(why.contains("of node 2, but node.id is 3"), "{why}");
    assert!(begin("a:9092,b:9092", 2, &blank(2, 1)).is_ok(), "nothing was promised");
}
