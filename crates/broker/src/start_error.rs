//! Why a node does not start, and what its operator can do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla_partitions::{DirState, StorageError};
use ottla_quorum::QuorumError;
use ottla_settings::{SettingError, Settings};
use ottla_types::{ErrorCode, TopicPartition, Uuid};

use crate::assemble::NodeFailure;
use crate::forming::FormingRefusal;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The disk fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The metadata log cannot be opened.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// Another process has a data directory.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// A data directory belongs to something else.
    #[error("{}: {why}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        why: String,
    },
    /// Data directories are not formatted, or their volumes are not mounted.
    #[error("{0}")]
    NotFormatted(NotFormatted),
    /// Data directories that hold partitions of this node are not among those of the settings.
    #[error("{}", lost_text(.0))]
    DirectoriesLost(Vec<LostDirectory>),
    /// The metadata directory is formatted, and its log is gone.
    #[error(
        "the metadata log {}/__cluster_metadata-0 is missing or empty, and there are partitions in the data directories: a start would forget all topics",
        .0.display()
    )]
    MetadataLogLost(PathBuf),
    /// The metadata directory is to join a quorum, and the settings name none.
    #[error(
        "{}: there is no metadata log, as --no-initial-controllers leaves it for a node that joins a quorum, but controller.quorum.bootstrap.servers names no other node",
        .0.display()
    )]
    NoVoters(PathBuf),
    /// The directories cannot be formatted as was asked.
    #[error("{0}")]
    Format(String),
    /// The nodes of `ottla.cluster` cannot form a cluster.
    #[error(transparent)]
    Forming(#[from] FormingRefusal),
    /// What a node that forms has stored cannot be read.
    #[error("{}: {why}", path.display())]
    FormingFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The metadata quorum cannot be recovered from this node, or its metadata not backed up.
    #[error("{0}")]
    Recovery(String),
    /// What is to be declared lost is not lost, or not one directory.
    #[error("{0}")]
    NotLost(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system cannot start a thread.
    #[error("the system cannot start a thread for the node: {0}")]
    Thread(#[from] io::Error),
    /// The controller refuses this node.
    #[error("the controller refused to register this node: {}", .0.name())]
    Refused(ErrorCode),
    /// A part of the node failed before it served.
    #[error(transparent)]
    Failed(#[from] NodeFailure),
}

/// Data directories of the settings that are not formatted.
#[derive(Debug)]
pub struct NotFormatted {
    /// Those that are not, and what lies there.
    pub absent: Vec<(PathBuf, DirState)>,
    /// Those that are.
    pub formatted: Vec<PathBuf>,
    /// The one that is to hold the metadata log.
    pub metadata_dir: PathBuf,
    /// The cluster that the node belongs to, if it is one of several.
    pub others: Option<OtherNodes>,
}

/// That a node is one of several, which a start never formats.
#[derive(Debug)]
pub struct OtherNodes {
    /// The setting that says so.
    pub says: String,
    /// The command that formats the node, and what else to do.
    pub advice: String,
}

impl OtherNodes {
    /// What the settings say of other nodes; `None` for a node that is its own quorum. `is_local`
    /// says whether a host is this machine.
    #[must_use]
    pub fn of_settings(settings: &Settings, is_local: &dyn Fn(&str) -> bool) -> Option<Self> {
        let says = settings.other_nodes(is_local)?;
        let has_static_voters = !settings.items("controller.quorum.voters").is_empty();
        let advice = if settings.given("ottla.cluster").is_some() {
            "ottla.cluster forms a cluster of nodes whose directories are empty: empty all of them, or format them as docs/quorums.md says."
        } else if !settings.is_controller() || has_static_voters {
            "format its directories with the id of the cluster, the same on every node (`ottla kafka-storage random-uuid` makes one for a new cluster):\n    ottla format SETTINGS --cluster-id ID"
        } else {
            "format its directories. The first controller of a new cluster, which prints the cluster's id:\n    ottla format SETTINGS --standalone\n  Every other node:\n    ottla format SETTINGS --cluster-id ID --no-initial-controllers\n  docs/quorums.md has the other ways."
        };
        Some(Self { says, advice: advice.to_owned() })
    }
}

/// A directory that held partitions of this node.
#[derive(Debug)]
pub struct LostDirectory {
    /// Its id; [`Uuid::ZERO`] where the metadata does not say in which directory they lay.
    pub id: Uuid,
    /// The partitions, in order.
    pub partitions: Vec<TopicPartition>,
}

/// How many partitions a message names.
const NAMED_MAX: usize = 5;

impl fmt::Display for NotFormatted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (path, state)) in self.absent.iter().enumerate() {
            let what = match state {
                DirState::Missing => "does not exist",
                DirState::Empty => "is empty",
                DirState::Unformatted | DirState::Formatted => "has no meta.properties",
            };
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}data directory {} {what}", path.display())?;
            if *path == self.metadata_dir && !self.formatted.is_empty() {
                write!(f, " (the metadata log, with all topics and settings, belongs there)")?;
            }
        }
        if let Some(first) = self.formatted.first() {
            write!(f, ", while {} is formatted: this node has run before", first.display())?;
        } else if let Some(others) = &self.others {
            write!(f, ", and a start does not format a node of several: {}", others.says)?;
        }
        Ok(())
    }
}

