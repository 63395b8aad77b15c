//! The way from this node to the active controller, wherever that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ottla_client::{BrokerLink, ClientError};
use ottla_clock::Clock;
use ottla_metadata::{ControllerCommand, ControllerReply};
use ottla_protocol::Request;
use ottla_types::{ErrorCode, NodeId};

use super::controller::ControllerHandle;
use super::quorum_peers::{LinkUse, QuorumPeers};

/// How long to wait before the controller is looked for again, if nothing is heard of it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Over how many connections to the controller requests of clients are spread: each waits for what
/// was sent on it before.
const FORWARDING_LINKS: u8 = 4;

/// Where the active controller is.
#[derive(Clone, Debug)]
pub enum ControllerPlace {
    /// On this node.
    Here,
    /// On another node, by the connection to it.
    There(BrokerLink),
}

/// A broker as the controller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerIdentity {
    /// Its node id.
    pub id: NodeId,
    /// The epoch of its registration.
    pub epoch: i64,
}

/// The way to the active controller; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControllerChannel {
    clock: Clock,
    controller: ControllerHandle,
    peers: Arc<QuorumPeers>,
    /// Counts forwarded requests, so that they take turns; a number that two get does no harm.
    next_link: Arc<AtomicU8>,
}

impl ControllerChannel {
    /// The way of the node with this controller and these peers.
    #[must_use]
    pub fn new(clock: Clock, controller: ControllerHandle, peers: Arc<QuorumPeers>) -> Self {
        Self { clock, controller, peers, next_link: Arc::default() }
    }

    /// The connection for the next request of a client: they are spread over some.
    #[must_use]
    pub fn forwarding_link(&self) -> LinkUse {
        let next = self.next_link.fetch_add(1, Ordering::Relaxed);
        LinkUse::Forwarding(next % FORWARDING_LINKS)
    }

    /// See [`QuorumPeers::resign`].
    pub async fn resign(&self) {
        self.peers.resign().await;
    }

    /// Where the active controller is, as far as this node knows.
    #[must_use]
    pub fn active(&self, used: LinkUse) -> Option<ControllerPlace> {
        if self.controller.is_active() {
            return Some(ControllerPlace::Here);
        }
        let member = self.controller.member();
        let leader = member.view().standing.leader.filter(|id| *id != member.own().key.id)?;
        let address = self.peers.address(leader)?;
        Some(ControllerPlace::There(self.peers.link(used, &address)))
    }

    /// As [`ControllerChannel::ask_by`], for what the node itself needs.
    ///
    /// # Errors
    /// As there.
    pub async fn ask<T>(
        &self,
        limit: Duration,
        ask: impl AsyncFnMut(ControllerPlace) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        self.ask_by(LinkUse::Session, limit, ask).await
    }

    /// Asks the active controller until one answers, for `limit` at most. `ask` asks once; it fails
    /// with `NOT_CONTROLLER` where another is to be asked, and with [`unreachable_code`] where none
    /// answers.
    ///
    /// # Errors
    /// The code of the last attempt; `NOT_CONTROLLER` if no controller was active.
    pub async fn ask_by<T>(
        &self,
        used: LinkUse,
        limit: Duration,
        mut ask: impl AsyncFnMut(ControllerPlace) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let until = self.clock.monotonic() + limit;
        let mut views = self.controller.member().watch();
        let mut active_epochs = self.controller.watch_active();
        loop {
            views.borrow_and_update();
            active_epochs.borrow_and_update();
            let error = match self.active(used) {
                Some(active) => {
                    let standing = views.borrow_and_update().standing;
                    // One that is silent leads no longer, perhaps, and another one answers.
                    let moved = async {
                        while self.controller.member().view().standing == standing {
                            // The member holds the sender.
                            let _ = views.changed().await;
                        }
                    };
                    let asked = tokio::select! {
                        biased;
                        asked = ask(active) => asked,
                        () = moved => Err(ErrorCode::NOT_CONTROLLER),
                        () = self.clock.sleep_until(until) => Err(ErrorCode::REQUEST_TIMED_OUT),
                    };
                    match asked {
                        Err(error) if is_elsewhere(error) => error,
                        done => return done,
                    }
                }
                None => ErrorCode::NOT_CONTROLLER,
            };
            let now = self.clock.monotonic();
            // A node whose own replica is lost stops.
            if now >= until || self.controller.member().is_failed() {
                return Err(error);
            }
            let again = until.min(now + LOOK_AGAIN);
            tokio::select! {
                biased;
                _ = active_epochs.changed() => {}
                () = self.clock.sleep_until(again) => {}
            }
        }
    }

    /// Asks the active controller what it answers in the same words wherever it is: by a command on
    /// this node, by a request on another. `request` makes the request of each attempt; `code` is
    /// where its response has the code of the whole.
    ///
    /// # Errors
    /// As [`ControllerChannel::ask_by`].
    pub async fn request<R: Request>(
        &self,
        limit: Duration,
        request: impl Fn() -> R,
        command: impl Fn(R) -> ControllerCommand,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, ErrorCode>
    where
        R::Response: TryFrom<ControllerReply, Error = ControllerReply>,
    {
        let asked = self.ask(limit, async |active| {
            let response = match active {
                ControllerPlace::Here => self.controller.ask(command(request())).await?,
                ControllerPlace::There(link) => self.send(&link, &request(), limit).await?,
            };
            ErrorCode(code(&response)).check().map(|()| response)
        });
        asked.await
    }

    /// The controller of this node.
    #[must_use]
    pub const fn here(&self) -> &ControllerHandle {
        &self.controller
    }

    /// Sends a request to a controller elsewhere.
    ///
    /// # Errors
    /// See [`unreachable_code`].
    pub async fn send<R: Request>(
        &self,
        link: &BrokerLink,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, ErrorCode> {
        link.ask(request, None, limit).await.map_err(|it| unreachable_code(&it))
    }
}

/// Is another controller to be asked?
#[must_use]
pub const fn is_elsewhere(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NOT_CONTROLLER
            | ErrorCode::NETWORK_EXCEPTION
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REQUEST_TIMED_OUT
    )
}

/// The code for a controller that cannot be reached.
#[must_use]
pub const fn unreachable_code(error: &ClientError) -> ErrorCode {
    match error {
        ClientError::Connection { .. } | ClientError::Unanswered { .. } => {
            ErrorCode::NETWORK_EXCEPTION
        }
        ClientError::Version(_) => ErrorCode::UNSUPPORTED_VERSION,
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}
