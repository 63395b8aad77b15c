//! AlterConfigs and IncrementalAlterConfigs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::alter_configs_request::{
    AlterConfigsRequest, AlterConfigsResource, AlterableConfig as ReplacedConfig,
};
use ottla_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse as Replaced, AlterConfigsResponse,
};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as Incremental, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse as Altered, IncrementalAlterConfigsResponse,
};
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::metadata::clear_elr_record::ClearElrRecord;
use ottla_protocol::metadata::config_record::ConfigRecord;
use ottla_types::{ErrorCode, check_topic_name};

use super::{
    ConfigChange, Controller, ControllerRefusal, ControllerReply, ControllerScene, repeated_items,
};
use crate::cluster::ResourceKind;

/// How long the value of a setting may be, in bytes.
const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// The operation that takes a setting back, as IncrementalAlterConfigs numbers it.
const DELETE: i8 = 1;

/// A change: the new value, or none to go back to the default.
type ConfigChanges = BTreeMap<String, Option<String>>;

pub(super) fn replace_configs(
    scene: &ControllerScene<'_>,
    request: AlterConfigsRequest,
    turn: &mut Turn<Controller>,
) {
    let mut response = AlterConfigsResponse::default();
    let named = |it: &'_ AlterConfigsResource| (it.resource_type, it.resource_name.clone());
    let repeated = repeated_resources(request.resources.iter().map(named));
    for resource in &request.resources {
        let name = &resource.resource_name;
        let configs = || resource.configs.iter().map(|it| (&it.name, it.value.is_some()));
        let made = check_not_repeated(&repeated, resource.resource_type, name)
            .and_then(|()| check_keys(configs()))
            .and_then(|()| resource_kind(scene, resource.resource_type, name))
            .and_then(|kind| {
                let changes = replacing_changes(scene, kind, name, &resource.configs);
                config_records(scene, kind, name, changes)
            });
        let mut result = Replaced {
            resource_type: resource.resource_type,
            resource_name: name.clone(),
            error_message: None,
            ..Default::default()
        };
        match made {
            Ok(records) if !request.validate_only => turn.records.extend(records),
            Ok(_) => {}
            Err((code, why)) => {
                result.error_code = code.0;
                result.error_message = Some(why);
            }
        }
        response.responses.push(result);
    }
    turn.reply(ControllerReply::AlterConfigs(response));
}

pub(super) fn alter_configs(
    scene: &ControllerScene<'_>,
    request: IncrementalAlterConfigsRequest,
    turn: &mut Turn<Controller>,
) {
    let mut response = IncrementalAlterConfigsResponse::default();
    let named = |it: &'_ Incremental| (it.resource_type, it.resource_name.clone());
    let repeated = repeated_resources(request.resources.iter().map(named));
    for resource in &request.resources {
        let name = &resource.resource_name;
        let has_value = |it: &AlterableConfig| it.value.is_some() || it.config_operation == DELETE;
        let configs = || resource.configs.iter().map(|it| (&it.name, has_value(it)));
        let made = check_not_repeated(&repeated, resource.resource_type, name)
            .and_then(|()| check_keys(configs()))
            .and_then(|()| resource_kind(scene, resource.resource_type, name))
            .and_then(|kind| {
                let changes = requested_changes(scene, kind, name, &resource.configs)?;
                config_records(scene, kind, name, changes)
            });
        let mut result = Altered {
            resource_type: resource.resource_type,
            resource_name: name.clone(),
            error_message: None,
            ..Default::default()
        };
        match made {
            Ok(records) if !request.validate_only => turn.records.extend(records),
            Ok(_) => {}
            Err((code, why)) => {
                result.error_code = code.0;
                result.error_message = Some(why);
            }
        }
        response.responses.push(result);
    }
    turn.reply(ControllerReply::IncrementalAlterConfigs(response));
}

/// The resources that a request has more than once, as type and name.
fn repeated_resources(all: impl Iterator<Item = (i8, String)>) -> BTreeSet<(i8, String)> {
    let mut seen = BTreeSet::new();
    all.filter(|resource| !seen.insert(resource.clone())).collect()
}

/// Refuses a resource that the request has more than once: which change would come last is chance.
fn check_not_repeated(
    repeated: &BTreeSet<(i8, String)>,
    number: i8,
    name: &str,
) -> Result<(), ControllerRefusal> {
    if repeated.contains(&(number, String::from(name))) {
        let why = "Each resource must appear at most once.";
        return Err((ErrorCode::INVALID_REQUEST, String::from(why)));
    }
    Ok(())
}

/// Refuses a setting that comes twice for one resource, and one without a value that needs it.
fn check_keys<'a>(
    configs: impl Iterator<Item = (&'a String, bool)> + Clone,
) -> Result<(), ControllerRefusal> {
    let invalid = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
    if let Some(name) = repeated_items(configs.clone().map(|(name, _)| name)).first() {
        return invalid(format!("Error due to duplicate config keys: {name}"));
    }
    if let Some((name, _)) = configs.clone().find(|(_, has_value)| !has_value) {
        return invalid(format!("Null value not supported for : {name}"));
    }
    Ok(())
}

/// The settings that a resource has after AlterConfigs: what is not named goes back to its default.
fn replacing_changes(
    scene: &ControllerScene<'_>,
    kind: ResourceKind,
    resource: &str,
    asked: &[ReplacedConfig],
) -> ConfigChanges {
    let before = scene.cluster.config(kind, resource);
    let mut changes: ConfigChanges = before.keys().map(|name| (name.clone(), None)).collect();
    changes.extend(asked.iter().map(|config| (config.name.clone(), config.value.clone())));
    changes
}

