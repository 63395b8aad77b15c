//! DescribeConfigs and IncrementalAlterConfigs of BROKER_LOGGER: the log levels of the node's
//! parts.

use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ottla_types::{ErrorCode, NodeId};

use crate::audit;
use crate::levels::{LogLevel, LogLevels};
use crate::node::Node;
use crate::request::Call;

/// The name of the level that applies where no other is set.
const ROOT: &str = "root";
/// Kafka's names of the levels, in its order.
const NAMES: &str = "DEBUG, ERROR, FATAL, INFO, TRACE, WARN";

type LoggerRefusal = (ErrorCode, String);

fn invalid_request<T>(why: String) -> Result<T, LoggerRefusal> {
    Err((ErrorCode::INVALID_REQUEST, why))
}

/// The levels of this node, by name, in order.
///
/// # Errors
/// Another node is asked for.
pub fn describe_loggers(node: &Node, name: &str) -> Result<Vec<(String, LogLevel)>, LoggerRefusal> {
    if name.is_empty() {
        return invalid_request("Broker id must not be empty".to_owned());
    }
    if name.parse() != Ok(node.id) {
        let own = node.id;
        return invalid_request(format!(
            "Unexpected broker id, expected {own} but received {name}"
        ));
    }
    Ok(node.levels().levels().into_iter().collect())
}

/// What a request does to the levels of this node: all of it, or nothing.
///
/// # Errors
/// Another node is asked for, or one of the changes is not possible.
pub fn alter_loggers(
    node: &Node,
    call: &Call,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), LoggerRefusal> {
    check_node(node.id, &resource.resource_name)?;
    let changes: Vec<(&str, Option<LogLevel>)> = resource
        .configs
        .iter()
        .map(|config| logger_change(node.levels(), config))
        .collect::<Result<_, _>>()?;
    if validate_only {
        return Ok(());
    }
    for (target, level) in changes {
        let shown = |node: &Node| node.levels().levels().get(target).map_or("", |it| it.name());
        let from = shown(node);
        node.levels().set(target, level);
        let to = shown(node);
        if from != to {
            audit::level_changed(call, target, from, to);
        }
    }
    Ok(())
}

fn check_node(own: NodeId, name: &str) -> Result<(), LoggerRefusal> {
    match name.parse::<NodeId>() {
        Err(_) => invalid_request(format!("Node id must be an integer, but it is: {name}")),
        Ok(id) if id != own => {
            invalid_request(format!("Unexpected node id. Expected {own}, but received {id}"))
        }
        Ok(_) => Ok(()),
    }
}

fn logger_change<'a>(
    levels: &dyn LogLevels,
    config: &'a AlterableConfig,
) -> Result<(&'a str, Option<LogLevel>), LoggerRefusal> {
    let name = config.name.as_str();
    let exists = || {
        let refused = || (ErrorCode::INVALID_CONFIG, format!("Logger {name} does not exist!"));
        levels.levels().contains_key(name).then_some(()).ok_or_else(refused)
    };
    match config.config_operation {
        0 => {
            exists()?;
            let value = config.value.as_deref().unwrap_or_default();
            let level = LogLevel::of(value).ok_or_else(|| {
                let why = format!(
                    "Cannot set the log level of {name} to {value}: it is not one of {NAMES}"
                );
                (ErrorCode::INVALID_CONFIG, why)
            })?;
            Ok((name, Some(level)))
        }
        1 => {
            exists()?;
            if name == ROOT {
                return invalid_request(format!(
                    "The log level of {ROOT} can be set, but not removed"
                ));
            }
            Ok((name, None))
        }
        2 => invalid_request("APPEND is not allowed for the BROKER_LOGGER resource".to_owned()),
        3 => invalid_request("SUBTRACT is not allowed for the BROKER_LOGGER resource".to_owned()),
        other => invalid_request(format!(
            "Unknown operation type {other} is not allowed for the BROKER_LOGGER resource"
        )),
    }
}
