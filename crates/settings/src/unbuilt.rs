//! What a node's settings promise and this release cannot keep: the node does not start with it.
//!
//! A listener that was to encrypt and serves in plain text, or that lets any machine change the
//! cluster, is worse than none. What counts is what a used listener needs: a
//! `listener.security.protocol.map` that merely names SASL_SSL promises nothing.

use crate::listeners::{Protocol, listener_protocols};
use crate::quorum::closed_listeners;
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
    if settings.relies_on_zookeeper() {
        let place = settings.place(ZOOKEEPER);
        all.push(format!(
            "{place}: zookeeper.connect: there is no ZooKeeper since Kafka 4.0. Migrate the cluster to \
             KRaft with Apache Kafka 3.9 first, or begin a new one without this line"
        ));
    }
    all.extend(closed_listeners(settings, is_local));
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
    fn what_promises_protection_is_refused() {
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
            ("process.roles=controller,broker", ""),
            ("zookeeper.connect=localhost:2181", "ZooKeeper"),
            ("controller.quorum.voters=1@localhost:9093", ""),
            ("controller.quorum.bootstrap.servers=127.0.0.1:9093", ""),
            ("controller.quorum.bootstrap.servers=192.0.2.1:9093", ""),
        ];
        for (text, wanted) in cases {
            let found = refused(text);
            assert_eq!(found.len(), usize::from(!wanted.is_empty()), "{text}: {found:?}");
            assert!(found.iter().all(|it| it.contains(wanted)), "{text}: {found:?}");
        }
    }
}
