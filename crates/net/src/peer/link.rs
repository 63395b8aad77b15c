//! What a peer's connection is at: what was queued, what is in flight, what has been answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::{PeerError, PeerLimits, PendingRequest, Reach};
use crate::frame::Inbox;

/// The position of a request's correlation id: after the length, the key and the version.
const CORRELATION: std::ops::Range<usize> = 8..12;
/// How many frames are handed to the system at once.
const SLICES_MAX: usize = 16;

/// Answers that their callers have not taken yet, by ticket.
pub(super) type Answers = BTreeMap<u64, Result<Bytes, PeerError>>;

/// Is a request answered?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    /// Yes, by a frame with its correlation id.
    Answer,
    /// No: it is done when it has been written.
    Nothing,
}

/// A peer, between two polls.
pub(super) struct PeerState<R: Reach> {
    pub link: PeerLink<R>,
    /// Before this time no connection is opened.
    pub retry_at: Duration,
    /// How many times in a row there was no connection, or one that broke.
    pub failures: u32,
    pub answers: Answers,
    /// How many attempts to connect have failed since the start, and why the last one did.
    failed_attempts: u64,
    last_failure: Option<Arc<io::Error>>,
    last_ticket: u64,
}

pub(super) enum PeerLink<R: Reach> {
    Down,
    Opening(PendingRequest<io::Result<(R::Stream, R::Greeting)>>),
    Up(Up<R>),
}

/// What a connection that ended was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It was used, and nothing was in flight.
    Idle,
    /// Requests have failed with it, or no request was ever sent on it.
    Busy,
    /// There was no connection.
    NotConnected,
}

impl<R: Reach> PeerState<R> {
    pub const fn new() -> Self {
        Self {
            link: PeerLink::Down,
            retry_at: Duration::ZERO,
            failures: 0,
            answers: Answers::new(),
            failed_attempts: 0,
            last_failure: None,
            last_ticket: 0,
        }
    }

    /// A ticket for a caller, and how many attempts had failed before it came.
    pub const fn admit(&mut self) -> (u64, u64) {
        self.last_ticket += 1;
        (self.last_ticket, self.failed_attempts)
    }

    /// Why the last attempt to connect failed, if it failed since there were this many.
    pub fn failure_since(&self, failed_before: u64) -> Option<Arc<io::Error>> {
        self.last_failure.clone().filter(|_| self.failed_attempts > failed_before)
    }

    pub fn opening_failed(&mut self, why: io::Error) {
        self.link = PeerLink::Down;
        self.failures = self.failures.saturating_add(1);
        self.failed_attempts += 1;
        self.last_failure = Some(Arc::new(why));
    }

    /// The connection has ended: so has everything that was in flight.
    pub fn broken(&mut self, why: io::Error) -> Broken {
        let PeerLink::Up(up) = &mut self.link else { return Broken::NotConnected };
        let is_busy = !up.in_flight.is_empty() || !up.outgoing.is_empty();
        if !up.is_used {
            // Closed as soon as it was open: another one would be, too.
            self.opening_failed(why);
            return Broken::Busy;
        }
        // A connection that has answered something was a good one.
        self.failures = if up.answered > 0 { 1 } else { self.failures.saturating_add(1) };
        up.fail_all(&Arc::new(why), &mut self.answers);
        self.link = PeerLink::Down;
        if is_busy { Broken::Busy } else { Broken::Idle }
    }

    /// The caller with this ticket has gone. Is there room for another now?
    pub fn abandon(&mut self, ticket: u64) -> bool {
        self.answers.remove(&ticket);
        match &mut self.link {
            PeerLink::Up(up) => up.abandon(ticket),
            PeerLink::Down | PeerLink::Opening(_) => false,
        }
    }
}

/// A frame on its way out.
struct Outgoing {
    correlation: i32,
    bytes: Bytes,
    /// Has any of it been written?
    is_begun: bool,
    /// The caller to notify when it has been written, for a request without an answer.
    told: Option<u64>,
}

/// A request that waits for its answer.
struct InFlight {
    correlation: i32,
    /// The caller that waits for it; `None` if it has gone.
    ticket: Option<u64>,
    bytes: usize,
}

/// An open connection.
pub(super) struct Up<R: Reach> {
    stream: R::Stream,
    pub greeting: Arc<R::Greeting>,
    inbox: Inbox,
    outgoing: VecDeque<Outgoing>,
    in_flight: VecDeque<InFlight>,
    /// The sum of [`InFlight::bytes`].
    bytes_in_flight: usize,
    next_correlation: i32,
    answered: u64,
    /// Has a caller had it?
    pub is_used: bool,
}

impl<R: Reach> Up<R> {
    pub fn new(stream: R::Stream, greeting: R::Greeting, inbox: Inbox) -> Self {
        Self {
            stream,
            greeting: Arc::new(greeting),
            inbox,
            outgoing: VecDeque::new(),
            in_flight: VecDeque::new(),
            bytes_in_flight: 0,
            next_correlation: 0,
            answered: 0,
            is_used: false,
        }
    }

    pub const fn answered(&self) -> u64 {
        self.answered
    }

    pub fn has_room(&self, limits: &PeerLimits) -> bool {
        let unanswered = self.in_flight.len().max(self.outgoing.len());
        unanswered < limits.requests_in_flight_max
            && self.bytes_in_flight < limits.bytes_in_flight_max
    }

