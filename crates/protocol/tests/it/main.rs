//! The codec against genuine bytes, against two other codecs, and against nonsense.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod answers;
mod golden;
mod hostile;
mod internal;
mod made;
mod oracles;
mod reused;
#[path = "../../build/schema.rs"]
#[expect(dead_code, reason = "the generator uses more of it than the tests")]
mod schema;
