//! Bugs on purpose, so that the simulator can show that it finds them (docs/simulation.md).
//!
//! A build with `--cfg planted`, which only `sim/planted` makes, can switch one of them on. In any
//! other build [`is_planted`] is a constant `false`, and the code of the bug is not compiled in.

/// The planted bugs: variant, name, and what is wrong.
macro_rules! bugs {
    ($($bug:ident $name:literal $text:literal;)*) => {
        /// What can be wrong on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $text] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)*];

            /// Its name on a command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)* }
            }

            /// Which ring of the simulator has to find it.
            #[must_use]
            pub const fn ring(self) -> u8 {
                if self as usize >= Self::CommitWaitSkipped as usize { 2 } else { 1 }
            }

            /// How many nodes the simulated cluster has that has to find it; 0 in ring 1.
            #[must_use]
            pub const fn nodes(self) -> u8 {
                match self.ring() {
                    1 => 0,
                    _ if self as usize >= Self::FetchesUnstored as usize => 3,
                    _ => 1,
                }
            }

            /// What is wrong.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$bug => $text,)* }
            }
        }
    };
}

bugs! {
    PreVoteRefused "F1" "a prospective that remembers a leader refuses pre-votes";
    PreVoteStaysBehind "R2" "a pre-vote of a later epoch leaves its receiver behind";
    RefusalsByMajority "R3" "an election is lost only when a majority refuses";
    MinimumTooLate "F5" "a new leader commits with a minimum of 1 before it hears of the rule";
    VoteTwice "vote-twice" "a voter votes again in an epoch";
    VoteNotPersisted "vote-not-persisted" "a vote is answered before it is on the disk";
    VoteIgnoresLog "vote-ignores-log" "a vote goes to a candidate with a shorter log";
    PreVoteCounts "pre-vote-counts" "a pre-vote that comes late is counted as a vote";
    StaleVoteCounts "stale-vote-counts" "a vote of an earlier epoch is counted";
    MinorityCommits "minority-commits" "half of the voters commit";
    OldEpochCommits "old-epoch-commits" "records of an older epoch commit by being counted";
    LeaderResumes "leader-resumes" "a leader that restarts leads on in its epoch";
    EpochNotPersisted "epoch-not-persisted" "a leader opens its epoch before it is on the disk";
    DivergenceUnseen "divergence-unseen" "a leader compares the lengths of logs, not their epochs";
    CutTooDeep "cut-too-deep" "a follower cuts one epoch too much off";
    QuorumUnchecked "quorum-unchecked" "a leader stays without its majority";
    WaitDropped "wait-dropped" "a later epoch drops the wait for the next election";
    VotersNotTruncated "voters-not-truncated" "voters stay that were cut off with the log";
    SnapshotKeepsVoters "snapshot-keeps-voters" "a fetched snapshot leaves the old voters in force";
    OldMajorityCommits "old-majority-commits" "a change of the voters counts when it has committed";
    DirectoryIgnored "directory-ignored" "a replica on another disk counts as the voter";
    RemovedLeaderCounts "removed-leader-counts" "a leader that removed itself still counts";
    RemovedLeaderStays "removed-leader-stays" "a leader that removed itself never resigns";
    TwoChangesAtOnce "two-changes-at-once" "the voters change before the last change committed";
    ChangeBeforeCommit "change-before-commit" "a leader changes the voters before it committed";
    WipedVoterVotes "wiped-voter-votes" "a voter whose disk was replaced votes again";
    OldBeginBelieved "old-begin-believed" "a BeginQuorumEpoch of an earlier epoch is believed";
    OldEndBelieved "old-end-believed" "an EndQuorumEpoch of an earlier leader is believed";
    OldFetchCounts "old-fetch-counts" "a leader counts a fetch of an earlier epoch";
    OldAnswerTaken "old-answer-taken" "an answer is taken that is for another position";
    WatermarkBeyondEnd "watermark-beyond-end" "a follower's watermark passes the end of its log";
    OldSnapshotTaken "old-snapshot-taken" "a snapshot is installed that is fetched no longer";
    MinimumIgnored "minimum-ignored" "a leader commits while too few replicas are in sync";
    JoiningIgnored "joining-ignored" "a replica that joins the in-sync set counts only afterwards";
    JoiningCounts "joining-counts" "a replica that joins helps to reach the minimum at once";
    EarlierLifeCounts "earlier-life-counts" "a late fetch of a follower's earlier life counts";
    FollowersIgnored "followers-ignored" "a leader commits what its followers lack";
    LackingJoins "lacking-joins" "a replica joins the in-sync set that lacks what is committed";
    EarlierLeadersForgotten "earlier-forgotten" "a replica joins that lacks earlier leaders' records";
    InSyncHasAll "in-sync-has-all" "a new leader takes the in-sync replicas' logs to be as long as its own";
    ProposalForgotten "proposal-forgotten" "a proposal is forgotten when other metadata comes";
    MajorityIsEnough "majority-is-enough" "records commit that a majority of the in-sync set has";
    LossUnseen "loss-unseen" "a leader does not see that a follower has lost records";
    NewMembersIgnored "new-members-ignored" "a leader does not hear of new members of the in-sync set";
    AllIsCommitted "all-is-committed" "a new leader takes all of its log to be committed";
    RefusalUnheard "refusal-unheard" "a proposal is repeated though the controller has refused it";
    EligibleForgotten "eligible-forgotten" "who leaves a set below the minimum may not lead";
    EligibleStays "eligible-stays" "replicas stay eligible to lead when enough are in sync again";
    UncleanIsFenced "F8" "a broker that stopped uncleanly stays eligible to lead";
    ElectedOutOfSync "elected-out-of-sync" "a replica that is not in sync is elected";
    EpochStays "epoch-stays" "a new leader leads in its predecessor's epoch";
    StaysInSync "stays-in-sync" "a fenced broker stays in the in-sync set";
    SessionsForgotten "sessions-forgotten" "a new controller grants no sessions to brokers that serve";
    ServesTooSoon "serves-too-soon" "a broker serves before it has applied its registration";
    StopsTooSoon "stops-too-soon" "a broker stops before others have applied that they lead";
    AnyMaySupersede "any-may-supersede" "a broker registers from other directories while another lives";
    AnyMayJoin "any-may-join" "a broker joins the in-sync set that is fenced, or was started again";
    StaleInSyncTaken "stale-in-sync-taken" "an in-sync set that was made upon an older one is taken";
    IdsGivenTwice "ids-given-twice" "a block of producer ids is given away twice";
    SnapshotForgets "snapshot-forgets" "a snapshot forgets the eligible leaders";
    FoundedWithoutAll "founded-without-all" "a cluster is founded while a listed node does not answer";
    PromiseForgotten "promise-forgotten" "a node is blank after a crash although it has promised";
    DecidedEarly "decided-early" "a cluster is decided before all have promised";
    CommitWaitSkipped "commit-wait-skipped" "a produce is answered before its records are durable";
    RecordsUnsynced "records-unsynced" "records are called durable without an fsync";
    FlushUnsynced "flush-unsynced" "the recovery point moves without an fsync";
    ChecksumsBelieved "checksums-believed" "recovery believes batches whose checksum is wrong";
    HalfBatchStays "half-batch-stays" "recovery leaves half a batch in the file";
    ProducersForgotten "producers-forgotten" "recovery forgets what producers have written";
    WatermarkFalls "watermark-falls" "a start shows less than was acknowledged";
    AbortedUnsynced "aborted-unsynced" "the list of aborted transactions is not made durable";
    ReadsUndurable "reads-undurable" "records are read that a power cut may take";
    ReadsUncommitted "reads-uncommitted" "records of open transactions are read";
    JournalSkipped "journal-skipped" "a coordinator applies what it has not written";
    AbortCommits "abort-commits" "an abort is written as a commit";
    MarkerLost "marker-lost" "a transaction ends without its markers";
    CommitsUnseen "commits-unseen" "an answer waits for a commit that no task looks for";
    MetadataUnsynced "metadata-unsynced" "metadata is acknowledged without an fsync";
    FetchesUnstored "fetches-unstored" "a follower acknowledges metadata before its fsync";
    StaysActive "stays-active" "a controller stays active after its node has lost the quorum";
    AnswersTooEarly "answers-too-early" "the controller answers before its records commit";
    RefusedStopsFetching "refused-stops-fetching" "a follower whose candidacy is refused fetches no more";
    LackBelieved "lack-believed" "a follower counts on records that its full disk has refused";
}

/// Is this bug switched on?
#[cfg(not(planted))]
#[must_use]
pub const fn is_planted(_: Bug) -> bool {
    false
}

/// Is this bug switched on?
#[cfg(planted)]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == bug as usize
}

/// Switches this bug on, and any other off.
#[cfg(planted)]
pub fn plant_bug(bug: Bug) {
    PLANTED.store(bug as usize, core::sync::atomic::Ordering::Relaxed);
}

/// The number of the bug that is on. Set once, before anything runs.
#[cfg(planted)]
static PLANTED: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(usize::MAX);
