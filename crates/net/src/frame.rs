//! Frames: a big-endian `i32` length, then that many bytes.

use std::cell::RefCell;

use bytes::{Buf, Bytes, BytesMut};

/// Why a byte stream is no sequence of frames; the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is below zero.
    #[error("request length {0} is negative")]
    Negative(i32),
    /// The length is above `socket.request.max.bytes`.
    #[error("request of {length} bytes is larger than socket.request.max.bytes allows ({allowed})")]
    TooLong {
        /// What the peer announced.
        length: usize,
        /// What the setting allows.
        allowed: usize,
    },
}

/// Bytes as they arrive, cut into frames.
///
/// Memory follows the bytes that are there, not the length a peer claims: the buffer at most
/// doubles, or grows to the largest frame this connection has really delivered.
///
/// A connection that rests holds no buffer: it gives it to its thread, and the next one that reads
/// takes it, so that bytes come into memory that is warm and nothing is allocated for a request.
#[derive(Debug)]
pub struct Inbox {
    buffer: BytesMut,
    /// How large the buffer has been, in bytes.
    held: usize,
    length_max: usize,
    largest: usize,
}

const PREFIX: usize = 4;
const GROWTH_MIN: usize = 16 * 1024;
/// For how many frames of the largest size there is room at a time, and how many bytes that may be:
/// what is read should still be in the nearer caches when its turn comes.
const AHEAD: usize = 4;
const AHEAD_BYTES_MAX: usize = 96 * 1024;
/// How many buffers a thread keeps, and of how many bytes at most.
const SPARES_MAX: usize = 4;
const SPARE_BYTES_MAX: usize = (1 << 20) + (1 << 16);

thread_local! {
    /// Buffers that are not in use, each with how large it has been.
    static SPARES: RefCell<Vec<(BytesMut, usize)>> = const { RefCell::new(Vec::new()) };
}

impl Inbox {
    /// An inbox that takes frames of up to `length_max` bytes.
    #[must_use]
    pub fn new(length_max: usize) -> Self {
        Self { buffer: BytesMut::new(), held: 0, length_max, largest: 0 }
    }

    /// The next whole frame, without its length; `None` until more bytes are there.
    ///
    /// # Errors
    /// A length that is negative or too large, as soon as its four bytes are there.
    pub fn take_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = self.announced()? else { return Ok(None) };
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.largest = self.largest.max(length);
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Are there at least two whole frames of at most so many bytes?
    #[must_use]
    pub fn has_several(&self, most: usize) -> bool {
        self.end_of_small(0, most).and_then(|at| self.end_of_small(at, most)).is_some()
    }

    /// The next whole frame, if it has at most so many bytes. One that is wrong stays.
    pub fn take_small(&mut self, most: usize) -> Option<Bytes> {
        self.end_of_small(0, most)?;
        self.take_frame().ok().flatten()
    }

    /// Where the whole frame ends that begins at `at`, if it has at most so many bytes.
    fn end_of_small(&self, at: usize, most: usize) -> Option<usize> {
        let length = self.announced_at(at).ok().flatten().filter(|length| *length <= most)?;
        let end = at + PREFIX + length;
        (end <= self.buffer.len()).then_some(end)
    }

    /// Room to read into. The caller appends what arrives.
    pub fn room(&mut self) -> &mut BytesMut {
        let have = self.buffer.len();
        let missing = match self.announced() {
            Ok(Some(length)) => (PREFIX + length).saturating_sub(have),
            Ok(None) | Err(_) => GROWTH_MIN,
        };
        let grow = missing.min(have.max(self.largest).max(GROWTH_MIN)).max(1);
        if self.held == 0 {
            let spare = SPARES.with_borrow_mut(Vec::pop);
            (self.buffer, self.held) = spare.unwrap_or_default();
        }
        if self.buffer.capacity() - have < grow {
            // The start of a frame that is already here moves to the new room. A client that sends
            // frames ahead gets room for some more, so that not every frame is moved.
            let ahead = if have == 0 { 0 } else { (AHEAD * self.largest).min(AHEAD_BYTES_MAX) };
            self.buffer.reserve(grow.max(ahead));
        }
        self.held = self.held.max(self.buffer.capacity());
        &mut self.buffer
    }

