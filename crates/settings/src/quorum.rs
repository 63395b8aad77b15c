//! The roles of a node and its metadata quorum: who votes, where to find it, what each role needs.
//!
//! The rules are Kafka's. A node of both roles that names neither voters nor bootstrap servers is
//! its own quorum, which Apache Kafka refuses.

use ottla_types::NodeId;

use crate::allowed::{host_and_port, parse_voter};
use crate::listeners::{ListenerSetting, Protocol, listener_protocols};
use crate::started::{SettingError, Settings};

/// `controller.quorum.voters`.
const VOTERS: &str = "controller.quorum.voters";
/// `controller.quorum.bootstrap.servers`.
const SERVERS: &str = "controller.quorum.bootstrap.servers";
/// `controller.listener.names`.
const NAMES: &str = "controller.listener.names";

/// A voter of a static quorum (kraft.version 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumPeer {
    /// Its `node.id`.
    pub id: NodeId,
    /// The host of its controller listener.
    pub host: String,
    /// The port of its controller listener.
    pub port: u16,
}

/// A controller that is asked first for the leader of a dynamic quorum (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapServer {
    /// The host of its controller listener.
    pub host: String,
    /// The port of its controller listener.
    pub port: u16,
}

/// How long a node waits for the other nodes of its cluster, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumTiming {
    /// `controller.quorum.election.timeout.ms`: how long a candidate waits for votes.
    pub election_ms: u64,
    /// `controller.quorum.fetch.timeout.ms`: how long a voter goes without an answer of the leader.
    pub fetch_ms: u64,
    /// `controller.quorum.election.backoff.max.ms`: the longest wait between two elections.
    pub backoff_max_ms: u64,
    /// `controller.quorum.request.timeout.ms`: how long a request within the quorum may take.
    pub request_ms: u64,
    /// `broker.heartbeat.interval.ms`: how often the broker sends a heartbeat; at least 1.
    pub heartbeat_ms: u64,
    /// `initial.broker.registration.timeout.ms`: how long a starting broker tries to register.
    pub registration_ms: u64,
}

impl Settings {
    /// How long the node waits for the other nodes of its cluster.
    #[must_use]
    pub fn quorum_timing(&self) -> QuorumTiming {
        let ms = |name: &str| u64::try_from(self.number(name)).unwrap_or(0);
        QuorumTiming {
            election_ms: ms("controller.quorum.election.timeout.ms"),
            fetch_ms: ms("controller.quorum.fetch.timeout.ms"),
            backoff_max_ms: ms("controller.quorum.election.backoff.max.ms"),
            request_ms: ms("controller.quorum.request.timeout.ms"),
            heartbeat_ms: ms("broker.heartbeat.interval.ms").max(1),
            registration_ms: ms("initial.broker.registration.timeout.ms"),
        }
    }

    /// Does a controller become a voter by itself when it finds its cluster
    /// (`controller.quorum.auto.join.enable`, KIP-853)?
    #[must_use]
    pub fn joins_voters(&self) -> bool {
        self.is_on("controller.quorum.auto.join.enable")
    }

    /// Does `process.roles` have `broker`? A node without `process.roles` has both roles.
    #[must_use]
    pub fn is_broker(&self) -> bool {
        self.has_role("broker")
    }

    /// Does `process.roles` have `controller`? A node without `process.roles` has both roles.
    #[must_use]
    pub fn is_controller(&self) -> bool {
        self.has_role("controller")
    }

    fn has_role(&self, role: &str) -> bool {
        let roles = self.roles();
        roles.is_empty() || roles.iter().any(|it| it == role)
    }

    /// `controller.quorum.voters`; empty where the metadata log has the voters (KIP-853).
    ///
    /// # Errors
    /// An item is not `id@host:port`, or its host is 0.0.0.0.
    pub fn static_voters(&self) -> Result<Vec<QuorumPeer>, SettingError> {
        let read = |text: &String| {
            let wrong = |why: String| SettingError::Values(vec![format!("{VOTERS}: {why}")]);
            let (id, host, port) = parse_voter(text).map_err(wrong)?;
            if host == "0.0.0.0" {
                let why = format!("{text}: no other node can connect to 0.0.0.0; name the host");
                return Err(wrong(why));
            }
            Ok(QuorumPeer { id, host: host.to_owned(), port })
        };
        self.items(VOTERS).iter().map(read).collect()
    }

    /// `controller.quorum.bootstrap.servers`.
    ///
    /// # Errors
    /// An item is not `host:port`.
    pub fn bootstrap_servers(&self) -> Result<Vec<BootstrapServer>, SettingError> {
        let read = |text: &String| {
            let wrong = |why: String| SettingError::Values(vec![format!("{SERVERS}: {why}")]);
            let (host, port) = host_and_port(text).map_err(wrong)?;
            Ok(BootstrapServer { host: host.to_owned(), port })
        };
        self.items(SERVERS).iter().map(read).collect()
    }

