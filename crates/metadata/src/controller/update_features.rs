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
use crate::versions::{
    FEATURES, KRAFT_VERSION, METADATA_CHANGES, METADATA_VERSION_FEATURE, highest_supported,
};

const UPGRADE: i8 = 1;
const UNSAFE_DOWNGRADE: i8 = 3;
/// What a level of a feature asks of another feature (`kafka-features feature-dependencies`).
const DEPENDENCIES: [(&str, i16, &str, i16); 1] =
    [("eligible.leader.replicas.version", 1, "metadata.version", 23)];

/// What a request asks for.
pub(super) struct AskedLevels {
    /// The request.
    pub request: UpdateFeaturesRequest,
    /// Its version.
    pub version: i16,
    /// The level of `kraft.version` that the quorum has by now, or is about to have.
    pub kraft_version: i16,
}

impl AskedLevels {
    /// Does this update say that it goes down?
    fn is_downgrade(&self, update: &FeatureUpdateKey) -> bool {
        match self.version {
            0 => update.allow_downgrade,
            _ => update.upgrade_type > UPGRADE,
        }
    }
}

pub(super) fn update_features(
    scene: &ControllerScene<'_>,
    asked: &AskedLevels,
    turn: &mut Turn<Controller>,
) {
    let AskedLevels { request, version, .. } = asked;
    let version = *version;
    let mut response = UpdateFeaturesResponse { error_message: None, ..Default::default() };
    let mut records = Vec::new();
    let mut refused: Option<ControllerRefusal> = None;
    for update in &request.feature_updates {
        let checked = update_feature(scene, update, asked).and_then(|record| {
            check_dependencies(scene, request, update)?;
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
    asked: &AskedLevels,
) -> Result<Option<MetadataRecord>, ControllerRefusal> {
    let invalid = |why: String| Err((ErrorCode::INVALID_UPDATE_VERSION, why));
    let (name, version) = (&update.feature, asked.version);
    if version > 0 && !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&update.upgrade_type) {
        return invalid(format!(
            "Invalid update version {} for feature {name}. The controller does not support the \
             given upgrade type.",
            update.max_version_level
        ));
    }
    if name == KRAFT_VERSION && (0..=1).contains(&update.max_version_level) {
        return check_kraft_version(asked, update).map(|()| None);
    }
    let unsupported = |reason: String| {
        invalid(format!(
            "Invalid update version {} for feature {name}. {reason}",
            update.max_version_level
        ))
    };
    if update.max_version_level < 0 {
        return unsupported(String::from("A feature version cannot be less than 0."));
    }
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
        // As in Kafka each node can work without it; so level 0 fails only because there is none.
        return unsupported(match update.max_version_level {
            0 => format!("Feature {name} not found."),
            _ => String::from("Local controller does not support this feature."),
        });
    };
    let (now, wanted) = (scene.cluster.feature(name), update.max_version_level);
    // A level that Apache Kafka has brought is kept, and may be taken back.
    let highest = highest_supported(scene.cluster, feature);
    if let Err(why) = check_range("Local controller", feature.lowest, highest, wanted)
        .and_then(|()| check_nodes(scene, name, wanted))
    {
        return unsupported(why);
    }
    let downgrade = asked.is_downgrade(update);
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
    if name == METADATA_VERSION_FEATURE && wanted < now && changes_metadata(now, wanted) {
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

/// Is this a level that `kraft.version` has, or will have? The quorum keeps it, not the metadata.
fn check_kraft_version(
    asked: &AskedLevels,
    update: &FeatureUpdateKey,
) -> Result<(), ControllerRefusal> {
    let (now, wanted) = (asked.kraft_version, update.max_version_level);
    let why = match asked.is_downgrade(update) {
        _ if now == wanted => return Ok(()),
        true if wanted > now => "Can't downgrade to a newer version.",
        true => "Can't downgrade the version of this feature.",
        false if wanted < now => {
            "Can't downgrade the version of this feature without setting the upgrade type to \
             either safe or unsafe downgrade."
        }
        false => "The metadata quorum has not been upgraded.",
    };
    let why = format!("Invalid update version {wanted} for feature {KRAFT_VERSION}. {why}");
    Err((ErrorCode::INVALID_UPDATE_VERSION, why))
}

/// Can a node work at this level of a feature?
fn check_range(node: &str, lowest: i16, highest: i16, wanted: i16) -> Result<(), String> {
    if (lowest..=highest).contains(&wanted) {
        return Ok(());
    }
    if highest == 0 {
        return Err(format!("{node} does not support this feature."));
    }
    Err(format!("{node} only supports versions {lowest}-{highest}"))
}

/// Can all brokers and all other controllers work at this level of a feature? One that has not
/// named it when it registered does not know it.
fn check_nodes(scene: &ControllerScene<'_>, name: &str, wanted: i16) -> Result<(), String> {
    for broker in scene.cluster.brokers() {
        let known = broker.features.iter().find(|it| it.name == name);
        let (lowest, highest) =
            known.map_or((0, 0), |it| (it.min_supported_version, it.max_supported_version));
        check_range(&format!("Broker {}", broker.id), lowest, highest, wanted)?;
    }
    for controller in scene.cluster.controllers() {
        let known = controller.features.iter().find(|it| it.name == name);
        let (lowest, highest) =
            known.map_or((0, 0), |it| (it.min_supported_version, it.max_supported_version));
        let node = format!("Controller {}", controller.controller_id);
        check_range(&node, lowest, highest, wanted)?;
    }
    Ok(())
}

/// Are there records between two levels of `metadata.version` that the lower one does not have?
fn changes_metadata(from: i16, to: i16) -> bool {
    METADATA_CHANGES.iter().any(|level| (to + 1..=from).contains(level))
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
