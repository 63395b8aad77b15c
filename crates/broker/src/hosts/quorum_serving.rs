//! What a member of the metadata quorum answers to the others.

use std::sync::Arc;
use std::time::Duration;

use ottla_clock::{Clock, Lane};
use ottla_protocol::messages::begin_quorum_epoch_request::BeginQuorumEpochRequest;
use ottla_protocol::messages::begin_quorum_epoch_response::BeginQuorumEpochResponse;
use ottla_protocol::messages::end_quorum_epoch_request::EndQuorumEpochRequest;
use ottla_protocol::messages::end_quorum_epoch_response::EndQuorumEpochResponse;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::fetch_snapshot_request::FetchSnapshotRequest;
use ottla_protocol::messages::fetch_snapshot_response::FetchSnapshotResponse;
use ottla_protocol::messages::vote_request::VoteRequest;
use ottla_protocol::messages::vote_response::VoteResponse;
use ottla_quorum::wire::{self, LogReply};
use ottla_quorum::{
    ChangeAnswered, ChangeAsked, FetchAsked, FetchVerdict, MembershipChange, Quorum, QuorumError,
};
use ottla_types::{ErrorCode, LeaderEpoch};

use super::quorum_member::SharedMember;

/// The most bytes of records or of a snapshot in one answer, whatever is asked for.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How long a fetch waits at most for something new, whatever is asked for.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Answers the other members. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QuorumServing {
    clock: Clock,
    member: SharedMember,
    /// Where a step waits for the disk.
    lane: Lane,
    cluster_id: Arc<str>,
}

impl QuorumServing {
    /// Answers for this member.
    #[must_use]
    pub fn new(clock: Clock, member: SharedMember, lane: Lane, cluster_id: &str) -> Self {
        Self { clock, member, lane, cluster_id: cluster_id.into() }
    }

    /// Is a request meant for this cluster? One that names none is.
    fn check_cluster(&self, named: Option<&str>) -> Result<(), ErrorCode> {
        if named.is_none_or(|named| named == &*self.cluster_id) {
            Ok(())
        } else {
            Err(ErrorCode::INCONSISTENT_CLUSTER_ID)
        }
    }

    /// What a request asks, if it is meant for this cluster.
    fn check_asked<Q>(
        &self,
        cluster: Option<&str>,
        asked: Result<Q, ErrorCode>,
    ) -> Result<Q, ErrorCode> {
        self.check_cluster(cluster)?;
        asked
    }

    /// What a step answers to a request.
    async fn answer<Q: Send + 'static, T: Send + 'static>(
        &self,
        asked: Result<Q, ErrorCode>,
        step: impl FnOnce(&mut Quorum, Q) -> Result<T, QuorumError> + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let asked = asked?;
        self.step(move |quorum| step(quorum, asked)).await
    }

