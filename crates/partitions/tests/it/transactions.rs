//! A seeded simulation of transactions: the coordinator's machine, real partitions, and a network
//! that delays, reorders, repeats and loses; clients and the node crash.
//!
//! The invariants carry the names of `docs/protocol.md#transactions`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_coordinator::transaction::{
    AddPartitions, EndTransaction, InitProducer, MarkerWork, TransactionCommand,
    TransactionMachine, TransactionReply, TransactionSettings,
};
use ottla_machine::Machine;
use ottla_machine::testkit::MachineBench;
use ottla_partitions::{
    DataDir, Guard, Isolation, LedPartition, LogOptions, Marker, Partition, PartitionRules,
    PartitionSlice, Partitions, Terms,
};
use ottla_records::{BatchBuilder, BatchOptions, NewRecord, batches_in};
use ottla_storage::SimDisk;
use ottla_types::{ErrorCode, TopicPartition, Uuid};

const PARTITIONS: i32 = 3;
const TIMEOUT_MS: i32 = 5_000;
/// How many schedules run, unless `OTTLA_SCHEDULES` says so at build time.
const SCHEDULES: u64 = match option_env!("OTTLA_SCHEDULES") {
    Some(text) => number(text),
    None => 500,
};

const fn number(text: &str) -> u64 {
    let (bytes, mut at, mut value) = (text.as_bytes(), 0, 0);
    while at < bytes.len() {
        value = value * 10 + (bytes[at] - b'0') as u64;
        at += 1;
    }
    value
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
enum Ask {
    Init,
    /// A record to a partition, with its sequence number.
    Produce {
        producer: (i64, i16),
        partition: i32,
        sequence: i32,
        value: String,
    },
    End {
        producer: (i64, i16),
        commit: bool,
    },
}

/// A request on its way; several may be copies of one.
#[derive(Clone, Debug)]
struct Flying {
    client: usize,
    /// The client's life in which it was sent: an answer to an earlier one is lost.
    life: u32,
    request: u32,
    ask: Ask,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Open,
    Commit,
    Abort,
    /// The client does not know.
    Unknown,
}

/// A transaction as its client sees it.
#[derive(Clone, Debug)]
struct Tale {
    values: BTreeSet<String>,
    outcome: Outcome,
}

/// What a client is at.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// It waits for its producer id.
    Entering,
    /// Between transactions, or in one.
    Free,
    /// Some records are not acknowledged.
    Sending,
    Ending(bool),
    /// It was fenced, and begins a new life.
    Dead,
}

struct Client {
    id: String,
    life: u32,
    stage: Stage,
    producer: (i64, i16),
    sequences: BTreeMap<i32, i32>,
    /// Its transaction in the world's list.
    tale: Option<usize>,
    /// The request it waits for.
    waiting: Option<Flying>,
    requests: u32,
}

struct World {
    dice: Dice,
    version: i16,
    machine: MachineBench<TransactionMachine>,
    disk: SimDisk,
    partitions: Partitions,
    clients: Vec<Client>,
    flying: Vec<Flying>,
    /// Markers to be written, and those written for each work.
    works: Vec<(MarkerWork, BTreeSet<i32>)>,
    tales: Vec<Tale>,
    next_id: i64,
    stable: BTreeMap<i32, i64>,
    /// A planted bug: what is left out.
    bug: Bug,
}

/// What is left out on purpose, to see that the invariants notice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// The coordinator is not asked before a partition takes a transaction's first record.
    NoVerification,
    /// It is asked only afterwards.
    AppendBeforeAdd,
    /// A transaction ends when one of its markers is written.
    MarkersBeforeAll,
    /// A transaction ends without markers.
    EndWithoutMarkers,
    /// Markers that were on their way are not sent again after a crash.
    ForgetWorkOnCrash,
    /// A crash takes the last decision back.
    DecisionNotDurable,
    /// Every marker commits.
    AbortedIsCommitted,
    /// One partition gets another marker than the others.
    OnePartitionAborts,
    /// Repeated records are appended again.
    SequenceIgnored,
    /// A partition takes records of an epoch that is over.
    OldEpochServed,
    /// A second producer of a name does not fence the first.
    NoFence,
}

