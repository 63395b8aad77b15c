//! Sets of old messages that are wrong, each in its way.

use ottla_records::{BadBatch, BatchOptions, Compression, batches_in, legacy};

use crate::{LIMIT, old_message, sample};

/// A message with another offset in front.
fn at(offset: i64, message: &[u8]) -> Vec<u8> {
    [&offset.to_be_bytes(), &message[8..]].concat()
}

fn why(set: &[u8]) -> BadBatch {
    legacy::convert_up(set, LIMIT).unwrap_err()
}

fn is_bad_record(set: &[u8]) -> bool {
    matches!(why(set), BadBatch::Record { .. })
}

#[test]
fn half_a_message_at_the_end_is_left_out() {
    let whole = legacy::convert_down(&sample(BatchOptions::default()), 1, LIMIT).unwrap();
    let first =
        12 + usize::try_from(u32::from_be_bytes(*whole[8..].first_chunk().unwrap())).unwrap();
    for end in 1..whole.len() {
        match legacy::convert_up(&whole[..end], LIMIT) {
            Ok(batch) => {
                let batch = batches_in(&batch).next().unwrap().unwrap();
                assert!(end >= first && batch.record_count() < 3, "cut at {end}");
            }
            Err(error) => {
                assert!(end < first, "cut at {end}");
                assert!(matches!(error, BadBatch::Truncated { .. }), "cut at {end}: {error}");
            }
        }
    }
}

#[test]
fn a_message_must_be_whole_and_of_its_format() {
    let good = old_message(1, 0, Some(b"k"), Some(b"v"));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(why(&flipped), BadBatch::Checksum(0));
    assert_eq!(why(&[&good[..], &flipped].concat()), BadBatch::Checksum(1));
    let short = [&good[..8], &13i32.to_be_bytes(), &good[12..]].concat();
    assert_eq!(why(&short), BadBatch::Length(13));
    assert_eq!(why(&old_message(3, 0, None, None)), BadBatch::Magic(3));
    let other = old_message(0, 0, None, Some(b"v"));
    assert!(is_bad_record(&[good, other].concat()), "two formats in one set");
}

#[test]
fn a_compressed_message_stands_alone_and_holds_plain_ones() {
    let gzip = |plain: &[u8]| Compression::Gzip.compress(plain, None).unwrap();
    let wrap = |magic, plain: &[u8]| old_message(magic, 1, None, Some(&gzip(plain)));
    for magic in [0u8, 1] {
        let plain = old_message(magic, 0, Some(b"k"), Some(b"v"));
        let good = wrap(magic, &plain);
        assert!(legacy::convert_up(&good, LIMIT).is_ok());
        assert!(is_bad_record(&[&good[..], &good].concat()), "two");
        assert!(is_bad_record(&[&plain[..], &good].concat()), "behind a plain one");
        assert!(is_bad_record(&wrap(magic, &good)), "one inside another");
        assert!(is_bad_record(&wrap(magic, &old_message(1 - magic, 0, None, None))), "two formats");
        assert!(is_bad_record(&wrap(magic, &[])), "empty");
        assert!(is_bad_record(&old_message(magic, 1, None, None)), "null");
        assert!(is_bad_record(&old_message(magic, 4, None, Some(b"zstd"))), "zstd came later");
        let garbage = old_message(magic, 1, None, Some(b"garbage"));
        assert!(matches!(why(&garbage), BadBatch::Compressed { .. }));
        let mut flipped = plain.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(why(&wrap(magic, &flipped)), BadBatch::Checksum(0), "each has its checksum");
    }
}

#[test]
fn the_offset_of_a_compressed_message_covers_those_in_it() {
    let plain = |offset| at(offset, &old_message(1, 0, None, Some(b"v")));
    let three = [plain(0), plain(1), plain(2)].concat();
    let packed = Compression::Gzip.compress(&three, None).unwrap();
    let outer = |offset| at(offset, &old_message(1, 1, None, Some(&packed)));
    assert!(legacy::convert_up(&outer(2), LIMIT).is_ok());
    assert!(legacy::convert_up(&outer(0), LIMIT).is_ok(), "some producers leave it 0");
    assert!(is_bad_record(&outer(1)));
}

#[test]
fn an_append_time_of_a_compressed_message_is_that_of_all_in_it() {
    let plain = old_message(1, 0, None, Some(b"v"));
    let packed = Compression::Gzip.compress(&plain, None).unwrap();
    let batch = legacy::convert_up(&old_message(1, 9, None, Some(&packed)), LIMIT).unwrap();
    let batch = batches_in(&batch).next().unwrap().unwrap();
    assert!(batch.is_append_time());
    assert_eq!(batch.max_timestamp(), 1005);
}

#[test]
fn the_header_checksum_of_old_lz4_frames_may_be_wrong() {
    let plain = old_message(1, 0, None, Some(b"v"));
    let mut packed = Compression::Lz4.compress(&plain, None).unwrap();
    packed[6] ^= 0x55;
    assert!(Compression::Lz4.decompress(&packed, LIMIT).is_err());
    assert!(legacy::convert_up(&old_message(1, 3, None, Some(&packed)), LIMIT).is_ok());
}
