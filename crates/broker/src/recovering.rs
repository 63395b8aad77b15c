//! When the majority of the metadata quorum is gone for good: what `ottla quorum recover` does; and
//! the backup of the metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_metadata::Cluster;
use ottla_partitions::{DataDir, DirState, Files, MetaProperties};
use ottla_protocol::metadata::MetadataRecord;
use ottla_quorum::{
    BackupOf, FOLDER, LogEnd, LogSurvey, ReplicaKey, SoleVoter, Voter, VoterSet, back_up_metadata,
    default_backup_path,
};
use ottla_settings::Settings;
use ottla_types::{NodeId, TimestampMs, join_host_port};

use crate::dirs::{directory_paths, own_voter};
use crate::rules::node_settings;
use crate::start_error::StartError;
use crate::voter::{static_voters, voter_listeners};

/// How many topics the report names.
const NAMED_MAX: usize = 5;

/// Is the recovery carried out, or only shown?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoverMode {
    /// Nothing is changed.
    Show,
    /// It is carried out.
    Execute,
}

/// What happens with the end of a log that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenTail {
    /// The recovery is refused.
    Refuse,
    /// The log ends where it breaks; what lies behind stays in the backup.
    CutOff,
}

/// How a node's metadata is to become a quorum of one voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverRequest {
    /// Is it carried out?
    pub mode: RecoverMode,
    /// Where the backup goes; beside the metadata directory if not given.
    pub backup: Option<PathBuf>,
    /// What happens with the end of a log that cannot be read.
    pub tail: BrokenTail,
}

/// What a recovery would change, or has changed; shown in lines.
#[derive(Debug)]
pub struct RecoveryReport {
    cluster_id: String,
    own: Voter,
    dir: PathBuf,
    survey: LogSurvey,
    cluster: Cluster,
    backup: PathBuf,
    done: Option<LogEnd>,
}

/// What a backup of the metadata holds; shown in lines.
#[derive(Debug)]
pub struct BackupReport {
    to: PathBuf,
    survey: LogSurvey,
    cluster: Cluster,
}

/// Refuses a node that is no controller, or has no metadata log.
fn check_survivor(files: &dyn Files, settings: &Settings) -> Result<(), StartError> {
    if !settings.is_controller() {
        return Err(StartError::Recovery(format!(
            "process.roles of node {} has no controller: its copy of the metadata log may lack what the controllers have; take a controller",
            settings.node_id()?
        )));
    }
    check_has_log(files, &settings.metadata_dir())
}

fn check_has_log(files: &dyn Files, dir: &Path) -> Result<(), StartError> {
    if DirState::at(files, dir)? == DirState::Formatted && files.exists(&dir.join(FOLDER)) {
        return Ok(());
    }
    Err(StartError::Foreign { path: dir.to_owned(), why: "it holds no metadata log".to_owned() })
}

/// Locks the metadata directory of this node, which is there; what its `meta.properties` say.
fn lock_metadata(
    files: &Arc<dyn Files>,
    settings: &Settings,
) -> Result<(DataDir, MetaProperties), StartError> {
    let (path, node) = (settings.metadata_dir(), settings.node_id()?);
    let dir = DataDir::open(Arc::clone(files), &path)?;
    let dir = dir.ok_or_else(|| {
        let path = path.display();
        StartError::Recovery(format!("{path} is in use by a running node: stop it first"))
    })?;
    match dir.meta()? {
        Some(meta) if meta.node_id == node => Ok((dir, meta)),
        meta => {
            let owner = meta.map_or(-1, |it| it.node_id);
            let why = format!("it belongs to node {owner}, but node.id is {node}");
            Err(StartError::Foreign { path, why })
        }
    }
}

