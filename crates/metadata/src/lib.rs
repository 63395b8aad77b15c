//! What the cluster is, and what to do about it.

#![no_std]
