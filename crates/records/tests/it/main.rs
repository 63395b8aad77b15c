//! Batches against genuine logs, against another library, and against nonsense.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as theirs;
use ottla_records::{
    BadBatch, BatchBuilder, BatchOptions, Compression, NewRecord, batches_in, crc32c,
};
use proptest::prelude::*;

mod legacy;
mod produced;
mod unpacking;

const LIMIT: usize = 1 << 24;
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn golden_logs() -> Vec<(PathBuf, Vec<u8>)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/data-dir");
    let mut logs = Vec::new();
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|ending| ending == "log" || ending == "checkpoint") {
                logs.push((file.clone(), std::fs::read(&file).unwrap()));
            }
        }
    }
    assert!(logs.len() > 50);
    logs
}

/// One batch of three records: keys, nulls, headers.
fn sample(options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    let long = vec![b'x'; 500];
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(b"v")), (b"empty", None)];
    let record = |timestamp, key, value| NewRecord { timestamp, key, value, headers: &[] };
    builder.push(&NewRecord { headers: &headers, ..record(1000, Some(b"k"), Some(&long)) });
    builder.push(&record(1005, None, Some(b"")));
    builder.push(&record(990, Some(b""), None));
    builder.build().unwrap()
}

#[test]
fn every_batch_of_every_genuine_log_is_read() {
    let mut records = 0;
    for (file, log) in golden_logs() {
        for batch in batches_in(&log) {
            let batch = batch.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(batch.crc_is_right(), "{}", file.display());
            let unpacked = batch.unpack(LIMIT).unwrap();
            let read: Result<Vec<_>, _> = unpacked.records().collect();
            let read = read.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            for record in &read {
                assert!((batch.base_offset()..=batch.last_offset()).contains(&record.offset));
            }
            records += read.len();
        }
    }
    assert!(records > 3000, "{records}");
}

#[test]
fn an_uncompressed_genuine_batch_is_written_as_it_was_read() {
    let mut compared = 0;
    for (file, log) in golden_logs() {
        for batch in batches_in(&log) {
            let batch = batch.unwrap();
            // What compaction or a delete horizon has touched has another base than its records.
            let whole = batch.last_offset_delta() + 1 == batch.record_count();
            let plain = batch.compression() == Ok(Compression::None);
            if !plain || !whole || batch.delete_horizon_ms().is_some() || batch.is_append_time() {
                continue;
            }
            let unpacked = batch.unpack(LIMIT).unwrap();
            let mut builder = BatchBuilder::new(BatchOptions::of(&batch).unwrap());
            for record in unpacked.records() {
                builder.push_as_it_was(&record.unwrap(), batch.base_offset());
            }
            let written = builder.build().unwrap();
            assert_eq!(written, batch.bytes(), "{} at {}", file.display(), batch.base_offset());
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn another_library_reads_what_is_written_in_every_codec() {
    for compression in CODECS {
        let options = BatchOptions { compression, base_offset: 7, ..BatchOptions::default() };
        let batch = sample(options);
        let read = theirs::RecordBatchDecoder::decode(&mut Bytes::from(batch)).unwrap();
        assert_eq!(read.records.len(), 3, "{compression:?}");
        assert_eq!(read.records[0].key.as_deref(), Some(&b"k"[..]));
        assert_eq!(read.records[0].headers.len(), 2);
        assert_eq!(read.records[1].offset, 8);
        assert_eq!(read.records[2].value, None);
        assert_eq!(read.records[2].timestamp, 990);
    }
}

#[test]
fn what_another_library_writes_is_read_in_every_codec() {
    let codecs = [
        theirs::Compression::None,
        theirs::Compression::Gzip,
        theirs::Compression::Snappy,
        theirs::Compression::Lz4,
        theirs::Compression::Zstd,
    ];
    let mut source = Bytes::from(sample(BatchOptions::default()));
    let records = theirs::RecordBatchDecoder::decode(&mut source).unwrap().records;
    for compression in codecs {
        let mut out = BytesMut::new();
        let options = theirs::RecordEncodeOptions { version: 2, compression };
        theirs::RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
        let batch = batches_in(&out).next().unwrap().unwrap();
        let unpacked = batch.unpack(LIMIT).unwrap();
        let read: Vec<_> = unpacked.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(read.len(), 3, "{compression:?}");
        assert_eq!(read[0].value.map(<[u8]>::len), Some(500));
        assert_eq!(read[2].value, None);
    }
}

#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c(b"some other text"), crc32c::crc32c(b"some other text"));
}

#[test]
fn no_flipped_byte_and_no_cut_brings_a_reader_down() {
    for compression in CODECS {
        let whole = sample(BatchOptions { compression, ..BatchOptions::default() });
        for at in 0..whole.len() {
            assert!(batches_in(&whole[..at]).all(|batch| batch.is_err()), "cut at {at}");
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                for batch in batches_in(&bytes).flatten() {
                    // The checksum sees it, unless it is about what it does not cover.
                    assert!(!batch.crc_is_right() || at < 17, "{compression:?} at {at}");
                    if let Ok(unpacked) = batch.unpack(LIMIT) {
                        let headers = unpacked.records().flatten().map(|r| r.headers().count());
                        assert!(headers.count() <= 4);
                    }
                }
            }
        }
    }
}

#[test]
fn a_bomb_unpacks_to_no_more_than_the_limit() {
    let zeros = vec![0u8; 64 << 20];
    for compression in &CODECS[1..] {
        let packed = compression.compress(&zeros, None).unwrap();
        let refused = compression.decompress(&packed, 1 << 20);
        assert_eq!(refused, Err(BadBatch::TooLarge(1 << 20)), "{compression:?}");
        assert_eq!(compression.decompress(&packed, zeros.len()).unwrap().len(), zeros.len());
    }
}

#[test]
fn a_snappy_block_that_claims_gigabytes_allocates_nothing() {
    // A raw block: the varint says 4 GB, one byte follows.
    let refused = Compression::Snappy.decompress(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00], LIMIT);
    assert!(matches!(refused, Err(BadBatch::Compressed { .. })), "{refused:?}");
}

