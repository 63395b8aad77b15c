//! What the log says of changes to the cluster: topics, settings, groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_machine::Note;
use ottla_metadata::{Cluster, QuotaEntity, ResourceKind, Topic};
use ottla_quorum::ReplicaKey;
use ottla_settings::{Scope, find_setting};
use ottla_types::NodeId;

use crate::request::Call;

/// The text for a value that may not be shown.
const HIDDEN: &str = "[hidden]";
/// The name for settings of all brokers.
const ALL_BROKERS: &str = "all brokers";
/// The text for a setting that was not set.
const DEFAULT: &str = "(default)";
/// The text for a quota that is not set.
const NO_QUOTA: &str = "(none)";
/// The protocol's numbers of the mechanisms.
pub const SCRAM_SHA_256: i8 = 1;
pub const SCRAM_SHA_512: i8 = 2;

/// Topics that have come, gone or grown from one state of the metadata to the next.
pub fn topics_changed(before: &Cluster, now: &Cluster) {
    for topic in before.topics() {
        let Some(topic_now) = now.topic_by_id(topic.id) else {
            tracing::info!(topic = %topic.name, topic_id = %topic.id, "topic deleted");
            continue;
        };
        let (from, to) = (topic.partitions.len(), topic_now.partitions.len());
        if from != to {
            tracing::info!(
                topic = %topic.name,
                topic_id = %topic.id,
                from,
                to,
                "topic partitions added"
            );
        }
    }
    for topic in now.topics().filter(|it| before.topic_by_id(it.id).is_none()) {
        let replicas =
            |topic: &Arc<Topic>| topic.partitions.values().next().map(|it| it.replicas.len());
        tracing::info!(
            topic = %topic.name,
            topic_id = %topic.id,
            partitions = topic.partitions.len(),
            replication_factor = replicas(topic).unwrap_or(0),
            "topic created"
        );
    }
}

/// The settings of these resources that a request has changed, each with the principal and client
/// of the request.
pub fn settings_changed<'a>(
    call: &Call,
    before: &Cluster,
    now: &Cluster,
    resources: impl Iterator<Item = (i8, &'a str)>,
) {
    for (kind, resource) in resources {
        let Some(kind) = ResourceKind::of(kind) else { continue };
        let (old, new) = (before.config(kind, resource), now.config(kind, resource));
        for (name, from, to) in changed_values(old, new) {
            let shown = |value: Option<&String>| match value {
                None => DEFAULT.to_owned(),
                Some(_) if is_secret(kind, name) => HIDDEN.to_owned(),
                Some(value) => value.clone(),
            };
            tracing::info!(
                resource_type = kind_name(kind),
                resource = if resource.is_empty() { ALL_BROKERS } else { resource },
                setting = name,
                from = shown(from),
                to = shown(to),
                principal = %call.principal,
                client = %call.session.peer,
                "setting changed"
            );
        }
    }
}

/// The quotas of these entities that a request has changed, each with the principal and client.
pub fn quotas_changed(call: &Call, before: &Cluster, now: &Cluster, entities: &[QuotaEntity]) {
    let of = |cluster: &Cluster, entity: &QuotaEntity| -> BTreeMap<String, f64> {
        let all = cluster.client_quotas().filter(|(it, _)| it == entity);
        all.map(|(_, quota)| (quota.key.clone(), quota.value)).collect()
    };
    for entity in entities {
        let (old, new) = (of(before, entity), of(now, entity));
        for (name, from, to) in changed_values(&old, &new) {
            let shown = |value: Option<&f64>| match value {
                None => NO_QUOTA.to_owned(),
                Some(value) => value.to_string(),
            };
            tracing::info!(
                entity = entity_name(entity),
                quota = name,
                from = shown(from),
                to = shown(to),
                principal = %call.principal,
                client = %call.session.peer,
                "quota changed"
            );
        }
    }
}

/// What differs between two maps: each key, its value before, and its value now.
fn changed_values<'a, V: PartialEq>(
    before: &'a BTreeMap<String, V>,
    now: &'a BTreeMap<String, V>,
) -> impl Iterator<Item = (&'a str, Option<&'a V>, Option<&'a V>)> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let looked = names.into_iter().map(|name| (name.as_str(), before.get(name), now.get(name)));
    looked.filter(|(_, from, to)| from != to)
}

