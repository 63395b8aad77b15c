//! Directories that are gone: found at start, and declared lost by the operator.
//!
//! The metadata says in which directory, by its id, each partition of this node lies. A partition
//! whose directory is missing would come back empty, or as an old copy that another directory
//! has. That happens only after the operator has declared the directory lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_metadata::Cluster;
use ottla_net::names::is_local_host;
use ottla_partitions::{DirState, Files, MetaProperties, StorageError};
use ottla_quorum::ReplicaKey;
use ottla_settings::Settings;
use ottla_types::{CLUSTER_METADATA, NodeId, TopicPartition, Uuid};

use crate::dirs::{
    FirstMetadata, NewDirectories, OpenDir, directory_ids, directory_paths, directory_states,
    open_dirs, own_directories, voters_of_settings, write_first_metadata,
};
use crate::start_error::{LostDirectory, NotFormatted, StartError};
use crate::voter::{open_quorum, voter_listeners};

/// A partition whose directory was declared lost, and that no other directory has.
pub struct LostPartition {
    place: TopicPartition,
    directory: Uuid,
}

/// Refuses to go on when directories with partitions of this node are missing; returns the
/// partitions of those that were declared lost and have not come back elsewhere.
///
/// # Errors
/// Directories are missing, or the list of declared ones cannot be read.
pub fn check_absent_directories(
    dirs: &[OpenDir],
    cluster: &Cluster,
    id: NodeId,
    settings: &Settings,
) -> Result<Vec<LostPartition>, StartError> {
    let declared = match dirs.iter().find(|it| it.dir.path() == settings.metadata_dir()) {
        Some(metadata) => metadata.dir.declared_lost()?,
        None => Vec::new(),
    };
    let (mut refused, mut given_up) = (Vec::new(), Vec::new());
    for lost in absent_directories(dirs, cluster, id) {
        if declared.contains(&lost.id) {
            let directory = lost.id;
            let all = lost.partitions.into_iter().filter(|place| !is_here(dirs, place));
            given_up.extend(all.map(|place| LostPartition { place, directory }));
        } else {
            refused.push(lost);
        }
    }
    if refused.is_empty() { Ok(given_up) } else { Err(StartError::DirectoriesLost(refused)) }
}

/// Writes in the log what starts empty because its directory was declared lost.
pub fn log_lost_partitions(all: &[LostPartition]) {
    for it in all {
        tracing::warn!(
            partition = %it.place,
            directory_id = %it.directory,
            "partition starts empty: its data directory was declared lost"
        );
    }
}

fn is_here(dirs: &[OpenDir], place: &TopicPartition) -> bool {
    dirs.iter().any(|it| it.dir.files().exists(&it.dir.folder(place)))
}

/// The missing directories that have partitions of this node.
fn absent_directories(dirs: &[OpenDir], cluster: &Cluster, id: NodeId) -> Vec<LostDirectory> {
    let present: BTreeSet<Uuid> = directory_ids(dirs).into_iter().collect();
    let registered = cluster.broker(id).map(|it| it.log_dirs.clone()).unwrap_or_default();
    let missing: Vec<Uuid> =
        registered.into_iter().filter(|it| !present.contains(it) && !it.is_reserved()).collect();
    let mut all: BTreeMap<Uuid, Vec<TopicPartition>> = BTreeMap::new();
    for topic in cluster.topics() {
        for (index, state) in &topic.partitions {
            let Some(at) = state.replicas.iter().position(|it| *it == id) else { continue };
            let directory = state.directories.get(at).copied().unwrap_or_default();
            if present.contains(&directory) {
                continue;
            }
            let place = TopicPartition::new(Arc::clone(&topic.name), *index);
            if !directory.is_reserved() {
                all.entry(directory).or_default().push(place);
            } else if !missing.is_empty() && !is_here(dirs, &place) {
                // The metadata does not name its directory: it is in one that is missing.
                let home = if let [only] = missing.as_slice() { *only } else { Uuid::ZERO };
                all.entry(home).or_default().push(place);
            }
        }
    }
    all.into_iter().map(|(id, partitions)| LostDirectory { id, partitions }).collect()
}

/// Refuses to go on when the metadata directory is formatted, its log is gone, and there are
/// partitions.
///
/// # Errors
/// It is so, or a directory cannot be listed.
pub fn check_metadata_log(dirs: &[OpenDir], settings: &Settings) -> Result<(), StartError> {
    let path = settings.metadata_dir();
    let Some(metadata) = dirs.iter().find(|it| it.dir.path() == path) else { return Ok(()) };
    if metadata.is_new || has_metadata_log(&**metadata.dir.files(), &path)? {
        return Ok(());
    }
    for it in dirs {
        if it.dir.partitions()?.iter().any(|place| &*place.topic != CLUSTER_METADATA) {
            return Err(StartError::MetadataLogLost(path));
        }
    }
    Ok(())
}

