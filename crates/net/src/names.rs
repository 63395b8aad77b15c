//! The names and addresses of this machine.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

/// Is this an address of this machine? An address of another one cannot be bound.
fn is_local_address(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// Is this name or address one of this machine? The name is looked up.
#[must_use]
pub fn is_local_host(host: &str) -> bool {
    let found = (host, 0).to_socket_addrs();
    found.is_ok_and(|mut found| found.any(|it| is_local_address(it.ip())))
}

/// What other machines call this one, as Kafka finds it (`InetAddress.getCanonicalHostName`): the
/// name that the address behind the host name has, if that name leads back to the address, and
/// else the address.
#[must_use]
pub fn canonical_host_name() -> String {
    let Ok(name) = dns_lookup::get_hostname() else { return "localhost".to_owned() };
    let addresses = |name: &str| -> Vec<IpAddr> {
        let found = (name, 0).to_socket_addrs();
        found.map_or_else(|_| Vec::new(), |all| all.map(|it| it.ip()).collect())
    };
    let found = addresses(&name);
    let own = found.iter().find(|it| it.is_ipv4()).or(found.first());
    let Some(own) = own else { return name };
    match dns_lookup::lookup_addr(own) {
        Ok(canonical) if addresses(&canonical).contains(own) => canonical,
        _ => own.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_of_this_machine_and_a_reserved_one_is_not() {
        assert!(is_local_host("127.0.0.1") && is_local_host("::1"));
        assert!(!is_local_host("192.0.2.1"));
    }

    #[test]
    fn this_machine_has_a_name_that_does_not_stand_for_all() {
        let name = canonical_host_name();
        assert!(!name.is_empty() && name != "0.0.0.0" && name != "::", "{name}");
    }
}
