//! Groups, offsets, transactions: the state machines behind the coordinators.

#![no_std]
