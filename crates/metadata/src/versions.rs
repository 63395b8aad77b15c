//! The features there are, and in which version a record is written.

use alloc::vec::Vec;

use ottla_protocol::metadata::MetadataRecord;

use crate::cluster::Cluster;

/// The metadata version that a new cluster gets: 4.3-IV0.
pub const METADATA_VERSION: i16 = 30;
/// The name of [`METADATA_VERSION`].
pub const METADATA_VERSION_NAME: &str = "4.3-IV0";
/// The oldest metadata version that can be read: 3.3-IV3.
pub const METADATA_VERSION_OLDEST: i16 = 7;

/// The metadata versions that brought new records or fields: none below can be gone back to.
pub(crate) const METADATA_CHANGES: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];
/// From this metadata version on (3.4-IV0) a registration says whether a broker leaves ZooKeeper.
const MIGRATION_SINCE: i16 = 8;
/// From this metadata version on (4.0-IV1) eligible leader replicas have a place in records.
const ELIGIBLE_SINCE: i16 = 23;
/// From this metadata version on (3.7-IV0) controllers register.
pub(crate) const CONTROLLERS_SINCE: i16 = 15;
/// From this metadata version on (3.7-IV2) the metadata says in which directory a replica lies.
pub(crate) const DIRECTORIES_SINCE: i16 = 17;
/// From this metadata version on (4.3-IV0) directories can be kept from taking new partitions.
pub(crate) const CORDONED_SINCE: i16 = 30;
/// Before this metadata version (3.6-IV0) a leader's epoch grew whenever its in-sync set shrank.
pub(crate) const EPOCH_BUMP_ON_SHRINK_BEFORE: i16 = 12;

/// The feature that says how metadata is written.
pub const METADATA_VERSION_FEATURE: &str = "metadata.version";
/// The feature that the quorum keeps by itself: 1 where the voters stand in the metadata log.
pub const KRAFT_VERSION: &str = "kraft.version";

/// A feature that a cluster has in one level or another (KIP-584).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The lowest level that this software can work with.
    pub lowest: i16,
    /// The highest level that this software can work with, and that a new cluster gets; 0 for what
    /// is not built yet.
    pub highest: i16,
    /// The highest level whose records can be kept and handed back to Apache Kafka.
    pub kept: i16,
}

const fn built_feature(name: &'static str, lowest: i16, highest: i16) -> Feature {
    Feature { name, lowest, highest, kept: highest }
}

const fn unbuilt_feature(name: &'static str, kept: i16) -> Feature {
    Feature { name, lowest: 0, highest: 0, kept }
}

/// All features, in the order in which a new cluster writes them down.
pub const FEATURES: [Feature; 6] = [
    built_feature(METADATA_VERSION_FEATURE, METADATA_VERSION_OLDEST, METADATA_VERSION),
    built_feature("eligible.leader.replicas.version", 0, 1),
    built_feature("group.version", 0, 1),
    unbuilt_feature("share.version", 1),
    unbuilt_feature("streams.version", 1),
    built_feature("transaction.version", 0, 2),
];

/// The levels of a feature that this software can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// The feature's name.
    pub name: &'static str,
    /// The lowest level.
    pub lowest: i16,
    /// The highest level.
    pub highest: i16,
}

/// What a node says of features when it registers and when a client asks: what is built, and
/// `kraft.version`, which the quorum keeps. A level that the cluster has already, from an Apache
/// Kafka that had built it, is kept: its records go back to Apache Kafka as they came.
pub fn supported_features(cluster: &Cluster) -> impl Iterator<Item = FeatureRange> {
    let range = |feature: &Feature| {
        let highest = highest_supported(cluster, feature);
        FeatureRange { name: feature.name, lowest: feature.lowest, highest }
    };
    let known = FEATURES.iter().map(range).filter(|it| it.highest > 0);
    known.chain([FeatureRange { name: KRAFT_VERSION, lowest: 0, highest: 1 }])
}

/// The highest level of a feature that this software can work with, or keep in this cluster.
pub(crate) fn highest_supported(cluster: &Cluster, feature: &Feature) -> i16 {
    feature.highest.max(cluster.feature(feature.name).min(feature.kept))
}

/// The features that a cluster has at levels that are not built here, and that are kept.
pub fn unbuilt_features(cluster: &Cluster) -> impl Iterator<Item = (&'static str, i16)> {
    let level = |feature: &Feature| (feature.name, cluster.feature(feature.name));
    let is_unbuilt = |it: &&Feature| cluster.feature(it.name) > it.highest && it.kept > it.highest;
    FEATURES.iter().filter(is_unbuilt).map(level)
}

/// The version in which `record` is written at a metadata version; what needs no newer form is
/// written in the oldest that has all its fields, as Kafka does.
#[must_use]
pub fn version_of(record: &MetadataRecord, metadata_version: i16) -> i16 {
    let since = |versions: &[(i16, i16)], oldest| {
        let newest = versions.iter().rev().find(|(level, _)| metadata_version >= *level);
        newest.map_or(oldest, |(_, version)| *version)
    };
    match record {
        MetadataRecord::RegisterBroker(_) => {
            since(&[(MIGRATION_SINCE, 2), (DIRECTORIES_SINCE, 3), (CORDONED_SINCE, 4)], 1)
        }
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => {
            since(&[(DIRECTORIES_SINCE, 1), (ELIGIBLE_SINCE, 2)], 0)
        }
        MetadataRecord::BrokerRegistrationChange(change) => {
            if change.cordoned_log_dirs.is_some() {
                3
            } else if !change.log_dirs.is_empty() {
                2
            } else {
                i16::from(change.in_controlled_shutdown != 0)
            }
        }
        _ => 0,
    }
}

/// Records, each with the version in which it is written at a metadata version.
#[must_use]
pub fn with_versions(
    records: impl IntoIterator<Item = MetadataRecord>,
    metadata_version: i16,
) -> Vec<(MetadataRecord, i16)> {
    let versioned = |record| {
        let version = version_of(&record, metadata_version);
        (record, version)
    };
    records.into_iter().map(versioned).collect()
}
