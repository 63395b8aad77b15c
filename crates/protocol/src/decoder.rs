//! Reads values off a frame, bounded by what the frame really holds.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};
use ottla_types::Uuid;

use crate::{LengthForm, LengthWidth, Part, Text, UnknownTags};

/// How many array elements one decoder hands out before it calls the message hostile: a struct
/// may take a hundred times the bytes in memory that its shortest form takes in the frame.
const ELEMENTS_MAX: usize = 1_000_000;
/// How many elements are allocated for before the first of them has been read.
const PREALLOCATED_MAX: usize = 256;

/// Why bytes are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes were due than there are.
    #[error("message ends early: {due} more bytes are needed, {left} are left")]
    TooShort {
        /// How many the next value takes.
        due: usize,
        /// How many there are.
        left: usize,
    },
    /// A variable-length integer without an end.
    #[error("variable-length integer is too long")]
    Varint,
    /// Null where the version does not allow it.
    #[error("null in a field that is not nullable")]
    Null,
    /// More elements than any honest message has.
    #[error("more than {ELEMENTS_MAX} elements")]
    TooMany,
    /// Bytes behind a value's end.
    #[error("message has {0} bytes too many")]
    TooLong(usize),
    /// No such version of the message.
    #[error("{name} has no version {version}")]
    Version {
        /// The message.
        name: &'static str,
        /// What was asked for.
        version: i16,
    },
    /// A frame version, type or tag that is not known.
    #[error("unknown {what} {value}")]
    Unknown {
        /// What is unknown.
        what: &'static str,
        /// Its value.
        value: i64,
    },
}

/// Bytes to be read front to back.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
    elements_left: usize,
}

type Decoded<T> = Result<T, DecodeError>;

macro_rules! fixed {
    ($($name:ident: $ty:ty, $read:ident, $size:literal;)*) => {
        $(
            /// Reads a big-endian value.
            ///
            /// # Errors
            /// The bytes end too early.
            #[inline]
            pub fn $name(&mut self) -> Decoded<$ty> {
                self.need($size)?;
                Ok(self.bytes.$read())
            }
        )*
    };
}

