//! What a leader demands of a batch from outside.
//!
//! Every record of every batch is read through, those of compressed batches too: what is stored
//! must be readable, and the header must say what is there. The order of the rules is Apache
//! Kafka's, as a client sees the first that is broken.

use ottla_types::{ErrorCode, NO_PRODUCER, TimestampMs};

use crate::batch::{BadBatch, Batch};
use crate::codec::Compression;
use crate::record::Records;
use crate::repack::{RepackAs, repack};
use crate::survey::{Survey, survey_records};
use crate::unpack::with_scratch;
use crate::{HEADER_BYTES, OVERHEAD_BYTES};

/// Whose timestamps the records of a topic have (`message.timestamp.type`), and what is demanded
/// of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampRules {
    /// The producer's, within the bounds of `message.timestamp.before.max.ms` and
    /// `message.timestamp.after.max.ms`.
    Create {
        /// Now, in milliseconds.
        now_ms: TimestampMs,
        /// How far a timestamp may lie in the past, in milliseconds.
        before_max_ms: i64,
        /// How far a timestamp may lie in the future, in milliseconds.
        after_max_ms: i64,
    },
    /// The broker's, at the append.
    Append,
}

/// What is demanded.
#[derive(Clone, Copy, Debug)]
pub struct BatchRules {
    /// The largest batch, in bytes (`max.message.bytes`), before and after recompression.
    pub batch_bytes_max: usize,
    /// The largest segment, in bytes (`segment.bytes`): a batch must fit into one.
    pub segment_bytes_max: u64,
    /// May the batch be compressed with zstd? Not before Produce v7 (KIP-110).
    pub zstd_allowed: bool,
    /// Must every record have a key? It must in a compacted topic.
    pub keys_needed: bool,
    /// What is demanded of timestamps.
    pub timestamps: TimestampRules,
    /// To how many bytes a batch may unpack.
    pub unpacked_bytes_max: usize,
    /// How batches are stored (`compression.type`); `None` leaves them as they are.
    pub store_as: Option<RepackAs>,
}

/// A batch that may be appended.
#[derive(Clone, Debug)]
pub struct CheckedBatch<'a> {
    /// The batch, without the bytes after it.
    pub batch: Batch<'a>,
    /// The batch as it is to be stored, if it had to be compressed another way.
    pub repacked: Option<Vec<u8>>,
    /// The newest timestamp of its records, at least -1. The header may claim another.
    pub max_timestamp: TimestampMs,
}

impl CheckedBatch<'_> {
    /// The bytes to be stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.repacked.as_deref().unwrap_or(self.batch.bytes())
    }

    /// Is the batch stored as it came, its header included?
    #[must_use]
    pub fn is_as_it_came(&self) -> bool {
        let has_right_time = self.batch.max_timestamp() == self.max_timestamp;
        self.repacked.is_none() && has_right_time && !self.batch.is_append_time()
    }
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecords {
    /// No batch, or only a part of one.
    #[error("no complete batch in {0} bytes")]
    Empty(usize),
    /// More than one batch for one partition.
    #[error("a produce may have one batch per partition, this one has more")]
    MoreThanOne,
    /// The bytes after the batch are not a batch.
    #[error("what follows the batch is not a batch: {0}")]
    Behind(BadBatch),
    /// The bytes are no batch.
    #[error(transparent)]
    Broken(BadBatch),
    /// The checksum does not fit.
    #[error("the checksum of the batch does not match its bytes")]
    Crc,
    /// A producer leaves 0 there.
    #[error("the base offset of a produced batch is {0}, it must be 0")]
    BaseOffset(i64),
    /// Larger than the topic allows.
    #[error("the batch has {size} bytes, max.message.bytes is {max}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What is allowed.
        max: usize,
    },
    /// Larger than a segment.
    #[error("the batch has {size} bytes, segment.bytes is {max}")]
    LargerThanSegment {
        /// Its size.
        size: usize,
        /// What is allowed.
        max: u64,
    },
    /// Only brokers write control batches.
    #[error("clients may not write control batches")]
    Control,
    /// Counts and offsets contradict each other.
    #[error("the batch has {count} records for {offsets} offsets")]
    Count {
        /// Records by the header.
        count: i64,
        /// Offsets by the header.
        offsets: i64,
    },
    /// A producer id needs a sequence, a transaction a producer id.
    #[error("the batch's producer id, epoch and sequence contradict each other")]
    Producer,
    /// The codec came later than the version the client speaks.
    #[error("zstd compression needs Produce version 7 or later")]
    ZstdTooEarly,
    /// There is no such codec.
    #[error(transparent)]
    UnknownCodec(BadBatch),
    /// Records that break a rule.
    #[error("{}", errors_summary(.0))]
    Records(Vec<RecordError>),
}

