//! `ottla.cluster`: the nodes of a cluster that forms without a format step, and what follows for
//! each of them: roles, listeners, where its controllers are.

use std::fmt;

use ottla_types::{NodeId, join_host_port};

use crate::allowed::{host_and_port, is_loopback_host};
use crate::started::{Origin, SettingError, Settings};

/// `ottla.cluster`.
pub(crate) const CLUSTER: &str = "ottla.cluster";
/// `node.id`.
const NODE: &str = "node.id";
/// How many nodes a list has at most; each of them is a voter.
const NODES_MAX: usize = 9;
/// How many replicas internal topics have by default in Kafka.
const REPLICAS_DEFAULT: usize = 3;

/// One node of the list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterNode {
    /// Its `node.id`.
    pub id: NodeId,
    /// Its host, in small letters.
    pub host: String,
    /// The port for clients.
    pub port: u16,
    /// The port of its controller.
    pub controller_port: u16,
}

impl ClusterNode {
    /// Where its controller listens: `host:port`.
    #[must_use]
    pub fn controller_address(&self) -> String {
        join_host_port(&self.host, self.controller_port)
    }

    /// Reads `host:port` or `host:port:controller-port`.
    fn parse(id: NodeId, text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} must be host:port or host:port:controller-port");
        // An IPv6 address stands in brackets.
        let split = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:"),
            None => text.split_once(':'),
        };
        let (host, ports) = split.ok_or_else(wrong)?;
        let (port, controller_port) = match ports.split_once(':') {
            Some((port, controller)) => (port, Some(controller)),
            None => (ports, None),
        };
        let port_of = |port: &str| match host_and_port(&join_host_port(host, port)) {
            Ok((_, port)) => Ok(port),
            Err(_) => Err(wrong()),
        };
        let (port, controller_port) = (port_of(port)?, controller_port.map(port_of).transpose()?);
        if host.is_empty() || matches!(host, "0.0.0.0" | "::") {
            return Err(format!("{text}: no other node can connect to it; name the host"));
        }
        let controller_port = controller_port.or_else(|| port.checked_add(1)).ok_or_else(wrong)?;
        if port == 0 || controller_port == 0 {
            return Err(format!("{text}: port 0 cannot be found by the other nodes"));
        }
        Ok(Self { id, host: host.to_ascii_lowercase(), port, controller_port })
    }
}

impl fmt::Display for ClusterNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, join_host_port(&self.host, self.port))?;
        if self.port.checked_add(1) == Some(self.controller_port) {
            return Ok(());
        }
        write!(f, ":{}", self.controller_port)
    }
}

/// The nodes of a cluster, in the order of their ids. Two texts that mean the same are equal, and
/// are shown in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterList(Vec<ClusterNode>);

impl ClusterList {
    /// Reads `host:port,...`: the ids are 1, 2, ... in the order of the list, unless each item has
    /// its own (`1@host:port`).
    ///
    /// # Errors
    /// What is wrong, with the item.
    pub fn parse(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|it| !it.is_empty());
        let items: Vec<&str> = items.collect();
        if items.is_empty() || items.len() > NODES_MAX {
            return Err(format!("it must name 1 to {NODES_MAX} nodes, not {}", items.len()));
        }
        let has_ids = items[0].contains('@');
        let mut nodes: Vec<ClusterNode> = Vec::new();
        for (number, item) in (1..).zip(items) {
            let node = match item.split_once('@') {
                Some((id, address)) if has_ids => {
                    let id = id.parse().ok().filter(|id: &NodeId| *id >= 0);
                    let id = id.ok_or_else(|| format!("{item} must be id@host:port"))?;
                    ClusterNode::parse(id, address)?
                }
                None if !has_ids => ClusterNode::parse(number, item)?,
                _ => {
                    return Err(format!(
                        "{item}: either each node has an id (1@host:port) or none"
                    ));
                }
            };
            check_distinct(&nodes, &node)?;
            nodes.push(node);
        }
        nodes.sort_by_key(|it| it.id);
        Ok(Self(nodes))
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[ClusterNode] {
        &self.0
    }

    /// The node with this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&ClusterNode> {
        self.0.iter().find(|it| it.id == id)
    }
}

