//! Writes values; large byte fields are kept as they are, as chunks of their own.

use alloc::vec::Vec;
use core::mem;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_types::Uuid;

use crate::{LengthForm, LengthWidth, Part, UnknownTags};

/// Byte fields from this size on are not copied.
const KEPT_FROM: usize = 1024;

/// Why a message has no form in the version asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Null where the version does not allow it.
    #[error("{0} may not be null in this version")]
    Null(&'static str),
    /// A text or array too long for its length field.
    #[error("{0} is too long for its length field")]
    TooLong(usize),
    /// No such version of the message.
    #[error("{name} has no version {version}")]
    Version {
        /// The message.
        name: &'static str,
        /// What was asked for.
        version: i16,
    },
}

/// Bytes being written front to back.
#[derive(Debug, Default)]
pub struct Encoder {
    done: Vec<Bytes>,
    tail: BytesMut,
}

type Encoded = Result<(), EncodeError>;

macro_rules! fixed {
    ($($name:ident: $ty:ty, $write:ident;)*) => {
        $(
            /// Writes a big-endian value.
            #[inline]
            pub fn $name(&mut self, value: $ty) {
                self.tail.$write(value);
            }
        )*
    };
}

impl Encoder {
    /// Nothing written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing written yet, with this to be written into; it is empty.
    #[must_use]
    pub const fn with_room(room: BytesMut) -> Self {
        Self { done: Vec::new(), tail: room }
    }

    /// How many bytes were written.
    #[must_use]
    pub fn written(&self) -> usize {
        self.tail.len() + self.done.iter().map(Bytes::len).sum::<usize>()
    }

    /// All that was written, to be sent one after the other.
    #[must_use]
    pub fn into_chunks(mut self) -> Vec<Bytes> {
        if !self.tail.is_empty() {
            self.done.push(self.tail.freeze());
        }
        self.done
    }

