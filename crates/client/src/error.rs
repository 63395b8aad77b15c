//! What can go wrong between here and a broker.

use ottla_protocol::{DecodeError, EncodeError};
use ottla_records::BadBatch;
use ottla_types::ErrorCode;

use crate::obstacle::TooFewBrokers;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection cannot be made, or broke.
    #[error("{address}: {source}")]
    Connection {
        /// The broker.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// That is no broker's address.
    #[error("{address:?}: {why}")]
    Address {
        /// As it was named.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The answer cannot be read.
    #[error("an answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The request cannot be written.
    #[error("a request cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// A batch cannot be read or made.
    #[error(transparent)]
    Batch(#[from] BadBatch),
    /// The broker refuses.
    #[error("{what}: {} ({})", .code.message(), .code.name())]
    Refused {
        /// What was asked.
        what: String,
        /// Why not.
        code: ErrorCode,
    },
    /// The broker refuses, and says why.
    #[error("{why}")]
    Told {
        /// The kind of refusal.
        code: ErrorCode,
        /// In the broker's words.
        why: String,
    },
    /// A record is larger than a request may be.
    #[error("the record takes up to {bytes} bytes, more than max.request.size allows ({most})")]
    RecordTooLarge {
        /// How many bytes it takes at most.
        bytes: usize,
        /// How many it may take.
        most: usize,
    },
    /// A broker cannot be reached where it says that it is.
    #[error(
        "broker {node} says that it listens on {address} (advertised.listeners), and that cannot be reached from here: {source}"
    )]
    Advertised {
        /// Which broker.
        node: i32,
        /// Where it says that it is.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The broker does not speak a version that this client speaks.
    #[error("the broker has no version of {0} that this client speaks")]
    Version(&'static str),
    /// No coordinator can exist in this cluster.
    #[error(transparent)]
    NoCoordinator(TooFewBrokers),
    /// A subscription's pattern is none.
    #[error("the pattern of topics is not a regular expression: {0}")]
    Pattern(String),
    /// There is no offset to start at, and `auto.offset.reset` is `none`.
    #[error("there is no offset to start at in {0}, and auto.offset.reset is none")]
    NoOffset(String),
    /// It took too long, with retries.
    #[error("{0} took too long")]
    TimedOut(String),
}

impl ClientError {
    /// An error if `code` is one.
    ///
    /// # Errors
    /// It is one.
    pub fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), Self> {
        match ErrorCode(code) {
            ErrorCode::NONE => Ok(()),
            code => Err(Self::Refused { what: what(), code }),
        }
    }

    /// May the same succeed a little later?
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Advertised { .. } => true,
            Self::Refused { code, .. } | Self::Told { code, .. } => code.is_retriable(),
            _ => false,
        }
    }
}
