//! What stands around a message: a request's header, and the framings of stored records.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::metadata::MetadataRecord;
use crate::shared::request_header::RequestHeader;
use crate::{
    ApiKey, DecodeError, Decoder, EncodeError, Encoder, LengthForm, Message, Request, Text,
    UnknownTags,
};

/// The only frame version of metadata records there is (KIP-631).
const METADATA_FRAME: u32 = 1;

/// What a request's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The API's key, whether known or not.
    pub key: i16,
    /// The version asked for, whether known or not.
    pub version: i16,
    /// To be repeated in the response.
    pub correlation: i32,
    /// What the client calls itself.
    pub client_id: Option<Text>,
}

/// Reads the header of a request. Of an API or a flexible version that is not known, only the part
/// that all headers share is read.
///
/// # Errors
/// The bytes end too early or hold no header.
pub fn read_request_head(d: &mut Decoder) -> Result<FrameHead, DecodeError> {
    let (key, version) = (d.i16()?, d.i16()?);
    let flexible = ApiKey::of(key)
        .is_some_and(|key| version >= key.flexible_from() && key.versions().contains(&version));
    let (correlation, client_id) = (d.i32()?, d.nullable_text(LengthForm::Fixed)?);
    if flexible {
        d.tags(&mut UnknownTags::default(), |_, _| Ok(false))?;
    }
    Ok(FrameHead { key, version, correlation, client_id })
}

/// A request as it goes over the wire: its length in four bytes, its header, its body.
///
/// # Errors
/// A value has no form in that version.
pub fn request_frame<R: Request>(
    request: &R,
    version: i16,
    correlation: i32,
    client_id: &str,
) -> Result<Vec<u8>, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY.code(),
        request_api_version: version,
        correlation_id: correlation,
        client_id: Some(client_id.to_owned()),
        ..Default::default()
    };
    let mut e = Encoder::new();
    header.encode(&mut e, if version >= R::FLEXIBLE_FROM { 2 } else { 1 })?;
    request.encode(&mut e, version)?;
    let mut all = Vec::with_capacity(4 + e.written());
    all.extend_from_slice(&i32::try_from(e.written()).unwrap_or(i32::MAX).to_be_bytes());
    for chunk in e.into_chunks() {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Has the response's header tagged fields? ApiVersions never has, so that a client that does not
/// yet know what the server speaks can read it (KIP-511).
#[must_use]
pub fn response_head_is_flexible(key: ApiKey, version: i16) -> bool {
    key != ApiKey::ApiVersions && version >= key.flexible_from()
}

/// Reads the value of a record of `__cluster_metadata`.
///
/// # Errors
/// The frame or the record is not known, the bytes end early or too late.
pub fn decode_metadata(value: Bytes) -> Result<MetadataRecord, DecodeError> {
    let mut d = Decoder::new(value);
    let frame = d.uvarint()?;
    if frame != METADATA_FRAME {
        return Err(DecodeError::Unknown { what: "frame version", value: i64::from(frame) });
    }
    let (kind, version) = (d.uvarint()?, d.uvarint()?);
    let short = |value: u32, what| {
        i16::try_from(value).map_err(|_| DecodeError::Unknown { what, value: i64::from(value) })
    };
    let (kind, version) = (short(kind, "record type")?, short(version, "record version")?);
    let record = MetadataRecord::decode(kind, &mut d, version)?
        .ok_or(DecodeError::Unknown { what: "record type", value: i64::from(kind) })?;
    d.finish()?;
    Ok(record)
}

/// Writes `record` in `version` as the value of a record of `__cluster_metadata`.
///
/// # Errors
/// There is no such version, or a value has no form in it.
pub fn encode_metadata(record: &MetadataRecord, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::new();
    e.uvarint(METADATA_FRAME);
    e.uvarint(u32::from(record.kind().unsigned_abs()));
    e.uvarint(u32::from(version.unsigned_abs()));
    record.encode(&mut e, version)?;
    Ok(e.into_bytes())
}

/// The type of a coordinator's record and the bytes of its key's body.
///
/// # Errors
/// The key is shorter than its type.
pub fn decode_key(key: Bytes) -> Result<(i16, Decoder), DecodeError> {
    let mut d = Decoder::new(key);
    Ok((d.i16()?, d))
}

/// The version of a coordinator's record and the bytes of its value's body.
///
/// # Errors
/// The value is shorter than its version.
pub fn decode_value(value: Bytes) -> Result<(i16, Decoder), DecodeError> {
    let mut d = Decoder::new(value);
    Ok((d.i16()?, d))
}

/// Writes a coordinator's key of type `kind`; the bodies of keys have one version, 0.
///
/// # Errors
/// A value has no form.
pub fn encode_key(kind: i16, key: &impl Message) -> Result<Bytes, EncodeError> {
    encode_prefixed(kind, key, 0)
}

/// Writes a coordinator's value in `version`.
///
/// # Errors
/// There is no such version, or a value has no form in it.
pub fn encode_value(value: &impl Message, version: i16) -> Result<Bytes, EncodeError> {
    encode_prefixed(version, value, version)
}

fn encode_prefixed(prefix: i16, body: &impl Message, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::new();
    e.i16(prefix);
    body.encode(&mut e, version)?;
    Ok(e.into_bytes())
}
