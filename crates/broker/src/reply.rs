//! From a response to the bytes that leave.

use ottla_net::connection::{Outcome, Reply};
use ottla_protocol::{ApiKey, Encoder, FrameHead, Message, response_head_is_flexible};
use ottla_types::ErrorCode;

use crate::handlers::api_versions;
use crate::request::ListenerScope;

/// The answer to a request.
pub fn reply(key: ApiKey, head: &FrameHead, response: &impl Message) -> Outcome {
    reply_in_version(key, head, response, head.version)
}

fn reply_in_version(
    key: ApiKey,
    head: &FrameHead,
    response: &impl Message,
    version: i16,
) -> Outcome {
    match encoded(key, head, response, version) {
        Ok(reply) => Outcome::Reply(reply),
        Err(why) => Outcome::Close(why),
    }
}

/// A response as it leaves; if it cannot be written, why the connection closes.
pub fn encoded<M: Message>(
    key: ApiKey,
    head: &FrameHead,
    response: &M,
    version: i16,
) -> Result<Reply, String> {
    let mut e = Encoder::with_room(Reply::room());
    e.i32(head.correlation);
    if response_head_is_flexible(key, version) {
        e.uvarint(0);
    }
    match response.encode(&mut e, version) {
        Ok(()) => {
            let (chunks, tail) = e.into_parts();
            Ok(Reply { chunks, tail })
        }
        Err(error) => {
            tracing::error!(
                response = M::NAME,
                version,
                %error,
                "response cannot be encoded; the connection is closed"
            );
            Err(format!("{} v{version} cannot be encoded: {error}", M::NAME))
        }
    }
}

/// To a version of ApiVersions that is not known, the answer says in version 0 which are, and lists
/// nothing else (KIP-511); of any other API the client should have asked first.
pub fn unserved(key: ApiKey, head: &FrameHead, scope: ListenerScope) -> Outcome {
    if key != ApiKey::ApiVersions {
        return Outcome::Close(format!("{} version {} is not supported", key.name(), head.version));
    }
    let mut response = api_versions::served(scope);
    response.error_code = ErrorCode::UNSUPPORTED_VERSION.0;
    response.api_keys.retain(|it| it.api_key == key.code());
    reply_in_version(key, head, &response, 0)
}
