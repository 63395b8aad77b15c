//! Every state of a transactional id against everything that can be asked of it.

use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use ottla_coordinator::transaction::{
    AddPartitions, EndTransaction, InitProducer, MarkerWork, Transaction, TransactionCommand,
    TransactionMachine, TransactionPartitions, TransactionRecord, TransactionReply,
    TransactionSettings, TransactionStatus,
};
use ottla_machine::Machine;
use ottla_machine::testkit::MachineBench;
use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_records::batches_in;

const ID: &str = "t";
const TIMEOUT_MS: i32 = 60_000;

pub fn stage() -> MachineBench<TransactionMachine> {
    let machine = TransactionMachine::new(TransactionSettings::default());
    let mut bench = MachineBench::new(machine, 1_000_000);
    bench.run(TransactionCommand::Loaded);
    bench
}

fn of(bench: &MachineBench<TransactionMachine>) -> Option<&Transaction> {
    bench.machine.stored().get(ID)
}

/// The producer as of now.
fn producer(bench: &MachineBench<TransactionMachine>) -> (i64, i16) {
    of(bench).map_or((7, 0), |it| (it.producer_id, it.epoch))
}

fn some_partitions() -> TransactionPartitions {
    [("data".to_owned(), [0, 1].into())].into()
}

fn init(known: Option<(i64, i16)>) -> TransactionCommand {
    TransactionCommand::Init(InitProducer {
        id: ID.to_owned(),
        timeout_ms: TIMEOUT_MS,
        known,
        fresh: Some(70),
    })
}

fn add(producer: (i64, i16), verify_only: bool, client_version: i16) -> TransactionCommand {
    let (id, partitions) = (ID.to_owned(), some_partitions());
    TransactionCommand::Add(AddPartitions { id, producer, partitions, verify_only, client_version })
}

fn end(producer: (i64, i16), commit: bool, client_version: i16) -> TransactionCommand {
    TransactionCommand::End(EndTransaction {
        id: ID.to_owned(),
        producer,
        commit,
        client_version,
        fresh: Some(71),
    })
}

fn take_work(bench: &mut MachineBench<TransactionMachine>) -> Vec<MarkerWork> {
    match bench.run(TransactionCommand::TakeWork).1.pop() {
        Some((_, TransactionReply::Work(work))) => work,
        other => panic!("no work: {other:?}"),
    }
}