/// Makes a new quorum with this node as its only voter, of what its metadata log has, or shows what
/// that would mean.
///
/// # Errors
/// A node uses the directory, the node is no controller, is the only voter already or has no
/// metadata, its log is broken, or the disk fails. Then nothing has been changed, unless the disk
/// failed after the backup.
pub fn recover_node(
    files: &Arc<dyn Files>,
    settings: &Settings,
    request: &RecoverRequest,
    clock: &Clock,
) -> Result<RecoveryReport, StartError> {
    let dir = settings.metadata_dir();
    // Before it is locked, which would make it.
    check_survivor(&**files, settings)?;
    let (data, meta) = lock_metadata(files, settings)?;
    let key = ReplicaKey { id: meta.node_id, directory: meta.directory_id };
    let own = own_voter(key, &voter_listeners(settings, None)?);
    let static_voters = static_voters(settings, &own)?;
    let survey = LogSurvey::read(&**files, &dir, static_voters.clone())?;
    check_survey(&survey, &own, request.tail)?;
    let backup = match &request.backup {
        Some(path) => path.clone(),
        None => default_backup_path(&dir, &utc_text(clock.wall_ms(), TimeForm::FileName)),
    };
    check_backup_place(settings, &backup)?;
    let mut report = RecoveryReport {
        cluster_id: meta.cluster_id,
        own: own.clone(),
        dir: dir.clone(),
        cluster: cluster_of(&survey),
        survey,
        backup,
        done: None,
    };
    if request.mode == RecoverMode::Show {
        return Ok(report);
    }
    back_up_metadata(&**files, [&dir, &report.backup], BackupOf::Everything, &static_voters)?;
    // A power cut in between must not leave a log that a start takes for closed cleanly.
    let mark = data.take_clean_shutdown()?;
    let sole = SoleVoter {
        files: Arc::clone(files),
        dir,
        own,
        segment_bytes: node_settings(settings).metadata_segment_bytes,
        now_ms: clock.wall_ms(),
    };
    report.done = Some(sole.make(&report.survey)?);
    if let Some(mark) = mark {
        data.mark_clean_shutdown(mark)?;
    }
    Ok(report)
}

fn check_survey(survey: &LogSurvey, own: &Voter, tail: BrokenTail) -> Result<(), StartError> {
    let refused = |why: String| Err(StartError::Recovery(why));
    if survey.is_blank() {
        return refused(format!(
            "node {} has no metadata yet: take another controller",
            own.key.id
        ));
    }
    if survey.kraft_version >= 1 && survey.voters.is_only(own.key) {
        return refused(format!(
            "node {} is the only voter already: there is nothing to recover, start it",
            own.key.id
        ));
    }
    if survey.kraft_version == 0 && survey.voters.is_empty() {
        return refused(
            "the metadata log names no voters (kraft.version 0), and controller.quorum.voters is not set: set it as it was"
                .to_owned(),
        );
    }
    match &survey.broken {
        Some(broken) if tail == BrokenTail::Refuse => refused(format!(
            "{broken}. {} bytes from there on would be lost: if no other controller has a whole log, --cut-broken-tail ends the log before them",
            broken.left_bytes
        )),
        _ => Ok(()),
    }
}

/// A folder in a data directory would be taken for a partition's.
fn check_backup_place(settings: &Settings, backup: &Path) -> Result<(), StartError> {
    let full = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let within = |dir: &PathBuf| full(backup).starts_with(full(dir));
    match directory_paths(settings).into_iter().find(within) {
        None => Ok(()),
        Some(dir) => Err(StartError::Recovery(format!(
            "the backup {} would lie in data directory {}: choose a place outside",
            backup.display(),
            dir.display()
        ))),
    }
}

/// Copies the metadata of a node to a new directory. The node may run meanwhile.
///
/// # Errors
/// There is something at `to`, the node has no metadata, its log is broken, or the disk fails.
pub fn back_up_node(
    files: &dyn Files,
    settings: &Settings,
    to: &Path,
) -> Result<BackupReport, StartError> {
    let dir = settings.metadata_dir();
    check_has_log(files, &dir)?;
    check_backup_place(settings, to)?;
    let survey = back_up_metadata(files, [&dir, to], BackupOf::Records, &VoterSet::default())?;
    Ok(BackupReport { to: to.to_owned(), cluster: cluster_of(&survey), survey })
}

fn cluster_of(survey: &LogSurvey) -> Cluster {
    let mut cluster = Cluster::default();
    survey.records.iter().for_each(|record| cluster.apply(record));
    cluster.settled().clone()
}

