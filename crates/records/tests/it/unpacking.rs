//! What the codecs accept is what Apache Kafka 4.3.1 accepts, asked with the same bytes; and memory
//! follows what is there.

use ottla_records::{BadBatch, Compression, Scratch};

const TEXT: &[u8] = b"one two three four one two three four one two three four";

fn unpacked(codec: Compression, packed: &[u8]) -> Result<Vec<u8>, BadBatch> {
    codec.decompress(packed, 1 << 20)
}

fn is_read(codec: Compression, packed: &[u8]) -> bool {
    unpacked(codec, packed) == Ok(TEXT.to_vec())
}

fn packed(codec: Compression) -> Vec<u8> {
    codec.compress(TEXT, None).unwrap()
}

fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

#[test]
fn gzip_may_have_members_and_what_follows_them_is_ignored() {
    let codec = Compression::Gzip;
    let whole = packed(codec);
    let end = whole.len();
    assert!(is_read(codec, &whole));
    assert!(is_read(codec, &[&whole[..], b"garbage"].concat()));
    for cut in 1..end {
        assert!(unpacked(codec, &whole[..end - cut]).is_err(), "{cut} bytes are missing");
    }
    for checksum in end - 8..end {
        assert!(unpacked(codec, &flipped(whole.clone(), checksum)).is_err());
    }
    let halves = [&TEXT[..20], &TEXT[20..]].map(|half| codec.compress(half, None).unwrap());
    assert!(is_read(codec, &halves.concat()));
    // All optional fields of the header: extra, name, comment, checksum.
    let mut fields = whole.clone();
    fields[3] = 0x1e;
    fields.splice(10..10, *b"\x02\x00ababc\0comment\0xy");
    assert!(is_read(codec, &fields));
    assert!(unpacked(codec, &fields[..20]).is_err());
}

#[test]
fn snappy_comes_in_blocks_or_raw() {
    let codec = Compression::Snappy;
    let whole = packed(codec);
    let raw = &whole[20..];
    assert!(is_read(codec, &whole));
    assert!(is_read(codec, raw));
    assert!(is_read(codec, &[&whole[..], &[0; 3]].concat()), "less than a length is ignored");
    assert!(unpacked(codec, &[&whole[..], &[9; 40]].concat()).is_err());
    let halves = [&TEXT[..20], &TEXT[20..]].map(|half| codec.compress(half, None).unwrap());
    assert!(is_read(codec, &halves.concat()), "streams may follow each other");
    assert!(unpacked(codec, &whole[..12]).is_err(), "a header that is cut");
    assert_eq!(unpacked(codec, &whole[..16]), Ok(vec![]), "a header alone");
    assert!(unpacked(codec, &[]).is_err());
    let negative = [&whole[..16], &(-16i32).to_be_bytes(), raw].concat();
    assert!(unpacked(codec, &negative).is_err());
}

/// An LZ4 frame of one block by hand: flags, block size, the block, what follows it.
fn frame(flags: u8, sizes: u8, block: &[u8], behind: &[u8]) -> Vec<u8> {
    let descriptor: &[u8] = &[flags, sizes];
    let sum = match (flags, sizes) {
        (0x60, 0x40) => 0x82,
        (0x64, 0x40) => 0xa7,
        (0x70, 0x40) => 0xad,
        (0x40, 0x40) => 0xc0,
        _ => 0,
    };
    let length = u32::try_from(block.len()).unwrap() | 1 << 31;
    let end = [0; 4];
    [&[4, 0x22, 0x4d, 0x18], descriptor, &[sum], &length.to_le_bytes(), block, behind, &end]
        .concat()
}

