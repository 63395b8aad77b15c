//! This node as the only voter of the metadata quorum.

use std::sync::Arc;

use ottla_clock::Clock;
use ottla_net::names::canonical_host_name;
use ottla_partitions::{Files, MetaProperties};
use ottla_quorum::{Endpoint, OpenedQuorum, Quorum, ReplicaKey, Setup, Voter, VoterSet};
use ottla_settings::Settings;
use ottla_types::Uuid;

use crate::rules::node_settings;
use crate::start_error::StartError;

/// Where the voter says that its controller listens; peers of a larger quorum would go there.
/// `client_host` is the host of the first listener for clients, for a node without a controller's.
///
/// # Errors
/// A listener is no `NAME://host:port`.
pub fn voter_listeners(
    settings: &Settings,
    client_host: Option<&str>,
) -> Result<Vec<Endpoint>, StartError> {
    let names = settings.controller_listeners();
    let advertised = settings.advertised()?;
    let configured = settings.listeners()?;
    let mut all = Vec::new();
    for name in &names {
        let found = advertised.iter().chain(&configured).find(|it| it.name == *name);
        if let Some(found) = found {
            let host = if found.is_wildcard() { canonical_host_name() } else { found.host.clone() };
            all.push(Endpoint { name: name.clone(), host, port: found.port });
        }
    }
    if all.is_empty() {
        let host = client_host.unwrap_or("127.0.0.1");
        let host = if host.is_empty() { canonical_host_name() } else { host.to_owned() };
        all.push(Endpoint { name: "CONTROLLER".to_owned(), host, port: 9093 });
    }
    Ok(all)
}

/// Opens the metadata log of this node, its only voter.
///
/// # Errors
/// The files cannot be read or written, or contradict each other.
pub fn open_quorum(
    files: &Arc<dyn Files>,
    settings: &Settings,
    clock: &Clock,
    meta: &MetaProperties,
    clean: bool,
) -> Result<OpenedQuorum, StartError> {
    let id = meta.node_id;
    let voter = Voter {
        key: ReplicaKey { id, directory: Uuid::ZERO },
        endpoints: voter_listeners(settings, None)?,
        kraft_versions: (0, 1),
    };
    Ok(Quorum::open(Setup {
        files: Arc::clone(files),
        dir: settings.metadata_dir(),
        own: ReplicaKey { id, directory: meta.directory_id },
        static_voters: VoterSet::of([voter]),
        clean,
        segment_bytes: node_settings(settings).metadata_segment_bytes,
        clock: clock.clone(),
    })?)
}
