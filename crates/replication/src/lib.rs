//! One partition's in-sync set, watermarks, truncation point.