    /// May the controller listeners of a quorum of several nodes bind to addresses that other
    /// machines reach (`ottla.inter.node.listeners=open`)?
    #[must_use]
    pub fn may_open_inter_node(&self) -> bool {
        self.text("ottla.inter.node.listeners") == Some("open")
    }

    /// What says that this node is one of several, such as `process.roles=broker`; `None` for a
    /// node that is its own quorum. `is_local` says whether a host is this machine.
    #[must_use]
    pub fn other_nodes(&self, is_local: &dyn Fn(&str) -> bool) -> Option<String> {
        if let [role] = self.roles().as_slice() {
            return Some(format!("process.roles={role}"));
        }
        let own = self.node_id().unwrap_or(-1);
        let is_other = |text: &&String| parse_voter(text).is_ok_and(|(id, ..)| id != own);
        if let Some(text) = self.items(VOTERS).iter().find(is_other) {
            return Some(format!("{VOTERS} names {text}, which is not this node ({own})"));
        }
        let is_other = |text: &&String| {
            host_and_port(text).is_ok_and(|(host, port)| !self.is_self(host, port, is_local))
        };
        let servers = self.items(SERVERS);
        let other = servers.iter().find(is_other)?;
        Some(format!("{SERVERS} names {other}, which is not a controller listener of this node"))
    }

    /// Is this one of the controller's own listeners: by the port, and by the host as it is written
    /// there or as an address of this machine?
    fn is_self(&self, host: &str, port: u16, is_local: &dyn Fn(&str) -> bool) -> bool {
        let controllers = self.controller_listeners();
        let listeners = self.listeners().unwrap_or_default();
        let advertised = self.advertised().unwrap_or_default();
        let own: Vec<&ListenerSetting> = listeners
            .iter()
            .chain(&advertised)
            .filter(|it| controllers.contains(&it.name))
            .collect();
        if !own.is_empty() && !own.iter().any(|it| it.port == port || it.port == 0) {
            return false;
        }
        // The advertised host of any listener is a name of this machine, even if it cannot be
        // resolved.
        let mut names = listeners.iter().chain(&advertised);
        names.any(|it| it.host.eq_ignore_ascii_case(host)) || is_local(host)
    }

    /// Are there other brokers, as far as the settings alone can tell?
    pub(crate) fn has_several_nodes(&self) -> bool {
        let is_several = |name: &str| self.items(name).len() > 1;
        self.roles().len() == 1 || is_several(VOTERS) || is_several(SERVERS)
    }
}

/// What contradicts the node's roles: each with its setting.
#[must_use]
pub(crate) fn check_roles(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut found = check_voters(settings);
    let roles = settings.roles();
    let [role] = roles.as_slice() else {
        if settings.has_several_nodes() && settings.controller_listeners().is_empty() {
            let why = format!("{NAMES} must name the controller's listener among listeners");
            found.push((NAMES, why));
        }
        return found;
    };
    if settings.items(VOTERS).is_empty() && settings.items(SERVERS).is_empty() {
        let why = format!(
            "process.roles={role} needs the controllers of its cluster: name them in {SERVERS} \
             (host:port,...), or in {VOTERS} (id@host:port,...) if the quorum is a static one"
        );
        found.push(("process.roles", why));
    }
    found.extend(if role == "broker" { broker_only(settings) } else { controller_only(settings) });
    found
}

/// The voters are different nodes, and this node is one exactly if it is a controller.
fn check_voters(settings: &Settings) -> Vec<(&'static str, String)> {
    let voters = settings.items(VOTERS);
    let ids: Vec<NodeId> = voters.iter().filter_map(|it| Some(parse_voter(it).ok()?.0)).collect();
    if ids.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let twice = ids.iter().enumerate().find(|(at, id)| ids[..*at].contains(id));
    if let Some((_, id)) = twice {
        found.push((VOTERS, format!("{VOTERS} names node {id} twice")));
    }
    let Ok(own) = settings.node_id() else { return found };
    let value = voters.join(",");
    if settings.is_controller() && !ids.contains(&own) {
        let why = format!(
            "{VOTERS}={value} does not name this node, which is a controller with node.id={own}: \
             every controller of a static quorum is one of its voters"
        );
        found.push((VOTERS, why));
    }
    if !settings.is_controller() && ids.contains(&own) {
        let why = format!(
            "{VOTERS}={value} names this node, node.id={own}, but process.roles has no controller"
        );
        found.push((VOTERS, why));
    }
    found
}

