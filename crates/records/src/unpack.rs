//! Decompression into memory that is used again and again, bounded before it happens.
//!
//! A batch is unpacked whole into a [`Scratch`], of which each thread has one. Its room starts
//! small and doubles while a batch needs more, so that what a batch claims takes no memory; after a
//! large batch it shrinks again as soon as smaller ones follow.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::DCtx;

use crate::batch::BadBatch;
use crate::codec::{Compression, XERIAL, XERIAL_HEAD};
use crate::xxhash::xxh32;

/// How much room a scratch keeps whatever follows, in bytes.
const KEPT_BYTES: usize = 1 << 20;
/// How much room is taken at first, in bytes.
const FIRST_BYTES: usize = 64 << 10;
/// No snappy block unpacks to more than this many times its size: the densest element makes 64
/// bytes of 3.
const SNAPPY_RATIO_MAX: usize = 24;
/// No LZ4 block unpacks to more than this many times its size.
const LZ4_RATIO_MAX: usize = 255;

/// Room that batches are unpacked into, one after the other, with the state of the codecs.
#[derive(Default)]
pub struct Scratch {
    room: Vec<u8>,
    gzip: Option<Decompress>,
    zstd: Option<DCtx<'static>>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Lends the scratch of this thread. (Within `work` another batch is unpacked into memory of its
/// own.)
pub fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take();
    let done = work(&mut scratch);
    SCRATCH.set(scratch);
    done
}

impl Scratch {
    /// Unpacks `packed` to at most `limit` bytes, which stay until the next batch is unpacked.
    ///
    /// # Errors
    /// The bytes are broken, or would become more.
    pub fn unpack(
        &mut self,
        codec: Compression,
        packed: &[u8],
        limit: usize,
    ) -> Result<&[u8], BadBatch> {
        let used = match codec {
            Compression::None if packed.len() > limit => Err(BadBatch::TooLarge(limit)),
            Compression::None => {
                self.reserve(packed.len(), limit)?;
                self.room[..packed.len()].copy_from_slice(packed);
                Ok(packed.len())
            }
            Compression::Gzip => self.gzip(packed, limit),
            Compression::Snappy => self.snappy(packed, limit),
            Compression::Lz4 => self.lz4(packed, limit),
            Compression::Zstd => self.zstd(packed, limit),
        };
        // What is refused leaves no room behind, however much it took.
        self.shrink(used.as_ref().map_or(0, |used| *used));
        Ok(&self.room[..used?])
    }

    /// How many bytes of room there are.
    #[must_use]
    pub const fn room_bytes(&self) -> usize {
        self.room.len()
    }

    /// Frees memory that a larger batch before this one has used.
    fn shrink(&mut self, used: usize) {
        if self.room.len() > KEPT_BYTES && used < self.room.len() / 4 {
            self.room.truncate(KEPT_BYTES.max(2 * used));
            self.room.shrink_to_fit();
        }
    }

    /// Makes room for `bytes` bytes, of at most `limit` and one: the one shows that there are more.
    fn reserve(&mut self, bytes: usize, limit: usize) -> Result<(), BadBatch> {
        if bytes > limit.saturating_add(1) {
            return Err(BadBatch::TooLarge(limit));
        }
        if bytes > self.room.len() {
            let double = self.room.len().saturating_mul(2).min(limit.saturating_add(1));
            let bytes = bytes.max(double).max(FIRST_BYTES);
            if self.room.is_empty() {
                // The system gives zeros: no page is touched before it is written to.
                self.room = vec![0; bytes];
            } else {
                self.room.resize(bytes, 0);
            }
        }
        Ok(())
    }

    fn zstd(&mut self, packed: &[u8], limit: usize) -> Result<usize, BadBatch> {
        let mut bytes = packed.len().saturating_mul(4).min(limit.saturating_add(1));
        loop {
            if bytes > self.room.len() {
                // Nothing is kept of the last try: fresh room costs less than to copy it.
                self.room = Vec::new();
            }
            self.reserve(bytes, limit)?;
            let most = self.room.len().min(limit.saturating_add(1));
            let context = self.zstd.get_or_insert_default();
            match context.decompress(&mut self.room[..most], packed) {
                Ok(used) if used > limit => return Err(BadBatch::TooLarge(limit)),
                Ok(used) => return Ok(used),
                // Error codes are counted down from the largest number.
                Err(ZSTD_NO_ROOM) if most > limit => return Err(BadBatch::TooLarge(limit)),
                Err(ZSTD_NO_ROOM) => bytes = most.saturating_mul(2).min(limit.saturating_add(1)),
                Err(code) => {
                    let why = zstd::zstd_safe::get_error_name(code);
                    return Err(Compression::Zstd.broken(&why));
                }
            }
        }
    }

