//! The metrics that clients push (KIP-714): which clients are asked for which metrics, how often,
//! and what came last.
//!
//! Operators write subscriptions as settings of the cluster. A client that asks learns the metrics
//! of every subscription that selects it, and under which id it pushes them; an id that has changed
//! since sends it back to ask again. What is kept is bounded: of so many clients, and of each its
//! last push.

use ottla_locks::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ottla_clock::Clock;
use ottla_coordinator::pattern::{Alphabet, compile_whole};
use ottla_metadata::{Cluster, ResourceKind};
use ottla_records::{Compression, crc32c};
use ottla_types::{ErrorCode, TimestampMs, Uuid};
use regex::Regex;

/// How many clients are remembered at most, as in Kafka.
const CLIENTS_MAX: usize = 16_384;
/// How many bytes of what they pushed are kept at most.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Where there is no room left, one part in so many is made.
const PART_FORGOTTEN: usize = 16;
/// How often a client pushes if no subscription says how often, in milliseconds.
const INTERVAL_MS: i32 = 300_000;
/// For how long at least a silent client is remembered.
const SILENT: Duration = Duration::from_secs(60);
/// Stands for all metrics.
const ALL: &str = "*";

/// What is known of a client, by which subscriptions select it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTraits {
    /// What it calls itself.
    pub client_id: String,
    /// The name of its library, from its ApiVersions request.
    pub software_name: String,
    /// The version of its library.
    pub software_version: String,
    /// From where it is connected.
    pub address: SocketAddr,
}

/// What a client is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySubscription {
    /// Under which id it pushes.
    pub id: i32,
    /// Prefixes of the metrics' names; one star for all.
    pub metrics: Vec<String>,
    /// How often it pushes, in milliseconds.
    pub interval_ms: i32,
}

/// A push.
#[derive(Clone, Debug)]
pub struct Push {
    /// The client that pushes.
    pub client: Uuid,
    /// The id that it was given with its subscription.
    pub subscription: i32,
    /// Is it the last?
    pub is_last: bool,
    /// The number of the codec that `metrics` are packed with.
    pub codec: i8,
    /// Metrics in the format of OTLP.
    pub metrics: Bytes,
}

/// What a client pushed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The client that pushed.
    pub client: ClientTraits,
    /// When, by the wall clock.
    pub at_ms: TimestampMs,
    /// Metrics in the format of OTLP, unpacked.
    pub metrics: Bytes,
}

/// What an operator asks of clients.
#[derive(Debug)]
struct TelemetryRequest {
    metrics: Vec<String>,
    interval_ms: i32,
    /// What a client must have, and how it must look.
    selectors: Vec<(String, Option<Regex>)>,
}

#[derive(Debug)]
struct TelemetryClient {
    traits: ClientTraits,
    subscription: TelemetrySubscription,
    /// The version of the subscriptions that this follows from.
    version: u64,
    asked: Option<Duration>,
    pushed: Option<Duration>,
    has_ended: bool,
    last_error: ErrorCode,
    used: Duration,
}

#[derive(Debug, Default)]
struct TelemetryInner {
    settings: BTreeMap<String, BTreeMap<String, String>>,
    wanted: Vec<TelemetryRequest>,
    version: u64,
    clients: BTreeMap<Uuid, TelemetryClient>,
    connections: BTreeMap<SocketAddr, Uuid>,
    kept: BTreeMap<Uuid, Pushed>,
    kept_bytes: usize,
}

/// Subscriptions, clients, and what they pushed.
#[derive(Debug)]
pub struct Telemetry {
    /// Subscriptions and the last push of each client; held for a look-up or a copy, not for I/O.
    inner: Mutex<TelemetryInner>,
    bytes_max: usize,
}

/// The times of a request.
#[derive(Clone, Copy, Debug)]
pub struct PushTimes {
    /// The monotonic time.
    pub monotonic: Duration,
    /// The wall clock's.
    pub wall_ms: TimestampMs,
}

impl PushTimes {
    /// What the clock shows.
    #[must_use]
    pub fn now(clock: &Clock) -> Self {
        Self { monotonic: clock.monotonic(), wall_ms: clock.wall_ms() }
    }
}

