//! One partition's log in files: append, read, recover.
