//! kafka-features: the levels at which a cluster works.

use std::collections::BTreeMap;

use ottla_client::{ChangeMode, FeatureChange, FeatureDescriptions, ItemRefusal};

use crate::options::{BOOTSTRAP_CONTROLLER, Opt, Parsed, flag, last};
use crate::session::{ToolError, ToolSession, plain_error, tool_failed};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-features",
    about: "describe, upgrade, downgrade, disable, version-mapping, feature-dependencies: the features of a cluster and their levels.",
    options: OPTIONS,
    run: run_features,
}];

const OPTIONS: &[Opt] = &[
    BOOTSTRAP_CONTROLLER,
    last("feature", "NAME=LEVEL", "A feature and its level, NAME=LEVEL; may be repeated."),
    last("release-version", "RELEASE", "The levels of this release, such as 4.3-IV0 or 4.3."),
    last("metadata", "RELEASE", "The level of metadata.version."),
    flag("unsafe", "With downgrade or disable: allow it even if metadata is lost."),
    flag("dry-run", "Check the change, but do not make it."),
];

/// The releases that can be named: the level of `metadata.version`, and its name.
const RELEASES: [(i16, &str); 25] = [
    (7, "3.3-IV3"),
    (8, "3.4-IV0"),
    (9, "3.5-IV0"),
    (10, "3.5-IV1"),
    (11, "3.5-IV2"),
    (12, "3.6-IV0"),
    (13, "3.6-IV1"),
    (14, "3.6-IV2"),
    (15, "3.7-IV0"),
    (16, "3.7-IV1"),
    (17, "3.7-IV2"),
    (18, "3.7-IV3"),
    (19, "3.7-IV4"),
    (20, "3.8-IV0"),
    (21, "3.9-IV0"),
    (22, "4.0-IV0"),
    (23, "4.0-IV1"),
    (24, "4.0-IV2"),
    (25, "4.0-IV3"),
    (26, "4.1-IV0"),
    (27, "4.1-IV1"),
    (28, "4.2-IV0"),
    (29, "4.2-IV1"),
    (30, "4.3-IV0"),
    (31, "4.4-IV0"),
];
/// What a release is without a word.
const LATEST: &str = "4.3-IV0";
const METADATA: &str = "metadata.version";
/// A feature beside metadata.version: its name, its highest level, and from which level of
/// metadata.version on it has that by default.
#[derive(Clone, Copy)]
struct ToolFeature(&'static str, i16, i16);

const FEATURES: [ToolFeature; 6] = [
    ToolFeature("kraft.version", 1, 21),
    ToolFeature("transaction.version", 2, 24),
    ToolFeature("group.version", 1, 22),
    ToolFeature("eligible.leader.replicas.version", 1, 26),
    ToolFeature("share.version", 1, 28),
    ToolFeature("streams.version", 1, 29),
];
/// What a level asks of another feature.
const DEPENDENCIES: [(&str, i16, &str, i16); 1] =
    [("eligible.leader.replicas.version", 1, METADATA, 23)];

fn run_features(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    match args.rest.first().map(String::as_str) {
        Some("describe") => describe_features(session),
        Some("version-mapping") => version_mapping(args, session),
        Some("feature-dependencies") => feature_dependencies(args, session),
        Some(action @ ("upgrade" | "downgrade" | "disable")) => {
            update_features(args, session, action)
        }
        Some(other) => Err(ToolError::Usage(format!("invalid choice: {other}"))),
        None => Err(ToolError::Usage("too few arguments".to_owned())),
    }
}

/// A level by its number, that of metadata.version by its name.
fn level_name(feature: &str, level: i16) -> String {
    let known = RELEASES.iter().find(|(known, _)| feature == METADATA && *known == level);
    known.map_or_else(|| level.to_string(), |(_, name)| (*name).to_owned())
}

/// The level of a release: by its whole name, or by the number of the release that it led to.
fn release_level(name: &str) -> Result<i16, ToolError> {
    let is_it = |known: &str| {
        known == name || known.split_once("-IV").is_some_and(|(release, _)| release == name)
    };
    let found = RELEASES.iter().rev().find(|(_, known)| is_it(known)).map(|(level, _)| *level);
    found.ok_or_else(|| {
        let all: Vec<&str> = RELEASES.iter().map(|(_, name)| *name).collect();
        let all = all.join(", ");
        tool_failed(format!(
            "Unknown metadata.version '{name}'. Supported metadata.version are: {all}"
        ))
    })
}

/// What a cluster of a release begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFeatures {
    /// The release, such as `4.0-IV3`.
    pub name: &'static str,
    /// The level of `metadata.version`, and of each other feature; 0 is off.
    pub levels: Vec<(&'static str, i16)>,
}

/// The features of a release by its name, such as `4.0` or `4.0-IV3`; without `kraft.version`,
/// which the voters decide.
///
/// # Errors
/// There is no release of that name.
pub fn release_features(name: &str) -> Result<ReleaseFeatures, String> {
    let metadata = release_level(name).map_err(|error| error.to_string())?;
    let name = RELEASES.iter().find(|(level, _)| *level == metadata).map_or(LATEST, |it| it.1);
    let others = FEATURES.iter().filter(|it| it.0 != "kraft.version");
    let others = others.map(|it| (it.0, level_in(*it, metadata)));
    Ok(ReleaseFeatures { name, levels: [(METADATA, metadata)].into_iter().chain(others).collect() })
}

fn level_in(feature: ToolFeature, metadata: i16) -> i16 {
    let ToolFeature(_, highest, since) = feature;
    if metadata >= since { highest } else { 0 }
}

fn version_mapping(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let name = args.one("release-version").unwrap_or(LATEST);
    let metadata = release_level(name)?;
    writeln!(session.out, "{METADATA}={metadata} ({name})")?;
    for feature in FEATURES {
        writeln!(session.out, "{}={}", feature.0, level_in(feature, metadata))?;
    }
    Ok(())
}

/// `NAME=LEVEL` words.
fn parse_levels(args: &Parsed) -> Result<Vec<(String, i16)>, ToolError> {
    let one = |word: &str| {
        let (name, level) = word.split_once('=').ok_or_else(|| {
            tool_failed(format!("Can't parse feature=level string {word}: equals sign not found."))
        })?;
        let parsed = level.trim().parse().map_err(|_| {
            tool_failed(format!(
                "Can't parse feature=level string {word}: unable to parse {level} as a short."
            ))
        })?;
        Ok((name.trim().to_owned(), parsed))
    };
    args.all("feature").map(one).collect()
}

fn feature_dependencies(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    args.required("feature").map_err(ToolError::Usage)?;
    for (name, level) in parse_levels(args)? {
        let known = FEATURES.iter().find(|known| known.0 == name);
        let title = match known {
            None if name == METADATA => {
                let release = RELEASES.iter().find(|(known, _)| *known == level);
                let (_, release) = release
                    .ok_or_else(|| tool_failed(format!("Unknown metadata.version {level}")))?;
                format!("{name}={level} ({release})")
            }
            None => return Err(tool_failed(format!("Unknown feature: {name}"))),
            Some(ToolFeature(_, highest, _)) if !(0..=*highest).contains(&level) => {
                return Err(tool_failed(format!("No feature:{name} with feature level {level}")));
            }
            Some(_) => format!("{name}={level}"),
        };
        let needs: Vec<_> =
            DEPENDENCIES.iter().filter(|(of, from, ..)| *of == name && level >= *from).collect();
        if needs.is_empty() {
            writeln!(session.out, "{title} has no dependencies.")?;
            continue;
        }
        writeln!(session.out, "{title} requires:")?;
        for (_, _, other, needed) in needs {
            writeln!(session.out, "    {other}={needed} ({})", level_name(other, *needed))?;
        }
    }
    Ok(())
}

fn describe_features(session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let client = session.connect()?;
    let found = session.wait(client.describe_features()).map_err(plain_error)?;
    for (name, it) in found.features {
        let shown = |level: i16| level_name(&name, level);
        writeln!(
            session.out,
            "Feature: {:41} SupportedMinVersion: {:16} SupportedMaxVersion: {:16} FinalizedVersionLevel: {:16} Epoch: {}",
            name,
            shown(it.supported_min),
            shown(it.supported_max),
            shown(it.level),
            found.epoch
        )?;
    }
    Ok(())
}

/// The levels of a release. An upgrade does not ask for level 0, which is no upgrade.
fn release_levels(metadata: i16, action: &str) -> BTreeMap<String, i16> {
    let others = FEATURES.iter().map(|it| (it.0, level_in(*it, metadata)));
    let is_asked = |(_, level): &(&str, i16)| action != "upgrade" || *level > 0;
    let all = [(METADATA, metadata)].into_iter().chain(others.filter(is_asked));
    all.map(|(name, level)| (name.to_owned(), level)).collect()
}

/// Takes the features out that the cluster does not support: their names.
fn take_unsupported(
    levels: &mut BTreeMap<String, i16>,
    cluster: &FeatureDescriptions,
) -> Vec<String> {
    let is_unsupported = |name: &str| !cluster.features.contains_key(name);
    levels.extract_if(.., |name, _| is_unsupported(name)).map(|(name, _)| name).collect()
}

/// The levels that the command line asks for.
fn asked_levels(args: &Parsed, action: &str) -> Result<BTreeMap<String, i16>, ToolError> {
    let mut all = BTreeMap::new();
    if action == "disable" {
        all.extend(args.all("feature").map(|name| (name.to_owned(), 0)));
    } else if let Some(name) = args.one("release-version") {
        if args.has("feature") || args.has("metadata") {
            return Err(tool_failed("Can not specify `release-version` with other feature flags."));
        }
        all = release_levels(release_level(name)?, action);
    } else {
        if let Some(name) = args.one("metadata") {
            tell!("`metadata` flag is deprecated and may be removed in a future release.");
            all.insert(METADATA.to_owned(), release_level(name)?);
        }
        for (name, level) in parse_levels(args)? {
            if all.insert(name.clone(), level).is_some() {
                return Err(tool_failed(format!("Feature {name} was specified more than once.")));
            }
        }
    }
    if all.is_empty() {
        return Err(tool_failed(format!("You must specify at least one feature to {action}")));
    }
    Ok(all)
}

fn update_features(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    action: &str,
) -> Result<(), ToolError> {
    let mut all = asked_levels(args, action)?;
    let kind = match (action, args.has("unsafe")) {
        ("upgrade", _) => FeatureChange::Upgrade,
        (_, false) => FeatureChange::SafeDowngrade,
        (_, true) => FeatureChange::UnsafeDowngrade,
    };
    let is_dry = args.has("dry-run");
    let mode = if is_dry { ChangeMode::Check } else { ChangeMode::Change };
    let client = session.connect()?;
    let cluster = session.wait(client.describe_features()).map_err(plain_error)?;
    if args.has("release-version") {
        // A release is asked for as far as the cluster has it.
        for name in take_unsupported(&mut all, &cluster) {
            tell!("{name} is left out: this cluster does not support it.");
        }
    }
    let outcomes = session.wait(client.update_features(&all, kind, mode))?;
    let refusal = |name: &str| outcomes.get(name).and_then(|outcome| outcome.clone().err());
    let mut wrong = 0;
    for (name, level) in &all {
        let done = if action == "disable" { "disabled" } else { action };
        let (past, to) = match action {
            "upgrade" => ("upgraded", format!(" to {level}")),
            "downgrade" => ("downgraded", format!(" to {level}")),
            _ => (done, String::new()),
        };
        match refusal(name) {
            None if is_dry => writeln!(session.out, "{name} can be {past}{to}.")?,
            None => {
                writeln!(session.out, "{name} was {past}{to}.")?;
                if !cluster.features.contains_key(name) {
                    tell!("{name} was off before: this cluster does not support it.");
                }
            }
            Some(ItemRefusal { code, reason }) => {
                wrong += 1;
                let why = reason.unwrap_or_else(|| code.message().to_owned());
                let could = if is_dry { "Can" } else { "Could" };
                writeln!(session.out, "{could} not {action} {name}{to}. {why}")?;
            }
        }
    }
    if wrong == 0 {
        return Ok(());
    }
    Err(tool_failed(format!("{wrong} out of {} operation(s) failed.", all.len())))
}

#[cfg(test)]
mod tests {
    use ottla_client::FeatureDescription;

    use super::*;

    #[test]
    fn a_release_is_asked_for_as_far_as_the_cluster_supports_it() {
        let names = |levels: &BTreeMap<String, i16>| -> Vec<String> {
            levels.iter().map(|(name, level)| format!("{name}={level}")).collect()
        };
        let built = ["metadata.version", "kraft.version", "group.version", "transaction.version"];
        let features = built.map(|name| (name.to_owned(), FeatureDescription::default()));
        let cluster = FeatureDescriptions { features: features.into(), epoch: 1 };
        let mut newest = release_levels(release_level("4.3").unwrap(), "upgrade");
        let left_out = take_unsupported(&mut newest, &cluster);
        let unbuilt = ["eligible.leader.replicas.version", "share.version", "streams.version"];
        assert_eq!(left_out, unbuilt);
        let wanted =
            ["group.version=1", "kraft.version=1", "metadata.version=30", "transaction.version=2"];
        assert_eq!(names(&newest), wanted);
        let old = release_level("3.9").unwrap();
        let upgrade = names(&release_levels(old, "upgrade"));
        assert_eq!(upgrade, ["kraft.version=1", "metadata.version=21"]);
        assert_eq!(release_levels(old, "downgrade").len(), 7, "levels of 0 are asked for");
    }
}
