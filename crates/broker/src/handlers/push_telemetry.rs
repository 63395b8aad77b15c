//! PushTelemetry: a client's metrics (KIP-714).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::push_telemetry_request::PushTelemetryRequest;
use ottla_protocol::messages::push_telemetry_response::PushTelemetryResponse;
use ottla_types::ErrorCode;

use crate::hosts::telemetry::{Push, PushTimes};
use crate::node::Node;
use crate::request::{Api, Call};

/// Clients with telemetry.
pub const API: Api = Api::of(ApiKey::PushTelemetry, 0, 0);

/// Keeps the metrics in place of those that the client pushed before.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: PushTelemetryRequest,
) -> PushTelemetryResponse {
    let push = Push {
        client: request.client_instance_id,
        subscription: request.subscription_id,
        is_last: request.terminating,
        codec: request.compression_type,
        metrics: request.metrics,
    };
    let pushed = node.clients.telemetry.push(&push, call.traits(), PushTimes::now(&node.clock));
    let error_code = pushed.err().unwrap_or(ErrorCode::NONE).0;
    PushTelemetryResponse { error_code, ..Default::default() }
}
