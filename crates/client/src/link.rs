//! A connection to one broker: requests by their types, in versions that both sides speak.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_net::peer::{self, Peer, PeerError, PeerLimits, PendingAnswer, PendingRequest, Reach};
use ottla_net::transport::ByteStream;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_protocol::{ApiKey, Decoder, Message, Request, request_frame, response_head_is_flexible};

use crate::client::ClientOptions;
use crate::dialer::Dialer;
use crate::error::ClientError;

/// The version of ApiVersions that is asked first; every broker since 2.4 has it.
const ASKED_FIRST: i16 = 3;
/// The longest answer to the first request, in bytes.
const GREETING_BYTES_MAX: usize = 1 << 20;

/// Which versions of a request a broker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest.
    pub lowest: i16,
    /// The highest.
    pub highest: i16,
}

/// The broker's answer when the connection was opened.
#[derive(Clone, Debug, Default)]
pub struct Greeting {
    /// By the key of the request.
    pub versions: BTreeMap<i16, VersionRange>,
    /// The level of each of the cluster's features.
    pub features: BTreeMap<String, i16>,
}

impl Greeting {
    /// The newest version of a request that both sides speak, up to `newest`.
    fn version(&self, key: ApiKey, newest: Option<i16>) -> Result<i16, ClientError> {
        let ours = key.versions();
        let ours_max = if key.newest_is_unstable() { ours.end() - 1 } else { *ours.end() };
        let both = self
            .versions
            .get(&key.code())
            .map(|it| (*ours.start().max(&it.lowest), ours_max.min(it.highest)));
        match both {
            Some((low, high)) if low <= high => Ok(high.min(newest.unwrap_or(i16::MAX))),
            _ => Err(ClientError::Version(key.name())),
        }
    }
}

/// How a broker is reached.
struct BrokerReach {
    address: String,
    dialer: Arc<dyn Dialer>,
    client_id: Arc<str>,
    setup_timeout: Duration,
    clock: Clock,
}

impl Reach for BrokerReach {
    type Stream = Box<dyn ByteStream>;
    type Greeting = Greeting;

    fn open(&self) -> PendingRequest<io::Result<(Self::Stream, Greeting)>> {
        let dialing = self.dialer.dial(&self.address);
        let client_id = Arc::clone(&self.client_id);
        let (clock, limit) = (self.clock.clone(), self.setup_timeout);
        Box::pin(async move {
            let greeted = async {
                let mut stream = dialing.await?;
                let greeting = ask_api_versions(&mut stream, &client_id).await?;
                Ok((stream, greeting))
            };
            tokio::select! {
                biased;
                greeted = greeted => greeted,
                () = clock.sleep(limit) => Err(io::Error::new(io::ErrorKind::TimedOut, format!(
                    "no answer to a Kafka request within {} s; is this a Kafka listener without TLS?",
                    limit.as_secs()
                ))),
            }
        })
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn wait_until(&self, at: Duration) -> PendingRequest<()> {
        let clock = self.clock.clone();
        Box::pin(async move { clock.sleep_until(at).await })
    }

    fn random_below(&self, bound: u64) -> u64 {
        self.clock.random_below(bound)
    }
}

/// The question what a broker speaks.
pub(crate) fn versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "ottla".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

/// Asks a broker what it speaks.
async fn ask_api_versions(
    stream: &mut Box<dyn ByteStream>,
    client_id: &str,
) -> io::Result<Greeting> {
    let frame =
        request_frame(&versions_request(), ASKED_FIRST, 0, client_id).map_err(io::Error::other)?;
    let answer = peer::exchange_frames(stream, &frame, GREETING_BYTES_MAX).await?;
    let response =
        decode_response::<ApiVersionsRequest>(answer, ASKED_FIRST).map_err(io::Error::other)?;
    let refused = ClientError::check(response.error_code, || "ApiVersions".to_owned());
    refused.map_err(io::Error::other)?;
    let range = |lowest, highest| VersionRange { lowest, highest };
    let versions = response.api_keys.iter();
    let features = response.finalized_features.into_iter();
    Ok(Greeting {
        versions: versions.map(|it| (it.api_key, range(it.min_version, it.max_version))).collect(),
        features: features.map(|it| (it.name, it.max_version_level)).collect(),
    })
}

/// An answer, without the length in front of it.
fn decode_response<R: Request>(answer: Bytes, version: i16) -> Result<R::Response, ClientError> {
    let mut d = Decoder::new(answer);
    let _correlation = d.i32()?;
    if response_head_is_flexible(R::KEY, version) {
        d.tags(&mut Default::default(), |_, _| Ok(false))?;
    }
    Ok(R::Response::decode(&mut d, version)?)
}

/// A connection to a broker, opened when it is first used. Clones share it.
#[derive(Clone, Debug)]
pub struct BrokerLink {
    peer: Peer<BrokerReach>,
}

/// A failed call, before the broker's address is added.
enum CallError {
    Peer(PeerError),
    Client(ClientError),
}

impl From<PeerError> for CallError {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl<E: Into<ClientError>> From<E> for CallError {
    fn from(error: E) -> Self {
        Self::Client(error.into())
    }
}

impl BrokerLink {
    /// A link to `host:port` that has no connection yet.
    #[must_use]
    pub fn new(
        address: &str,
        dialer: &Arc<dyn Dialer>,
        options: &ClientOptions,
        clock: &Clock,
    ) -> Self {
        let reach = BrokerReach {
            address: address.to_owned(),
            dialer: Arc::clone(dialer),
            client_id: options.client_id.as_str().into(),
            setup_timeout: options.setup_timeout,
            clock: clock.clone(),
        };
        let limits = PeerLimits {
            requests_in_flight_max: options.requests_in_flight_max,
            backoff: options.reconnect_backoff,
            backoff_max: options.reconnect_backoff_max,
            ..PeerLimits::default()
        };
        Self { peer: Peer::new(reach, limits) }
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.peer.reach().address
    }

