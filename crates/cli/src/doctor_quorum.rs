//! What is wrong with the metadata quorum, with fenced brokers, and with nodes that differ.

use std::collections::BTreeMap;

use ottla_client::{
    BootstrapNodes, BrokerDescription, Client, ClientOptions, ClusterDescription, QuorumDescription,
};
use ottla_types::NodeId;

use crate::cluster_nodes::{DescribedNode, QuorumStanding, bare_address, list_nodes};
use crate::doctor::DoctorReport;
use crate::findings::HealthVerdict;
use crate::patience::{answer_in_time, answer_or_reason};

/// Looks at the quorum as its leader describes it, and at what the brokers say of themselves.
pub(crate) async fn check_quorum(
    report: &mut DoctorReport,
    client: &Client,
    cluster: &ClusterDescription,
) {
    let quorum = match crate::cluster::describe_quorum(client).await {
        Ok(quorum) => quorum,
        Err(why) => {
            report.add(HealthVerdict::Error, "metadata quorum", format!("it cannot be described ({why}): no topic can be created and no partition gets a new leader until a majority of the voters runs. Start the voters, with their disks; `metadata quorum has a leader` in their logs says when one is elected."));
            return;
        }
    };
    let nodes = list_nodes(cluster, Some(&quorum));
    check_majority(report, &nodes, cluster.brokers.len());
    check_replicas(report, &nodes);
    check_hosts(report, &quorum);
    check_controllers(report, client, &quorum).await;
    check_releases(report, client, &cluster.brokers).await;
}