    /// A step that may wait for the disk.
    async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Quorum) -> Result<T, QuorumError> + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let taken = self.member.step_on(&self.lane, step).await;
        // The node stops, or its disk has failed.
        taken.and_then(Result::ok).ok_or(ErrorCode::BROKER_NOT_AVAILABLE)
    }

    /// Vote.
    pub async fn vote(&self, request: VoteRequest) -> VoteResponse {
        let asked = self.check_asked(request.cluster_id.as_deref(), wire::read_vote(&request));
        let answered = self.answer(asked, |quorum, (asked, voter)| quorum.vote_asked(asked, voter));
        match answered.await {
            Ok(answer) => wire::vote_response(&self.member.speaker(), &answer),
            Err(code) => VoteResponse { error_code: code.0, ..Default::default() },
        }
    }

    /// BeginQuorumEpoch.
    pub async fn begin_epoch(&self, request: BeginQuorumEpochRequest) -> BeginQuorumEpochResponse {
        let asked = self.check_asked(request.cluster_id.as_deref(), wire::read_begin(&request));
        let answered = self.answer(asked, |quorum, asked| quorum.begin_asked(asked));
        match answered.await {
            Ok(error) => wire::begin_response(&self.member.speaker(), error),
            Err(code) => BeginQuorumEpochResponse { error_code: code.0, ..Default::default() },
        }
    }

    /// EndQuorumEpoch.
    pub async fn end_epoch(&self, request: EndQuorumEpochRequest) -> EndQuorumEpochResponse {
        let asked = self.check_asked(request.cluster_id.as_deref(), wire::read_end(&request));
        let answered = self.answer(asked, |quorum, asked| quorum.end_asked(asked));
        match answered.await {
            Ok(error) => wire::end_response(&self.member.speaker(), error),
            Err(code) => EndQuorumEpochResponse { error_code: code.0, ..Default::default() },
        }
    }

    /// Fetch of the metadata log. It waits for something new as long as the request says.
    pub async fn fetch(&self, request: FetchRequest) -> FetchResponse {
        let asked = self.check_asked(request.cluster_id.as_deref(), wire::read_fetch(&request));
        let asked = match asked {
            Ok(asked) => asked,
            Err(code) => return FetchResponse { error_code: code.0, ..Default::default() },
        };
        let reply = self.fetch_reply(asked, &request).await;
        let reply = reply.unwrap_or_else(|error| LogReply { error, ..LogReply::default() });
        wire::fetch_response(&self.member.speaker(), &request, reply)
    }

    async fn fetch_reply(
        &self,
        asked: FetchAsked,
        request: &FetchRequest,
    ) -> Result<LogReply, ErrorCode> {
        let gone = ErrorCode::BROKER_NOT_AVAILABLE;
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let until = self.clock.monotonic() + wait.min(WAIT_MAX);
        let mut views = self.member.watch();
        let mut verdict = self.member.step(|quorum| quorum.fetched(asked)).map_err(|_| gone)?;
        while matches!(verdict, FetchVerdict::Valid { has_news: false, .. }) {
            tokio::select! {
                biased;
                changed = views.changed() => changed.map_err(|_| gone)?,
                () = self.clock.sleep_until(until) => break,
            }
            let looked = self.member.look(|quorum| quorum.raft().fetch_verdict(&asked));
            verdict = looked.ok_or(gone)?;
        }
        let log_start = self.member.look(Quorum::log_start).ok_or(gone)?;
        let reply = LogReply { log_start, ..LogReply::default() };
        Ok(match verdict {
            FetchVerdict::Refused(error) => LogReply { error, ..reply },
            FetchVerdict::Diverging(at) => LogReply { diverging: Some(at), ..reply },
            FetchVerdict::Snapshot(id) => LogReply { snapshot: Some(id), ..reply },
            FetchVerdict::Valid { high_watermark, .. } => {
                let wanted = usize::try_from(request.max_bytes).unwrap_or(0);
                let bytes_max = wanted.clamp(1, ANSWER_BYTES_MAX);
                let read = |quorum: &Quorum| quorum.batches_from(asked.end.offset, bytes_max);
                let records = self.member.look(read).ok_or(gone)?.map_err(|error| {
                    tracing::error!(%error, "metadata log cannot be read for another controller");
                    ErrorCode::KAFKA_STORAGE_ERROR
                })?;
                LogReply { high_watermark, records, ..reply }
            }
        })
    }

    /// FetchSnapshot.
    pub async fn fetch_snapshot(&self, request: FetchSnapshotRequest) -> FetchSnapshotResponse {
        let asked = self.check_asked(request.cluster_id.as_deref(), wire::read_snapshot(&request));
        let wanted = usize::try_from(request.max_bytes).unwrap_or(0);
        let bytes_max = wanted.clamp(1, ANSWER_BYTES_MAX);
        let answered = self.answer(asked, move |quorum, asked| {
            Ok((asked, quorum.snapshot_asked(asked, bytes_max)?))
        });
        match answered.await {
            Ok((asked, part)) => wire::snapshot_response(&self.member.speaker(), &asked, part),
            Err(code) => FetchSnapshotResponse { error_code: code.0, ..Default::default() },
        }
    }

    /// Changes the voters, if this node leads; answers when the change is in the log, or has
    /// committed.
    ///
    /// # Errors
    /// The code of the answer.
    pub async fn change_voters(
        &self,
        cluster_id: Option<&str>,
        epoch: Option<LeaderEpoch>,
        change: MembershipChange,
        answered: ChangeAnswered,
    ) -> Result<(), ErrorCode> {
        self.check_cluster(cluster_id)?;
        let (request, answer) = self.member.pending_change();
        let asked = ChangeAsked { request, epoch, change, answered };
        self.step(move |quorum| quorum.change_asked(asked)).await?;
        answer.await.unwrap_or(ErrorCode::NOT_LEADER_OR_FOLLOWER).check()
    }
}
