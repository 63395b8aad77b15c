//! kafka-producer-perf-test.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ottla_client::{Producer, ProducerRecord};
use ottla_clock::Clock;

use super::{Letters, MEGABYTE, float, per, percentile};
use crate::options::{Opt, Parsed, flag, last, many};
use crate::session::{ToolError, ToolSession, read_file, tool_failed};

pub const OPTIONS: &[Opt] = &[
    last("topic", "NAME", "The topic."),
    last("num-records", "COUNT", "The number of records."),
    last("record-size", "BYTES", "The size of a record: random letters of this length."),
    last("payload-file", "FILE", "Values are parts of this file, picked at random."),
    last("payload-delimiter", "TEXT", "The text between two parts of the file (default: \\n)."),
    flag("payload-monotonic", "Values are ascending numbers."),
    last("throughput", "RATE", "The rate, in records a second; -1 for no limit."),
    many("producer-props", "NAME=VALUE", "The former name of --command-property."),
    many("command-property", "NAME=VALUE", "Settings of the producer."),
    last("producer.config", "FILE", "The former name of --command-config."),
    flag("print-metrics", "Print the producer's metrics."),
    last("transactional-id", "ID", "Write in transactions with this transactional id."),
    last(
        "transaction-duration-ms",
        "MS",
        "How long each transaction lasts; 3000 if only the id is given.",
    ),
    last("warmup-records", "COUNT", "Print a second summary without this number of first records."),
    last("reporting-interval", "MS", "How often progress is printed (default: 5000)."),
];

/// How many latencies are kept.
const SAMPLES_MAX: u64 = 500_000;
/// How long a transaction lasts if only its id is given.
const TRANSACTION_MS: u64 = 3000;

/// What it is not worth to sleep for.
const MOMENT: Duration = Duration::from_millis(1);

/// What is written.
enum Payload {
    Letters(Letters, usize),
    Parts(Letters, Vec<Bytes>),
    Counted,
}

impl Payload {
    fn of(args: &Parsed, clock: &Clock) -> Result<Self, ToolError> {
        let size = args.number::<usize>("record-size").map_err(ToolError::Usage)?;
        let letters = Letters::new(clock);
        match (size, args.one("payload-file"), args.has("payload-monotonic")) {
            (Some(0), None, false) => {
                Err(ToolError::Usage("--record-size should be greater than zero.".to_owned()))
            }
            (Some(size), None, false) => Ok(Self::Letters(letters, size)),
            (None, Some(file), false) => {
                let text = read_file(file)?;
                let divider = args.one("payload-delimiter").unwrap_or("\\n").replace("\\n", "\n");
                let parts = text.split(divider.as_str()).filter(|it| !it.is_empty());
                let parts: Vec<Bytes> = parts.map(|it| Bytes::from(it.to_owned())).collect();
                if parts.is_empty() {
                    return Err(tool_failed(format!(
                        "File does not exist or empty file provided: {file}"
                    )));
                }
                Ok(Self::Parts(letters, parts))
            }
            (None, None, true) => Ok(Self::Counted),
            (None, None, false) => Err(ToolError::Usage(
                "one of the arguments --record-size --payload-file --payload-monotonic is required"
                    .to_owned(),
            )),
            _ => Err(ToolError::Usage(
                "only one of --record-size, --payload-file and --payload-monotonic can be given"
                    .to_owned(),
            )),
        }
    }

    fn next(&mut self, number: u64) -> Bytes {
        match self {
            Self::Letters(letters, size) => letters.bytes(*size),
            Self::Parts(letters, parts) => {
                let at = usize::try_from(letters.next()).unwrap_or(0) % parts.len();
                parts[at].clone()
            }
            Self::Counted => Bytes::from(number.to_string()),
        }
    }
}

/// What was seen of some records.
#[derive(Default)]
struct LatencySummary {
    count: u64,
    bytes: u64,
    total_us: u64,
    max_us: u64,
    samples: Vec<u64>,
    /// Every so manieth latency is kept; 0 for none.
    every: u64,
    began: Duration,
}

impl LatencySummary {
    fn new(began: Duration, expected: u64) -> Self {
        let every = expected.div_ceil(SAMPLES_MAX).max(1);
        Self { began, every, ..Self::default() }
    }

