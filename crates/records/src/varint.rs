//! Zigzag variable-length integers, at most five and ten bytes long.

/// Reads one off the front; `None` if it does not end in time.
pub fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    let mut at = 0;
    let raw = raw_u32(bytes, &mut at)?;
    *bytes = &bytes[at..];
    Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads one off the front; `None` if it does not end in time.
pub fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut at = 0;
    let raw = raw_u64(bytes, &mut at)?;
    *bytes = &bytes[at..];
    Some(unzigzag(raw))
}

/// The number that `raw` stands for.
pub const fn unzigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
}

/// The one at `at`, still zigzag; `at` is behind it then. `None` if it does not end in time.
#[inline]
pub fn raw_u32(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(first.into());
    }
    u32::try_from(long_varint(bytes, at, 5)?).ok()
}

/// As [`raw_u32`], of up to ten bytes.
#[inline]
pub fn raw_u64(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(first.into());
    }
    long_varint(bytes, at, 10)
}

fn long_varint(bytes: &[u8], at: &mut usize, longest: usize) -> Option<u64> {
    let bytes = bytes.get(*at..)?;
    // Most take two bytes.
    if let [first, second, ..] = bytes
        && *second < 0x80
    {
        *at += 2;
        return Some(u64::from(first & 0x7f) | u64::from(*second) << 7);
    }
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(longest).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            *at += index + 1;
            return Some(value);
        }
    }
    None
}

/// Writes one.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw > 0x7f {
        out.push(raw.to_le_bytes()[0] | 0x80);
        raw >>= 7;
    }
    out.push(raw.to_le_bytes()[0]);
}

/// How many bytes it takes.
pub const fn size_i64(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let bits = 64 - (raw | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// A length that must be there, or -1 for null.
pub fn length_i64(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_takes_as_long_as_said() {
        let values = [0, -1, 1, 63, 64, -64, -65, 8191, 1 << 31, i64::MAX, i64::MIN];
        for value in values {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            assert_eq!(out.len(), size_i64(value), "{value}");
            assert_eq!(read_i64(&mut out.as_slice()), Some(value));
        }
    }

    #[test]
    fn one_that_never_ends_is_none() {
        assert_eq!(read_i64(&mut [0xff; 64].as_slice()), None);
        assert_eq!(read_i32(&mut [0xff; 64].as_slice()), None);
        assert_eq!(read_i32(&mut [0xff; 2].as_slice()), None);
        // Five bytes, but 35 bits.
        assert_eq!(read_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x7f].as_slice()), None);
    }
}
