//! Produced batches, good and bad: what is refused and how, what is stored, what look-ups find.

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ottla_records::{
    Batch, BatchBuilder, BatchOptions, Compression, HEADER_BYTES, NewRecord, crc32c,
};

use super::History;
use super::player::Player;
use crate::wire::LoadError;

pub const ALL: &[History] = &[
    ("data broken", broken_batches),
    ("data compressed", compressed_batches),
    ("data around a batch", around_batch),
    ("data times", batch_times),
    ("data timestamp types", timestamp_types),
    ("data duplicates", duplicate_batches),
    ("data refused records", refused_records),
    ("data sizes", batch_sizes),
    ("data fetched at once", fetched_at_once),
];

const HOUR: i64 = 3_600_000;

/// What a produce came to; times count from the history's.
#[derive(Debug)]
#[expect(dead_code, reason = "it is written down")]
struct Produced {
    what: &'static str,
    error_code: i16,
    base_offset: i64,
    append_time: Option<i64>,
    log_start: i64,
    records: Vec<i32>,
}

/// What a look-up by time found.
#[derive(Debug)]
#[expect(dead_code, reason = "it is written down")]
struct Found {
    what: &'static str,
    error_code: i16,
    time: Option<i64>,
    offset: i64,
}

/// The first batch that is stored.
#[derive(Debug)]
#[expect(dead_code, reason = "it is written down")]
struct Stored {
    error_code: i16,
    batches: usize,
    attributes: Option<i16>,
    newest: Option<i64>,
    checksum: Option<bool>,
}

/// One history's topic, and when it began.
struct Topic {
    name: String,
    now: i64,
}

impl Topic {
    fn new(play: &mut Player, name: &str, settings: &[(&str, &str)]) -> Result<Self, LoadError> {
        let (name, _) = play.topic_with(name, 1, settings)?;
        Ok(Self { name, now: Clock::real().wall_ms() })
    }

    fn since(&self, time: i64) -> Option<i64> {
        (time != -1).then(|| time - self.now)
    }

    fn produce(
        &self,
        play: &mut Player,
        what: &'static str,
        acks: i16,
        batch: &[u8],
    ) -> Result<(), LoadError> {
        let records = Some(Bytes::copy_from_slice(batch));
        let partition_data = vec![PartitionProduceData { records, ..Default::default() }];
        let topic =
            TopicProduceData { name: self.name.clone(), partition_data, ..Default::default() };
        let topic_data = vec![topic];
        let request = ProduceRequest { acks, timeout_ms: 5000, topic_data, ..Default::default() };
        let answer = play.quietly(&request, 8)?;
        let parts = answer.responses.iter().flat_map(|it| &it.partition_responses);
        for part in parts {
            play.note(&Produced {
                what,
                error_code: part.error_code,
                base_offset: part.base_offset,
                append_time: self.since(part.log_append_time_ms),
                log_start: part.log_start_offset,
                records: part.record_errors.iter().map(|it| it.batch_index).collect(),
            });
        }
        Ok(())
    }

    fn at(&self, play: &mut Player, what: &'static str, timestamp: i64) -> Result<(), LoadError> {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let name = self.name.clone();
        let topics =
            vec![ListOffsetsTopic { name, partitions: vec![partition], ..Default::default() }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let answer = play.quietly(&request, 7)?;
        for part in answer.topics.iter().flat_map(|it| &it.partitions) {
            play.note(&Found {
                what,
                error_code: part.error_code,
                time: self.since(part.timestamp),
                offset: part.offset,
            });
        }
        Ok(())
    }

    /// The stored batches from an offset on; without enough bytes the answer takes a minute.
    fn fetch(&self, play: &mut Player, offset: i64, bounds: FetchBounds) -> Result<(), LoadError> {
        let FetchBounds(bytes_min, bytes_max, part_max) = bounds;
        let partition = FetchPartition {
            fetch_offset: offset,
            partition_max_bytes: part_max,
            ..Default::default()
        };
        let topic = self.name.clone();
        let topics = vec![FetchTopic { topic, partitions: vec![partition], ..Default::default() }];
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 60_000,
            min_bytes: bytes_min,
            max_bytes: bytes_max,
            session_epoch: -1,
            topics,
            ..Default::default()
        };
        let answer = play.quietly(&request, 11)?;
        for part in answer.responses.iter().flat_map(|it| &it.partitions) {
            let bytes = part.records.as_deref().unwrap_or_default();
            let first = Batch::first(bytes).ok();
            play.note(&Stored {
                error_code: part.error_code,
                batches: ottla_records::batches_in(bytes).flatten().count(),
                attributes: first.map(|it| it.attributes()),
                newest: first.and_then(|it| self.since(it.max_timestamp())),
                checksum: first.map(|it| it.crc_is_right()),
            });
        }
        Ok(())
    }
}

