//! Raft running on files; the metadata log as a journal.
