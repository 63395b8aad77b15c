//! What a node's settings promise and this release cannot keep: the node does not start with it.
//!
//! A listener that was to encrypt and serves in plain text, or a broker that was to join a cluster
//! and begins one of its own, is worse than none. What counts is what a used listener needs: a
//! `listener.security.protocol.map` that merely names SASL_SSL promises nothing.

use crate::allowed::{host_and_port, parse_voter};
use crate::listeners::{ListenerSetting, Protocol, listener_protocols};
use crate::started::{Settings, ZOOKEEPER, base_name};
use crate::table::{Scope, SettingEffect, find_setting};

/// Settings that need features which this release does not have: one sentence each, with the place
/// of the setting, the reason and the next step. `is_local` says whether a host is this machine.
#[must_use]
pub fn unbuilt_settings(settings: &Settings, is_local: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut all = secured_listeners(settings);
    for (name, value, origin) in settings.all_given() {
        let Some(setting) = find_setting(Scope::Broker, base_name(name)) else { continue };
        if let SettingEffect::Refused(why) = setting.effect
            && setting.is_promise(value)
        {
            let value = if setting.is_secret() { "[hidden]" } else { value };
            all.push(format!("{origin}: {name}={value}: {why}"));
        }
    }
    all.extend(other_nodes(settings, is_local));
    all
}

/// Listeners that were to encrypt, or to ask for a login.
fn secured_listeners(settings: &Settings) -> Vec<String> {
    let known = listener_protocols(settings).unwrap_or_default();
    let place = settings.place("listeners");
    let mut all = Vec::new();
    for listener in settings.listeners().unwrap_or_default() {
        let protocol = known.get(&listener.name).copied().unwrap_or(Protocol::Plaintext);
        let lacks = match protocol {
            Protocol::Plaintext => continue,
            Protocol::Ssl => "encryption is",
            Protocol::SaslPlaintext => "logins are",
            Protocol::SaslSsl => "encryption and logins are",
        };
        let helpers = given_for(settings, &listener.name, protocol);
        let helpers = match helpers.as_slice() {
            [] => String::new(),
            names => format!(" ({} would have no effect)", names.join(", ")),
        };
        all.push(format!(
            "{place}: listener {name} asks for {protocol}, but {lacks} not built yet: it would serve \
             every client in plain text without a login{helpers}. Make it a PLAINTEXT listener \
             on a private address, behind a proxy or tunnel that does this, or keep Apache Kafka for it",
            name = listener.name,
            protocol = protocol.name(),
        ));
    }
    all
}

/// Settings that were given for the security of a listener.
fn given_for(settings: &Settings, listener: &str, protocol: Protocol) -> Vec<String> {
    let own = format!("listener.name.{}.", listener.to_ascii_lowercase());
    let concerns = |base: &str| {
        let is_ssl = base.starts_with("ssl.") && protocol != Protocol::SaslPlaintext;
        is_ssl || (base.starts_with("sasl.") && protocol != Protocol::Ssl)
    };
    let names = settings.all_given().map(|(name, ..)| name);
    let names = names.filter(|name| !name.starts_with("listener.name.") || name.starts_with(&own));
    names.filter(|name| concerns(base_name(name))).map(str::to_owned).collect()
}

/// Roles and peers of a cluster of several nodes.
fn other_nodes(settings: &Settings, is_local: &dyn Fn(&str) -> bool) -> Vec<String> {
    const NEXT: &str = "This release runs one node that is both: set process.roles=broker,controller \
                        and name only this node, or keep Apache Kafka for this cluster";
    let mut all = Vec::new();
    let roles = settings.roles();
    if !roles.is_empty() && roles.len() < 2 {
        let place = settings.place("process.roles");
        all.push(format!(
            "{place}: process.roles={}: a node that is only a {} needs others, and clusters of several \
             nodes are not built yet. {NEXT}",
            roles.join(","),
            roles.join(",")
        ));
    }
    if settings.relies_on_zookeeper() {
        let place = settings.place(ZOOKEEPER);
        all.push(format!(
            "{place}: zookeeper.connect: there is no ZooKeeper since Kafka 4.0. Migrate the cluster to \
             KRaft with Apache Kafka 3.9 first, or begin a new one without this line"
        ));
    }
    let own = settings.node_id().unwrap_or(-1);
    let voters = settings.items("controller.quorum.voters");
    for text in voters.iter().filter(|text| parse_voter(text).is_ok_and(|(id, ..)| id != own)) {
        let place = settings.place("controller.quorum.voters");
        all.push(format!(
            "{place}: controller.quorum.voters names {text}, which is not this node ({own}), and clusters of \
             several nodes are not built yet. {NEXT}"
        ));
    }
    for text in settings.items("controller.quorum.bootstrap.servers") {
        let Ok((host, port)) = host_and_port(&text) else { continue };
        if !is_self(settings, host, port, is_local) {
            let place = settings.place("controller.quorum.bootstrap.servers");
            all.push(format!(
                "{place}: controller.quorum.bootstrap.servers names {text}, which is not a controller \
                 listener of this node, and clusters of several nodes are not built yet. {NEXT}"
            ));
        }
    }
    all
}

