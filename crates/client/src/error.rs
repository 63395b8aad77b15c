//! What can go wrong between here and a broker.

use std::io;
use std::sync::Arc;

use ottla_protocol::{DecodeError, EncodeError};
use ottla_records::BadBatch;
use ottla_types::ErrorCode;

use crate::obstacle::TooFewBrokers;

/// Why a request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection to the broker: it has not seen the request.
    #[error("{address}: {source}")]
    Connection {
        /// The broker.
        address: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The connection broke, or the broker was silent, after the request was sent: it may have been
    /// carried out.
    #[error("{address}: {source}")]
    Unanswered {
        /// The broker.
        address: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// That is not the address of a broker.
    #[error("{address:?}: {why}")]
    Address {
        /// As it was named.
        address: String,
        /// What is wrong with the address.
        why: &'static str,
    },
    /// The answer cannot be read.
    #[error("the response cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// The request cannot be written.
    #[error("the request cannot be encoded: {0}")]
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
    /// The broker refuses, with a reason in its own words.
    #[error("{reason}")]
    RefusedBecause {
        /// The kind of refusal.
        code: ErrorCode,
        /// In the broker's words.
        reason: String,
    },
    /// A record is larger than a request may be.
    #[error("the record takes up to {bytes} bytes, more than max.request.size allows ({most})")]
    RecordTooLarge {
        /// How many bytes it takes at most.
        bytes: usize,
        /// How many it may take.
        most: usize,
    },
    /// A broker cannot be reached at its advertised address.
    #[error(
        "broker {node} advertises {address} (advertised.listeners), which cannot be reached from here: {source}"
    )]
    Advertised {
        /// Which broker.
        node: i32,
        /// Its advertised address.
        address: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The broker does not speak a version that this client speaks.
    #[error("the broker supports no version of {0} that this client supports")]
    Version(&'static str),
    /// No coordinator can exist in this client.
    #[error(transparent)]
    NoCoordinator(TooFewBrokers),
    /// A subscription's pattern is not a regular expression.
    #[error("the topic pattern is not a valid regular expression: {0}")]
    Pattern(String),
    /// There is no offset to start at, and `auto.offset.reset` is `none`.
    #[error("no committed offset for {0}, and auto.offset.reset=none")]
    NoOffset(String),
    /// It took too long, with retries.
    #[error("{0} timed out")]
    TimedOut(String),
}

impl ClientError {
    /// `Refused`, if `code` is an error.
    ///
    /// # Errors
    /// `code` is an error.
    pub fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), Self> {
        match ErrorCode(code) {
            ErrorCode::NONE => Ok(()),
            code => Err(Self::Refused { what: what(), code }),
        }
    }

    /// An error if `code` is one: with the broker's reason if it has given one, or else about
    /// `what`.
    ///
    /// # Errors
    /// `code` is an error.
    pub fn check_with_reason(
        code: i16,
        reason: Option<String>,
        what: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        match (ErrorCode(code), reason) {
            (ErrorCode::NONE, _) => Ok(()),
            (code, Some(reason)) => Err(Self::RefusedBecause { code, reason }),
            (code, None) => Err(Self::Refused { what: what(), code }),
        }
    }

    /// The code of a refusal by a broker.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::RefusedBecause { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// May the same succeed a little later?
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Refused { code, .. } | Self::RefusedBecause { code, .. } => code.is_retriable(),
            error => error.is_disconnected(),
        }
    }

    /// Is there no connection, or no longer one?
    #[must_use]
    pub const fn is_disconnected(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Unanswered { .. } | Self::Advertised { .. })
    }
}