fn open(disk: &SimDisk) -> Partitions {
    let dir = DataDir::open(disk.files(), "/data".as_ref()).unwrap().unwrap();
    let clean = dir.take_clean_shutdown().unwrap().is_some();
    let all = Partitions::new(1, Clock::manual(1000), vec![(dir, Uuid::of(500), clean)]).unwrap();
    let log = LogOptions { segment_bytes: 2000, ..LogOptions::default() };
    let rules = PartitionRules { log, ..PartitionRules::default() };
    let place = |index| TopicPartition::new("data", index);
    let wanted: Vec<_> =
        (0..PARTITIONS).map(|index| crate::assigned(place(index), Uuid::of(700), &rules)).collect();
    assert!(all.reconcile(&wanted).is_empty());
    all
}

impl World {
    fn new(seed: u64, version: i16, bug: Bug) -> Self {
        let disk = SimDisk::new(seed);
        let client = |name: &str| Client {
            id: name.to_owned(),
            life: 0,
            stage: Stage::Dead,
            producer: (-1, -1),
            sequences: BTreeMap::new(),
            tale: None,
            waiting: None,
            requests: 0,
        };
        let mut machine =
            MachineBench::new(TransactionMachine::new(TransactionSettings::default()), 1_000_000);
        machine.run(TransactionCommand::Loaded);
        Self {
            dice: Dice(seed),
            version,
            machine,
            partitions: open(&disk),
            disk,
            // Two of one name: each is the other's zombie.
            clients: vec![client("a"), client("a"), client("b")],
            flying: Vec::new(),
            works: Vec::new(),
            tales: Vec::new(),
            next_id: 100,
            stable: BTreeMap::new(),
            bug,
        }
    }

