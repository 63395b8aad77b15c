//! Formatting the directories of a node: what `kafka-storage format` and `ottla format` do.
//!
//! A node of several is only ever formatted by its operator, who says who the first voters are
//! (KIP-853). A start formats a node that is its own quorum, and no other.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_metadata::{
    FEATURES, KRAFT_VERSION, METADATA_VERSION, METADATA_VERSION_FEATURE, METADATA_VERSION_NAME,
};
use ottla_net::names::is_local_host;
use ottla_partitions::{DirState, Files};
use ottla_quorum::{Endpoint, InitialVoters, ReplicaKey, Voter, VoterSet};
use ottla_settings::Settings;
use ottla_types::{NodeId, Uuid};

use crate::dirs::{
    NewDirectories, directory_states, open_dirs, own_directories, own_voter, voters_of_settings,
};
use crate::lost;
use crate::scram::credential_record;
use crate::start_error::StartError;
use crate::voter::voter_listeners;

/// What formatting does with directories that are formatted for the cluster already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormattedDirs {
    /// Refuses.
    Refuse,
    /// Leaves them as they are. An empty metadata directory beside them is refused, as its volume
    /// may not be mounted.
    Keep,
    /// Leaves them as they are, and formats an empty metadata directory beside them: Apache Kafka's
    /// tool.
    KeepAsKafka,
}

/// Who votes first, as the operator says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenVoters {
    /// Nothing was said: a node that is its own quorum votes alone. Controllers of several nodes
    /// must say it, unless `controller.quorum.voters` does.
    Unsaid,
    /// The same, but every controller must say it: `kafka-storage`, as Apache Kafka's tool.
    MustBeSaid,
    /// `--standalone`: this node alone; others join later.
    Standalone,
    /// `--initial-controllers`: `id@host:port:directory-id`, separated by commas.
    Initial(String),
    /// `--no-initial-controllers`: the voters that the quorum has when this node finds it.
    NoneYet,
}

/// The release for which a new cluster writes its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseChoice {
    /// Its name, such as `4.0-IV3`.
    pub name: &'static str,
    /// The levels at which it begins with each feature; what is not built stays off.
    pub features: Vec<FeatureChoice>,
}

impl Default for ReleaseChoice {
    /// The newest.
    fn default() -> Self {
        Self { name: METADATA_VERSION_NAME, features: Vec::new() }
    }
}

impl ReleaseChoice {
    /// The levels of the features that are built, before what the operator chooses.
    ///
    /// # Errors
    /// The release is not one of those for which metadata is written.
    fn built(&self) -> Result<Vec<FeatureChoice>, StartError> {
        let metadata = self.features.iter().find(|it| it.name == METADATA_VERSION_FEATURE);
        let level = metadata.map_or(METADATA_VERSION, |it| it.level);
        if !(METADATA_VERSION_NEW_MIN..=METADATA_VERSION).contains(&level) {
            return Err(StartError::Format(format!(
                "a new cluster cannot begin with release {}: 4.0 to 4.3 are possible",
                self.name
            )));
        }
        let highest = |name: &str| FEATURES.iter().find(|it| it.name == name).map(|it| it.highest);
        let built = self.features.iter().map(|choice| {
            let level = choice.level.min(highest(&choice.name).unwrap_or(0));
            FeatureChoice { name: choice.name.clone(), level }
        });
        Ok(built.collect())
    }
}

/// The oldest metadata version with which a new cluster may begin: 4.0-IV3.
const METADATA_VERSION_NEW_MIN: i16 = 25;

/// What is to be formatted, and how.
#[derive(Clone, Debug)]
pub struct FormatRequest {
    /// The cluster's id; a new one for a node that begins a cluster.
    pub cluster_id: Option<String>,
    /// What to do with formatted directories.
    pub formatted: FormattedDirs,
    /// The first voters.
    pub voters: ChosenVoters,
    /// The release for which metadata is written.
    pub release: ReleaseChoice,
    /// The levels of features that are not those of the release; of several of one feature, the
    /// last.
    pub features: Vec<FeatureChoice>,
    /// SCRAM credentials with which the cluster begins, as `kafka-storage format --add-scram` takes
    /// them.
    pub credentials: Vec<String>,
}

/// The level at which a new cluster begins with a feature (KIP-1022).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureChoice {
    /// The feature, such as `group.version`.
    pub name: String,
    /// Its level; 0 is off.
    pub level: i16,
}

/// What was formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatReport {
    /// The cluster's id.
    pub cluster_id: String,
    /// The directories that were formatted; none if all were before.
    pub directories: Vec<NewDirectory>,
}

/// A directory that was formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDirectory {
    /// Its path.
    pub path: PathBuf,
    /// Its directory id.
    pub id: Uuid,
    kind: DirectoryKind,
    release: &'static str,
}

/// What a formatted directory is, by Apache Kafka's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DirectoryKind {
    Data,
    Metadata,
    DynamicMetadata,
    DynamicVoter,
}