#[test]
fn lz4_is_one_frame_of_independent_blocks() {
    let codec = Compression::Lz4;
    let whole = packed(codec);
    let end = whole.len();
    assert!(is_read(codec, &whole));
    assert!(is_read(codec, &[&whole[..], b"garbage"].concat()), "what follows is ignored");
    assert!(is_read(codec, &[&whole[..], &whole[..]].concat()), "another frame, too");
    for cut in 1..end {
        assert!(unpacked(codec, &whole[..end - cut]).is_err(), "{cut} bytes are missing");
    }
    assert!(unpacked(codec, &flipped(whole, 6)).is_err(), "the header has a checksum");
    assert!(is_read(codec, &frame(0x60, 0x40, TEXT, &[])));
    // The checksum of the content is not looked at, but must be there.
    let content = frame(0x64, 0x40, TEXT, &[]);
    assert!(unpacked(codec, &content).is_err());
    assert!(is_read(codec, &[&content[..], b"wxyz"].concat()));
    assert!(unpacked(codec, &frame(0x70, 0x40, TEXT, b"wxyz")).is_err(), "that of a block is");
    assert!(unpacked(codec, &frame(0x40, 0x40, TEXT, &[])).is_err(), "blocks that need others");
    assert!(unpacked(codec, &frame(0x60, 0x30, TEXT, &[])).is_err(), "no such block size");
    let long = vec![7; (64 << 10) + 1];
    assert!(unpacked(codec, &frame(0x60, 0x40, &long, &[])).is_err(), "longer than the frame says");
}

#[test]
fn zstd_may_have_frames_and_nothing_else() {
    let codec = Compression::Zstd;
    let whole = packed(codec);
    let end = whole.len();
    assert!(is_read(codec, &whole));
    let halves = [&TEXT[..20], &TEXT[20..]].map(|half| codec.compress(half, None).unwrap());
    assert!(is_read(codec, &halves.concat()));
    assert!(unpacked(codec, &[&whole[..], &[0; 3]].concat()).is_err());
    for cut in 1..end {
        assert!(unpacked(codec, &whole[..end - cut]).is_err(), "{cut} bytes are missing");
    }
}

#[test]
fn room_follows_what_is_unpacked_and_shrinks_again() {
    let mut scratch = Scratch::default();
    let large = vec![7; 40 << 20];
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let (large, small) = (codec.compress(&large, None).unwrap(), packed(codec));
        assert_eq!(scratch.unpack(codec, &large, 64 << 20).unwrap().len(), 40 << 20);
        assert!((40 << 20..=64 << 20).contains(&scratch.room_bytes()), "{codec:?}");
        assert_eq!(scratch.unpack(codec, &small, 64 << 20), Ok(TEXT));
        assert!(scratch.room_bytes() <= 1 << 20, "{codec:?}: {}", scratch.room_bytes());
        // A bomb takes no more than it may become.
        let refused = scratch.unpack(codec, &large, 3 << 20);
        assert_eq!(refused, Err(BadBatch::TooLarge(3 << 20)));
        assert!(scratch.room_bytes() <= (3 << 20) + 1, "{codec:?}: {}", scratch.room_bytes());
    }
}

#[test]
fn what_a_batch_claims_takes_no_room() {
    let mut scratch = Scratch::default();
    // Frames that claim 4 MB blocks, 4 GB of content, and have a few bytes.
    let claims: [(Compression, &[u8]); 3] = [
        (Compression::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]),
        (Compression::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0xff, 1, 0, 0]),
        (Compression::Lz4, &[4, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 1, 0, 0, 0, 0]),
    ];
    for (codec, packed) in claims {
        assert!(scratch.unpack(codec, packed, 128 << 20).is_err(), "{codec:?}");
        assert!(scratch.room_bytes() <= 64 << 10, "{codec:?}: {}", scratch.room_bytes());
    }
}

#[test]
fn room_is_used_again() {
    let mut scratch = Scratch::default();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = packed(codec);
        scratch.unpack(codec, &packed, 1 << 20).unwrap();
        let before = scratch.room_bytes();
        scratch.unpack(codec, &packed, 1 << 20).unwrap();
        assert_eq!(scratch.room_bytes(), before);
    }
}
