//! The record batch: bytes, compression, checksums, control records.