impl fmt::Display for NewDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DirectoryKind::Data => "data directory",
            DirectoryKind::Metadata => "metadata directory",
            DirectoryKind::DynamicMetadata => "dynamic metadata directory",
            DirectoryKind::DynamicVoter => "dynamic metadata voter directory",
        };
        let path = self.path.display();
        write!(f, "Formatting {kind} {path} with metadata.version {}.", self.release)
    }
}

/// Formats the directories of a node.
///
/// # Errors
/// The voters cannot be as they are chosen, a directory is formatted already or belongs to another
/// cluster, or the disk fails.
pub fn format_node(
    files: &Arc<dyn Files>,
    settings: &Settings,
    request: FormatRequest,
    clock: &Clock,
) -> Result<FormatReport, StartError> {
    let FormatRequest { cluster_id, formatted, release, voters, mut features, credentials } =
        request;
    let voters = initial_voters(settings, &voters, clock)?;
    features.iter().try_for_each(|feature| check_feature(feature, &voters))?;
    features.splice(0..0, release.built()?);
    let credentials = credentials
        .iter()
        .map(|text| credential_record(text, clock))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| StartError::Format(format!("--add-scram: {why}")))?;
    if formatted != FormattedDirs::KeepAsKafka {
        lost::keep_metadata(&**files, settings)?;
    }
    // Before a directory is made: what is refused leaves nothing.
    let states = directory_states(&**files, settings)?;
    let has_cluster = states.iter().any(|(_, state)| *state == DirState::Formatted);
    if !has_cluster && cluster_id.is_none() && !begins_cluster(settings, &voters) {
        let why = "the cluster's id is missing: every node of a cluster is formatted with the same one, \
                   --cluster-id ID; `ottla kafka-storage random-uuid` makes one for a new cluster";
        return Err(StartError::Format(why.to_owned()));
    }
    let mut dirs = open_dirs(files, settings)?;
    let known = dirs.iter().find_map(|it| Some((it.dir.path(), it.meta.as_ref()?)));
    if let Some((path, meta)) = known {
        let wanted = cluster_id.as_ref().filter(|it| **it != meta.cluster_id);
        let why = match wanted {
            Some(wanted) => format!(
                "it is formatted already, for cluster {} and not for {wanted}",
                meta.cluster_id
            ),
            None => "it is formatted already; --ignore-formatted leaves it as it is".to_owned(),
        };
        if wanted.is_some() || formatted == FormattedDirs::Refuse {
            return Err(StartError::Foreign { path: path.to_owned(), why });
        }
    }
    let new = NewDirectories { cluster_id, voters: voters.clone(), features, credentials };
    let meta = own_directories(&mut dirs, settings, clock, new)?;
    let metadata_dir = settings.metadata_dir();
    let kind_of_metadata = match &voters {
        InitialVoters::Given(voters) if voters.of_node(meta.node_id).is_some() => {
            DirectoryKind::DynamicVoter
        }
        InitialVoters::Given(_) => DirectoryKind::DynamicMetadata,
        InitialVoters::NoneYet | InitialVoters::Static => DirectoryKind::Metadata,
    };
    let mut directories = Vec::new();
    for it in dirs.iter().filter(|it| it.is_new) {
        let path = it.dir.path().to_owned();
        let id = it.meta.as_ref().map_or(Uuid::ZERO, |meta| meta.directory_id);
        let kind = if path == metadata_dir { kind_of_metadata } else { DirectoryKind::Data };
        directories.push(NewDirectory { path, id, kind, release: release.name });
    }
    Ok(FormatReport { cluster_id: meta.cluster_id, directories })
}

/// Does a cluster begin with this node alone, so that it may have a new id?
fn begins_cluster(settings: &Settings, voters: &InitialVoters) -> bool {
    match voters {
        InitialVoters::Given(voters) => voters.len() == 1,
        InitialVoters::Static => settings.other_nodes(&is_local_host).is_none(),
        InitialVoters::NoneYet => false,
    }
}

