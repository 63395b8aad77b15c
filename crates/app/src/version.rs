//! Which program this is.

/// The release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, or `unknown`.
pub const COMMIT: &str = env!("OTTLA_COMMIT");
/// The release of Apache Kafka whose protocol, files and settings it has.
pub const KAFKA: &str = "4.3.1";
/// What `--version` says after the name.
pub const LONG: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("OTTLA_COMMIT"), ", Apache Kafka 4.3.1)");
