//! A report as text: on the disk, and between nodes. Lines of `name=value`, as in
//! `meta.properties`.
//!
//! What comes from another node is as little trusted as what lies on a disk: bounded in size, and
//! either whole or refused.

use std::fmt::Write as _;

use ottla_quorum::ReplicaKey;
use ottla_settings::ClusterList;
use ottla_types::{NodeId, Uuid};

use super::{FormingReport, FormingStage, Founding};

/// The longest report, in bytes: nine nodes with the longest names that hosts have.
pub const REPORT_BYTES_MAX: usize = 8 * 1024;
/// The longest id of a cluster, in bytes.
const CLUSTER_ID_BYTES_MAX: usize = 128;

/// Writes a report as text.
pub fn write_report(report: &FormingReport) -> String {
    let FormingReport { list, key, stage } = report;
    let mut text =
        format!("version=1\ncluster={list}\nnode.id={}\ndirectory.id={}\n", key.id, key.directory);
    let mut founding = |name: &str, promised: &Founding| {
        let founders = promised.founders.iter().map(|key| format!("{}@{}", key.id, key.directory));
        let founders = founders.collect::<Vec<_>>().join(",");
        let _ = write!(
            text,
            "stage={name}\nattempt={}\ncluster.id={}\nfounders={founders}\n",
            promised.attempt, promised.cluster_id
        );
    };
    match stage {
        FormingStage::Blank => text.push_str("stage=blank\n"),
        FormingStage::Promised(it) => founding("promised", it),
        FormingStage::Decided(it) => founding("decided", it),
        FormingStage::Joining { cluster_id } => {
            let _ = write!(text, "stage=joining\ncluster.id={cluster_id}\n");
        }
    }
    text
}

/// Reads a report.
///
/// # Errors
/// What is missing or wrong.
pub fn read_report(bytes: &[u8]) -> Result<FormingReport, String> {
    if bytes.len() > REPORT_BYTES_MAX {
        return Err(format!("it has {} bytes, more than {REPORT_BYTES_MAX}", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(key, _)| *key == name).map(|(_, value)| value);
        found.ok_or_else(|| format!("{name} is missing"))
    };
    if value("version")? != "1" {
        return Err(format!("version is {}, not 1", value("version")?));
    }
    let list = value("cluster")?;
    let list = ClusterList::parse(list).map_err(|why| format!("cluster is {list}: {why}"))?;
    let key = read_key(value("node.id")?, value("directory.id")?)?;
    let founding = || {
        let attempt = value("attempt")?.parse().map_err(|_| "attempt is no number".to_owned())?;
        let founders = value("founders")?.split(',').map(|item| {
            let (id, directory) = item.split_once('@').ok_or_else(|| format!("{item} has no @"))?;
            read_key(id, directory)
        });
        let founders = founders.collect::<Result<Vec<_>, String>>()?;
        Ok::<_, String>(Founding {
            attempt,
            cluster_id: cluster_id(value("cluster.id")?)?,
            founders,
        })
    };
    let stage = match value("stage")? {
        "blank" => FormingStage::Blank,
        "promised" => FormingStage::Promised(founding()?),
        "decided" => FormingStage::Decided(founding()?),
        "joining" => FormingStage::Joining { cluster_id: cluster_id(value("cluster.id")?)? },
        other => return Err(format!("stage {other} is unknown")),
    };
    Ok(FormingReport { list, key, stage })
}

fn read_key(id: &str, directory: &str) -> Result<ReplicaKey, String> {
    let id: NodeId = id.parse().map_err(|_| format!("{id:?} is not a node id"))?;
    let directory: Option<Uuid> = directory.parse().ok().filter(|it: &Uuid| !it.is_reserved());
    let directory = directory.ok_or_else(|| format!("node {id} has no valid directory id"))?;
    Ok(ReplicaKey { id, directory })
}

/// Checks the id of a cluster that another node has given: it comes into files and messages.
///
/// # Errors
/// It is empty or too long, or has other characters than Kafka's ids have.
pub fn cluster_id(text: &str) -> Result<String, String> {
    let is_known = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    let is_valid =
        !text.is_empty() && text.len() <= CLUSTER_ID_BYTES_MAX && text.chars().all(is_known);
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err("the id of the cluster is not valid".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(stage: FormingStage) -> FormingReport {
        let list = ClusterList::parse("a:9092,[::1]:9092:9095,c:9092").expect("a list");
        FormingReport { list, key: ReplicaKey { id: 2, directory: Uuid([7; 16]) }, stage }
    }

    fn founding() -> Founding {
        let key = |id: NodeId| ReplicaKey { id, directory: Uuid([u8::try_from(id).unwrap(); 16]) };
        let cluster_id = Uuid([9; 16]).to_string();
        Founding { attempt: 3, cluster_id, founders: (1..4).map(key).collect() }
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let cluster_id = "4L6g3nShT-eMCtK--X86sw".to_owned();
        for stage in [
            FormingStage::Blank,
            FormingStage::Promised(founding()),
            FormingStage::Decided(founding()),
            FormingStage::Joining { cluster_id },
        ] {
            let report = report(stage);
            assert_eq!(read_report(write_report(&report).as_bytes()), Ok(report));
        }
    }

    #[test]
    fn a_report_that_is_cut_short_or_spoilt_is_refused() {
        let text = write_report(&report(FormingStage::Promised(founding())));
        // What is replaced, by what, and a part of why it is refused.
        let cases = [
            ("version=1", "version=2", "version is 2"),
            ("cluster=1@a:9092", "cluster=a", "cluster is a"),
            ("node.id=2", "node.id=x", "not a node id"),
            ("stage=promised", "stage=glad", "stage glad is unknown"),
            ("attempt=3", "attempt=-1", "attempt is no number"),
            ("cluster.id=", "cluster.id=/../", "the cluster is not valid"),
            ("founders=", "", "founders is missing"),
            ("founders=1@", "founders=1@x", "no valid directory id"),
        ];
        for (part, other, wanted) in cases {
            assert!(text.contains(part), "{part}");
            let why = read_report(text.replace(part, other).as_bytes()).expect_err(part);
            assert!(why.contains(wanted), "{part}: {why}");
        }
        let lines = text.lines().count();
        for kept in 0..lines {
            let cut: Vec<&str> = text.lines().take(kept).collect();
            assert!(read_report(cut.join("\n").as_bytes()).is_err(), "{kept} of {lines} lines");
        }
        let long = format!("{text}{}", "#".repeat(REPORT_BYTES_MAX));
        assert!(read_report(long.as_bytes()).is_err());
        assert!(read_report(&[0xff, 0xfe]).is_err());
    }
}