    /// As [`Encoder::into_chunks`], with what was written last as it is: of a short message that
    /// is all, and nothing is allocated for a list of it.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Bytes>, BytesMut) {
        (self.done, self.tail)
    }

    /// All that was written in one piece.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.done.is_empty() {
            return self.tail.freeze();
        }
        let mut all = BytesMut::with_capacity(self.written());
        for chunk in &self.done {
            all.extend_from_slice(chunk);
        }
        all.extend_from_slice(&self.tail);
        all.freeze()
    }

    fixed! {
        i8: i8, put_i8;
        i16: i16, put_i16;
        u16: u16, put_u16;
        i32: i32, put_i32;
        u32: u32, put_u32;
        i64: i64, put_i64;
        f64: f64, put_f64;
    }

    /// Writes one byte, 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.tail.put_u8(u8::from(value));
    }

    /// Writes 16 bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.tail.put_slice(&value.0);
    }

    /// Writes an unsigned variable-length integer.
    pub fn uvarint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.tail.put_u8(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value.to_le_bytes()[0]);
    }

    /// Writes bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    fn length(&mut self, form: LengthForm, width: LengthWidth, length: usize) -> Encoded {
        let too_long = |_| EncodeError::TooLong(length);
        match (form, width) {
            (LengthForm::Compact, _) => {
                let length = u32::try_from(length).ok().and_then(|length| length.checked_add(1));
                self.uvarint(length.ok_or(EncodeError::TooLong(usize::MAX))?);
            }
            (LengthForm::Fixed, LengthWidth::Four) => {
                self.i32(i32::try_from(length).map_err(too_long)?)
            }
            (LengthForm::Fixed, LengthWidth::Two) => {
                self.i16(i16::try_from(length).map_err(too_long)?)
            }
        }
        Ok(())
    }

    fn null(&mut self, form: LengthForm, width: LengthWidth) {
        match (form, width) {
            (LengthForm::Compact, _) => self.uvarint(0),
            (LengthForm::Fixed, LengthWidth::Four) => self.i32(-1),
            (LengthForm::Fixed, LengthWidth::Two) => self.i16(-1),
        }
    }

    /// Writes a text.
    ///
    /// # Errors
    /// It is too long.
    pub fn string(&mut self, form: LengthForm, text: &str) -> Encoded {
        self.length(form, LengthWidth::Two, text.len())?;
        self.tail.put_slice(text.as_bytes());
        Ok(())
    }

    /// Writes a text or null.
    ///
    /// # Errors
    /// It is too long.
    pub fn nullable_string(&mut self, form: LengthForm, text: Option<&str>) -> Encoded {
        match text {
            Some(text) => self.string(form, text),
            None => {
                self.null(form, LengthWidth::Two);
                Ok(())
            }
        }
    }

    /// Writes bytes; many of them become a chunk of their own.
    ///
    /// # Errors
    /// There are more bytes than the length field can count.
    pub fn bytes(&mut self, form: LengthForm, bytes: &Bytes) -> Encoded {
        self.length(form, LengthWidth::Four, bytes.len())?;
        if bytes.len() < KEPT_FROM {
            self.tail.put_slice(bytes);
        } else {
            let before = mem::take(&mut self.tail);
            if !before.is_empty() {
                self.done.push(before.freeze());
            }
            self.done.push(bytes.clone());
        }
        Ok(())
    }

    /// Writes bytes or null.
    ///
    /// # Errors
    /// There are more bytes than the length field can count.
    pub fn nullable_bytes(&mut self, form: LengthForm, bytes: Option<&Bytes>) -> Encoded {
        match bytes {
            Some(bytes) => self.bytes(form, bytes),
            None => {
                self.null(form, LengthWidth::Four);
                Ok(())
            }
        }
    }

    /// Writes an array.
    ///
    /// # Errors
    /// It is too long, or an element has no form in this version.
    pub fn array<T>(
        &mut self,
        form: LengthForm,
        all: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Encoded,
    ) -> Encoded {
        self.length(form, LengthWidth::Four, all.len())?;
        all.iter().try_for_each(|one| write(self, one))
    }

    /// Writes an array or null.
    ///
    /// # Errors
    /// As [`Encoder::array`].
    pub fn nullable_array<T>(
        &mut self,
        form: LengthForm,
        all: Option<&[T]>,
        write: impl FnMut(&mut Self, &T) -> Encoded,
    ) -> Encoded {
        match all {
            Some(all) => self.array(form, all, write),
            None => {
                self.null(form, LengthWidth::Four);
                Ok(())
            }
        }
    }

    /// Writes a byte that says whether there is a struct, and the struct.
    ///
    /// # Errors
    /// Those of the struct's encoding.
    pub fn nullable_part<P: Part>(&mut self, part: Option<&P>, version: i16) -> Encoded {
        match part {
            Some(part) => {
                self.i8(1);
                part.write(self, version)
            }
            None => {
                self.i8(-1);
                Ok(())
            }
        }
    }

    /// Writes a number that says whether there is a struct, and the struct: the value of a
    /// tagged field.
    ///
    /// # Errors
    /// Those of the struct's encoding.
    pub fn nullable_tagged_part<P: Part>(&mut self, part: Option<&P>, version: i16) -> Encoded {
        self.uvarint(u32::from(part.is_some()));
        match part {
            Some(part) => part.write(self, version),
            None => Ok(()),
        }
    }
}

/// Tagged fields on their way into a message.
#[derive(Debug, Default)]
pub struct Tags(Vec<(u32, Bytes)>);

impl Tags {
    /// Adds the field that `write` writes.
    ///
    /// # Errors
    /// As `write`.
    pub fn put(&mut self, tag: u32, write: impl FnOnce(&mut Encoder) -> Encoded) -> Encoded {
        let mut value = Encoder::new();
        write(&mut value)?;
        self.0.push((tag, value.into_bytes()));
        Ok(())
    }

    /// Writes the known and the unknown fields, ascending.
    pub fn finish(mut self, unknown: &UnknownTags, e: &mut Encoder) {
        if !unknown.0.is_empty() {
            self.0.extend_from_slice(&unknown.0);
            self.0.sort_by_key(|(tag, _)| *tag);
        }
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        e.uvarint(count);
        for (tag, value) in self.0 {
            e.uvarint(tag);
            e.uvarint(u32::try_from(value.len()).unwrap_or(u32::MAX));
            e.raw(&value);
        }
    }
}
