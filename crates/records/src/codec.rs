//! The five codecs. What comes out is bounded before it is there.

use std::io::{Read, Write};

use crate::batch::BadBatch;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy, in the framing of xerial's library.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// What xerial's snappy stream starts with; two versions of four bytes follow.
const XERIAL: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEAD: usize = 16;
/// As xerial's library cuts its blocks, in bytes.
const XERIAL_BLOCK: usize = 32 * 1024;
/// No snappy block unpacks to more than this many times its size: the densest element makes 64
/// bytes of 3.
const SNAPPY_RATIO_MAX: usize = 24;

impl Compression {
    /// The codec that a batch's attributes name.
    ///
    /// # Errors
    /// There is none of this number.
    pub const fn of(attributes: i16) -> Result<Self, BadBatch> {
        match attributes & 0x07 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(BadBatch::Codec(other)),
        }
    }

    /// The codec of this name, as `compression.type` has it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];
        all.into_iter().find(|codec| codec.name() == name || codec.alias() == name)
    }

    const fn alias(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            _ => self.name(),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Its bits in a batch's attributes.
    #[must_use]
    pub const fn bits(self) -> i16 {
        self as i16
    }

    /// Unpacks `packed` to at most `limit` bytes.
    ///
    /// # Errors
    /// The bytes are broken, or would become more.
    pub fn decompress(self, packed: &[u8], limit: usize) -> Result<Vec<u8>, BadBatch> {
        match self {
            Self::None => Ok(packed.to_vec()),
            Self::Gzip => self.drain(flate2::read::MultiGzDecoder::new(packed), packed, limit),
            Self::Snappy => unsnap(packed, limit),
            Self::Lz4 => self.drain(lz4_flex::frame::FrameDecoder::new(packed), packed, limit),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(packed);
                self.drain(decoder.map_err(|error| self.broken(&error))?, packed, limit)
            }
        }
    }

    fn broken(self, why: &dyn std::fmt::Display) -> BadBatch {
        BadBatch::Compressed { codec: self.name(), why: why.to_string() }
    }

    fn drain(self, reader: impl Read, packed: &[u8], limit: usize) -> Result<Vec<u8>, BadBatch> {
        let mut out = Vec::with_capacity(packed.len().saturating_mul(2).min(limit));
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        reader.take(bound).read_to_end(&mut out).map_err(|error| self.broken(&error))?;
        if out.len() > limit { Err(BadBatch::TooLarge(limit)) } else { Ok(out) }
    }

    /// Packs `plain`; `level` as the codec has it, or its default.
    ///
    /// # Errors
    /// The codec cannot, which for bytes in memory means a broken level.
    pub fn compress(self, plain: &[u8], level: Option<i32>) -> Result<Vec<u8>, BadBatch> {
        let failed = |error: &dyn std::fmt::Display| self.broken(error);
        match self {
            Self::None => Ok(plain.to_vec()),
            Self::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(6);
                let level = flate2::Compression::new(level.min(9));
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).map_err(|error| failed(&error))?;
                encoder.finish().map_err(|error| failed(&error))
            }
            Self::Snappy => snap_up(plain),
            Self::Lz4 => {
                // As Kafka's clients frame it: independent blocks of 64 KB, no checksums.
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_mode(lz4_flex::frame::BlockMode::Independent);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(plain).map_err(|error| failed(&error))?;
                encoder.finish().map_err(|error| failed(&error))
            }
            Self::Zstd => {
                zstd::stream::encode_all(plain, level.unwrap_or(3)).map_err(|error| failed(&error))
            }
        }
    }
}

fn unsnap(packed: &[u8], limit: usize) -> Result<Vec<u8>, BadBatch> {
    let Some(mut blocks) = packed.strip_prefix(XERIAL) else {
        let mut out = Vec::new();
        unsnap_block(packed, &mut out, limit)?;
        return Ok(out);
    };
    let short = || BadBatch::Compressed { codec: "snappy", why: "a block is cut short".into() };
    blocks = blocks.get(XERIAL_HEAD - XERIAL.len()..).ok_or_else(short)?;
    let mut out = Vec::new();
    while !blocks.is_empty() {
        let (length, rest) = blocks.split_first_chunk::<4>().ok_or_else(short)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| short())?;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        unsnap_block(block, &mut out, limit)?;
        blocks = rest;
    }
    Ok(out)
}

fn unsnap_block(block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BadBatch> {
    let broken = |error: &dyn std::fmt::Display| Compression::Snappy.broken(error);
    let claimed = snap::raw::decompress_len(block).map_err(|error| broken(&error))?;
    if claimed > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(broken(&"a block claims more than it can hold"));
    }
    let start = out.len();
    if start.saturating_add(claimed) > limit {
        return Err(BadBatch::TooLarge(limit));
    }
    out.resize(start + claimed, 0);
    let made = snap::raw::Decoder::new().decompress(block, &mut out[start..]);
    out.truncate(start + made.map_err(|error| broken(&error))?);
    Ok(())
}

fn snap_up(plain: &[u8]) -> Result<Vec<u8>, BadBatch> {
    let mut out = XERIAL.to_vec();
    // Version 1, readable by version 1.
    out.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(XERIAL_BLOCK) {
        let packed =
            encoder.compress_vec(block).map_err(|error| Compression::Snappy.broken(&error))?;
        out.extend(u32::try_from(packed.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(packed);
    }
    Ok(out)
}