    fn add(&mut self, latency: Duration, bytes: u64) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if self.every > 0 && self.count.is_multiple_of(self.every) {
            self.samples.push(us);
        }
        self.count += 1;
        self.bytes += bytes;
        self.total_us += us;
        self.max_us = self.max_us.max(us);
    }

    /// Records a second, megabytes a second, average and longest latency in milliseconds.
    fn rates(&self, now: Duration) -> [f64; 4] {
        let seconds = now.saturating_sub(self.began).as_secs_f64();
        [
            per(float(self.count), seconds),
            per(float(self.bytes) / MEGABYTE, seconds),
            per(float(self.total_us) / 1000.0, float(self.count)),
            float(self.max_us) / 1000.0,
        ]
    }

    fn summary(&mut self, now: Duration, what: &str) -> String {
        let [records, megabytes, average, longest] = self.rates(now);
        self.samples.sort_unstable();
        let at = |part| percentile(&self.samples, part) / 1000;
        let count = self.count;
        format!(
            "{count}{what} records sent, {records:.6} records/sec ({megabytes:.2} MB/sec), {average:.2} ms avg latency, {longest:.2} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999)
        )
    }
}

/// A run under way.
struct ProducePerf<'a, 'b> {
    session: &'a mut ToolSession<'b>,
    clock: Clock,
    /// When each record that is not yet acknowledged was sent, and its size.
    sent: VecDeque<Option<(Duration, u64)>>,
    /// The number of the first of those.
    first: u64,
    all: LatencySummary,
    window: LatencySummary,
    steady: Option<LatencySummary>,
    /// Was the end of the warmup printed?
    is_told_steady: bool,
    warmup: u64,
    interval: Duration,
}

impl ProducePerf<'_, '_> {
    fn write_all(
        &mut self,
        producer: &mut Producer,
        plan: &ProducePlan<'_>,
        mut payload: Payload,
    ) -> Result<(), ToolError> {
        let clock = self.clock.clone();
        let began = clock.monotonic();
        let mut open_since = None;
        for number in 0..plan.count {
            if plan.transaction.is_some() && open_since.is_none() {
                self.session.wait(producer.begin_transaction())?;
                open_since = Some(clock.monotonic());
            }
            let value = payload.next(number);
            if number == plan.warmup && plan.warmup > 0 {
                self.steady =
                    Some(LatencySummary::new(clock.monotonic(), plan.count - plan.warmup));
            }
            self.sent.push_back(Some((clock.monotonic(), value.len() as u64)));
            let message = ProducerRecord { value: Some(value), ..ProducerRecord::default() };
            self.session.wait(producer.send(plan.topic, message))?;
            // What comes faster than asked waits here, and nothing waits in a batch meanwhile.
            let due =
                plan.rate.map(|rate| began + Duration::from_secs_f64(per(float(number + 1), rate)));
            if let Some(due) = due.filter(|due| *due > clock.monotonic() + MOMENT) {
                self.session.wait(producer.flush())?;
                self.session.wait(clock.sleep_until(due));
            }
            self.settle(producer)?;
            let open_for = |since| clock.monotonic().saturating_sub(since);
            if let (Some(since), Some(duration)) = (open_since, plan.transaction)
                && open_for(since) >= duration
            {
                self.session.wait(producer.commit_transaction())?;
                open_since = None;
            }
        }
        if open_since.is_some() {
            self.session.wait(producer.commit_transaction())?;
        }
        self.session.wait(producer.flush())?;
        self.settle(producer)
    }

    /// Counts what has been acknowledged.
    fn settle(&mut self, producer: &mut Producer) -> Result<(), ToolError> {
        let now = self.clock.monotonic();
        for report in producer.reports() {
            let at = usize::try_from(report.number - self.first).unwrap_or(usize::MAX);
            let Some((sent, bytes)) = self.sent.get_mut(at).and_then(Option::take) else {
                continue;
            };
            let latency = now.saturating_sub(sent);
            self.all.add(latency, bytes);
            self.window.add(latency, bytes);
            if let Some(steady) = self.steady.as_mut().filter(|_| report.number >= self.warmup) {
                steady.add(latency, bytes);
            }
        }
        while let Some(None) = self.sent.front() {
            self.sent.pop_front();
            self.first += 1;
        }
        if now.saturating_sub(self.window.began) >= self.interval {
            let [records, megabytes, average, longest] = self.window.rates(now);
            let count = self.window.count;
            if self.steady.is_some() && !std::mem::replace(&mut self.is_told_steady, true) {
                writeln!(self.session.out, "In steady state.")?;
            }
            writeln!(
                self.session.out,
                "{count} records sent, {records:.1} records/sec ({megabytes:.2} MB/sec), {average:.1} ms avg latency, {longest:.1} ms max latency."
            )?;
            self.session.out.flush()?;
            self.window = LatencySummary { began: now, ..LatencySummary::default() };
        }
        Ok(())
    }
}

