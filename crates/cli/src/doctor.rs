//! `ottla doctor`: what is wrong with a cluster, and what to do about it.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;

use ottla_client::{
    BrokerDescription, Brokers, Client, CommittedPosition, ConfigKind, CoordinatorOf, GroupFilter,
    GroupListing, IsolationLevel, LogDirDescription, OffsetAt, TopicDescription, TopicPartition,
};
use ottla_clock::Clock;
use ottla_types::{ErrorCode, join_host_port};

use crate::bench::TOPIC_PREFIX;
use crate::cluster::describe_all;
use crate::doctor_quorum::check_quorum;
use crate::findings::{Finding, HealthVerdict};
use crate::front::{Environment, Front, SharedOptions};
use crate::output::format_bytes;
use crate::patience::answer_or_reason;

/// From how many records on a group's lag is worth a note.
const LAG_RECORDS: i64 = 10_000;
/// The lag of at most so many groups is read.
const GROUPS_MAX: usize = 500;
/// From how many partitions in one directory on each directory should hold some.
const PARTITIONS_SPREAD: usize = 8;
/// Above how many partitions a broker is slow to start and to hand over.
const PARTITIONS_MAX: usize = 4000;
/// How many replicas a topic should have, where there are as many brokers.
pub(crate) const FACTOR_USUAL: usize = 3;
/// How far clocks may be apart, in milliseconds.
const SKEW_MAX_MS: i64 = 2000;
/// How full a disk may be, in percent.
const DISK_USED_MAX: i64 = 85;
/// How many files a node should be able to open.
const FILES_MIN: u64 = 65_536;

/// What was found: how bad it is, of what, and what to do.
#[derive(Debug, Default)]
pub(crate) struct DoctorReport {
    pub rows: Vec<Finding>,
}

impl DoctorReport {
    pub fn add(
        &mut self,
        verdict: HealthVerdict,
        what: impl Into<String>,
        said: impl Into<String>,
    ) {
        self.rows.push(Finding { verdict, subject: what.into(), finding: said.into() });
    }

    /// Notes what is wrong, or that nothing is.
    fn each(&mut self, what: &str, wrong: Vec<String>, verdict: HealthVerdict, good: String) {
        if wrong.is_empty() {
            self.add(HealthVerdict::Good, what, good);
        }
        for said in wrong {
            self.add(verdict, what, said);
        }
    }
}

/// Looks at a running cluster.
pub(crate) async fn diagnose_cluster(
    shared: &SharedOptions,
    environment: &Environment,
) -> Result<Vec<Finding>, Box<dyn Error>> {
    let front = Front::new(shared, environment)?;
    let client = front.connect().await?;
    let clock = Clock::real();
    let mut report = DoctorReport::default();
    let all = describe_all(&client).await?;
    let mut cluster = all.clone();
    cluster.brokers.retain(|broker| !broker.is_fenced);
    for broker in &cluster.brokers {
        check_reachable(&mut report, broker, &cluster.id, &clock).await;
    }
    if cluster.controller < 0 {
        report.add(HealthVerdict::Error, "controller", "the cluster has no controller: no topic can be created, no leader elected; look at the controllers' logs");
    }
    check_quorum(&mut report, &client, &all).await;
    check_loopback(&mut report, &cluster.brokers, front.bootstrap());
    let topics = client.describe_topics(None).await?;
    check_partitions(&mut report, &client, &topics).await;
    check_spread(&mut report, &topics, cluster.brokers.len());
    left_over(&mut report, &topics);
    check_coordinators(&mut report, &client).await;
    check_disks(&mut report, &client, &cluster.brokers).await;
    check_groups(&mut report, &client).await;
    check_clock_skew(&mut report, &client, &clock).await;
    idle_settings(&mut report, &client, &cluster.brokers).await;
    check_open_files(&mut report, &cluster.brokers);
    Ok(report.rows)
}

