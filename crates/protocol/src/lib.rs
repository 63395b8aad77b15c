//! Every request, response and stored record, generated from our own schema files.
//!
//! `schemas/` says what a message holds in which version, `build/` turns that into one module for
//! each message. Here lies what the generated code stands on: [`Decoder`], which never allocates
//! more than the bytes that are really there can fill, [`Encoder`], which keeps large byte fields
//! as they are instead of copying them, and the framings of the records in internal topics.
//!
//! Byte fields are slices of the frame they came in. A field that a version does not have is left
//! out when written and has its default when read.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod decoder;
mod encoder;
mod framing;
mod json;

pub use decoder::{DecodeError, Decoder};
pub use encoder::{EncodeError, Encoder};
pub use framing::{
    FrameHead, decode_key, decode_metadata, decode_value, encode_key, encode_metadata,
    encode_value, read_request_head, request_frame, response_head_is_flexible,
};
pub use generated_api_key::ApiKey;
pub use json::{Json, ToJson};

use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::{Deref, RangeInclusive};
use ottla_types::ErrorCode;

/// Tagged fields that a schema does not know, in the order they came (KIP-482).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownTags(pub Vec<(u32, Bytes)>);

/// How the length of a text, of bytes or of an array is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthForm {
    /// In two or four bytes.
    Fixed,
    /// As a number of variable length, which is one more than the length; 0 is null (KIP-482).
    Compact,
}

/// How many bytes [`LengthForm::Fixed`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LengthWidth {
    /// For a text.
    Two,
    /// For bytes and arrays.
    Four,
}

/// A text that is a slice of the frame it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Bytes);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // It was looked at when it was read.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A struct inside a message; has no versions of its own.
pub trait Part: Default {
    /// Reads the struct as `version` of its message has it.
    ///
    /// # Errors
    /// The bytes end too early or are no such struct.
    fn read(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let mut it = Self::default();
        it.read_into(d, version)?;
        Ok(it)
    }

    /// As [`Part::read`], into the memory that this one has.
    ///
    /// # Errors
    /// As `read`; the fields of `self` are undefined then.
    fn read_into(&mut self, d: &mut Decoder, version: i16) -> Result<(), DecodeError>;

    /// Writes the struct as `version` of its message has it.
    ///
    /// # Errors
    /// A value has no form in that version.
    fn write(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError>;
}

/// A request, a response or a stored record.
pub trait Message: Part {
    /// As Kafka calls it.
    const NAME: &'static str;
    /// The versions there are.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields; `i16::MAX` if none has.
    const FLEXIBLE_FROM: i16;

    /// Reads the message; what follows it stays in `d`.
    ///
    /// # Errors
    /// There is no such version, the bytes end too early or are no such message.
    fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let mut it = Self::default();
        it.decode_into(d, version)?;
        Ok(it)
    }

    /// As [`Message::decode`], into the memory that this one has.
    ///
    /// # Errors
    /// As `decode`; the fields of `self` are undefined then.
    fn decode_into(&mut self, d: &mut Decoder, version: i16) -> Result<(), DecodeError> {
        if Self::VERSIONS.contains(&version) {
            self.read_into(d, version)
        } else {
            Err(DecodeError::Version { name: Self::NAME, version })
        }
    }

    /// Writes the message.
    ///
    /// # Errors
    /// There is no such version, or a value has no form in it.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        if Self::VERSIONS.contains(&version) {
            self.write(e, version)
        } else {
            Err(EncodeError::Version { name: Self::NAME, version })
        }
    }
}

/// A message that asks for another.
pub trait Request: Message {
    /// Its key on the wire.
    const KEY: ApiKey;
    /// What answers it.
    type Response: Message + Answer;

    /// How long the server may take, in milliseconds, if the request says so (`timeoutMs`).
    fn timeout_ms(&self) -> Option<i32> {
        None
    }
}

/// A response, or a part of one.
pub trait Answer {
    /// Has it this error code, for the whole request or for one of the things asked for?
    fn has_error(&self, code: ErrorCode) -> bool;
}

#[allow(clippy::too_many_lines)]
mod generated_api_key {
    use core::ops::RangeInclusive;
    include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

    impl ApiKey {
        /// The key as it stands in a request's header.
        #[must_use]
        pub const fn code(self) -> i16 {
            self as i16
        }

        /// The key that stands in a request's header; `None` if there is no such API.
        #[must_use]
        pub fn of(code: i16) -> Option<Self> {
            let at = Self::ALL.binary_search_by_key(&code, |key| key.code()).ok()?;
            Some(Self::ALL[at])
        }
    }
}

/// What every generated module starts with.
mod generated {
    pub use crate::encoder::Tags;
    pub use crate::{
        Answer, ApiKey, DecodeError, Decoder, EncodeError, Encoder, LengthForm, Message, Part,
        Request, UnknownTags,
    };
    pub use alloc::string::String;
    pub use alloc::vec::Vec;
    pub use bytes::Bytes;
    pub use core::ops::RangeInclusive;
    pub use ottla_types::{ErrorCode, Uuid};
}

/// Requests and responses, a module for each, and enums over all of them.
#[allow(unused_variables, unused_mut, clippy::all, clippy::too_many_lines)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

include!(concat!(env!("OUT_DIR"), "/stored.rs"));
