//! From the body of a request to its handler, and from the response to the bytes that leave.

use ottla_net::connection::Outcome;
use ottla_protocol::{Decoder, FrameHead, Request};

use crate::reply::reply;

/// Decodes, handles, encodes.
pub async fn serve_decoded<R: Request, A: Into<HandlerAnswer<R::Response>>>(
    head: &FrameHead,
    body: Decoder,
    handle: impl AsyncFnOnce(R) -> A,
) -> Outcome {
    reply_answer::<R>(head, answer_decoded(head, body, handle).await)
}

/// Decodes and handles. Bytes after the body are ignored, as Kafka does: librdkafka leaves a few
/// bytes there.
///
/// # Errors
/// The body cannot be decoded, or Kafka does not answer such a request: why the connection closes.
pub async fn answer_decoded<R: Request, A: Into<HandlerAnswer<R::Response>>>(
    head: &FrameHead,
    mut body: Decoder,
    handle: impl AsyncFnOnce(R) -> A,
) -> Result<R::Response, String> {
    match R::decode(&mut body, head.version) {
        Ok(request) => handle(request).await.into().0,
        Err(error) => Err(error.to_string()),
    }
}

/// The reply with a response, or why the connection closes.
pub fn reply_answer<R: Request>(head: &FrameHead, answer: Result<R::Response, String>) -> Outcome {
    match answer {
        Ok(response) => reply(R::KEY, head, &response),
        Err(why) => Outcome::Close(format!("{} v{}: {why}", R::NAME, head.version)),
    }
}

/// What a handler returns: its response, or, if the request is one that Kafka does not answer, why
/// the connection closes.
pub struct HandlerAnswer<T>(Result<T, String>);

impl<T> From<T> for HandlerAnswer<T> {
    fn from(response: T) -> Self {
        Self(Ok(response))
    }
}

impl<T> From<Result<T, String>> for HandlerAnswer<T> {
    fn from(answer: Result<T, String>) -> Self {
        Self(answer)
    }
}
