//! UpdateFeatures: the levels that the cluster works at (KIP-584).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::update_features_request::{FeatureUpdateKey, UpdateFeaturesRequest};
use ottla_protocol::messages::update_features_response::{
    UpdatableFeatureResult, UpdateFeaturesResponse,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::feature_level_record::FeatureLevelRecord;
use ottla_types::ErrorCode;

use super::{Controller, ControllerRefusal, ControllerReply, ControllerScene};
use crate::versions::{FEATURES, KRAFT_VERSION, range_text};

const UPGRADE: i8 = 1;
const UNSAFE_DOWNGRADE: i8 = 3;
/// What a level of a feature asks of another feature (`kafka-features feature-dependencies`).
const DEPENDENCIES: [(&str, i16, &str, i16); 1] =
    [("eligible.leader.replicas.version", 1, "metadata.version", 23)];

pub(super) fn update_features(
    scene: &ControllerScene<'_>,
    request: UpdateFeaturesRequest,
    version: i16,
    turn: &mut Turn<Controller>,
) {
    let mut response = UpdateFeaturesResponse { error_message: None, ..Default::default() };
    let mut records = Vec::new();
    let mut refused: Option<ControllerRefusal> = None;
    for update in &request.feature_updates {
        let checked = update_feature(scene, update, version).and_then(|record| {
            check_dependencies(scene, &request, update)?;
            Ok(record)
        });
        match checked {
            Ok(record) => records.extend(record),
            Err(why) => {
                refused.get_or_insert(why);
            }
        }
    }
    // All or nothing.
    match refused {
        Some((code, why)) => {
            response.error_code = code.0;
            response.error_message = Some(format!(
                "The update failed for all features since the following feature had an error: {why}"
            ));
        }
        None => {
            if !request.validate_only {
                turn.records = records;
            }
            // Rows stand in the old versions' answers only, and only where there is no error.
            let row = |update: &FeatureUpdateKey| UpdatableFeatureResult {
                feature: update.feature.clone(),
                error_message: Some(String::from(ErrorCode::NONE.message())),
                ..Default::default()
            };
            if version < 2 {
                response.results = request.feature_updates.iter().map(row).collect();
            }
        }
    }
    turn.reply(ControllerReply::UpdateFeatures(response));
}

fn update_feature(
    scene: &ControllerScene<'_>,
    update: &FeatureUpdateKey,
    version: i16,
) -> Result<Option<MetadataRecord>, ControllerRefusal> {
    let invalid = |why: String| Err((ErrorCode::INVALID_UPDATE_VERSION, why));
    let name = &update.feature;
    if version > 0 && !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&update.upgrade_type) {
        return invalid(format!(
            "Invalid update version {} for feature {name}. The controller does not support the \
             given upgrade type.",
            update.max_version_level
        ));
    }
    if name == KRAFT_VERSION && (0..=1).contains(&update.max_version_level) {
        return match (scene.settings.kraft_version, update.max_version_level) {
            (now, wanted) if now == wanted => Ok(None),
            (now, wanted) => invalid(format!(
                "Invalid update version {wanted} for feature {name}. It is {now}, as the voters were \
                 given when the cluster was formatted, and cannot be changed here."
            )),
        };
    }
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
        return invalid(format!(
            "Invalid update version {} for feature {name}. Local controller does not support this \
             feature.",
            update.max_version_level
        ));
    };
    let (now, wanted) = (scene.cluster.feature(name), update.max_version_level);
    if !(feature.lowest..=feature.highest).contains(&wanted) {
        return invalid(format!(
            "Invalid update version {wanted} for feature {name}. Local controller only supports \
             versions {}",
            range_text(feature)
        ));
    }
    let downgrade =
        if version == 0 { update.allow_downgrade } else { update.upgrade_type > UPGRADE };
    if wanted < now && !downgrade {
        return invalid(format!(
            "Invalid update version {wanted} for feature {name}. Can't downgrade the version of \
             this feature without setting the upgrade type to either safe or unsafe downgrade."
        ));
    }
    if wanted > now && downgrade {
        return invalid(format!(
            "Invalid update version {wanted} for feature {name}. Can't downgrade to a newer version."
        ));
    }
    if name == "metadata.version" && wanted < now {
        let why = if version > 0 && update.upgrade_type == UNSAFE_DOWNGRADE {
            "Unsafe metadata downgrade is not supported in this version."
        } else {
            "Refusing to perform the requested downgrade because it might delete metadata \
             information."
        };
        return invalid(format!(
            "Unsupported metadata.version downgrade from {now} to {wanted}. {why}"
        ));
    }
    let record =
        FeatureLevelRecord { name: name.clone(), feature_level: wanted, ..Default::default() };
    Ok((wanted != now).then(|| record.into()))
}

/// Do the other features have the levels that this one asks for, once the request is done?
fn check_dependencies(
    scene: &ControllerScene<'_>,
    request: &UpdateFeaturesRequest,
    update: &FeatureUpdateKey,
) -> Result<(), ControllerRefusal> {
    for (name, level, other, needed) in DEPENDENCIES {
        let asked = request.feature_updates.iter().find(|it| it.feature == other);
        let other_level =
            asked.map_or_else(|| scene.cluster.feature(other), |it| it.max_version_level);
        if update.feature == name && update.max_version_level >= level && other_level < needed {
            let why = format!(
                "{name} could not be set to {} because it depends on {other} level {needed}",
                update.max_version_level
            );
            return Err((ErrorCode::INVALID_UPDATE_VERSION, why));
        }
    }
    Ok(())
}
