//! A broker whose address refuses connections is fenced before its session is over.

use ottla_machine::testkit::MachineBench;
use ottla_metadata::{Controller, ControllerCommand, ControllerSettings};
use ottla_types::NodeId;

use crate::{heartbeat, lifecycle, unfence};

/// A broker finds these others to be gone.
fn report(bench: &mut MachineBench<Controller>, broker: NodeId, gone: &[NodeId]) {
    let mut request = heartbeat(bench, broker);
    request.unreachable_brokers = gone.to_vec();
    bench.run(ControllerCommand::Heartbeat(request));
    // What is to follow at once follows.
    bench.pass(0);
}

fn is_fenced(bench: &MachineBench<Controller>, broker: NodeId) -> bool {
    bench.machine.cluster().broker(broker).is_some_and(|it| it.fenced)
}

#[test]
fn two_brokers_that_find_another_gone_end_its_session() {
    let mut bench = lifecycle::cluster();
    report(&mut bench, 2, &[1]);
    assert!(!is_fenced(&bench, 1), "one broker alone may be cut off itself");
    report(&mut bench, 2, &[1]);
    assert!(!is_fenced(&bench, 1), "however often it says so");
    report(&mut bench, 3, &[1]);
    assert!(is_fenced(&bench, 1));
    unfence(&mut bench, 1);
}

#[test]
fn a_heartbeat_or_a_connection_takes_the_finding_back() {
    let mut bench = lifecycle::cluster();
    report(&mut bench, 2, &[1]);
    unfence(&mut bench, 1);
    report(&mut bench, 3, &[1]);
    assert!(!is_fenced(&bench, 1), "it has sent a heartbeat since broker 2 found it gone");
    report(&mut bench, 3, &[]);
    report(&mut bench, 2, &[1]);
    assert!(!is_fenced(&bench, 1), "broker 3 has reached it again");
}

#[test]
fn an_old_finding_counts_no_longer() {
    let mut bench = lifecycle::cluster();
    report(&mut bench, 2, &[1]);
    bench.pass(5001);
    report(&mut bench, 3, &[1]);
    assert!(!is_fenced(&bench, 1));
}

#[test]
fn at_least_half_of_the_brokers_go_on_serving() {
    let mut bench = lifecycle::cluster();
    for (broker, incarnation) in [(4, 1004), (5, 1005)] {
        let request = lifecycle::registration(broker, incarnation);
        bench.run(ControllerCommand::RegisterBroker(request));
        unfence(&mut bench, broker);
    }
    for gone in [1, 2, 3] {
        for broker in [4, 5] {
            report(&mut bench, broker, &[gone]);
        }
    }
    let fenced: Vec<NodeId> = (1..=5).filter(|id| is_fenced(&bench, *id)).collect();
    assert_eq!(fenced, [1, 2], "with broker 3, too, two of five would be left");
}

#[test]
fn where_it_is_switched_off_the_session_decides() {
    let settings = ControllerSettings { ends_sessions_early: false, ..lifecycle::settings() };
    let mut bench = lifecycle::cluster_with(settings);
    report(&mut bench, 2, &[1]);
    report(&mut bench, 3, &[1]);
    assert!(!is_fenced(&bench, 1));
    bench.pass(9000);
    assert!(is_fenced(&bench, 1));
}