/// One old message with its parts laid out by hand, its checksum by another library.
fn old_message(magic: u8, attributes: u8, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![magic, attributes];
    if magic == 1 {
        body.extend(1005i64.to_be_bytes());
    }
    for part in [key, value] {
        let length = part.map_or(-1, |part| i32::try_from(part.len()).unwrap());
        body.extend(length.to_be_bytes());
        body.extend(part.unwrap_or_default());
    }
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let size = u32::try_from(body.len() + 4).unwrap();
    [&0i64.to_be_bytes()[..], &size.to_be_bytes(), &crc.sum().to_be_bytes(), &body].concat()
}

#[test]
fn old_messages_become_a_batch_and_a_batch_old_messages() {
    for magic in [0u8, 1] {
        let plain = [
            old_message(magic, 0, Some(b"k"), Some(b"one")),
            old_message(magic, 0, None, Some(b"two")),
            old_message(magic, 0, Some(b"gone"), None),
        ]
        .concat();
        let packed = Compression::Gzip.compress(&plain, None).unwrap();
        let wrapped = old_message(magic, 1, None, Some(&packed));
        for (set, codec) in [(&plain, Compression::None), (&wrapped, Compression::Gzip)] {
            let batch = ottla_records::legacy::convert_up(set, LIMIT).unwrap();
            produced::accept(&batch);
            let batch = batches_in(&batch).next().unwrap().unwrap();
            assert_eq!(batch.compression(), Ok(codec));
            let unpacked = batch.unpack(LIMIT).unwrap();
            let read: Vec<_> = unpacked.records().map(Result::unwrap).collect();
            let values: Vec<_> = read.iter().map(|it| it.value).collect();
            assert_eq!(values, [Some(&b"one"[..]), Some(b"two"), None]);
            assert_eq!(read[0].key, Some(&b"k"[..]));
            assert_eq!(read[1].timestamp, if magic == 0 { -1 } else { 1005 });
            let down = ottla_records::legacy::convert_down(
                batch.bytes(),
                i8::try_from(magic).unwrap(),
                LIMIT,
            );
            let mut wanted = plain.clone();
            // Offsets count from the batch's first.
            let second = old_message(magic, 0, Some(b"k"), Some(b"one")).len();
            let third = second + old_message(magic, 0, None, Some(b"two")).len();
            (wanted[second + 7], wanted[third + 7]) = (1, 2);
            assert_eq!(down.unwrap(), wanted);
        }
        let bomb = Compression::Gzip.compress(&vec![0; 1 << 20], None).unwrap();
        let bomb = old_message(magic, 1, None, Some(&bomb));
        let refused = ottla_records::legacy::convert_up(&bomb, 1000);
        assert_eq!(refused, Err(BadBatch::TooLarge(1000)));
    }
}

type Made = Vec<(i64, Option<Vec<u8>>, Option<Vec<u8>>)>;

proptest! {
    #[test]
    fn what_is_put_in_comes_out(
        records in proptest::collection::vec(
            any::<(u32, Option<Vec<u8>>, Option<Vec<u8>>)>(),
            1..20,
        ),
        codec in 0usize..5,
    ) {
        let records: Made = records.into_iter().map(|(t, k, v)| (i64::from(t), k, v)).collect();
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: CODECS[codec],
            base_offset: 40,
            ..BatchOptions::default()
        });
        for (timestamp, key, value) in &records {
            builder.push(&NewRecord {
                timestamp: *timestamp,
                key: key.as_deref(),
                value: value.as_deref(),
                headers: &[],
            });
        }
        let batch = builder.build().unwrap();
        let batch = batches_in(&batch).next().unwrap().unwrap();
        let unpacked = batch.unpack(LIMIT).unwrap();
        let read: Made = unpacked
            .records()
            .map(|record| record.unwrap())
            .map(|r| (r.timestamp, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec)))
            .collect();
        prop_assert_eq!(read, records);
    }
}