    fn partition(&self, index: i32) -> Partition {
        self.partitions.find("data", index).unwrap()
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..40 => self.act(),
            40..75 => self.deliver(),
            75..88 => self.mark(),
            88..93 => self.send_again(),
            93..96 => {
                let at = self.dice.below(self.clients.len());
                self.crash_client(at);
            }
            96..98 => {
                let ms = i64::try_from(self.dice.below(4000)).unwrap();
                self.machine.pass(ms);
            }
            98 => self.crash_node(),
            _ => self.lose(),
        }
        self.look();
    }

    /// A client does the next thing.
    fn act(&mut self) {
        let at = self.dice.below(self.clients.len());
        if self.clients[at].waiting.is_some() {
            return;
        }
        match self.clients[at].stage.clone() {
            Stage::Dead => {
                self.clients[at].stage = Stage::Entering;
                self.ask(at, Ask::Init);
            }
            Stage::Entering => self.ask(at, Ask::Init),
            Stage::Free if self.clients[at].tale.is_none() => {
                self.clients[at].tale = Some(self.tales.len());
                self.tales.push(Tale { values: BTreeSet::new(), outcome: Outcome::Open });
            }
            Stage::Free if self.dice.one_in(4) => {
                let commit = !self.dice.one_in(3);
                let has_any =
                    self.clients[at].tale.is_some_and(|tale| !self.tales[tale].values.is_empty());
                if has_any {
                    self.clients[at].stage = Stage::Ending(commit);
                    let producer = self.clients[at].producer;
                    self.ask(at, Ask::End { producer, commit });
                }
            }
            Stage::Free => self.produce(at),
            Stage::Ending(commit) => {
                let producer = self.clients[at].producer;
                self.ask(at, Ask::End { producer, commit });
            }
            Stage::Sending => {}
        }
    }

    fn produce(&mut self, at: usize) {
        let partition = i32::try_from(self.dice.below(3)).unwrap();
        let client = &mut self.clients[at];
        let tale = client.tale.unwrap();
        let sequence = client.sequences.entry(partition).or_default();
        let value = format!("{tale}-{partition}-{sequence}");
        self.tales[tale].values.insert(format!("{partition}:{value}"));
        let (producer, sequence) = (client.producer, *sequence);
        client.stage = Stage::Sending;
        self.ask(at, Ask::Produce { producer, partition, sequence, value });
    }

    fn ask(&mut self, at: usize, ask: Ask) {
        let client = &mut self.clients[at];
        client.requests += 1;
        let flying = Flying { client: at, life: client.life, request: client.requests, ask };
        client.waiting = Some(flying.clone());
        self.flying.push(flying);
    }

    /// A client has no answer yet, and asks again; the first copy may still arrive.
    fn send_again(&mut self) {
        let at = self.dice.below(self.clients.len());
        if let Some(flying) = self.clients[at].waiting.clone() {
            self.flying.push(flying);
        }
    }

    fn lose(&mut self) {
        if !self.flying.is_empty() {
            let at = self.dice.below(self.flying.len());
            self.flying.swap_remove(at);
        }
    }

    fn crash_client(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some(tale) = client.tale.take() {
            self.tales[tale].outcome = Outcome::Unknown;
        }
        client.life += 1;
        client.stage = Stage::Dead;
        client.waiting = None;
        client.sequences.clear();
    }

    /// kill -9: what is in memory is gone, what was written is there.
    fn crash_node(&mut self) {
        let mut records = std::mem::take(&mut self.machine.records);
        if self.bug == Bug::DecisionNotDurable {
            records.pop();
        }
        let mut machine = TransactionMachine::new(TransactionSettings::default());
        records.iter().for_each(|record| machine.apply(record));
        let mut bench = MachineBench::new(machine, self.machine.now_ms);
        bench.records = records;
        if self.bug != Bug::ForgetWorkOnCrash {
            bench.run(TransactionCommand::Loaded);
        }
        self.machine = bench;
        self.works.clear();
        self.flying.clear();
        self.disk.crash();
        self.partitions = open(&self.disk);
        self.stable.clear();
    }

    /// A request arrives, any of them.
    fn deliver(&mut self) {
        if self.flying.is_empty() {
            return;
        }
        let at = self.dice.below(self.flying.len());
        let flying = self.flying.swap_remove(at);
        let id = self.clients[flying.client].id.clone();
        let answer = match &flying.ask {
            Ask::Init => self.init(id),
            Ask::Produce { producer, partition, sequence, value } => {
                let record = (*partition, *sequence, value.as_str());
                self.append(&id, *producer, record).map(|()| *producer)
            }
            Ask::End { producer, commit } => self.end(id, *producer, *commit),
        };
        // The answer may be lost too.
        let client = &self.clients[flying.client];
        let is_awaited = client.life == flying.life
            && client.waiting.as_ref().is_some_and(|it| it.request == flying.request);
        if is_awaited && !self.dice.one_in(8) {
            self.clients[flying.client].waiting = None;
            self.hear(flying.client, &flying.ask, answer);
        }
    }

    fn init(&mut self, id: String) -> Result<(i64, i16), ErrorCode> {
        self.next_id += 1;
        let fresh = Some(self.next_id);
        let known = self.machine.machine.stored().get(&id);
        if let Some(known) = known.filter(|it| self.bug == Bug::NoFence && !it.state.is_prepared())
        {
            return Ok((known.producer_id, known.epoch));
        }
        let init = InitProducer { id, timeout_ms: TIMEOUT_MS, known: None, fresh };
        match self.machine.run(TransactionCommand::Init(init)).1.pop() {
            Some((_, TransactionReply::Producer(told))) => told,
            other => panic!("{other:?}"),
        }
    }

    fn end(
        &mut self,
        id: String,
        producer: (i64, i16),
        commit: bool,
    ) -> Result<(i64, i16), ErrorCode> {
        self.next_id += 1;
        let (client_version, fresh) = (self.version, Some(self.next_id));
        let end = EndTransaction { id, producer, commit, client_version, fresh };
        match self.machine.run(TransactionCommand::End(end)).1.pop() {
            Some((_, TransactionReply::Producer(told))) => told,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, id: &str, producer: (i64, i16), index: i32) -> Result<(), ErrorCode> {
        let partitions = [("data".to_owned(), [index].into())].into();
        let (id, client_version) = (id.to_owned(), self.version);
        let add = AddPartitions { id, producer, partitions, verify_only: false, client_version };
        match self.machine.run(TransactionCommand::Add(add)).1.pop() {
            Some((_, TransactionReply::Added(added))) => added,
            other => panic!("{other:?}"),
        }
    }

    /// What the node does with a produce: verify, then append.
    fn append(
        &mut self,
        id: &str,
        producer: (i64, i16),
        (index, sequence, value): (i32, i32, &str),
    ) -> Result<(), ErrorCode> {
        let partition = self.partition(index);
        let mut guard: Option<Guard> = partition.to_verify(producer.0, producer.1);
        let asks = !matches!(self.bug, Bug::NoVerification | Bug::AppendBeforeAdd);
        if guard.is_some() && asks {
            self.add(id, producer, index)?;
            // Much may happen between the coordinator's answer and the append.
            if self.dice.one_in(3) {
                self.mark();
            }
        }
        if self.bug == Bug::NoVerification {
            guard = partition.to_verify(producer.0, producer.1);
        }
        let epoch = if self.bug == Bug::OldEpochServed { producer.1.max(40) } else { producer.1 };
        let options = BatchOptions {
            producer_id: producer.0,
            producer_epoch: epoch,
            base_sequence: sequence,
            transactional: true,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp: 900, value, ..NewRecord::default() });
        let batch = Bytes::from(builder.build().unwrap());
        if self.bug == Bug::SequenceIgnored {
            let epoch = partition.ends().leader_epoch;
            let appended = LedPartition::new(partition, epoch).append_own(&batch, 1000);
            return appended.map(|_| ()).map_err(|it| it.code());
        }
        let terms = Terms { now_ms: 1000, for_all: true, zstd_allowed: true, guard };
        partition.append(&batch, &terms).map_err(|it| it.code())?;
        if guard.is_some() && self.bug == Bug::AppendBeforeAdd {
            return self.add(id, producer, index);
        }
        Ok(())
    }

    /// The client gets an answer.
    fn hear(&mut self, at: usize, ask: &Ask, answer: Result<(i64, i16), ErrorCode>) {
        let again = |code: &ErrorCode| {
            matches!(*code, ErrorCode::CONCURRENT_TRANSACTIONS | ErrorCode::NOT_ENOUGH_REPLICAS)
        };
        match (ask, answer) {
            (Ask::Init, Ok(producer)) => {
                let client = &mut self.clients[at];
                (client.producer, client.stage) = (producer, Stage::Free);
                client.sequences.clear();
            }
            (Ask::Produce { partition, .. }, Ok(_)) => {
                let client = &mut self.clients[at];
                *client.sequences.entry(*partition).or_default() += 1;
                client.stage = Stage::Free;
            }
            (Ask::End { commit, .. }, Ok(producer)) => {
                let client = &mut self.clients[at];
                let tale = client.tale.take().unwrap();
                self.tales[tale].outcome = if *commit { Outcome::Commit } else { Outcome::Abort };
                if client.producer != producer {
                    client.sequences.clear();
                }
                (client.producer, client.stage) = (producer, Stage::Free);
            }
            (ask, Err(code)) if again(&code) => {
                let ask = ask.clone();
                self.ask(at, ask);
            }
            (_, Err(_)) => self.crash_client(at),
        }
    }

    /// A marker is written, any of those that are due.
    fn mark(&mut self) {
        if let Some((_, TransactionReply::Work(work))) =
            self.machine.run(TransactionCommand::TakeWork).1.pop()
        {
            self.works.extend(work.into_iter().map(|work| (work, BTreeSet::new())));
        }
        if self.works.is_empty() {
            return;
        }
        let at = self.dice.below(self.works.len());
        let (work, done) = &self.works[at];
        let all: Vec<i32> = work.partitions.values().flatten().copied().collect();
        let left: Vec<i32> = all.iter().copied().filter(|it| !done.contains(it)).collect();
        let is_enough = left.is_empty()
            || self.bug == Bug::EndWithoutMarkers
            || self.bug == Bug::MarkersBeforeAll && left.len() < all.len();
        if is_enough {
            let (work, _) = self.works.swap_remove(at);
            self.machine.run(TransactionCommand::Marked(work));
            return;
        }
        // Also one that was written before: its answer was lost.
        let index = all[self.dice.below(all.len())];
        let marker = Marker {
            producer_id: work.producer.0,
            epoch: work.producer.1,
            commit: match self.bug {
                Bug::AbortedIsCommitted => true,
                Bug::OnePartitionAborts if index == 0 => false,
                _ => work.commit,
            },
            coordinator_epoch: 9,
            is_bumped: work.version >= 2,
        };
        let written = self.partition(index).end_transaction(&marker, 1000);
        if written.is_ok() || !self.dice.one_in(2) {
            self.works[at].1.insert(index);
        }
    }

    /// What must hold at every moment.
    fn look(&mut self) {
        for index in 0..PARTITIONS {
            let ends = self.partition(index).ends();
            assert!(ends.last_stable <= ends.high_watermark, "T3 LsoSafe: beyond the watermark");
            let before = self.stable.insert(index, ends.last_stable).unwrap_or(0);
            assert!(before <= ends.last_stable, "T3 LsoSafe: it went back");
        }
    }

    /// The network is repaired, no transaction begins, and time passes.
    fn settle(&mut self) {
        for at in 0..self.clients.len() {
            self.crash_client(at);
        }
        while !self.flying.is_empty() {
            self.deliver();
        }
        for _ in 0..4 {
            self.machine.pass(i64::from(TIMEOUT_MS) + 1);
            for _ in 0..200 {
                self.mark();
            }
        }
    }

    /// What a reader of committed records sees in a partition, in its order.
    fn visible(&self, index: i32) -> Vec<String> {
        let partition = self.partition(index);
        let (mut all, mut at) = (Vec::new(), 0);
        let ends = partition.ends();
        assert_eq!(ends.last_stable, ends.high_watermark, "T8 NoHang: a transaction is still open");
        while at < ends.last_stable {
            let read =
                partition.read(PartitionSlice::new(at, 1 << 20, Isolation::Committed)).unwrap();
            let mut aborting: BTreeSet<i64> = BTreeSet::new();
            let mut aborted = read.aborted.unwrap().into_iter().peekable();
            for batch in batches_in(&read.records).map(|it| it.unwrap()) {
                while let Some((id, _)) = aborted.next_if(|it| it.1 <= batch.last_offset()) {
                    aborting.insert(id);
                }
                let unpacked = batch.unpack(1 << 20).unwrap();
                if batch.is_control() {
                    let record = unpacked.records().next().unwrap().unwrap();
                    if record.key.unwrap()[3] == 0 {
                        aborting.remove(&batch.producer_id());
                    }
                } else if !aborting.contains(&batch.producer_id()) {
                    for record in unpacked.records() {
                        let value = String::from_utf8(record.unwrap().value.unwrap().to_vec());
                        all.push(format!("{index}:{}", value.unwrap()));
                    }
                }
                at = batch.next_offset();
            }
        }
        all
    }

    fn judge(&self) -> usize {
        let all: Vec<String> = (0..PARTITIONS).flat_map(|index| self.visible(index)).collect();
        let seen: BTreeSet<&String> = all.iter().collect();
        assert_eq!(seen.len(), all.len(), "T1 NoDuplicate");
        let mut committed = 0;
        for (at, tale) in self.tales.iter().enumerate() {
            let there = tale.values.iter().filter(|value| seen.contains(value)).count();
            match tale.outcome {
                Outcome::Commit => {
                    assert_eq!(there, tale.values.len(), "T4 ReadCommittedAtomic: {at} is torn");
                    committed += 1;
                }
                Outcome::Abort => assert_eq!(there, 0, "T4 ReadCommittedAtomic: {at} was aborted"),
                // The last record may not have been sent, when its client broke off.
                Outcome::Open | Outcome::Unknown => {
                    let all_or_none = there == 0 || there >= tale.values.len() - 1;
                    assert!(all_or_none, "T4 ReadCommittedAtomic: {there} of {tale:?}");
                }
            }
        }
        committed
    }
}

