//! What nodes that form say to each other, on the controllers' port (docs/protocol.md).
//!
//! A node that forms serves two requests: ApiVersions, and one of Ottla's own, which Kafka has no
//! API for. A node that is formatted serves Kafka's APIs there, of which DescribeCluster names its
//! cluster. So one connection, with ApiVersions first, finds out which of both another node is.

use std::io;

use bytes::Bytes;
use ottla_net::connection::{Outcome, Reply};
use ottla_net::peer::exchange_frames;
use ottla_net::transport::{ByteStream, Transport};
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::{
    ApiKey, Decoder, Encoder, LengthForm, Message, Request, read_request_head, request_frame,
    response_head_is_flexible,
};
use ottla_settings::ClusterList;
use ottla_types::{ErrorCode, NodeId};

use super::file::{REPORT_BYTES_MAX, cluster_id, read_report, write_report};
use super::{FormingPeer, FormingReport};
use crate::controllers::CONTROLLERS;
use crate::reply::{encoded, reply};

/// The key of Ottla's own request; Kafka's are below 1000.
pub const FORMING_KEY: i16 = 20_000;
/// The longest request that a node that forms reads, in bytes.
pub const REQUEST_BYTES_MAX: usize = REPORT_BYTES_MAX;
/// The longest answer that it reads, in bytes: a list of all of Kafka's APIs, or controllers.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The version of ApiVersions that it asks; every node since Kafka 2.4 has it.
const API_VERSIONS: i16 = 3;
/// The version of DescribeCluster that it asks: the first that tells of controllers (KIP-919).
const DESCRIBE_CLUSTER: i16 = 1;
/// What it calls itself.
const CLIENT: &str = "ottla-forming";

/// Asks another node how far it is.
///
/// # Errors
/// It cannot be reached, or its answers cannot be read.
pub async fn ask_peer(
    transport: &Transport,
    address: &str,
    own: &FormingReport,
) -> io::Result<FormingPeer> {
    let mut stream = transport.connect(address).await?;
    let request = ApiVersionsRequest {
        client_software_name: "ottla".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    let served = ask_api(&mut *stream, &request, API_VERSIONS).await?;
    let serves = |key: i16, version: i16| {
        let mut keys = served.api_keys.iter();
        keys.any(|it| it.api_key == key && (it.min_version..=it.max_version).contains(&version))
    };
    if serves(FORMING_KEY, 0) {
        let frame = forming_frame(own).map_err(io::Error::other)?;
        let answer = exchange_frames(&mut stream, &frame, ANSWER_BYTES_MAX).await?;
        let report = answer.get(4..).unwrap_or_default();
        let report = read_report(report);
        return report
            .map(FormingPeer::Forming)
            .map_err(|why| io::Error::other(format!("its answer cannot be read: {why}")));
    }
    if !serves(ApiKey::DescribeCluster.code(), DESCRIBE_CLUSTER) {
        return Err(io::Error::other("it is no controller that forms a cluster or has one"));
    }
    let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..Default::default() };
    let described = ask_api(&mut *stream, &request, DESCRIBE_CLUSTER).await?;
    if described.error_code != 0 {
        let code = ErrorCode(described.error_code).name();
        return Err(io::Error::other(format!("it refuses to describe its cluster: {code}")));
    }
    let cluster_id = cluster_id(&described.cluster_id).map_err(io::Error::other)?;
    Ok(FormingPeer::Formatted { cluster_id })
}

async fn ask_api<R: Request>(
    mut stream: &mut dyn ByteStream,
    request: &R,
    version: i16,
) -> io::Result<R::Response> {
    let frame = request_frame(request, version, 0, CLIENT).map_err(io::Error::other)?;
    let answer = exchange_frames(&mut stream, &frame, ANSWER_BYTES_MAX).await?;
    let mut d = Decoder::new(answer);
    let read = |d: &mut Decoder| {
        let _correlation = d.i32()?;
        if response_head_is_flexible(R::KEY, version) {
            d.tags(&mut Default::default(), |_, _| Ok(false))?;
        }
        R::Response::decode(d, version)
    };
    let unreadable = |error| io::Error::other(format!("its answer cannot be read: {error}"));
    read(&mut d).map_err(unreadable)
}

/// Ottla's own request: who asks, with which list.
fn forming_frame(own: &FormingReport) -> Result<Vec<u8>, ottla_protocol::EncodeError> {
    let mut e = Encoder::new();
    e.i16(FORMING_KEY);
    e.i16(0);
    e.i32(0);
    e.nullable_string(LengthForm::Fixed, Some(CLIENT))?;
    e.i32(own.key.id);
    e.string(LengthForm::Fixed, &own.list.to_string())?;
    let body = e.into_bytes();
    let mut frame = i32::try_from(body.len()).unwrap_or(i32::MAX).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Another node that has asked, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormingAsker {
    /// The node that it claims to be.
    pub node: NodeId,
    /// Its list.
    pub list: ClusterList,
}

/// Answers a request to a node that forms; tells `asked` which node has asked for a report.
pub fn answer_forming(
    frame: Bytes,
    report: impl FnOnce() -> FormingReport,
    asked: impl FnOnce(FormingAsker),
) -> Outcome {
    let mut d = Decoder::new(frame);
    let head = match read_request_head(&mut d) {
        Ok(head) => head,
        Err(error) => return Outcome::Close(format!("request header cannot be decoded: {error}")),
    };
    if head.key == ApiKey::ApiVersions.code() {
        return match head.version {
            0..=4 => reply(ApiKey::ApiVersions, &head, &served_while_forming()),
            // Which versions it has, in the one that every client reads (KIP-511).
            _ => {
                let error_code = ErrorCode::UNSUPPORTED_VERSION.0;
                let response = ApiVersionsResponse { error_code, ..served_while_forming() };
                let answer = encoded(ApiKey::ApiVersions, &head, &response, 0);
                answer.map_or_else(Outcome::Close, Outcome::Reply)
            }
        };
    }
    if head.key != FORMING_KEY || head.version != 0 {
        return Outcome::Close(format!(
            "API key {} is not served before this node has formed a cluster",
            head.key
        ));
    }
    match read_asker(&mut d) {
        Ok(asker) => asked(asker),
        Err(why) => return Outcome::Close(why),
    }
    let mut tail = Reply::room();
    tail.extend_from_slice(&head.correlation.to_be_bytes());
    tail.extend_from_slice(write_report(&report()).as_bytes());
    Outcome::Reply(Reply { chunks: Vec::new(), tail })
}

fn read_asker(d: &mut Decoder) -> Result<FormingAsker, String> {
    let unreadable = |error| format!("request of a node that forms cannot be decoded: {error}");
    let node = d.i32().map_err(unreadable)?;
    let list = d.string(LengthForm::Fixed).map_err(unreadable)?;
    let list = ClusterList::parse(&list)?;
    Ok(FormingAsker { node, list })
}

fn served_while_forming() -> ApiVersionsResponse {
    let served = |api_key, max_version| ApiVersion { api_key, max_version, ..Default::default() };
    let api_keys = vec![served(ApiKey::ApiVersions.code(), 4), served(FORMING_KEY, 0)];
    ApiVersionsResponse { api_keys, ..Default::default() }
}
