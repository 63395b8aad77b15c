//! Produced batches against the rules of a leader: the table of answers is that of Apache Kafka
//! 4.3.1, asked with the same bytes. Where Ottla refuses more, the row says so.

use ottla_records::{
    BadRecords, BatchBuilder, BatchOptions, BatchRules, CheckedBatch, Compression, HEADER_BYTES,
    NewRecord, RecordRule, RepackAs, TimestampRules, batches_in, check_batches, crc32c,
};
use ottla_types::ErrorCode;
use proptest::prelude::*;

use crate::{CODECS, LIMIT};

const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

pub fn rules() -> BatchRules {
    BatchRules {
        batch_bytes_max: 1 << 20,
        segment_bytes_max: 1 << 30,
        zstd_allowed: true,
        keys_needed: false,
        timestamps: TimestampRules::Create {
            now_ms: NOW,
            before_max_ms: i64::MAX,
            after_max_ms: HOUR,
        },
        unpacked_bytes_max: LIMIT,
        store_as: None,
    }
}

fn checked<'a>(bytes: &'a [u8], rules: &BatchRules) -> Result<CheckedBatch<'a>, BadRecords> {
    check_batches(bytes, rules)
}

fn code(bytes: &[u8], rules: &BatchRules) -> ErrorCode {
    checked(bytes, rules).map_or_else(|refused| refused.code(), |_| ErrorCode::NONE)
}

/// Takes the batch.
pub fn accept(bytes: &[u8]) {
    checked(bytes, &rules()).unwrap();
}

