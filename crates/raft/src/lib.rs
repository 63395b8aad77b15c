//! KRaft: election, voters, commit point of the metadata quorum.

#![no_std]
