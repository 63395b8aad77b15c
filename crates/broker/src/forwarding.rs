//! Requests that only the active controller answers, wherever that is (KIP-590).
//!
//! A client may ask any broker. On the node of the active controller the handler answers; elsewhere
//! the request goes to it in an envelope, and what it answers goes to the client. A client never
//! hears `NOT_CONTROLLER`, as it could not do anything about it.

use std::time::Duration;

use ottla_net::connection::Outcome;
use ottla_protocol::messages::envelope_request::EnvelopeRequest;
use ottla_protocol::messages::envelope_response::EnvelopeResponse;
use ottla_protocol::{Answer as _, Decoder, FrameHead, Request};
use ottla_types::ErrorCode;

use crate::decoded::{HandlerAnswer, answer_decoded, reply_answer, serve_decoded};
use crate::envelope::{EnvelopeFailure, elsewhere_code, unwrap_response, wrap_request};
use crate::hosts::controller_channel::ControllerPlace;
use crate::node::Node;
use crate::request::{Call, ListenerScope};

/// How long a request waits for an active controller if it does not say so itself: less than
/// clients wait for an answer (`request.timeout.ms`, 30 s), so that they get one.
const FORWARDING_LIMIT: Duration = Duration::from_secs(20);

/// How long a request waits before the controller of this node is asked that has just become
/// active, or has just said that it is not.
const COMING_HERE: Duration = Duration::from_millis(10);

/// How long the last attempt may take at least.
const LEAST_LIMIT: Duration = Duration::from_millis(100);

/// Why the active controller did not answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardingFailure {
    /// The client gets this code.
    Refused(ErrorCode),
    /// The controller does not know this version of the request: the client's connection closes, so
    /// that it asks again for versions.
    Unsupported,
}

/// What has come of a request, or of its envelope, that was to go to another node.
enum Forwarded<T> {
    /// The active controller is on this node by now; it was not asked.
    CameHere,
    /// It has answered.
    Answered(T),
}

/// How an API that is marked as forwarded is answered.
pub struct ForwardedApi<H, E> {
    /// By the active controller, if it is on this node.
    pub handle: H,
    /// If the active controller does not answer: the response with an error code.
    pub error_answer: E,
}

/// Serves a request of an API that is marked as forwarded.
pub async fn serve_forwarded<R: Request, A: Into<HandlerAnswer<R::Response>>>(
    node: &Node,
    call: &Call,
    head: &FrameHead,
    body: Decoder,
    api: ForwardedApi<impl AsyncFn(R) -> A, impl Fn(R, ErrorCode) -> R::Response>,
) -> Outcome {
    let ForwardedApi { handle, error_answer } = api;
    let begun = node.clock.monotonic();
    // What comes to a controller's listener is meant for this controller.
    if call.session.scope == ListenerScope::Controller {
        return serve_decoded(head, body, handle).await;
    }
    loop {
        if node.controller.is_active() {
            let answer = answer_decoded(head, body.clone(), &handle).await;
            let is_elsewhere = |it: &R::Response| it.has_error(elsewhere_code(R::KEY));
            // It may have lost its place while it answered.
            if !answer.as_ref().is_ok_and(is_elsewhere) {
                return reply_answer::<R>(head, answer);
            }
        }
        let request = match R::decode(&mut body.clone(), head.version) {
            Ok(request) => request,
            Err(error) => return reply_answer::<R>(head, Err(error.to_string())),
        };
        let answer = match forward_request(node, call, &request, begun).await {
            Ok(Forwarded::Answered(response)) => Ok(response),
            Ok(Forwarded::CameHere) => continue,
            Err(ForwardingFailure::Refused(code)) => Ok(error_answer(request, code)),
            Err(ForwardingFailure::Unsupported) => Err(unsupported_text()),
        };
        return reply_answer::<R>(head, answer);
    }
}

