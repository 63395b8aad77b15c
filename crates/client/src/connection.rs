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
/// The bytes that say how long an answer is.
const LENGTH_BYTES: usize = 4;
/// How much room there is for an answer before anything of it has come, in bytes.
const READ_BYTES: usize = 64 << 10;
/// The version of ApiVersions that is asked first; every broker since 2.4 has it.
const ASKED_FIRST: i16 = 3;

/// What a connection is in the middle of. A call that its caller gave up leaves it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionState {
    /// Nothing: the next request may go.
    Idle,
    /// A request went out in part: what follows would be read as the rest of it.
    Sending,
    /// A request of this key and version has not been answered.
    Waiting { key: ApiKey, version: i16 },
}

/// A connection to a broker.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    state: ConnectionState,
    /// What came of the next answer. It outlives a call that was given up.
    incoming: BytesMut,
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
            state: ConnectionState::Idle,
            incoming: BytesMut::new(),
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
        self.state = ConnectionState::Waiting { key: R::KEY, version };
        self.answer::<R>(version).await
    }

    /// Whether the next request may go: no call failed or was given up on this connection.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == ConnectionState::Idle
    }

    /// The answer to a request of this kind whose caller gave up waiting; `None` if there is none
    /// to come.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn late_answer<R: Request>(
        &mut self,
    ) -> Result<Option<R::Response>, ClientError> {
        match self.state {
            ConnectionState::Waiting { key, version } if key == R::KEY => {
                self.answer::<R>(version).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn answer<R: Request>(&mut self, version: i16) -> Result<R::Response, ClientError> {
        let failed = |address: &str, source| {
            let address = address.to_owned();
            ClientError::Connection { address, source }
        };
        let answer = self.receive().await.map_err(|source| failed(&self.address, source))?;
        let mut d = Decoder::new(answer);
        let (sent, got) = (self.correlation, d.i32()?);
        if got != sent {
            let why = io::Error::other(format!("answer {got} came where {sent} was due"));
            return Err(failed(&self.address, why));
        }
        self.state = ConnectionState::Idle;
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
        self.state = ConnectionState::Sending;
        let written = self.stream.write_all(&all).await;
        written.map_err(|source| {
            let address = self.address.clone();
            ClientError::Connection { address, source }
        })?;
        self.state = ConnectionState::Idle;
        Ok(())
    }

    /// The next frame. What has come of it stays if this is dropped before it is whole.
    async fn receive(&mut self) -> io::Result<Bytes> {
        loop {
            let mut wanted_bytes = LENGTH_BYTES;
            if let Some((length, _)) = self.incoming.split_first_chunk() {
                let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                if length > ANSWER_BYTES_MAX {
                    return Err(io::Error::other(format!("an answer of {length} bytes")));
                }
                wanted_bytes += length;
                if self.incoming.len() >= wanted_bytes {
                    self.incoming.advance(LENGTH_BYTES);
                    return Ok(self.incoming.split_to(length).freeze());
                }
            }
            // Memory grows with what has really come, not with what was announced.
            let more = wanted_bytes - self.incoming.len();
            self.incoming.reserve(more.min(self.incoming.len().max(READ_BYTES)));
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
