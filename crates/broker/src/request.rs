//! Who asks, on which listener, in which version.

use ottla_locks::Mutex;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use ottla_protocol::{ApiKey, Text};

use crate::guard::Principal;
use crate::hosts::telemetry::ClientTraits;

/// What a connection is, as long as it lasts.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The address the connection came from.
    pub peer: SocketAddr,
    /// The listener it came in on, such as `PLAINTEXT`.
    pub listener: Arc<str>,
    /// Who it belongs to.
    pub principal: Principal,
    /// What the client is, as far as it has told.
    pub software: Arc<Mutex<Software>>,
}

/// The name and version of a client's library (KIP-511).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Such as `apache-kafka-java`.
    pub name: String,
    /// Such as `4.3.1`.
    pub version: String,
}

impl Default for Software {
    fn default() -> Self {
        Self { name: "unknown".to_owned(), version: "unknown".to_owned() }
    }
}

/// How much of what a client calls itself is kept, in characters.
const NAME_MAX: usize = 256;

impl Caller {
    /// The address as Kafka shows it in groups: `/127.0.0.1`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("/{}", self.peer.ip().to_canonical())
    }

    /// The client has told what it is.
    pub fn is_software(&self, name: &str, version: &str) {
        let kept = |text: &str| text.chars().take(NAME_MAX).collect();
        let software = Software { name: kept(name), version: kept(version) };
        *self.software.lock() = software;
    }
}

/// One request, without its body.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// Which API.
    pub key: ApiKey,
    /// In which version.
    pub version: i16,
    /// What the client calls itself; empty when it does not say.
    pub client_id: Text,
}

impl Call {
    /// What subscriptions to metrics can select the client by.
    #[must_use]
    pub fn traits(&self) -> ClientTraits {
        let Software { name, version } = self.caller.software.lock().clone();
        ClientTraits {
            client_id: self.client_id.chars().take(NAME_MAX).collect(),
            software_name: name,
            software_version: version,
            address: self.caller.peer,
        }
    }
}

/// What a request has more than once, of the things it is asked about.
pub fn repeated<T: Ord + Copy>(all: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    all.into_iter().filter(|one| !seen.insert(*one)).collect()
}

/// Has the time that a request gives the controller passed before it could begin?
#[must_use]
pub const fn is_over(timeout_ms: i32) -> bool {
    timeout_ms <= 0
}

/// What a handler answers to, and in which versions: `dispatch` and the ApiVersions answer are
/// computed from it.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// The API's key.
    pub key: ApiKey,
    /// The oldest version served.
    pub oldest: i16,
    /// The newest version served.
    pub newest: i16,
}

impl Api {
    /// `key` in every version of Kafka 4.4 that is not flagged unstable.
    #[must_use]
    pub const fn of(key: ApiKey, oldest: i16, newest: i16) -> Self {
        Self { key, oldest, newest }
    }

    /// Is `version` served?
    #[must_use]
    pub const fn serves(&self, version: i16) -> bool {
        self.oldest <= version && version <= self.newest
    }
}
