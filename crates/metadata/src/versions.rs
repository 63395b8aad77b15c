//! The features there are, and in which version a record is written.

use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::metadata::MetadataRecord;

/// The metadata version that a new cluster gets: 4.3-IV0.
pub const METADATA_VERSION: i16 = 30;
/// The oldest metadata version that can be read: 3.3-IV3.
pub const METADATA_VERSION_OLDEST: i16 = 7;

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