/// The words in a setting's documentation before the reason why it has no effect.
const NO_EFFECT: &str = "No effect here: ";

/// Settings that were changed from their default and do nothing.
async fn idle_settings(report: &mut DoctorReport, client: &Client, brokers: &[BrokerDescription]) {
    let mut wrong = Vec::new();
    for broker in brokers {
        let id = broker.id;
        let names = [id.to_string()];
        let configs = client.documented_configs(ConfigKind::Broker, &names).await;
        for it in configs.into_iter().flatten().flat_map(|(_, entries)| entries) {
            let text = it.documentation.as_deref().and_then(|it| it.split_once(NO_EFFECT));
            if let Some((_, why)) = text.filter(|_| !it.is_default()) {
                let value = it.value.as_deref().unwrap_or("[hidden]");
                wrong.push(format!("broker {id}: {}={value} has no effect: {why}", it.name));
            }
        }
    }
    let good = "every changed setting has an effect".to_owned();
    report.each("settings", wrong, HealthVerdict::Note, good);
}

/// Can the broker be reached at its advertised address, and does that broker answer there?
async fn check_reachable(
    report: &mut DoctorReport,
    broker: &BrokerDescription,
    cluster_id: &str,
    clock: &Clock,
) {
    let (id, address) = (broker.id, join_host_port(&broker.host, broker.port));
    let what = format!("broker {id}");
    let fix = "Set advertised.listeners to a name and port that clients reach";
    let found = tokio::net::lookup_host(&address).await;
    if let Err(error) = found {
        report.add(HealthVerdict::Error, what, format!("its advertised listener {address} does not resolve from here ({error}). {fix}, or make the name known here (DNS, /etc/hosts)."));
        return;
    }
    let talk = async {
        let there = Client::connect(&address, "ottla-doctor", clock.clone()).await?;
        there.describe_cluster(Brokers::Unfenced).await
    };
    let began = clock.monotonic();
    let answer = answer_or_reason(clock, "no answer", talk).await;
    match answer {
        Err(error) => {
            report.add(HealthVerdict::Error, what, format!("its advertised listener {address} cannot be reached from here ({error}). {fix}; is a firewall between?"));
        }
        Ok(it) if it.id != cluster_id => {
            report.add(
                HealthVerdict::Error,
                what,
                format!(
                    "at {address} another cluster answers ({} and not {cluster_id}). {fix}.",
                    it.id
                ),
            );
        }
        Ok(_) => {
            let ms = clock.monotonic().saturating_sub(began).as_secs_f64() * 1000.0;
            report.add(HealthVerdict::Good, what, format!("reached at {address} in {ms:.1} ms"));
        }
    }
}

/// A broker that advertises localhost is not reached from other machines.
fn check_loopback(report: &mut DoctorReport, brokers: &[BrokerDescription], bootstrap: &str) {
    let is_local =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    let asked_at_home = bootstrap.split(',').all(|server| {
        is_local(server.rsplit_once(':').map_or(server, |(host, _)| host).trim_matches(['[', ']']))
    });
    for it in brokers.iter().filter(|it| is_local(&it.host)) {
        let alone = brokers.len() == 1 && asked_at_home;
        let verdict = if alone { HealthVerdict::Note } else { HealthVerdict::Error };
        report.add(verdict, format!("broker {}", it.id), format!("advertises {}, which no other machine reaches; set advertised.listeners if some should", join_host_port(&it.host, it.port)));
    }
}

