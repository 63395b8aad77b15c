//! Listeners: where a node listens, what it says of that to clients, and by which protocol.
//!
//! The rules are Kafka's: names and ports differ, every listener has a security protocol, what is
//! advertised is listened on, and no wildcard address is advertised.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::allowed::is_loopback_host;
use crate::started::Settings;

/// Which listener brokers use among each other.
const INTER: &str = "inter.broker.listener.name";
/// The listener named like this protocol, unless [`INTER`] names one.
const INTER_PROTOCOL: &str = "security.inter.broker.protocol";

/// A listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSetting {
    /// Its name in capitals, such as `PLAINTEXT`.
    pub name: String,
    /// The host; empty is every address.
    pub host: String,
    /// The port; 0 is any that is free.
    pub port: u16,
}

impl ListenerSetting {
    /// Reads `NAME://host:port`; `setting` is where it stands.
    ///
    /// # Errors
    /// The text is not a listener: what is wrong with it.
    pub fn parse(setting: &str, text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("Invalid value {text} for configuration {setting}: it must be NAME://host:port")
        };
        let (name, address) = text.rsplit_once("://").ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host);
        let known = |it: char| it.is_ascii_alphanumeric() || "-%._:".contains(it);
        let is_port = !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit());
        if name.is_empty() || !host.chars().all(known) || !is_port {
            return Err(wrong());
        }
        let port = port.parse().map_err(|_| wrong())?;
        Ok(Self { name: name.to_ascii_uppercase(), host: host.to_owned(), port })
    }

    /// Is the host a wildcard address?
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "" | "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
    }

    /// Is the host a loopback address, which no other machine can reach?
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }
}

/// How a listener protects what passes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Without encryption and authentication.
    Plaintext,
    /// Encrypted.
    Ssl,
    /// With a login.
    SaslPlaintext,
    /// Encrypted, with a login.
    SaslSsl,
}

impl Protocol {
    /// The protocol of this name, in capitals or not.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Some(Self::Plaintext),
            "SSL" => Some(Self::Ssl),
            "SASL_PLAINTEXT" => Some(Self::SaslPlaintext),
            "SASL_SSL" => Some(Self::SaslSsl),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }
}

/// The security protocol of each listener's name.
///
/// # Errors
/// A pair that is not `NAME:PROTOCOL`, or a protocol that does not exist.
pub fn listener_protocols(settings: &Settings) -> Result<BTreeMap<String, Protocol>, String> {
    const MAP: &str = "listener.security.protocol.map";
    let text = settings.text(MAP).unwrap_or_default();
    let mut all = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, protocol) = pair.rsplit_once(':').ok_or_else(|| {
            format!("Invalid value {pair} for configuration {MAP}: it must be NAME:PROTOCOL")
        })?;
        let known = Protocol::named(protocol.trim()).ok_or_else(|| {
            format!("Invalid security protocol {} in {MAP}: it must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", protocol.trim())
        })?;
        all.insert(name.trim().to_ascii_uppercase(), known);
    }
    let listeners = settings.items("listeners");
    let names = listeners.iter().filter_map(|it| it.split_once(':')).map(|(name, _)| name);
    let own = settings.items("controller.listener.names");
    let mut used = own.iter().map(String::as_str).chain(names);
    let is_plain = |it: &str| matches!(Protocol::named(it), None | Some(Protocol::Plaintext));
    // Without `listener.security.protocol.map` a controller's listener is PLAINTEXT.
    if settings.given(MAP).is_none() && used.all(is_plain) {
        for name in own {
            all.entry(name).or_insert(Protocol::Plaintext);
        }
    }
    Ok(all)
}

/// What is wrong with the listeners: each with its setting.
#[must_use]
pub fn check_listeners(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let parsed = |name: &'static str, found: &mut Vec<(&'static str, String)>| {
        let mut all = Vec::new();
        for text in settings.items(name) {
            match ListenerSetting::parse(name, &text) {
                Ok(listener) => all.push(listener),
                Err(why) => found.push((name, why)),
            }
        }
        all
    };
    let listeners = parsed("listeners", &mut found);
    let advertised = parsed("advertised.listeners", &mut found);
    if !found.is_empty() {
        return found;
    }
    found.extend(names_and_ports(&listeners, true).map(|why| ("listeners", why)));
    found.extend(names_and_ports(&advertised, false).map(|why| ("advertised.listeners", why)));
    match listener_protocols(settings) {
        Err(why) => found.push(("listener.security.protocol.map", why)),
        Ok(known) => {
            let all = listeners.iter().chain(&advertised);
            let names: BTreeSet<&str> = all.map(|it| it.name.as_str()).collect();
            let missing = names.into_iter().filter(|name| !known.contains_key(*name));
            found.extend(missing.map(|name| {
                let why = format!("No security protocol defined for listener {name}");
                ("listener.security.protocol.map", why)
            }));
        }
    }
    found.extend(roles_of_listeners(settings, &listeners));
    found.extend(addresses_for_clients(settings, &listeners, &advertised));
    found
}

