//! The data directories of a node: opened, made its own, and how they were left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_metadata::{Feature, METADATA_VERSION, bootstrap_records_at, with_versions};
use ottla_net::names::is_local_host;
use ottla_partitions::{CleanShutdown, DataDir, DirState, Files, MetaProperties};
use ottla_protocol::metadata::MetadataRecord;
use ottla_quorum::{
    Endpoint, FormatOptions, InitialVoters, ReplicaKey, Voter, VoterSet, format_directory,
    write_bootstrap,
};
use ottla_settings::{SettingError, Settings};
use ottla_types::{CLUSTER_METADATA, Uuid};

use crate::assemble::Formatting;
use crate::formatting::FeatureChoice;
use crate::start_error::{NotFormatted, OtherNodes, StartError};

/// A data directory that is open, and how it was left.
pub struct OpenDir {
    pub dir: DataDir,
    pub meta: Option<MetaProperties>,
    /// Was it not formatted when it was opened?
    pub is_new: bool,
    pub clean: Option<CleanShutdown>,
}

/// The paths of the data directories, the metadata directory among them, each once.
pub fn directory_paths(settings: &Settings) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for path in settings.log_dirs().into_iter().chain([settings.metadata_dir()]) {
        if !all.contains(&path) {
            all.push(path);
        }
    }
    all
}

/// What lies at each of them, before anything is opened or created.
///
/// # Errors
/// A directory cannot be listed.
pub fn directory_states(
    files: &dyn Files,
    settings: &Settings,
) -> Result<Vec<(PathBuf, DirState)>, StartError> {
    let state = |path: PathBuf| DirState::at(files, &path).map(|state| (path, state));
    Ok(directory_paths(settings).into_iter().map(state).collect::<Result<_, _>>()?)
}

/// Refuses a start in directories that are not formatted, unless they may be formatted now. Those
/// of a node of several never may: it would begin a cluster of its own.
///
/// # Errors
/// It is refused, or a directory cannot be listed.
pub fn check_formatted(
    files: &dyn Files,
    settings: &Settings,
    formatting: Formatting,
) -> Result<(), StartError> {
    let states = directory_states(files, settings)?;
    let is_blank = |state: DirState| matches!(state, DirState::Missing | DirState::Empty);
    let others = OtherNodes::of_settings(settings, &is_local_host);
    let may_format = formatting == Formatting::IfEmpty || settings.has_default_directory();
    if may_format && others.is_none() && states.iter().all(|(_, state)| is_blank(*state)) {
        return Ok(());
    }
    let (formatted, absent): (Vec<_>, Vec<_>) =
        states.into_iter().partition(|(_, state)| *state == DirState::Formatted);
    if absent.is_empty() {
        return Ok(());
    }
    let formatted = formatted.into_iter().map(|(path, _)| path).collect();
    let metadata_dir = settings.metadata_dir();
    Err(StartError::NotFormatted(NotFormatted { absent, formatted, metadata_dir, others }))
}

/// The ids of the directories.
pub fn directory_ids(dirs: &[OpenDir]) -> Vec<Uuid> {
    dirs.iter().filter_map(|it| it.meta.as_ref()).map(|meta| meta.directory_id).collect()
}

/// What a broker says of its data directories when it registers.
pub struct DirectoryFacts {
    pub ids: Vec<Uuid>,
    /// The broker's epoch when it stopped; -1 if it did not stop cleanly in all of them.
    pub epoch_of_clean_stop: i64,
}

impl DirectoryFacts {
    pub fn of_opened(dirs: &[OpenDir], settings: &Settings) -> Self {
        let epoch_of_clean_stop = epoch_of_clean_stop(dirs, settings);
        Self { ids: directory_ids(dirs), epoch_of_clean_stop }
    }
}

/// The broker's epoch when it stopped, if it stopped cleanly in all its data directories; -1
/// otherwise. The controller compares it with the epoch that it knows (KIP-966): a directory that
/// was lost, or put back from a copy, counts as an unclean stop.
fn epoch_of_clean_stop(dirs: &[OpenDir], settings: &Settings) -> i64 {
    let log_dirs = settings.log_dirs();
    let held = dirs.iter().filter(|it| log_dirs.iter().any(|path| path == it.dir.path()));
    let epochs: Vec<i64> = held.map(|it| it.clean.map_or(-1, |clean| clean.broker_epoch)).collect();
    match epochs.split_first() {
        Some((first, others)) if others.iter().all(|it| it == first) => *first,
        _ => -1,
    }
}

