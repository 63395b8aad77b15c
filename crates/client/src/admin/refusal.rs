//! Why one item of a request was refused.

use std::fmt::Display;

use ottla_types::ErrorCode;

use crate::error::ClientError;

/// Why a broker refused one item of a request that may have had several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRefusal {
    /// The kind of refusal.
    pub code: ErrorCode,
    /// In the broker's words, if it has given any.
    pub reason: Option<String>,
}

impl ItemRefusal {
    /// An error if `code` is one.
    pub(crate) fn check(code: i16, reason: Option<String>) -> Result<(), Self> {
        match ErrorCode(code) {
            ErrorCode::NONE => Ok(()),
            code => Err(Self { code, reason }),
        }
    }

    /// The same as an error about `what`.
    #[must_use]
    pub fn about(self, what: &str) -> ClientError {
        let Self { code, reason } = self;
        match reason {
            Some(reason) => ClientError::RefusedBecause { code, reason },
            None => ClientError::Refused { what: what.to_owned(), code },
        }
    }
}

impl ClientError {
    /// As [`ClientError::check`], of an item that may come with the broker's own words.
    pub(crate) fn check_item(
        code: i16,
        reason: Option<String>,
        what: impl Display,
    ) -> Result<(), Self> {
        ItemRefusal::check(code, reason).map_err(|refusal| refusal.about(&what.to_string()))
    }
}
