//! Addresses of brokers, as people write them.

use crate::error::ClientError;

/// The port that is meant where none is named.
const DEFAULT_PORT: u16 = 9092;

/// The addresses of a list of brokers: `host:port`, `host` for port 9092, `[::1]:9092`.
pub(crate) fn broker_addresses(list: &str) -> Result<Vec<String>, ClientError> {
    let all = list.split(',').map(str::trim).filter(|it| !it.is_empty());
    let all: Vec<String> = all.map(broker_address).collect::<Result<_, _>>()?;
    match all.is_empty() {
        true => Err(ClientError::Address {
            address: list.to_owned(),
            why: "the list of brokers is empty",
        }),
        false => Ok(all),
    }
}

fn broker_address(text: &str) -> Result<String, ClientError> {
    let wrong = |why| ClientError::Address { address: text.to_owned(), why };
    if text.contains("://") {
        return Err(wrong("write host:port, without a protocol before it"));
    }
    let bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
    if bare_v6 {
        return Err(wrong("write an IPv6 address in brackets: [::1]:9092"));
    }
    match text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        None => Ok(format!("{text}:{DEFAULT_PORT}")),
        Some(("", _)) => Err(wrong("the host is missing")),
        Some((_, port)) => match port.parse::<u16>() {
            Ok(1..) => Ok(text.to_owned()),
            _ => Err(wrong("the port must be a number from 1 to 65535")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_named_in_several_ways() {
        let all = |list: &str| broker_addresses(list).map_err(|error| error.to_string());
        assert_eq!(all("localhost").unwrap(), ["localhost:9092"]);
        assert_eq!(
            all("a:1, b , [::1]:3,[::1]").unwrap(),
            ["a:1", "b:9092", "[::1]:3", "[::1]:9092"]
        );
        let wrong = [
            ("", "list of brokers is empty"),
            (" , ", "list of brokers is empty"),
            ("http://a:1", "without a protocol"),
            ("a:99999", "from 1 to 65535"),
            ("a:0", "from 1 to 65535"),
            ("a:", "from 1 to 65535"),
            (":9092", "the host is missing"),
            ("::1", "in brackets"),
        ];
        for (list, why) in wrong {
            let said = all(list).unwrap_err();
            assert!(said.contains(why), "{list}: {said}");
        }
    }
}
