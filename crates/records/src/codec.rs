//! The five codecs, and packing. (Unpacking is in `unpack`.)

use std::io::Write;

use crate::batch::BadBatch;
use crate::unpack::with_scratch;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Without compression.
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
pub(crate) const XERIAL: &[u8; 8] = b"\x82SNAPPY\0";
/// How many bytes stand before the first block of such a stream.
pub(crate) const XERIAL_HEAD: usize = 16;
/// As xerial's library cuts its blocks, in bytes.
const XERIAL_BLOCK: usize = 32 * 1024;

impl Compression {
    /// The bits of a batch's attributes that name the codec.
    pub(crate) const MASK: i16 = 0x07;

    /// The codec that a batch's attributes name.
    ///
    /// # Errors
    /// There is no codec of this number.
    pub const fn of(attributes: i16) -> Result<Self, BadBatch> {
        match attributes & Self::MASK {
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
        with_scratch(|scratch| scratch.unpack(self, packed, limit).map(<[u8]>::to_vec))
    }

    pub(crate) fn broken(self, why: &dyn std::fmt::Display) -> BadBatch {
        BadBatch::Compressed { codec: self.name(), why: why.to_string() }
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
