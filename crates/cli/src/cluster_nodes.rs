//! The nodes of a cluster, as its brokers and its metadata quorum describe them together.

use std::collections::BTreeMap;

use ottla_client::{BrokerDescription, ClusterDescription, QuorumDescription, QuorumReplica};
use ottla_types::{NodeId, Uuid, join_host_port};

use crate::output::format_ago;

/// How long a replica of the metadata log that runs is silent at most. It fetches every half a
/// second, and stands for election when it has heard nothing for two (by default).
const SILENT_MS: i64 = 3000;
/// From how long a lag on it is worth a word.
const LAG_MS: i64 = 5000;

/// What a node is in the metadata quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuorumStanding {
    /// It leads the metadata log: the active controller.
    Leader,
    /// It votes, and has a copy.
    Voter,
    /// It has a copy: a broker, or a controller that does not vote.
    Observer,
}

impl QuorumStanding {
    /// As JSON and tables name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Observer => "observer",
        }
    }
}

/// A replica of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataReplica {
    /// What it is in the quorum.
    pub standing: QuorumStanding,
    /// Its directory; zero where that is not known.
    pub directory: Uuid,
    /// How many records it lacks; `None` if the leader has not heard of it.
    pub lag_records: Option<i64>,
    /// For how long it has lacked some, in milliseconds; 0 if it has all.
    pub lag_ms: Option<i64>,
    /// How long ago it fetched, by the leader's clock, in milliseconds.
    pub silent_ms: Option<i64>,
    /// Where a voter's controller listens.
    pub endpoints: Vec<String>,
}

impl MetadataReplica {
    /// Has the leader heard of it lately?
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.standing == QuorumStanding::Leader
            || self.silent_ms.is_some_and(|silent_ms| silent_ms <= SILENT_MS)
    }

    /// What is wrong with it, if anything is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match (self.silent_ms, self.lag_records, self.lag_ms) {
            _ if self.standing == QuorumStanding::Leader => None,
            (None, ..) => Some("has not fetched from this leader".to_owned()),
            (Some(silent_ms), ..) if silent_ms > SILENT_MS => {
                Some(format!("has not fetched the metadata for {}", format_ago(silent_ms)))
            }
            (_, Some(records), Some(lag_ms)) if records > 0 && lag_ms > LAG_MS => {
                Some(format!("{records} records of metadata behind, for {}", format_ago(lag_ms)))
            }
            _ => None,
        }
    }
}

/// A node: a broker, a replica of the metadata log, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedNode {
    /// Its id.
    pub id: NodeId,
    /// Its broker, if it has one that is registered.
    pub broker: Option<BrokerDescription>,
    /// Its replica of the metadata log; `None` if the quorum does not know it.
    pub replica: Option<MetadataReplica>,
}

impl DescribedNode {
    /// `process.roles`, as far as others know them.
    #[must_use]
    pub fn roles(&self) -> &'static str {
        let votes = self.replica.as_ref().is_some_and(|it| it.standing != QuorumStanding::Observer);
        match (&self.broker, votes) {
            (Some(_), true) => "broker,controller",
            (Some(_), false) => "broker",
            (None, _) => "controller",
        }
    }

    /// Where it listens, its broker if it has one.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let of_broker = self.broker.as_ref().map(|it| join_host_port(&it.host, it.port));
        let endpoints = self.replica.iter().flat_map(|replica| &replica.endpoints);
        of_broker.or_else(|| endpoints.map(|it| bare_address(it).to_owned()).next())
    }

    /// Why its broker is fenced, as far as that can be known from outside; `None` if it is not.
    #[must_use]
    pub fn fenced_because(&self) -> Option<String> {
        self.broker.as_ref().filter(|broker| broker.is_fenced)?;
        let replica = self.replica.as_ref();
        let trouble = replica.and_then(MetadataReplica::trouble);
        Some(match (replica, trouble) {
            (None, _) => "it does not fetch the metadata: is it running?".to_owned(),
            (Some(_), Some(trouble)) => format!("it {trouble}"),
            // It is heard of, and has what it needs.
            (Some(_), None) => "it is starting or stopping, or its heartbeats are lost".to_owned(),
        })
    }
}

/// The host and port of `NAME://HOST:PORT`.
#[must_use]
pub fn bare_address(endpoint: &str) -> &str {
    endpoint.split_once("://").map_or(endpoint, |(_, address)| address)
}

/// All nodes, by id. A node whose disk was replaced may have two replicas: a voter that is gone,
/// and the one that is there.
#[must_use]
pub fn list_nodes(
    cluster: &ClusterDescription,
    quorum: Option<&QuorumDescription>,
) -> Vec<DescribedNode> {
    let mut all: BTreeMap<(NodeId, QuorumStanding, Uuid), DescribedNode> = BTreeMap::new();
    for replica in quorum.into_iter().flat_map(metadata_replicas) {
        let (id, replica) = replica;
        let key = (id, replica.standing, replica.directory);
        all.insert(key, DescribedNode { id, broker: None, replica: Some(replica) });
    }
    for broker in &cluster.brokers {
        let silent_ms = |node: &DescribedNode| {
            node.replica.as_ref().and_then(|it| it.silent_ms).unwrap_or(i64::MAX)
        };
        let own = all.values_mut().filter(|node| node.id == broker.id);
        match own.min_by_key(|node| silent_ms(node)) {
            Some(node) => node.broker = Some(broker.clone()),
            None => {
                let node =
                    DescribedNode { id: broker.id, broker: Some(broker.clone()), replica: None };
                all.insert((broker.id, QuorumStanding::Observer, Uuid::ZERO), node);
            }
        }
    }
    all.into_values().collect()
}