    fn gzip(&mut self, packed: &[u8], limit: usize) -> Result<usize, BadBatch> {
        let mut rest =
            behind_gzip_head(packed).ok_or_else(|| bad_gzip("the gzip header is missing"))?;
        let mut used = 0;
        loop {
            let start = used;
            (rest, used) = self.inflate(rest, used, limit)?;
            let (trailer, behind) = rest.split_first_chunk::<8>().ok_or_else(|| bad_gzip(CUT))?;
            let made = &self.room[start..used];
            let [a, b, c, d, e, f, g, h] = *trailer;
            // The length counts modulo 2^32.
            let length = u64::from(u32::from_le_bytes([e, f, g, h]));
            if u32::from_le_bytes([a, b, c, d]) != crate::crc32(made) {
                return Err(bad_gzip("the checksum does not match"));
            }
            if made.len() as u64 & u64::from(u32::MAX) != length {
                return Err(bad_gzip("the length does not match"));
            }
            // Another gzip member may follow; other bytes are ignored, as Java does.
            match behind_gzip_head(behind) {
                Some(next) => rest = next,
                None => return Ok(used),
            }
        }
    }

    /// Inflates one deflate stream behind the `used` bytes that are there; what follows the stream,
    /// and how many bytes are there then.
    fn inflate<'a>(
        &mut self,
        packed: &'a [u8],
        used: usize,
        limit: usize,
    ) -> Result<(&'a [u8], usize), BadBatch> {
        let (mut rest, mut used) = (packed, used);
        let inflater = self.gzip.get_or_insert_with(|| Decompress::new(false));
        inflater.reset(false);
        self.reserve(used + 1, limit)?;
        loop {
            let most = self.room.len().min(limit.saturating_add(1));
            let inflater = self.gzip.get_or_insert_with(|| Decompress::new(false));
            let (read, made) = (inflater.total_in(), inflater.total_out());
            let status =
                inflater.decompress(rest, &mut self.room[used..most], FlushDecompress::None);
            let status = status.map_err(|error| Compression::Gzip.broken(&error))?;
            let read = usize::try_from(inflater.total_in() - read).unwrap_or(usize::MAX);
            let made = usize::try_from(inflater.total_out() - made).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            used += made;
            if used > limit {
                return Err(BadBatch::TooLarge(limit));
            }
            match status {
                Status::StreamEnd => return Ok((rest, used)),
                _ if used == most => self.reserve(used + 1, limit)?,
                _ if read == 0 && made == 0 => return Err(bad_gzip(CUT)),
                _ => {}
            }
        }
    }

    /// Blocks in the framing of xerial's library, or one raw block.
    fn snappy(&mut self, packed: &[u8], limit: usize) -> Result<usize, BadBatch> {
        let Some(mut blocks) = packed.strip_prefix(XERIAL) else {
            return self.snappy_block(packed, 0, limit);
        };
        blocks = blocks.get(XERIAL_HEAD - XERIAL.len()..).ok_or_else(|| bad_snappy(CUT))?;
        let mut used = 0;
        // Up to three bytes at the end are ignored, as xerial's library does.
        while let Some((length, rest)) = blocks.split_first_chunk::<4>() {
            if XERIAL.starts_with(length) {
                // Another stream, with a header of its own.
                blocks = blocks.get(XERIAL_HEAD..).ok_or_else(|| bad_snappy(CUT))?;
                continue;
            }
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (block, rest) = rest.split_at_checked(length).ok_or_else(|| bad_snappy(CUT))?;
            used = self.snappy_block(block, used, limit)?;
            blocks = rest;
        }
        Ok(used)
    }

    fn snappy_block(&mut self, block: &[u8], used: usize, limit: usize) -> Result<usize, BadBatch> {
        if block.is_empty() {
            return Err(bad_snappy(CUT));
        }
        let broken = |error: snap::Error| Compression::Snappy.broken(&error);
        let claimed = snap::raw::decompress_len(block).map_err(broken)?;
        if claimed > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(bad_snappy("a block claims more than it can hold"));
        }
        let end = used.saturating_add(claimed);
        if end > limit {
            return Err(BadBatch::TooLarge(limit));
        }
        self.reserve(end, limit)?;
        let room = &mut self.room[used..end];
        let made = snap::raw::Decoder::new().decompress(block, room).map_err(broken)?;
        Ok(used + made)
    }

    /// One LZ4 frame of independent blocks, the only kind that Kafka's clients read; what follows
    /// it is ignored, as they do. The checksum of the whole content is not looked at: that of the
    /// batch covers it.
    fn lz4(&mut self, packed: &[u8], limit: usize) -> Result<usize, BadBatch> {
        let frame = Lz4Frame::read(packed).map_err(bad_lz4)?;
        let mut rest = frame.blocks;
        let mut used = 0;
        loop {
            let (head, behind) = rest.split_first_chunk::<4>().ok_or_else(|| bad_lz4(CUT))?;
            let head = u32::from_le_bytes(*head);
            let length = (head & !LZ4_PLAIN) as usize;
            if length == 0 {
                let is_whole = !frame.has_content_checksum || behind.len() >= 4;
                return if is_whole { Ok(used) } else { Err(bad_lz4(CUT)) };
            }
            if length > frame.block_bytes_max {
                return Err(bad_lz4("a block is longer than the frame allows"));
            }
            let (block, behind) = behind.split_at_checked(length).ok_or_else(|| bad_lz4(CUT))?;
            let lz4 = Lz4Block { bytes: block, is_plain: head & LZ4_PLAIN != 0 };
            used += self.lz4_block(lz4, used, &frame, limit)?;
            rest = behind;
            if frame.has_block_checksums {
                let (sum, behind) = rest.split_first_chunk::<4>().ok_or_else(|| bad_lz4(CUT))?;
                if u32::from_le_bytes(*sum) != xxh32(block) {
                    return Err(bad_lz4("the checksum of a block does not match"));
                }
                rest = behind;
            }
        }
    }

    fn lz4_block(
        &mut self,
        block: Lz4Block<'_>,
        used: usize,
        frame: &Lz4Frame<'_>,
        limit: usize,
    ) -> Result<usize, BadBatch> {
        let Lz4Block { bytes: block, is_plain } = block;
        let can_be = block.len().saturating_mul(LZ4_RATIO_MAX);
        let most = if is_plain { block.len() } else { can_be.min(frame.block_bytes_max) };
        let end = (used + most).min(limit.saturating_add(1));
        self.reserve(end, limit)?;
        let room = &mut self.room[used..end];
        let made = if is_plain {
            room.copy_from_slice(block.get(..room.len()).unwrap_or_default());
            Ok(block.len())
        } else {
            lz4_flex::block::decompress_into(block, room)
        };
        match made {
            Ok(made) if used + made > limit => Err(BadBatch::TooLarge(limit)),
            Ok(made) => Ok(made),
            Err(_) if end > limit => Err(BadBatch::TooLarge(limit)),
            Err(error) => Err(Compression::Lz4.broken(&error)),
        }
    }
}

