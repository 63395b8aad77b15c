//! The quorum without chance and time: every order of events within bounds, for a model checker.
//!
//! The world is that of the seeds, and so are its steps and its invariants. What a seed draws is a
//! choice here: which message comes next or is lost, when a write is done, who crashes and what of
//! its writes is on the disk. Time does not pass. All timeouts are 0, so that each deadline has
//! always come; whether it is noticed is a choice, too.

mod action;
mod state;

pub(crate) use action::ModelAction;
pub(crate) use state::ModelState;
