//! Messages with a confirmation for each, a bounded number of them unconfirmed.
//!
//! Kafka's protocol, NATS and RabbitMQ differ in their frames only; when these go out and what is
//! counted is the same for all, and is here. One thread a connection: as many messages as may be
//! unconfirmed go out in one write, then it waits for confirmations. These are small enough for the
//! sockets' buffers: a peer is never stuck with them while this thread is stuck with messages.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use clap::Args;
use ottla_clock::Clock;

use crate::LoadTarget;
use crate::measure::{DoneRequest, LoadReport};
use crate::wire::LoadError;

/// The longest thing that is taken from a peer, in bytes.
const BUFFER_BYTES: usize = 256 << 10;
/// How long a peer may be silent while something is due.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How many messages of which size, and how many at once.
#[derive(Args, Clone, Debug)]
pub struct MessageLoad {
    #[command(flatten)]
    pub target: LoadTarget,
    /// How many bytes a message has.
    #[arg(long, default_value_t = 100)]
    pub record_bytes: usize,
    /// How many messages of a connection may be unconfirmed.
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// How many messages each connection sends.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Only count the messages that are there.
    #[arg(long)]
    pub ask: bool,
}

/// What a peer says of messages, which have numbers from 1 on, in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// This one is safe.
    One(u64),
    /// This one is safe, and all before it.
    UpTo(u64),
}

/// A connection to a peer that confirms each message.
pub trait LoadPeer {
    /// What the peer says.
    type Told;

    /// The first thing that it says.
    const PARSE: Parse<Self::Told>;

    /// The connection.
    fn stream(&mut self) -> &mut LoadStream;

    /// Which messages that confirms, if any.
    ///
    /// # Errors
    /// The connection broke, or the peer refuses a message.
    fn confirms(&mut self, told: Self::Told) -> Result<Option<Confirmed>, LoadError>;

    /// Waits for bytes from the server, and takes all that came.
    ///
    /// # Errors
    /// The connection broke, or the peer refuses a message.
    fn confirmed(&mut self, all: &mut Vec<Confirmed>) -> Result<(), LoadError> {
        let mut told = Some(self.stream().next(Self::PARSE)?);
        while let Some(it) = told {
            all.extend(self.confirms(it)?);
            told = self.stream().here(Self::PARSE)?;
        }
        Ok(())
    }
}

impl MessageLoad {
    /// The place of a connection's messages.
    #[must_use]
    pub fn place(&self, at: i32) -> String {
        format!("{}-{}", self.target.topic, self.target.partition(at))
    }

    /// Sends through what `open` makes: a connection and the frame of one message.
    ///
    /// # Errors
    /// A peer refuses, or a connection breaks.
    pub fn run<P: LoadPeer>(
        &self,
        open: impl Fn(i32) -> Result<(P, Vec<u8>), LoadError> + Sync,
    ) -> Result<LoadReport, LoadError> {
        let clock = Clock::real();
        self.target.each(&clock, |at| {
            let (mut peer, frame) = open(at)?;
            self.one(&mut peer, &frame, &clock)
        })
    }

    fn one<P: LoadPeer>(
        &self,
        peer: &mut P,
        frame: &[u8],
        clock: &Clock,
    ) -> Result<Vec<DoneRequest>, LoadError> {
        let (mut window, mut said) = (WindowInFlight::default(), Vec::new());
        let mut all = Vec::with_capacity(self.count);
        let frames = frame.repeat(self.depth.min(self.count));
        let mut sent = 0;
        while all.len() < self.count {
            let room = (self.count - sent).min(self.depth.saturating_sub(window.unconfirmed()));
            if room > 0 {
                window.sent(room, clock.monotonic());
                peer.stream().send(&frames[..room * frame.len()])?;
                sent += room;
            }
            said.clear();
            peer.confirmed(&mut said)?;
            let at = clock.monotonic();
            for confirmed in said.drain(..) {
                window.confirmed(confirmed, |since| {
                    let bytes = frame.len() as u64;
                    all.push(DoneRequest { at, took: at.saturating_sub(since), bytes });
                })?;
            }
        }
        Ok(all)
    }
}

/// The messages that are under way: when each was sent, none where it is confirmed.
#[derive(Debug, Default)]
struct WindowInFlight {
    first: u64,
    sent: VecDeque<Option<Duration>>,
    confirmed: usize,
}

impl WindowInFlight {
    fn sent(&mut self, count: usize, at: Duration) {
        self.sent.extend(std::iter::repeat_n(Some(at), count));
    }