/// A record that breaks a rule, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Which record of the batch, from 0.
    pub index: usize,
    /// The rule.
    pub rule: RecordRule,
}

/// A rule that a record breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordRule {
    /// A record of a compacted topic needs a key.
    #[error("a record of a compacted topic needs a key")]
    KeyMissing,
    /// A timestamp out of bounds.
    #[error("timestamp {timestamp} is out of the range [{from}, {to}]")]
    Timestamp {
        /// The timestamp.
        timestamp: TimestampMs,
        /// The oldest allowed.
        from: TimestampMs,
        /// The newest allowed.
        to: TimestampMs,
    },
    /// A record that is written again needs a time that can be written, or none.
    #[error("timestamp {0} is negative")]
    NegativeTime(TimestampMs),
    /// The offsets of the records do not count from the first.
    #[error("offset delta {0} is not the position of the record in its batch")]
    OffsetDelta(i64),
    /// A producer may not claim that its batch has the append time.
    #[error("the timestamp type of a produced batch must be CreateTime, it is LogAppendTime")]
    AppendTime,
}

impl RecordRule {
    const fn is_about_time(&self) -> bool {
        matches!(self, Self::Timestamp { .. } | Self::NegativeTime(_) | Self::AppendTime)
    }
}

fn errors_summary(errors: &[RecordError]) -> String {
    let first = errors.first().map(|it| format!("; record {}: {}", it.index, it.rule));
    format!("{} record(s) are not valid{}", errors.len(), first.unwrap_or_default())
}

impl BadRecords {
    /// The error code in the answer to the client.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Empty(_)
            | Self::MoreThanOne
            | Self::BaseOffset(_)
            | Self::Control
            | Self::Count { .. }
            | Self::Producer => ErrorCode::INVALID_RECORD,
            Self::Records(errors) => {
                if errors.iter().any(|it| it.rule.is_about_time()) {
                    ErrorCode::INVALID_TIMESTAMP
                } else {
                    ErrorCode::INVALID_RECORD
                }
            }
            Self::ZstdTooEarly => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            Self::Broken(broken) | Self::UnknownCodec(broken) => broken.code(),
            Self::Crc | Self::Behind(_) => ErrorCode::CORRUPT_MESSAGE,
            Self::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            Self::LargerThanSegment { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        }
    }

    /// Does the answer have the log start offset beside the error? As in Kafka, not with errors
    /// that are found before the batch reaches the log, or that are about its size or checksum.
    #[must_use]
    pub const fn tells_log_start(&self) -> bool {
        match self {
            Self::Empty(_)
            | Self::MoreThanOne
            | Self::Behind(_)
            | Self::Crc
            | Self::TooLarge { .. }
            | Self::LargerThanSegment { .. }
            | Self::ZstdTooEarly
            | Self::UnknownCodec(_) => false,
            Self::Broken(broken) => broken.is_inside(),
            _ => true,
        }
    }

    /// Would the batch unpack to more bytes than the rules allow?
    #[must_use]
    pub const fn is_too_large_unpacked(&self) -> bool {
        matches!(self, Self::Broken(BadBatch::TooLarge(_)))
    }

    /// Which records are wrong, and what is wrong with each (KIP-467).
    #[must_use]
    pub fn records(&self) -> Vec<(usize, String)> {
        match self {
            Self::Records(errors) => {
                errors.iter().map(|it| (it.index, it.rule.to_string())).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl BadBatch {
    /// The error code in the answer to the producer of the batch.
    const fn code(&self) -> ErrorCode {
        match self {
            // What cannot be unpacked is an unknown error in Kafka, too.
            Self::Codec(_) | Self::Compressed { .. } => ErrorCode::UNKNOWN_SERVER_ERROR,
            Self::Magic(0 | 1) | Self::Record { .. } | Self::Header { .. } => {
                ErrorCode::INVALID_RECORD
            }
            // The producer cuts it into smaller ones and tries again.
            Self::TooLarge(_) => ErrorCode::MESSAGE_TOO_LARGE,
            Self::Truncated { .. } | Self::Length(_) | Self::Magic(_) | Self::Checksum(_) => {
                ErrorCode::CORRUPT_MESSAGE
            }
        }
    }

    /// Is it about what is inside the batch?
    const fn is_inside(&self) -> bool {
        let is_outside = matches!(
            self,
            Self::Truncated { .. } | Self::Length(_) | Self::Magic(_) | Self::Checksum(_)
        );
        !is_outside
    }
}

/// The only batch of `bytes`. Half a batch after it is ignored, as Kafka does.
///
/// # Errors
/// There is no whole batch, or more than one, or what follows it cannot become one.
pub fn only_batch(bytes: &[u8]) -> Result<Batch<'_>, BadRecords> {
    let batch = match Batch::produced(bytes) {
        Ok(batch) => batch,
        Err(BadBatch::Truncated { .. }) => return Err(BadRecords::Empty(bytes.len())),
        Err(broken) => return Err(BadRecords::Broken(broken)),
    };
    let behind = &bytes[batch.bytes().len()..];
    if behind.len() >= OVERHEAD_BYTES {
        match Batch::produced(behind) {
            Ok(_) | Err(BadBatch::Magic(0 | 1)) => return Err(BadRecords::MoreThanOne),
            Err(BadBatch::Truncated { .. }) => {}
            Err(broken) => return Err(BadRecords::Behind(broken)),
        }
    }
    Ok(batch)
}

/// What Kafka checks before it looks up the producer: is it one, in a codec that the client's
/// version has?
///
/// # Errors
/// As [`only_batch`], or the batch is compressed with zstd too early. (Versions that have zstd do
/// not look at the codec here.)
pub fn at_a_glance(bytes: &[u8], zstd_allowed: bool) -> Result<Batch<'_>, BadRecords> {
    let batch = only_batch(bytes)?;
    match batch.compression() {
        Ok(Compression::Zstd) if !zstd_allowed => Err(BadRecords::ZstdTooEarly),
        Err(unknown) if !zstd_allowed => Err(BadRecords::UnknownCodec(unknown)),
        _ => Ok(batch),
    }
}

/// Looks a produced batch over, and compresses it another way if the topic wants that.
///
/// # Errors
/// The first rule that is broken.
pub fn check_batches<'a>(
    bytes: &'a [u8],
    rules: &BatchRules,
) -> Result<CheckedBatch<'a>, BadRecords> {
    let batch = at_a_glance(bytes, rules.zstd_allowed)?;
    let compression = batch.compression();
    if batch.base_offset() != 0 {
        return Err(BadRecords::BaseOffset(batch.base_offset()));
    }
    check_size(batch.bytes().len(), rules)?;
    if !batch.crc_is_right() {
        return Err(BadRecords::Crc);
    }
    let compression = compression.map_err(BadRecords::Broken)?;
    check_header(&batch)?;
    let packed = &batch.bytes()[HEADER_BYTES..];
    let repack_as = rules.store_as.filter(|to| to.codec != compression);
    if compression == Compression::None {
        return check_records(batch, packed, rules, repack_as);
    }
    with_scratch(|scratch| {
        let records = scratch.unpack(compression, packed, rules.unpacked_bytes_max);
        check_records(batch, records.map_err(BadRecords::Broken)?, rules, repack_as)
    })
}