    /// The broker's answer when the connection was opened; opens it if need be.
    ///
    /// # Errors
    /// The broker cannot be reached within `limit`.
    pub async fn greeting(&self, limit: Duration) -> Result<Arc<Greeting>, ClientError> {
        self.peer.greeting(limit).await.map_err(|error| self.failed(error))
    }

    /// Sends a request, in a version up to `newest`; its answer is another wait.
    ///
    /// # Errors
    /// The broker cannot be reached within `limit`, or speaks no version of the request.
    pub async fn send<R: Request>(
        &self,
        request: &R,
        newest: Option<i16>,
        limit: Duration,
    ) -> Result<PendingReply<R>, ClientError> {
        let mut version = 0;
        let sent = self.peer.send(limit, |greeting| {
            version = greeting.version(R::KEY, newest)?;
            Ok(request_frame(request, version, 0, &self.peer.reach().client_id)?)
        });
        let answer = sent.await.map_err(|error| self.call_failed(error))?;
        Ok(PendingReply { link: self.clone(), answer, version, request: PhantomData })
    }

    /// Sends a request, in a version up to `newest`, and waits for its answer.
    ///
    /// # Errors
    /// As [`BrokerLink::send`] and [`PendingReply::wait`].
    pub async fn ask<R: Request>(
        &self,
        request: &R,
        newest: Option<i16>,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        self.send(request, newest, limit).await?.wait().await
    }

    /// Sends a request that is not answered.
    ///
    /// # Errors
    /// As [`BrokerLink::send`].
    pub async fn tell<R: Request>(&self, request: &R, limit: Duration) -> Result<(), ClientError> {
        let told = self.peer.tell(limit, |greeting| {
            let version = greeting.version(R::KEY, None)?;
            Ok(request_frame(request, version, 0, &self.peer.reach().client_id)?)
        });
        told.await.map_err(|error| self.call_failed(error))
    }

    /// Closes the connection; the next request opens another.
    pub fn disconnect(&self) {
        self.peer.disconnect();
    }

    fn call_failed(&self, error: CallError) -> ClientError {
        match error {
            CallError::Peer(error) => self.failed(error),
            CallError::Client(error) => error,
        }
    }

    fn failed(&self, error: PeerError) -> ClientError {
        let address = self.address().to_owned();
        match error {
            PeerError::NotSent(source) => ClientError::Connection { address, source },
            PeerError::Unanswered(source) => ClientError::Unanswered { address, source },
        }
    }
}

/// The answer to a request that was sent.
#[must_use = "an answer comes to those who wait for it"]
pub struct PendingReply<R> {
    link: BrokerLink,
    answer: PendingAnswer<BrokerReach>,
    version: i16,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> PendingReply<R> {
    /// Waits for it.
    ///
    /// # Errors
    /// The connection broke, the broker was silent, or the answer cannot be read.
    pub async fn wait(mut self) -> Result<R::Response, ClientError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Has the answer come? Must not be called again once it has.
    ///
    /// # Errors
    /// As [`PendingReply::wait`].
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<R::Response, ClientError>> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| match answer {
            Ok(answer) => decode_response::<R>(answer, self.version),
            Err(error) => Err(self.link.failed(error)),
        })
    }
}