/// What the metadata is about, in numbers.
fn contents_text(cluster: &Cluster) -> String {
    let partitions: usize = cluster.topics().map(|topic| topic.partitions.len()).sum();
    let (topics, brokers) = (cluster.topics().count(), cluster.brokers().count());
    format!("{topics} topics, {partitions} partitions, {brokers} brokers")
}

/// From where to where the log reaches.
fn extent_text(survey: &LogSurvey) -> String {
    let (start, end, epoch) = (survey.start, survey.end.offset, survey.end.epoch);
    let newest = survey.newest_ms.map(|ms| utc_text(ms, TimeForm::Reading));
    let newest = newest.map_or_else(String::new, |time| format!(", last record of {time}"));
    format!("offsets {start} to {}, last epoch {epoch}{newest}", end - 1)
}

fn voter_text(voter: &Voter) -> String {
    let at = voter.endpoints.first().map(|it| join_host_port(&it.host, it.port));
    let at = at.map_or_else(String::new, |at| format!("@{at}"));
    let directory = voter.key.directory;
    if directory.is_zero() {
        format!("{}{at}", voter.key.id)
    } else {
        format!("{}{at} (directory id {directory})", voter.key.id)
    }
}

fn voters_text<'a>(voters: impl Iterator<Item = &'a Voter>) -> String {
    voters.map(voter_text).collect::<Vec<_>>().join(", ")
}

impl RecoveryReport {
    fn others(&self) -> Vec<NodeId> {
        self.survey.voters.others(self.own.key).map(|key| key.id).collect()
    }

    /// This node as the voters have it, or as it is to be one of them.
    fn own_entry(&self) -> &Voter {
        self.survey.voters.of_node(self.own.key.id).unwrap_or(&self.own)
    }

    fn facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let survey = &self.survey;
        writeln!(f, "Recovery of the metadata quorum of cluster {}\n", self.cluster_id)?;
        let log = self.dir.join(FOLDER);
        writeln!(f, "  survivor          node {}, {}", self.own.key.id, log.display())?;
        writeln!(f, "  metadata log      {}", extent_text(survey))?;
        if let Some(id) = survey.newest_snapshot {
            writeln!(f, "  newest snapshot   offset {}, epoch {}", id.end, id.epoch)?;
        }
        writeln!(f, "  highest epoch     {}", survey.epoch)?;
        writeln!(f, "  contents          {}", contents_text(&self.cluster))?;
        writeln!(f, "  voters now        {}", voters_text(survey.voters.iter()))?;
        writeln!(f, "  voters after      {}", voter_text(self.own_entry()))
    }

    fn risks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let survey = &self.survey;
        let (node, end) = (self.own.key.id, survey.end.offset);
        let others = self.others();
        if !survey.voters.has(self.own.key) {
            writeln!(
                f,
                "\nNode {node} is no voter: it may be behind what the voters had committed. Recover a voter if one is left."
            )?;
        }
        let known = survey.newest_snapshot.map_or(0, |id| id.end);
        match known {
            0 => writeln!(f, "\nCommitted for certain: nothing, as there is no snapshot yet.")?,
            _ => writeln!(
                f,
                "\nCommitted for certain: offsets below {known}, by the newest snapshot."
            )?,
        }
        if survey.undecided > 0 {
            writeln!(
                f,
                "Not known: whether the {} records from offset {known} on had committed. They all become committed:",
                survey.undecided
            )?;
            write_tail(&survey.records[survey.records.len() - survey.undecided..], f)?;
        }
        if let Some(broken) = &survey.broken {
            writeln!(f, "Cut off: {} bytes; {broken}.", broken.left_bytes)?;
        }
        writeln!(
            f,
            "Lost for certain: what other voters ({}) had from offset {end} on and this node has \
             not received.\n\
             If another controller is left, run this command on it too, and recover only the one \
             with the highest last epoch; of several, the one with the highest offset.",
            ids_text(&others)
        )
    }

    fn next_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.own.key.id;
        if self.survey.kraft_version == 0 {
            let entry = self.own_entry();
            let at = entry.endpoints.first().map(|it| join_host_port(&it.host, it.port));
            let at = at.unwrap_or_else(|| "HOST:PORT".to_owned());
            writeln!(
                f,
                "The voters of this cluster are in its settings (kraft.version 0). In those of node {node} and of every \
                 broker, change the line:\n    controller.quorum.voters={node}@{at}"
            )?;
        }
        let others = ids_text(&self.others());
        write!(
            f,
            "Then start node {node}. The other voters ({others}) must not come back with their metadata directories: \
             wipe those, "
        )?;
        if self.survey.kraft_version == 0 {
            writeln!(f, "and see docs/quorums.md for how they become voters again.")
        } else {
            writeln!(
                f,
                "format them with --cluster-id {} --no-initial-controllers, start the nodes, and add them as voters \
                 again (docs/quorums.md).",
                self.cluster_id
            )
        }
    }
}