/// Looks at the unpacked records of a batch.
#[inline]
fn check_records<'a>(
    batch: Batch<'a>,
    records: &[u8],
    rules: &BatchRules,
    repack_as: Option<RepackAs>,
) -> Result<CheckedBatch<'a>, BadRecords> {
    let survey = survey_records(&batch, records).map_err(BadRecords::Broken)?;
    if let Some(demanded) = Demanded::broken_by(&batch, &survey, rules) {
        refuse_records(demanded.errors(&batch, records))?;
    }
    match repack_as {
        None if !survey.in_order => refuse_records(offset_deltas(&batch, records))?,
        // A batch that is written again gets the right offsets by that.
        None => {}
        Some(_) => can_be_written(&batch, &survey, records)?,
    }
    let Some(to) = repack_as else {
        segment_size(batch.bytes().len(), rules)?;
        return Ok(CheckedBatch { batch, repacked: None, max_timestamp: survey.newest });
    };
    let repacked = repack(&batch, records, to, &survey).map_err(BadRecords::Broken)?;
    check_size(repacked.len(), rules)?;
    segment_size(repacked.len(), rules)?;
    // Written again, the records of a batch that claims the append time have that time.
    let all_have = batch.is_append_time().then(|| batch.max_timestamp());
    let max_timestamp = all_have.unwrap_or(survey.newest);
    Ok(CheckedBatch { batch, repacked: Some(repacked), max_timestamp })
}

fn check_size(size: usize, rules: &BatchRules) -> Result<(), BadRecords> {
    let max = rules.batch_bytes_max;
    if size > max { Err(BadRecords::TooLarge { size, max }) } else { Ok(()) }
}

fn segment_size(size: usize, rules: &BatchRules) -> Result<(), BadRecords> {
    let max = rules.segment_bytes_max;
    if size as u64 > max { Err(BadRecords::LargerThanSegment { size, max }) } else { Ok(()) }
}

fn check_header(batch: &Batch<'_>) -> Result<(), BadRecords> {
    let count = i64::from(batch.record_count());
    let offsets = i64::from(batch.last_offset_delta()) + 1;
    if count != offsets || count <= 0 {
        return Err(BadRecords::Count { count, offsets });
    }
    if batch.is_control() {
        return Err(BadRecords::Control);
    }
    let idempotent = batch.producer_id() >= 0;
    if idempotent && batch.base_sequence() < 0 || !idempotent && batch.is_transactional() {
        return Err(BadRecords::Producer);
    }
    Ok(())
}

