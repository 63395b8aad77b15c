//! One blocking connection: frames out, answers in.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use ottla_protocol::shared::request_header::RequestHeader;
use ottla_protocol::{
    DecodeError, Decoder, EncodeError, Encoder, Message, Request, response_head_is_flexible,
};

/// The longest answer that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The answer is none.
    #[error("the answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The request has no form in this version.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The broker refuses.
    #[error("the broker answered with error code {0}")]
    Refused(i16),
    /// A batch is broken.
    #[error("a batch is broken: {0}")]
    Batch(#[from] ottla_records::BadBatch),
    /// A thread has panicked.
    #[error("a thread broke off")]
    Thread,
}

/// A request as it goes over the wire, length first.
///
/// # Errors
/// A value has no form in that version.
pub fn frame<R: Request>(request: &R, version: i16) -> Result<Vec<u8>, LoadError> {
    let header = RequestHeader {
        request_api_key: R::KEY.code(),
        request_api_version: version,
        client_id: Some("ottla-load".to_owned()),
        ..Default::default()
    };
    let mut e = Encoder::new();
    header.encode(&mut e, if version >= R::FLEXIBLE_FROM { 2 } else { 1 })?;
    request.encode(&mut e, version)?;
    let length = i32::try_from(e.written()).unwrap_or(i32::MAX).to_be_bytes();
    let mut all = length.to_vec();
    for chunk in e.into_chunks() {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Both ends of a connection.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects to a broker on this machine.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn open(port: u16) -> Result<Self, LoadError> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// For another thread.
    ///
    /// # Errors
    /// The system has no more handles.
    pub fn other(&self) -> Result<Self, LoadError> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), LoadError> {
        Ok(self.0.write_all(frame)?)
    }

    /// The next answer, which is one to an `R` of this version.
    ///
    /// # Errors
    /// The connection broke, or it is no such answer.
    pub fn answer<R: Request>(&mut self, version: i16) -> Result<R::Response, LoadError> {
        let mut size = [0; 4];
        self.0.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if size > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {size} bytes")).into());
        }
        let mut bytes = Vec::with_capacity(size);
        let read = (&mut self.0).take(size as u64).read_to_end(&mut bytes)?;
        if read < size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut d = Decoder::new(Bytes::from(bytes));
        d.i32()?;
        if response_head_is_flexible(R::KEY, version) {
            d.tags(&mut Default::default(), |_, _| Ok(false))?;
        }
        Ok(R::Response::decode(&mut d, version)?)
    }
}
