//! AlterConfigs and IncrementalAlterConfigs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use ottla_machine::Turn;
use ottla_protocol::messages::alter_configs_request::{
    AlterConfigsRequest, AlterableConfig as ReplacedConfig,
};
use ottla_protocol::messages::alter_configs_response::AlterConfigsResponse;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_protocol::messages::{
    alter_configs_request, alter_configs_response, incremental_alter_configs_request,
    incremental_alter_configs_response,
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

/// A resource whose settings a request changes.
pub trait AlteredResource {
    /// A setting of it, as the request names it.
    type Config;
    /// What is answered for it.
    type Answer;

    /// The number of its kind, and its name.
    fn resource(&self) -> (i8, &str);

    /// Its settings.
    fn configs(&self) -> &[Self::Config];

    /// What is answered for the resource of this kind and name.
    fn answer(
        resource_type: i8,
        resource_name: String,
        code: ErrorCode,
        message: Option<String>,
    ) -> Self::Answer;
}

/// The two APIs have types of their own, with the same fields.
macro_rules! altered_resource {
    ($request:ident => $response:ident) => {
        impl AlteredResource for $request::AlterConfigsResource {
            type Config = $request::AlterableConfig;
            type Answer = $response::AlterConfigsResourceResponse;

            fn resource(&self) -> (i8, &str) {
                (self.resource_type, &self.resource_name)
            }

            fn configs(&self) -> &[Self::Config] {
                &self.configs
            }

            fn answer(
                resource_type: i8,
                resource_name: String,
                code: ErrorCode,
                message: Option<String>,
            ) -> Self::Answer {
                $response::AlterConfigsResourceResponse {
                    error_code: code.0,
                    error_message: message,
                    resource_type,
                    resource_name,
                    ..Default::default()
                }
            }
        }
    };
}

altered_resource!(alter_configs_request => alter_configs_response);
altered_resource!(incremental_alter_configs_request => incremental_alter_configs_response);

/// A setting as a request names it.
trait RequestedConfig: Sized {
    /// Its name.
    fn name(&self) -> &String;

    /// Has it a value, where it needs one?
    fn is_complete(&self) -> bool;

    /// What a request for all of these changes.
    fn changes(
        scene: &ControllerScene<'_>,
        kind: ResourceKind,
        resource: &str,
        asked: &[Self],
    ) -> Result<ConfigChanges, ControllerRefusal>;
}

impl RequestedConfig for ReplacedConfig {
    fn name(&self) -> &String {
        &self.name
    }

    fn is_complete(&self) -> bool {
        self.value.is_some()
    }

    fn changes(
        scene: &ControllerScene<'_>,
        kind: ResourceKind,
        resource: &str,
        asked: &[Self],
    ) -> Result<ConfigChanges, ControllerRefusal> {
        // What is not named goes back to its default.
        let before = scene.cluster.config(kind, resource);
        let mut changes: ConfigChanges = before.keys().map(|name| (name.clone(), None)).collect();
        changes.extend(asked.iter().map(|config| (config.name.clone(), config.value.clone())));
        Ok(changes)
    }
}

impl RequestedConfig for AlterableConfig {
    fn name(&self) -> &String {
        &self.name
    }

    fn is_complete(&self) -> bool {
        self.value.is_some() || self.config_operation == DELETE
    }

    fn changes(
        scene: &ControllerScene<'_>,
        kind: ResourceKind,
        resource: &str,
        asked: &[Self],
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
                        let why =
                            format!("Can't {verb} to key {name} because its type is not LIST.");
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
}

pub(super) fn replace_configs(
    scene: &ControllerScene<'_>,
    request: &AlterConfigsRequest,
    turn: &mut Turn<Controller>,
) {
    let responses = change_resources(scene, &request.resources, request.validate_only, turn);
    let response = AlterConfigsResponse { responses, ..Default::default() };
    turn.reply(ControllerReply::AlterConfigs(response));
}

pub(super) fn alter_configs(
    scene: &ControllerScene<'_>,
    request: &IncrementalAlterConfigsRequest,
    turn: &mut Turn<Controller>,
) {
    let responses = change_resources(scene, &request.resources, request.validate_only, turn);
    let response = IncrementalAlterConfigsResponse { responses, ..Default::default() };
    turn.reply(ControllerReply::IncrementalAlterConfigs(response));
}

/// Changes the settings of each resource for itself; the answer for each, in order.
fn change_resources<R: AlteredResource<Config: RequestedConfig>>(
    scene: &ControllerScene<'_>,
    resources: &[R],
    validate_only: bool,
    turn: &mut Turn<Controller>,
) -> Vec<R::Answer> {
    let repeated = repeated_items(resources.iter().map(R::resource));
    let mut answers = Vec::new();
    for altered in resources {
        let ((number, name), configs) = (altered.resource(), altered.configs());
        let made = check_not_repeated(&repeated, number, name)
            .and_then(|()| check_keys(configs.iter().map(|it| (it.name(), it.is_complete()))))
            .and_then(|()| resource_kind(scene, number, name))
            .and_then(|kind| {
                let changes = R::Config::changes(scene, kind, name, configs)?;
                config_records(scene, kind, name, changes)
            });
        let (code, why) = match made {
            Ok(records) => {
                if !validate_only {
                    turn.records.extend(records);
                }
                (ErrorCode::NONE, None)
            }
            Err((code, why)) => (code, Some(why)),
        };
        answers.push(R::answer(number, String::from(name), code, why));
    }
    answers
}

/// Refuses a resource that the request has more than once: which change would come last is chance.
fn check_not_repeated(
    repeated: &BTreeSet<(i8, &str)>,
    number: i8,
    name: &str,
) -> Result<(), ControllerRefusal> {
    if repeated.contains(&(number, name)) {
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
        let elr = scene.cluster.keeps_eligible();
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
