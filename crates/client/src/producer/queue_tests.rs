use super::*;

const ME: ProducerIdentity = ProducerIdentity { id: 7, epoch: 0 };
const OTHER: ProducerIdentity = ProducerIdentity { id: 8, epoch: 0 };

fn record(number: u64, bytes: usize) -> PendingRecord {
    PendingRecord { number, timestamp: 0, message: ProducerRecord::default(), bytes }
}

/// A queue with so many batches of two records each, of a producer that the broker knows.
fn queue(batches: u64) -> PartitionQueue {
    let (identity, known_producer) = (ME, Some(ME.id));
    let mut queue = PartitionQueue { identity, known_producer, ..PartitionQueue::default() };
    for number in 0..batches {
        queue.collect(record(2 * number, 10));
        queue.collect(record(2 * number + 1, 10));
        queue.close_batch();
    }
    queue
}

/// Sends all that may be sent; the number and the first sequence of each batch.
fn send(queue: &mut PartitionQueue, identity: ProducerIdentity) -> Vec<(u64, i32)> {
    let options = ProducerOptions::default();
    let mut sent = Vec::new();
    while queue.has_due(BATCHES_IN_FLIGHT_MAX) {
        let due = queue.next_due(identity, &options, Duration::ZERO).unwrap();
        queue.sent(due.0);
        let batch = ottla_records::batches_in(&due.1).next().unwrap().unwrap();
        assert_eq!(batch.producer_id(), identity.id);
        sent.push((due.0, batch.base_sequence()));
    }
    sent
}

fn refused(code: ErrorCode) -> ClientError {
    ClientError::Refused { what: "t-0".to_owned(), code }
}

fn unanswered() -> ClientError {
    let source = std::sync::Arc::new(std::io::ErrorKind::UnexpectedEof.into());
    ClientError::Unanswered { address: "a:1".to_owned(), source }
}

const LATER: Duration = Duration::from_secs(1000);

#[test]
fn at_most_five_batches_are_on_their_way() {
    let mut queue = queue(7);
    assert_eq!(send(&mut queue, ME), [(0, 0), (1, 2), (2, 4), (3, 6), (4, 8)]);
    assert_eq!(queue.written(0).len(), 2);
    assert_eq!(send(&mut queue, ME), [(5, 10)]);
}

#[test]
fn the_first_batch_of_a_producer_id_goes_alone() {
    // A broker that does not know the producer takes batch 1 for its first.
    let mut queue = queue(3);
    assert_eq!(send(&mut queue, OTHER), [(0, 0)]);
    queue.failed(0, refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(queue.settle_failures(Duration::ZERO).lost.is_empty());
    assert_eq!(send(&mut queue, OTHER), [(0, 0)]);
    queue.written(0);
    assert_eq!(send(&mut queue, OTHER), [(1, 2), (2, 4)]);
}

#[test]
fn a_retry_keeps_order_and_sequence_numbers() {
    let mut queue = queue(4);
    send(&mut queue, ME);
    queue.written(0);
    queue.failed(1, refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    queue.failed(2, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert!(!queue.has_due(5));
    assert!(queue.settle_failures(Duration::ZERO).lost.is_empty(), "one is still on its way");
    queue.failed(3, unanswered());
    assert!(queue.settle_failures(Duration::ZERO).lost.is_empty());
    assert_eq!(send(&mut queue, ME), [(1, 2), (2, 4), (3, 6)]);
}

#[test]
fn what_is_refused_for_good_leaves_no_gap() {
    let mut queue = queue(3);
    send(&mut queue, ME);
    queue.failed(0, refused(ErrorCode::INVALID_RECORD));
    queue.failed(1, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    queue.failed(2, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    let lost = queue.settle_failures(Duration::ZERO).lost;
    assert_eq!((lost.len(), lost[0].records[0].number, lost[0].is_uncertain), (1, 0, false));
    assert_eq!(send(&mut queue, ME), [(1, 0), (2, 2)]);
}

#[test]
fn what_is_refused_in_the_middle_leaves_no_gap() {
    let mut queue = queue(4);
    send(&mut queue, ME);
    queue.failed(0, unanswered());
    queue.failed(1, refused(ErrorCode::INVALID_RECORD));
    queue.failed(2, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    queue.failed(3, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(queue.settle_failures(Duration::ZERO).lost.len(), 1);
    assert_eq!(send(&mut queue, ME), [(0, 0), (2, 2), (3, 4)]);
}

#[test]
fn after_an_unclear_loss_nothing_is_written_under_numbers_that_may_be_used_up() {
    let mut queue = queue(3);
    send(&mut queue, ME);
    queue.failed(0, unanswered());
    queue.failed(1, unanswered());
    queue.failed(2, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    let lost = queue.settle_failures(LATER).lost;
    // The second, too, may have been written: under another identity it would be there twice.
    assert_eq!(lost.iter().map(|it| it.is_uncertain).collect::<Vec<_>>(), [true, true, true]);
    queue.collect(record(9, 1));
    queue.close_batch();
    assert_eq!(send(&mut queue, OTHER), [(3, 0)]);
}

#[test]
fn a_batch_that_is_too_large_is_sent_in_parts() {
    let mut queue = queue(2);
    send(&mut queue, ME);
    queue.failed(0, refused(ErrorCode::MESSAGE_TOO_LARGE));
    queue.failed(1, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert!(queue.settle_failures(Duration::ZERO).lost.is_empty());
    assert_eq!(send(&mut queue, ME), [(2, 0), (3, 1), (1, 2)]);
    // A single record cannot be split.
    queue.failed(2, refused(ErrorCode::MESSAGE_TOO_LARGE));
    queue.failed(3, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    queue.failed(1, refused(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(queue.settle_failures(Duration::ZERO).lost[0].records[0].number, 0);
    assert_eq!(send(&mut queue, ME), [(3, 0), (1, 1)]);
}

#[test]
fn batches_on_their_way_keep_the_identity_that_they_were_sent_under() {
    let mut queue = queue(1);
    send(&mut queue, ME);
    queue.collect(record(2, 1));
    queue.close_batch();
    // Asked for under another identity, it still follows the one on its way.
    let due = queue.next_due(OTHER, &ProducerOptions::default(), Duration::ZERO).unwrap();
    let batch = ottla_records::batches_in(&due.1).next().unwrap().unwrap();
    assert_eq!((batch.producer_id(), batch.base_sequence()), (ME.id, 2));
}

#[test]
fn records_are_split_in_the_middle_of_their_bytes() {
    for (sizes, first) in [
        (&[1, 1][..], 1),
        (&[1, 1, 1, 1], 2),
        (&[9, 1, 1, 1], 1),
        (&[1, 1, 1, 9], 3),
        (&[4, 4, 4], 1),
    ] {
        let records = (0..).zip(sizes).map(|(number, bytes)| record(number, *bytes)).collect();
        let (a, b) = split_in_halves(records);
        assert_eq!((a.len(), b.len()), (first, sizes.len() - first), "{sizes:?}");
        let numbers: Vec<u64> = a.iter().chain(&b).map(|it| it.number).collect();
        assert!(numbers.is_sorted(), "{sizes:?} in another order: {numbers:?}");
    }
}
