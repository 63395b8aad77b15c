//! Addresses as they are written.

use alloc::format;
use alloc::string::String;
use core::fmt::Display;

/// `host:port`; an IPv6 address stands in brackets.
pub fn join_host_port(host: &str, port: impl Display) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_told_from_its_port() {
        let written = ["a", "127.0.0.1", "::1"].map(|host| join_host_port(host, 9092));
        assert_eq!(written, ["a:9092", "127.0.0.1:9092", "[::1]:9092"]);
    }
}
