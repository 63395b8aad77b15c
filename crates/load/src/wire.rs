//! One blocking connection: frames out, answers in.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::{
    DecodeError, Decoder, EncodeError, Message, Request, request_frame, response_head_is_flexible,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The longest answer that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;
const CLIENT_ID: &str = "ottla-load";
/// The head of a request without tags: key, version, correlation id, client id.
pub const HEAD_BYTES: usize = 2 + 2 + 4 + (2 + CLIENT_ID.len());
/// How many bytes are read at once, at least: all small answers that are there.
const READ_BYTES: usize = 16 << 10;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The answer cannot be decoded.
    #[error("the answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The request has no form in this version.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The broker refuses.
    #[error("the broker answered with error code {0}")]
    Refused(i16),
    /// A peer of another protocol refuses.
    #[error("the peer refuses with code {code}: {text}")]
    Told {
        /// As its protocol counts them.
        code: u64,
        /// What it says.
        text: String,
    },
    /// A peer of another protocol says what that does not allow.
    #[error("{0}")]
    Unexpected(&'static str),
    /// A batch is broken.
    #[error("a batch is broken: {0}")]
    Batch(#[from] ottla_records::BadBatch),
    /// A batch that was due is not there, or one is there twice.
    #[error("a batch begins at offset {found}, where {due} was due")]
    Gap {
        /// The offset that was due.
        due: i64,
        /// The batch's first.
        found: i64,
    },
    /// A thread has panicked.
    #[error("a thread broke off")]
    Thread,
}

/// A request as it goes over the wire, length first.
///
/// # Errors
/// A value has no form in that version.
pub fn wire_frame<R: Request>(request: &R, version: i16) -> Result<Vec<u8>, LoadError> {
    Ok(request_frame(request, version, 0, CLIENT_ID)?)
}

/// Bytes that are taken from the front; each taking fails where too few are left.
pub struct WireReader<'a>(pub &'a [u8]);

impl<'a> WireReader<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(io::Error::other)
    }

    pub fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.number()?))
    }

    pub fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.number()?))
    }

    pub fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.number()?))
    }

    /// A text with its length before it; none is empty.
    pub fn text(&mut self) -> io::Result<&'a [u8]> {
        let length = self.i16()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    /// Bytes with their length before them; none is empty.
    pub fn blob(&mut self) -> io::Result<&'a [u8]> {
        let length = self.i32()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }
}

/// Both ends of a connection.
#[derive(Debug)]
pub struct WireConnection {
    stream: TcpStream,
    /// One buffer for all answers: fresh memory would cost more than reading. Those that have come
    /// and were not looked at lie in `from..upto`.
    held: Vec<u8>,
    from: usize,
    upto: usize,
}

impl WireConnection {
    /// Connects to a broker on this machine.
    ///
    /// # Errors
    /// No server listens on the port.
    pub fn open(port: u16) -> Result<Self, LoadError> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, held: Vec::new(), from: 0, upto: 0 })
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), LoadError> {
        Ok(self.stream.write_all(frame)?)
    }

    /// Has something come that was not looked at?
    pub const fn has_bytes(&self) -> bool {
        self.from < self.upto
    }

    /// Waits so long for bytes of an answer; whether there are some.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn answers_within(&self, wait: Duration) -> Result<bool, LoadError> {
        if self.has_bytes() {
            return Ok(true);
        }
        let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
        let mut one = [PollFd::new(&self.stream, PollFlags::IN)];
        Ok(poll(&mut one, Some(&wait)).map_err(io::Error::from)? > 0)
    }

    /// The next answer as it came, behind its length: the correlation id comes first.
    ///
    /// # Errors
    /// The connection broke, or the answer is too long.
    pub fn next_answer(&mut self) -> Result<WireReader<'_>, LoadError> {
        self.hold(4)?;
        let size = WireReader(&self.held[self.from..]).i32()?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {size} bytes")).into());
        }
        self.hold(4 + size)?;
        let at = self.from + 4;
        self.from = at + size;
        Ok(WireReader(&self.held[at..at + size]))
    }

    /// Reads until so many bytes are there.
    fn hold(&mut self, wanted: usize) -> Result<(), LoadError> {
        if self.from == self.upto {
            (self.from, self.upto) = (0, 0);
        }
        if self.held.len() < self.from + wanted {
            self.held.copy_within(self.from..self.upto, 0);
            (self.from, self.upto) = (0, self.upto - self.from);
            self.held.resize(self.held.len().max(wanted).max(READ_BYTES), 0);
        }
        while self.upto - self.from < wanted {
            let read = self.stream.read(&mut self.held[self.upto..])?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.upto += read;
        }
        Ok(())
    }

    /// The next answer, which is one to an `R` of this version.
    ///
    /// # Errors
    /// The connection broke, or it is no such answer.
    pub fn answer<R: Request>(&mut self, version: i16) -> Result<R::Response, LoadError> {
        let bytes = self.next_answer()?.0;
        let mut d = Decoder::new(Bytes::copy_from_slice(bytes));
        d.i32()?;
        if response_head_is_flexible(R::KEY, version) {
            d.tags(&mut Default::default(), |_, _| Ok(false))?;
        }
        Ok(R::Response::decode(&mut d, version)?)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn answers_come_whole_however_they_arrive() {
        let sizes = [0, 5, READ_BYTES - 4, READ_BYTES, 3 * READ_BYTES, 1, 7, 100_000, 2];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for part in [3, 1000, usize::MAX] {
            let mut connection = WireConnection::open(port).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            for (at, size) in (0u8..).zip(sizes) {
                all.extend_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
                all.resize(all.len() + size, at);
            }
            let writer = thread::spawn(move || {
                peer.set_nodelay(true).unwrap();
                all.chunks(part).for_each(|it| peer.write_all(it).unwrap());
            });
            for (at, size) in (0u8..).zip(sizes) {
                assert_eq!(connection.next_answer().unwrap().0, vec![at; size], "parts of {part}");
            }
            writer.join().unwrap();
            assert!(connection.next_answer().is_err(), "the end is no answer");
        }
    }
}