/// Refuses to go on when the metadata directory was formatted to join a quorum, and the settings
/// name no other node: this one would make itself the voter of a new quorum.
///
/// # Errors
/// It is so, or a directory cannot be listed.
pub fn check_voters(dirs: &[OpenDir], settings: &Settings) -> Result<(), StartError> {
    let path = settings.metadata_dir();
    let Some(metadata) = dirs.iter().find(|it| it.dir.path() == path) else { return Ok(()) };
    let is_named =
        !settings.static_voters()?.is_empty() || settings.other_nodes(&is_local_host).is_some();
    if metadata.is_new || is_named || has_metadata_log(&**metadata.dir.files(), &path)? {
        return Ok(());
    }
    Err(StartError::NoVoters(path))
}

/// Is there no log that a crash may have cut short, as in directories that were only formatted?
///
/// # Errors
/// A directory cannot be listed.
pub fn holds_no_log(dirs: &[OpenDir]) -> Result<bool, StartError> {
    for it in dirs {
        for place in it.dir.partitions()? {
            if &*place.topic != CLUSTER_METADATA {
                return Ok(false);
            }
            let folder = it.dir.folder(&place);
            let listed = it.dir.files().list(&folder);
            let listed = listed.map_err(|source| StorageError::Io { path: folder, source })?;
            if listed.iter().any(|it| it.name.ends_with(".log")) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn has_metadata_log(files: &dyn Files, dir: &Path) -> Result<bool, StartError> {
    let folder = dir.join(format!("{CLUSTER_METADATA}-0"));
    if !files.exists(&folder) {
        return Ok(false);
    }
    let listed = files.list(&folder);
    let listed = listed.map_err(|source| StorageError::Io { path: folder.clone(), source })?;
    let is_content = |name: &str| name.ends_with(".log") || name.ends_with(".checkpoint");
    Ok(listed.iter().any(|it| is_content(&it.name)))
}

/// Refuses to format the metadata directory beside directories that are formatted already.
///
/// # Errors
/// It is so.
pub fn keep_metadata(files: &dyn Files, settings: &Settings) -> Result<(), StartError> {
    let metadata_dir = settings.metadata_dir();
    let states = directory_states(files, settings)?;
    let is_lost = |(path, state): &(PathBuf, DirState)| {
        *path == metadata_dir && *state != DirState::Formatted
    };
    let (absent, others): (Vec<_>, Vec<_>) = states.into_iter().partition(is_lost);
    let formatted: Vec<PathBuf> = others
        .into_iter()
        .filter(|(_, state)| *state == DirState::Formatted)
        .map(|(path, _)| path)
        .collect();
    if absent.is_empty() || formatted.is_empty() {
        return Ok(());
    }
    Err(StartError::NotFormatted(NotFormatted { absent, formatted, metadata_dir, others: None }))
}

/// Declares directories lost, each by its path or its id; returns what was done, in lines.
///
/// # Errors
/// One of them holds data or is not this node's, or it is not clear which is meant.
pub fn declare_lost(
    files: &Arc<dyn Files>,
    settings: &Settings,
    names: &[String],
    clock: &Clock,
) -> Result<Vec<String>, StartError> {
    let states = directory_states(&**files, settings)?;
    if states.iter().all(|(_, state)| *state != DirState::Formatted) {
        let why = "no data directory of this node is formatted: there is none to declare lost";
        return Err(StartError::NotLost(why.to_owned()));
    }
    let metadata_dir = settings.metadata_dir();
    let names = &as_in_settings(names, &directory_paths(settings))?[..];
    let named = |path: &Path| names.iter().any(|name| Path::new(name) == path);
    let mut said = Vec::new();
    check_others_are_formatted(&states, &named, &metadata_dir)?;
    let mut dirs = open_dirs(files, settings)?;
    let metadata_is_named = named(&metadata_dir);
    if metadata_is_named && has_metadata_log(&**files, &metadata_dir)? {
        let why = format!("{} holds the metadata log: it is not lost", metadata_dir.display());
        return Err(StartError::NotLost(why));
    }
    check_metadata_log(&dirs, settings).or_else(|error| match error {
        StartError::MetadataLogLost(_) if metadata_is_named => Ok(()),
        error => Err(error),
    })?;
    let endpoints = voter_listeners(settings, None)?;
    let new = NewDirectories::of_settings(settings, clock, &endpoints)?;
    let meta = own_directories(&mut dirs, settings, clock, new)?;
    for it in dirs.iter().filter(|it| it.is_new) {
        said.push(format!(
            "{} is formatted for cluster {}.",
            it.dir.path().display(),
            meta.cluster_id
        ));
    }
    if metadata_is_named {
        if !has_metadata_log(&**files, &metadata_dir)? {
            begin_metadata_log(files, settings, clock, &meta)?;
        }
        said.push(
            "The metadata log begins again with no topics; partitions that are still there are renamed to ...-stray at the next start."
                .to_owned(),
        );
        return Ok(said);
    }
    let opened = open_quorum(files, settings, clock, &meta, false)?.opened;
    let mut cluster = Cluster::default();
    opened.records.iter().for_each(|record| cluster.apply(record));
    opened.quorum.close()?;
    let lost = absent_directories(&dirs, &cluster, meta.node_id);
    let lost = chosen_directories(lost, names, &directory_paths(settings))?;
    let metadata = dirs.iter().find(|it| it.dir.path() == metadata_dir);
    let metadata =
        metadata.ok_or(StartError::NotLost("the metadata directory is missing".into()))?;
    let mut declared = metadata.dir.declared_lost()?;
    declared.extend(lost.iter().map(|it| it.id));
    declared.sort_unstable();
    declared.dedup();
    metadata.dir.set_declared_lost(&declared)?;
    for it in &lost {
        let what = it.partitions_text();
        said.push(format!("Directory id {} is declared lost: {what} start empty, or with the copy that another directory has.",
            it.id
        ));
    }
    if lost.is_empty() {
        said.push("The directory held no partition of this node.".to_owned());
    }
    Ok(said)
}

/// Only what was named is formatted.
fn check_others_are_formatted(
    states: &[(PathBuf, DirState)],
    named: &dyn Fn(&Path) -> bool,
    metadata_dir: &Path,
) -> Result<(), StartError> {
    let blank = states.iter().find(|(path, state)| *state != DirState::Formatted && !named(path));
    let Some(blank) = blank else { return Ok(()) };
    Err(StartError::NotFormatted(NotFormatted {
        absent: vec![blank.clone()],
        formatted: Vec::new(),
        metadata_dir: metadata_dir.to_owned(),
        others: None,
    }))
}

/// Writes the first files of the metadata log into a formatted metadata directory: of a new quorum,
/// or, if the settings have other voters, of a member that is to find them.
fn begin_metadata_log(
    files: &Arc<dyn Files>,
    settings: &Settings,
    clock: &Clock,
    meta: &MetaProperties,
) -> Result<(), StartError> {
    let own = ReplicaKey { id: meta.node_id, directory: meta.directory_id };
    let voters = voters_of_settings(settings, own, &voter_listeners(settings, None)?);
    let first = FirstMetadata { voters: Some(&voters), features: &[], credentials: &[] };
    write_first_metadata(files, &settings.metadata_dir(), clock, first)
}

/// The names with each path as the settings have it: `./b`, `b/` and `/full/path/b` are one.
///
/// # Errors
/// One is neither a data directory nor an id.
fn as_in_settings(names: &[String], known: &[PathBuf]) -> Result<Vec<String>, StartError> {
    let full = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let one = |name: &String| {
        let path = known.iter().find(|path| full(path) == full(Path::new(name)));
        match path {
            Some(path) => Ok(path.display().to_string()),
            None if name.parse::<Uuid>().is_ok() => Ok(name.clone()),
            None => {
                let known: Vec<String> = known.iter().map(|it| it.display().to_string()).collect();
                Err(StartError::NotLost(format!(
                    "{name} is neither a directory of log.dirs ({}) nor a directory id",
                    known.join(", ")
                )))
            }
        }
    };
    names.iter().map(one).collect()
}

/// Which of the lost directories are meant: those whose ids are named; all, when as many paths are.
fn chosen_directories(
    lost: Vec<LostDirectory>,
    names: &[String],
    known: &[PathBuf],
) -> Result<Vec<LostDirectory>, StartError> {
    let is_path = |name: &&String| known.iter().any(|path| Path::new(name.as_str()) == path);
    let count = names.iter().filter(is_path).count();
    for name in names.iter().filter(|name| !is_path(name)) {
        if !lost.iter().any(|it| it.id.to_string() == **name) {
            let ids: Vec<String> = lost.iter().map(|it| it.id.to_string()).collect();
            let missing = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            return Err(StartError::NotLost(format!(
                "{name} is neither a directory of log.dirs nor the id of a missing directory (missing: {missing})"
            )));
        }
    }
    let is_named = |it: &LostDirectory| names.contains(&it.id.to_string());
    let (by_id, others): (Vec<_>, Vec<_>) = lost.into_iter().partition(is_named);
    if count == 0 {
        return Ok(by_id);
    }
    if others.len() > count {
        let text: Vec<String> =
            others.iter().map(|it| format!("{}: {}", it.id, it.partitions_text())).collect();
        return Err(StartError::NotLost(format!(
            "{} directories are missing; name the lost ones by id: {}",
            others.len(),
            text.join("; ")
        )));
    }
    Ok(by_id.into_iter().chain(others).collect())
}
