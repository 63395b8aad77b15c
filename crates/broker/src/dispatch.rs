//! The whole protocol on one screen.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use ottla_net::connection::{Handler, Outcome, Reply};
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::{
    ApiKey, Decoder, Encoder, FrameHead, Message, Request, read_request_head,
    response_head_is_flexible,
};
use ottla_types::ErrorCode;

use crate::handlers::*;
use crate::node::Node;
use crate::request::{Api, Call, Session};
use crate::slow;

/// What is served, in which versions; the ApiVersions answer says the same.
pub const SERVED: &[Api] = &[
    produce::API,
    fetch::API,
    list_offsets::API,
    metadata::API,
    offset_commit::API,
    offset_fetch::API,
    find_coordinator::API,
    join_group::API,
    heartbeat::API,
    leave_group::API,
    sync_group::API,
    describe_groups::API,
    list_groups::API,
    api_versions::API,
    create_topics::API,
    delete_topics::API,
    delete_records::API,
    init_producer_id::API,
    offset_for_leader_epoch::API,
    add_partitions_to_txn::API,
    add_offsets_to_txn::API,
    end_txn::API,
    write_txn_markers::API,
    txn_offset_commit::API,
    describe_acls::API,
    create_acls::API,
    delete_acls::API,
    describe_configs::API,
    alter_configs::API,
    alter_replica_log_dirs::API,
    describe_log_dirs::API,
    create_partitions::API,
    create_delegation_token::API,
    renew_delegation_token::API,
    expire_delegation_token::API,
    describe_delegation_token::API,
    delete_groups::API,
    incremental_alter_configs::API,
    offset_delete::API,
    describe_client_quotas::API,
    alter_client_quotas::API,
    describe_user_scram_credentials::API,
    alter_user_scram_credentials::API,
    describe_quorum::API,
    update_features::API,
    describe_cluster::API,
    describe_producers::API,
    elect_leaders::API,
    alter_partition_reassignments::API,
    list_partition_reassignments::API,
    describe_transactions::API,
    list_transactions::API,
    consumer_group_heartbeat::API,
    consumer_group_describe::API,
    get_telemetry_subscriptions::API,
    push_telemetry::API,
    list_config_resources::API,
    describe_topic_partitions::API,
];

/// Serves a connection.
#[derive(Debug)]
pub struct Serving<'a> {
    /// The node.
    pub node: &'a Node,
    /// The connection.
    pub session: Arc<Session>,
}

impl Handler for Serving<'_> {
    async fn serve(&self, frame: Bytes) -> Outcome {
        answer(self.node, &self.session, frame).await
    }

    /// Produces to one partition are appended together.
    fn serve_together(&self, frames: &[Bytes]) -> Vec<Outcome> {
        produce_together(self.node, &self.session, frames)
    }
}

async fn answer(node: &Node, session: &Arc<Session>, frame: Bytes) -> Outcome {
    let mut d = Decoder::new(frame);
    let mut head = match read_request_head(&mut d) {
        Ok(head) => head,
        Err(error) => return Outcome::Close(format!("a request without a header: {error}")),
    };
    let served = SERVED.iter().find(|api| api.key.code() == head.key);
    let Some(api) = served else {
        return Outcome::Close(format!("API key {} is not served", head.key));
    };
    let key = api.key;
    if !api.serves(head.version) {
        return unserved(key, &head);
    }
    let client_id = head.client_id.take().unwrap_or_default();
    let call = Call::new(session, key, head.version, client_id);
    // Not handed to a function: that would move a large future once more for each request.
    let mut work = std::pin::pin!(route(node, &call, &head, d));
    let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    // One that need not wait is not timed: that would cost more than many requests do.
    if let Poll::Ready(outcome) = first {
        return outcome;
    }
    let begun = node.clock.monotonic();
    let outcome = work.await;
    slow::waited(&node.clock, &call, begun);
    outcome
}

