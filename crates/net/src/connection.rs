//! One connection: requests in, replies out in the order of the requests.
//!
//! The handler sees one request at a time, as in Kafka, with one exception: a request whose effect
//! is done but whose reply must wait (a produce that waits for replicas) answers
//! [`Outcome::Later`], and the next request may start while the reply ripens.
//!
//! All whole frames of one read are served before anything is written, so that a burst of requests
//! costs one read and one write. A peer that does not read its replies is not read from either, and
//! one that sends without end leaves the others of its thread their turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::frame::{FrameError, Inbox};

/// A reply's bytes, without the length in front.
#[derive(Debug, Default)]
pub struct Reply {
    /// To be written one after the other.
    pub chunks: Vec<Bytes>,
    /// To be written behind them.
    pub tail: BytesMut,
}

thread_local! {
    /// Rooms of replies that were copied.
    static ROOMS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// How much room a reply has at first, in bytes, and how many rooms a thread keeps.
const ROOM_BYTES: usize = 512;
const ROOMS_MAX: usize = 4;

impl Reply {
    /// Room for [`Reply::tail`]: of a reply before it, if there is one.
    #[must_use]
    pub fn room() -> BytesMut {
        let room = ROOMS.with_borrow_mut(Vec::pop);
        room.unwrap_or_else(|| BytesMut::with_capacity(ROOM_BYTES))
    }

    fn give_back(mut room: BytesMut) {
        room.clear();
        if (ROOM_BYTES..=COPIED_MAX).contains(&room.capacity()) {
            ROOMS.with_borrow_mut(|rooms| {
                if rooms.len() < ROOMS_MAX {
                    rooms.push(room);
                }
            });
        }
    }
}

/// What a request came to.
pub enum Outcome {
    /// Answer with these bytes.
    Reply(Reply),
    /// The effect is done; the reply comes when this resolves. Later requests may start.
    Later(Pin<Box<dyn Future<Output = Option<Reply>>>>),
    /// There is no answer (acks=0).
    Silent,
    /// The connection must go. The text says why, for the log.
    Close(String),
}

/// Serves the requests of a connection.
pub trait Handler {
    /// Serves one request.
    fn serve(&self, frame: Bytes) -> impl Future<Output = Outcome>;

    /// Serves the first few of requests that came together, as one; what each of them came to, in
    /// their order. None if all of them are to be served one by one.
    fn serve_together(&self, frames: &[Bytes]) -> Vec<Outcome> {
        let _ = frames;
        Vec::new()
    }
}

impl<H: AsyncFn(Bytes) -> Outcome> Handler for H {
    async fn serve(&self, frame: Bytes) -> Outcome {
        self(frame).await
    }
}

/// What a connection may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest frame, in bytes (`socket.request.max.bytes`).
    pub frame_bytes_max: usize,
    /// How many replies may wait for their turn.
    pub replies_waiting_max: usize,
    /// How many reply bytes may wait for the peer to read before no new request is started.
    pub unsent_bytes_max: usize,
}

/// After how many bytes of requests the other connections of the thread have their turn, even if
/// more is there: the runtime would let a connection go on for a hundred requests of a megabyte.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// How many requests are served together at most, and of how many bytes each: what is larger pays
/// for its own call, and while it is written the peer fills the next.
const TOGETHER_MAX: usize = 64;
const SMALL_BYTES_MAX: usize = 4096;

