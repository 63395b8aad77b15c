//! DescribeConfigs: settings, their values, and where those come from.
//!
//! Version 0 was removed in Kafka 4.0 and is served here. 1: where a value comes from, and its
//! synonyms (KIP-226). 3: type and documentation (KIP-569).

use ottla_metadata::{Cluster, ResourceKind};
use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use ottla_settings::{ConfigSource, Effective, Scope, UpdateMode, describe_setting, in_scope};
use ottla_types::ErrorCode;

use crate::guard::Operation;
use crate::levels::LogLevel;
use crate::loggers;
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeConfigs, 0, 4);

/// Looks each resource up.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let cluster = node.cluster();
    // A type that does not exist fails the whole request.
    let mut kinds = request.resources.iter().map(|it| ResourceKind::of(it.resource_type));
    let names_unknown = kinds.any(|kind| kind.is_none());
    let results = request.resources.iter().map(|resource| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        let (operation, kind) = (Operation::DescribeConfigs, resource.resource_type);
        let allowed = call.check_settings(node, operation, kind, &resource.resource_name);
        let is_logger = resource.resource_type == ResourceKind::BrokerLogger as i8;
        if is_logger && !names_unknown && allowed.is_ok() {
            describe_loggers(node, resource, &mut result);
            return result;
        }
        let found = if names_unknown {
            let code = ErrorCode::INVALID_REQUEST;
            Err((code, code.message().to_owned()))
        } else if let Err(code) = allowed {
            Err((code, code.message().to_owned()))
        } else {
            describe_resource(node, &cluster, resource)
        };
        match found {
            Ok(all) => {
                result.configs = all.into_iter().map(|it| setting_row(it, &request)).collect();
            }
            Err((code, why)) => {
                result.error_code = code.0;
                result.error_message = Some(why);
            }
        }
        result
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

fn describe_resource(
    node: &Node,
    cluster: &Cluster,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Effective>, (ErrorCode, String)> {
    let name = &resource.resource_name;
    let scope = match ResourceKind::of(resource.resource_type) {
        Some(ResourceKind::Topic) => {
            if let Err(why) = ottla_types::check_topic_name(name) {
                return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_string()));
            }
            if cluster.topic(name).is_none() {
                // Without a text: clients show the code's own.
                return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new()));
            }
            Scope::Topic
        }
        Some(ResourceKind::Broker) => {
            if !name.is_empty() && name.parse() != Ok(node.id) {
                let why = format!(
                    "Unexpected broker id, expected {} or empty string, but received {name}",
                    node.id
                );
                return Err((ErrorCode::INVALID_REQUEST, why));
            }
            Scope::Broker
        }
        Some(ResourceKind::ClientMetrics | ResourceKind::Group) if name.is_empty() => {
            let why = "the resource name must not be empty".to_owned();
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
        Some(ResourceKind::ClientMetrics) => Scope::ClientMetrics,
        Some(ResourceKind::Group) => Scope::Group,
        // Described by itself.
        Some(ResourceKind::BrokerLogger) => return Ok(Vec::new()),
        None => {
            let why = format!("Unsupported resource type: {}", resource.resource_type);
            return Err((ErrorCode::INVALID_REQUEST, why));
        }
    };
    let wanted = |setting: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == setting),
        _ => true,
    };
    let all = in_scope(scope).filter(|setting| wanted(setting.name));
    let all = all.map(|setting| describe_setting(setting, cluster, node.started(), node.id, name));
    let all = all.filter(|it| !it.setting.is_unlisted || it.source != ConfigSource::Default);
    if scope == Scope::Broker && name.is_empty() {
        // The default of all brokers is only what was set for all of them.
        return Ok(all
            .map(|mut effective| {
                effective.synonyms.retain(|synonym| synonym.source == ConfigSource::AllBrokers);
                // Whatever this broker has of its own: it is not asked about.
                if let Some(of_all) = effective.synonyms.first() {
                    effective.value =
                        of_all.value.as_deref().map(|value| effective.setting.shown(value));
                    effective.source = of_all.source;
                }
                effective
            })
            .filter(|it| !it.synonyms.is_empty())
            .collect());
    }
    Ok(all.collect())
}

/// The levels of the log. They are not kept: what was set is gone with the next start.
fn describe_loggers(
    node: &Node,
    resource: &DescribeConfigsResource,
    result: &mut DescribeConfigsResult,
) {
    /// Kafka's number of a value that was set for a logger.
    const DYNAMIC_BROKER_LOGGER: i8 = 6;
    let wanted = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == name),
        _ => true,
    };
    match loggers::describe_loggers(node, &resource.resource_name) {
        Ok(all) => {
            let row = |(name, level): (String, LogLevel)| DescribeConfigsResourceResult {
                name,
                value: Some(level.name().to_owned()),
                config_source: DYNAMIC_BROKER_LOGGER,
                ..Default::default()
            };
            result.configs = all.into_iter().filter(|(name, _)| wanted(name)).map(row).collect();
        }
        Err((code, why)) => {
            result.error_code = code.0;
            result.error_message = Some(why);
        }
    }
}

fn setting_row(
    found: Effective,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let secret = found.setting.is_secret();
    let shown = |value: Option<String>| if secret { None } else { value };
    let synonyms = found.synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: synonym.name,
        value: shown(synonym.value),
        source: synonym.source as i8,
        ..Default::default()
    });
    DescribeConfigsResourceResult {
        name: found.setting.name.to_owned(),
        value: shown(found.value),
        read_only: found.setting.changes == UpdateMode::Static,
        is_default: found.source == ConfigSource::Default,
        config_source: found.source as i8,
        is_sensitive: secret,
        synonyms: if request.include_synonyms { synonyms.collect() } else { Vec::new() },
        config_type: found.setting.kind as i8,
        documentation: request.include_documentation.then(|| found.setting.documentation()),
        ..Default::default()
    }
}