impl Decoder {
    /// Reads `bytes`.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes, elements_left: ELEMENTS_MAX }
    }

    /// How many bytes have not been read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.bytes
    }

    /// Errors if anything has not been read.
    ///
    /// # Errors
    /// There are bytes left.
    pub fn finish(&self) -> Decoded<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError::TooLong(self.bytes.len())) }
    }

    #[inline]
    fn need(&self, due: usize) -> Decoded<()> {
        let left = self.bytes.len();
        if due <= left { Ok(()) } else { Err(DecodeError::TooShort { due, left }) }
    }

    fixed! {
        i8: i8, get_i8, 1;
        i16: i16, get_i16, 2;
        u16: u16, get_u16, 2;
        i32: i32, get_i32, 4;
        u32: u32, get_u32, 4;
        i64: i64, get_i64, 8;
        f64: f64, get_f64, 8;
    }

    /// Reads a byte; anything but 0 is true.
    ///
    /// # Errors
    /// The bytes end too early.
    pub fn bool(&mut self) -> Decoded<bool> {
        Ok(self.i8()? != 0)
    }

    /// Reads 16 bytes.
    ///
    /// # Errors
    /// The bytes end too early.
    pub fn uuid(&mut self) -> Decoded<Uuid> {
        self.need(16)?;
        let mut id = [0; 16];
        self.bytes.copy_to_slice(&mut id);
        Ok(Uuid(id))
    }

    /// Reads an unsigned variable-length integer.
    ///
    /// # Errors
    /// The bytes end too early, or the value has more than 32 bits.
    pub fn uvarint(&mut self) -> Decoded<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            self.need(1)?;
            let byte = self.bytes.get_u8();
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// Takes the next `len` bytes, without copying them.
    ///
    /// # Errors
    /// The bytes end too early.
    pub fn take(&mut self, len: usize) -> Decoded<Bytes> {
        self.need(len)?;
        Ok(self.bytes.split_to(len))
    }

    /// A compact length, or an old one of two or four bytes; `None` is null. Every length below 0
    /// means null, as in Kafka, not only -1.
    fn length(&mut self, form: LengthForm, width: LengthWidth) -> Decoded<Option<usize>> {
        let length = match (form, width) {
            (LengthForm::Compact, _) => i64::from(self.uvarint()?) - 1,
            (LengthForm::Fixed, LengthWidth::Four) => i64::from(self.i32()?),
            (LengthForm::Fixed, LengthWidth::Two) => i64::from(self.i16()?),
        };
        Ok(usize::try_from(length).ok())
    }

    /// Reads a text.
    ///
    /// # Errors
    /// It is null or longer than the bytes there are.
    pub fn string(&mut self, form: LengthForm) -> Decoded<String> {
        self.nullable_string(form)?.ok_or(DecodeError::Null)
    }

    /// Reads a text that may be null.
    ///
    /// # Errors
    /// It is longer than the bytes there are.
    pub fn nullable_string(&mut self, form: LengthForm) -> Decoded<Option<String>> {
        let Some(length) = self.length(form, LengthWidth::Two)? else { return Ok(None) };
        let text = self.text(length)?.into_owned();
        self.bytes.advance(length);
        Ok(Some(text))
    }

    /// The text that the next bytes are. Where they are not UTF-8 there is a replacement character,
    /// as Java reads them: a client whose id is in another encoding is served all the same.
    fn text(&self, length: usize) -> Decoded<Cow<'_, str>> {
        self.need(length)?;
        let bytes = &self.bytes[..length];
        Ok(core::str::from_utf8(bytes)
            .map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed))
    }

    /// Reads a text, into the memory that another had.
    ///
    /// # Errors
    /// As [`Decoder::string`].
    pub fn string_into(&mut self, form: LengthForm, out: &mut String) -> Decoded<()> {
        out.clear();
        let length = self.length(form, LengthWidth::Two)?.ok_or(DecodeError::Null)?;
        out.push_str(&self.text(length)?);
        self.bytes.advance(length);
        Ok(())
    }

    /// Reads a text that may be null, without copying it.
    ///
    /// # Errors
    /// As [`Decoder::nullable_string`].
    pub fn nullable_text(&mut self, form: LengthForm) -> Decoded<Option<Text>> {
        let Some(length) = self.length(form, LengthWidth::Two)? else { return Ok(None) };
        let replaced = match self.text(length)? {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(Bytes::from(text)),
        };
        let bytes = self.bytes.split_to(length);
        Ok(Some(Text(replaced.unwrap_or(bytes))))
    }

    /// Reads bytes, without copying them.
    ///
    /// # Errors
    /// They are null or longer than the bytes there are.
    pub fn bytes(&mut self, form: LengthForm) -> Decoded<Bytes> {
        self.nullable_bytes(form)?.ok_or(DecodeError::Null)
    }

    /// Reads bytes that may be null, without copying them.
    ///
    /// # Errors
    /// They are longer than the bytes there are.
    pub fn nullable_bytes(&mut self, form: LengthForm) -> Decoded<Option<Bytes>> {
        match self.length(form, LengthWidth::Four)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// Reads an array.
    ///
    /// # Errors
    /// It is null, has more elements than there are bytes, or an element is wrong.
    pub fn array<T>(
        &mut self,
        form: LengthForm,
        read: impl FnMut(&mut Self) -> Decoded<T>,
    ) -> Decoded<Vec<T>> {
        self.nullable_array(form, read)?.ok_or(DecodeError::Null)
    }

    /// Reads an array of structs, into the memory that another had.
    ///
    /// # Errors
    /// As [`Decoder::array`].
    pub fn array_into<T: Default>(
        &mut self,
        form: LengthForm,
        all: &mut Vec<T>,
        mut read: impl FnMut(&mut Self, &mut T) -> Decoded<()>,
    ) -> Decoded<()> {
        let count = self.count(form)?.ok_or(DecodeError::Null)?;
        all.truncate(count);
        all.reserve_exact(count.min(PREALLOCATED_MAX).saturating_sub(all.len()));
        for at in 0..count {
            if at == all.len() {
                all.push(T::default());
            }
            read(self, &mut all[at])?;
        }
        Ok(())
    }

    /// How many elements an array has; each has a byte at least.
    fn count(&mut self, form: LengthForm) -> Decoded<Option<usize>> {
        let Some(count) = self.length(form, LengthWidth::Four)? else { return Ok(None) };
        self.need(count)?;
        self.elements_left = self.elements_left.checked_sub(count).ok_or(DecodeError::TooMany)?;
        Ok(Some(count))
    }

    /// Reads an array that may be null.
    ///
    /// # Errors
    /// It has more elements than there are bytes, or an element is wrong.
    pub fn nullable_array<T>(
        &mut self,
        form: LengthForm,
        mut read: impl FnMut(&mut Self) -> Decoded<T>,
    ) -> Decoded<Option<Vec<T>>> {
        let Some(count) = self.count(form)? else { return Ok(None) };
        let mut all = Vec::with_capacity(count.min(PREALLOCATED_MAX));
        for _ in 0..count {
            all.push(read(self)?);
        }
        Ok(Some(all))
    }

    /// Reads a struct behind a byte that says whether there is one.
    ///
    /// # Errors
    /// Those of the struct's decoding.
    pub fn nullable_part<P: Part>(&mut self, version: i16) -> Decoded<Option<P>> {
        if self.i8()? < 0 { Ok(None) } else { P::read(self, version).map(Some) }
    }

    /// Reads a struct that is the value of a tagged field, behind a number that is 0 if there is
    /// none.
    ///
    /// # Errors
    /// Those of the struct's decoding.
    pub fn nullable_tagged_part<P: Part>(&mut self, version: i16) -> Decoded<Option<P>> {
        if self.uvarint()? == 0 { Ok(None) } else { P::read(self, version).map(Some) }
    }

    /// Reads tagged fields: `known` reads the value of a tag and says whether it knows it.
    ///
    /// # Errors
    /// Tags do not ascend, a value is wrong or has bytes too many.
    pub fn tags(
        &mut self,
        unknown: &mut UnknownTags,
        mut known: impl FnMut(u32, &mut Self) -> Decoded<bool>,
    ) -> Decoded<()> {
        let count = self.uvarint()?;
        let mut before = None;
        for _ in 0..count {
            let tag = self.uvarint()?;
            if before.is_some_and(|before| before >= tag) {
                return Err(DecodeError::Unknown { what: "tag", value: i64::from(tag) });
            }
            before = Some(tag);
            let size = self.uvarint()?;
            let value = self.take(usize::try_from(size).unwrap_or(usize::MAX))?;
            self.elements_left = self.elements_left.checked_sub(1).ok_or(DecodeError::TooMany)?;
            let mut inner = Self { bytes: value.clone(), elements_left: self.elements_left };
            if known(tag, &mut inner)? {
                inner.finish()?;
                self.elements_left = inner.elements_left;
            } else {
                unknown.0.push((tag, value));
            }
        }
        Ok(())
    }
}