/// Opens all of them; one that another process has is an error.
///
/// # Errors
/// A directory cannot be created or locked, or its `meta.properties` cannot be read.
pub fn open_dirs(files: &Arc<dyn Files>, settings: &Settings) -> Result<Vec<OpenDir>, StartError> {
    let paths = directory_paths(settings);
    let mut all = Vec::new();
    for path in paths {
        let dir = DataDir::open(Arc::clone(files), &path)?.ok_or(StartError::Locked(path))?;
        let meta = dir.meta()?;
        all.push(OpenDir { dir, is_new: meta.is_none(), meta, clean: None });
    }
    Ok(all)
}

/// What directories that are not formatted yet are formatted with.
pub struct NewDirectories {
    /// The cluster's id; a new one if neither this nor another directory has one.
    pub cluster_id: Option<String>,
    /// The voters of the metadata quorum.
    pub voters: InitialVoters,
    /// The levels of features that are not to be the highest.
    pub features: Vec<FeatureChoice>,
    /// The SCRAM credentials with which a cluster begins.
    pub credentials: Vec<MetadataRecord>,
}

impl NewDirectories {
    /// What a start, which no operator tells more, formats with: this node is the only voter,
    /// unless the settings have others.
    pub fn of_settings(
        settings: &Settings,
        clock: &Clock,
        endpoints: &[Endpoint],
    ) -> Result<Self, StartError> {
        let key = ReplicaKey { id: settings.node_id()?, directory: clock.random_uuid() };
        let voters = voters_of_settings(settings, key, endpoints);
        Ok(Self { cluster_id: None, voters, features: Vec::new(), credentials: Vec::new() })
    }
}

/// The voters of the quorum in which this replica takes part, as far as the settings know them.
pub fn voters_of_settings(
    settings: &Settings,
    own: ReplicaKey,
    endpoints: &[Endpoint],
) -> InitialVoters {
    if !settings.items("controller.quorum.voters").is_empty() {
        return InitialVoters::Static;
    }
    if settings.other_nodes(&is_local_host).is_some() {
        return InitialVoters::NoneYet;
    }
    InitialVoters::Given(VoterSet::of([own_voter(own, endpoints)]))
}

/// This node among the voters.
pub fn own_voter(key: ReplicaKey, endpoints: &[Endpoint]) -> Voter {
    Voter { key, endpoints: endpoints.to_vec(), kraft_versions: (0, 1) }
}

/// Makes sure that all directories are this node's, formatting those that are new; returns what
/// the directory with the metadata log is.
///
/// # Errors
/// A directory belongs to another cluster or node or has the id of another, the metadata log lies
/// in two directories, or the disk fails.
pub fn own_directories(
    dirs: &mut [OpenDir],
    settings: &Settings,
    clock: &Clock,
    new: NewDirectories,
) -> Result<MetaProperties, StartError> {
    let id = settings.node_id()?;
    let known = dirs.iter().find_map(|it| it.meta.as_ref().map(|meta| meta.cluster_id.clone()));
    let cluster_id = known.or(new.cluster_id).unwrap_or_else(|| clock.random_uuid().to_string());
    let metadata_dir = settings.metadata_dir();
    let mut found = None;
    check_ids(dirs)?;
    check_metadata_place(dirs, &metadata_dir)?;
    for it in dirs {
        let path = it.dir.path().to_owned();
        let foreign = |why: String| StartError::Foreign { path: path.clone(), why };
        let meta = match &it.meta {
            Some(meta) if meta.cluster_id != cluster_id => {
                let why = format!(
                    "it belongs to cluster {}, but this node to cluster {cluster_id}",
                    meta.cluster_id
                );
                return Err(foreign(why));
            }
            Some(meta) if meta.node_id != id => {
                return Err(foreign(format!(
                    "it belongs to node {}, but node.id is {id}",
                    meta.node_id
                )));
            }
            // An older Kafka gave directories no ids.
            Some(meta) if meta.directory_id.is_zero() => {
                let meta = MetaProperties { directory_id: clock.random_uuid(), ..meta.clone() };
                it.dir.rewrite_meta(&meta)?;
                meta
            }
            Some(meta) => meta.clone(),
            None => {
                let is_metadata = path == metadata_dir;
                let voter = new.voters.directory_of(id).filter(|_| is_metadata);
                let meta = MetaProperties {
                    cluster_id: cluster_id.clone(),
                    node_id: id,
                    directory_id: voter.unwrap_or_else(|| clock.random_uuid()),
                };
                let voters = Some(&new.voters).filter(|_| is_metadata);
                let first = FirstMetadata {
                    voters,
                    features: &new.features,
                    credentials: &new.credentials,
                };
                write_first_metadata(it.dir.files(), &path, clock, first)?;
                it.dir.set_meta(&meta)?;
                meta
            }
        };
        if path == metadata_dir {
            found = Some(meta.clone());
        }
        it.meta = Some(meta);
    }
    found.ok_or(StartError::Setting(SettingError::Missing("metadata.log.dir")))
}

