//! Envelopes: what a client asks of a broker and only the active controller can answer travels
//! there with the client's principal and address (KIP-590).
//!
//! A broker wraps a request and unwraps its response; the controller unwraps a request, serves it
//! as if the client had asked itself, and wraps the response. An error of the envelope says what is
//! wrong between broker and controller; one of the request is inside the response.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::envelope_request::EnvelopeRequest;
use ottla_protocol::messages::envelope_response::EnvelopeResponse;
use ottla_protocol::shared::default_principal_data::DefaultPrincipalData;
use ottla_protocol::{
    Answer as _, ApiKey, DecodeError, Decoder, EncodeError, Encoder, FrameHead, Message as _,
    Request, decode_value, encode_value, read_request_head, request_frame,
    response_head_is_flexible,
};
use ottla_types::ErrorCode;

use crate::decoded::{HandlerAnswer, answer_decoded};
use crate::guard::Principal;
use crate::request::{Api, Call, ListenerScope, Session};

/// A frame's length, which an enveloped request does not have.
const LENGTH_BYTES: usize = 4;
/// The only version of a serialized principal there is.
const PRINCIPAL_VERSION: i16 = 0;
/// An envelope holds one request, so there is nothing to tell apart.
const CORRELATION: i32 = 0;

/// A request that came in an envelope.
pub struct EnvelopedRequest {
    /// Of the client that has asked: its principal, its address, its client id.
    pub call: Call,
    /// Its header.
    pub head: FrameHead,
    /// Its body.
    pub body: Decoder,
}

/// Wraps a client's request.
///
/// # Errors
/// A value has no form in the version of the request.
pub fn wrap_request<R: Request>(call: &Call, request: &R) -> Result<EnvelopeRequest, EncodeError> {
    let frame = request_frame(request, call.version, CORRELATION, &call.client_id)?;
    let principal = DefaultPrincipalData {
        type_: call.principal.kind.to_string(),
        name: call.principal.name.to_string(),
        ..Default::default()
    };
    let address = match call.session.peer.ip().to_canonical() {
        IpAddr::V4(it) => Bytes::copy_from_slice(&it.octets()),
        IpAddr::V6(it) => Bytes::copy_from_slice(&it.octets()),
    };
    Ok(EnvelopeRequest {
        request_data: Bytes::from(frame).slice(LENGTH_BYTES..),
        request_principal: Some(encode_value(&principal, PRINCIPAL_VERSION)?),
        client_host_address: address,
        ..Default::default()
    })
}

/// Why an envelope is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeRefusal {
    /// The error of the envelope.
    pub code: ErrorCode,
    /// What is wrong; the response has no place for it, the log has.
    pub why: String,
}

impl EnvelopeRefusal {
    /// What is inside cannot be served; Kafka tells that from what is wrong with the envelope by
    /// this code.
    fn unsupported(why: String) -> Self {
        Self { code: ErrorCode::UNSUPPORTED_VERSION, why }
    }
}

/// Unwraps a client's request that a broker has sent on this connection. In the order in which
/// Kafka looks: principal, address, header.
///
/// # Errors
/// One of them cannot be read.
pub fn unwrap_request(
    session: &Session,
    envelope: EnvelopeRequest,
) -> Result<EnvelopedRequest, EnvelopeRefusal> {
    let principal = read_principal(envelope.request_principal).map_err(|error| {
        let code = ErrorCode::PRINCIPAL_DESERIALIZATION_FAILURE;
        EnvelopeRefusal { code, why: format!("principal cannot be decoded: {error}") }
    })?;
    let address = read_address(&envelope.client_host_address).ok_or_else(|| {
        let length = envelope.client_host_address.len();
        let why = format!("client address has {length} bytes instead of 4 or 16");
        EnvelopeRefusal { code: ErrorCode::INVALID_REQUEST, why }
    })?;
    let mut body = Decoder::new(envelope.request_data);
    let mut head = read_request_head(&mut body).map_err(|error| {
        EnvelopeRefusal::unsupported(format!("request header cannot be decoded: {error}"))
    })?;
    let key = ApiKey::of(head.key).ok_or_else(|| {
        EnvelopeRefusal::unsupported(format!("API key {} is not supported", head.key))
    })?;
    let client_id = head.client_id.take().unwrap_or_default();
    let session = Session::of_principal(
        SocketAddr::new(address, 0),
        Arc::clone(&session.listener),
        ListenerScope::Controller,
        principal,
    );
    let call = Call::new(&Arc::new(session), key, head.version, client_id);
    Ok(EnvelopedRequest { call, head, body })
}

fn read_principal(bytes: Option<Bytes>) -> Result<Principal, DecodeError> {
    let (version, mut body) = decode_value(bytes.unwrap_or_default())?;
    let DefaultPrincipalData { type_, name, .. } =
        DefaultPrincipalData::decode(&mut body, version)?;
    Ok(Principal { kind: type_.into(), name: name.into() })
}

fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Serves a request out of an envelope, and wraps its response.
///
/// # Errors
/// The version or the body of the request is not supported.
pub async fn answer_enveloped<R: Request, A: Into<HandlerAnswer<R::Response>>>(
    api: &Api,
    head: &FrameHead,
    body: Decoder,
    handle: impl AsyncFnOnce(R) -> A,
) -> Result<EnvelopeResponse, EnvelopeRefusal> {
    if !api.serves(head.version) {
        let why = format!("{} version {} is not supported", api.key.name(), head.version);
        return Err(EnvelopeRefusal::unsupported(why));
    }
    let answer = answer_decoded(head, body, handle).await;
    let response = answer.map_err(|why| {
        EnvelopeRefusal::unsupported(format!("{} v{}: {why}", R::NAME, head.version))
    })?;
    // The broker looks for another controller, and the client does not see that.
    if response.has_error(elsewhere_code(R::KEY)) {
        return Ok(envelope_error(ErrorCode::NOT_CONTROLLER));
    }
    match wrap_response::<R>(head, &response) {
        Ok(bytes) => Ok(EnvelopeResponse { response_data: Some(bytes), ..Default::default() }),
        Err(error) => {
            let why = format!("{} v{} cannot be encoded: {error}", R::NAME, head.version);
            Err(EnvelopeRefusal { code: ErrorCode::UNKNOWN_SERVER_ERROR, why })
        }
    }
}

fn wrap_response<R: Request>(
    head: &FrameHead,
    response: &R::Response,
) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::new();
    e.i32(head.correlation);
    if response_head_is_flexible(R::KEY, head.version) {
        e.uvarint(0);
    }
    response.encode(&mut e, head.version)?;
    Ok(e.into_bytes())
}

/// The error by which a response says that another node is the active controller.
#[must_use]
pub const fn elsewhere_code(key: ApiKey) -> ErrorCode {
    match key {
        ApiKey::DescribeQuorum | ApiKey::AddRaftVoter | ApiKey::RemoveRaftVoter => {
            ErrorCode::NOT_LEADER_OR_FOLLOWER
        }
        _ => ErrorCode::NOT_CONTROLLER,
    }
}

/// An envelope without a response.
#[must_use]
pub fn envelope_error(code: ErrorCode) -> EnvelopeResponse {
    EnvelopeResponse { error_code: code.0, ..Default::default() }
}

/// What the error of an envelope, or a response that cannot be read, means for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeFailure {
    /// No active controller has answered; another may, later.
    NotController,
    /// The controller does not know this version of the request: the client's connection closes, so
    /// that it asks again for versions.
    Unsupported,
    /// Broker and controller do not understand each other, which is no concern of the client: it
    /// gets `UNKNOWN_SERVER_ERROR`.
    Broken(ErrorCode),
}

impl EnvelopeFailure {
    /// Of an envelope without an answer, by the error with which it was sent in vain.
    #[must_use]
    pub const fn of_unanswered(code: ErrorCode) -> Self {
        match code {
            ErrorCode::UNSUPPORTED_VERSION => Self::Broken(code),
            code if code.is_retriable() => Self::NotController,
            code => Self::Broken(code),
        }
    }
}

/// Unwraps the response to a request in this version.
///
/// # Errors
/// The envelope has an error, or the response in it cannot be read.
pub fn unwrap_response<R: Request>(
    envelope: EnvelopeResponse,
    version: i16,
) -> Result<R::Response, EnvelopeFailure> {
    match ErrorCode(envelope.error_code) {
        ErrorCode::NONE => {}
        ErrorCode::NOT_CONTROLLER => return Err(EnvelopeFailure::NotController),
        ErrorCode::UNSUPPORTED_VERSION => return Err(EnvelopeFailure::Unsupported),
        code => return Err(EnvelopeFailure::Broken(code)),
    }
    let mut d = Decoder::new(envelope.response_data.unwrap_or_default());
    read_response::<R>(&mut d, version).map_err(|error| {
        tracing::error!(
            request = R::NAME,
            version,
            %error,
            "response of the active controller cannot be read"
        );
        EnvelopeFailure::Broken(ErrorCode::UNKNOWN_SERVER_ERROR)
    })
}

fn read_response<R: Request>(d: &mut Decoder, version: i16) -> Result<R::Response, DecodeError> {
    let correlation = d.i32()?;
    if correlation != CORRELATION {
        let value = i64::from(correlation);
        return Err(DecodeError::Unknown { what: "correlation id", value });
    }
    if response_head_is_flexible(R::KEY, version) {
        d.tags(&mut Default::default(), |_, _| Ok(false))?;
    }
    R::Response::decode(d, version)
}