/// `1, 2, 3`.
fn join_ids(ids: impl Iterator<Item = NodeId>) -> String {
    ids.map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

/// How many voters may still be lost.
fn check_majority(report: &mut DoctorReport, nodes: &[DescribedNode], brokers: usize) {
    let votes = |node: &&DescribedNode| {
        node.replica.as_ref().is_some_and(|it| it.standing != QuorumStanding::Observer)
    };
    let is_live = |node: &&DescribedNode| node.replica.as_ref().is_some_and(|it| it.is_live());
    let voters: Vec<&DescribedNode> = nodes.iter().filter(votes).collect();
    let live = voters.iter().filter(|node| is_live(node)).count();
    let (count, majority) = (voters.len(), voters.len() / 2 + 1);
    let what = "metadata quorum";
    let spare = live.saturating_sub(majority);
    if count < 2 {
        if brokers > 1 {
            report.add(HealthVerdict::Warning, what, "it has one voter: when its disk is lost, so are all topics. Add two controllers with `ottla kafka-metadata-quorum add-controller`.");
        }
        return;
    }
    if live < count {
        let gone = join_ids(voters.iter().filter(|node| !is_live(node)).map(|node| node.id));
        let verdict = if spare == 0 { HealthVerdict::Error } else { HealthVerdict::Warning };
        report.add(verdict, what, format!("{live} of {count} voters are heard of, not {gone}; {spare} more may be lost. Start them; one whose disk is gone is replaced with `ottla kafka-metadata-quorum remove-controller` and `add-controller`."));
    } else {
        report.add(
            HealthVerdict::Good,
            what,
            format!("{count} voters, all heard of; {spare} may be lost"),
        );
    }
    if count % 2 == 0 {
        let verdict = if count == 2 { HealthVerdict::Warning } else { HealthVerdict::Note };
        let fewer = count - 1;
        report.add(
            verdict,
            what,
            format!(
                "{count} voters survive no more losses than {fewer} do: add one, or remove one"
            ),
        );
    }
}

/// Replicas of the metadata that are silent or behind, and brokers that are fenced.
fn check_replicas(report: &mut DoctorReport, nodes: &[DescribedNode]) {
    let mut is_fine = true;
    for node in nodes {
        let trouble = node.replica.as_ref().and_then(|it| it.trouble());
        let id = node.id;
        if let Some(why) = node.fenced_because() {
            is_fine = false;
            report.add(HealthVerdict::Error, format!("broker {id}"), format!("is fenced: {why}. It leads no partition until it registers and sends heartbeats; look at its log, and start it. One that never comes back: `ottla kafka-cluster unregister --id {id}`."));
        } else if let Some(trouble) = trouble {
            is_fine = false;
            let kind = node.replica.as_ref().map_or("node", |it| it.standing.name());
            report.add(HealthVerdict::Warning, format!("{kind} {id}"), format!("{trouble}: is it running, is its disk slow, or is the network between it and the leader?"));
        }
    }
    if is_fine && nodes.len() > 1 {
        let all = nodes.len();
        report.add(
            HealthVerdict::Good,
            "metadata replicas",
            format!("{all}, all caught up, no broker fenced"),
        );
    }
}

/// Two voters on one machine are lost together.
fn check_hosts(report: &mut DoctorReport, quorum: &QuorumDescription) {
    let mut by_host: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for voter in &quorum.voters {
        let Some(endpoint) = voter.endpoints.first() else { continue };
        let address = bare_address(endpoint);
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        by_host.entry(host).or_default().push(voter.id);
    }
    for (host, ids) in by_host.into_iter().filter(|(_, ids)| ids.len() > 1) {
        let ids = join_ids(ids.into_iter());
        let is_local = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        let verdict = if is_local { HealthVerdict::Note } else { HealthVerdict::Warning };
        report.add(verdict, "metadata quorum", format!("voters {ids} run on one host, {host}: when it is lost, so are they together. For production give each voter a machine of its own."));
    }
}

/// Can the controllers be reached where they say that they listen?
async fn check_controllers(report: &mut DoctorReport, client: &Client, quorum: &QuorumDescription) {
    if quorum.voters.len() < 2 {
        return;
    }
    for voter in &quorum.voters {
        for endpoint in &voter.endpoints {
            let address = bare_address(endpoint);
            let options = ClientOptions {
                client_id: "ottla-doctor".to_owned(),
                bootstrap: BootstrapNodes::Controllers,
                ..ClientOptions::default()
            };
            let connecting = Client::connect_with(address, options, client.clock().clone());
            let connected = answer_or_reason(client.clock(), "no answer", connecting).await;
            if let Err(error) = connected {
                report.add(HealthVerdict::Warning, format!("controller {}", voter.id), format!("its listener {endpoint} cannot be reached from here ({error}). The other controllers and all brokers must reach it there: check its advertised.listeners, and firewalls between the nodes."));
            }
        }
    }
}

/// Brokers of different releases: what each speaks, and which levels of features it supports.
async fn check_releases(report: &mut DoctorReport, client: &Client, brokers: &[BrokerDescription]) {
    let mut kinds: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    let mut asked = 0;
    for broker in brokers.iter().filter(|broker| !broker.is_fenced) {
        // One that cannot be reached is named elsewhere.
        let Some(described) = describe_release(client, broker.id).await else { continue };
        asked += 1;
        kinds.entry(described).or_default().push(broker.id);
    }
    if asked < 2 {
        return;
    }
    if kinds.len() == 1 {
        report.add(HealthVerdict::Good, "releases", "all brokers support the same versions");
        return;
    }
    let groups: Vec<String> = kinds.into_values().map(|ids| join_ids(ids.into_iter())).collect();
    report.add(HealthVerdict::Warning, "releases", format!("brokers differ in the API versions or feature levels that they support ({}): different releases run. Finish the upgrade of all nodes before `ottla kafka-features upgrade`.", groups.join(" | ")));
}

async fn describe_release(client: &Client, broker: NodeId) -> Option<String> {
    let ask = async {
        let versions = client.versions(broker).await.ok()?;
        let features = client.features_of(broker).await.ok()?.features;
        let ranges = features.iter().map(|(name, it)| (name, it.supported_min, it.supported_max));
        Some(format!("{versions:?} {:?}", ranges.collect::<Vec<_>>()))
    };
    answer_in_time(client.clock(), ask).await.flatten()
}

#[cfg(test)]
mod tests {
    use ottla_client::QuorumReplica;

    use super::*;

    fn voter_at(id: NodeId, fetched: i64, host: &str) -> QuorumReplica {
        QuorumReplica {
            id,
            log_end: 10,
            last_fetch: fetched,
            last_caught_up: fetched,
            endpoints: vec![format!("CONTROLLER://{host}:9093")],
            ..QuorumReplica::default()
        }
    }

    /// The verdicts and what is found, with the voters' last fetches 60 s after the epoch.
    fn findings_of(voters: Vec<QuorumReplica>, brokers: usize) -> String {
        let quorum = QuorumDescription { leader: 1, voters, ..QuorumDescription::default() };
        let nodes = list_nodes(&ClusterDescription::default(), Some(&quorum));
        let mut report = DoctorReport::default();
        check_majority(&mut report, &nodes, brokers);
        check_replicas(&mut report, &nodes);
        check_hosts(&mut report, &quorum);
        let line = |row: &crate::Finding| format!("{}: {}\n", row.verdict, row.finding);
        report.rows.iter().map(line).collect()
    }

    #[test]
    fn what_is_at_risk_depends_on_how_many_voters_are_heard_of() {
        let now = 60_000;
        let trio = |second: i64, third: i64| {
            vec![voter_at(1, now, "a"), voter_at(2, second, "b"), voter_at(3, third, "c")]
        };
        let good = findings_of(trio(now, now - 400), 3);
        assert!(good.contains("ok: 3 voters, all heard of; 1 may be lost"), "{good}");
        assert!(!good.contains("warning") && !good.contains("error"), "{good}");
        let one_lost = findings_of(trio(now, now - 20_000), 3);
        assert!(
            one_lost.contains("error: 2 of 3 voters are heard of, not 3; 0 more"),
            "{one_lost}"
        );
        assert!(one_lost.contains("warning: has not fetched the metadata for 20 s"), "{one_lost}");
        let five: Vec<_> =
            [trio(now, 1), vec![voter_at(4, now, "d"), voter_at(5, now, "e")]].concat();
        let five = findings_of(five, 5);
        assert!(five.contains("warning: 4 of 5 voters are heard of, not 3; 1 more"), "{five}");
        let four = findings_of([trio(now, now), vec![voter_at(4, now, "a")]].concat(), 4);
        assert!(four.contains("note: 4 voters survive no more losses than 3 do"), "{four}");
        assert!(four.contains("warning: voters 1, 4 run on one host, a"), "{four}");
        let alone = findings_of(vec![voter_at(1, now, "a")], 1);
        assert_eq!(alone, "", "a single node has no quorum to speak of");
        assert!(findings_of(vec![voter_at(1, now, "a")], 2).contains("warning: it has one voter"));
    }
}
