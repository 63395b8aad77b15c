//! The features there are, and in which version a record is written.

use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::metadata::MetadataRecord;

/// The metadata version that a new cluster gets: 4.3-IV0.
pub const METADATA_VERSION: i16 = 30;
/// The oldest metadata version that can be read: 3.3-IV3.
pub const METADATA_VERSION_OLDEST: i16 = 7;

/// From this metadata version on (3.7-IV0) controllers register.
pub(crate) const CONTROLLERS_SINCE: i16 = 15;
/// From this metadata version on (3.7-IV2) the metadata says in which directory a replica lies.
pub(crate) const DIRECTORIES_SINCE: i16 = 17;
/// From this metadata version on (4.3-IV0) directories can be kept from taking new partitions.
pub(crate) const CORDONED_SINCE: i16 = 30;
/// Before this metadata version (3.6-IV0) a leader's epoch grew whenever its in-sync set shrank.
pub(crate) const EPOCH_BUMP_ON_SHRINK_BEFORE: i16 = 12;

/// The feature that the quorum keeps by itself: 1 where the voters stand in the metadata log.
pub const KRAFT_VERSION: &str = "kraft.version";

/// A feature that a cluster has in one level or another (KIP-584).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The lowest level that this software can work with.
    pub lowest: i16,
    /// The highest level that this software can work with.
    pub highest: i16,
    /// The level that a new cluster gets.
    pub fresh: i16,
}

const fn supported_feature(name: &'static str, lowest: i16, highest: i16) -> Feature {
    Feature { name, lowest, highest, fresh: highest }
}

/// All features, in the order in which a new cluster writes them down.
pub const FEATURES: [Feature; 6] = [
    supported_feature("metadata.version", METADATA_VERSION_OLDEST, METADATA_VERSION),
    supported_feature("eligible.leader.replicas.version", 0, 1),
    supported_feature("group.version", 0, 1),
    supported_feature("share.version", 0, 1),
    supported_feature("streams.version", 0, 1),
    supported_feature("transaction.version", 0, 2),
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

/// What a node says of features when it registers and when a client asks: all that it knows, with
/// `kraft.version`, which the quorum keeps.
pub fn supported_features() -> impl Iterator<Item = FeatureRange> {
    let known = FEATURES.iter().map(|&Feature { name, lowest, highest, .. }| FeatureRange {
        name,
        lowest,
        highest,
    });
    known.chain([FeatureRange { name: KRAFT_VERSION, lowest: 0, highest: 1 }])
}

/// The version in which `record` is written at metadata version 30; what needs no newer form is
/// written in the oldest that has all its fields, as Kafka does.
#[must_use]
pub fn version_of(record: &MetadataRecord) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => 4,
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => 2,
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

/// Records, each with the version in which it is written.
#[must_use]
pub fn with_versions(
    records: impl IntoIterator<Item = MetadataRecord>,
) -> Vec<(MetadataRecord, i16)> {
    let versioned = |record| {
        let version = version_of(&record);
        (record, version)
    };
    records.into_iter().map(versioned).collect()
}

/// What stands in a message about a feature's range.
pub(crate) fn range_text(feature: &Feature) -> String {
    alloc::format!("{}-{}", feature.lowest, feature.highest)
}