impl Telemetry {
    /// No client yet, and no subscription. `bytes_max` is `telemetry.max.bytes`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), bytes_max }
    }

    /// The most bytes that one push may have, packed or unpacked.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The subscriptions are those of this cluster from now on.
    pub fn set(&self, cluster: &Cluster) {
        let kind = ResourceKind::ClientMetrics;
        let all = cluster.configured(kind);
        self.subscribe(
            all.map(|name| (name.to_owned(), cluster.config(kind, name).clone())).collect(),
        );
    }

    fn subscribe(&self, settings: BTreeMap<String, BTreeMap<String, String>>) {
        let mut inner = self.lock();
        if inner.settings != settings {
            inner.wanted = settings.values().map(read_subscription).collect();
            inner.settings = settings;
            inner.version += 1;
        }
    }

    /// What the client is asked for.
    ///
    /// # Errors
    /// It asks too soon after its last request.
    pub fn ask(
        &self,
        id: Uuid,
        traits: ClientTraits,
        now: PushTimes,
    ) -> Result<TelemetrySubscription, ErrorCode> {
        let mut inner = self.lock();
        let client = inner.client(id, traits, now.monotonic);
        let interval = client.interval();
        let last = client.asked.max(client.pushed);
        let is_due = last.is_none_or(|last| now.monotonic.saturating_sub(last) >= interval);
        // A client whose answer said to ask again need not wait.
        let was_sent =
            [ErrorCode::UNKNOWN_SUBSCRIPTION_ID, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE]
                .contains(&client.last_error);
        if is_due {
            client.asked = Some(now.monotonic);
        } else if !was_sent {
            return Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED);
        }
        client.last_error = ErrorCode::NONE;
        Ok(client.subscription.clone())
    }

    /// Takes what a client pushes.
    ///
    /// # Errors
    /// The client has made its last push, pushes too soon, under another id than it was given, with
    /// an unknown codec, too much, or what does not unpack.
    pub fn push(&self, push: &Push, traits: ClientTraits, now: PushTimes) -> Result<(), ErrorCode> {
        if push.client.is_zero() || push.client == Uuid::ONE {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let mut inner = self.lock();
        let client = inner.client(push.client, traits, now.monotonic);
        let checked = client.check(push, self.bytes_max, now.monotonic);
        client.has_ended = push.is_last;
        let taken = checked.and_then(|codec| {
            codec
                .decompress(&push.metrics, self.bytes_max)
                .map(Bytes::from)
                .map_err(|_| ErrorCode::INVALID_RECORD)
        });
        client.last_error = taken.as_ref().err().copied().unwrap_or(ErrorCode::NONE);
        let client = client.traits.clone();
        let metrics = taken?;
        if !metrics.is_empty() {
            inner.keep(push.client, Pushed { client, at_ms: now.wall_ms, metrics });
        }
        Ok(())
    }

    /// A connection has ended: its client may come back at any time.
    pub fn disconnected(&self, address: &SocketAddr) {
        let mut inner = self.lock();
        if let Some(id) = inner.connections.remove(address) {
            inner.clients.remove(&id);
        }
    }

    /// What clients pushed last, by the id of the client.
    #[must_use]
    #[cfg_attr(not(test), expect(dead_code, reason = "no page of metrics shows it yet"))]
    pub fn pushed(&self) -> BTreeMap<Uuid, Pushed> {
        self.lock().kept.clone()
    }

    fn lock(&self) -> MutexGuard<'_, TelemetryInner> {
        self.inner.lock()
    }
}

impl TelemetryInner {
    /// The client of this id, with the subscription that is in force.
    fn client(&mut self, id: Uuid, traits: ClientTraits, now: Duration) -> &mut TelemetryClient {
        let known = self.clients.get(&id).filter(|it| !it.is_forgotten(now));
        let is_current = known.is_some_and(|it| it.version == self.version);
        let traits = known.map_or(traits, |it| it.traits.clone());
        if !is_current {
            self.clients.remove(&id);
            self.make_room(now);
            self.connections.insert(traits.address, id);
        }
        let Self { clients, wanted, version, .. } = self;
        let client =
            clients.entry(id).or_insert_with(|| TelemetryClient::new(id, traits, wanted, *version));
        client.used = now;
        client
    }

    /// Forgets clients that are silent, and if none is, those that have been so for longest: some
    /// at a time, so that a flood of ids costs little for each.
    fn make_room(&mut self, now: Duration) {
        if self.clients.len() < CLIENTS_MAX {
            return;
        }
        self.clients.retain(|_, it| !it.is_forgotten(now));
        if self.clients.len() >= CLIENTS_MAX {
            let mut used: Vec<Duration> = self.clients.values().map(|it| it.used).collect();
            used.sort_unstable();
            let oldest = used.get(CLIENTS_MAX / PART_FORGOTTEN).copied().unwrap_or(now);
            self.clients.retain(|_, it| it.used > oldest);
        }
        let Self { clients, connections, .. } = self;
        connections.retain(|_, id| clients.contains_key(id));
    }