fn refuse_records(errors: Vec<RecordError>) -> Result<(), BadRecords> {
    if errors.is_empty() { Ok(()) } else { Err(BadRecords::Records(errors)) }
}

/// May the batch be written again? A builder of Kafka's takes no negative epoch beside a producer
/// id, and no time below that of a record without one.
fn can_be_written(batch: &Batch<'_>, survey: &Survey, records: &[u8]) -> Result<(), BadRecords> {
    let claimed = batch.is_append_time().then(|| batch.max_timestamp());
    if claimed.unwrap_or(survey.oldest) < NO_TIMESTAMP {
        let own = Records::with_own_times(*batch, records).flatten().enumerate();
        let errors = own.filter_map(|(index, record)| {
            let timestamp = claimed.unwrap_or(record.timestamp);
            let rule = RecordRule::NegativeTime(timestamp);
            (timestamp < NO_TIMESTAMP).then_some(RecordError { index, rule })
        });
        refuse_records(errors.take(NAMED_MAX).collect())?;
    }
    if batch.producer_id() != NO_PRODUCER
        && (batch.producer_epoch() < 0 || batch.base_sequence() < 0)
    {
        return Err(BadRecords::Producer);
    }
    Ok(())
}

#[cold]
fn offset_deltas(batch: &Batch<'_>, records: &[u8]) -> Vec<RecordError> {
    let deltas = Records::with_own_times(*batch, records).flatten().map(|it| it.offset);
    let deltas = deltas.map(|offset| offset - batch.base_offset()).zip(0i64..).enumerate();
    let wrong = deltas.filter(|(_, (delta, due))| delta != due);
    let errors = wrong
        .map(|(index, (delta, _))| RecordError { index, rule: RecordRule::OffsetDelta(delta) });
    errors.take(NAMED_MAX).collect()
}

/// What is demanded of each record of a batch.
struct Demanded {
    keys: bool,
    times: Times,
}

#[derive(Clone, Copy)]
enum Times {
    Any,
    /// No time is right, as the batch claims the append time.
    None,
    Within(TimestampMs, TimestampMs),
}

/// How many records an answer names at most.
const NAMED_MAX: usize = 1000;

impl Demanded {
    /// What is demanded, if the batch may break it.
    fn broken_by(batch: &Batch<'_>, survey: &Survey, rules: &BatchRules) -> Option<Self> {
        let keys = rules.keys_needed && survey.keyless;
        let claimed = batch.is_append_time().then(|| batch.max_timestamp());
        let times = match rules.timestamps {
            TimestampRules::Append if claimed.is_some() => Times::None,
            TimestampRules::Append => Times::Any,
            TimestampRules::Create { .. } if claimed == Some(NO_TIMESTAMP) => Times::None,
            TimestampRules::Create { now_ms, before_max_ms, after_max_ms } => {
                let from = now_ms.saturating_sub(before_max_ms);
                let to = now_ms.saturating_add(after_max_ms);
                let (oldest, newest) = (survey.oldest, survey.newest);
                let is_within = |it| (from..=to).contains(&it);
                if from <= oldest && newest <= to && claimed.is_none_or(is_within) {
                    Times::Any
                } else {
                    Times::Within(from, to)
                }
            }
        };
        (keys || !matches!(times, Times::Any)).then_some(Self { keys, times })
    }

    /// The records that break it; none if it is only that records have no time at all.
    fn errors(&self, batch: &Batch<'_>, records: &[u8]) -> Vec<RecordError> {
        let claimed = batch.is_append_time().then(|| batch.max_timestamp());
        let own = Records::with_own_times(*batch, records).flatten().enumerate();
        let errors = own.filter_map(|(index, record)| {
            let rule = if self.keys && record.key.is_none() {
                Some(RecordRule::KeyMissing)
            } else {
                let times = claimed.into_iter().chain([record.timestamp]);
                { times }.find_map(|timestamp| self.times.broken_by(timestamp))
            };
            rule.map(|rule| RecordError { index, rule })
        });
        errors.take(NAMED_MAX).collect()
    }
}

impl Times {
    const fn broken_by(self, timestamp: TimestampMs) -> Option<RecordRule> {
        match self {
            Self::None => Some(RecordRule::AppendTime),
            Self::Within(from, to) if timestamp != NO_TIMESTAMP => {
                let is_within = from <= timestamp && timestamp <= to;
                if is_within { None } else { Some(RecordRule::Timestamp { timestamp, from, to }) }
            }
            Self::Any | Self::Within(..) => None,
        }
    }
}

/// The time of a record that has none, which any topic takes.
const NO_TIMESTAMP: TimestampMs = -1;