fn varint(value: i64) -> Vec<u8> {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while raw > 0x7f {
        out.push(raw.to_le_bytes()[0] | 0x80);
        raw >>= 7;
    }
    out.push(raw.to_le_bytes()[0]);
    out
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [varint(i64::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
}

/// A record with its fields laid out by hand, from behind its time on.
fn raw(time_delta: i64, rest: &[&[u8]]) -> Vec<u8> {
    with_length(&[vec![0], varint(time_delta), rest.concat()].concat())
}

/// A record with key, value, and no headers.
fn record(offset_delta: i64, time_delta: i64) -> Vec<u8> {
    raw(time_delta, &[&varint(offset_delta), &with_length(b"k"), &with_length(b"v"), &varint(0)])
}

/// What stands in a batch's header.
#[derive(Clone, Copy)]
struct Head {
    base_offset: i64,
    magic: u8,
    attributes: i16,
    last_delta: i32,
    base_time: i64,
    max_time: i64,
    producer: (i64, i16, i32),
    count: i32,
}

const HEAD: Head = Head {
    base_offset: 0,
    magic: 2,
    attributes: 0,
    last_delta: 0,
    base_time: NOW,
    max_time: NOW,
    producer: (-1, -1, -1),
    count: 1,
};

impl Head {
    fn count(self, count: i32) -> Self {
        Self { count, last_delta: count - 1, ..self }
    }

    fn codec(self, codec: Compression) -> Self {
        Self { attributes: self.attributes | codec.bits(), ..self }
    }

    fn with(self, body: &[u8]) -> Vec<u8> {
        let (id, epoch, sequence) = self.producer;
        let mut covered = Vec::new();
        covered.extend(self.attributes.to_be_bytes());
        covered.extend(self.last_delta.to_be_bytes());
        covered.extend(self.base_time.to_be_bytes());
        covered.extend(self.max_time.to_be_bytes());
        covered.extend(id.to_be_bytes());
        covered.extend(epoch.to_be_bytes());
        covered.extend(sequence.to_be_bytes());
        covered.extend(self.count.to_be_bytes());
        covered.extend(body);
        let mut out = self.base_offset.to_be_bytes().to_vec();
        out.extend(i32::try_from(covered.len() + 9).unwrap().to_be_bytes());
        out.extend((-1i32).to_be_bytes());
        out.push(self.magic);
        out.extend(crc32c(&covered).to_be_bytes());
        out.extend(covered);
        out
    }
}

const OK: ErrorCode = ErrorCode::NONE;
const INVALID: ErrorCode = ErrorCode::INVALID_RECORD;
const CORRUPT: ErrorCode = ErrorCode::CORRUPT_MESSAGE;
const UNKNOWN: ErrorCode = ErrorCode::UNKNOWN_SERVER_ERROR;
const TIME: ErrorCode = ErrorCode::INVALID_TIMESTAMP;

#[test]
fn records_must_be_what_the_header_says() {
    let (one, two) = (HEAD, HEAD.count(2));
    let key_value = [with_length(b"k"), with_length(b"v")].concat();
    let zero = varint(0);
    let fields = |rest: &[&[u8]]| raw(0, &[&[&zero[..], &key_value[..]], rest].concat());
    let header_null = [varint(1), varint(-1), with_length(b"x")].concat();
    let value_null = [varint(1), with_length(b"h"), varint(-1)].concat();
    let cases: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("good", one.with(&record(0, 0)), OK),
        ("two", two.with(&[record(0, 0), record(1, 5)].concat()), OK),
        // Apache answers with an unknown error if it is not compressed.
        ("garbage", one.with(&[0xff; 20]), INVALID),
        ("cut", one.with(&record(0, 0)[..7]), INVALID),
        ("more than counted", one.with(&[record(0, 0), record(1, 0)].concat()), INVALID),
        ("less than counted", two.with(&record(0, 0)), INVALID),
        ("bytes behind", one.with(&[record(0, 0), vec![0; 3]].concat()), INVALID),
        ("key too long", one.with(&raw(0, &[&zero, &varint(100), b"k"])), INVALID),
        ("header count -1", one.with(&fields(&[&varint(-1)])), INVALID),
        ("header count huge", one.with(&fields(&[&varint(1 << 30)])), INVALID),
        ("header missing", one.with(&fields(&[&varint(1)])), INVALID),
        ("header name null", one.with(&fields(&[&header_null])), INVALID),
        ("header value null", one.with(&fields(&[&value_null])), OK),
        ("longer than its fields", one.with(&fields(&[&zero, b"zz"])), INVALID),
        ("length negative", one.with(&[&varint(-5), &record(0, 0)[1..]].concat()), INVALID),
        ("length 0", one.with(&zero), INVALID),
        ("no records", one.count(0).with(&[]), INVALID),
        ("count -1", Head { count: -1, ..one }.with(&record(0, 0)), INVALID),
        ("last delta 3", Head { last_delta: 3, ..one }.with(&record(0, 0)), INVALID),
        (
            "count beyond",
            Head { count: i32::MAX, last_delta: i32::MAX - 1, ..one }.with(&[]),
            INVALID,
        ),
        ("base offset", Head { base_offset: 5, ..one }.with(&record(0, 0)), INVALID),
        ("base offset -1", Head { base_offset: -1, ..one }.with(&record(0, 0)), INVALID),
        ("control", Head { attributes: 0x20, ..one }.with(&record(0, 0)), INVALID),
        ("no sequence", Head { producer: (5, 0, -1), ..one }.with(&record(0, 0)), INVALID),
        ("no epoch", Head { producer: (5, -1, 0), ..one }.with(&record(0, 0)), OK),
        ("id -7", Head { producer: (-7, 0, 0), ..one }.with(&record(0, 0)), OK),
        ("codec 5", Head { attributes: 5, ..one }.with(&record(0, 0)), UNKNOWN),
        // Apache stores these three; readers lose records of them, or stop.
        ("deltas 0, 0", two.with(&[record(0, 0), record(0, 0)].concat()), INVALID),
        ("delta 7", one.with(&record(7, 0)), INVALID),
        (
            "key length -2",
            one.with(&raw(0, &[&zero, &varint(-2), &with_length(b"v"), &zero])),
            INVALID,
        ),
    ];
    for (what, bytes, due) in cases {
        assert_eq!(code(&bytes, &rules()), due, "{what}");
    }
}

#[test]
fn exactly_one_whole_batch_is_taken_from_the_bytes() {
    let batch = HEAD.with(&record(0, 0));
    let then = |behind: &[u8]| [&batch[..], behind].concat();
    let length = |length: i32| [&batch[..8], &length.to_be_bytes(), &batch[12..]].concat();
    let mut flipped = batch.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let old = Head { magic: 1, ..HEAD }.with(&record(0, 0));
    let cases: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("nothing", vec![], INVALID),
        ("5 bytes", batch[..5].to_vec(), INVALID),
        ("12 bytes", batch[..12].to_vec(), INVALID),
        ("61 bytes", batch[..61].to_vec(), INVALID),
        ("one byte is missing", batch[..batch.len() - 1].to_vec(), INVALID),
        ("flipped", flipped, CORRUPT),
        ("two", then(&batch), INVALID),
        ("one of an old format behind", then(&old), INVALID),
        // What is half a batch is left out.
        ("a byte behind", then(&[0]), OK),
        ("11 bytes behind", then(&[0; 11]), OK),
        ("half a batch behind", then(&batch[..40]), OK),
        ("all but one behind", then(&batch[..batch.len() - 1]), OK),
        ("zeros behind", then(&[0; 20]), CORRUPT),
        ("another format behind", then(&[&batch[..16], &[9]].concat()), CORRUPT),
        ("length 13", length(13), CORRUPT),
        ("length 48", length(48), CORRUPT),
        ("length -1", length(-1), CORRUPT),
        ("one byte less", length(i32::try_from(batch.len()).unwrap() - 13), CORRUPT),
        ("format 3", Head { magic: 3, ..HEAD }.with(&record(0, 0)), CORRUPT),
        ("format -1", Head { magic: 0xff, ..HEAD }.with(&record(0, 0)), CORRUPT),
        ("format 1", old, INVALID),
        ("format 0", Head { magic: 0, ..HEAD }.with(&record(0, 0)), INVALID),
    ];
    for (what, bytes, due) in cases {
        assert_eq!(code(&bytes, &rules()), due, "{what}");
    }
    let half_behind = then(&batch[..40]);
    assert_eq!(checked(&half_behind, &rules()).unwrap().bytes(), batch, "only the first is stored");
}

