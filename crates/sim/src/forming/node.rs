//! A node that forms, and its disk.

use ottla_broker::forming::{Forming, FormingPeer, FormingReport, FormingStage};
use ottla_raft::ReplicaKey;
use ottla_types::NodeId;

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct SimFormingDisk {
    /// `forming.properties`.
    pub stored: Option<FormingReport>,
    /// The cluster that the directories are formatted for.
    pub formatted: Option<String>,
}

impl SimFormingDisk {
    /// The cluster that the disk belongs to, or is going to belong to whatever happens.
    pub fn cluster(&self) -> Option<&str> {
        let stage = self.stored.as_ref().map(|it| &it.stage);
        self.formatted.as_deref().or(match stage {
            Some(FormingStage::Decided(founding)) => Some(&founding.cluster_id),
            Some(FormingStage::Joining { cluster_id }) => Some(cluster_id),
            Some(FormingStage::Blank | FormingStage::Promised(_)) | None => None,
        })
    }
}

/// What a running process does.
#[derive(Clone, Debug)]
pub(super) enum FormingLife {
    /// It asks the others; with what is being written, if something is.
    Forms(Box<Forming>, Option<FormingStage>),
    /// Its directories are being formatted for this cluster; it answers nothing.
    Formats(String),
    /// It serves.
    Serves(String),
}

#[derive(Clone, Debug)]
pub(super) struct FormingNode {
    pub id: NodeId,
    pub disk: SimFormingDisk,
    /// The running process, if there is one.
    pub live: Option<FormingLife>,
    /// Which process it is.
    pub life: u32,
}

impl FormingNode {
    pub fn new(id: NodeId) -> Self {
        Self { id, disk: SimFormingDisk::default(), live: None, life: 0 }
    }

    /// What it answers now; `None` if it does not.
    pub fn answer(&self) -> Option<FormingPeer> {
        match self.live.as_ref()? {
            FormingLife::Forms(forming, _) => Some(FormingPeer::Forming(forming.report().clone())),
            FormingLife::Formats(_) => None,
            FormingLife::Serves(cluster_id) => {
                Some(FormingPeer::Formatted { cluster_id: cluster_id.clone() })
            }
        }
    }

    /// The replica that it is, while it forms.
    pub fn key(&self) -> Option<ReplicaKey> {
        match self.live.as_ref()? {
            FormingLife::Forms(forming, _) => Some(forming.report().key),
            FormingLife::Formats(_) | FormingLife::Serves(_) => None,
        }
    }
}
