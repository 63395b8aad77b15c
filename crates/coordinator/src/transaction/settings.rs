//! The settings that a transaction coordinator obeys; the host replaces them when an operator does.

/// What the operator decided about transactions; the defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`
    pub timeout_max_ms: i32,
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiration_check_ms: i64,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        Self {
            timeout_max_ms: 900_000,
            id_expiration_ms: 7 * 24 * 60 * 60 * 1_000,
            expiration_check_ms: 60 * 60 * 1_000,
        }
    }
}
