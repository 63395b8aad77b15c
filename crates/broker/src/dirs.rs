//! The data directories of a node: opened, made its own, and how they were left.

use std::path::Path;
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_metadata::{bootstrap_records, version_of};
use ottla_partitions::{CleanShutdown, DataDir, Files, MetaProperties};
use ottla_quorum::{Endpoint, Format, ReplicaKey, Voter};

use crate::broker::StartError;
use crate::settings::{SettingError, Settings};

/// A data directory that is open, and how it was left.
pub struct OpenDir {
    pub dir: DataDir,
    pub meta: Option<MetaProperties>,
    /// Was it nobody's when it was opened?
    pub is_new: bool,
    pub clean: Option<CleanShutdown>,
}

/// Opens all of them; one that another process has is an error.
pub fn open_dirs(files: &Arc<dyn Files>, settings: &Settings) -> Result<Vec<OpenDir>, StartError> {
    let mut paths = settings.log_dirs();
    let metadata = settings.metadata_dir();
    if !paths.contains(&metadata) {
        paths.push(metadata);
    }
    let mut all = Vec::new();
    for path in paths {
        let dir = DataDir::open(Arc::clone(files), &path)?.ok_or(StartError::Locked(path))?;
        let meta = dir.meta()?;
        all.push(OpenDir { dir, is_new: meta.is_none(), meta, clean: None });
    }
    Ok(all)
}

/// Makes sure that all directories are this node's, formatting those that are new; says what the
/// directory with the metadata log is.
pub fn own(
    dirs: &mut [OpenDir],
    settings: &Settings,
    clock: &Clock,
    chosen: Option<String>,
    endpoints: &[Endpoint],
) -> Result<MetaProperties, StartError> {
    let id = settings.node_id()?;
    let known = dirs.iter().find_map(|it| it.meta.as_ref().map(|meta| meta.cluster_id.clone()));
    let cluster_id = known.or(chosen).unwrap_or_else(|| clock.random_uuid().to_string());
    let metadata_dir = settings.metadata_dir();
    let mut found = None;
    for it in dirs {
        let path = it.dir.path().to_owned();
        let foreign = |why: String| StartError::Foreign { path: path.clone(), why };
        let meta = match &it.meta {
            Some(meta) if meta.cluster_id != cluster_id => {
                return Err(foreign(format!("it belongs to cluster {}", meta.cluster_id)));
            }
            Some(meta) if meta.node_id != id => {
                return Err(foreign(format!("it belongs to node {}, this is {id}", meta.node_id)));
            }
            Some(meta) => meta.clone(),
            None => {
                let (cluster_id, directory_id) = (cluster_id.clone(), clock.random_uuid());
                let meta = MetaProperties { cluster_id, node_id: id, directory_id };
                if path == metadata_dir {
                    format_dir(it.dir.files(), &path, clock, &meta, endpoints)?;
                }
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

/// As [`own`], for a node that starts: takes the marks of a clean stop away, once it is known that
/// it may start in all of them.
pub fn take_over(
    dirs: &mut [OpenDir],
    settings: &Settings,
    clock: &Clock,
    endpoints: &[Endpoint],
) -> Result<MetaProperties, StartError> {
    let meta = own(dirs, settings, clock, None, endpoints)?;
    for it in dirs.iter_mut().filter(|it| !it.is_new) {
        it.clean = it.dir.take_clean_shutdown()?;
    }
    Ok(meta)
}

fn format_dir(
    files: &Arc<dyn Files>,
    dir: &Path,
    clock: &Clock,
    meta: &MetaProperties,
    endpoints: &[Endpoint],
) -> Result<(), StartError> {
    let versioned = |it| {
        let version = version_of(&it);
        (it, version)
    };
    let records: Vec<_> = bootstrap_records().into_iter().map(versioned).collect();
    let key = ReplicaKey { id: meta.node_id, directory: meta.directory_id };
    let voter = Voter { key, endpoints: endpoints.to_vec(), kraft_versions: (0, 1) };
    let now = &mut || clock.wall_ms();
    Ok(ottla_quorum::format(files, dir, Format { records: &records, voter, now })?)
}
