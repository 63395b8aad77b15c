//! Kafka's uuids: 16 bytes, written as 22 characters of unpadded base64url.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// A topic id, directory id, incarnation id or cluster id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// Why a text is no uuid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUuid;

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a uuid: 22 characters of base64url are due")
    }
}

impl core::error::Error for InvalidUuid {}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All zeros: no id. As a directory id: MIGRATING.
    pub const ZERO: Self = Self::of(0);
    /// The topic id of `__cluster_metadata`. As a directory id: UNASSIGNED.
    pub const ONE: Self = Self::of(1);
    /// As a directory id: LOST.
    pub const LOST: Self = Self::of(2);

    /// The uuid whose low 64 bits are `low` and whose other bits are zero.
    #[must_use]
    pub const fn of(low: u64) -> Self {
        let b = low.to_be_bytes();
        Self([0, 0, 0, 0, 0, 0, 0, 0, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
    }

    /// A version 4 uuid from 16 random bytes. Kafka draws again when the text would start with
    /// a dash (it would look like an option) or the id is reserved; `None` asks for that.
    #[must_use]
    pub fn random(mut bytes: [u8; 16]) -> Option<Self> {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = Self(bytes);
        let dashed = ALPHABET[usize::from(bytes[0] >> 2)] == b'-';
        (!dashed && !id.is_reserved()).then_some(id)
    }

    /// Is this no id at all?
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        u128::from_be_bytes(self.0) == 0
    }

    /// The first hundred uuids are kept for special meanings (KIP-858).
    #[must_use]
    pub const fn is_reserved(&self) -> bool {
        u128::from_be_bytes(self.0) < 100
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(22);
        for group in self.0.chunks(3) {
            let mut bits = 0u32;
            for i in 0..3 {
                bits = bits << 8 | u32::from(group.get(i).copied().unwrap_or(0));
            }
            for i in 0..=group.len() {
                let index = (bits >> (18 - 6 * i)) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let text = text.trim_end_matches('=').as_bytes();
        if text.len() != 22 {
            return Err(InvalidUuid);
        }
        let mut bits = 0u128;
        for (i, &c) in text.iter().enumerate() {
            let value = ALPHABET.iter().position(|&a| a == c).ok_or(InvalidUuid)? as u128;
            // 22 characters are 132 bits: the last one gives only its upper two.
            bits = if i == 21 { bits << 2 | value >> 4 } else { bits << 6 | value };
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_and_bytes_are_each_others_inverse() {
        for text in ["4L6g3nShT-eMCtK--X86sw", "JEXY6aqzQY-32P5TStzaFg", "AAAAAAAAAAAAAAAAAAAAAQ"] {
            let id: Uuid = text.parse().expect("a uuid");
            assert_eq!(id.to_string(), text);
        }
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    #[test]
    fn what_is_no_uuid_is_refused() {
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAA!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid), "{text}");
        }
    }

    #[test]
    fn a_random_uuid_is_never_reserved_and_never_starts_with_a_dash() {
        assert_eq!(Uuid::random([0xf8; 16]), None);
        let id = Uuid::random([7; 16]).expect("fine bytes");
        assert_eq!(id.0[6] >> 4, 4);
    }
}