/// What was asked, as a line of the table, and how.
type Event = (&'static str, fn(&mut MachineBench<TransactionMachine>, i16) -> String);

fn told(bench: &mut MachineBench<TransactionMachine>, command: TransactionCommand) -> String {
    let before = producer(bench);
    match bench.run(command).1.pop().map(|(_, reply)| reply) {
        Some(TransactionReply::Producer(Ok((id, epoch)))) => {
            let id = if id == before.0 { String::new() } else { format!(" id {id}") };
            format!("ok {epoch:+}{id}", epoch = epoch - before.1)
        }
        Some(TransactionReply::Producer(Err(code)) | TransactionReply::Added(Err(code))) => {
            code.name().to_owned()
        }
        Some(TransactionReply::Added(Ok(()))) => "ok".to_owned(),
        Some(TransactionReply::Done) => "done".to_owned(),
        other => format!("{other:?}"),
    }
}

const EVENTS: [Event; 19] = [
    ("init", |b, _| told(b, init(None))),
    ("init, with its id and epoch", |b, _| {
        let known = producer(b);
        told(b, init(Some(known)))
    }),
    ("init, with its former epoch", |b, _| {
        let (id, epoch) = producer(b);
        told(b, init(Some((id, epoch - 1))))
    }),
    ("init, with another producer id", |b, _| told(b, init(Some((99, 0))))),
    ("add", |b, version| {
        let known = producer(b);
        told(b, add(known, false, version))
    }),
    ("add, a zombie", |b, version| {
        let (id, epoch) = producer(b);
        told(b, add((id, epoch - 1), false, version))
    }),
    ("add, another producer id", |b, version| told(b, add((99, 0), false, version))),
    ("verify", |b, _| {
        let known = producer(b);
        told(b, add(known, true, 0))
    }),
    ("verify, a zombie", |b, _| {
        let (id, epoch) = producer(b);
        told(b, add((id, epoch - 1), true, 0))
    }),
    ("commit", |b, version| {
        let known = producer(b);
        told(b, end(known, true, version))
    }),
    ("abort", |b, version| {
        let known = producer(b);
        told(b, end(known, false, version))
    }),
    ("commit, one epoch ago", |b, version| {
        let (id, epoch) = producer(b);
        told(b, end((id, epoch - 1), true, version))
    }),
    ("abort, one epoch ago", |b, version| {
        let (id, epoch) = producer(b);
        told(b, end((id, epoch - 1), false, version))
    }),
    ("commit, two epochs ago", |b, version| {
        let (id, epoch) = producer(b);
        told(b, end((id, epoch - 2), true, version))
    }),
    ("commit, another producer id", |b, version| told(b, end((99, 0), true, version))),
    ("markers written", |b, _| match take_work(b).pop() {
        Some(work) => {
            assert!(take_work(b).is_empty(), "two would write them");
            told(b, TransactionCommand::Marked(work))
        }
        None => "no work".to_owned(),
    }),
    ("markers written, of an earlier epoch", |b, _| match take_work(b).pop() {
        Some(mut work) => {
            work.producer.1 -= 1;
            told(b, TransactionCommand::Marked(work))
        }
        None => "no work".to_owned(),
    }),
    ("its timeout passes", |b, _| {
        b.pass(i64::from(TIMEOUT_MS) + 1);
        "".to_owned()
    }),
    ("eight days pass", |b, _| {
        b.pass(8 * 24 * 60 * 60 * 1000);
        "".to_owned()
    }),
];

const STATES: [Option<TransactionStatus>; 7] = [
    None,
    Some(TransactionStatus::Empty),
    Some(TransactionStatus::Ongoing),
    Some(TransactionStatus::PrepareCommit),
    Some(TransactionStatus::PrepareAbort),
    Some(TransactionStatus::CompleteCommit),
    Some(TransactionStatus::CompleteAbort),
];

fn name(state: Option<TransactionStatus>) -> &'static str {
    state.map_or("none", TransactionStatus::name)
}

/// A machine whose id is in this state, at an epoch above 2.
fn reach(state: Option<TransactionStatus>, version: i16) -> MachineBench<TransactionMachine> {
    let mut bench = stage();
    let Some(state) = state else { return bench };
    for _ in 0..5 {
        told(&mut bench, init(None));
    }
    if state == TransactionStatus::Empty {
        return bench;
    }
    let known = producer(&bench);
    assert_eq!(told(&mut bench, add(known, false, version)), "ok");
    let commit =
        matches!(state, TransactionStatus::PrepareCommit | TransactionStatus::CompleteCommit);
    if state != TransactionStatus::Ongoing {
        told(&mut bench, end(known, commit, version));
    }
    if matches!(state, TransactionStatus::CompleteCommit | TransactionStatus::CompleteAbort) {
        let work = take_work(&mut bench).pop().unwrap();
        told(&mut bench, TransactionCommand::Marked(work));
    }
    assert_eq!(of(&bench).unwrap().state, state);
    bench
}

/// The table: for each version and event, what every state answers and becomes.
fn table() -> String {
    let mut all = String::new();
    for version in [0, 2] {
        for (event, act) in EVENTS {
            writeln!(all, "transaction.version {version}: {event}").unwrap();
            for state in STATES {
                let mut bench = reach(state, version);
                let epoch = producer(&bench).1;
                let answer = act(&mut bench, version);
                let now = of(&bench);
                let becomes = name(now.map(|it| it.state));
                let bumped = now.map_or(0, |it| it.epoch - epoch);
                let bumped = if bumped == 0 { String::new() } else { format!(" {bumped:+}") };
                let from = name(state);
                writeln!(all, "  {from:<15} {answer:<28} {becomes}{bumped}").unwrap();
            }
        }
    }
    all
}

