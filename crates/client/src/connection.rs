//! One connection: a request, its response, the next.

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::{ApiKey, Decoder, Message, Request, request_frame, response_head_is_flexible};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::ClientError;

/// The longest answer that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The version of ApiVersions that is asked first; every broker since 2.4 has it.
const ASKED_FIRST: i16 = 3;

/// A connection to a broker.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    client_id: String,
    correlation: i32,
    versions: BTreeMap<i16, (i16, i16)>,
    features: BTreeMap<String, i16>,
}

impl Connection {
    /// Connects, and asks what the broker speaks.
    ///
    /// # Errors
    /// Nobody is there, or it is no broker.
    pub async fn open(address: &str, client_id: &str) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connection { address: address.to_owned(), source };
        let stream = ottla_net::dial::connect(address).await.map_err(failed)?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            client_id: client_id.to_owned(),
            correlation: 0,
            versions: BTreeMap::new(),
            features: BTreeMap::new(),
        };
        let request = ApiVersionsRequest {
            client_software_name: "ottla".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let response = connection.call_in(&request, ASKED_FIRST).await?;
        ClientError::check(response.error_code, || "ApiVersions".to_owned())?;
        let served = response.api_keys.iter();
        connection.versions =
            served.map(|it| (it.api_key, (it.min_version, it.max_version))).collect();
        let features = response.finalized_features.into_iter();
        connection.features = features.map(|it| (it.name, it.max_version_level)).collect();
        Ok(connection)
    }

    /// The level of one of the cluster's features; 0 if it has none.
    pub(crate) fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// What the broker speaks, lowest and highest version, by key.
    pub const fn versions(&self) -> &BTreeMap<i16, (i16, i16)> {
        &self.versions
    }

    /// The newest version of a request that both speak.
    ///
    /// # Errors
    /// There is none.
    pub fn version(&self, key: ApiKey) -> Result<i16, ClientError> {
        let ours = key.versions();
        let newest = if key.newest_is_unstable() { ours.end() - 1 } else { *ours.end() };
        let both = self
            .versions
            .get(&key.code())
            .map(|(low, high)| (*ours.start().max(low), newest.min(*high)));
        match both {
            Some((low, high)) if low <= high => Ok(high),
            _ => Err(ClientError::Version(key.name())),
        }
    }

    /// Asks in the newest version that both sides speak.
    ///
    /// # Errors
    /// The connection broke; it is of no more use.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let version = self.version(R::KEY)?;
        self.call_in(request, version).await
    }

    /// Asks in this version.
    ///
    /// # Errors
    /// The connection broke; it is of no more use.
    pub async fn call_in<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        self.send(request, version).await?;
        let answer = self.receive().await;
        let mut d =
            Decoder::new(answer.map_err(|source| ClientError::Connection {
                address: self.address.clone(),
                source,
            })?);
        d.i32()?;
        if response_head_is_flexible(R::KEY, version) {
            d.tags(&mut Default::default(), |_, _| Ok(false))?;
        }
        Ok(R::Response::decode(&mut d, version)?)
    }

    /// Sends without waiting for an answer.
    pub(crate) async fn send<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<(), ClientError> {
        self.correlation = self.correlation.wrapping_add(1);
        let all = request_frame(request, version, self.correlation, &self.client_id)?;
        let written = self.stream.write_all(&all).await;
        written.map_err(|source| ClientError::Connection { address: self.address.clone(), source })
    }

    async fn receive(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let length = usize::try_from((&length[..]).get_i32()).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        // Memory grows with what has really come, not with what was announced.
        let mut answer = BytesMut::new();
        let mut rest = (&mut self.stream).take(length as u64);
        while answer.len() < length {
            if rest.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(answer.freeze())
    }
}
