//! Garden: what keeps the house tidy. No crate may depend on this one.
//!
//! Each check reads the work tree as text and returns the places that break its rule; the tests in
//! `tests/it` demand that there are none. They run with `cargo test -p ottla-xtask`.

pub mod chance;
pub mod changed;
pub mod code;
pub mod counts;
pub mod doors;
pub mod law;
pub mod names;
pub mod paths;
pub mod reexports;
pub mod scaffold;
pub mod sizes;
pub mod steps;
pub mod tree;