const _: () = assert!(TOGETHER_MAX * SMALL_BYTES_MAX <= TURN_BYTES_MAX, "they fit into one turn");

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The peer hung up between two frames.
    #[error("the peer closed the connection")]
    ByPeer,
    /// The peer hung up in the middle of a frame.
    #[error("the peer closed the connection within a request")]
    InsideFrame,
    /// The byte stream was no sequence of frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The handler asked for it.
    #[error("{0}")]
    ByHandler(String),
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// Serves `stream` until one side ends it; returns which side, and why.
///
/// `active` is called at every request, so that the caller can find idle connections.
pub async fn serve_requests<S, H>(
    stream: S,
    limits: Limits,
    handler: H,
    active: impl Fn(),
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let mut connection = ServedConnection {
        stream,
        limits,
        inbox: Inbox::new(limits.frame_bytes_max),
        ahead: VecDeque::new(),
        apart: false,
        waiting: VecDeque::new(),
        unsent: Unsent::default(),
        served: 0,
    };
    loop {
        match connection.turn(&handler, &active).await {
            Ok(()) if connection.served >= TURN_BYTES_MAX => {
                connection.served = 0;
                tokio::task::yield_now().await;
            }
            Ok(()) => {}
            Err(closed) => {
                // What was answered before the end should still arrive, if the peer reads at all.
                let _ = poll_fn(|cx| Poll::Ready(connection.poll_write(cx))).await;
                return closed;
            }
        }
    }
}

struct ServedConnection<S> {
    stream: S,
    limits: Limits,
    inbox: Inbox,
    /// Requests that came together with those that were served.
    ahead: VecDeque<Bytes>,
    /// Are they to be served one by one?
    apart: bool,
    waiting: VecDeque<QueuedReply>,
    unsent: Unsent,
    /// How many bytes of requests were served since others had their turn.
    served: usize,
}

enum QueuedReply {
    Ready(Reply),
    Later(Pin<Box<dyn Future<Output = Option<Reply>>>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServedConnection<S> {
    /// Serves every whole frame that is here, then writes, then waits for more.
    async fn turn<H>(&mut self, handler: &H, active: &impl Fn()) -> Result<(), Closed>
    where
        H: Handler,
    {
        while self.has_room() {
            if self.serve_together(handler, active)? {
                continue;
            }
            let Some(frame) = self.next_frame()? else { break };
            active();
            self.served += frame.len();
            let outcome = {
                let mut running = pin!(handler.serve(frame));
                poll_fn(|cx| match running.as_mut().poll(cx) {
                    Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
                    // While this request waits, what is ready leaves.
                    Poll::Pending => match self.poll_write(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(Closed::Io(error))),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    },
                })
                .await?
            };
            self.settle(outcome)?;
        }
        let mut blocked = !self.has_room();
        poll_fn(|cx| self.poll_progress(cx, &mut blocked)).await
    }

    /// Lets the handler serve the next requests as one, if several came together; did it?
    fn serve_together<H>(&mut self, handler: &H, active: &impl Fn()) -> Result<bool, Closed>
    where
        H: Handler,
    {
        if self.ahead.is_empty() && self.inbox.has_several(SMALL_BYTES_MAX) {
            while self.ahead.len() < TOGETHER_MAX
                && let Some(frame) = self.inbox.take_small(SMALL_BYTES_MAX)
            {
                self.ahead.push_back(frame);
            }
            self.apart = false;
        }
        if self.ahead.len() < 2 || self.apart {
            return Ok(false);
        }
        let outcomes = handler.serve_together(self.ahead.make_contiguous());
        let any = !outcomes.is_empty();
        // Or each of them would be looked at as often as there are others before it.
        self.apart = !any;
        for outcome in outcomes {
            self.served += self.ahead.pop_front().map_or(0, |frame| frame.len());
            active();
            self.settle(outcome)?;
        }
        Ok(any)
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.ahead.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.inbox.take_frame(),
        }
    }

