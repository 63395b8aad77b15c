//! One connection to another node: many requests in flight, each answer matched to its request.
//!
//! A [`Peer`] knows frames and correlation ids, but not the requests in them. How the other
//! node is reached, what is exchanged before the first request, what time it is and what is random
//! is up to a [`Reach`].
//!
//! - **No task of its own.** A caller that waits for an answer moves the bytes of all callers: each
//!   poll writes what is queued and reads what has come, and an answer wakes the request it belongs
//!   to. A peer that is not polled does nothing.
//! - **Order.** Requests leave in the order in which [`Peer::send`] accepted them, and Kafka
//!   answers in that order: an answer with any other id breaks the connection.
//! - **Errors.** [`PeerError::NotSent`]: the other node has not seen the request, which may be sent
//!   again. [`PeerError::Unanswered`]: it may have been carried out.
//! - **Reconnect.** The next request after a failure opens a new connection, not before a time that
//!   doubles from failure to failure ([`PeerLimits::backoff`]), with a jitter of a fifth. An idle
//!   connection that the other side closed is replaced at once.
//! - **Silence.** A request that is not answered in time breaks the connection, as in Kafka: what
//!   else is in flight would wait behind it.

mod link;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use ottla_locks::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::frame::Inbox;
use link::{Expects, PeerLink, PeerState};

/// A future that may go from thread to thread.
pub type PendingRequest<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How a [`Peer`] reaches the other node, and its clock.
pub trait Reach: Send + Sync + 'static {
    /// A connection's bytes.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// What was learnt when the connection was opened, such as the versions that the node speaks.
    type Greeting: Send + Sync + 'static;

    /// Opens a connection and exchanges what comes before the first request ([`exchange_frames`]).
    /// It has to give up by itself: callers stop waiting for it, and do not end it.
    fn open(&self) -> PendingRequest<io::Result<(Self::Stream, Self::Greeting)>>;

    /// The monotonic time.
    fn now(&self) -> Duration;

    /// Waits until the monotonic time is `at`.
    fn wait_until(&self, at: Duration) -> PendingRequest<()>;

    /// A random number from 0 to below `bound`, for the jitter of [`PeerLimits::backoff`].
    fn random_below(&self, bound: u64) -> u64;
}

/// What a [`Peer`] may take up.
#[derive(Clone, Copy, Debug)]
pub struct PeerLimits {
    /// How many requests may wait for their answers; further ones wait to be sent.
    pub requests_in_flight_max: usize,
    /// At how many bytes of unanswered requests no further one is sent.
    pub bytes_in_flight_max: usize,
    /// The longest answer, in bytes.
    pub answer_bytes_max: usize,
    /// How long the first failure keeps further attempts back (`reconnect.backoff.ms`).
    pub backoff: Duration,
    /// How long repeated failures keep them back at most (`reconnect.backoff.max.ms`).
    pub backoff_max: Duration,
}

impl Default for PeerLimits {
    /// Kafka's defaults, where it has them.
    fn default() -> Self {
        Self {
            requests_in_flight_max: 100,
            bytes_in_flight_max: 64 << 20,
            answer_bytes_max: 256 << 20,
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    /// The other node has not seen the request.
    #[error("{0}")]
    NotSent(Arc<io::Error>),
    /// The request was sent, at least in part, and may have been carried out.
    #[error("{0}")]
    Unanswered(Arc<io::Error>),
}

impl PeerError {
    /// What happened to the connection.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        match self {
            Self::NotSent(cause) | Self::Unanswered(cause) => cause,
        }
    }
}

/// A connection to another node, opened when it is first used. Clones share it.
pub struct Peer<R: Reach>(Arc<PeerShared<R>>);

impl<R: Reach> Clone for Peer<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Reach> std::fmt::Debug for Peer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

struct PeerShared<R: Reach> {
    reach: R,
    limits: PeerLimits,
    /// Guards the connection; held for one poll of it, never across an `await`.
    state: Mutex<PeerState<R>>,
    callers: Arc<Callers>,
    /// Wakes all callers: each of them can move the connection.
    waker: Waker,
}

/// The waiting callers, by ticket; the lock guards the table, and no waker is called under it.
/// Apart from [`PeerState`], because a stream may wake them while it is polled under that lock.
#[derive(Debug, Default)]
struct Callers(Mutex<BTreeMap<u64, Waker>>);

impl Callers {
    fn register(&self, ticket: u64, cx: &Context<'_>) {
        self.0.lock().insert(ticket, cx.waker().clone());
    }

    fn wake_one(&self, ticket: u64) {
        let waker = self.0.lock().remove(&ticket);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Callers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// All of them: one alone might have stopped polling its request without dropping it.
    fn wake_by_ref(self: &Arc<Self>) {
        let all = std::mem::take(&mut *self.0.lock());
        all.into_values().for_each(Waker::wake);
    }
}

impl<R: Reach> Peer<R> {
    /// A peer that has no connection yet.
    pub fn new(reach: R, limits: PeerLimits) -> Self {
        let callers = Arc::new(Callers::default());
        let waker = Waker::from(Arc::clone(&callers));
        Self(Arc::new(PeerShared {
            reach,
            limits,
            state: Mutex::new(PeerState::new()),
            callers,
            waker,
        }))
    }