    /// Gives `done` the time at which each message was sent that is confirmed now.
    fn confirmed(
        &mut self,
        confirmed: Confirmed,
        mut done: impl FnMut(Duration),
    ) -> Result<(), LoadError> {
        let (Confirmed::One(number) | Confirmed::UpTo(number)) = confirmed;
        let before = number.checked_sub(self.first + 1).ok_or(UNKNOWN)?;
        let last = usize::try_from(before).map_err(|_| UNKNOWN)?;
        if self.sent.get(last).copied().flatten().is_none() {
            return Err(UNKNOWN);
        }
        let first = if matches!(confirmed, Confirmed::UpTo(_)) { 0 } else { last };
        for since in self.sent.range_mut(first..=last).filter_map(Option::take) {
            self.confirmed += 1;
            done(since);
        }
        while self.sent.front().is_some_and(Option::is_none) {
            self.sent.pop_front();
            self.confirmed -= 1;
            self.first += 1;
        }
        Ok(())
    }

    fn unconfirmed(&self) -> usize {
        self.sent.len() - self.confirmed
    }
}

const UNKNOWN: LoadError = LoadError::Unexpected("a message is confirmed that is not under way");

/// A connection that is read through a buffer of a fixed size.
#[derive(Debug)]
pub struct LoadStream {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl LoadStream {
    /// Connects to a peer on this machine.
    ///
    /// # Errors
    /// No server listens on the port.
    pub fn open(port: u16) -> Result<Self, LoadError> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// What `parse` makes of the bytes that came already, and it says how many it took; none if it
    /// wants more.
    ///
    /// # Errors
    /// As `parse`.
    pub fn here<T>(&mut self, parse: Parse<T>) -> Result<Option<T>, LoadError> {
        let found = parse(&self.buffer[self.start..self.end])?;
        Ok(found.map(|(found, took)| {
            self.start += took;
            found
        }))
    }

    /// As [`Self::here`], and waits until there is enough.
    ///
    /// # Errors
    /// As `parse`; or the connection broke, or the peer says more at once than is taken.
    pub fn next<T>(&mut self, parse: Parse<T>) -> Result<T, LoadError> {
        loop {
            if let Some(found) = self.here(parse)? {
                return Ok(found);
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                return Err(LoadError::Unexpected("the peer says more at once than is taken"));
            }
            let read = self.stream.read(&mut self.buffer[self.end..])?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.end += read;
        }
    }
}

/// Makes something of the first bytes, and says how many they are; none if there are too few.
pub type Parse<T> = fn(&[u8]) -> Result<Option<(T, usize)>, LoadError>;

/// A peer that takes exactly what it expects.
#[cfg(test)]
pub mod fake {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is expected of the client, and what it gets as an answer.
    pub type Script = Vec<(Vec<u8>, Vec<u8>)>;

    /// Runs a command of this program at a peer with a script, and sees that all of it is played.
    pub fn play(line: &str, script: Script) -> Result<serde_json::Value, LoadError> {
        use clap::Parser;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SILENCE_MAX)).unwrap();
            for (at, (expected, said)) in script.into_iter().enumerate() {
                let mut got = vec![0; expected.len()];
                stream.read_exact(&mut got).unwrap();
                assert!(got == expected, "{at}: {}", got.escape_ascii());
                stream.write_all(&said).unwrap();
            }
            let mut more = Vec::new();
            // A client that has not read all breaks the connection, and has sent nothing more.
            let _ = stream.read_to_end(&mut more);
            assert!(more.is_empty(), "too much: {}", more.escape_ascii());
        });
        let words = ["ottla-load"].into_iter().chain(line.split(' '));
        let words = words.chain(["--port", &port, "--topic", "t"]);
        let told = crate::run_mode(crate::LoadArgs::parse_from(words).mode);
        peer.join().unwrap();
        told.map(|it| serde_json::from_str(&it).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_confirmed_once_and_in_any_order() {
        use Confirmed::{One, UpTo};
        let mut window = WindowInFlight::default();
        window.sent(5, Duration::ZERO);
        // The answer, how many messages it confirms, how many are in flight then.
        let script = [
            (One(2), Some(1), 4),
            (One(2), None, 4),
            (UpTo(3), Some(2), 2),
            (One(1), None, 2),
            (UpTo(6), None, 2),
            (One(0), None, 2),
            (One(u64::MAX), None, 2),
            (One(5), Some(1), 1),
            (One(4), Some(1), 0),
        ];
        for (said, confirms, left) in script {
            let mut count = 0;
            let done = window.confirmed(said, |_| count += 1);
            assert_eq!(done.is_ok().then_some(count), confirms, "{said:?}");
            assert_eq!(window.unconfirmed(), left, "{said:?}");
        }
        window.sent(1, Duration::ZERO);
        let mut times = Vec::new();
        window.confirmed(UpTo(6), |since| times.push(since)).unwrap();
        assert_eq!(times, [Duration::ZERO]);
    }
}
