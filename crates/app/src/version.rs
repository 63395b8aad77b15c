//! What this build is.

/// The commit that it was built from, or `unknown`; see `build.rs`.
pub const COMMIT: &str = env!("OTTLA_COMMIT");
/// The release of Apache Kafka whose protocol, files and commands it has.
pub const KAFKA: &str = "4.3.1";
/// What `--version` says after the name.
pub const LONG: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("OTTLA_COMMIT"), ", Apache Kafka 4.3.1)");