    /// How the other node is reached.
    #[must_use]
    pub fn reach(&self) -> &R {
        &self.0.reach
    }

    /// Waits until there is a connection; what was learnt when it was opened.
    ///
    /// # Errors
    /// The other node cannot be reached within `limit`.
    pub async fn greeting(&self, limit: Duration) -> Result<Arc<R::Greeting>, PeerError> {
        let mut caller = Caller::new(&self.0, limit);
        poll_fn(|cx| caller.poll_ready::<_, PeerError>(cx, |up| Ok(Some(Arc::clone(&up.greeting)))))
            .await
    }

    /// Sends a request, and waits for its answer until `limit` is over.
    ///
    /// # Errors
    /// As [`Self::send`] and [`PendingAnswer`].
    pub async fn call<E: From<PeerError>>(
        &self,
        limit: Duration,
        encode: impl FnOnce(&R::Greeting) -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        Ok(self.send(limit, encode).await?.await?)
    }

    /// Queues a request behind those that were sent before it; ready when there was room for it.
    /// `encode` makes its frame, with the length in front and any correlation id.
    ///
    /// # Errors
    /// `encode`'s own, and [`PeerError::NotSent`].
    pub async fn send<E: From<PeerError>>(
        &self,
        limit: Duration,
        encode: impl FnOnce(&R::Greeting) -> Result<Vec<u8>, E>,
    ) -> Result<PendingAnswer<R>, E> {
        self.queue(limit, Expects::Answer, encode).await
    }

    /// Sends a request that has no answer; ready when it was handed to the system.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn tell<E: From<PeerError>>(
        &self,
        limit: Duration,
        encode: impl FnOnce(&R::Greeting) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        self.queue(limit, Expects::Nothing, encode).await?.await?;
        Ok(())
    }

    async fn queue<E: From<PeerError>>(
        &self,
        limit: Duration,
        expects: Expects,
        encode: impl FnOnce(&R::Greeting) -> Result<Vec<u8>, E>,
    ) -> Result<PendingAnswer<R>, E> {
        let mut caller = Caller::new(&self.0, limit);
        let ticket = caller.ticket;
        let limits = self.0.limits;
        let mut encode = Some(encode);
        poll_fn(|cx| {
            caller.poll_ready::<_, E>(cx, |up| {
                if !up.has_room(&limits) {
                    return Ok(None);
                }
                let encode = encode.take().expect("a request is queued once");
                let frame = encode(&up.greeting)?;
                up.push(frame, ticket, expects);
                Ok(Some(()))
            })
        })
        .await?;
        Ok(PendingAnswer { caller, is_taken: false })
    }

    /// Closes the connection, if there is one: what is in flight fails, and the next request opens
    /// another.
    pub fn disconnect(&self) {
        let why = io::Error::new(io::ErrorKind::ConnectionAborted, "closed by this client");
        self.0.break_off(&mut self.0.state.lock(), why);
    }
}

/// A waiting caller: for a connection and room, then for an answer.
struct Caller<R: Reach> {
    shared: Arc<PeerShared<R>>,
    ticket: u64,
    /// How many attempts to connect had failed when it came.
    failed_before: u64,
    limit: Duration,
    deadline: Duration,
    timer: Option<PendingRequest<()>>,
    backoff: Option<PendingRequest<()>>,
}

impl<R: Reach> Caller<R> {
    fn new(shared: &Arc<PeerShared<R>>, limit: Duration) -> Self {
        let deadline = shared.reach.now().saturating_add(limit);
        let (ticket, failed_before) = shared.state.lock().admit();
        let shared = Arc::clone(shared);
        Self { shared, ticket, failed_before, limit, deadline, timer: None, backoff: None }
    }