/// The resource's kind, if there is such a resource.
fn resource_kind(
    scene: &ControllerScene<'_>,
    number: i8,
    name: &str,
) -> Result<ResourceKind, ControllerRefusal> {
    let invalid = |why: String| Err((ErrorCode::INVALID_REQUEST, why));
    match ResourceKind::of(number) {
        Some(ResourceKind::Topic) => {
            if name.is_empty() {
                return invalid(String::from("Default topic resources are not allowed."));
            }
            if let Err(why) = check_topic_name(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_string()));
            }
            Ok(ResourceKind::Topic)
        }
        Some(ResourceKind::Broker) => match name.parse::<i32>() {
            Ok(id) if scene.cluster.broker(id).is_none() => {
                invalid(format!("Broker {id} is not registered"))
            }
            Err(_) if !name.is_empty() => invalid(format!("{name} is not a broker id.")),
            _ => Ok(ResourceKind::Broker),
        },
        Some(kind @ (ResourceKind::ClientMetrics | ResourceKind::Group)) => {
            if name.is_empty() {
                return invalid(String::from("Default resource names are not allowed here."));
            }
            Ok(kind)
        }
        _ => invalid(format!("Unsupported config resource type {number}")),
    }
}

fn requested_changes(
    scene: &ControllerScene<'_>,
    kind: ResourceKind,
    resource: &str,
    asked: &[AlterableConfig],
) -> Result<ConfigChanges, ControllerRefusal> {
    let mut all = ConfigChanges::new();
    for config in asked {
        let name = &config.name;
        let value = match (config.config_operation, &config.value) {
            (0, Some(value)) => Some(value.clone()),
            (DELETE, _) => None,
            (2 | 3, Some(value)) => {
                if !scene.rules.is_list(kind, name) {
                    let verb = if config.config_operation == 2 { "APPEND" } else { "SUBTRACT" };
                    let why = format!("Can't {verb} to key {name} because its type is not LIST.");
                    return Err((ErrorCode::INVALID_CONFIG, why));
                }
                let own = scene.cluster.config(kind, resource).get(name).cloned();
                let now = own.or_else(|| scene.rules.fallback(scene.cluster, kind, name));
                Some(edited_list(&now.unwrap_or_default(), value, config.config_operation == 2))
            }
            (0 | 2 | 3, None) => {
                let why = format!("Null value not supported for : {name}");
                return Err((ErrorCode::INVALID_REQUEST, why));
            }
            (other, _) => {
                let why = format!("Unknown operation {other} for {name}");
                return Err((ErrorCode::INVALID_REQUEST, why));
            }
        };
        all.insert(name.clone(), value);
    }
    Ok(all)
}

/// A list with something more or something less in it. An empty item that is appended stays: the
/// list is refused then, as in Kafka.
fn edited_list(list: &str, value: &str, append: bool) -> String {
    let items = |text: &'_ str| -> Vec<String> {
        text.split(',').map(|item| item.trim().to_string()).collect()
    };
    let mut all = items(list);
    all.retain(|item| !item.is_empty());
    for item in items(value) {
        if !append {
            all.retain(|known| *known != item);
        } else if !all.contains(&item) {
            all.push(item);
        }
    }
    all.join(",")
}

fn config_records(
    scene: &ControllerScene<'_>,
    kind: ResourceKind,
    resource: &str,
    changes: ConfigChanges,
) -> Result<Vec<MetadataRecord>, ControllerRefusal> {
    let before = scene.cluster.config(kind, resource);
    let mut after = before.clone();
    for (name, value) in &changes {
        match value {
            Some(value) if value.len() > VALUE_BYTES_MAX => {
                let why = format!(
                    "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_BYTES_MAX} bytes."
                );
                return Err((ErrorCode::INVALID_CONFIG, why));
            }
            Some(value) => drop(after.insert(name.clone(), value.clone())),
            None => drop(after.remove(name)),
        }
    }
    scene.rules.check(&ConfigChange {
        cluster: scene.cluster,
        kind,
        resource,
        before,
        after: &after,
    })?;
    // Values first: a bad value of a topic that does not exist is a bad value.
    if kind == ResourceKind::Topic && scene.cluster.topic(resource).is_none() {
        let why = format!("The topic '{resource}' does not exist.");
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why));
    }
    let mut records: Vec<MetadataRecord> = Vec::new();
    for (name, value) in changes {
        let elr = scene.cluster.feature("eligible.leader.replicas.version") > 0;
        let in_sync = name == "min.insync.replicas";
        if in_sync && elr && kind == ResourceKind::Broker {
            refuse_in_sync(resource, value.as_deref())?;
        }
        if before.get(&name) == value.as_ref() {
            continue;
        }
        let record = ConfigRecord {
            resource_type: kind as i8,
            resource_name: String::from(resource),
            name,
            value,
            ..Default::default()
        };
        records.push(record.into());
        if in_sync && elr && kind != ResourceKind::Group {
            // The ELR was built under the old minimum, and is meaningless under the new one.
            let topic_name = String::from(if kind == ResourceKind::Topic { resource } else { "" });
            records.push(ClearElrRecord { topic_name, ..Default::default() }.into());
        }
    }
    Ok(records)
}

/// With eligible leaders, `min.insync.replicas` is one value for all brokers, and there is one.
fn refuse_in_sync(broker: &str, value: Option<&str>) -> Result<(), ControllerRefusal> {
    let why = if !broker.is_empty() {
        "Broker-level min.insync.replicas cannot be altered while ELR is enabled."
    } else if value.is_none() {
        "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."
    } else {
        return Ok(());
    };
    Err((ErrorCode::INVALID_CONFIG, String::from(why)))
}