/// The first voters, as the operator and the settings say.
///
/// # Errors
/// They contradict each other, or leave the voters of a controller open.
fn initial_voters(
    settings: &Settings,
    chosen: &ChosenVoters,
    clock: &Clock,
) -> Result<InitialVoters, StartError> {
    const VOTERS: &str = "controller.quorum.voters";
    const SERVERS: &str = "controller.quorum.bootstrap.servers";
    let refused = |why: String| Err(StartError::Format(why));
    let has_static_voters = !settings.static_voters()?.is_empty();
    if has_static_voters && matches!(chosen, ChosenVoters::Standalone | ChosenVoters::Initial(_)) {
        return refused(format!(
            "{VOTERS} cannot be set together with --standalone or --initial-controllers: for a quorum whose \
             voters can change, remove {VOTERS} and set {SERVERS}"
        ));
    }
    let own = ReplicaKey { id: settings.node_id()?, directory: clock.random_uuid() };
    let endpoints = || voter_listeners(settings, None);
    match chosen {
        ChosenVoters::Standalone if !settings.is_controller() => {
            refused("--standalone is only for a node whose process.roles has controller".to_owned())
        }
        ChosenVoters::Standalone => {
            Ok(InitialVoters::Given(VoterSet::of([own_voter(own, &endpoints()?)])))
        }
        ChosenVoters::Initial(text) => {
            let names = settings.controller_listeners();
            let listener = names.first().map_or("CONTROLLER", String::as_str);
            let voters = parse_initial_controllers(text, listener);
            voters
                .map(InitialVoters::Given)
                .or_else(|why| refused(format!("--initial-controllers: {why}")))
        }
        ChosenVoters::NoneYet if has_static_voters => Ok(InitialVoters::Static),
        ChosenVoters::NoneYet => Ok(InitialVoters::NoneYet),
        ChosenVoters::Unsaid | ChosenVoters::MustBeSaid => {
            let is_open = settings.is_controller() && !has_static_voters;
            let others = settings.other_nodes(&is_local_host);
            if is_open && (*chosen == ChosenVoters::MustBeSaid || others.is_some()) {
                let others = others.map_or_else(String::new, |it| format!("{it}, and "));
                return refused(format!(
                    "{others}{VOTERS} is not set on this controller, so it must be formatted with \
                     one of --standalone (it begins the quorum alone), --initial-controllers \
                     (the quorum begins with these) or --no-initial-controllers (it joins a \
                     quorum that is there)"
                ));
            }
            Ok(voters_of_settings(settings, own, &endpoints()?))
        }
    }
}

/// May a cluster with these voters begin with a feature at this level?
///
/// # Errors
/// Why not, with the levels that are there.
fn check_feature(choice: &FeatureChoice, voters: &InitialVoters) -> Result<(), StartError> {
    let FeatureChoice { name, level } = choice;
    if name == KRAFT_VERSION {
        let due = i16::from(*voters != InitialVoters::Static);
        if *level == due {
            return Ok(());
        }
        let why = if due == 0 { "names the voters" } else { "is not set" };
        return Err(StartError::Format(format!(
            "{name}={level} cannot be: controller.quorum.voters {why}, so {name} is {due}"
        )));
    }
    let Some(feature) = FEATURES.iter().find(|it| it.name == *name) else {
        let known: Vec<&str> = FEATURES.iter().map(|it| it.name).collect();
        let known = known.join(", ");
        return Err(StartError::Format(format!(
            "feature {name} is unknown; there are {known}, {KRAFT_VERSION}"
        )));
    };
    // Older metadata versions are kept where they are found; new clusters begin with the newest.
    let lowest = if name == METADATA_VERSION_FEATURE { METADATA_VERSION } else { feature.lowest };
    let highest = feature.highest;
    if !(lowest..=highest).contains(level) {
        return Err(StartError::Format(format!(
            "a new cluster cannot have {name}={level}: this release has the levels {lowest} to {highest}"
        )));
    }
    Ok(())
}

/// Reads `--initial-controllers`: `id@host:port:directory-id`, separated by commas (KIP-853).
/// `listener` is the name of the controllers' listener.
///
/// # Errors
/// What is wrong, with the item.
fn parse_initial_controllers(text: &str, listener: &str) -> Result<VoterSet, String> {
    let mut all: Vec<Voter> = Vec::new();
    for item in text.trim().split(',').filter(|it| !it.is_empty()) {
        let voter = parse_initial_controller(item.trim(), listener)
            .map_err(|why| format!("{item}: {why}; it must be id@host:port:directory-id"))?;
        let id = voter.key.id;
        if all.iter().any(|it| it.key.id == id) {
            return Err(format!("node {id} stands there twice"));
        }
        let directory = voter.key.directory;
        if all.iter().any(|it| it.key.directory == directory) {
            return Err(format!("directory id {directory} stands there twice"));
        }
        all.push(voter);
    }
    if all.is_empty() {
        return Err("it names no controller".to_owned());
    }
    Ok(VoterSet::of(all))
}

fn parse_initial_controller(text: &str, listener: &str) -> Result<Voter, String> {
    let (id, rest) = text.split_once('@').ok_or("there is no @")?;
    let id: NodeId = id.parse().map_err(|_| format!("{id:?} is not a node id"))?;
    if id < 0 {
        return Err(format!("node id {id} is negative"));
    }
    let (host, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or("there is no ] and port after the address")?,
        None => rest.split_once(':').ok_or("there is no port after the host")?,
    };
    if host.is_empty() {
        return Err("there is no host after the @".to_owned());
    }
    let (port, directory) =
        rest.split_once(':').ok_or("there is no directory id after the port")?;
    let port: u16 = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
    let directory: Uuid =
        directory.parse().map_err(|_| format!("{directory:?} is not a directory id"))?;
    if directory.is_reserved() {
        return Err(format!("directory id {directory} is a reserved one"));
    }
    let endpoint = Endpoint { name: listener.to_owned(), host: host.to_owned(), port };
    Ok(own_voter(ReplicaKey { id, directory }, &[endpoint]))
}

#[cfg(test)]
#[path = "formatting_tests.rs"]
mod tests;