/// Each listener has its own name and, except for one of IPv4 beside one of IPv6, its own port.
fn names_and_ports(all: &[ListenerSetting], has_ports: bool) -> Option<String> {
    let mut names = BTreeSet::new();
    if let Some(twice) = all.iter().find(|it| !names.insert(&it.name)) {
        return Some(format!(
            "Each listener must have a different name, but {} stands there twice",
            twice.name
        ));
    }
    let kind = |listener: &ListenerSetting| {
        let (four, six) =
            (listener.host.parse::<Ipv4Addr>().is_ok(), listener.host.parse::<Ipv6Addr>().is_ok());
        if four { 4 } else { i32::from(six) * 6 }
    };
    for (at, one) in all.iter().enumerate().filter(|(_, it)| has_ports && it.port != 0) {
        for other in all[at + 1..].iter().filter(|it| it.port == one.port) {
            if !matches!((kind(one), kind(other)), (4, 6) | (6, 4)) {
                return Some(format!(
                    "Each listener must have a different port, but {} and {} have {}",
                    one.name, other.name, one.port
                ));
            }
        }
    }
    None
}

/// The controller's listeners exist, and clients have one, too.
fn roles_of_listeners(
    settings: &Settings,
    listeners: &[ListenerSetting],
) -> Vec<(&'static str, String)> {
    const NAMES: &str = "controller.listener.names";
    let mut found = Vec::new();
    let controllers = settings.items(NAMES);
    for early in settings.items("early.start.listeners") {
        let is_there = listeners.iter().any(|it| it.name == early);
        if !is_there && !controllers.contains(&early) {
            let why =
                format!("early.start.listeners names {early}, which does not appear in listeners");
            found.push(("early.start.listeners", why));
        }
    }
    let missing = controllers.iter().filter(|name| !listeners.iter().any(|it| it.name == **name));
    if settings.is_controller() && !settings.roles().is_empty() {
        found.extend(missing.map(|name| {
            (NAMES, format!("{NAMES} names {name}, which does not appear in listeners"))
        }));
    }
    if settings.is_broker() && listeners.iter().all(|it| controllers.contains(&it.name)) {
        let why = format!("listeners has none for clients: all of them appear in {NAMES}");
        found.push(("listeners", why));
    }
    found
}

/// What is advertised to clients: listeners of this node, with addresses that can be reached.
fn addresses_for_clients(
    settings: &Settings,
    listeners: &[ListenerSetting],
    advertised: &[ListenerSetting],
) -> Vec<(&'static str, String)> {
    const ADVERTISED: &str = "advertised.listeners";
    let mut found = Vec::new();
    let controllers = settings.items("controller.listener.names");
    // The controllers' listener may be advertised by a broker that does not listen there.
    let is_clients =
        |it: &&ListenerSetting| settings.is_broker() && !controllers.contains(&it.name);
    let is_absent = |it: &&ListenerSetting| !listeners.iter().any(|own| own.name == it.name);
    for one in advertised.iter().filter(is_clients).filter(is_absent) {
        let why = format!("{ADVERTISED} has {}, which does not appear in listeners", one.name);
        found.push((ADVERTISED, why));
    }
    let told = if advertised.is_empty() { listeners } else { advertised };
    let is_unreachable = |it: &&ListenerSetting| it.is_wildcard() && !it.host.is_empty();
    for one in told.iter().filter(is_unreachable) {
        // Where a controller listens at every address, the machine's name is advertised.
        if advertised.is_empty() && controllers.contains(&one.name) {
            continue;
        }
        found.push((
            if advertised.is_empty() { "listeners" } else { ADVERTISED },
            format!(
                "{ADVERTISED} cannot use the nonroutable meta-address {host}; set {ADVERTISED}={name}://HOST:{port} \
                 with a HOST that clients can reach, or listen on {name}://:{port} to advertise this machine's name",
                host = one.host, name = one.name, port = one.port,
            ),
        ));
    }
    if !settings.is_broker() {
        return found;
    }
    let is_named = settings.text(INTER).is_some();
    if is_named && settings.given(INTER_PROTOCOL).is_some() {
        let why = "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set";
        found.push((INTER, why.to_owned()));
        return found;
    }
    // One node sends nothing to other brokers: the default need not be listened on.
    let is_used =
        is_named || settings.given(INTER_PROTOCOL).is_some() || settings.has_several_nodes();
    let name = inter_listener(settings);
    if is_used && !told.iter().any(|it| it.name == name && !controllers.contains(&name)) {
        let why =
            format!("the listener between brokers is {name}, which {ADVERTISED} does not have");
        found.push((INTER, why));
    }
    found
}

/// The name of the listener that brokers use among each other, in capitals.
pub(crate) fn inter_listener(settings: &Settings) -> String {
    let protocol = || settings.text(INTER_PROTOCOL).unwrap_or("PLAINTEXT").to_owned();
    settings.text(INTER).map_or_else(protocol, str::to_ascii_uppercase)
}