/// `user=alice, client-id=(default)`.
fn entity_name(entity: &QuotaEntity) -> String {
    let part = |(kind, name): (&String, &Option<String>)| {
        format!("{kind}={}", name.as_deref().unwrap_or(DEFAULT))
    };
    entity.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// What a request has done to the passwords of users: that it has, never what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialChange {
    /// A password was stored; one that was there has been replaced.
    Stored,
    /// The user has no password of this mechanism any longer.
    Deleted,
}

/// What a request has done to the voters of the metadata quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoterChange {
    /// A controller votes from now on.
    Added,
    /// It does not vote any longer.
    Removed,
}

/// A user's SCRAM credential that a request has changed, with the principal and client of the
/// request.
pub fn credential_changed(call: &Call, user: &str, mechanism: i8, change: CredentialChange) {
    let event = match change {
        CredentialChange::Stored => "SCRAM credential stored",
        CredentialChange::Deleted => "SCRAM credential deleted",
    };
    tracing::info!(
        user,
        mechanism = match mechanism {
            SCRAM_SHA_256 => "SCRAM-SHA-256",
            SCRAM_SHA_512 => "SCRAM-SHA-512",
            _ => "unknown",
        },
        principal = %call.principal,
        client = %call.session.peer,
        "{event}"
    );
}

/// The features whose level a request has changed, with the principal and client.
pub fn features_changed(call: &Call, before: &Cluster, now: &Cluster) {
    let (old, new) = (before.features(), now.features());
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (from, to) = (before.feature(name), now.feature(name));
        if from != to {
            feature_changed(call, name, from, to);
        }
    }
}

/// A feature whose level a request has changed, with the principal and client.
pub fn feature_changed(call: &Call, feature: &str, from: i16, to: i16) {
    tracing::info!(
        feature,
        from,
        to,
        principal = %call.principal,
        client = %call.session.peer,
        "feature level changed"
    );
}

/// A controller that a request has made a voter of the metadata quorum, or has taken out of it,
/// with the principal and client.
pub fn voters_changed(call: &Call, change: VoterChange, voter: ReplicaKey) {
    tracing::info!(
        controller = voter.id,
        directory = %voter.directory,
        principal = %call.principal,
        client = %call.session.peer,
        "{}",
        match change {
            VoterChange::Added => "voter added to the metadata quorum",
            VoterChange::Removed => "voter removed from the metadata quorum",
        }
    );
}

/// A broker that a request has taken out of the cluster, with the principal and client.
pub fn broker_unregistered(call: &Call, broker: NodeId) {
    tracing::info!(
        broker,
        principal = %call.principal,
        client = %call.session.peer,
        "broker unregistered"
    );
}

/// A log level that a request has changed.
pub fn level_changed(call: &Call, target: &str, from: &str, to: &str) {
    tracing::info!(
        resource_type = kind_name(ResourceKind::BrokerLogger),
        setting = target,
        from,
        to,
        principal = %call.principal,
        client = %call.session.peer,
        "setting changed"
    );
}

/// What a coordinator or the active controller wants to be known.
pub fn log_note(note: &Note) {
    match note {
        Note::Group { event, group, generation, members, reason } => {
            tracing::info!(group = %group, generation, members, reason = reason.as_str(), "{event}");
        }
        Note::Broker { event, broker, broker_epoch, reason } => {
            tracing::info!(broker, epoch = broker_epoch, reason = reason.as_str(), "{event}");
        }
    }
}

/// Unknown settings are hidden: a plug-in's password has a name that is not known here.
fn is_secret(kind: ResourceKind, name: &str) -> bool {
    let scope = match kind {
        ResourceKind::Topic => Scope::Topic,
        ResourceKind::Broker => Scope::Broker,
        ResourceKind::Group => Scope::Group,
        ResourceKind::ClientMetrics | ResourceKind::BrokerLogger => return false,
    };
    find_setting(scope, name).is_none_or(|setting| setting.is_secret())
}

const fn kind_name(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Topic => "topic",
        ResourceKind::Broker => "broker",
        ResourceKind::BrokerLogger => "broker-logger",
        ResourceKind::ClientMetrics => "client-metrics",
        ResourceKind::Group => "group",
    }
}