#[test]
fn compressed_records_are_read_as_others_are() {
    let (one, two) = (HEAD, HEAD.count(2));
    let both = [record(0, 0), record(1, 5)].concat();
    for codec in &CODECS[1..] {
        let packed = |plain: &[u8]| codec.compress(plain, None).unwrap();
        let name = codec.name();
        let cases: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
            ("good", two.codec(*codec).with(&packed(&both)), OK),
            ("garbage", one.codec(*codec).with(&[1, 2, 3].repeat(10)), UNKNOWN),
            ("garbage inside", one.codec(*codec).with(&packed(&[0xff; 20])), INVALID),
            ("cut inside", one.codec(*codec).with(&packed(&record(0, 0)[..6])), INVALID),
            (
                "cut by 1",
                two.codec(*codec).with(&packed(&both)[..packed(&both).len() - 1]),
                UNKNOWN,
            ),
            (
                "cut by 5",
                two.codec(*codec).with(&packed(&both)[..packed(&both).len() - 5]),
                UNKNOWN,
            ),
            ("one of two", two.codec(*codec).with(&packed(&record(0, 0))), INVALID),
            ("two of one", one.codec(*codec).with(&packed(&both)), INVALID),
            (
                "bytes behind",
                one.codec(*codec).with(&packed(&[record(0, 0), vec![0; 3]].concat())),
                INVALID,
            ),
            ("deltas 0, 0", two.codec(*codec).with(&packed(&record(0, 0).repeat(2))), INVALID),
            ("nothing inside", one.codec(*codec).with(&packed(&[])), INVALID),
        ];
        for (what, bytes, due) in cases {
            assert_eq!(code(&bytes, &rules()), due, "{name}: {what}");
        }
        let empty = if *codec == Compression::Zstd { INVALID } else { UNKNOWN };
        assert_eq!(code(&one.codec(*codec).with(&[]), &rules()), empty, "{name}: empty");
    }
    let zstd = packed_sample(Compression::Zstd);
    let early = BatchRules { zstd_allowed: false, ..rules() };
    assert_eq!(code(&zstd, &early), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
}

