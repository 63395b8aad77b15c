//! Envelope: a client's request that a broker forwards to the active controller.
//!
//! KIP-590.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::envelope_request::EnvelopeRequest;
use ottla_protocol::messages::envelope_response::EnvelopeResponse;

use crate::envelope::{EnvelopeRefusal, EnvelopedRequest, envelope_error, unwrap_request};
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Brokers.
pub const API: Api = Api::of(ApiKey::Envelope, 0, 0);

/// Takes the request out and has it answered by `serve`, with the principal of the client.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: EnvelopeRequest,
    serve: impl AsyncFnOnce(EnvelopedRequest) -> Result<EnvelopeResponse, EnvelopeRefusal>,
) -> EnvelopeResponse {
    if let Err(code) = call.check(node, Operation::ClusterAction, Resource::Cluster) {
        return envelope_error(code);
    }
    let answer = match unwrap_request(&call.session, request) {
        Ok(request) => serve(request).await,
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|EnvelopeRefusal { code, why }| {
        tracing::warn!(
            peer = %call.session.peer,
            error = code.name(),
            reason = why,
            "request that a broker has forwarded is refused"
        );
        envelope_error(code)
    })
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