/// A row that is missing or not as agreed fails; `docs/protocol.md#transactions` says where
/// `transactions.txt` comes from (KIP-98, KIP-890, Kafka 4.3.1).
#[test]
fn every_state_answers_every_event_as_agreed() {
    let found = table();
    assert_eq!(
        found.lines().count(),
        2 * EVENTS.len() * (1 + STATES.len()),
        "every pair has a row"
    );
    ottla_expected::check_table("crates/coordinator/tests/it/transactions.txt", &found);
}

#[test]
fn ids_change_when_epochs_run_out() {
    let mut bench = stage();
    let exhausted = Transaction { epoch: 32_766, ..Transaction::new(7, TIMEOUT_MS, 0) };
    let record = TransactionRecord { id: ID.to_owned(), value: Some(exhausted) };
    bench.machine.apply(&record);
    assert_eq!(told(&mut bench, add((7, 32_766), false, 2)), "ok");
    // The answer has the producer's next id and epoch, but they are valid only after the markers.
    assert_eq!(told(&mut bench, end((7, 32_766), true, 2)), "ok -32766 id 71");
    assert_eq!(told(&mut bench, add((71, 0), false, 2)), "INVALID_PRODUCER_ID_MAPPING");
    let work = take_work(&mut bench).pop().unwrap();
    assert_eq!(work.producer, (7, 32_767));
    told(&mut bench, TransactionCommand::Marked(work));
    assert_eq!(producer(&bench), (71, 0));
    assert_eq!(of(&bench).unwrap().previous_id, 7);
    // The producer lost the answer: the same answer again, and no second transaction.
    assert_eq!(told(&mut bench, end((7, 32_766), true, 2)), "ok +0");
    assert_eq!(told(&mut bench, end((7, 32_766), false, 2)), "INVALID_TXN_STATE");
    assert_eq!(told(&mut bench, add((71, 0), false, 2)), "ok");
    assert_eq!(told(&mut bench, init(Some((7, 32_766)))), "CONCURRENT_TRANSACTIONS");
}

#[test]
fn a_producer_that_did_not_hear_its_epoch_is_told_again() {
    let mut bench = stage();
    told(&mut bench, init(None));
    assert_eq!(told(&mut bench, init(Some((70, 0)))), "ok +1");
    assert_eq!(
        told(&mut bench, init(Some((70, 0)))),
        "ok +0",
        "the same answer to the same question"
    );
    assert_eq!(told(&mut bench, init(None)), "ok +1");
    assert_eq!(told(&mut bench, init(Some((70, 0)))), "PRODUCER_FENCED");
}

#[test]
fn a_timeout_that_is_too_long_is_refused() {
    let mut bench = stage();
    for timeout_ms in [0, -1, 900_001] {
        let request = InitProducer { id: ID.to_owned(), timeout_ms, known: None, fresh: Some(1) };
        assert_eq!(
            told(&mut bench, TransactionCommand::Init(request)),
            "INVALID_TRANSACTION_TIMEOUT"
        );
    }
    let request = InitProducer { id: ID.to_owned(), timeout_ms: 900_000, known: None, fresh: None };
    let reply = bench.run(TransactionCommand::Init(request)).1.pop().unwrap().1;
    assert_eq!(reply, TransactionReply::NeedsId, "an id is drawn only for who needs one");
}

