//! The whole protocol on one screen: the list of APIs, and the way of a request to its handler.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use ottla_net::connection::{Handler, Outcome};
use ottla_protocol::messages::envelope_response::EnvelopeResponse;
use ottla_protocol::{ApiKey, Decoder, FrameHead, read_request_head};
use ottla_types::ErrorCode;

use crate::decoded::serve_decoded;
use crate::envelope::{EnvelopeRefusal, EnvelopedRequest, answer_enveloped};
use crate::forwarding::{ForwardedApi, serve_forwarded};
use crate::handlers::*;
use crate::node::Node;
use crate::produce_wire;
use crate::reply::unserved;
use crate::request::{Api, Call, Session};
use crate::slow;

/// Makes the table of what is served, and the way to each handler, out of one list.
macro_rules! apis {
    (produce by $produce:path, envelope by $envelope:path, $($api:ident $($mark:ident)?,)*) => {
        /// What is served, in which versions; the ApiVersions answer says the same. On which
        /// listeners, the schemas in `crates/protocol/schemas` say: `ListenerScope::includes`.
        pub const SERVED: &[Api] = &[produce::API, envelope::API, $($api::API,)*];

        #[expect(non_upper_case_globals, reason = "a handler and its key have one name")]
        mod key {
            use super::*;
            pub const produce: ApiKey = super::produce::API.key;
            pub const envelope: ApiKey = super::envelope::API.key;
            $(pub const $api: ApiKey = super::$api::API.key;)*
        }

        async fn route(node: &Node, call: &Call, head: &FrameHead, body: Decoder) -> Outcome {
            match call.key {
                key::produce => $produce(node, call, head, body).await,
                key::envelope => $envelope(node, call, head, body).await,
                $(key::$api => serve!($api, $($mark)? (node, call, head, body)),)*
                other => Outcome::Close(format!("{} is not supported", other.name())),
            }
        }

        /// Serves a request out of an envelope: one of those with a mark.
        async fn route_enveloped(
            node: &Node,
            request: EnvelopedRequest,
        ) -> Result<EnvelopeResponse, EnvelopeRefusal> {
            let EnvelopedRequest { call, head, body } = request;
            match call.key {
                $($(key::$api => {
                    serve!($mark, node.numbers.count_request(&$api::API, head.version));
                    let handle = async |it| $api::handle(node, &call, it).await;
                    answer_enveloped(&$api::API, &head, body, handle).await
                })?)*
                other => {
                    let why = format!("{} is not forwarded by brokers", other.name());
                    Err(EnvelopeRefusal { code: ErrorCode::INVALID_REQUEST, why })
                }
            }
        }
    };
}

/// The way to one handler, by its mark in the list. Without one it answers by itself. `forwarded`:
/// only the active controller answers, and gets what comes to another node in an envelope.
/// `enveloped`: it may come in an envelope, and its handler sees to the rest. The last rule is for
/// what is done for every API with a mark.
macro_rules! serve {
    ($api:ident, forwarded ($node:ident, $call:ident, $head:ident, $body:ident)) => {
        serve_forwarded(
            $node,
            $call,
            $head,
            $body,
            ForwardedApi {
                handle: async |it| $api::handle($node, $call, it).await,
                error_answer: |request, code| $api::error_answers(&request)(code),
            },
        )
        .await
    };
    ($api:ident, $(enveloped)? ($node:ident, $call:ident, $head:ident, $body:ident)) => {
        serve_decoded($head, $body, async |it| $api::handle($node, $call, it).await).await
    };
    ($mark:ident, $done:expr) => {
        $done
    };
}