async fn check_partitions(report: &mut DoctorReport, client: &Client, topics: &[TopicDescription]) {
    let (mut offline, mut behind, mut below) = (Vec::new(), Vec::new(), Vec::new());
    let mut count = 0;
    let names: Vec<String> = topics.iter().map(|it| it.name.clone()).collect();
    let configs = client.configs(ConfigKind::Topic, &names).await.unwrap_or_else(|error| {
        report.add(
            HealthVerdict::Note,
            "partitions",
            format!("their settings cannot be read ({error}); min.insync.replicas counts as 1"),
        );
        BTreeMap::new()
    });
    for topic in topics {
        let name = &topic.name;
        let mut least = configs.get(name).into_iter().flatten();
        let least = least.find(|it| it.name == "min.insync.replicas");
        let least: usize = least.and_then(|it| it.value.as_deref()?.parse().ok()).unwrap_or(1);
        for it in &topic.partitions {
            count += 1;
            let place = format!("{name}-{}", it.partition);
            let (in_sync, all) = (it.in_sync.len(), it.replicas.len());
            if it.leader < 0 {
                offline.push(place);
            } else if in_sync < least {
                below.push(format!("{place} ({in_sync} of {least})"));
            } else if in_sync < all {
                behind.push(format!("{place} ({in_sync} of {all})"));
            }
        }
    }
    let mut wrong = Vec::new();
    if !offline.is_empty() {
        wrong.push(format!(
            "no leader for {}: they can neither be read nor written until a replica comes back",
            first_few(&offline)
        ));
    }
    if !below.is_empty() {
        wrong.push(format!(
            "too few replicas in sync for acks=all (min.insync.replicas): {}",
            first_few(&below)
        ));
    }
    if !behind.is_empty() {
        report.add(
            HealthVerdict::Note,
            "partitions",
            format!("under-replicated: {}", first_few(&behind)),
        );
    }
    report.each(
        "partitions",
        wrong,
        HealthVerdict::Error,
        format!("{count} partitions, all with a leader and enough in-sync replicas"),
    );
}

fn check_spread(report: &mut DoctorReport, topics: &[TopicDescription], brokers: usize) {
    let mut held: BTreeMap<i32, usize> = BTreeMap::new();
    for id in topics.iter().flat_map(|it| &it.partitions).flat_map(|it| &it.replicas) {
        *held.entry(*id).or_default() += 1;
    }
    for (id, count) in held.into_iter().filter(|(_, count)| *count > PARTITIONS_MAX) {
        report.add(HealthVerdict::Note, format!("broker {id}"), format!("holds {count} partitions; above {PARTITIONS_MAX} starts and failovers take long. Use fewer partitions a topic, or more brokers."));
    }
    check_factors(report, topics, brokers);
}

/// Topics with fewer replicas than the brokers that are there allow.
fn check_factors(report: &mut DoctorReport, topics: &[TopicDescription], brokers: usize) {
    let usual = brokers.min(FACTOR_USUAL);
    let factor = |topic: &TopicDescription| {
        topic.partitions.iter().map(|it| it.replicas.len()).min().filter(|it| *it < usual)
    };
    let mut single = Vec::new();
    for topic in topics {
        let name = &topic.name;
        match factor(topic) {
            None => {}
            Some(1) if topic.is_internal => report.add(HealthVerdict::Error, format!("topic {name}"), "has one replica in a cluster of several brokers: groups or transactions stop with that broker. `ottla cluster grow` gives it more."),
            Some(count) if topic.is_internal => report.add(HealthVerdict::Warning, format!("topic {name}"), format!("has {count} replicas, and {brokers} brokers are there: `ottla cluster grow` gives it {usual}")),
            Some(1) => single.push(name.clone()),
            Some(_) => {}
        }
    }
    if !single.is_empty() {
        report.add(HealthVerdict::Note, "topics", format!("one replica each, so that their records are lost with a disk: {}; `ottla cluster grow --topics NAME,...` gives them {usual}", first_few(&single)));
    }
}