/// Is this one of the controller's own listeners: by the port, and by the host as it is written
/// there or as an address of this machine?
fn is_self(settings: &Settings, host: &str, port: u16, is_local: &dyn Fn(&str) -> bool) -> bool {
    let controllers = settings.controller_listeners();
    let listeners = settings.listeners().unwrap_or_default();
    let advertised = settings.advertised().unwrap_or_default();
    let own: Vec<&ListenerSetting> =
        listeners.iter().chain(&advertised).filter(|it| controllers.contains(&it.name)).collect();
    if !own.is_empty() && !own.iter().any(|it| it.port == port || it.port == 0) {
        return false;
    }
    // The advertised host of any listener is a name of this machine, even if it cannot be resolved.
    let mut names = listeners.iter().chain(&advertised);
    if names.any(|it| it.host.eq_ignore_ascii_case(host)) {
        return true;
    }
    is_local(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 127.0.0.0/8 is this machine's.
    fn refused(text: &str) -> Vec<String> {
        let settings = Settings::read(Some(&format!("node.id=1\n{text}\n")), &[]).unwrap();
        unbuilt_settings(&settings, &|host| host.starts_with("127."))
    }

    const COMBINED: &str = "process.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n";

    #[test]
    fn apaches_own_files_promise_nothing_that_is_missing() {
        let stock = "controller.quorum.bootstrap.servers=localhost:9093\n\
             inter.broker.listener.name=PLAINTEXT\n\
             advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n";
        assert_eq!(refused(&format!("{COMBINED}{stock}")), [""; 0]);
    }

    #[test]
    fn what_promises_protection_or_other_nodes_is_refused() {
        // The lines of a file, and what the one refusal speaks of; an empty one is accepted.
        let cases = [
            ("listeners=SASL_SSL://:9092", "listener SASL_SSL asks for SASL_SSL"),
            (
                "listeners=SSL://:9092\nssl.keystore.location=/k",
                "ssl.keystore.location would have no effect",
            ),
            (
                "listeners=PLAINTEXT://:9092,A://:9093\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,A:sasl_plaintext",
                "listener A asks for SASL_PLAINTEXT",
            ),
            ("ssl.keystore.location=/k", ""),
            (
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "authorizer.class.name",
            ),
            ("authorizer.class.name=", ""),
            ("create.topic.policy.class.name=a.B", "create.topic.policy.class.name"),
            ("principal.builder.class=a.B", "principal.builder.class"),
            ("listener.name.plaintext.principal.builder.class=a.B", "principal.builder.class"),
            (
                "principal.builder.class=org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
                "",
            ),
            ("delegation.token.secret.key=s", "[hidden]"),
            ("config.providers=file", "config.providers"),
            ("remote.log.storage.system.enable=true", "remote.log.storage.system.enable"),
            ("process.roles=broker\ncontroller.listener.names=C", "process.roles=broker"),
            (
                "process.roles=controller\ncontroller.listener.names=PLAINTEXT",
                "process.roles=controller",
            ),
            ("process.roles=controller,broker", ""),
            ("zookeeper.connect=localhost:2181", "ZooKeeper"),
            ("controller.quorum.voters=1@localhost:9093", ""),
            ("controller.quorum.voters=1@localhost:9093,2@b:9093", "2@b:9093"),
            ("controller.quorum.bootstrap.servers=127.0.0.1:9093", ""),
            ("controller.quorum.bootstrap.servers=192.0.2.1:9093", "192.0.2.1:9093"),
        ];
        for (text, wanted) in cases {
            let found = refused(text);
            assert_eq!(found.len(), usize::from(!wanted.is_empty()), "{text}: {found:?}");
            assert!(found.iter().all(|it| it.contains(wanted)), "{text}: {found:?}");
        }
    }

    #[test]
    fn oneself_is_the_controllers_port_at_an_own_name_or_address() {
        let servers = |text: &str| {
            let line = format!(
                "{COMBINED}advertised.listeners=PLAINTEXT://me.example:9092\ncontroller.quorum.bootstrap.servers={text}"
            );
            refused(&line).len()
        };
        let counts =
            ["127.0.0.1:9093", "me.example:9093", "127.0.0.1:9094", "192.0.2.1:9093"].map(servers);
        assert_eq!(counts, [0, 0, 1, 1]);
    }
}
