//! The first records of a cluster (KIP-778).

use alloc::string::String;
use alloc::vec::Vec;

use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::abort_transaction_record::AbortTransactionRecord;
use ottla_protocol::metadata::begin_transaction_record::BeginTransactionRecord;
use ottla_protocol::metadata::config_record::ConfigRecord;
use ottla_protocol::metadata::end_transaction_record::EndTransactionRecord;
use ottla_protocol::metadata::feature_level_record::FeatureLevelRecord;

use crate::cluster::ResourceKind;
use crate::versions::{FEATURES, Feature};

/// What `bootstrap.checkpoint` holds: the features of a new cluster, at their highest levels.
#[must_use]
pub fn bootstrap_records() -> Vec<MetadataRecord> {
    bootstrap_records_at(|feature| feature.highest)
}

/// As [`bootstrap_records`], each feature at the level that `level_of` gives; one at level 0 has no
/// record.
pub fn bootstrap_records_at(level_of: impl Fn(&Feature) -> i16) -> Vec<MetadataRecord> {
    let record = |feature: &Feature| {
        let feature_level = level_of(feature);
        let name = String::from(feature.name);
        FeatureLevelRecord { name, feature_level, ..Default::default() }
    };
    let all = FEATURES.iter().map(record).filter(|it| it.feature_level > 0);
    all.map(MetadataRecord::from).collect()
}

/// Ends a transaction that an earlier controller has begun: nothing of it counts.
pub(super) fn abort_record() -> MetadataRecord {
    let reason = Some(String::from("Controller failover"));
    AbortTransactionRecord { reason, ..Default::default() }.into()
}

/// The first turn of a new cluster's controller: what its `bootstrap.checkpoint` says.
pub(super) fn first_transaction(records: Vec<MetadataRecord>) -> Vec<MetadataRecord> {
    let is_elr = |record: &MetadataRecord| match record {
        MetadataRecord::FeatureLevel(it) => {
            it.name == "eligible.leader.replicas.version" && it.feature_level > 0
        }
        _ => false,
    };
    let elr = records.iter().any(is_elr);
    let begin = BeginTransactionRecord {
        name: Some(String::from("Bootstrap records")),
        ..Default::default()
    };
    let mut all: Vec<MetadataRecord> = alloc::vec![begin.into()];
    all.extend(records);
    if elr {
        // With eligible leaders, what in sync means must be the same for all brokers.
        let config = ConfigRecord {
            resource_type: ResourceKind::Broker as i8,
            name: String::from("min.insync.replicas"),
            value: Some(String::from("1")),
            ..Default::default()
        };
        all.push(config.into());
    }
    all.push(EndTransactionRecord::default().into());
    all
}
