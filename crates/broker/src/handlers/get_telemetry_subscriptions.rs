//! GetTelemetrySubscriptions: which metrics clients are asked for: none (KIP-714).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::{
    get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest,
    get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse,
};

use crate::node::Node;
use crate::request::{Api, Call};

/// Clients with telemetry.
pub const API: Api = Api::of(ApiKey::GetTelemetrySubscriptions, 0, 0);

/// How often a client that is asked for nothing asks again, in milliseconds.
const ASK_AGAIN_MS: i32 = 300_000;
/// The most bytes that a push could have.
const TELEMETRY_BYTES_MAX: i32 = 1_048_576;

/// Asks for nothing.
pub fn handle(
    node: &Node,
    _call: &Call,
    request: &GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let known = request.client_instance_id;
    GetTelemetrySubscriptionsResponse {
        client_instance_id: if known.is_zero() { node.clock.random_uuid() } else { known },
        // zstd, lz4, gzip, snappy: the numbers of the codecs.
        accepted_compression_types: vec![4, 3, 1, 2],
        push_interval_ms: ASK_AGAIN_MS,
        telemetry_max_bytes: TELEMETRY_BYTES_MAX,
        delta_temporality: true,
        ..Default::default()
    }
}
