//! How a log is kept.

/// How a log is kept. A change takes effect at the next append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The size at which a segment is full, in bytes (`segment.bytes`).
    pub segment_bytes: u64,
    /// The age at which a segment is full, in milliseconds (`segment.ms`).
    pub segment_ms: i64,
    /// How many bytes lie between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: u64,
    /// By how much at most `segment_ms` is shortened, differently for each segment, in
    /// milliseconds (`segment.jitter.ms`).
    pub segment_jitter_ms: i64,
    /// The size at which an index, and with it its segment, is full (`segment.index.bytes`).
    pub index_bytes_max: usize,
    /// After how many records the log is made durable, if at all (`flush.messages`).
    pub flush_messages: i64,
    /// For how long a silent producer is remembered, in milliseconds (`producer.id.expiration.ms`).
    pub producer_expiry_ms: i64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_bytes_max: 10 << 20,
            flush_messages: i64::MAX,
            producer_expiry_ms: 24 * 60 * 60 * 1000,
        }
    }
}