#[expect(clippy::too_many_lines, reason = "one line for each API, nothing else")]
async fn route(node: &Node, call: &Call, head: &FrameHead, d: Decoder) -> Outcome {
    let (n, c) = (node, call);
    match call.key {
        ApiKey::Produce => match produce(node, call, head, d) {
            Ok(outcome) => outcome,
            Err(spare) => produce_read(node, call, head, spare).await,
        },
        ApiKey::Fetch => serve(head, d, async |r| fetch::handle(n, c, r).await).await,
        ApiKey::ListOffsets => serve(head, d, async |r| list_offsets::handle(n, c, &r)).await,
        ApiKey::Metadata => serve(head, d, async |r| metadata::handle(n, c, r).await).await,
        ApiKey::OffsetCommit => {
            serve(head, d, async |r| offset_commit::handle(n, c, r).await).await
        }
        ApiKey::OffsetFetch => serve(head, d, async |r| offset_fetch::handle(n, c, r).await).await,
        ApiKey::FindCoordinator => {
            serve(head, d, async |r| find_coordinator::handle(n, c, r).await).await
        }
        ApiKey::JoinGroup => serve(head, d, async |r| join_group::handle(n, c, r).await).await,
        ApiKey::Heartbeat => serve(head, d, async |r| heartbeat::handle(n, c, r).await).await,
        ApiKey::LeaveGroup => serve(head, d, async |r| leave_group::handle(n, c, r).await).await,
        ApiKey::SyncGroup => serve(head, d, async |r| sync_group::handle(n, c, r).await).await,
        ApiKey::DescribeGroups => {
            serve(head, d, async |r| describe_groups::handle(n, c, r).await).await
        }
        ApiKey::ListGroups => serve(head, d, async |r| list_groups::handle(n, c, r).await).await,
        ApiKey::ApiVersions => serve(head, d, async |r| api_versions::handle(n, c, &r)).await,
        ApiKey::CreateTopics => {
            serve(head, d, async |r| create_topics::handle(n, c, r).await).await
        }
        ApiKey::DeleteTopics => {
            serve(head, d, async |r| delete_topics::handle(n, c, r).await).await
        }
        ApiKey::DeleteRecords => serve(head, d, async |r| delete_records::handle(n, c, &r)).await,
        ApiKey::InitProducerId => {
            serve(head, d, async |r| init_producer_id::handle(n, c, r).await).await
        }
        ApiKey::OffsetForLeaderEpoch => {
            serve(head, d, async |r| offset_for_leader_epoch::handle(n, c, &r)).await
        }
        ApiKey::DescribeConfigs => {
            serve(head, d, async |r| describe_configs::handle(n, c, &r)).await
        }
        ApiKey::AlterConfigs => {
            serve(head, d, async |r| alter_configs::handle(n, c, r).await).await
        }
        ApiKey::AlterReplicaLogDirs => {
            serve(head, d, async |r| alter_replica_log_dirs::handle(n, c, &r)).await
        }
        ApiKey::DescribeLogDirs => {
            serve(head, d, async |r| describe_log_dirs::handle(n, c, &r)).await
        }
        ApiKey::CreatePartitions => {
            serve(head, d, async |r| create_partitions::handle(n, c, r).await).await
        }
        ApiKey::DeleteGroups => {
            serve(head, d, async |r| delete_groups::handle(n, c, r).await).await
        }
        ApiKey::IncrementalAlterConfigs => {
            serve(head, d, async |r| incremental_alter_configs::handle(n, c, r).await).await
        }
        ApiKey::OffsetDelete => {
            serve(head, d, async |r| offset_delete::handle(n, c, r).await).await
        }
        ApiKey::DescribeQuorum => serve(head, d, async |r| describe_quorum::handle(n, c, &r)).await,
        ApiKey::UpdateFeatures => {
            serve(head, d, async |r| update_features::handle(n, c, r).await).await
        }
        ApiKey::DescribeCluster => {
            serve(head, d, async |r| describe_cluster::handle(n, c, &r)).await
        }
        ApiKey::DescribeProducers => {
            serve(head, d, async |r| describe_producers::handle(n, c, &r)).await
        }
        ApiKey::ElectLeaders => serve(head, d, async |r| elect_leaders::handle(n, c, &r)).await,
        ApiKey::AlterPartitionReassignments => {
            serve(head, d, async |r| alter_partition_reassignments::handle(n, c, &r)).await
        }
        ApiKey::ListPartitionReassignments => {
            serve(head, d, async |r| list_partition_reassignments::handle(n, c, &r)).await
        }
        ApiKey::DescribeAcls => attempt(head, d, |r| describe_acls::handle(n, c, &r)),
        ApiKey::CreateAcls => attempt(head, d, |r| create_acls::handle(n, c, &r)),
        ApiKey::DeleteAcls => attempt(head, d, |r| delete_acls::handle(n, c, &r)),
        ApiKey::CreateDelegationToken => {
            serve(head, d, async |r| create_delegation_token::handle(n, c, &r)).await
        }
        ApiKey::RenewDelegationToken => {
            serve(head, d, async |r| renew_delegation_token::handle(n, c, &r)).await
        }
        ApiKey::ExpireDelegationToken => {
            serve(head, d, async |r| expire_delegation_token::handle(n, c, &r)).await
        }
        ApiKey::DescribeDelegationToken => {
            serve(head, d, async |r| describe_delegation_token::handle(n, c, &r)).await
        }
        ApiKey::DescribeClientQuotas => {
            serve(head, d, async |r| describe_client_quotas::handle(n, c, &r)).await
        }
        ApiKey::AlterClientQuotas => {
            serve(head, d, async |r| alter_client_quotas::handle(n, c, r).await).await
        }
        ApiKey::DescribeUserScramCredentials => {
            serve(head, d, async |r| describe_user_scram_credentials::handle(n, c, &r)).await
        }
        ApiKey::AlterUserScramCredentials => {
            serve(head, d, async |r| alter_user_scram_credentials::handle(n, c, r).await).await
        }
        ApiKey::GetTelemetrySubscriptions => {
            serve(head, d, async |r| get_telemetry_subscriptions::handle(n, c, &r)).await
        }
        ApiKey::PushTelemetry => serve(head, d, async |r| push_telemetry::handle(n, c, r)).await,
        ApiKey::ListConfigResources => {
            serve(head, d, async |r| list_config_resources::handle(n, c, &r)).await
        }
        ApiKey::DescribeTopicPartitions => {
            serve(head, d, async |r| describe_topic_partitions::handle(n, c, &r)).await
        }
        ApiKey::AddPartitionsToTxn => {
            serve(head, d, async |r| add_partitions_to_txn::handle(n, c, r).await).await
        }
        ApiKey::AddOffsetsToTxn => {
            serve(head, d, async |r| add_offsets_to_txn::handle(n, c, r).await).await
        }
        ApiKey::EndTxn => serve(head, d, async |r| end_txn::handle(n, c, r).await).await,
        ApiKey::WriteTxnMarkers => {
            serve(head, d, async |r| write_txn_markers::handle(n, c, r).await).await
        }
        ApiKey::TxnOffsetCommit => {
            serve(head, d, async |r| txn_offset_commit::handle(n, c, r).await).await
        }
        ApiKey::DescribeTransactions => {
            serve(head, d, async |r| describe_transactions::handle(n, c, r).await).await
        }
        ApiKey::ListTransactions => {
            serve(head, d, async |r| list_transactions::handle(n, c, r).await).await
        }
        ApiKey::ConsumerGroupHeartbeat => {
            serve(head, d, async |r| consumer_group_heartbeat::handle(n, c, r).await).await
        }
        ApiKey::ConsumerGroupDescribe => {
            serve(head, d, async |r| consumer_group_describe::handle(n, c, r).await).await
        }
        other => Outcome::Close(format!("{} is in the table but not served", other.name())),
    }
}