/// How many bytes a fetch waits for, how many it takes at most, and how many of a partition.
#[derive(Clone, Copy)]
struct FetchBounds(i32, i32, i32);

const ALL_OF_IT: FetchBounds = FetchBounds(1, 1 << 20, 1 << 20);

/// A batch of records with these times, keys, and values of so many bytes.
fn build_batch(
    times: &[i64],
    value_bytes: usize,
    options: BatchOptions,
) -> Result<Vec<u8>, LoadError> {
    let mut builder = BatchBuilder::new(options);
    let value = vec![b'v'; value_bytes];
    for timestamp in times {
        let (key, value) = (Some(&b"k"[..]), Some(&value[..]));
        builder.push(&NewRecord { timestamp: *timestamp, key, value, headers: &[] });
    }
    Ok(builder.build().map_err(std::io::Error::other)?)
}

fn plain_batch(times: &[i64]) -> Result<Vec<u8>, LoadError> {
    build_batch(times, 9, BatchOptions::default())
}

/// Length and checksum put right.
fn seal_batch(mut batch: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(batch.len() - 12).unwrap_or(0);
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[21..]).to_be_bytes();
    batch[17..21].copy_from_slice(&crc);
    batch
}

/// The header of a batch with other records.
fn with_body(head: &[u8], body: &[u8]) -> Vec<u8> {
    seal_batch([&head[..HEADER_BYTES], body].concat())
}

fn patch_batch(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    seal_batch(batch)
}

fn with_max_time(batch: Vec<u8>, time: i64) -> Vec<u8> {
    patch_batch(batch, 35, &time.to_be_bytes())
}

fn broken_batches(play: &mut Player) -> Result<(), LoadError> {
    let topic = Topic::new(play, "t", &[])?;
    let one = plain_batch(&[topic.now])?;
    let two = plain_batch(&[topic.now, topic.now])?;
    let (body, both) = (&one[HEADER_BYTES..], &two[HEADER_BYTES..]);
    let null_name: &[u8] = &[18, 0, 0, 0, 2, b'k', 2, b'v', 2, 1, 2];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("good", one.clone()),
        ("a record is cut", with_body(&one, &body[..body.len() - 1])),
        ("more than counted", with_body(&one, both)),
        ("less than counted", with_body(&two, body)),
        ("bytes behind", with_body(&one, &[body, &[0; 3]].concat())),
        ("a header without a name", with_body(&one, null_name)),
        ("longer than its fields", with_body(&one, &[20, 0, 0, 0, 2, b'k', 2, b'v', 0, 9, 9])),
        ("no record", patch_batch(with_body(&one, &[]), 57, &[0; 4])),
        ("count and offsets", patch_batch(one.clone(), 23, &[0, 0, 0, 7])),
        ("base offset", patch_batch(one.clone(), 0, &[0, 0, 0, 0, 0, 0, 0, 5])),
        ("control", patch_batch(one.clone(), 21, &[0, 0x20])),
        ("codec", patch_batch(one.clone(), 21, &[0, 5])),
        ("no sequence", patch_batch(one.clone(), 43, &[0; 10])),
    ];
    for (what, bytes) in cases {
        topic.produce(play, what, -1, &bytes)?;
    }
    topic.at(play, "the end", -1)?;
    topic.at(play, "by time", topic.now)
}