async fn check_disks(report: &mut DoctorReport, client: &Client, brokers: &[BrokerDescription]) {
    for broker in brokers {
        let what = format!("disks of broker {}", broker.id);
        let Ok(dirs) = client.describe_log_dirs(broker.id).await else { continue };
        let mut wrong = Vec::new();
        for it in &dirs {
            if it.error != ErrorCode::NONE {
                wrong.push(format!("{} has failed: its partitions are offline until the disk is repaired and the node restarted", it.path));
            } else if it.total_bytes > 0 && it.usable_bytes >= 0 {
                let used = 100 - it.usable_bytes.saturating_mul(100) / it.total_bytes;
                if used > DISK_USED_MAX {
                    let free = format_bytes(u64::try_from(it.usable_bytes).unwrap_or(0));
                    wrong.push(format!(
                        "{} is {used} % full ({free} left): shorten retention, or add disk",
                        it.path
                    ));
                }
            }
        }
        for dir in suspiciously_empty(&dirs) {
            report.add(HealthVerdict::Warning, &what, dir);
        }
        let good = format!("{} data directories, none nearly full", dirs.len());
        report.each(&what, wrong, HealthVerdict::Error, good);
    }
}

/// A directory without partitions among full ones: most often a disk that was replaced, or that is
/// not mounted.
fn suspiciously_empty(dirs: &[LogDirDescription]) -> Vec<String> {
    let held = |dir: &LogDirDescription| dir.replicas.len();
    let Some(fullest) = dirs.iter().max_by_key(|dir| held(dir)) else { return Vec::new() };
    if held(fullest) < PARTITIONS_SPREAD {
        return Vec::new();
    }
    let empty = dirs.iter().filter(|dir| dir.error == ErrorCode::NONE && held(dir) == 0);
    let text = |dir: &LogDirDescription| {
        format!(
            "{} holds no partition, while {} holds {}: was its disk replaced, or is it not mounted?",
            dir.path,
            fullest.path,
            held(fullest)
        )
    };
    empty.map(text).collect()
}

/// What measurements have left behind.
fn left_over(report: &mut DoctorReport, topics: &[TopicDescription]) {
    let names = topics.iter().map(|it| it.name.as_str());
    let names: Vec<&str> = names.filter(|name| name.starts_with(TOPIC_PREFIX)).collect();
    if !names.is_empty() {
        report.add(
            HealthVerdict::Note,
            "topics",
            format!(
                "{} left over from `ottla bench`, if none runs now: `ottla topics delete {}`",
                names.len(),
                names.join(" ")
            ),
        );
    }
}

/// Coordinators that cannot exist with as few brokers as there are.
async fn check_coordinators(report: &mut DoctorReport, client: &Client) {
    let kinds = [(CoordinatorOf::Group, "groups"), (CoordinatorOf::Transaction, "transactions")];
    for (kind, what) in kinds {
        match client.obstacle(kind).await {
            Ok(Some(obstacle)) => report.add(HealthVerdict::Error, what, obstacle.to_string()),
            Ok(None) => {}
            Err(error) => report.add(
                HealthVerdict::Note,
                what,
                format!("cannot find out whether they can have a coordinator: {error}"),
            ),
        }
    }
}

/// How far groups are behind, and what they will never read.
async fn check_lag(report: &mut DoctorReport, client: &Client, groups: &[GroupListing]) {
    let (mut behind, mut most) = (0, None);
    for group in groups.iter().take(GROUPS_MAX) {
        let Ok(committed) = client.group_offsets(&group.id).await else { continue };
        let ends_at =
            async |at| client.offsets_at(committed.keys(), at, IsolationLevel::Uncommitted).await;
        let (starts, ends) = (ends_at(OffsetAt::Earliest).await, ends_at(OffsetAt::Latest).await);
        let lag = |(place, next): (&TopicPartition, &CommittedPosition)| {
            ends.get(place).map_or(0, |end| (end - next.offset).max(0))
        };
        let records: i64 = committed.iter().map(lag).sum();
        if records > 0 {
            behind += 1;
            most = most.max(Some((records, &group.id)));
        }
        let is_lost = |(place, next): &(&TopicPartition, &CommittedPosition)| {
            starts.get(place).is_some_and(|start| next.offset < *start)
        };
        let lost: Vec<String> =
            committed.iter().filter(is_lost).map(|(place, _)| place.to_string()).collect();
        if !lost.is_empty() {
            report.add(HealthVerdict::Warning, format!("group {}", group.id), format!("records were deleted before it read them: {}; lengthen retention, or add consumers", first_few(&lost)));
        }
    }
    if groups.len() > GROUPS_MAX {
        report.add(
            HealthVerdict::Note,
            "lag",
            format!("only {GROUPS_MAX} of {} groups were looked at", groups.len()),
        );
    }
    match most {
        None => report.add(HealthVerdict::Good, "lag", "no group is behind"),
        Some((records, group)) => {
            let verdict =
                if records < LAG_RECORDS { HealthVerdict::Good } else { HealthVerdict::Note };
            report.add(verdict, "lag", format!("{behind} of {} groups are behind, group {group} the most, by {records} records; `ottla groups lag {group}` says since when", groups.len()));
        }
    }
}