impl LostDirectory {
    /// The partitions in words, the first few by name.
    #[must_use]
    pub fn partitions_text(&self) -> String {
        let count = self.partitions.len();
        let named: Vec<String> =
            self.partitions.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        let more = if count > NAMED_MAX { ", ..." } else { "" };
        let noun = if count == 1 { "partition" } else { "partitions" };
        format!("{count} {noun} ({}{more})", named.join(", "))
    }
}

fn lost_text(lost: &[LostDirectory]) -> String {
    let of = |directory: &LostDirectory| {
        let what = directory.partitions_text();
        if directory.id.is_zero() {
            format!("{what} of this node are not in any directory of log.dirs")
        } else {
            format!(
                "no directory of log.dirs has directory id {}, which holds {what}",
                directory.id
            )
        }
    };
    lost.iter().map(of).collect::<Vec<_>>().join("; ")
}

impl StartError {
    /// What the operator can do about it, where that is known.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        use io::ErrorKind::{
            AddrInUse, AddrNotAvailable, NotFound, PermissionDenied, ReadOnlyFilesystem,
        };
        const OWN_DIRECTORY: &str =
            "Choose a directory that this user may write: --override log.dirs=DIR";
        let text = match self {
            Self::Listen { source, .. } => match source.kind() {
                AddrInUse => {
                    "Another process listens on this address, maybe another node. Stop it, or choose another address: --override listeners=PLAINTEXT://HOST:PORT"
                }
                AddrNotAvailable => {
                    "This machine has no such address. Listen on one of its own; advertised.listeners may name another for clients."
                }
                PermissionDenied => "Ports below 1024 need a privilege; choose a higher one.",
                _ => return None,
            },
            Self::Locked(_) => {
                "Stop that process, or give this node a directory of its own: --override log.dirs=DIR"
            }
            Self::Storage(StorageError::Io { source, .. }) => {
                let kinds = [NotFound, PermissionDenied, ReadOnlyFilesystem];
                if !kinds.contains(&source.kind()) {
                    return None;
                }
                OWN_DIRECTORY
            }
            Self::NotFormatted(it) => return Some(it.advice()),
            Self::DirectoriesLost(lost) => return Some(lost_advice(lost)),
            Self::FormingFile { .. } => {
                "The file says what this node has promised while its cluster forms. Restore it; or, if no node of the cluster is formatted, remove it on each of them."
            }
            Self::NoVoters(_) => {
                "Name the controllers of its quorum in controller.quorum.bootstrap.servers; or, if it is to be a cluster of its own, remove the directory and format it again:\n    ottla format SETTINGS --standalone"
            }
            Self::MetadataLogLost(path) => {
                return Some(format!(
                    "Restore the folder from where it was moved to, or mount its volume; or, if it is lost for good, declare it lost:\n    {}\n  Then this node begins with no topics, and the partitions that are there are renamed to ...-stray.",
                    declare_lost_command(path)
                ));
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn declare_lost_command(what: impl AsRef<Path>) -> String {
    format!("ottla format SETTINGS --declare-lost {}", what.as_ref().display())
}

fn lost_advice(lost: &[LostDirectory]) -> String {
    let known = lost.iter().find(|it| !it.id.is_zero());
    let id = known.map_or_else(|| "ID".to_owned(), |it| it.id.to_string());
    format!(
        "Mount the volume and name its directory in log.dirs; or, if it is lost for good, declare it lost:\n    {}\n  Then its partitions start empty.",
        declare_lost_command(id)
    )
}

impl NotFormatted {
    fn advice(&self) -> String {
        let path = self.absent.first().map_or_else(PathBuf::new, |(path, _)| path.clone());
        if let Some(others) = self.others.as_ref().filter(|_| self.formatted.is_empty()) {
            let mount = "If this node has run before, its volume is not mounted: mount it.";
            return format!("{mount} If the node is new, {}", others.advice);
        }
        if self.formatted.is_empty() {
            return "If this node has run before, its volume is not mounted: mount it. If the node is new, format its directories:\n    ottla format SETTINGS\n  or start it with --format-if-empty."
                .to_owned();
        }
        let metadata = self.absent.iter().find(|(path, _)| *path == self.metadata_dir);
        if let Some((path, _)) = metadata {
            return format!(
                "Mount its volume; or, if it is lost for good, declare it lost:\n    {}\n  Then this node begins with no topics, and the partitions in its other directories are renamed to ...-stray.",
                declare_lost_command(path)
            );
        }
        format!(
            "Mount its volume; or, if it is lost for good, declare it lost:\n    {}\n  If it is an additional directory, format it:\n    ottla format SETTINGS --ignore-formatted",
            declare_lost_command(path)
        )
    }
}
