use bytes::Bytes;
use ottla_types::ErrorCode;

use super::*;
use crate::error::ClientError;
use crate::producer::ProducerRecord;
use crate::producer::options::ProducerOptions;
use crate::producer::queue::{PendingRecord, ProducerIdentity};

const ME: ProducerIdentity = ProducerIdentity { id: 7, epoch: 0 };
const TOPIC_ID: Uuid = Uuid::of(9);

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("t", index)
}

/// Queues with so many batches of one record for each of these partitions.
fn queues(partitions: std::ops::Range<i32>, batches: u64) -> ProducerQueues {
    let mut queues = ProducerQueues::new(BATCHES_IN_FLIGHT_MAX);
    for index in partitions {
        for number in 0..batches {
            let message =
                ProducerRecord { value: Some(Bytes::from_static(b"v")), ..Default::default() };
            let record = PendingRecord { number, timestamp: 0, message, bytes: 1 };
            queues.change(&partition(index), |queue| {
                queue.collect(record);
                queue.close_batch();
            });
        }
    }
    queues
}

/// All that are to be placed have this leader.
fn place_all(queues: &mut ProducerQueues, leader: NodeId) -> usize {
    let mut count = 0;
    while let Some(place) = queues.first_unplaced() {
        queues.place_at(leader, &ReadyPartition { place, topic_id: TOPIC_ID });
        count += 1;
    }
    count
}

fn ready(queues: &ProducerQueues, leader: NodeId) -> Vec<i32> {
    let mut all = Vec::new();
    let mut next = queues.next_ready(leader, None);
    while let Some(it) = next {
        next = queues.next_ready(leader, Some(&it.place));
        all.push(it.place.partition);
    }
    all
}

/// Sends a partition's next batch; its number.
fn send(queues: &mut ProducerQueues, index: i32) -> u64 {
    queues.change(&partition(index), |queue| {
        let due = queue.next_due(ME, &ProducerOptions::default(), Duration::ZERO);
        let (number, _) = due.expect("a batch is due");
        queue.sent(number);
        number
    })
}

fn fail(queues: &mut ProducerQueues, index: i32, number: u64) {
    let (what, code) = ("t".to_owned(), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    queues.change(&partition(index), |queue| {
        queue.failed(number, ClientError::Refused { what, code });
    });
}

#[test]
fn what_cannot_be_sent_is_not_looked_at() {
    let mut queues = queues(0..3, 2);
    assert_eq!(place_all(&mut queues, 1), 3);
    assert_eq!(ready(&queues, 1), [0, 1, 2]);
    // The first batch of a producer id goes alone, so its partition has to wait.
    let number = send(&mut queues, 1);
    assert_eq!((ready(&queues, 1), queues.first_unplaced()), (vec![0, 2], None));
    // Answered, its leader is looked up again; the others stay where they are.
    queues.change(&partition(1), |queue| queue.written(number));
    assert_eq!(place_all(&mut queues, 2), 1);
    assert_eq!((queues.ready_leaders(), ready(&queues, 2)), (vec![1, 2], vec![1]));
}

#[test]
fn a_partition_is_ready_until_as_many_batches_are_on_their_way_as_may_be() {
    let mut queues = queues(0..1, 8);
    place_all(&mut queues, 1);
    let first = send(&mut queues, 0);
    queues.change(&partition(0), |queue| queue.written(first));
    place_all(&mut queues, 1);
    for _ in 0..BATCHES_IN_FLIGHT_MAX {
        assert_eq!(ready(&queues, 1), [0]);
        send(&mut queues, 0);
    }
    assert!(!queues.has_due() && !queues.is_all_written());
}

#[test]
fn a_failure_is_settled_when_all_is_answered_and_sent_again_when_its_time_has_come() {
    let mut queues = queues(0..1, 3);
    place_all(&mut queues, 1);
    let first = send(&mut queues, 0);
    queues.change(&partition(0), |queue| queue.written(first));
    place_all(&mut queues, 1);
    let (second, third) = (send(&mut queues, 0), send(&mut queues, 0));
    fail(&mut queues, 0, second);
    assert_eq!((queues.failed(), queues.has_due()), (vec![], false), "one is still on its way");
    fail(&mut queues, 0, third);
    assert_eq!(queues.failed(), [partition(0)]);
    let at = Duration::from_secs(1);
    queues.change(&partition(0), |queue| {
        assert!(queue.settle_failures(Duration::ZERO).must_wait);
        queue.retry_at = Some(at);
    });
    assert_eq!(
        (queues.failed(), queues.first_retry(), queues.has_due()),
        (vec![], Some(at), false)
    );
    queues.end_pauses(at - Duration::from_millis(1));
    assert!(!queues.has_due());
    queues.end_pauses(at);
    assert_eq!((queues.first_retry(), queues.first_unplaced()), (None, Some(partition(0))));
}

#[test]
fn leaders_that_are_forgotten_are_looked_up_again() {
    let mut queues = queues(0..2, 1);
    queues.change(&TopicPartition::new("u", 0), |queue| {
        let message = ProducerRecord::default();
        queue.collect(PendingRecord { number: 0, timestamp: 0, message, bytes: 1 });
        queue.close_batch();
    });
    assert_eq!(place_all(&mut queues, 1), 3);
    queues.forget_leaders(Some("t"));
    assert_eq!(queues.next_ready(1, None).map(|it| it.place), Some(TopicPartition::new("u", 0)));
    assert_eq!(place_all(&mut queues, 2), 2);
    queues.forget_leaders(None);
    assert_eq!((queues.ready_leaders(), place_all(&mut queues, 3)), (vec![], 3));
}

#[test]
fn all_is_written_when_no_partition_has_a_batch() {
    let mut queues = queues(0..2, 1);
    place_all(&mut queues, 1);
    for index in 0..2 {
        assert!(!queues.is_all_written());
        let number = send(&mut queues, index);
        queues.change(&partition(index), |queue| queue.written(number));
    }
    assert!(queues.is_all_written() && !queues.has_due());
}