// In the order of their keys, each by its file in `handlers/`.
apis! {
    produce by produce_wire::serve_produce,
    envelope by serve_envelope,
    fetch, list_offsets, metadata, offset_commit, offset_fetch, find_coordinator, join_group,
    heartbeat, leave_group, sync_group, describe_groups, list_groups, api_versions,
    create_topics forwarded, delete_topics forwarded, delete_records, init_producer_id,
    offset_for_leader_epoch, add_partitions_to_txn, add_offsets_to_txn, end_txn, write_txn_markers,
    txn_offset_commit, describe_acls, create_acls forwarded, delete_acls forwarded,
    describe_configs, alter_configs enveloped, alter_replica_log_dirs, describe_log_dirs,
    create_partitions forwarded, create_delegation_token enveloped,
    renew_delegation_token enveloped, expire_delegation_token enveloped,
    describe_delegation_token, delete_groups, incremental_alter_configs enveloped, offset_delete,
    describe_client_quotas, alter_client_quotas forwarded, describe_user_scram_credentials,
    alter_user_scram_credentials forwarded, vote, begin_quorum_epoch, end_quorum_epoch,
    describe_quorum forwarded, alter_partition, update_features forwarded, fetch_snapshot,
    describe_cluster, describe_producers, broker_registration, broker_heartbeat,
    unregister_broker forwarded, elect_leaders forwarded, alter_partition_reassignments forwarded,
    list_partition_reassignments forwarded, describe_transactions, list_transactions,
    allocate_producer_ids enveloped, consumer_group_heartbeat, consumer_group_describe,
    controller_registration, get_telemetry_subscriptions, push_telemetry, assign_replicas_to_dirs,
    list_config_resources, describe_topic_partitions, add_raft_voter forwarded,
    remove_raft_voter forwarded, update_raft_voter,
}

async fn serve_envelope(node: &Node, call: &Call, head: &FrameHead, body: Decoder) -> Outcome {
    // In a box, or every connection would have room for it.
    let serve = async |it| Box::pin(route_enveloped(node, it)).await;
    let handle = async |it| envelope::handle(node, call, it, serve).await;
    serve_decoded(head, body, handle).await
}

/// Serves a connection.
#[derive(Debug)]
pub struct Serving<'a> {
    /// The node.
    pub node: &'a Node,
    /// The connection.
    pub session: Arc<Session>,
}

impl Handler for Serving<'_> {
    async fn serve(&self, frame: Bytes) -> Outcome {
        answer_request(self.node, &self.session, frame).await
    }

    /// Produces to one partition are appended together.
    fn serve_together(&self, frames: &[Bytes]) -> Vec<Outcome> {
        produce_wire::serve_together(self.node, &self.session, frames)
    }
}

async fn answer_request(node: &Node, session: &Arc<Session>, frame: Bytes) -> Outcome {
    let mut d = Decoder::new(frame);
    let mut head = match read_request_head(&mut d) {
        Ok(head) => head,
        Err(error) => return Outcome::Close(format!("request header cannot be decoded: {error}")),
    };
    let served = SERVED.iter().find(|api| api.key.code() == head.key);
    let Some(api) = served else {
        return Outcome::Close(format!("API key {} is not supported", head.key));
    };
    let key = api.key;
    if !session.scope.includes(key) {
        let (name, listener, scope) = (key.name(), &session.listener, session.scope.name());
        return Outcome::Close(format!(
            "{name} is not served on {listener}, which is a {scope} listener"
        ));
    }
    if !api.serves(head.version) {
        return unserved(key, &head, session.scope);
    }
    node.numbers.count_request(api, head.version);
    let begun = node.numbers.begin(&node.clock);
    let client_id = head.client_id.take().unwrap_or_default();
    let call = Call::new(session, key, head.version, client_id);
    // Not handed to a function: that would move a large future once more for each request.
    let mut work = std::pin::pin!(route(node, &call, &head, d));
    let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    // One that need not wait is not timed: that would cost more than many requests do.
    if let Poll::Ready(outcome) = first {
        if !matches!(outcome, Outcome::Later(_)) {
            node.numbers.end(key, begun, &node.clock);
        }
        return outcome;
    }
    let waited_since = node.clock.monotonic();
    let outcome = work.await;
    slow::waited(&node.clock, &call, waited_since);
    node.numbers.end(key, begun, &node.clock);
    outcome
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