/// The first of many.
fn first_few(list: &[String]) -> String {
    let shown = list.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if list.len() > 5 { format!("{shown} and {} more", list.len() - 5) } else { shown }
}

async fn check_groups(report: &mut DoctorReport, client: &Client) {
    let Ok(all) = client.list_groups(&GroupFilter::default()).await else {
        report.add(HealthVerdict::Error, "groups", "the coordinators do not answer");
        return;
    };
    let (count, mut idle) = (all.len(), Vec::new());
    for group in all.iter().filter(|it| it.state.eq_ignore_ascii_case("stable")) {
        let Ok(found) = client.describe_group(&group.id).await else { continue };
        let without = found.members.iter().filter(|it| it.places.is_empty()).count();
        if without > 0 {
            let members = found.members.len();
            idle.push(format!("{without} of the {members} consumers of group {} read nothing: there are more consumers than partitions", group.id));
        }
    }
    report.each("groups", idle, HealthVerdict::Note, format!("{count}, no consumer idle"));
    check_lag(report, client, &all).await;
}

/// The controller says what time it has: when it last caught up with itself.
async fn check_clock_skew(report: &mut DoctorReport, client: &Client, clock: &Clock) {
    let before = clock.wall_ms();
    let Ok(quorum) = client.describe_quorum().await else { return };
    let after = clock.wall_ms();
    let leader = quorum.voters.iter().find(|voter| voter.id == quorum.leader);
    if let Some(there) = leader.map(|it| it.last_caught_up).filter(|at| *at > 0) {
        let apart = (there - after).max(before - there).max(0);
        if apart > SKEW_MAX_MS {
            report.add(HealthVerdict::Error, "clocks", format!("the controller's clock and this machine's are {apart} ms apart: timestamps, retention and lag in time are off by that. Run an NTP client on all machines."));
        } else {
            report.add(
                HealthVerdict::Good,
                "clocks",
                "the controller's clock agrees with this machine's",
            );
        }
    }
}

/// What this machine lets a node open, if one runs here.
fn check_open_files(report: &mut DoctorReport, brokers: &[BrokerDescription]) {
    let is_here = |it: &&BrokerDescription| it.host == "localhost" || it.host.starts_with("127.");
    if !brokers.iter().any(|it| is_here(&it)) {
        return;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < FILES_MIN => {
            report.add(HealthVerdict::Note, "open files", format!("`ulimit -n` is {limit} here; a node with many partitions and connections needs {FILES_MIN} or more (LimitNOFILE= in its systemd unit)"));
        }
        _ => report.add(HealthVerdict::Good, "open files", "the limit here is high enough"),
    }
}

#[cfg(test)]
mod tests {
    use ottla_client::{PartitionDescription, ReplicaDescription};

    use super::*;

    fn broker(id: i32, host: &str) -> BrokerDescription {
        BrokerDescription { id, host: host.to_owned(), port: 9092, ..Default::default() }
    }