fn compressed_batches(play: &mut Player) -> Result<(), LoadError> {
    let topic = Topic::new(play, "t", &[])?;
    let other = Topic::new(play, "lz4", &[("compression.type", "lz4")])?;
    let other = Topic { now: topic.now, ..other };
    let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for compression in codecs {
        play.about(compression.name());
        let times = [topic.now; 3];
        let good =
            build_batch(&times, 500, BatchOptions { compression, ..BatchOptions::default() })?;
        let one =
            build_batch(&times[..1], 500, BatchOptions { compression, ..BatchOptions::default() })?;
        let packed = &good[HEADER_BYTES..];
        for topic in [&topic, &other] {
            topic.produce(play, "good", -1, &good)?;
            let garbage = with_body(&good, &[1, 2, 3].repeat(10));
            topic.produce(play, "garbage", -1, &garbage)?;
            let cut = with_body(&good, &packed[..packed.len() - 1]);
            topic.produce(play, "cut", -1, &cut)?;
            let less = with_body(&good, &one[HEADER_BYTES..]);
            topic.produce(play, "less than counted", -1, &less)?;
            topic.produce(play, "more than counted", -1, &with_body(&one, packed))?;
        }
    }
    topic.at(play, "the end", -1)?;
    other.at(play, "the end", -1)?;
    other.fetch(play, 0, ALL_OF_IT)
}

fn around_batch(play: &mut Player) -> Result<(), LoadError> {
    let topic = Topic::new(play, "t", &[])?;
    let good = plain_batch(&[topic.now])?;
    let then = |behind: &[u8]| [&good[..], behind].concat();
    let mut old = good.clone();
    old[16] = 1;
    let mut unknown = good.clone();
    unknown[16] = 3;
    let mut flipped = good.clone();
    *flipped.last_mut().ok_or(LoadError::Thread)? ^= 1;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("half a batch", good[..40].to_vec()),
        ("a byte is missing", good[..good.len() - 1].to_vec()),
        ("two", then(&good)),
        ("a byte behind", then(&[0])),
        ("half a batch behind", then(&good[..40])),
        ("zeros behind", then(&[0; 20])),
        ("an old format", old.clone()),
        ("no format", unknown),
        ("another checksum", flipped),
    ];
    for (what, bytes) in cases {
        topic.produce(play, what, -1, &bytes)?;
    }
    topic.produce(play, "acks 2", 2, &good)?;
    topic.produce(play, "acks -2, an old format", -2, &old)?;
    let nowhere = Topic { name: format!("{}-nowhere", topic.name), now: topic.now };
    nowhere.produce(play, "acks 2, no topic", 2, &good)?;
    topic.at(play, "the end", -1)
}

fn batch_times(play: &mut Player) -> Result<(), LoadError> {
    for (name, settings) in [("t", &[][..]), ("packed", &[("compression.type", "gzip")])] {
        play.about(name);
        let topic = Topic::new(play, name, settings)?;
        let now = topic.now;
        for lie in [now - 5000, now + 5000, -1] {
            let lies = with_max_time(plain_batch(&[now, now + 2, now + 1])?, lie);
            topic.produce(play, "a header that lies", -1, &lies)?;
        }
        topic.fetch(play, 0, ALL_OF_IT)?;
        topic.at(play, "within", now + 1)?;
        topic.at(play, "later than all", now + 4000)?;
        topic.at(play, "the newest", -3)?;
    }
    Ok(())
}