/// The transactions' id and duration, from the options or the producer's settings.
fn transaction_plan(
    args: &Parsed,
    named: Option<&str>,
    clock: &Clock,
) -> Result<Option<(String, Duration)>, ToolError> {
    let duration = args.number::<u64>("transaction-duration-ms").map_err(ToolError::Usage)?;
    if duration == Some(0) {
        let usage = "--transaction-duration-ms should be greater than zero.";
        return Err(ToolError::Usage(usage.to_owned()));
    }
    let id = args.one("transactional-id").or(named).map(str::to_owned);
    let made = || format!("performance-producer-{}", clock.random_uuid());
    let id = id.or_else(|| duration.map(|_| made()));
    let duration = Duration::from_millis(duration.unwrap_or(TRANSACTION_MS));
    Ok(id.map(|id| (id, duration)))
}

/// What is to be written, and how fast.
struct ProducePlan<'a> {
    topic: &'a str,
    count: u64,
    /// Records a second; none for as many as can be.
    rate: Option<f64>,
    warmup: u64,
    interval: Duration,
    /// How long each transaction is open, if there are any.
    transaction: Option<Duration>,
}

impl<'a> ProducePlan<'a> {
    fn of(args: &'a Parsed) -> Result<Self, String> {
        let count: u64 = args.required_number("num-records")?;
        let rate: f64 = args.required_number("throughput")?;
        let warmup = args.number("warmup-records")?.unwrap_or(0);
        if warmup >= count && warmup > 0 {
            return Err(format!(
                "The value for --warmup-records must be strictly fewer than the number of records in the test, {count}."
            ));
        }
        Ok(Self {
            topic: args.required("topic")?,
            count,
            rate: Some(rate).filter(|it| *it > 0.0),
            warmup,
            interval: Duration::from_millis(args.number("reporting-interval")?.unwrap_or(5000)),
            transaction: None,
        })
    }
}

pub fn run_producer_perf(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let mut plan = ProducePlan::of(args).map_err(ToolError::Usage)?;
    let clock = Clock::real();
    let payload = Payload::of(args, &clock)?;
    for (old, new) in
        [("producer-props", "command-property"), ("producer.config", "command-config")]
    {
        if args.has(old) {
            writeln!(
                session.out,
                "Option --{old} has been deprecated and will be removed in a future version. Use --{new} instead."
            )?;
        }
    }
    let words: Vec<&str> = args.all("producer-props").chain(args.all("command-property")).collect();
    let bootstrap = words.iter().find_map(|it| it.strip_prefix("bootstrap.servers="));
    session.bootstrap = session.bootstrap.take().or_else(|| bootstrap.map(str::to_owned));
    let mut options = session.producer_options(&[], words.into_iter())?;
    let transactions = transaction_plan(args, options.transactional_id.as_deref(), &clock)?;
    (options.transactional_id, plan.transaction) = transactions.unzip();
    options.reports = true;
    let mut producer = Producer::new(session.connect()?, options);
    if plan.transaction.is_some() {
        session.wait(producer.init_transactions())?;
    }
    let (count, warmup) = (plan.count, plan.warmup);
    if warmup > 0 {
        writeln!(
            session.out,
            "Warmup first {warmup} records. Steady state results will print after the complete test summary."
        )?;
    }
    let began = clock.monotonic();
    let mut run = ProducePerf {
        session,
        sent: VecDeque::new(),
        first: 0,
        all: LatencySummary::new(began, count),
        window: LatencySummary { began, ..LatencySummary::default() },
        steady: None,
        is_told_steady: false,
        warmup,
        interval: plan.interval,
        clock,
    };
    run.write_all(&mut producer, &plan, payload)?;
    let now = run.clock.monotonic();
    let ProducePerf { session, mut all, steady, .. } = run;
    writeln!(session.out, "{}", all.summary(now, ""))?;
    if let Some(mut steady) = steady {
        writeln!(session.out, "{}", steady.summary(now, " steady state"))?;
    }
    if args.has("print-metrics") {
        writeln!(session.out, "\n{:<92} Value", "Metric Name")?;
        for (name, figure) in [("record-send-total", all.count), ("outgoing-byte-total", all.bytes)]
        {
            let name = format!("producer-metrics:{name}:{{client-id=perf-producer-client}}");
            writeln!(session.out, "{name:<92}: {figure}.000")?;
        }
    }
    Ok(())
}