/// As [`own_directories`], for a node that starts: how its directories were left is known then.
/// The marks that say so stay until [`take_marks`], as the start may still be refused.
///
/// # Errors
/// As [`own_directories`].
pub fn take_over(
    dirs: &mut [OpenDir],
    settings: &Settings,
    clock: &Clock,
    endpoints: &[Endpoint],
) -> Result<MetaProperties, StartError> {
    let new = NewDirectories::of_settings(settings, clock, endpoints)?;
    let meta = own_directories(dirs, settings, clock, new)?;
    for it in dirs.iter_mut().filter(|it| !it.is_new) {
        it.clean = it.dir.clean_shutdown()?;
    }
    Ok(meta)
}

/// Takes the marks of a clean stop away: from now on logs change, and only the next clean stop
/// makes them say the truth again.
///
/// # Errors
/// The disk fails.
pub fn take_marks(dirs: &[OpenDir]) -> Result<(), StartError> {
    for it in dirs.iter().filter(|it| !it.is_new) {
        it.dir.take_clean_shutdown()?;
    }
    Ok(())
}

/// A copied directory has the id of the one that it was copied from.
fn check_ids(dirs: &[OpenDir]) -> Result<(), StartError> {
    let mut seen: BTreeMap<Uuid, &Path> = BTreeMap::new();
    for it in dirs {
        let id = it.meta.as_ref().map_or(Uuid::ZERO, |meta| meta.directory_id);
        if id.is_zero() {
            continue;
        }
        if let Some(other) = seen.insert(id, it.dir.path()) {
            let why = format!("its directory id {id} is also that of {}", other.display());
            return Err(StartError::Foreign { path: it.dir.path().to_owned(), why });
        }
    }
    Ok(())
}

/// The metadata log lies in the metadata directory only: one elsewhere is another cluster's, or
/// `metadata.log.dir` was changed.
fn check_metadata_place(dirs: &[OpenDir], metadata_dir: &Path) -> Result<(), StartError> {
    for it in dirs.iter().filter(|it| it.dir.path() != metadata_dir) {
        let folder = it.dir.path().join(format!("{CLUSTER_METADATA}-0"));
        if it.dir.files().exists(&folder) {
            let configured = metadata_dir.display();
            let why = format!(
                "it has a metadata log, but the metadata directory of the settings is {configured}"
            );
            return Err(StartError::Foreign { path: folder, why });
        }
    }
    Ok(())
}

/// What formatting writes into a data directory about its cluster.
pub struct FirstMetadata<'a> {
    /// The voters, for the metadata directory.
    pub voters: Option<&'a InitialVoters>,
    /// The levels of features that are not to be the highest.
    pub features: &'a [FeatureChoice],
    /// The SCRAM credentials with which the cluster begins.
    pub credentials: &'a [MetadataRecord],
}

/// Writes the first metadata of a cluster into a data directory.
///
/// # Errors
/// The disk fails.
pub fn write_first_metadata(
    files: &Arc<dyn Files>,
    dir: &Path,
    clock: &Clock,
    first: FirstMetadata<'_>,
) -> Result<(), StartError> {
    let level_of = |feature: &Feature| {
        let chosen = first.features.iter().rfind(|it| it.name == feature.name);
        chosen.map_or(feature.highest, |it| it.level)
    };
    let mut records = bootstrap_records_at(level_of);
    records.extend_from_slice(first.credentials);
    let records = &with_versions(records, METADATA_VERSION);
    let now = &mut || clock.wall_ms();
    match first.voters {
        None => write_bootstrap(files, dir, records, now)?,
        Some(voters) => format_directory(files, dir, FormatOptions { records, voters, now })?,
    }
    Ok(())
}
