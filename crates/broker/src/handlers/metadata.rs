//! Metadata: brokers, topics, and which broker leads which partition.
//!
//! 1: null lists all topics, an empty list none. 4: the client says whether unknown topics are
//! created. 5: offline replicas. 8: authorised operations (KIP-430), of the cluster up to 10 only
//! (KIP-700). 10: topic ids in answers, 12: in requests (KIP-516). 13: an error code of the whole
//! answer.

use std::collections::BTreeSet;

use ottla_metadata::{Cluster, PartitionState, Topic};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_types::{ErrorCode, Uuid, check_topic_name, is_internal_topic};

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// By name, by id from version 10 on.
pub const API: Api = Api::of(ApiKey::Metadata, 0, 13);

/// From this version on topics may be asked by id.
const IDS_FROM: i16 = 12;

/// Describes what was asked for; creates what does not exist, if client and settings allow it.
pub async fn handle(node: &Node, call: &Call, request: MetadataRequest) -> MetadataResponse {
    let allowed = (call.version < 4 || request.allow_auto_topic_creation)
        && node.settings().auto_create_topics;
    // In version 0 an empty list asks for everything.
    let asked = request.topics.filter(|topics| call.version > 0 || !topics.is_empty());
    if call.version < IDS_FROM
        && let Some(topics) = &asked
        && topics.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_zero())
    {
        return refused_request(topics);
    }
    if allowed && let Some(topics) = &asked {
        create_missing(node, call, topics).await;
    }
    let cluster = node.cluster();
    let listener = &call.session.listener;
    let asked = asked.map(|topics| each_once(&topics));
    let topics = match &asked {
        None => cluster
            .topics()
            .filter(|it| may_describe(node, call, &it.name))
            .map(|it| described_topic(node, &cluster, call, it))
            .collect(),
        Some(topics) => {
            let one = |topic| match denied_topic(node, call, topic, allowed) {
                Some(denied) => denied,
                None => answer_topic(node, &cluster, call, topic),
            };
            topics.iter().map(one).collect()
        }
    };
    let mut response = MetadataResponse {
        brokers: listed_brokers(&cluster, listener),
        cluster_id: Some(node.facts.cluster_id.clone()),
        controller_id: node.id,
        topics,
        ..Default::default()
    };
    for topic in &mut response.topics {
        if request.include_topic_authorized_operations && topic.error_code == 0 {
            let name = topic.name.as_deref().unwrap_or_default();
            topic.topic_authorized_operations = call.operations(node, Resource::Topic(name));
        }
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = call.operations_on_cluster(node);
    }
    response
}

/// The answer to a request that asks in a way that its version does not have.
fn refused_request(topics: &[MetadataRequestTopic]) -> MetadataResponse {
    let topic = |asked: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST.0,
        name: Some(asked.name.clone().unwrap_or_default()),
        topic_id: asked.topic_id,
        ..Default::default()
    };
    MetadataResponse {
        topics: topics.iter().map(topic).collect(),
        error_code: ErrorCode::INVALID_REQUEST.0,
        ..Default::default()
    }
}

/// What is asked, each topic once. Where one topic is asked by id, names count for nothing.
fn each_once(topics: &[MetadataRequestTopic]) -> Vec<MetadataRequestTopic> {
    let by_id = topics.iter().any(|topic| !topic.topic_id.is_zero());
    let mut seen = BTreeSet::new();
    let is_wanted = |topic: &&MetadataRequestTopic| {
        if by_id {
            !topic.topic_id.is_zero() && seen.insert((None, topic.topic_id))
        } else {
            seen.insert((topic.name.clone(), topic.topic_id))
        }
    };
    let plain = |topic: &MetadataRequestTopic| MetadataRequestTopic {
        name: topic.name.clone().filter(|_| !by_id),
        ..topic.clone()
    };
    topics.iter().filter(is_wanted).map(plain).collect()
}

fn may_describe(node: &Node, call: &Call, topic: &str) -> bool {
    call.may(node, Operation::Describe, Resource::Topic(topic))
}

/// The brokers that clients of this listener can reach.
fn listed_brokers(cluster: &Cluster, listener: &str) -> Vec<MetadataResponseBroker> {
    let of = |broker: &ottla_metadata::BrokerRegistration| {
        let address = broker.listener(listener)?;
        Some(MetadataResponseBroker {
            node_id: broker.id,
            host: address.host.clone(),
            port: i32::from(address.port),
            rack: broker.rack.clone(),
            ..Default::default()
        })
    };
    cluster.brokers().filter(|broker| !broker.fenced).filter_map(of).collect()
}

/// May the client create this topic by asking for it?
fn may_create(node: &Node, call: &Call, topic: &str) -> bool {
    call.may(node, Operation::Create, Resource::Cluster)
        || call.may(node, Operation::Create, Resource::Topic(topic))
}

