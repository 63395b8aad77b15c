//! What a member of the metadata quorum exchanges with the others: votes and news of leaders, the
//! log that it follows, changes of the voters.
//!
//! Three tasks: one sends what steps want sent, one follows the leader's log, one lets timers fire.
//! Steps that may wait for a disk run on the lane.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::{BrokerLink, ClientError, ClientOptions, Transport};
use ottla_clock::{Clock, Lane};
use ottla_locks::Mutex;
use ottla_net::threads::Spawner;
use ottla_protocol::Request;
use ottla_protocol::messages::api_versions_request::ApiVersionsRequest;
use ottla_quorum::wire::{self, FetchLimits, LeaderAddress};
use ottla_quorum::{
    FetchAsked, FollowerRequest, KraftVersions, MembershipChange, PeerMessage, PeerRequest, Quorum,
    QuorumError, ReplicaKey, SnapshotAsked, Standing, Timing, VoteAsked, Voter,
};
use ottla_types::{ErrorCode, NodeId};
use tokio::sync::oneshot;

use super::quorum_member::{SharedMember, address_of};
use crate::seldom::SeldomWarning;

/// How long a leader that stops waits for the voters that it tells so.
const FAREWELL_LIMIT: Duration = Duration::from_millis(500);
/// How long the first failure keeps another connection back: the leader's host that refuses one
/// says that its process is gone.
const RECONNECT_AFTER: Duration = Duration::from_millis(10);

/// What the exchange with other members needs.
#[derive(Debug)]
pub struct PeerParts {
    /// The time.
    pub clock: Clock,
    /// This node's replica.
    pub member: SharedMember,
    /// Where its steps wait for the disk.
    pub lane: Lane,
    /// Where its tasks run.
    pub spawner: Spawner,
    /// How it reaches others.
    pub transport: Transport,
    /// The cluster's id.
    pub cluster_id: String,
    /// How long it waits for what.
    pub timing: Timing,
    /// How it follows the leader's log.
    pub following: FollowingRules,
    /// Where to ask for the leader as long as none is known: host:port.
    pub bootstrap: Vec<String>,
}

/// How a member of the metadata quorum follows the leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowingRules {
    /// How much one fetch asks for.
    pub fetch: FetchLimits,
    /// `controller.quorum.retry.backoff.ms`: how long it waits before it tries again after a
    /// failure.
    pub retry_after: Duration,
}

/// What a connection to another node is used for. A node answers the requests of a connection in
/// their order: what waits for a commit must not keep back the fetch without which nothing commits,
/// nor a fetch that waits for records a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkUse {
    /// Fetches of the metadata log.
    Following,
    /// Votes, news of leaders, changes of voters.
    Electing,
    /// The broker's session with the controller, and what else it needs of it.
    Session,
    /// Requests of clients, spread over some connections.
    Forwarding(u8),
}

/// The way to the other members.
#[derive(Debug)]
pub struct QuorumPeers {
    parts: PeerParts,
    options: ClientOptions,
    /// Guards the connections, by use and address; held for a look-up.
    links: Mutex<BTreeMap<(LinkUse, String), BrokerLink>>,
    /// Guards where leaders listen that answers have named; held for a look-up.
    named: Mutex<BTreeMap<NodeId, String>>,
    /// Requests that others have refused.
    refusals: SeldomWarning,
}

impl QuorumPeers {
    /// No connection is opened before there is something to say.
    #[must_use]
    pub fn new(parts: PeerParts) -> Self {
        let options = ClientOptions {
            client_id: format!("quorum-{}", parts.member.own().key.id),
            setup_timeout: Duration::from_millis(parts.timing.request_ms),
            reconnect_backoff: RECONNECT_AFTER,
            reconnect_backoff_max: Duration::from_millis(parts.timing.election_ms / 4),
            ..ClientOptions::default()
        };
        let (links, named, refusals) = Default::default();
        Self { parts, options, links, named, refusals }
    }

    /// Starts the tasks.
    pub async fn start(self: &Arc<Self>) {
        let spawner = &self.parts.spawner;
        let this = Arc::clone(self);
        spawner.spawn(0, move || async move { this.send_all().await }).await;
        let this = Arc::clone(self);
        spawner.spawn(0, move || async move { this.keep_time().await }).await;
        let this = Arc::clone(self);
        spawner.spawn(0, move || async move { this.follow().await }).await;
    }