/// What a node that is only a broker must have, and must not have.
fn broker_only(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let names = settings.controller_listeners();
    if names.is_empty() {
        let why = format!("{NAMES} must name the listener of the controllers, such as CONTROLLER");
        found.push((NAMES, why));
    }
    let listeners = settings.listeners().unwrap_or_default();
    for one in listeners.iter().filter(|it| names.contains(&it.name)) {
        let why = format!(
            "listeners has {}, which is the controllers' listener ({NAMES}), but process.roles has \
             no controller",
            one.name
        );
        found.push(("listeners", why));
    }
    if let Ok(known) = listener_protocols(settings) {
        for name in names.iter().filter(|name| !known.contains_key(*name)) {
            let why = format!("No security protocol defined for controller listener {name}");
            found.push(("listener.security.protocol.map", why));
        }
    }
    if settings.is_on("controller.quorum.auto.join.enable") {
        const JOIN: &str = "controller.quorum.auto.join.enable";
        let why = format!("{JOIN}=true, but process.roles has no controller that could join");
        found.push((JOIN, why));
    }
    found
}

/// What a node that is only a controller must have, and must not have.
fn controller_only(settings: &Settings) -> Vec<(&'static str, String)> {
    const INTER: &str = "inter.broker.listener.name";
    let mut found = Vec::new();
    let names = settings.controller_listeners();
    let listeners = settings.listeners().unwrap_or_default();
    for one in listeners.iter().filter(|it| !names.contains(&it.name)) {
        let why = format!(
            "listeners has {}, which {NAMES} does not have, but process.roles=controller has only \
             listeners of the controller",
            one.name
        );
        found.push(("listeners", why));
    }
    let inter = settings.given(INTER).map(str::to_ascii_uppercase);
    if let Some(name) = inter.filter(|name| names.contains(name)) {
        let why = format!("{NAMES} has {name}, which is the listener between brokers ({INTER})");
        found.push((INTER, why));
    }
    found
}

/// What has no effect in this node's role, or makes it fail at the first delay: a warning each.
pub(crate) fn warn_of_roles(settings: &Settings) -> Vec<String> {
    let mut all = Vec::new();
    let (interval, session) = ("broker.heartbeat.interval.ms", "broker.session.timeout.ms");
    let (interval_ms, session_ms) = (settings.number(interval), settings.number(session));
    if interval_ms.saturating_mul(2) > session_ms {
        all.push(format!(
            "{place}: {interval} ({interval_ms}) should be at most half of {session} \
             ({session_ms}): a broker whose heartbeat is late once would be fenced",
            place =
                settings.place(if settings.given(interval).is_some() { interval } else { session }),
        ));
    }
    let names = settings.controller_listeners();
    if names.len() > 1 && !settings.is_controller() {
        all.push(format!(
            "{place}: {NAMES} has {count} names; process.roles=broker uses only the first, {first}",
            place = settings.place(NAMES),
            count = names.len(),
            first = names[0],
        ));
    }
    all
}

/// Controller listeners of a quorum of several nodes that other machines could reach, and that
/// `ottla.inter.node.listeners` does not open; and controllers that are reached with encryption.
pub(crate) fn closed_listeners(
    settings: &Settings,
    is_local: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let Some(others) = settings.other_nodes(is_local) else { return Vec::new() };
    let names = settings.controller_listeners();
    let mut all = Vec::new();
    let protocols = listener_protocols(settings).unwrap_or_default();
    if let Some(name) = names.first().filter(|_| !settings.is_controller())
        && let Some(protocol) = protocols.get(name).filter(|it| **it != Protocol::Plaintext)
    {
        all.push(format!(
            "{place}: the controllers' listener {name} asks for {protocol}, but encryption and \
             logins are not built yet. Make it a PLAINTEXT listener on a private network",
            place = settings.place("listener.security.protocol.map"),
            protocol = protocol.name(),
        ));
    }
    if settings.may_open_inter_node() {
        return all;
    }
    let listeners = settings.listeners().unwrap_or_default();
    for one in listeners.iter().filter(|it| names.contains(&it.name) && !it.is_loopback()) {
        all.push(format!(
            "{place}: {others}, so controller listener {name}://{host}:{port} would serve \
             the other nodes of the quorum, but logins are not built yet: any machine that \
             reaches this port could change the cluster. If only the nodes of the cluster \
             reach it, set ottla.inter.node.listeners=open; or let {name} listen on \
             127.0.0.1",
            place = settings.place("listeners"),
            name = one.name,
            host = one.host,
            port = one.port,
        ));
    }
    all
}

#[cfg(test)]
#[path = "quorum_tests.rs"]
mod tests;