fn metadata_replicas(
    quorum: &QuorumDescription,
) -> impl Iterator<Item = (NodeId, MetadataReplica)> {
    let leader = quorum.voters.iter().find(|it| it.id == quorum.leader);
    let leader = leader.cloned().unwrap_or_default();
    let described = move |(replica, standing): (&QuorumReplica, QuorumStanding)| {
        let leads = standing == QuorumStanding::Voter && replica.id == leader.id;
        let standing = if leads { QuorumStanding::Leader } else { standing };
        let lag_records = (replica.log_end >= 0).then(|| (leader.log_end - replica.log_end).max(0));
        // The leader's own time is when it answered.
        let ago = |at: i64| (at >= 0).then(|| (leader.last_fetch - at).max(0));
        let lag_ms = match lag_records {
            Some(0) => Some(0),
            _ => ago(replica.last_caught_up),
        };
        let described = MetadataReplica {
            standing,
            directory: replica.directory,
            lag_records,
            lag_ms,
            silent_ms: ago(replica.last_fetch),
            endpoints: replica.endpoints.clone(),
        };
        (replica.id, described)
    };
    let voters = quorum.voters.iter().map(|it| (it, QuorumStanding::Voter));
    let observers = quorum.observers.iter().map(|it| (it, QuorumStanding::Observer));
    voters.chain(observers).map(described)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica_of(id: NodeId, directory: u64, end: i64, fetched: i64) -> QuorumReplica {
        QuorumReplica {
            id,
            directory: Uuid::of(directory),
            log_end: end,
            last_fetch: fetched,
            last_caught_up: fetched,
            endpoints: vec![format!("CONTROLLER://c{id}:9093")],
        }
    }

    fn broker_of(id: NodeId) -> BrokerDescription {
        BrokerDescription { id, host: format!("b{id}"), port: 9092, ..Default::default() }
    }

    #[test]
    fn a_node_is_what_its_broker_and_its_replica_are() {
        let quorum = QuorumDescription {
            leader: 1,
            leader_epoch: 7,
            high_watermark: 100,
            voters: vec![
                replica_of(1, 10, 100, 50_000),
                replica_of(2, 20, 100, 49_800),
                replica_of(3, 30, 40, 20_000),
            ],
            observers: vec![
                replica_of(3, 31, 90, 49_900),
                replica_of(4, 40, 60, 42_000),
                replica_of(5, 50, 30, 49_900),
            ],
        };
        let fenced = |id| BrokerDescription { is_fenced: true, ..broker_of(id) };
        let brokers = vec![broker_of(1), fenced(3), fenced(4), fenced(6)];
        let cluster = ClusterDescription { id: "c".to_owned(), controller: 1, brokers };
        let found: Vec<String> = list_nodes(&cluster, Some(&quorum))
            .iter()
            .map(|node| {
                let replica = node.replica.as_ref();
                let standing = replica.map_or("-", |it| it.standing.name());
                let lag = replica.map_or(-1, |it| it.lag_records.unwrap_or(-1));
                let trouble = replica.and_then(MetadataReplica::trouble).unwrap_or_default();
                let (id, roles) = (node.id, node.roles());
                let fenced = node.fenced_because().unwrap_or_default();
                let address = node.address().unwrap_or_default();
                format!("{id} {address} {roles} {standing} {lag} [{trouble}] [{fenced}]")
            })
            .collect();
        let starting = "it is starting or stopping, or its heartbeats are lost";
        let wanted = [
            "1 b1:9092 broker,controller leader 0 [] []".to_owned(),
            "2 c2:9093 controller voter 0 [] []".to_owned(),
            // Its disk was replaced.
            "3 c3:9093 controller voter 60 [has not fetched the metadata for 30 s] []".to_owned(),
            format!("3 b3:9092 broker observer 10 [] [{starting}]"),
            "4 b4:9092 broker observer 40 [has not fetched the metadata for 8 s] [it has not \
             fetched the metadata for 8 s]"
                .to_owned(),
            "5 c5:9093 controller observer 70 [] []".to_owned(),
            "6 b6:9092 broker - -1 [] [it does not fetch the metadata: is it running?]".to_owned(),
        ];
        assert_eq!(found, wanted);
        let numeric = BrokerDescription { host: "::1".to_owned(), ..broker_of(1) };
        let numeric = DescribedNode { id: 1, broker: Some(numeric), replica: None };
        assert_eq!(numeric.address().as_deref(), Some("[::1]:9092"));
        let alone = list_nodes(&cluster, None);
        assert_eq!(alone.len(), 4, "an old cluster describes no quorum");
    }
}