    /// Is a frame begun but not complete?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Gives the memory away while nothing is expected.
    pub fn rest(&mut self) {
        if !self.buffer.is_empty() {
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let held = std::mem::take(&mut self.held);
        // While a request still uses a frame in it, it is not free.
        if held == 0 || held > SPARE_BYTES_MAX || !buffer.try_reclaim(GROWTH_MIN) {
            return;
        }
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARES_MAX {
                spares.push((buffer, held));
            }
        });
    }

    fn announced(&self) -> Result<Option<usize>, FrameError> {
        self.announced_at(0)
    }

    /// How long the frame is to be that begins at `at`.
    fn announced_at(&self, at: usize) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer[at..].first_chunk::<PREFIX>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        let length = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
        if length > self.length_max {
            return Err(FrameError::TooLong { length, allowed: self.length_max });
        }
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(bytes: &[u8]) -> Inbox {
        let mut inbox = Inbox::new(100);
        inbox.room().extend_from_slice(bytes);
        inbox
    }

    #[test]
    fn frames_come_out_whole_and_in_order() {
        let mut inbox = inbox(b"\0\0\0\x02ab\0\0\0\x00\0\0\0\x03c");
        assert_eq!(inbox.take_frame(), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(inbox.take_frame(), Ok(Some(Bytes::new())));
        assert_eq!(inbox.take_frame(), Ok(None));
        inbox.room().extend_from_slice(b"de");
        assert_eq!(inbox.take_frame(), Ok(Some(Bytes::from_static(b"cde"))));
    }

    #[test]
    fn small_frames_are_told_from_large_ones() {
        let mut inbox = inbox(b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\x03def\0\0\0\x01");
        assert!(inbox.has_several(2));
        assert!(!inbox.has_several(1), "the second is larger");
        assert_eq!(inbox.take_small(2), Some(Bytes::from_static(b"a")));
        assert_eq!(inbox.take_small(2), Some(Bytes::from_static(b"bc")));
        assert_eq!(inbox.take_small(2), None, "the third is larger");
        assert!(!inbox.has_several(3), "the fourth is not whole");
        assert_eq!(inbox.take_frame(), Ok(Some(Bytes::from_static(b"def"))));
        assert_eq!(inbox.take_small(2), None);
    }

    #[test]
    fn a_bad_length_is_refused_before_its_bytes_arrive() {
        assert_eq!(inbox(b"\xff\xff\xff\xff").take_frame(), Err(FrameError::Negative(-1)));
        let too_long = FrameError::TooLong { length: 101, allowed: 100 };
        assert_eq!(inbox(b"\0\0\0\x65").take_frame(), Err(too_long));
    }

    #[test]
    fn a_buffer_goes_from_one_connection_to_the_next() {
        let mut first = inbox(b"\0\0\0\x02ab");
        let place = first.room().as_ptr();
        let frame = first.take_frame().unwrap().unwrap();
        first.rest();
        // A frame of it is still read.
        let other = inbox(b"\0\0\0\x02cd").room().as_ptr();
        assert_ne!(place, other);
        let mut second = inbox(b"\0\0\0\x02ab");
        let place = second.room().as_ptr();
        drop((frame, second.take_frame()));
        second.rest();
        assert_eq!(inbox(b"").room().as_ptr(), place);
    }

    #[test]
    fn frames_that_are_sent_ahead_get_room_for_several() {
        let frame = [&20_000_i32.to_be_bytes()[..], &[7; 20_000]].concat();
        let room_after = |begun: &[u8]| {
            let mut inbox = Inbox::new(1 << 20);
            inbox.room().extend_from_slice(&[&frame, begun].concat());
            assert_eq!(inbox.take_frame().unwrap().unwrap().len(), 20_000);
            let room = inbox.room();
            assert_eq!(room[..], *begun);
            room.capacity()
        };
        assert!(room_after(b"") < 2 * 20_000, "one frame at a time");
        assert!((4 * 20_000..=2 * AHEAD_BYTES_MAX).contains(&room_after(&frame[..10])));
    }

    #[test]
    fn a_claimed_length_alone_takes_no_memory() {
        let mut inbox = Inbox::new(100 << 20);
        inbox.room().extend_from_slice(&(100_i32 << 20).to_be_bytes());
        assert_eq!(inbox.take_frame(), Ok(None));
        assert!(inbox.room().capacity() <= 4 * GROWTH_MIN, "{}", inbox.room().capacity());
    }
}