#[test]
fn what_was_loaded_goes_on_where_it_stood() {
    for state in STATES {
        let before = reach(state, 2);
        let mut machine = TransactionMachine::new(TransactionSettings::default());
        for record in &before.records {
            let (key, value) = record.encode();
            machine.apply(&TransactionRecord::decode(key, value).unwrap().unwrap());
        }
        assert_eq!(machine.stored(), before.machine.stored(), "G4 LoadEqualsRun");
        let mut bench = MachineBench::new(machine, before.now_ms);
        bench.run(TransactionCommand::Loaded);
        let work = take_work(&mut bench);
        assert_eq!(
            !work.is_empty(),
            state.is_some_and(TransactionStatus::is_prepared),
            "markers are sent again"
        );
        bench.pass(i64::from(TIMEOUT_MS) + 1);
        let is_aborted = of(&bench).is_some_and(|it| it.state == TransactionStatus::PrepareAbort);
        let was_open =
            matches!(state, Some(TransactionStatus::Ongoing | TransactionStatus::PrepareAbort));
        assert_eq!(is_aborted, was_open, "{state:?}: the timeout still counts");
    }
}

#[test]
fn kafkas_records_are_written_as_they_were_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/data-dir");
    let mut count = 0;
    for index in 0..4 {
        let folder = root.join(format!("__transaction_state-{index}"));
        let log = std::fs::read(folder.join("00000000000000000000.log")).unwrap();
        for batch in batches_in(&log) {
            let unpacked = batch.unwrap().unpack(1 << 20).unwrap();
            for record in unpacked.records() {
                let record = record.unwrap();
                let key = Bytes::copy_from_slice(record.key.unwrap());
                let value = record.value.map(Bytes::copy_from_slice);
                let it = TransactionRecord::decode(key.clone(), value.clone()).unwrap().unwrap();
                let again = it.encode();
                // Kafka writes topics in the order of its hash map.
                if it.value.as_ref().is_some_and(|it| it.partitions.len() > 1) {
                    let again = TransactionRecord::decode(again.0, again.1).unwrap();
                    assert_eq!(again, Some(it), "at {} of {index}", record.offset);
                } else {
                    assert_eq!(again, (key, value), "at {} of {index}", record.offset);
                }
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count}");
    let odd = TransactionRecord::decode(
        Bytes::from_static(b"\0\0\0\x01t"),
        Some(Bytes::from_static(b"\0\x63")),
    );
    assert!(odd.is_err(), "a version that is not known is not guessed at");
}

#[test]
fn transactions_are_listed_by_state_producer_age_and_name() {
    let mut bench = reach(Some(TransactionStatus::Ongoing), 2);
    let other = InitProducer { id: "other".to_owned(), timeout_ms: 1, known: None, fresh: Some(9) };
    bench.run(TransactionCommand::Init(other));
    bench.now_ms += 500;
    let mut listed = |request: ListTransactionsRequest| match bench
        .run(TransactionCommand::List(request))
        .1
        .pop()
    {
        Some((_, TransactionReply::Listed(all))) => {
            all.map(|all| all.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
        }
        other => panic!("{other:?}"),
    };
    let all = || ListTransactionsRequest { duration_filter: -1, ..Default::default() };
    assert_eq!(listed(all()).unwrap(), ["other", ID]);
    let state_filters = vec!["Ongoing".to_owned()];
    assert_eq!(listed(ListTransactionsRequest { state_filters, ..all() }).unwrap(), [ID]);
    let producer_id_filters = vec![9];
    assert_eq!(
        listed(ListTransactionsRequest { producer_id_filters, ..all() }).unwrap(),
        ["other"]
    );
    let aged = |duration_filter| ListTransactionsRequest { duration_filter, ..all() };
    assert_eq!(listed(aged(499)).unwrap(), ["other", ID], "not begun: older than any duration");
    assert_eq!(listed(aged(500)).unwrap(), ["other"]);
    let named = |pattern: &str| {
        let transactional_id_pattern = Some(pattern.to_owned());
        ListTransactionsRequest { transactional_id_pattern, ..all() }
    };
    assert_eq!(listed(named("o.*r")).unwrap(), ["other"]);
    assert!(listed(named("o")).unwrap().is_empty(), "the whole name");
    assert_eq!(listed(named("(")).unwrap_err().name(), "INVALID_REGULAR_EXPRESSION");
}