    /// The connection to an address for this use.
    pub fn link(&self, used: LinkUse, address: &str) -> BrokerLink {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&(used, address.to_owned())) {
            return link.clone();
        }
        let dialer = Arc::new(self.parts.transport.clone()) as Arc<dyn ottla_client::Dialer>;
        let link = BrokerLink::new(address, &dialer, &self.options, &self.parts.clock);
        links.insert((used, address.to_owned()), link.clone());
        link
    }

    /// Where a node's controller listens, as far as that is known.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<String> {
        let known = self.parts.member.endpoint(node).map(|endpoint| address_of(&endpoint));
        known.or_else(|| self.named.lock().get(&node).cloned())
    }

    fn learn(&self, leaders: Vec<LeaderAddress>) {
        let mut named = self.named.lock();
        named.extend(leaders.into_iter().map(|it| (it.node, it.address)));
    }

    /// A step that may wait for the disk. One that fails ends the member, which says so.
    async fn step(
        &self,
        step: impl FnOnce(&mut Quorum) -> Result<(), QuorumError> + Send + 'static,
    ) {
        // The lane is stopped when the node stops.
        let _ = self.parts.member.step_on(&self.parts.lane, step).await;
    }

    async fn keep_time(&self) {
        while !self.parts.member.is_failed() {
            self.parts.member.timer_due().await;
            self.step(Quorum::wake_up).await;
        }
    }

    async fn send_all(self: &Arc<Self>) {
        while !self.parts.member.is_failed() {
            for PeerMessage { to, request } in self.parts.member.outgoing().await {
                let this = Arc::clone(self);
                // One that is silent does not keep back what is for another.
                let send = move || async move { this.send(to, request).await };
                self.parts.spawner.spawn(0, send).await;
            }
        }
    }

    async fn send(&self, to: NodeId, request: PeerRequest) {
        match request {
            PeerRequest::Vote { asked, voter } => self.ask_vote(to, &asked, voter).await,
            PeerRequest::BeginEpoch { epoch, voter } => {
                let own = self.parts.member.own();
                let request = wire::begin_request(&self.parts.cluster_id, own, epoch, voter);
                self.tell_epoch(to, &request, wire::read_begin_response).await;
            }
            PeerRequest::EndEpoch { epoch, preferred } => {
                let own = self.parts.member.own();
                let request = wire::end_request(&self.parts.cluster_id, own, epoch, &preferred);
                self.tell_epoch(to, &request, wire::read_end_response).await;
            }
            PeerRequest::Change(change) => {
                let error = self.ask_change(to, change).await;
                self.step(move |quorum| quorum.change_answered(to, error)).await;
            }
            PeerRequest::Versions(voter) => {
                let versions = self.ask_versions(&voter).await;
                self.step(move |quorum| quorum.versions_answered(to, versions)).await;
            }
        }
    }

    /// Hands the lead to another voter, if this node leads: it resigns, tells the others, and
    /// returns when each has answered or [`FAREWELL_LIMIT`] is over. One that has not heard it
    /// finds out when its fetches fail.
    pub async fn resign(self: &Arc<Self>) {
        let resign = |quorum: &mut Quorum| {
            quorum.resign()?;
            Ok(quorum.take_outgoing())
        };
        // A step that fails ends the member, which says so.
        let messages = self.parts.member.step(resign).unwrap_or_default();
        let mut all = Vec::new();
        for PeerMessage { to, request } in messages {
            let (sender, done) = oneshot::channel();
            let this = Arc::clone(self);
            let send = move || async move {
                tokio::select! {
                    biased;
                    () = this.send(to, request) => {}
                    () = this.parts.clock.sleep(FAREWELL_LIMIT) => {}
                }
                // The receiver waits for it.
                let _ = sender.send(());
            };
            self.parts.spawner.spawn(0, send).await;
            all.push(done);
        }
        for done in all {
            // A thread that has ended sends nothing more.
            let _ = done.await;
        }
    }

    /// A voter that does not answer is asked again when the election times out.
    async fn ask_vote(&self, to: NodeId, asked: &VoteAsked, voter: ReplicaKey) {
        let request = wire::vote_request(&self.parts.cluster_id, asked, voter);
        let ballot = asked.ballot;
        let answer = match self.ask_node(to, &request).await {
            Ok(response) => wire::read_vote_response(to, ballot, &response),
            // A voter of before KIP-996: the request has no form that it knows.
            Err(ClientError::Encode(_)) => {
                Ok((Standing::default(), wire::unsupported_ballot(to, ballot)))
            }
            Err(error) => {
                tracing::debug!(peer = to, %error, "voter has not answered");
                return;
            }
        };
        match answer {
            Ok((standing, answer)) => {
                self.step(move |quorum| quorum.voted(standing, answer)).await;
            }
            Err(error) => self.log_refusal(to, "Vote", error),
        }
    }

    /// Sends a BeginQuorumEpoch or an EndQuorumEpoch to a voter. A leader repeats the former as
    /// long as the voter does not answer.
    async fn tell_epoch<R: Request>(
        &self,
        to: NodeId,
        request: &R,
        read: impl FnOnce(&R::Response) -> Option<Standing>,
    ) {
        match self.ask_node(to, request).await.map(|response| read(&response)) {
            Ok(Some(standing)) => self.step(move |quorum| quorum.heard(standing)).await,
            Ok(None) => self.log_refusal(to, R::NAME, ErrorCode::INVALID_REQUEST),
            Err(error) => tracing::debug!(peer = to, %error, "voter has not answered"),
        }
    }

    /// Asks a node, if it is known where its controller listens.
    async fn ask_node<R: Request>(
        &self,
        to: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let address = self.address(to).ok_or_else(|| {
            let (address, why) = (format!("node {to}"), "no controller listener is known");
            ClientError::Address { address, why }
        })?;
        self.ask(&address, request).await
    }

    async fn ask<R: Request>(
        &self,
        address: &str,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.ask_on(LinkUse::Electing, address, request).await
    }

    async fn ask_on<R: Request>(
        &self,
        used: LinkUse,
        address: &str,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let limit = Duration::from_millis(self.parts.timing.request_ms);
        self.link(used, address).ask(request, None, limit).await
    }

    async fn ask_change(&self, leader: NodeId, change: MembershipChange) -> ErrorCode {
        let Some(address) = self.address(leader) else { return ErrorCode::BROKER_NOT_AVAILABLE };
        let cluster_id = &self.parts.cluster_id;
        let timeout_ms = i32::try_from(self.parts.timing.request_ms).unwrap_or(i32::MAX);
        let epoch = self.parts.member.view().standing.epoch;
        let code = match change {
            MembershipChange::Add(voter) => {
                let request = wire::add_request(cluster_id, &voter, timeout_ms);
                self.ask(&address, &request).await.map(|it| it.error_code)
            }
            MembershipChange::Remove(key) => {
                let request = wire::remove_request(cluster_id, key);
                self.ask(&address, &request).await.map(|it| it.error_code)
            }
            MembershipChange::Update(voter) => {
                let request = wire::update_request(cluster_id, &voter, epoch);
                self.ask(&address, &request).await.map(|it| it.error_code)
            }
            // No replica asks for that, only an operator.
            MembershipChange::Upgrade(_) => Ok(ErrorCode::INVALID_REQUEST.0),
        };
        code.map_or(ErrorCode::NETWORK_EXCEPTION, ErrorCode)
    }

    async fn ask_versions(&self, voter: &Voter) -> Result<KraftVersions, ErrorCode> {
        let endpoint = voter.endpoints.first().ok_or(ErrorCode::INVALID_REQUEST)?;
        // Version 4 tells of features whose lowest level is 0, too (KAFKA-17011).
        let request = ApiVersionsRequest {
            client_software_name: "ottla".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let response = self.ask(&address_of(endpoint), &request).await;
        let response = response.map_err(|_| ErrorCode::REQUEST_TIMED_OUT)?;
        let mut known = response.supported_features.iter();
        let found = known.find(|feature| feature.name == "kraft.version");
        Ok(found.map_or((0, 0), |feature| (feature.min_version, feature.max_version)))
    }

    /// Follows the leader, or looks for one.
    async fn follow(&self) {
        let mut changes = self.parts.member.watch();
        let mut next_bootstrap = 0;
        while !self.parts.member.is_failed() {
            let view = *changes.borrow_and_update();
            let Some(request) = self.parts.member.look(Quorum::next_request).flatten() else {
                // The member of this task holds the sender.
                let _ = changes.changed().await;
                continue;
            };
            let asked = self.fetch(request, &mut next_bootstrap);
            // The answer of an earlier leader is worth nothing.
            let moved = async {
                while self.parts.member.view().standing == view.standing {
                    let _ = changes.changed().await;
                }
            };
            let has_answer = tokio::select! {
                biased;
                has_answer = asked => has_answer,
                () = moved => true,
            };
            if !has_answer {
                self.parts.clock.sleep(self.parts.following.retry_after).await;
            }
        }
    }

    /// Fetches once; was there an answer?
    async fn fetch(&self, request: FollowerRequest, next_bootstrap: &mut usize) -> bool {
        match request {
            FollowerRequest::Fetch { leader: Some(leader), fetch } => {
                let Some(address) = self.address(leader) else {
                    return self.fetch_somewhere(fetch, next_bootstrap).await;
                };
                let done = self.fetch_from(leader, &address, fetch).await;
                self.note_refusal(leader, &done).await;
                if done.is_err() {
                    // An observer stands for no election, and has to hear of the next leader.
                    self.fetch_somewhere(fetch, next_bootstrap).await;
                }
                done.is_ok()
            }
            FollowerRequest::Fetch { leader: None, fetch } => {
                self.fetch_somewhere(fetch, next_bootstrap).await;
                // As long as no leader is known there is no hurry.
                false
            }
            FollowerRequest::FetchSnapshot { leader, fetch } => {
                let Some(address) = self.address(leader) else { return false };
                let done = self.fetch_snapshot_from(leader, &address, fetch).await;
                self.note_refusal(leader, &done).await;
                done.is_ok()
            }
        }
    }

    /// Asks another node that may know the leader.
    async fn fetch_somewhere(&self, fetch: FetchAsked, next_bootstrap: &mut usize) -> bool {
        let mut known = self.parts.bootstrap.clone();
        let voters = self.parts.member.other_voters();
        known.extend(voters.iter().filter_map(|voter| self.address(voter.id)));
        let own = self.parts.member.own().endpoints.iter().map(address_of).collect::<Vec<_>>();
        known.retain(|address| !own.contains(address));
        if known.is_empty() {
            return false;
        }
        *next_bootstrap = (*next_bootstrap + 1) % known.len();
        self.fetch_from(-1, &known[*next_bootstrap], fetch).await.is_ok()
    }

    async fn fetch_from(
        &self,
        from: NodeId,
        address: &str,
        fetch: FetchAsked,
    ) -> Result<(), ClientError> {
        let request =
            wire::fetch_request(&self.parts.cluster_id, &fetch, self.parts.following.fetch);
        let response = self.ask_on(LinkUse::Following, address, &request).await?;
        match wire::read_fetch_response(response) {
            Ok(mut fetched) => {
                self.learn(std::mem::take(&mut fetched.leaders));
                let is_refused = fetched.is_refused();
                self.step(move |quorum| quorum.fetch_answered(from, fetch, fetched)).await;
                if is_refused { Err(nothing_new(address)) } else { Ok(()) }
            }
            Err(error) => {
                self.log_refusal(from, "Fetch", error);
                Err(nothing_new(address))
            }
        }
    }

    async fn fetch_snapshot_from(
        &self,
        from: NodeId,
        address: &str,
        fetch: SnapshotAsked,
    ) -> Result<(), ClientError> {
        let request =
            wire::snapshot_request(&self.parts.cluster_id, &fetch, self.parts.following.fetch);
        let response = self.ask_on(LinkUse::Following, address, &request).await?;
        match wire::read_snapshot_response(response) {
            Ok(fetched) => {
                self.step(move |quorum| quorum.snapshot_answered(from, fetch, fetched)).await;
                Ok(())
            }
            Err(error) => {
                self.log_refusal(from, "FetchSnapshot", error);
                Err(nothing_new(address))
            }
        }
    }

    /// Another node refuses what this one asks, such as one of another cluster; it is asked again
    /// many times a second.
    fn log_refusal(&self, peer: NodeId, api: &str, error: ErrorCode) {
        let count = self.refusals.count(self.parts.clock.monotonic());
        let error = error.name();
        match count {
            Some(count) => {
                tracing::warn!(peer, api, error, count, "request between controllers refused");
            }
            None => tracing::debug!(peer, api, error, "request between controllers refused"),
        }
    }

    /// A leader whose host refuses connections is gone.
    async fn note_refusal(&self, leader: NodeId, done: &Result<(), ClientError>) {
        if let Err(ClientError::Connection { source, .. }) = done
            && source.kind() == io::ErrorKind::ConnectionRefused
        {
            self.step(move |quorum| quorum.leader_unreachable(leader)).await;
        }
    }
}

/// A refusal: what it says was taken in, and asking again at once would not help.
fn nothing_new(address: &str) -> ClientError {
    let source = Arc::new(io::Error::other("refused"));
    ClientError::Unanswered { address: address.to_owned(), source }
}