/// The frame with the right checksum of its header.
pub fn with_right_lz4_head(packed: &[u8]) -> Vec<u8> {
    let mut packed = packed.to_vec();
    let at = if packed.get(4).is_some_and(|flags| flags & 0x08 != 0) { 14 } else { 6 };
    if let Some((descriptor, [sum, ..])) =
        packed.get_mut(4..).and_then(|it| it.split_at_mut_checked(at - 4))
    {
        *sum = xxh32(descriptor).to_le_bytes()[1];
    }
    packed
}

const CUT: &str = "the data is cut short";
/// The code with which zstd says that the room is too small: minus 70.
const ZSTD_NO_ROOM: usize = 70usize.wrapping_neg();
/// In a block's length: it is not compressed.
const LZ4_PLAIN: u32 = 1 << 31;
const LZ4_MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();

fn bad_gzip(why: &str) -> BadBatch {
    Compression::Gzip.broken(&why)
}

fn bad_snappy(why: &str) -> BadBatch {
    Compression::Snappy.broken(&why)
}

fn bad_lz4(why: &str) -> BadBatch {
    Compression::Lz4.broken(&why)
}

/// What comes after the header of a gzip member (RFC 1952); `None` if there is no header.
fn behind_gzip_head(bytes: &[u8]) -> Option<&[u8]> {
    const EXTRA: u8 = 4;
    const TEXTS: [u8; 2] = [8, 16];
    const CHECKSUM: u8 = 2;
    let (head, mut rest) = bytes.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *head else { return None };
    if flags & EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in TEXTS {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & CHECKSUM != 0 { rest.get(2..) } else { Some(rest) }
}

/// A block of a frame: compressed, or the bytes as they are.
struct Lz4Block<'a> {
    bytes: &'a [u8],
    is_plain: bool,
}

/// The header of an LZ4 frame.
struct Lz4Frame<'a> {
    block_bytes_max: usize,
    has_block_checksums: bool,
    has_content_checksum: bool,
    blocks: &'a [u8],
}

impl<'a> Lz4Frame<'a> {
    fn read(packed: &'a [u8]) -> Result<Self, &'static str> {
        let behind = packed.strip_prefix(&LZ4_MAGIC).ok_or("the LZ4 frame header is missing")?;
        let [flags, sizes] = *behind.first_chunk::<2>().ok_or(CUT)?;
        if flags >> 6 != 1 || flags & 0x03 != 0 {
            return Err("the version of the frame is unknown");
        }
        if flags & 0x20 == 0 {
            return Err("dependent LZ4 blocks are not supported");
        }
        let exponent = sizes >> 4;
        if !(4..=7).contains(&exponent) || sizes & 0x0f != 0 {
            return Err("the block size of the frame is unknown");
        }
        // The frame may have the size of the content; it is not relied upon.
        let length = if flags & 0x08 == 0 { 2 } else { 10 };
        let (descriptor, rest) = behind.split_at_checked(length).ok_or(CUT)?;
        let (sum, blocks) = rest.split_first().ok_or(CUT)?;
        if *sum != xxh32(descriptor).to_le_bytes()[1] {
            return Err("the checksum of the frame's header does not match");
        }
        Ok(Self {
            block_bytes_max: 1 << (2 * exponent + 8),
            has_block_checksums: flags & 0x10 != 0,
            has_content_checksum: flags & 0x04 != 0,
            blocks,
        })
    }
}