    fn settle(&mut self, outcome: Outcome) -> Result<(), Closed> {
        match outcome {
            Outcome::Reply(reply) if self.waiting.is_empty() => self.unsent.push(reply),
            Outcome::Reply(reply) => self.waiting.push_back(QueuedReply::Ready(reply)),
            Outcome::Later(reply) => self.waiting.push_back(QueuedReply::Later(reply)),
            Outcome::Silent => {}
            Outcome::Close(reason) => return Err(Closed::ByHandler(reason)),
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < self.limits.replies_waiting_max
            && self.unsent.bytes < self.limits.unsent_bytes_max
    }

    /// Writes what is ready and reads what has come; ready when a turn is worth taking.
    fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        blocked: &mut bool,
    ) -> Poll<Result<(), Closed>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(Closed::Io(error)));
        }
        if !self.has_room() {
            // Only the peer's reading, or a ripe reply, lets this connection go on.
            *blocked = true;
            return Poll::Pending;
        }
        if *blocked {
            return Poll::Ready(Ok(()));
        }
        let read = {
            let room = self.inbox.room();
            pin!(self.stream.read_buf(room)).poll(cx)
        };
        match read {
            Poll::Pending => {
                self.ahead = VecDeque::new();
                self.inbox.rest();
                Poll::Pending
            }
            Poll::Ready(Ok(0)) if self.inbox.is_empty() => Poll::Ready(Err(Closed::ByPeer)),
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Closed::InsideFrame)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Closed::Io(error))),
        }
    }

    /// Moves ripe replies, in order, to the socket. Ready when nothing ripe is left unsent.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(front) = self.waiting.front_mut() {
            let reply = match front {
                QueuedReply::Ready(reply) => Some(std::mem::take(reply)),
                QueuedReply::Later(reply) => match reply.as_mut().poll(cx) {
                    Poll::Ready(reply) => reply,
                    Poll::Pending => break,
                },
            };
            self.waiting.pop_front();
            if let Some(reply) = reply {
                self.unsent.push(reply);
            }
        }
        self.unsent.poll_write(&mut self.stream, cx)
    }
}

/// Reply bytes on their way out.
#[derive(Default)]
struct Unsent {
    chunks: VecDeque<Bytes>,
    /// What comes after the chunks: small replies, one after the other.
    tail: BytesMut,
    bytes: usize,
}

const SLICES_MAX: usize = 64;
/// Up to how many bytes of a reply are copied behind those that wait already.
const COPIED_MAX: usize = 1024;
/// How much room for small replies a connection has at first, and how much it keeps when it has
/// sent all, in bytes.
const TAIL_BYTES: usize = 256;
const TAIL_KEPT_MAX: usize = 4096;

const _: () = assert!(TAIL_BYTES <= TAIL_KEPT_MAX, "what it has at first it may keep");

impl Unsent {
    fn push(&mut self, reply: Reply) {
        let length = reply.chunks.iter().map(Bytes::len).sum::<usize>() + reply.tail.len();
        let prefix = u32::try_from(length).expect("a reply is below 4 GiB").to_be_bytes();
        self.bytes += prefix.len() + length;
        if self.tail.is_empty() {
            self.tail.reserve(TAIL_BYTES);
        }
        self.tail.extend_from_slice(&prefix);
        for chunk in reply.chunks {
            if chunk.len() <= COPIED_MAX {
                self.tail.extend_from_slice(&chunk);
            } else {
                self.close_tail();
                self.chunks.push_back(chunk);
            }
        }
        if reply.tail.len() <= COPIED_MAX {
            self.tail.extend_from_slice(&reply.tail);
            Reply::give_back(reply.tail);
        } else {
            self.close_tail();
            self.chunks.push_back(reply.tail.freeze());
        }
    }

    /// The next bytes are put after those that are there.
    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }

    fn poll_write<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while self.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut used = 0;
            let all = self.chunks.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]);
            for (slice, chunk) in slices.iter_mut().zip(all) {
                *slice = IoSlice::new(chunk);
                used += 1;
            }
            match Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..used]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.sent(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn sent(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(front) = self.chunks.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.chunks.pop_front();
        }
        self.tail.advance(written);
        if self.tail.is_empty() {
            // Or it would walk through memory, and need new at its end.
            self.tail.clear();
            if !self.tail.try_reclaim(TAIL_BYTES) || self.tail.capacity() > TAIL_KEPT_MAX {
                self.tail = BytesMut::new();
            }
        }
    }
}

#[cfg(test)]
mod tests;