/// Decodes, handles, encodes. What stands behind the body is ignored, as Kafka does: librdkafka
/// leaves a few bytes there.
async fn serve<R: Request>(
    head: &FrameHead,
    mut d: Decoder,
    handle: impl AsyncFnOnce(R) -> R::Response,
) -> Outcome {
    match R::decode(&mut d, head.version) {
        Ok(request) => reply(R::KEY, head, &handle(request).await),
        Err(error) => Outcome::Close(format!("{} v{}: {error}", R::NAME, head.version)),
    }
}

/// Like [`serve`], where a request may be one that has no answer: the reason closes the connection.
fn attempt<R: Request>(
    head: &FrameHead,
    mut d: Decoder,
    handle: impl FnOnce(R) -> Result<R::Response, String>,
) -> Outcome {
    match R::decode(&mut d, head.version) {
        Ok(request) => match handle(request) {
            Ok(response) => reply(R::KEY, head, &response),
            Err(why) => Outcome::Close(format!("{} v{}: {why}", R::NAME, head.version)),
        },
        Err(error) => Outcome::Close(format!("{} v{}: {error}", R::NAME, head.version)),
    }
}

fn reply(key: ApiKey, head: &FrameHead, response: &impl Message) -> Outcome {
    match encoded(key, head, response, head.version) {
        Ok(reply) => Outcome::Reply(reply),
        Err(why) => Outcome::Close(why),
    }
}

fn encoded<M: Message>(
    key: ApiKey,
    head: &FrameHead,
    response: &M,
    version: i16,
) -> Result<Reply, String> {
    let mut e = Encoder::with_room(Reply::room());
    e.i32(head.correlation);
    if response_head_is_flexible(key, version) {
        e.uvarint(0);
    }
    match response.encode(&mut e, version) {
        Ok(()) => {
            let (chunks, tail) = e.into_parts();
            Ok(Reply { chunks, tail })
        }
        Err(error) => {
            tracing::error!(message = M::NAME, version, %error, "response cannot be encoded");
            Err(format!("{} v{version} cannot be written: {error}", M::NAME))
        }
    }
}

/// To a version of ApiVersions that is not known, the answer says in version 0 which are, and lists
/// nothing else (KIP-511); of any other API the client should have asked first.
fn unserved(key: ApiKey, head: &FrameHead) -> Outcome {
    if key != ApiKey::ApiVersions {
        return Outcome::Close(format!("{} has no version {} here", key.name(), head.version));
    }
    let mut response = api_versions::served();
    response.error_code = ErrorCode::UNSUPPORTED_VERSION.0;
    response.api_keys.retain(|it| it.api_key == key.code());
    match encoded(key, head, &response, 0) {
        Ok(reply) => Outcome::Reply(reply),
        Err(why) => Outcome::Close(why),
    }
}

