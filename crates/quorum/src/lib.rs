//! Raft running on files; the metadata log as a journal.
//!
//! `__cluster_metadata-0` is a log like any other with three differences: nothing rests on an
//! append before it is on the disk, control batches have the leader and the voters, and
//! `<offset>-<epoch>.checkpoint` files hold snapshots. Beside it lie `quorum-state`, what a voter
//! has promised, and `bootstrap.checkpoint`, what a cluster begins with (KIP-595, KIP-630).

mod backup;
mod batch;
mod cleaning;
mod committed;
mod driver;
mod following;
mod format;
mod forming_file;
mod opening;
mod outgoing;
mod recovery;
mod replay;
mod serving;
mod snapshot;
mod state;
mod survey;
pub mod wire;

pub use backup::{BackupOf, back_up_metadata, default_backup_path};
pub use committed::{CommittedLog, CommittedRecords};
pub use driver::{OpenedQuorum, Quorum, QuorumError, Setup, Snapshot, Store};
pub use format::{FormatOptions, InitialVoters, format_directory, read_bootstrap, write_bootstrap};
pub use forming_file::{FORMING, read_forming, remove_forming, write_forming};
pub use ottla_raft::{
    Candidacy, ChangeAnswered, ChangeAsked, Endpoint, FetchAsked, FetchVerdict, FollowerRequest,
    KraftVersions, LogEnd, LogRetention, MembershipChange, ReplicaKey, RequestId, SnapshotAsked,
    SnapshotId, Standing, Timing, VoteAsked, Voter, VoterSet,
};
pub use outgoing::{PeerMessage, PeerRequest};
pub use recovery::SoleVoter;
pub use serving::SnapshotBytes;
pub use survey::{BreakKind, BrokenLog, LogSurvey};

/// The folder of the metadata log in its data directory.
pub const FOLDER: &str = "__cluster_metadata-0";
