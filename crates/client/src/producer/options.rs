//! A producer's options by Kafka's names, with Kafka's defaults where they make sense here.

use std::time::Duration;

use ottla_records::Compression;

use super::queue::BATCHES_IN_FLIGHT_MAX;
use crate::options::{
    Named, OptionError, OptionTable, non_empty_text, one_of, parse_flag, parse_number, put_named,
    put_value,
};

/// Which replicas must have a batch before it counts as written (`acks`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i16)]
pub enum Acks {
    /// No replica; the broker does not even answer.
    None = 0,
    /// The leader.
    Leader = 1,
    /// All replicas that are in sync.
    #[default]
    All = -1,
}

/// What to do with records that cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The call that tried to write them fails.
    #[default]
    Return,
    /// [`crate::Producer::failures`] has them, and the producer goes on with the next ones.
    Keep,
}

/// How a producer writes.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// `acks`
    pub acks: Acks,
    /// `compression.type`
    pub compression: Compression,
    /// Is each record written once, whatever happens to connections (`enable.idempotence`)? Only
    /// with [`Acks::All`].
    pub idempotent: bool,
    /// The size at which a batch is sent, in bytes (`batch.size`).
    pub batch_bytes: usize,
    /// The largest record that is sent, in bytes (`max.request.size`). No limit unless one is set:
    /// then the broker's limits are what counts.
    pub request_bytes_max: usize,
    /// How long a caller whose input pauses may let records wait for more (`linger.ms`). The
    /// producer itself sends when a batch is full and when it is flushed.
    pub linger: Duration,
    /// How long a record waits for its topic to be known (`max.block.ms`).
    pub max_block: Duration,
    /// How long a batch is tried again when it fails for a reason that may pass
    /// (`delivery.timeout.ms`).
    pub delivery_timeout: Duration,
    /// How many requests to a broker may be unanswered
    /// (`max.in.flight.requests.per.connection`); an idempotent producer has at most 5.
    pub requests_in_flight_max: usize,
    /// How long a broker waits for the replicas, in milliseconds (`request.timeout.ms`).
    pub timeout_ms: i32,
    /// The name under which it writes in transactions (`transactional.id`).
    pub transactional_id: Option<String>,
    /// For how long a transaction may be open, in milliseconds (`transaction.timeout.ms`).
    pub transaction_timeout_ms: i32,
    /// Does the producer report partition and offset of each record ([`crate::Producer::reports`])?
    pub reports: bool,
    /// What to do with records that cannot be written.
    pub on_failure: OnFailure,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::default(),
            compression: Compression::None,
            idempotent: true,
            batch_bytes: 64 << 10,
            request_bytes_max: usize::MAX,
            linger: Duration::from_millis(5),
            max_block: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(30),
            requests_in_flight_max: 5,
            timeout_ms: 30_000,
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            reports: false,
            on_failure: OnFailure::default(),
        }
    }
}

impl ProducerOptions {
    /// How many requests to a broker, and batches of a partition, may be unanswered.
    pub(super) const fn in_flight_max(&self) -> usize {
        let max = self.requests_in_flight_max;
        match self.idempotent && max > BATCHES_IN_FLIGHT_MAX {
            true => BATCHES_IN_FLIGHT_MAX,
            false => max,
        }
    }
}

/// Names that Kafka's producer knows and this one has no use for.
const UNUSED: &[&str] = &[
    "auto.include.jmx.reporter",
    "bootstrap.servers",
    "buffer.memory",
    "client.dns.lookup",
    "client.id",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "config.providers",
    "connections.max.idle.ms",
    "enable.metrics.push",
    "interceptor.classes",
    "key.serializer",
    "metadata.max.age.ms",
    "metadata.max.idle.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "partitioner.class",
    "partitioner.ignore.keys",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "transaction.two.phase.commit.enable",
    "value.serializer",
];

const USED: &[Named<ProducerOptions>] = &[
    ("acks", |options, value| {
        let all = [("0", Acks::None), ("1", Acks::Leader), ("all", Acks::All), ("-1", Acks::All)];
        put_value(&mut options.acks, one_of(value, &all))?;
        // As in Kafka, fewer acknowledgements switch idempotence off without a warning.
        options.idempotent &= options.acks == Acks::All;
        Ok(())
    }),
    ("batch.size", |options, value| {
        put_value(&mut options.batch_bytes, parse_number::<usize>(value).map(|it| it.max(1)))
    }),
    ("compression.type", |options, value| {
        let found = Compression::named(value.trim());
        put_value(
            &mut options.compression,
            found.ok_or_else(|| "it must be none, gzip, snappy, lz4 or zstd".to_owned()),
        )
    }),
    ("delivery.timeout.ms", |options, value| {
        put_value(&mut options.delivery_timeout, parse_number(value).map(Duration::from_millis))
    }),
    ("enable.idempotence", |options, value| {
        let wanted = parse_flag(value)?;
        if wanted && options.acks != Acks::All {
            return Err("idempotence needs acks=all".to_owned());
        }
        put_value(&mut options.idempotent, Ok(wanted))
    }),
    ("linger.ms", |options, value| {
        put_value(&mut options.linger, parse_number(value).map(Duration::from_millis))
    }),
    ("max.block.ms", |options, value| {
        put_value(&mut options.max_block, parse_number(value).map(Duration::from_millis))
    }),
    ("max.in.flight.requests.per.connection", |options, value| {
        put_value(
            &mut options.requests_in_flight_max,
            parse_number::<usize>(value).map(|it| it.max(1)),
        )
    }),
    ("max.request.size", |it, value| put_value(&mut it.request_bytes_max, parse_number(value))),
    ("request.timeout.ms", |it, value| put_value(&mut it.timeout_ms, parse_number(value))),
    ("transaction.timeout.ms", |options, value| {
        put_value(&mut options.transaction_timeout_ms, parse_number(value))
    }),
    ("transactional.id", |options, value| {
        put_value(&mut options.transactional_id, Ok(non_empty_text(value)))
    }),
];

impl ProducerOptions {
    /// Sets one.
    ///
    /// # Errors
    /// There is no such option, or it cannot have that value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        put_named(self, &OptionTable { used: USED, unused: UNUSED }, name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_acknowledgements_give_up_that_each_record_is_written_once() {
        let mut options = ProducerOptions::default();
        options.set("acks", "1").unwrap();
        assert_eq!((options.acks, options.idempotent), (Acks::Leader, false));
        let why = options.set("enable.idempotence", "true").unwrap_err().to_string();
        assert!(why.contains("acks=all"), "{why}");
        let why = options.set("compresion.type", "x").unwrap_err().to_string();
        assert!(why.contains("did you mean compression.type?"), "{why}");
    }
}
