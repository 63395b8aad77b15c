//! Groups and offsets: the state machines behind the coordinators.
#![no_std]

extern crate alloc;

pub mod group;
pub mod pattern;
pub mod transaction;