    /// Keeps a push in place of the client's last; older ones of others go, where there is no room.
    fn keep(&mut self, id: Uuid, pushed: Pushed) {
        self.let_go(id);
        self.kept_bytes += pushed.metrics.len();
        self.kept.insert(id, pushed);
        if self.kept_bytes <= KEPT_BYTES_MAX && self.kept.len() <= CLIENTS_MAX {
            return;
        }
        let mut by_age: Vec<(TimestampMs, Uuid)> =
            self.kept.iter().map(|(id, it)| (it.at_ms, *id)).collect();
        by_age.sort_unstable();
        let (bytes, count) = (
            KEPT_BYTES_MAX - KEPT_BYTES_MAX / PART_FORGOTTEN,
            CLIENTS_MAX - CLIENTS_MAX / PART_FORGOTTEN,
        );
        for (_, oldest) in by_age {
            if self.kept_bytes <= bytes && self.kept.len() <= count {
                return;
            }
            self.let_go(oldest);
        }
    }

    fn let_go(&mut self, id: Uuid) {
        if let Some(before) = self.kept.remove(&id) {
            self.kept_bytes -= before.metrics.len();
        }
    }
}

impl TelemetryClient {
    fn new(id: Uuid, traits: ClientTraits, wanted: &[TelemetryRequest], version: u64) -> Self {
        Self {
            subscription: subscription_for(id, &traits, wanted),
            traits,
            version,
            asked: None,
            pushed: None,
            has_ended: false,
            last_error: ErrorCode::NONE,
            used: Duration::ZERO,
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.subscription.interval_ms).unwrap_or(0))
    }

    /// Has it been silent for so long that it counts as another?
    fn is_forgotten(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) >= SILENT.max(self.interval() * 3)
    }

    /// May this be taken? Says with which codec it is packed.
    fn check(
        &mut self,
        push: &Push,
        bytes_max: usize,
        now: Duration,
    ) -> Result<Compression, ErrorCode> {
        if self.has_ended {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        // The first push after a question may come at any time: clients spread it.
        let is_first = self.asked > self.pushed;
        let last = self.pushed;
        let is_due = last.is_none_or(|last| now.saturating_sub(last) >= self.interval());
        if is_first || is_due {
            self.pushed = Some(now);
        } else if !push.is_last {
            return Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED);
        }
        if push.subscription != self.subscription.id {
            return Err(ErrorCode::UNKNOWN_SUBSCRIPTION_ID);
        }
        let codec = u8::try_from(push.codec).ok().filter(|it| *it <= 4);
        let codec = codec.and_then(|it| Compression::of(i16::from(it)).ok());
        let codec = codec.ok_or(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE)?;
        if push.metrics.len() > bytes_max {
            return Err(ErrorCode::TELEMETRY_TOO_LARGE);
        }
        Ok(codec)
    }
}

/// What a client of these traits is asked for.
fn subscription_for(
    id: Uuid,
    traits: &ClientTraits,
    wanted: &[TelemetryRequest],
) -> TelemetrySubscription {
    let mut metrics = BTreeSet::new();
    let mut interval_ms = INTERVAL_MS;
    for it in wanted.iter().filter(|it| it.selects(id, traits)) {
        metrics.extend(it.metrics.iter().cloned());
        interval_ms = interval_ms.min(it.interval_ms);
    }
    if metrics.contains(ALL) {
        metrics = BTreeSet::from([ALL.to_owned()]);
    }
    let metrics: Vec<String> = metrics.into_iter().collect();
    let mut told = metrics.join(",").into_bytes();
    told.extend(interval_ms.to_be_bytes());
    told.extend(id.0);
    TelemetrySubscription { id: crc32c(&told).cast_signed(), metrics, interval_ms }
}

fn read_subscription(settings: &BTreeMap<String, String>) -> TelemetryRequest {
    let list = |name: &str| {
        let text = settings.get(name).map(String::as_str).unwrap_or_default();
        text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned)
    };
    let selector = |text: String| {
        let (name, pattern) = text.trim_end_matches('=').split_once('=').unwrap_or_default();
        // It was checked when it was set; a selector that is not understood selects no client.
        (name.trim().to_owned(), compile_whole(pattern.trim(), Alphabet::Unicode).ok())
    };
    let interval = settings.get("interval.ms").and_then(|it| it.trim().parse().ok());
    TelemetryRequest {
        metrics: list("metrics").collect(),
        interval_ms: interval.unwrap_or(INTERVAL_MS),
        selectors: list("match").map(selector).collect(),
    }
}

impl TelemetryRequest {
    /// Does every selector match what it looks at?
    fn selects(&self, id: Uuid, traits: &ClientTraits) -> bool {
        self.selectors.iter().all(|(name, pattern)| {
            let text = match name.as_str() {
                "client_instance_id" => id.to_string(),
                "client_id" => traits.client_id.clone(),
                "client_software_name" => traits.software_name.clone(),
                "client_software_version" => traits.software_version.clone(),
                "client_source_address" => traits.address.ip().to_canonical().to_string(),
                "client_source_port" => traits.address.port().to_string(),
                _ => return false,
            };
            pattern.as_ref().is_some_and(|pattern| pattern.is_match(&text))
        })
    }
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