    /// Puts a frame after the others.
    pub fn push(&mut self, mut frame: Vec<u8>, ticket: u64, expects: Expects) {
        let correlation = self.next_correlation;
        self.next_correlation = correlation.wrapping_add(1);
        frame[CORRELATION].copy_from_slice(&correlation.to_be_bytes());
        let bytes = Bytes::from(frame);
        let told = match expects {
            Expects::Answer => {
                self.bytes_in_flight += bytes.len();
                let ticket = Some(ticket);
                self.in_flight.push_back(InFlight { correlation, ticket, bytes: bytes.len() });
                None
            }
            Expects::Nothing => Some(ticket),
        };
        self.outgoing.push_back(Outgoing { correlation, bytes, is_begun: false, told });
    }

    /// Writes what is queued and reads what has come; `answered` gets the ids of requests whose
    /// answer has come.
    pub fn progress(
        &mut self,
        cx: &mut Context<'_>,
        answers: &mut Answers,
        answered: impl Fn(u64),
    ) -> io::Result<()> {
        // Reading first: an idle connection that was closed is not written to.
        self.read(cx, answers, &answered)?;
        self.write(cx, answers, &answered)?;
        Ok(())
    }

    fn read(
        &mut self,
        cx: &mut Context<'_>,
        answers: &mut Answers,
        answered: &impl Fn(u64),
    ) -> io::Result<()> {
        loop {
            let read = pin!(self.stream.read_buf(self.inbox.room())).poll(cx);
            match read {
                Poll::Pending => {
                    if self.in_flight.is_empty() {
                        self.inbox.rest();
                    }
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => {
                    let why = "the other side closed the connection";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(why)) => return Err(why),
            }
            while let Some(frame) = self.inbox.take_frame().map_err(io::Error::other)? {
                let ticket = self.accept(&frame)?;
                if let Some(ticket) = ticket {
                    answers.insert(ticket, Ok(frame));
                    answered(ticket);
                }
            }
        }
    }

    /// Whose answer this is.
    fn accept(&mut self, frame: &Bytes) -> io::Result<Option<u64>> {
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let Some(id) = frame.first_chunk::<4>() else {
            return Err(invalid(format!("an answer of {} bytes", frame.len())));
        };
        let got = i32::from_be_bytes(*id);
        let Some(due) = self.in_flight.front() else {
            return Err(invalid(format!("answer {got} came where no request was in flight")));
        };
        let due_is_queued = self.outgoing.iter().any(|it| it.correlation == due.correlation);
        if got != due.correlation || due_is_queued {
            return Err(invalid(format!("answer {got} came where {} was due", due.correlation)));
        }
        let due = self.in_flight.pop_front().expect("it was looked at");
        self.bytes_in_flight -= due.bytes;
        self.answered += 1;
        Ok(due.ticket)
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        answers: &mut Answers,
        answered: &impl Fn(u64),
    ) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut used = 0;
            for (slice, outgoing) in slices.iter_mut().zip(&self.outgoing) {
                *slice = IoSlice::new(&outgoing.bytes);
                used += 1;
            }
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..used]) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => self.written(written, answers, answered),
                Poll::Ready(Err(why)) => return Err(why),
            }
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    fn written(&mut self, mut count: usize, answers: &mut Answers, answered: &impl Fn(u64)) {
        while let Some(front) = self.outgoing.front_mut() {
            front.is_begun |= count > 0;
            if front.bytes.len() > count {
                front.bytes.advance(count);
                return;
            }
            count -= front.bytes.len();
            if let Some(ticket) = front.told {
                answers.insert(ticket, Ok(Bytes::new()));
                answered(ticket);
            }
            self.outgoing.pop_front();
        }
    }

    fn fail_all(&mut self, why: &Arc<io::Error>, answers: &mut Answers) {
        let mut unsent = BTreeSet::new();
        for outgoing in self.outgoing.drain(..) {
            if !outgoing.is_begun {
                unsent.insert(outgoing.correlation);
            }
            if let Some(ticket) = outgoing.told {
                answers.insert(ticket, Err(connection_ended(outgoing.is_begun, why)));
            }
        }
        for request in self.in_flight.drain(..) {
            if let Some(ticket) = request.ticket {
                let is_begun = !unsent.contains(&request.correlation);
                answers.insert(ticket, Err(connection_ended(is_begun, why)));
            }
        }
    }

    /// The caller no longer waits for this answer; a request of which nothing was written is not
    /// sent.
    fn abandon(&mut self, ticket: u64) -> bool {
        let untold = |it: &mut Outgoing| it.told.take_if(|told| *told == ticket).is_some();
        if let Some(at) = self.outgoing.iter_mut().position(untold) {
            if !self.outgoing[at].is_begun {
                self.outgoing.remove(at);
            }
            return true;
        }
        let Some(at) = self.in_flight.iter().position(|it| it.ticket == Some(ticket)) else {
            return false;
        };
        let correlation = self.in_flight[at].correlation;
        let queued = self.outgoing.iter().position(|it| it.correlation == correlation);
        match queued {
            Some(queued) if !self.outgoing[queued].is_begun => {
                self.outgoing.remove(queued);
                self.bytes_in_flight -= self.in_flight[at].bytes;
                self.in_flight.remove(at);
                true
            }
            _ => {
                self.in_flight[at].ticket = None;
                false
            }
        }
    }
}

/// The error of a request whose connection has ended.
fn connection_ended(is_begun: bool, why: &Arc<io::Error>) -> PeerError {
    let why = Arc::clone(why);
    if is_begun { PeerError::Unanswered(why) } else { PeerError::NotSent(why) }
}