    /// Opens a connection if there is none, and does `then` with it, as soon as that has a result.
    fn poll_ready<T, E: From<PeerError>>(
        &mut self,
        cx: &mut Context<'_>,
        mut then: impl FnMut(&mut link::Up<R>) -> Result<Option<T>, E>,
    ) -> Poll<Result<T, E>> {
        let shared = Arc::clone(&self.shared);
        shared.callers.register(self.ticket, cx);
        let mut state = shared.state.lock();
        loop {
            shared.drive(&mut state);
            if let Some(why) = state.failure_since(self.failed_before) {
                return Poll::Ready(Err(PeerError::NotSent(why).into()));
            }
            match &mut state.link {
                PeerLink::Up(up) => {
                    if let Some(done) = then(up).transpose() {
                        up.is_used = true;
                        // What was queued leaves, if the stream takes it.
                        shared.drive(&mut state);
                        return Poll::Ready(done);
                    }
                    break;
                }
                PeerLink::Opening(_) => break,
                PeerLink::Down => {
                    let at = state.retry_at;
                    if shared.reach.now() < at {
                        let backoff =
                            self.backoff.get_or_insert_with(|| shared.reach.wait_until(at));
                        if backoff.as_mut().poll(cx).is_pending() {
                            break;
                        }
                        self.backoff = None;
                    }
                    state.link = PeerLink::Opening(shared.reach.open());
                }
            }
        }
        drop(state);
        match self.poll_timer(cx) {
            Poll::Ready(()) => {
                let why = format!(
                    "no connection with room for a request within {} ms",
                    self.limit.as_millis()
                );
                let why = io::Error::new(io::ErrorKind::TimedOut, why);
                Poll::Ready(Err(PeerError::NotSent(Arc::new(why)).into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (reach, at) = (&self.shared.reach, self.deadline);
        self.timer.get_or_insert_with(|| reach.wait_until(at)).as_mut().poll(cx)
    }
}

impl<R: Reach> Drop for Caller<R> {
    fn drop(&mut self) {
        self.shared.callers.0.lock().remove(&self.ticket);
        if self.shared.state.lock().abandon(self.ticket) {
            // There is room for another.
            self.shared.waker.wake_by_ref();
        }
    }
}

/// The answer to a request that was sent. Dropped before it has come, it is read and thrown away.
#[must_use = "an answer comes to those who wait for it"]
pub struct PendingAnswer<R: Reach> {
    caller: Caller<R>,
    is_taken: bool,
}

impl<R: Reach> std::fmt::Debug for PendingAnswer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingAnswer").field("ticket", &self.caller.ticket).finish_non_exhaustive()
    }
}

impl<R: Reach> Future for PendingAnswer<R> {
    type Output = Result<Bytes, PeerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.is_taken, "an answer is taken once");
        let shared = Arc::clone(&self.caller.shared);
        let ticket = self.caller.ticket;
        shared.callers.register(ticket, cx);
        let mut state = shared.state.lock();
        shared.drive(&mut state);
        if let Some(answer) = state.answers.remove(&ticket) {
            self.is_taken = true;
            return Poll::Ready(answer);
        }
        drop(state);
        if self.caller.poll_timer(cx).is_pending() {
            return Poll::Pending;
        }
        let why = format!("no answer within {} ms", self.caller.limit.as_millis());
        let why = io::Error::new(io::ErrorKind::TimedOut, why);
        let mut state = shared.state.lock();
        shared.break_off(&mut state, why);
        self.is_taken = true;
        let answer = state.answers.remove(&ticket);
        Poll::Ready(answer.expect("a request in flight ends with its connection"))
    }
}

impl<R: Reach> PeerShared<R> {
    /// Goes on with opening the connection, writing and reading, as far as that is possible now.
    fn drive(&self, state: &mut PeerState<R>) {
        let mut cx = Context::from_waker(&self.waker);
        if let PeerLink::Opening(opening) = &mut state.link {
            match opening.as_mut().poll(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(Ok((stream, greeting))) => {
                    let inbox = Inbox::new(self.limits.answer_bytes_max);
                    state.link = PeerLink::Up(link::Up::new(stream, greeting, inbox));
                }
                Poll::Ready(Err(why)) => {
                    state.opening_failed(why);
                    state.retry_at = self.backoff(state.failures);
                }
            }
            self.waker.wake_by_ref();
        }
        if let PeerLink::Up(up) = &mut state.link {
            let had = up.answered();
            let moved =
                up.progress(&mut cx, &mut state.answers, |ticket| self.callers.wake_one(ticket));
            let has_room = up.answered() != had;
            match moved {
                // Callers that wait for room.
                Ok(()) if has_room => self.waker.wake_by_ref(),
                Ok(()) => {}
                Err(why) => self.break_off(state, why),
            }
        }
    }

    /// Ends the connection.
    fn break_off(&self, state: &mut PeerState<R>, why: io::Error) {
        match state.broken(why) {
            link::Broken::Idle => state.retry_at = self.reach.now(),
            link::Broken::Busy => state.retry_at = self.backoff(state.failures),
            link::Broken::NotConnected => return,
        }
        self.waker.wake_by_ref();
    }

    /// When the next attempt may begin, after so many failures.
    fn backoff(&self, failures: u32) -> Duration {
        let doubled =
            self.limits.backoff * 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
        let wait = doubled.min(self.limits.backoff_max);
        let percent = 80 + u32::try_from(self.reach.random_below(41)).unwrap_or(0);
        self.reach.now().saturating_add(wait * percent / 100)
    }
}

/// Writes a frame and reads the next one, on a stream that nothing else uses; for what comes before
/// a connection's first request.
///
/// # Errors
/// The stream broke, or the answer is longer than `answer_bytes_max`.
pub async fn exchange_frames<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    frame: &[u8],
    answer_bytes_max: usize,
) -> io::Result<Bytes> {
    stream.write_all(frame).await?;
    let mut inbox = Inbox::new(answer_bytes_max);
    loop {
        if let Some(answer) = inbox.take_frame().map_err(io::Error::other)? {
            return Ok(answer);
        }
        if stream.read_buf(inbox.room()).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests;
