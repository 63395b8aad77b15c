//! Groups and offsets: the state machines behind the coordinators.
#![no_std]

extern crate alloc;

pub mod group;
mod pattern;
pub mod transaction;