/// Asks the active controller: with `ask_here` that of this node, or another one for the client.
///
/// # Errors
/// It did not answer.
pub async fn ask_active_controller<R: Request + Clone>(
    node: &Node,
    call: &Call,
    request: R,
    ask_here: impl AsyncFn(R) -> Result<R::Response, ErrorCode>,
) -> Result<R::Response, ForwardingFailure> {
    if call.session.scope == ListenerScope::Controller {
        return ask_here(request).await.map_err(ForwardingFailure::Refused);
    }
    let begun = node.clock.monotonic();
    loop {
        if node.controller.is_active() {
            match ask_here(request.clone()).await {
                Err(ErrorCode::NOT_CONTROLLER) => {}
                answer => return answer.map_err(ForwardingFailure::Refused),
            }
        }
        let forwarded = forward_request(node, call, &request, begun).await?;
        if let Forwarded::Answered(response) = forwarded {
            return Ok(response);
        }
    }
}

/// Why a connection closes whose request the active controller does not know.
#[must_use]
pub fn unsupported_text() -> String {
    "the active controller does not support this version".to_owned()
}

/// Sends a request to the active controller of another node. It has been waiting since `begun`, and
/// is refused after [`FORWARDING_LIMIT`] at the latest, whatever it says of its own timeout.
async fn forward_request<R: Request>(
    node: &Node,
    call: &Call,
    request: &R,
    begun: Duration,
) -> Result<Forwarded<R::Response>, ForwardingFailure> {
    let refused = ForwardingFailure::Refused;
    let envelope = wrap_request(call, request).map_err(|error| {
        tracing::error!(
            request = R::NAME,
            version = call.version,
            %error,
            "request cannot be encoded for the active controller"
        );
        refused(ErrorCode::UNKNOWN_SERVER_ERROR)
    })?;
    let own_limit = request.timeout_ms().map(|ms| u64::try_from(ms).unwrap_or(0));
    let own_limit = own_limit.map_or(FORWARDING_LIMIT, Duration::from_millis);
    let left = (begun + own_limit.min(FORWARDING_LIMIT)).saturating_sub(node.clock.monotonic());
    match send_envelope(node, &envelope, left).await {
        Ok(Forwarded::CameHere) if left.is_zero() => Err(refused(ErrorCode::REQUEST_TIMED_OUT)),
        Ok(Forwarded::CameHere) => {
            // It may be about to lose its place: the next attempt must not follow at once.
            node.clock.sleep(COMING_HERE).await;
            Ok(Forwarded::CameHere)
        }
        Ok(Forwarded::Answered(response)) => {
            let response = unwrap_response::<R>(response, call.version);
            response.map(Forwarded::Answered).map_err(client_failure)
        }
        Err(code) => Err(client_failure(EnvelopeFailure::of_unanswered(code))),
    }
}

/// What a failed envelope means for the client, as in Kafka.
fn client_failure(failure: EnvelopeFailure) -> ForwardingFailure {
    match failure {
        EnvelopeFailure::Unsupported => ForwardingFailure::Unsupported,
        EnvelopeFailure::NotController => ForwardingFailure::Refused(ErrorCode::REQUEST_TIMED_OUT),
        EnvelopeFailure::Broken(code) => {
            tracing::warn!(
                error = code.name(),
                "active controller refuses what this broker forwards; the client gets \
                 UNKNOWN_SERVER_ERROR"
            );
            ForwardingFailure::Refused(ErrorCode::UNKNOWN_SERVER_ERROR)
        }
    }
}

/// Sends an envelope to the active controller, again while another one is elected, for `limit` at
/// most.
///
/// # Errors
/// None has answered: the code of the last attempt.
async fn send_envelope(
    node: &Node,
    envelope: &EnvelopeRequest,
    limit: Duration,
) -> Result<Forwarded<EnvelopeResponse>, ErrorCode> {
    let used = node.channel.forwarding_link();
    let until = node.clock.monotonic() + limit;
    let asked = node.channel.ask_by(used, limit, async |active| match active {
        ControllerPlace::Here => Ok(Forwarded::CameHere),
        ControllerPlace::There(link) => {
            let left = until.saturating_sub(node.clock.monotonic()).max(LEAST_LIMIT);
            let response = node.channel.send(&link, envelope, left).await?;
            match ErrorCode(response.error_code) {
                // Another one is active by now, or will be.
                ErrorCode::NOT_CONTROLLER => Err(ErrorCode::NOT_CONTROLLER),
                _ => Ok(Forwarded::Answered(response)),
            }
        }
    });
    asked.await
}

#[cfg(test)]
#[path = "forwarding_tests.rs"]
mod tests;
