//! Committed offsets: commit, fetch, delete, expire.

pub(super) mod commit;
pub(super) mod delete;
pub(super) mod expire;
pub(super) mod fetch;
