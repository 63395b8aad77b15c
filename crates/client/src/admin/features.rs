//! Features of a cluster, such as `metadata.version`, and the levels at which it works.

use std::collections::BTreeMap;

use ottla_protocol::messages::api_versions_response::ApiVersionsResponse;
use ottla_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use ottla_types::NodeId;

use super::refusal::ItemRefusal;
use super::{CONTROLLER_TIMEOUT_MS, ChangeMode};
use crate::client::Client;
use crate::error::ClientError;
use crate::link::versions_request;

/// The features of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureDescriptions {
    /// By name.
    pub features: BTreeMap<String, FeatureDescription>,
    /// The epoch of the levels; -1 if that is not known.
    pub epoch: i64,
}

/// A feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureDescription {
    /// The lowest level that the broker supports.
    pub supported_min: i16,
    /// The highest level that the broker supports.
    pub supported_max: i16,
    /// The level at which the cluster works; 0 if the feature is off.
    pub level: i16,
}

/// How a level is changed. The numbers are those of UpdateFeatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum FeatureChange {
    /// Up.
    Upgrade = 1,
    /// Down, if no metadata is lost.
    SafeDowngrade = 2,
    /// Down, even if metadata is lost.
    UnsafeDowngrade = 3,
}

impl Client {
    /// The features of the cluster, as any of its brokers knows them.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_features(&self) -> Result<FeatureDescriptions, ClientError> {
        let response = self.ask_any(&versions_request()).await?;
        described_features(response)
    }

    /// The features as one broker knows them: the levels that it supports.
    ///
    /// # Errors
    /// The broker is not known or not reachable.
    pub async fn features_of(&self, broker: NodeId) -> Result<FeatureDescriptions, ClientError> {
        described_features(self.ask(broker, &versions_request()).await?)
    }

    /// Changes levels, or with [`ChangeMode::Check`] asks whether the cluster would; what became
    /// of each.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn update_features(
        &self,
        levels: &BTreeMap<String, i16>,
        change: FeatureChange,
        mode: ChangeMode,
    ) -> Result<BTreeMap<String, Result<(), ItemRefusal>>, ClientError> {
        let update = |(name, level): (&String, &i16)| FeatureUpdateKey {
            feature: name.clone(),
            max_version_level: *level,
            allow_downgrade: change != FeatureChange::Upgrade,
            upgrade_type: change as i8,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            feature_updates: levels.iter().map(update).collect(),
            timeout_ms: CONTROLLER_TIMEOUT_MS,
            validate_only: mode == ChangeMode::Check,
            ..Default::default()
        };
        let response = self.ask_controller(&request).await?;
        // Since version 2 there is one answer for all of them.
        let of_all = ItemRefusal::check(response.error_code, response.error_message);
        let mut outcomes: BTreeMap<_, _> =
            levels.keys().map(|name| (name.clone(), of_all.clone())).collect();
        for it in response.results.into_iter().filter(|it| it.error_code != 0) {
            outcomes.insert(it.feature, ItemRefusal::check(it.error_code, it.error_message));
        }
        Ok(outcomes)
    }
}

fn described_features(response: ApiVersionsResponse) -> Result<FeatureDescriptions, ClientError> {
    ClientError::check(response.error_code, || "features".to_owned())?;
    let level = |name: &str| {
        let known = response.finalized_features.iter().find(|known| known.name == name);
        known.map_or(0, |it| it.max_version_level)
    };
    let supported = response.supported_features.iter().map(|feature| {
        let (supported_min, supported_max) = (feature.min_version, feature.max_version);
        let level = level(&feature.name);
        (feature.name.clone(), FeatureDescription { supported_min, supported_max, level })
    });
    let epoch = response.finalized_features_epoch;
    Ok(FeatureDescriptions { features: supported.collect(), epoch })
}