/// A produce may answer later, or not at all. One whose batches must be read through first comes
/// back undone.
fn produce(
    node: &Node,
    call: &Call,
    head: &FrameHead,
    mut d: Decoder,
) -> Result<Outcome, Box<Spare>> {
    let mut spare = SPARE.take();
    if let Err(error) = spare.request.decode_into(&mut d, head.version) {
        return Ok(Outcome::Close(format!("ProduceRequest v{}: {error}", head.version)));
    }
    produce::name_once(&mut spare.request, head.version);
    if produce::must_read_through(node, call, &spare.request) {
        return Err(Box::new(spare));
    }
    Ok(produce_now(node, call, head, spare, Vec::new()))
}

async fn produce_read(node: &Node, call: &Call, head: &FrameHead, spare: Box<Spare>) -> Outcome {
    let read = produce::read_through(node, call, &spare.request).await;
    produce_now(node, call, head, *spare, read)
}

fn produce_now(
    node: &Node,
    call: &Call,
    head: &FrameHead,
    mut spare: Spare,
    read: Vec<produce::Read>,
) -> Outcome {
    let silent = spare.request.acks == 0;
    let response = std::mem::take(&mut spare.response);
    match produce::handle(node, call, &spare.request, response, read) {
        produce::Produced::Done(response) => {
            let outcome =
                if silent { unanswered(&response) } else { reply(call.key, head, &response) };
            spare.response = response;
            spare.give_back();
            outcome
        }
        waiting => answered(node, call, head, waiting),
    }
}

/// Who waits for no answer learns of an error only by the end of the connection.
fn unanswered(response: &ProduceResponse) -> Outcome {
    let mut parts = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match parts.find(|part| part.error_code != 0) {
        Some(part) => {
            let code = ErrorCode(part.error_code);
            Outcome::Close(format!("a produce with acks=0 failed: {}", code.name()))
        }
        None => Outcome::Silent,
    }
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// Memory of the last produce of this thread and of its answer, for the next.
#[derive(Default)]
struct Spare {
    request: ProduceRequest,
    response: ProduceResponse,
}

impl Spare {
    /// Of how many topics, and of how many partitions of each, memory is kept.
    const KEPT_MAX: usize = 16;

    fn give_back(mut self) {
        let most = self.request.topic_data.capacity().max(self.response.responses.capacity());
        let mut is_small = most <= Self::KEPT_MAX;
        for topic in &mut self.request.topic_data {
            is_small &= topic.partition_data.capacity() <= Self::KEPT_MAX;
            // Or the frame could not be read into again.
            topic.partition_data.iter_mut().for_each(|it| it.records = None);
        }
        let mut answers = self.response.responses.iter();
        if is_small && answers.all(|it| it.partition_responses.capacity() <= Self::KEPT_MAX) {
            SPARE.set(self);
        }
    }
}

fn answered(node: &Node, call: &Call, head: &FrameHead, produced: produce::Produced) -> Outcome {
    match produced {
        produce::Produced::Done(response) => reply(call.key, head, &response),
        produce::Produced::Waiting(response) => {
            let (head, call, clock) = (head.clone(), call.clone(), node.clock.clone());
            let begun = clock.monotonic();
            let later = async move {
                let response = response.await;
                slow::tell(&clock, &call, begun);
                encoded(call.key, &head, &response, head.version).ok()
            };
            Outcome::Later(Box::pin(later))
        }
    }
}

/// Serves the first of the frames that are produces to one partition, if they may be one append.
fn produce_together(node: &Node, session: &Arc<Session>, frames: &[Bytes]) -> Vec<Outcome> {
    let (mut heads, mut client_id) = (Vec::new(), None);
    let mut run = produce::Run::default();
    for frame in frames {
        let mut d = Decoder::new(frame.clone());
        let Ok(mut head) = read_request_head(&mut d) else { break };
        let called = head.client_id.take();
        let version = head.version;
        if head.key != ApiKey::Produce.code() || !produce::API.serves(version) {
            break;
        }
        let Ok(request) = ProduceRequest::decode(&mut d, version) else { break };
        if !run.takes(version, request) {
            break;
        }
        client_id = client_id.or(called);
        heads.push(head);
    }
    let Some(head) = heads.first().filter(|_| heads.len() > 1) else { return Vec::new() };
    let (key, version, client_id) = (ApiKey::Produce, head.version, client_id.unwrap_or_default());
    let call = Call::new(session, key, version, client_id);
    let all = run.append(node, &call).unwrap_or_default();
    heads.iter().zip(all).map(|(head, produced)| answered(node, &call, head, produced)).collect()
}
