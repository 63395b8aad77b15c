//! GetTelemetrySubscriptions: which metrics a client is asked for (KIP-714).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::{
    get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest,
    get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse,
};

use crate::hosts::telemetry::PushTimes;
use crate::node::Node;
use crate::request::{Api, Call};

/// Clients with telemetry.
pub const API: Api = Api::of(ApiKey::GetTelemetrySubscriptions, 0, 0);

/// zstd, lz4, gzip, snappy: the numbers of the codecs, the best first.
const CODECS: [i8; 4] = [4, 3, 1, 2];

/// Names the metrics, and the id under which they are to be pushed. A client that has no id yet is
/// given one.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let known = request.client_instance_id;
    let id = if known.is_zero() { node.clock.random_uuid() } else { known };
    match node.clients.telemetry.ask(id, call.traits(), PushTimes::now(&node.clock)) {
        Ok(subscription) => GetTelemetrySubscriptionsResponse {
            client_instance_id: id,
            subscription_id: subscription.id,
            accepted_compression_types: CODECS.to_vec(),
            push_interval_ms: subscription.interval_ms,
            telemetry_max_bytes: i32::try_from(node.clients.telemetry.bytes_max())
                .unwrap_or(i32::MAX),
            delta_temporality: true,
            requested_metrics: subscription.metrics,
            ..Default::default()
        },
        Err(code) => GetTelemetrySubscriptionsResponse { error_code: code.0, ..Default::default() },
    }
}