fn packed_sample(codec: Compression) -> Vec<u8> {
    HEAD.codec(codec).with(&codec.compress(&record(0, 0), None).unwrap())
}

#[test]
fn a_batch_that_unpacks_to_too_much_is_too_large() {
    let zeros = vec![0; 2 << 20];
    for codec in &CODECS[1..] {
        let bomb = HEAD.codec(*codec).with(&codec.compress(&zeros, None).unwrap());
        let bounded = BatchRules { unpacked_bytes_max: 1 << 20, ..rules() };
        assert_eq!(code(&bomb, &bounded), ErrorCode::MESSAGE_TOO_LARGE, "{codec:?}");
        assert_eq!(code(&bomb, &rules()), INVALID, "{codec:?}: zeros are no records");
    }
}

#[test]
fn the_newest_time_comes_from_the_records() {
    let body = [record(0, 0), record(1, 7), record(2, 3)].concat();
    let three = HEAD.count(3);
    // What the header claims, and what is right.
    for claimed in [NOW - 5000, NOW, NOW + 7, NOW + 5000, -1, NOW + 2 * HOUR] {
        for codec in CODECS {
            let packed = codec.compress(&body, None).unwrap();
            let bytes = Head { max_time: claimed, ..three }.codec(codec).with(&packed);
            let rules = rules();
            let found = checked(&bytes, &rules).unwrap();
            assert_eq!(found.max_timestamp, NOW + 7, "{claimed}, {codec:?}");
            assert_eq!(found.is_as_it_came(), claimed == NOW + 7);
        }
    }
    let without = Head { base_time: -1, max_time: 9, ..HEAD }.with(&record(0, 0));
    assert_eq!(checked(&without, &rules()).unwrap().max_timestamp, -1);
    let before = Head { base_time: -2, max_time: -2, ..HEAD }.with(&record(0, 0));
    assert_eq!(checked(&before, &rules()).unwrap().max_timestamp, -1, "it is never less than none");
}