fn ids_text(ids: &[NodeId]) -> String {
    let noun = if ids.len() == 1 { "node" } else { "nodes" };
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    if ids.is_empty() {
        "no longer in the settings".to_owned()
    } else {
        format!("{noun} {}", ids.join(", "))
    }
}

/// What records are, by name, and which topics they create.
fn write_tail(records: &[MetadataRecord], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut topics = BTreeSet::new();
    for record in records {
        *counts.entry(record.name()).or_default() += 1;
        if let MetadataRecord::Topic(topic) = record {
            topics.insert(topic.name.as_str());
        }
    }
    let counts: Vec<String> =
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    writeln!(f, "  {}", counts.join(", "))?;
    if topics.is_empty() {
        return Ok(());
    }
    let named: Vec<&str> = topics.iter().copied().take(NAMED_MAX).collect();
    let more = if topics.len() > NAMED_MAX { ", ..." } else { "" };
    writeln!(f, "  topics created there: {}{more}", named.join(", "))
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, backup) = (self.own.key.id, self.backup.display());
        let dir = self.dir.components().collect::<PathBuf>();
        let dir = dir.display();
        self.facts(f)?;
        let Some(end) = self.done else {
            self.risks(f)?;
            write!(
                f,
                "\nNothing has been changed. To recover: stop all nodes of the cluster, and run the command again with \
                 --execute. It first copies the metadata to {backup}.\n"
            )?;
            return self.next_steps(f);
        };
        writeln!(
            f,
            "\nDone: the log ends at offset {}, the epoch is {}.\nThe metadata as it was is in {backup}. To go back, with the \
             node stopped:\n    rm -r {dir}/{FOLDER}\n    cp -a {backup}/{FOLDER} {dir}/\n",
            end.offset,
            self.survey.epoch_of_recovery(),
        )?;
        if self.survey.kraft_version >= 1 {
            writeln!(f, "Node {node} is the only voter.")?;
        }
        self.next_steps(f)
    }
}

impl fmt::Display for BackupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.to.display(), contents_text(&self.cluster))?;
        writeln!(f, "Metadata log: {}.", extent_text(&self.survey))
    }
}

/// For what a time is written.
#[derive(Clone, Copy)]
enum TimeForm {
    /// `2026-11-30 21:15:07 UTC`
    Reading,
    /// `20261130T211507Z`
    FileName,
}

/// A time, to the second.
fn utc_text(ms: TimestampMs, form: TimeForm) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, in_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that the day that comes and goes is the last one. Eras are of
    // 400 years, which always have 146,097 days.
    let from_march = days + 719_468;
    let (era, in_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    match form {
        TimeForm::Reading => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
        }
        TimeForm::FileName => {
            format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (951_868_800_000, "2000-03-01 00:00:00 UTC"),
            (1_796_073_307_999, "2026-11-30 21:15:07 UTC"),
            (4_107_542_399_000, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ];
        for (ms, wanted) in cases {
            assert_eq!(utc_text(ms, TimeForm::Reading), wanted, "{ms}");
        }
        assert_eq!(utc_text(1_796_073_307_999, TimeForm::FileName), "20261130T211507Z");
    }
}
