//! A client's connection: one request at a time, each with a deadline.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_clock::Clock;
use ottla_net::transport::MemoryStream;
use ottla_protocol::{Decoder, Message, Request, request_frame, response_head_is_flexible};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::network::SimHost;
use crate::trace::Mixer;

/// Why there is no answer. Whether the request was carried out is unknown.
#[derive(Debug)]
pub enum RequestLost {
    /// The connection could not be made.
    Unreachable,
    /// The connection broke.
    Broken,
    /// The deadline has passed.
    Late,
    /// The answer cannot be understood.
    Wrong(String),
}

impl fmt::Display for RequestLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("unreachable"),
            Self::Broken => f.write_str("connection broken"),
            Self::Late => f.write_str("no answer in time"),
            Self::Wrong(why) => write!(f, "wrong answer: {why}"),
        }
    }
}

/// A client's way to the node: a connection that is made when it is needed, and made again after
/// one request on it has failed.
pub struct Wire {
    host: SimHost,
    to: SocketAddr,
    clock: Clock,
    client_id: String,
    /// How long a request may take.
    pub patience: Duration,
    stream: Option<MemoryStream>,
    correlation: i32,
    /// The hash of the last answer.
    pub answer_hash: u64,
}

impl Wire {
    /// A client of this name on this host.
    pub fn new(host: SimHost, to: SocketAddr, clock: Clock, client_id: String) -> Self {
        let patience = Duration::from_secs(5);
        Self { host, to, clock, client_id, patience, stream: None, correlation: 0, answer_hash: 0 }
    }

    /// The next connection goes to this address.
    pub fn turn_to(&mut self, to: SocketAddr) {
        self.to = to;
        self.stream = None;
    }

    /// Sends a request on the connection that there is, and waits for its answer.
    ///
    /// # Errors
    /// No answer came; the connection is given up.
    pub async fn ask<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, RequestLost> {
        let deadline = self.clock.monotonic() + self.patience;
        let clock = self.clock.clone();
        let answered = tokio::select! {
            biased;
            answered = self.exchange(request, version) => answered,
            () = clock.sleep_until(deadline) => Err(RequestLost::Late),
        };
        if answered.is_err() {
            self.stream = None;
        }
        answered
    }

    /// Connects, if there is no connection.
    ///
    /// # Errors
    /// The node cannot be reached in time.
    pub async fn connect(&mut self) -> Result<(), RequestLost> {
        if self.stream.is_some() {
            return Ok(());
        }
        let deadline = self.clock.monotonic() + self.patience;
        let dialled = tokio::select! {
            biased;
            dialled = self.host.dial(self.to) => dialled.map_err(|_| RequestLost::Unreachable),
            () = self.clock.sleep_until(deadline) => Err(RequestLost::Late),
        };
        self.stream = Some(dialled?);
        Ok(())
    }

    async fn exchange<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, RequestLost> {
        self.correlation += 1;
        let frame = request_frame(request, version, self.correlation, &self.client_id);
        let frame = frame.map_err(|error| RequestLost::Wrong(error.to_string()))?;
        let stream = self.stream.as_mut().ok_or(RequestLost::Unreachable)?;
        let reply = exchange_frames(stream, &frame).await.map_err(|_| RequestLost::Broken)?;
        let mut hash = Mixer::default();
        std::hash::Hasher::write(&mut hash, &reply);
        self.answer_hash = std::hash::Hasher::finish(&hash);
        let mut reply = Decoder::new(reply);
        let wrong = |error: ottla_protocol::DecodeError| {
            RequestLost::Wrong(format!("{} v{version}: {error}", R::NAME))
        };
        let correlation = reply.i32().map_err(wrong)?;
        if correlation != self.correlation {
            return Err(RequestLost::Wrong(format!("{correlation} answers {}", self.correlation)));
        }
        if response_head_is_flexible(R::KEY, version) {
            reply.uvarint().map_err(wrong)?;
        }
        R::Response::decode(&mut reply, version).map_err(wrong)
    }
}

async fn exchange_frames(stream: &mut MemoryStream, frame: &[u8]) -> std::io::Result<Bytes> {
    stream.write_all(frame).await?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = usize::try_from(i32::from_be_bytes(length)).map_err(std::io::Error::other)?;
    let mut reply = BytesMut::zeroed(length);
    stream.read_exact(&mut reply).await?;
    Ok(reply.freeze())
}
