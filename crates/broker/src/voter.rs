//! This node as a member of the metadata quorum: who votes, where it listens, its log.

use std::sync::Arc;

use ottla_clock::Clock;
use ottla_net::names::{canonical_host_name, is_local_host};
use ottla_partitions::{Files, MetaProperties};
use ottla_quorum::{
    Candidacy, Endpoint, OpenedQuorum, Quorum, ReplicaKey, Setup, Timing, Voter, VoterSet,
};
use ottla_settings::{ListenerSetting, SettingError, Settings};
use ottla_types::{Uuid, join_host_port};

use crate::rules::node_settings;
use crate::start_error::StartError;

/// The levels of `kraft.version` that this release speaks.
const KRAFT_VERSIONS: (i16, i16) = (0, 1);

/// Where the voter says that its controller listens; peers of a larger quorum would go there.
/// `client_host` is the host of the first listener for clients, for a node without a controller's.
///
/// # Errors
/// A listener is no `NAME://host:port`, or a static voter no `id@host:port`.
pub fn voter_listeners(
    settings: &Settings,
    client_host: Option<&str>,
) -> Result<Vec<Endpoint>, StartError> {
    let names = settings.controller_listeners();
    let advertised = settings.advertised()?;
    let configured = settings.listeners()?;
    let own = settings.node_id()?;
    let named = settings.static_voters()?.into_iter().find(|peer| peer.id == own);
    let mut all = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let is_it = |it: &&ListenerSetting| it.name == *name;
        let found = advertised.iter().find(is_it).or_else(|| configured.iter().find(is_it));
        let Some(mut found) = found.cloned() else { continue };
        // The first that listens on every address is where the static voters have this node.
        if let Some(peer) = named.as_ref().filter(|_| at == 0 && found.is_wildcard()) {
            (found.host, found.port) = (peer.host.clone(), peer.port);
        }
        let host = if found.is_wildcard() { canonical_host_name() } else { found.host };
        all.push(Endpoint { name: name.clone(), host, port: found.port });
    }
    if all.is_empty() {
        let host = client_host.unwrap_or("127.0.0.1");
        let host = if host.is_empty() { canonical_host_name() } else { host.to_owned() };
        all.push(Endpoint { name: "CONTROLLER".to_owned(), host, port: 9093 });
    }
    Ok(all)
}

/// A member of the quorum that was opened.
pub struct OpenedMember {
    /// What it says of itself.
    pub own: Voter,
    /// Its log.
    pub opened: OpenedQuorum,
}

/// Opens the metadata log of this node.
///
/// # Errors
/// The files cannot be read or written, or contradict each other.
pub fn open_quorum(
    files: &Arc<dyn Files>,
    settings: &Settings,
    clock: &Clock,
    meta: &MetaProperties,
    clean: bool,
) -> Result<OpenedMember, StartError> {
    let key = ReplicaKey { id: meta.node_id, directory: meta.directory_id };
    let endpoints = voter_listeners(settings, None)?;
    let own = Voter { key, endpoints, kraft_versions: KRAFT_VERSIONS };
    let opened = Quorum::open(Setup {
        files: Arc::clone(files),
        dir: settings.metadata_dir(),
        own: own.clone(),
        candidacy: own_candidacy(settings),
        timing: quorum_timing(settings),
        static_voters: static_voters(settings, &own)?,
        clean,
        segment_bytes: node_settings(settings).metadata_segment_bytes,
        clock: clock.clone(),
    })?;
    Ok(OpenedMember { own, opened })
}

/// May this node vote?
fn own_candidacy(settings: &Settings) -> Candidacy {
    if !settings.is_controller() {
        Candidacy::Never
    } else if settings.joins_voters() {
        Candidacy::Automatic
    } else {
        Candidacy::ByOperator
    }
}

/// How long a member of the quorum waits for what.
#[must_use]
pub fn quorum_timing(settings: &Settings) -> Timing {
    let timing = settings.quorum_timing();
    Timing {
        election_ms: timing.election_ms,
        fetch_ms: timing.fetch_ms,
        backoff_max_ms: timing.backoff_max_ms,
        request_ms: timing.request_ms,
    }
}

/// Who votes where the log does not say.
pub fn static_voters(settings: &Settings, own: &Voter) -> Result<VoterSet, SettingError> {
    if settings.other_nodes(&is_local_host).is_none() {
        let key = ReplicaKey { directory: Uuid::ZERO, ..own.key };
        return Ok(VoterSet::of([Voter { key, ..own.clone() }]));
    }
    let name = settings.controller_listeners().into_iter().next();
    let name = name.unwrap_or_else(|| "CONTROLLER".to_owned());
    let voters = settings.static_voters()?.into_iter().map(|peer| Voter {
        key: ReplicaKey { id: peer.id, directory: Uuid::ZERO },
        endpoints: vec![Endpoint { name: name.clone(), host: peer.host, port: peer.port }],
        // They say what they speak when there is a leader.
        kraft_versions: (0, 0),
    });
    Ok(VoterSet::of(voters))
}

/// Where to ask for the leader of the quorum as long as the log does not say: host:port.
///
/// # Errors
/// An item of the setting is not `host:port`.
pub fn bootstrap_addresses(settings: &Settings) -> Result<Vec<String>, SettingError> {
    Ok(settings.bootstrap_servers()?.iter().map(|it| join_host_port(&it.host, it.port)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_where_it_is_advertised_or_where_the_voters_have_it() {
        let voters = "controller.quorum.voters=1@one.example:19093,2@two.example:9093\n";
        let everywhere = "listeners=PLAINTEXT://:9092,C://:9093,D://:9094\n";
        let here = "listeners=PLAINTEXT://:9092,C://10.0.0.1:9093,D://:9094\n";
        let advertised = "advertised.listeners=PLAINTEXT://a:9092,C://c.example:39093\n";
        let named = canonical_host_name();
        // The settings, and where the first controller listener is; the second is as configured.
        let cases = [
            (vec![everywhere], (named.as_str(), 9093)),
            (vec![here], ("10.0.0.1", 9093)),
            (vec![everywhere, voters], ("one.example", 19093)),
            (vec![here, voters], ("10.0.0.1", 9093)),
            (vec![everywhere, voters, advertised], ("c.example", 39093)),
        ];
        for (lines, (host, port)) in cases {
            let text = lines.concat();
            let base =
                "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=C,D\n";
            let settings = Settings::read(Some(&format!("{base}{text}")), &[]).expect("settings");
            let endpoint = |name: &str, host: &str, port| Endpoint {
                name: name.to_owned(),
                host: host.to_owned(),
                port,
            };
            let wanted = vec![endpoint("C", host, port), endpoint("D", &named, 9094)];
            assert_eq!(voter_listeners(&settings, None).expect("listeners"), wanted, "{text}");
        }
    }
}