async fn create_missing(node: &Node, call: &Call, asked: &[MetadataRequestTopic]) {
    let missing = asked
        .iter()
        .filter_map(|topic| topic.name.as_deref())
        .filter(|name| node.topic_id(name).is_none() && check_topic_name(name).is_ok())
        .filter(|name| may_describe(node, call, name) && may_create(node, call, name));
    let (internal, plain): (Vec<&str>, Vec<&str>) =
        missing.partition(|name| is_internal_topic(name));
    for name in internal {
        if name == crate::hosts::groups::TOPIC {
            // If it fails, the answer says that there is no such topic.
            let _ = node.create_internal(name).await;
        }
    }
    if plain.is_empty() {
        return;
    }
    let topic = |name: &&str| CreatableTopic {
        name: (*name).to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: plain.iter().map(topic).collect(), ..Default::default() };
    if let Ok(response) = node.create_topics(request).await {
        for topic in response.topics.iter().filter(|topic| topic.error_code != 0) {
            let error = topic.error_message.as_deref().unwrap_or_default();
            tracing::warn!(
                topic = topic.name,
                error,
                client = %call.session.peer,
                "topic auto-creation failed (auto.create.topics.enable)"
            );
        }
    }
}

/// The answer for a topic that the client may not describe, or, where asking would create it, may
/// not create. It does not reveal whether the topic exists, nor its name by its id.
fn denied_topic(
    node: &Node,
    call: &Call,
    asked: &MetadataRequestTopic,
    creates: bool,
) -> Option<MetadataResponseTopic> {
    let refused = |name: Option<String>, topic_id| MetadataResponseTopic {
        error_code: ErrorCode::TOPIC_AUTHORIZATION_FAILED.0,
        name,
        topic_id,
        ..Default::default()
    };
    let Some(name) = &asked.name else {
        let name = node.topic_name(asked.topic_id)?;
        return (!may_describe(node, call, &name)).then(|| refused(None, asked.topic_id));
    };
    if !may_describe(node, call, name) {
        return Some(refused(Some(name.clone()), Uuid::ZERO));
    }
    let would_create = creates && node.topic_id(name).is_none() && !may_create(node, call, name);
    would_create.then(|| MetadataResponseTopic {
        is_internal: is_internal_topic(name),
        ..refused(Some(name.clone()), Uuid::ZERO)
    })
}

fn answer_topic(
    node: &Node,
    cluster: &Cluster,
    call: &Call,
    asked: &MetadataRequestTopic,
) -> MetadataResponseTopic {
    let refused = |code: ErrorCode| MetadataResponseTopic {
        error_code: code.0,
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        is_internal: asked.name.as_deref().is_some_and(is_internal_topic),
        ..Default::default()
    };
    let found = match (&asked.name, asked.topic_id.is_zero()) {
        (Some(name), _) => {
            if check_topic_name(name).is_err() {
                return refused(ErrorCode::INVALID_TOPIC_EXCEPTION);
            }
            cluster.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        }
        (None, false) => cluster.topic_by_id(asked.topic_id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID),
        (None, true) => Err(ErrorCode::UNKNOWN_TOPIC_ID),
    };
    match found {
        Ok(topic) => described_topic(node, cluster, call, topic),
        Err(code) => refused(code),
    }
}

fn described_topic(
    node: &Node,
    cluster: &Cluster,
    call: &Call,
    topic: &Topic,
) -> MetadataResponseTopic {
    let partition = |(index, state): (&i32, &PartitionState)| {
        let reachable = cluster
            .broker(state.leader)
            .is_some_and(|broker| broker.listener(&call.session.listener).is_some());
        let code = if state.leader < 0 {
            ErrorCode::LEADER_NOT_AVAILABLE
        } else if !reachable {
            ErrorCode::LISTENER_NOT_FOUND
        } else {
            ErrorCode::NONE
        };
        MetadataResponsePartition {
            error_code: code.0,
            partition_index: *index,
            leader_id: if code == ErrorCode::NONE { state.leader } else { -1 },
            leader_epoch: state.leader_epoch,
            replica_nodes: state.replicas.clone(),
            isr_nodes: state.isr.clone(),
            offline_replicas: offline_replicas(cluster, state),
            ..Default::default()
        }
    };
    debug_assert!(node.id >= 0);
    MetadataResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    }
}

/// The replicas on brokers that do not serve.
fn offline_replicas(cluster: &Cluster, state: &PartitionState) -> Vec<i32> {
    let serves = |id: &&i32| cluster.broker(**id).is_some_and(|broker| !broker.fenced);
    state.replicas.iter().filter(|id| !serves(id)).copied().collect()
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
