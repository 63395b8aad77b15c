//! Produce between the wire and its handler: without an allocation, and several as one.
//!
//! The memory of a thread's last request and response is kept for its next; an answer that waits
//! for replicas leaves later ([`Outcome::Later`]); produces that came together to one partition are
//! one append.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use ottla_net::connection::Outcome;
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::{ApiKey, Decoder, FrameHead, Message, read_request_head};
use ottla_types::ErrorCode;

use crate::handlers::produce::{self, PreparedProduce};
use crate::node::Node;
use crate::produce_enlist::Enlisting;
use crate::reply::{encoded, reply};
use crate::request::{Call, Session};
use crate::slow;

/// Serves a produce; it may be answered later, or not at all.
pub async fn serve_produce(node: &Node, call: &Call, head: &FrameHead, body: Decoder) -> Outcome {
    match at_once(node, call, head, body) {
        Ok(outcome) => outcome,
        Err(waiting) => {
            let WaitingProduce { spare, enlisting } = *waiting;
            let mut read = Vec::new();
            if produce::must_read_through(node, call, &spare.request) {
                read = produce::read_through(node, call, &spare.request).await;
            }
            let enlisted = enlisting.finish(node, call).await;
            append_produce(node, call, head, spare, PreparedProduce { enlisted, read })
        }
    }
}

/// A produce that must be prepared first: what is awaited for that keeps back the requests of its
/// connection, so that they keep their order.
struct WaitingProduce {
    spare: SpareBuffers,
    enlisting: Enlisting,
}

/// One whose batches must be read through first, or whose transaction's coordinator has to be
/// waited for, comes back undone.
fn at_once(
    node: &Node,
    call: &Call,
    head: &FrameHead,
    mut body: Decoder,
) -> Result<Outcome, Box<WaitingProduce>> {
    let mut spare = SPARE.take();
    if let Err(error) = spare.request.decode_into(&mut body, head.version) {
        return Ok(Outcome::Close(format!("ProduceRequest v{}: {error}", head.version)));
    }
    produce::name_once(&mut spare.request, head.version);
    let enlisting = Enlisting::begin(node, call, &spare.request);
    if produce::must_read_through(node, call, &spare.request) {
        return Err(Box::new(WaitingProduce { spare, enlisting }));
    }
    match enlisting.now(node, call) {
        Ok(enlisted) => {
            let prepared = PreparedProduce { enlisted, read: Vec::new() };
            Ok(append_produce(node, call, head, spare, prepared))
        }
        Err(enlisting) => Err(Box::new(WaitingProduce { spare, enlisting: *enlisting })),
    }
}

fn append_produce(
    node: &Node,
    call: &Call,
    head: &FrameHead,
    mut spare: SpareBuffers,
    prepared: PreparedProduce,
) -> Outcome {
    let silent = spare.request.acks == 0;
    let response = std::mem::take(&mut spare.response);
    match produce::handle(node, call, &spare.request, response, prepared) {
        produce::ProduceOutcome::Done(response) => {
            let outcome =
                if silent { silent_outcome(&response) } else { reply(call.key, head, &response) };
            spare.response = response;
            spare.give_back();
            outcome
        }
        waiting => answer_produce(node, call, head, waiting),
    }
}

/// A producer with acks=0 gets no answer: the connection is closed to show it an error.
fn silent_outcome(response: &ProduceResponse) -> Outcome {
    let mut parts = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match parts.find(|part| part.error_code != 0) {
        Some(part) => {
            let code = ErrorCode(part.error_code);
            Outcome::Close(format!("produce with acks=0 failed: {}", code.name()))
        }
        None => Outcome::Silent,
    }
}

thread_local! {
    static SPARE: RefCell<SpareBuffers> = RefCell::default();
}

/// Memory of the last produce of this thread and of its answer, for the next.
#[derive(Default)]
struct SpareBuffers {
    request: ProduceRequest,
    response: ProduceResponse,
}

impl SpareBuffers {
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

fn answer_produce(
    node: &Node,
    call: &Call,
    head: &FrameHead,
    produced: produce::ProduceOutcome,
) -> Outcome {
    match produced {
        produce::ProduceOutcome::Done(response) => reply(call.key, head, &response),
        produce::ProduceOutcome::Waiting(response) => {
            let (head, call, clock) = (head.clone(), call.clone(), node.clock.clone());
            let (begun, numbers) = (clock.monotonic(), Arc::clone(&node.numbers));
            let counted = numbers.begin(&clock);
            let later = async move {
                let response = response.await;
                slow::tell(&clock, &call, begun);
                numbers.end(call.key, counted, &clock);
                encoded(call.key, &head, &response, head.version).ok()
            };
            Outcome::Later(Box::pin(later))
        }
    }
}

/// Serves the first of the frames that are produces to one partition, if they may be one append.
pub fn serve_together(node: &Node, session: &Arc<Session>, frames: &[Bytes]) -> Vec<Outcome> {
    if !session.scope.includes(ApiKey::Produce) {
        return Vec::new();
    }
    let (mut heads, mut client_id) = (Vec::new(), None);
    let mut run = produce::ProduceRun::default();
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
    let begun = node.numbers.begin(&node.clock);
    let all = run.append(node, &call).unwrap_or_default();
    let answer = |(head, produced): (&FrameHead, produce::ProduceOutcome)| {
        node.numbers.count_request(&produce::API, version);
        if matches!(produced, produce::ProduceOutcome::Done(_)) {
            node.numbers.end(key, begun, &node.clock);
        }
        answer_produce(node, &call, head, produced)
    };
    heads.iter().zip(all).map(answer).collect()
}
