//! What must be true after every step, by the names of the cluster's specification
//! (docs/simulation.md).

use std::fmt;

use crate::coverage::Coverage;

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`text` says what each one means")]
pub enum Invariant {
    ElectionSafety,
    LogMatching,
    LeaderCompleteness,
    CommittedOnMajorityDurable,
    CommittedPrefix,
    HwMonotonic,
    NoTruncateBelowHw,
    VoteOnce,
    PromiseBeforeWord,
    EpochMonotonic,
    EpochCatchesUp,
    StateMatchesRole,
    ElectionDecided,
    ElectedByVotes,
    QuorumChecked,
    VoterSetsOverlap,
    VotersOfLog,
    StartCovered,
    EarlierEpochIgnored,
    NoFatal,
    LeaderElected,
    QuorumConverges,
    ReplicaLogMatching,
    SingleLeaderPerLeaderEpoch,
    AcknowledgedStays,
    ConsistentRead,
    CommittedOnInSync,
    MinimumKept,
    LeaderCandidateCompleteness,
    ValidControllerIsrAndElr,
    EpochsGrow,
    ChangesCounted,
    StaleBrokerEpochNeverInIsr,
    ProposalIsCurrent,
    SessionsEnd,
    ServesWithMetadata,
    StopsUnneeded,
    OneProcessServes,
    ReplicasConverge,
    DecisionFromImage,
    ImageEqualsReplay,
    SnapshotEqualsReplay,
    ProducerIdsOnce,
    EarlierLifeIgnored,
    RecordsStay,
    ReadsAreWhole,
    WatermarksGrow,
    CommittedReads,
    TransactionsAreAtomic,
    TransactionsEnd,
    OffsetsStay,
    GroupsAreExclusive,
    TopicsStay,
    AnswersAreSound,
    NodeRecovers,
    EverythingEnds,
    AcknowledgedMetadataStays,
    DeletionsAreFinal,
    NodesAgree,
    BrokersUnfenced,
    MetadataLogsAgree,
    OneClusterForms,
    PromisedByAll,
    PromisesSurvive,
    FormingEnds,
    NoPanic,
    SameTrace,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 67] = [
        Self::ElectionSafety,
        Self::LogMatching,
        Self::LeaderCompleteness,
        Self::CommittedOnMajorityDurable,
        Self::CommittedPrefix,
        Self::HwMonotonic,
        Self::NoTruncateBelowHw,
        Self::VoteOnce,
        Self::PromiseBeforeWord,
        Self::EpochMonotonic,
        Self::EpochCatchesUp,
        Self::StateMatchesRole,
        Self::ElectionDecided,
        Self::ElectedByVotes,
        Self::QuorumChecked,
        Self::VoterSetsOverlap,
        Self::VotersOfLog,
        Self::StartCovered,
        Self::EarlierEpochIgnored,
        Self::NoFatal,
        Self::LeaderElected,
        Self::QuorumConverges,
        Self::ReplicaLogMatching,
        Self::SingleLeaderPerLeaderEpoch,
        Self::AcknowledgedStays,
        Self::ConsistentRead,
        Self::CommittedOnInSync,
        Self::MinimumKept,
        Self::LeaderCandidateCompleteness,
        Self::ValidControllerIsrAndElr,
        Self::EpochsGrow,
        Self::ChangesCounted,
        Self::StaleBrokerEpochNeverInIsr,
        Self::ProposalIsCurrent,
        Self::SessionsEnd,
        Self::ServesWithMetadata,
        Self::StopsUnneeded,
        Self::OneProcessServes,
        Self::ReplicasConverge,
        Self::DecisionFromImage,
        Self::ImageEqualsReplay,
        Self::SnapshotEqualsReplay,
        Self::ProducerIdsOnce,
        Self::EarlierLifeIgnored,
        Self::RecordsStay,
        Self::ReadsAreWhole,
        Self::WatermarksGrow,
        Self::CommittedReads,
        Self::TransactionsAreAtomic,
        Self::TransactionsEnd,
        Self::OffsetsStay,
        Self::GroupsAreExclusive,
        Self::TopicsStay,
        Self::AnswersAreSound,
        Self::NodeRecovers,
        Self::EverythingEnds,
        Self::AcknowledgedMetadataStays,
        Self::DeletionsAreFinal,
        Self::NodesAgree,
        Self::BrokersUnfenced,
        Self::MetadataLogsAgree,
        Self::OneClusterForms,
        Self::PromisedByAll,
        Self::PromisesSurvive,
        Self::FormingEnds,
        Self::NoPanic,
        Self::SameTrace,
    ];

    /// Its short name in the specification, or a dash where it is the simulator's own.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ElectionSafety => "K1",
            Self::LogMatching => "K2",
            Self::LeaderCompleteness => "K3",
            Self::CommittedOnMajorityDurable => "K4",
            Self::HwMonotonic => "K5",
            Self::NoTruncateBelowHw => "K6",
            Self::VoteOnce => "K7",
            Self::VoterSetsOverlap => "K8",
            Self::StateMatchesRole => "K10",
            Self::ReplicaLogMatching => "R5",
            Self::SingleLeaderPerLeaderEpoch => "R9",
            Self::AcknowledgedStays => "R4",
            Self::ConsistentRead => "R6",
            Self::LeaderCandidateCompleteness => "R3",
            Self::ValidControllerIsrAndElr => "R1",
            Self::EpochsGrow => "R10",
            Self::StaleBrokerEpochNeverInIsr => "R11",
            Self::SnapshotEqualsReplay => "K9",
            _ => "-",
        }
    }

    /// What it demands.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table: a line for each invariant")]
    pub const fn text(self) -> &'static str {
        match self {
            Self::ElectionSafety => "an epoch has one leader at most",
            Self::LogMatching => "records of one offset and epoch follow upon equal logs",
            Self::LeaderCompleteness => "a new leader has every committed record",
            Self::CommittedOnMajorityDurable => {
                "what commits is on the disks of a majority of the voters"
            }
            Self::CommittedPrefix => "a committed record never changes and is never cut off",
            Self::HwMonotonic => "the high watermark never falls and never passes the log's end",
            Self::NoTruncateBelowHw => "a replica cuts off nothing below its high watermark",
            Self::VoteOnce => "a voter votes for one candidate in an epoch, across crashes",
            Self::PromiseBeforeWord => {
                "a vote, a candidacy or a leadership is on the disk before others hear of it"
            }
            Self::EpochMonotonic => "a replica's epoch never falls, across crashes",
            Self::EpochCatchesUp => "a replica that hears of a later epoch is in it",
            Self::StateMatchesRole => {
                "a replica moves between roles as the table says; a replica that is no voter \
                 never stands for election"
            }
            Self::ElectionDecided => "an election that is won or lost is over",
            Self::ElectedByVotes => "a majority has voted for a leader in its epoch",
            Self::QuorumChecked => "a leader without its majority's fetches resigns in time",
            Self::VoterSetsOverlap => {
                "one voter changes at a time, after the last change and something of the epoch \
                 have committed"
            }
            Self::VotersOfLog => "a replica goes by the voters that its log or its snapshot names",
            Self::StartCovered => "what is deleted before a log's start is in one of its snapshots",
            Self::EarlierEpochIgnored => "a request of an earlier epoch changes nothing",
            Self::NoFatal => "no replica finds the protocol broken",
            Self::LeaderElected => "10 s after the faults end a majority has a leader",
            Self::QuorumConverges => {
                "after the faults what is proposed commits, and all logs become equal"
            }
            Self::ReplicaLogMatching => "of one offset and leader epoch there is one record",
            Self::SingleLeaderPerLeaderEpoch => "a leader epoch has one leader at most",
            Self::AcknowledgedStays => {
                "a new leader has every record that was acknowledged with acks=all"
            }
            Self::ConsistentRead => {
                "a record below the high watermark never changes and is never cut off"
            }
            Self::CommittedOnInSync => {
                "what commits is in the log of every member of the in-sync set"
            }
            Self::MinimumKept => "nothing commits while fewer than min.insync.replicas are in sync",
            Self::LeaderCandidateCompleteness => {
                "every member of the in-sync set, and every eligible leader, has all that is committed"
            }
            Self::ValidControllerIsrAndElr => {
                "in-sync and eligible replicas are replicas, apart, and serve; the leader is in sync"
            }
            Self::EpochsGrow => "leader and partition epochs grow with every change",
            Self::ChangesCounted => {
                "a partition's epoch counts its changes, and its leader epoch those that name a leader"
            }
            Self::StaleBrokerEpochNeverInIsr => {
                "a replica joins the in-sync set in the epoch in which its leader has seen it"
            }
            Self::ProposalIsCurrent => "an in-sync set rests on the one that its leader knew",
            Self::SessionsEnd => "a broker that is silent for the length of its session is fenced",
            Self::ServesWithMetadata => "a broker that serves has applied its registration",
            Self::StopsUnneeded => {
                "a broker that may stop leads nothing, and the others have applied that"
            }
            Self::OneProcessServes => {
                "a broker that lives gives way to no process with other directories"
            }
            Self::ReplicasConverge => {
                "after the faults all replicas are in sync and acks=all is acknowledged"
            }
            Self::DecisionFromImage => "two controllers of one image decide the same",
            Self::ImageEqualsReplay => {
                "one log makes one image, live, on brokers and from the start"
            }
            Self::SnapshotEqualsReplay => "a snapshot makes the image that it was taken of",
            Self::EarlierLifeIgnored => "a fetch of a follower's earlier life moves no leader",
            Self::ProducerIdsOnce => "no producer id is given away twice",
            Self::RecordsStay => {
                "a record that was acknowledged or read stays at its offset, once, and in its producer's order"
            }
            Self::ReadsAreWhole => {
                "an answer's batches begin where they were asked for, follow upon each other and are whole"
            }
            Self::WatermarksGrow => {
                "high watermark and last stable offset never fall, and the second never passes the first"
            }
            Self::CommittedReads => {
                "no record of an open or aborted transaction is read by those who read what is committed"
            }
            Self::TransactionsAreAtomic => "of a transaction all records can be read, or none",
            Self::TransactionsEnd => {
                "after the faults every transaction ends, at the latest when its time is over"
            }
            Self::OffsetsStay => "a committed offset is the last that was committed",
            Self::GroupsAreExclusive => "a partition has one member of a group at a time",
            Self::TopicsStay => "a topic exists from its creation to its deletion",
            Self::AnswersAreSound => {
                "every answer can be decoded, and has a code that the request can have"
            }
            Self::NodeRecovers => "a node starts after every crash and stops when it is asked to",
            Self::EverythingEnds => "after the faults every client can end what it has begun",
            Self::AcknowledgedMetadataStays => {
                "a topic, its id and its settings are on every node from when they are acknowledged"
            }
            Self::DeletionsAreFinal => "a topic id whose deletion is acknowledged is on no node",
            Self::NodesAgree => "after the faults all nodes know one leader of the metadata quorum",
            Self::BrokersUnfenced => "after the faults every node lists all brokers in time",
            Self::MetadataLogsAgree => {
                "after the faults the committed metadata is the same in the log of every voter"
            }
            Self::OneClusterForms => {
                "no node is formatted, or decided to be, beside one that has another cluster"
            }
            Self::PromisedByAll => "a cluster is founded with the promise of every listed node",
            Self::PromisesSurvive => "a node whose disk was not replaced goes on with its promise",
            Self::FormingEnds => "after the faults all nodes of a list have one cluster",
            Self::NoPanic => "no task panics, and none runs without end",
            Self::SameTrace => "a seed that runs twice has the same history twice",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            "-" => write!(f, "{self:?}"),
            code => write!(f, "{code} {self:?}"),
        }
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// What was seen.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms: {}", self.invariant, self.at_ms, self.why)
    }
}

/// Nothing, or the rule that is broken.
pub type InvariantCheck = Result<(), Violation>;

/// A world whose invariants are checked.
pub trait Judge {
    /// The simulated time, in milliseconds.
    fn now_ms(&self) -> u64;

    /// Where checks are counted.
    fn coverage(&mut self) -> &mut Coverage;

    /// Counts the check of an invariant.
    ///
    /// # Errors
    /// It does not hold.
    fn demand(
        &mut self,
        invariant: Invariant,
        holds: bool,
        why: impl FnOnce(&Self) -> String,
    ) -> InvariantCheck
    where
        Self: Sized,
    {
        self.coverage().checked(invariant);
        if holds {
            return Ok(());
        }
        Err(Violation { invariant, at_ms: self.now_ms(), why: why(self) })
    }
}