fn timestamp_types(play: &mut Player) -> Result<(), LoadError> {
    let create = Topic::new(play, "create", &[])?;
    let settings = [("message.timestamp.type", "LogAppendTime")];
    let append = Topic::new(play, "append", &settings)?;
    let claims = |time| {
        let append_time = Some(time);
        build_batch(&[time, time], 9, BatchOptions { append_time, ..BatchOptions::default() })
    };
    create.produce(play, "claims the append time", -1, &claims(create.now)?)?;
    create.produce(play, "claims a late one", -1, &claims(create.now + 2 * HOUR)?)?;
    create.produce(play, "claims none", -1, &claims(-1)?)?;
    create.fetch(play, 0, ALL_OF_IT)?;
    append.produce(play, "claims it where it counts", -1, &claims(append.now)?)?;
    append.at(play, "the end", -1)
}

fn duplicate_batches(play: &mut Player) -> Result<(), LoadError> {
    let topic = Topic::new(play, "t", &[])?;
    let now = topic.now;
    let producer = BatchOptions {
        producer_id: 90_077,
        producer_epoch: 0,
        base_sequence: 0,
        ..BatchOptions::default()
    };
    let sent = with_max_time(build_batch(&[now, now + 7], 9, producer)?, now + 9);
    topic.produce(play, "first", -1, &sent)?;
    topic.produce(play, "again", -1, &sent)
}

fn refused_records(play: &mut Player) -> Result<(), LoadError> {
    let topic = Topic::new(play, "t", &[])?;
    let compacted = Topic::new(play, "compacted", &[("cleanup.policy", "compact")])?;
    let now = topic.now;
    let late = plain_batch(&[now, now + 2 * HOUR, now, now + 3 * HOUR])?;
    topic.produce(play, "late", -1, &late)?;
    topic.produce(play, "late, and the header hides it", -1, &with_max_time(late, now))?;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (key, timestamp) in [(None, now), (Some(&b"k"[..]), now), (None, now + 2 * HOUR)] {
        builder.push(&NewRecord { timestamp, key, ..NewRecord::default() });
    }
    let keyless = builder.build().map_err(std::io::Error::other)?;
    compacted.produce(play, "keys are missing", -1, &keyless)?;
    topic.at(play, "the end", -1)?;
    compacted.at(play, "the end", -1)
}

fn batch_sizes(play: &mut Player) -> Result<(), LoadError> {
    let small = [("compression.type", "uncompressed"), ("max.message.bytes", "10000")];
    let segment = [
        ("compression.type", "uncompressed"),
        ("max.message.bytes", "10000000"),
        ("segment.bytes", "1048576"),
    ];
    let small = Topic::new(play, "small", &small)?;
    let segment = Topic::new(play, "segment", &segment)?;
    let packed = |count: usize| {
        let options = BatchOptions { compression: Compression::Gzip, ..BatchOptions::default() };
        build_batch(&vec![small.now; count], 9000, options)
    };
    small.produce(play, "fits", -1, &packed(1)?)?;
    small.produce(play, "does not when it is unpacked", -1, &packed(20)?)?;
    segment.produce(play, "fits", -1, &packed(100)?)?;
    segment.produce(play, "does not when it is unpacked", -1, &packed(200)?)?;
    segment.at(play, "the end", -1)
}

fn fetched_at_once(play: &mut Player) -> Result<(), LoadError> {
    let topic = Topic::new(play, "t", &[])?;
    for _ in 0..3 {
        let long = build_batch(&[topic.now], 2000, BatchOptions::default())?;
        topic.produce(play, "2000 bytes", -1, &long)?;
    }
    const WIDE: i32 = 1 << 20;
    let bounds = [
        (0, FetchBounds(1000, WIDE, 1)),
        (0, FetchBounds(1000, 1, 1)),
        (0, FetchBounds(1000, 999, WIDE)),
        (2, FetchBounds(1000, WIDE, 999)),
        (2, FetchBounds(100_000, 1, 1)),
        (0, FetchBounds(i32::MAX, 5000, 5000)),
    ];
    for (offset, bounds) in bounds {
        topic.fetch(play, offset, bounds)?;
    }
    Ok(())
}