    #[test]
    fn a_broker_at_home_is_a_note_alone_and_wrong_among_others() {
        let verdicts = |brokers: &[BrokerDescription], bootstrap: &str| {
            let mut report = DoctorReport::default();
            check_loopback(&mut report, brokers, bootstrap);
            report.rows.into_iter().map(|it| it.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&[broker(1, "127.0.0.1")], "localhost:9092"), [HealthVerdict::Note]);
        assert_eq!(verdicts(&[broker(1, "localhost")], "kafka1:9092"), [HealthVerdict::Error]);
        let two = [broker(1, "localhost"), broker(2, "kafka2")];
        assert_eq!(verdicts(&two, "localhost:9092"), [HealthVerdict::Error]);
        assert_eq!(verdicts(&[broker(1, "kafka1")], "kafka1:9092"), []);
    }

    #[test]
    fn partitions_that_too_few_brokers_hold_are_found() {
        let mut report = DoctorReport::default();
        let partition = |replicas: &[i32]| PartitionDescription {
            replicas: replicas.to_vec(),
            ..Default::default()
        };
        let internal = TopicDescription {
            name: "__consumer_offsets".to_owned(),
            is_internal: true,
            partitions: vec![partition(&[1])],
            ..Default::default()
        };
        let large = TopicDescription {
            name: "t".to_owned(),
            partitions: vec![partition(&[2]); PARTITIONS_MAX + 1],
            ..Default::default()
        };
        check_spread(&mut report, &[internal, large], 2);
        let found: Vec<_> =
            report.rows.iter().map(|it| (it.verdict, it.subject.as_str())).collect();
        assert_eq!(
            found,
            [
                (HealthVerdict::Note, "broker 2"),
                (HealthVerdict::Error, "topic __consumer_offsets"),
                (HealthVerdict::Note, "topics"),
            ]
        );
    }

    #[test]
    fn topics_with_fewer_replicas_than_brokers_allow_are_found() {
        let topic = |is_internal: bool, replicas: &[i32]| TopicDescription {
            name: format!("{}{}", if is_internal { "__t" } else { "t" }, replicas.len()),
            is_internal,
            partitions: vec![PartitionDescription {
                replicas: replicas.to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let topics = [
            topic(true, &[1]),
            topic(true, &[1, 2]),
            topic(true, &[1, 2, 3]),
            topic(false, &[1]),
            topic(false, &[1, 2]),
        ];
        let verdicts = |brokers: usize| {
            let mut report = DoctorReport::default();
            check_factors(&mut report, &topics, brokers);
            report.rows.into_iter().map(|it| it.verdict).collect::<Vec<_>>()
        };
        use HealthVerdict::{Error, Note, Warning};
        assert_eq!(verdicts(1), []);
        assert_eq!(verdicts(2), [Error, Note]);
        assert_eq!(verdicts(5), [Error, Warning, Note]);
    }

    #[test]
    fn an_empty_directory_among_full_ones_is_suspicious() {
        let dir = |name: &str, count: i32| LogDirDescription {
            path: name.to_owned(),
            replicas: (0..count)
                .map(|at| ReplicaDescription {
                    place: TopicPartition::new("t", at),
                    size_bytes: 0,
                    offset_lag: 0,
                    is_future: false,
                })
                .collect(),
            ..Default::default()
        };
        assert_eq!(suspiciously_empty(&[dir("/a", 3), dir("/b", 0)]), [""; 0], "a new cluster");
        let found = suspiciously_empty(&[dir("/a", 30), dir("/b", 0), dir("/c", 2)]);
        assert!(found.len() == 1 && found[0].starts_with("/b holds no partition"), "{found:?}");
    }

    #[test]
    fn topics_of_a_measurement_that_was_killed_are_found() {
        let topic = |name: &str| TopicDescription { name: name.to_owned(), ..Default::default() };
        let mut report = DoctorReport::default();
        left_over(&mut report, &[topic("orders"), topic("ottla-bench-x")]);
        assert!(report.rows[0].finding.ends_with("`ottla topics delete ottla-bench-x`"));
    }
}