/// One schedule; how many transactions were committed in it.
fn play(seed: u64, version: i16, bug: Bug) -> usize {
    let mut world = World::new(seed, version, bug);
    for _ in 0..600 {
        world.step();
    }
    world.settle();
    world.judge()
}

fn is_found(seed: u64, bug: Bug) -> bool {
    std::panic::catch_unwind(|| play(seed, 2, bug)).is_err()
}

#[test]
fn transactions_are_whole_or_not_there_whatever_happens() {
    let mut committed = 0;
    for seed in 0..SCHEDULES {
        let played = std::panic::catch_unwind(|| play(seed, 2, Bug::None));
        committed += played.unwrap_or_else(|_| panic!("the schedule of seed {seed}"));
    }
    assert!(committed > usize::try_from(SCHEDULES).unwrap(), "{committed} were committed");
}

#[test]
fn what_is_left_out_is_noticed() {
    let bugs = [
        Bug::NoVerification,
        Bug::AppendBeforeAdd,
        Bug::MarkersBeforeAll,
        Bug::EndWithoutMarkers,
        Bug::ForgetWorkOnCrash,
        Bug::DecisionNotDurable,
        Bug::AbortedIsCommitted,
        Bug::OnePartitionAborts,
        Bug::SequenceIgnored,
        Bug::OldEpochServed,
        Bug::NoFence,
    ];
    let alive: Vec<_> =
        bugs.into_iter().filter(|bug| !(0..200).any(|seed| is_found(seed, *bug))).collect();
    assert!(alive.is_empty(), "no check found {alive:?}");
}

/// Where all transactions of a producer share an epoch, what comes late can end or join a later one
/// (KAFKA-17754). The protocol allows that; only an epoch for each transaction (KIP-890) prevents
/// it.
#[test]
fn the_older_protocol_tears_in_such_a_network() {
    let tears = |seed| std::panic::catch_unwind(|| play(seed, 0, Bug::None)).is_err();
    assert!((0..200).any(tears));
}