#[test]
fn each_record_has_its_time_looked_at() {
    let append = BatchRules { timestamps: TimestampRules::Append, ..rules() };
    let late = [record(0, 0), record(1, 2 * HOUR), record(2, 0), record(3, 3 * HOUR)].concat();
    let four = HEAD.count(4);
    let claims = |max_time| Head { attributes: 8, max_time, ..HEAD }.with(&record(0, 0));
    let at = |time| Head { base_time: time, max_time: time, ..HEAD }.with(&record(0, 0));
    let wraps = Head { base_time: i64::MAX, ..HEAD }.with(&record(0, 5));
    type Case = (&'static str, Vec<u8>, BatchRules, ErrorCode, Vec<usize>);
    let cases: Vec<Case> = vec![
        ("late", four.with(&late), rules(), TIME, vec![1, 3]),
        ("late, and the header hides it", four.with(&late), rules(), TIME, vec![1, 3]),
        ("none", at(-1), rules(), OK, vec![]),
        ("earliest", at(i64::MIN), rules(), TIME, vec![0]),
        ("latest", at(i64::MAX), rules(), TIME, vec![0]),
        ("around the end", wraps, rules(), TIME, vec![0]),
        ("late where the append time counts", four.with(&late), append, OK, vec![]),
        ("claims the append time", claims(NOW), rules(), OK, vec![]),
        ("claims a late append time", claims(NOW + 2 * HOUR), rules(), TIME, vec![0]),
        ("claims no append time", claims(-1), rules(), TIME, vec![0]),
        ("claims it where it counts", claims(NOW), append, TIME, vec![0]),
    ];
    for (what, bytes, rules, due, records) in cases {
        assert_eq!(code(&bytes, &rules), due, "{what}");
        let named = checked(&bytes, &rules).map_or_else(|bad| bad.records(), |_| vec![]);
        let named: Vec<usize> = named.into_iter().map(|(index, _)| index).collect();
        assert_eq!(named, records, "{what}");
    }
    let narrow = TimestampRules::Create { now_ms: NOW, before_max_ms: 10, after_max_ms: 10 };
    let narrow = BatchRules { timestamps: narrow, ..rules() };
    assert_eq!(code(&at(-1), &narrow), OK, "none is in any range");
    assert_eq!(code(&at(NOW - 11), &narrow), TIME);
}

#[test]
fn a_compacted_topic_names_the_records_without_a_key() {
    let compacted = BatchRules { keys_needed: true, ..rules() };
    let keyless = |delta: i64, time: i64| {
        raw(time, &[&varint(delta), &varint(-1), &with_length(b"v"), &varint(0)])
    };
    let body = [keyless(0, 0), record(1, 0), keyless(2, 0)].concat();
    let refused = checked(&HEAD.count(3).with(&body), &compacted).unwrap_err();
    assert_eq!(refused.code(), INVALID);
    let named: Vec<usize> = refused.records().into_iter().map(|(index, _)| index).collect();
    assert_eq!(named, [0, 2]);
    // With a time that is wrong, too, that is the error; each record has its first.
    let body = [keyless(0, 0), record(1, 2 * HOUR), keyless(2, 2 * HOUR)].concat();
    let refused = checked(&HEAD.count(3).with(&body), &compacted).unwrap_err();
    assert_eq!(refused.code(), TIME);
    let BadRecords::Records(errors) = refused else { panic!("{refused}") };
    assert_eq!(errors.len(), 3);
    assert_eq!(errors[2].rule, RecordRule::KeyMissing);
}

#[test]
fn records_whose_offsets_do_not_count_are_named_after_those_that_break_a_rule() {
    let compacted = BatchRules { keys_needed: true, ..rules() };
    let keyless = raw(0, &[&varint(9), &varint(-1), &with_length(b"v"), &varint(0)]);
    let body = [record(0, 0), keyless, record(7, 0), record(3, 0), record(9, 0)].concat();
    for codec in CODECS {
        let bytes = HEAD.count(5).codec(codec).with(&codec.compress(&body, None).unwrap());
        for (rules, due) in [(&compacted, vec![1]), (&rules(), vec![1, 2, 4])] {
            let refused = checked(&bytes, rules).unwrap_err();
            let named: Vec<usize> = refused.records().into_iter().map(|(at, _)| at).collect();
            assert_eq!((refused.code(), named), (INVALID, due), "{codec:?}");
        }
    }
}

#[test]
fn what_cannot_be_written_again_is_refused() {
    let one = record(0, 0);
    // Time, attributes, newest time, producer, and what a topic with a codec of its own says.
    let cases = [
        (NOW, 0, NOW, (7, 0, 0), OK),
        (NOW, 0, NOW, (7, -1, 0), INVALID),
        (NOW, 0, NOW, (-2, -1, -1), INVALID),
        (NOW, 0, NOW, (-1, -1, -1), OK),
        (-1, 0, -1, (-1, -1, -1), OK),
        (-2, 0, -1, (-1, -1, -1), TIME),
        (NOW, 8, -2, (-1, -1, -1), TIME),
    ];
    for (base_time, attributes, max_time, producer, due) in cases {
        let bytes = Head { base_time, attributes, max_time, producer, ..HEAD }.with(&one);
        for codec in CODECS {
            let rules = BatchRules { store_as: Some(RepackAs { codec, level: None }), ..rules() };
            let stays = codec == Compression::None;
            let due = if stays { OK } else { due };
            assert_eq!(code(&bytes, &rules), due, "{base_time} {producer:?} to {codec:?}");
        }
    }
}

#[test]
fn an_answer_names_a_bounded_number_of_records() {
    let compacted = BatchRules { keys_needed: true, ..rules() };
    let mut builder = BatchBuilder::new(BatchOptions::default());
    (0..5000).for_each(|_| builder.push(&NewRecord { timestamp: NOW, ..NewRecord::default() }));
    let batch = builder.build().unwrap();
    assert_eq!(checked(&batch, &compacted).unwrap_err().records().len(), 1000);
}

#[test]
fn a_topic_with_a_codec_of_its_own_gets_the_records_as_they_are() {
    let body = [record(0, 0), record(1, 7), record(2, 3)].concat();
    for from in CODECS {
        for to in CODECS {
            let packed = from.compress(&body, None).unwrap();
            let bytes = Head { max_time: 1, ..HEAD.count(3) }.codec(from).with(&packed);
            let store_as = Some(RepackAs { codec: to, level: None });
            let rules = BatchRules { store_as, ..rules() };
            let found = checked(&bytes, &rules).unwrap();
            assert_eq!(found.repacked.is_some(), from != to);
            assert_eq!(found.max_timestamp, NOW + 7);
            let stored = batches_in(found.bytes()).next().unwrap().unwrap();
            assert!(stored.crc_is_right());
            assert_eq!(stored.compression(), Ok(to));
            assert_eq!(stored.unpack(LIMIT).unwrap().bytes(), body);
            // Deltas that do not count are put right when the batch is written again.
            let wrong = [record(0, 0), record(0, 7), record(9, 3)].concat();
            let bytes = HEAD.count(3).codec(from).with(&from.compress(&wrong, None).unwrap());
            match checked(&bytes, &rules) {
                Ok(found) => {
                    let stored = batches_in(found.bytes()).next().unwrap().unwrap();
                    assert_eq!(stored.unpack(LIMIT).unwrap().bytes(), body, "{from:?} to {to:?}");
                }
                Err(refused) => assert_eq!((from, refused.code()), (to, INVALID)),
            }
        }
    }
}

#[test]
fn sizes_are_looked_at_before_and_after_recompression() {
    let body = raw(0, &[&varint(0), &varint(-1), &with_length(&[0; 9000]), &varint(0)]);
    let packed = Compression::Gzip.compress(&body, None).unwrap();
    let small = HEAD.codec(Compression::Gzip).with(&packed);
    let plain = HEAD.with(&body);
    assert!(small.len() < 1000);
    let to = |codec| Some(RepackAs { codec, level: None });
    let batches_of = |batch_bytes_max| BatchRules { batch_bytes_max, ..rules() };
    let segments_of = |segment_bytes_max| BatchRules { segment_bytes_max, ..rules() };
    let unpacked = |rules| BatchRules { store_as: to(Compression::None), ..rules };
    let cases = [
        (&plain, batches_of(1000), ErrorCode::MESSAGE_TOO_LARGE),
        (&small, batches_of(1000), OK),
        (&small, unpacked(batches_of(1000)), ErrorCode::MESSAGE_TOO_LARGE),
        (&small, unpacked(batches_of(plain.len())), OK),
        (&small, unpacked(batches_of(plain.len() - 1)), ErrorCode::MESSAGE_TOO_LARGE),
        (&plain, segments_of(1000), ErrorCode::RECORD_LIST_TOO_LARGE),
        (&small, segments_of(1000), OK),
        (&small, unpacked(segments_of(1000)), ErrorCode::RECORD_LIST_TOO_LARGE),
        // What is too large as it comes is refused, however small it would be stored.
        (
            &plain,
            BatchRules { store_as: to(Compression::Gzip), ..batches_of(1000) },
            ErrorCode::MESSAGE_TOO_LARGE,
        ),
        (&plain, BatchRules { store_as: to(Compression::Gzip), ..segments_of(1000) }, OK),
    ];
    for (at, (bytes, rules, due)) in cases.into_iter().enumerate() {
        assert_eq!(code(bytes, &rules), due, "case {at}");
    }
}

#[test]
fn a_batch_that_claims_the_append_time_has_it_when_it_is_written_again() {
    let body = [record(0, 0), record(1, 3)].concat();
    let bytes = Head { attributes: 8, max_time: NOW - 7, ..HEAD.count(2) }.with(&body);
    let rules =
        BatchRules { store_as: Some(RepackAs { codec: Compression::Lz4, level: None }), ..rules() };
    let found = checked(&bytes, &rules).unwrap();
    let stored = batches_in(found.bytes()).next().unwrap().unwrap();
    assert!(!stored.is_append_time());
    assert_eq!((stored.max_timestamp(), found.max_timestamp), (NOW - 7, NOW - 7));
    let times: Vec<i64> =
        stored.unpack(LIMIT).unwrap().records().map(|it| it.unwrap().timestamp).collect();
    assert_eq!(times, [NOW - 7, NOW - 7]);
}

#[test]
fn the_log_start_is_told_where_kafka_tells_it() {
    let good = HEAD.with(&record(0, 0));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let late = Head { base_time: NOW + 2 * HOUR, ..HEAD }.with(&record(0, 0));
    let small = BatchRules { batch_bytes_max: 10, ..rules() };
    let no_zstd = BatchRules { zstd_allowed: false, ..rules() };
    let cases = [
        (HEAD.with(&[0xff; 20]), rules(), true),
        (Head { attributes: 7, ..HEAD }.with(&record(0, 0)), rules(), true),
        (Head { attributes: 7, ..HEAD }.with(&record(0, 0)), no_zstd, false),
        (Head { base_offset: 5, ..HEAD }.with(&record(0, 0)), rules(), true),
        (HEAD.codec(Compression::Gzip).with(&[1; 20]), rules(), true),
        (late, rules(), true),
        (flipped, rules(), false),
        (vec![], rules(), false),
        ([good.clone(), good.clone()].concat(), rules(), false),
        (Head { magic: 1, ..HEAD }.with(&record(0, 0)), rules(), false),
        (good, small, false),
    ];
    for (at, (bytes, rules, due)) in cases.into_iter().enumerate() {
        assert_eq!(checked(&bytes, &rules).unwrap_err().tells_log_start(), due, "case {at}");
    }
}

/// A record as it may come: time and offset delta, key, value, headers.
type Any = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

proptest! {
    /// The fast walk sees what the slow one sees: of runs of records that look alike, too.
    #[test]
    fn the_walk_agrees_with_reading_record_by_record(
        records in proptest::collection::vec(
            (
                prop_oneof![Just(0i64), -3i64..9, Just(1 << 40)],
                prop_oneof![4 => Just(None), 1 => any::<Option<Vec<u8>>>()],
                prop_oneof![4 => Just(Some(vec![7; 20])), 1 => any::<Option<Vec<u8>>>()],
                prop_oneof![
                    9 => Just(vec![]),
                    1 => proptest::collection::vec(any::<(Vec<u8>, Option<Vec<u8>>)>(), 0..3),
                ],
            ),
            1..300,
        ),
        broken in proptest::option::of((any::<proptest::sample::Index>(), 1u8..)),
    ) {
        let records: Vec<Any> = records;
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for (time, key, value, headers) in &records {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (&n[..], v.as_deref())).collect();
            builder.push(&NewRecord {
                timestamp: NOW + time,
                key: key.as_deref(),
                value: value.as_deref(),
                headers: &headers,
            });
        }
        let mut batch = builder.build().unwrap();
        if let Some((at, flip)) = broken {
            let at = HEADER_BYTES + at.index(batch.len() - HEADER_BYTES);
            batch[at] ^= flip;
            let crc = crc32c(&batch[21..]).to_be_bytes();
            batch[17..21].copy_from_slice(&crc);
        }
        let free = TimestampRules::Create {
            now_ms: NOW,
            before_max_ms: i64::MAX,
            after_max_ms: i64::MAX - NOW,
        };
        let found = checked(&batch, &BatchRules { timestamps: free, ..rules() });
        let view = batches_in(&batch).next().unwrap().unwrap();
        let unpacked = view.unpack(LIMIT).unwrap();
        let read: Result<Vec<_>, _> = unpacked.records().collect();
        let counts = |it: &[ottla_records::Record<'_>]| {
            it.iter().map(|it| it.offset).eq(0..i64::try_from(it.len()).unwrap())
        };
        match read {
            Ok(read) if counts(&read) => {
                let newest = read.iter().map(|it| it.timestamp).max().unwrap().max(-1);
                // A time before 1970 by a flipped byte may still be out of the range.
                match found {
                    Ok(found) => prop_assert_eq!(found.max_timestamp, newest),
                    Err(refused) => prop_assert_eq!(refused.code(), TIME),
                }
            }
            _ => prop_assert_eq!(found.unwrap_err().code(), INVALID),
        }
    }
}