impl fmt::Display for ClusterList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, node) in self.0.iter().enumerate() {
            write!(f, "{}{node}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Every id and every address stands for one node.
fn check_distinct(nodes: &[ClusterNode], new: &ClusterNode) -> Result<(), String> {
    let ports = |it: &ClusterNode| [it.port, it.controller_port];
    if new.port == new.controller_port {
        return Err(format!("{new}: clients and controllers cannot share port {}", new.port));
    }
    for known in nodes {
        if known.id == new.id {
            return Err(format!("node {} stands there twice", new.id));
        }
        let shared = ports(new).into_iter().find(|port| ports(known).contains(port));
        if let Some(port) = shared.filter(|_| known.host == new.host) {
            let address = join_host_port(&new.host, port);
            return Err(format!(
                "nodes {} and {} share {address}: a controller listens on the port after that for clients, or on the one that the list names, as in {}:{}:PORT",
                known.id, new.id, new.host, new.port
            ));
        }
    }
    Ok(())
}

impl Settings {
    /// `ottla.cluster`, if it is set.
    ///
    /// # Errors
    /// It is no list of nodes.
    pub fn cluster_list(&self) -> Result<Option<ClusterList>, SettingError> {
        let read = |text: &str| {
            ClusterList::parse(text).map_err(|why| {
                let place = self.place(CLUSTER);
                SettingError::Values(vec![format!("{place}: {CLUSTER}={text}: {why}")])
            })
        };
        self.given(CLUSTER).filter(|text| !text.is_empty()).map(read).transpose()
    }

    /// Fills in what follows from `ottla.cluster`, where it is not given.
    pub(crate) fn fill_in_cluster(&mut self) {
        // A list that cannot be read is refused with all that is wrong.
        let list = self.cluster_list().ok().flatten();
        for (name, value) in list.map_or_else(Vec::new, |list| self.follows_from(&list)) {
            if !self.is_chosen(name) {
                self.put(name, &value, Origin::Cluster);
            }
        }
    }

    /// What this node has with such a list: settings and their values.
    fn follows_from(&self, list: &ClusterList) -> Vec<(&'static str, String)> {
        let servers: Vec<String> =
            list.nodes().iter().map(ClusterNode::controller_address).collect();
        let replicas = list.nodes().len().clamp(1, REPLICAS_DEFAULT);
        let mut derived = vec![
            ("process.roles", "broker,controller".to_owned()),
            ("controller.quorum.bootstrap.servers", servers.join(",")),
            // As many replicas as there can be, up to Kafka's defaults.
            ("offsets.topic.replication.factor", replicas.to_string()),
            ("transaction.state.log.replication.factor", replicas.to_string()),
            ("transaction.state.log.min.isr", (replicas - 1).max(1).to_string()),
        ];
        let own = self.node_id().ok().and_then(|id| list.node(id));
        if let Some(own) = own.filter(|_| !self.is_chosen("listeners")) {
            // What this machine calls a name that others find it by may be another address.
            let bound = if is_loopback_host(&own.host) { own.host.as_str() } else { "" };
            let listeners = |host: &str| {
                let (clients, controllers) =
                    (join_host_port(host, own.port), join_host_port(host, own.controller_port));
                format!("PLAINTEXT://{clients},CONTROLLER://{controllers}")
            };
            derived.push(("listeners", listeners(bound)));
            derived.push(("advertised.listeners", listeners(&own.host)));
            derived.push(("controller.listener.names", "CONTROLLER".to_owned()));
        }
        derived
    }

    /// Has the operator given it?
    fn is_chosen(&self, name: &str) -> bool {
        self.origin(name).is_some_and(|origin| *origin != Origin::TriedOut)
    }
}

/// What contradicts `ottla.cluster`: each with its setting.
pub(crate) fn check_cluster(settings: &Settings) -> Vec<(&'static str, String)> {
    let Some(text) = settings.given(CLUSTER).filter(|text| !text.is_empty()) else {
        return Vec::new();
    };
    let list = match ClusterList::parse(text) {
        Ok(list) => list,
        Err(why) => return vec![(CLUSTER, format!("{CLUSTER}={text}: {why}"))],
    };
    let Some(id) = settings.node_id().ok().filter(|_| settings.is_chosen(NODE)) else {
        let why = format!(
            "{CLUSTER}={list} needs {NODE}, which of its nodes this one is: --node 1, or {NODE}=1 in the settings"
        );
        return vec![(CLUSTER, why)];
    };
    let Some(own) = list.node(id) else {
        return vec![(NODE, format!("{NODE}={id} is not among the nodes of {CLUSTER}={list}"))];
    };
    let mut found = Vec::new();
    const VOTERS: &str = "controller.quorum.voters";
    if !settings.items(VOTERS).is_empty() {
        found.push((VOTERS, format!("only one of {VOTERS} and {CLUSTER} can be set")));
    }
    const ROLES: &str = "process.roles";
    if !settings.is_broker() || !settings.is_controller() {
        let roles = settings.text(ROLES).unwrap_or_default();
        let why = format!(
            "{ROLES}={roles}, but every node of {CLUSTER} is broker and controller: leave {ROLES} out, or format the nodes as docs/quorums.md says"
        );
        found.push((ROLES, why));
    }
    let names = settings.controller_listeners();
    let listeners = settings.listeners().unwrap_or_default();
    let mut controllers = listeners.iter().filter(|it| names.contains(&it.name)).peekable();
    let is_given = controllers.peek().is_some();
    if is_given && !controllers.any(|it| it.port == own.controller_port) {
        let why = format!(
            "{CLUSTER} has the controller of node {id} at {}, but no listener of {} has port {}",
            own.controller_address(),
            names.join(","),
            own.controller_port
        );
        found.push(("listeners", why));
    }
    found
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
