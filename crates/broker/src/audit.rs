//! What the log says of changes to the cluster: topics, settings, groups.

use std::sync::Arc;

use ottla_machine::Note;
use ottla_metadata::{Cluster, ResourceKind, Topic};

use crate::request::Call;
use crate::settings::{Scope, find};

/// What stands for a value that may not be shown.
const HIDDEN: &str = "[hidden]";
/// What stands for the broker whose settings are those of all.
const ALL_BROKERS: &str = "all brokers";
/// What stands for a setting that was not set.
const DEFAULT: &str = "(default)";

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

/// The settings of these resources that a request has changed, each with who asked.
pub fn settings_changed<'a>(
    call: &Call,
    before: &Cluster,
    now: &Cluster,
    resources: impl Iterator<Item = (i8, &'a str)>,
) {
    for (kind, resource) in resources {
        let Some(kind) = ResourceKind::of(kind) else { continue };
        let (old, new) = (before.config(kind, resource), now.config(kind, resource));
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let (from, to) = (old.get(name), new.get(name));
            if from == to {
                continue;
            }
            let shown = |value: Option<&String>| match value {
                None => DEFAULT.to_owned(),
                Some(_) if is_secret(kind, name) => HIDDEN.to_owned(),
                Some(value) => value.clone(),
            };
            tracing::info!(
                resource_type = kind_name(kind),
                resource = if resource.is_empty() { ALL_BROKERS } else { resource },
                setting = name.as_str(),
                from = shown(from),
                to = shown(to),
                principal = %call.caller.principal,
                client = %call.caller.peer,
                "setting changed"
            );
        }
    }
}

/// A log level that a request has changed.
pub fn level_changed(call: &Call, target: &str, from: &str, to: &str) {
    tracing::info!(
        resource_type = kind_name(ResourceKind::BrokerLogger),
        setting = target,
        from,
        to,
        principal = %call.caller.principal,
        client = %call.caller.peer,
        "setting changed"
    );
}

/// What a coordinator wants to be known.
pub fn note(note: &Note) {
    let Note { event, group, generation, members, reason } = note;
    tracing::info!(group = %group, generation, members, reason = reason.as_str(), "{event}");
}

/// Unknown settings are hidden: a plug-in's password has a name that is not known here.
fn is_secret(kind: ResourceKind, name: &str) -> bool {
    let scope = match kind {
        ResourceKind::Topic => Scope::Topic,
        ResourceKind::Broker => Scope::Broker,
        ResourceKind::Group => Scope::Group,
        ResourceKind::ClientMetrics | ResourceKind::BrokerLogger => return false,
    };
    find(scope, name).is_none_or(|setting| setting.is_secret())
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
