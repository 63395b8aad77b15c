//! Settings from the environment, as Apache's container image has them: `KAFKA_NODE_ID` is
//! `node.id`.
//!
//! One underscore is a point, two are an underscore, three a hyphen. What platforms put into the
//! environment for a service that is called kafka, and what Apache's scripts use for themselves,
//! is left alone.

use crate::table::{Scope, find_setting, nearest_setting};

/// What a variable of the environment is to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The value of the setting of this name.
    Setting(String),
    /// Not meant for a node.
    LeftAlone,
    /// Meant for a node, maybe, but no setting: the setting that it would be, and the variable
    /// that may be meant.
    Unknown(String, Option<String>),
}

/// Names that Apache's scripts and image, and our own tools, use for themselves.
const SCRIPTS: [&str; 26] = [
    "KAFKA_CLUSTERS_DEFAULT_BOOTSTRAPSERVERS",
    "KAFKA_CLUSTER_ID",
    "KAFKA_CONFIG_DIR",
    "KAFKA_DEBUG",
    "KAFKA_DEBUG_SUSPEND_FLAG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_GPG_KEY",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_CMD_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_MODE",
    "KAFKA_NAME",
    "KAFKA_OPTS",
    "KAFKA_SCALA_VERSION",
    "KAFKA_SERVER",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_URL",
    "KAFKA_USER",
    "KAFKA_VERSION",
];

/// What this variable is to a node; `None` if its name does not begin with `KAFKA_`.
#[must_use]
pub fn read_variable(name: &str, value: &str) -> Option<Variable> {
    let rest = name.strip_prefix("KAFKA_").filter(|rest| !rest.is_empty())?;
    if SCRIPTS.contains(&name) || name.starts_with("KAFKA_JVM_") || name.starts_with("KAFKA_LOG4J")
    {
        return Some(Variable::LeftAlone);
    }
    let setting = setting_of(rest);
    if find_setting(Scope::Broker, &setting).is_some() || is_of_a_listener(&setting) {
        return Some(Variable::Setting(setting));
    }
    if is_of_a_platform(rest, value) {
        return Some(Variable::LeftAlone);
    }
    let near = nearest_setting(Scope::Broker, &setting).map(variable_of);
    Some(Variable::Unknown(setting, near))
}

/// Settings of one listener have names of their own.
fn is_of_a_listener(setting: &str) -> bool {
    setting.starts_with("listener.name.")
}

fn setting_of(rest: &str) -> String {
    rest.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_")
}

/// The variable that sets this.
fn variable_of(setting: &str) -> String {
    let rest = setting.replace('_', "__").replace('-', "___").replace('.', "_");
    format!("KAFKA_{}", rest.to_uppercase())
}

/// Kubernetes and Docker tell every container where the services are, by the names of those:
/// `KAFKA_SERVICE_HOST`, `KAFKA_PORT=tcp://10.0.0.1:9092`, `KAFKA_PORT_9092_TCP_ADDR`,
/// `KAFKA_ENV_HOME`.
fn is_of_a_platform(rest: &str, value: &str) -> bool {
    let parts: Vec<&str> = rest.split('_').collect();
    let after = |word: &str| {
        let at = parts.iter().position(|part| *part == word)?;
        Some(&parts[at + 1..])
    };
    if matches!(after("SERVICE"), Some(["HOST"] | ["PORT", ..])) || parts[0] == "ENV" {
        return true;
    }
    match after("PORT") {
        Some([]) => value.contains("://") || value.parse::<u16>().is_ok(),
        Some([number, "TCP" | "UDP" | "SCTP", ..]) => number.parse::<u16>().is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_setting_or_left_alone_or_unknown() {
        let setting = |name: &str| Some(Variable::Setting(name.to_owned()));
        let cases = [
            ("KAFKA_NODE_ID", "1", setting("node.id")),
            ("KAFKA_LOG_DIRS", "/d", setting("log.dirs")),
            ("KAFKA_CONTROLLER_LISTENER_NAMES", "C", setting("controller.listener.names")),
            (
                "KAFKA_LISTENER_NAME_MY__L_SSL_KEYSTORE_LOCATION",
                "/k",
                setting("listener.name.my_l.ssl.keystore.location"),
            ),
            (
                "KAFKA_METRICS_REPORTERS",
                "",
                Some(Variable::Unknown(
                    "metrics.reporters".to_owned(),
                    Some("KAFKA_METRIC_REPORTERS".to_owned()),
                )),
            ),
            ("KAFKA_KAFKA_METRICS_REPORTERS", "", setting("kafka.metrics.reporters")),
            ("KAFKA_PORT", "tcp://10.0.0.1:9092", Some(Variable::LeftAlone)),
            ("KAFKA_SERVICE_HOST", "10.0.0.1", Some(Variable::LeftAlone)),
            ("KAFKA_SERVICE_PORT", "9092", Some(Variable::LeftAlone)),
            ("KAFKA_SERVICE_PORT_CLIENTS", "9092", Some(Variable::LeftAlone)),
            ("KAFKA_BROKER_SERVICE_HOST", "10.0.0.1", Some(Variable::LeftAlone)),
            ("KAFKA_PORT_9092_TCP", "tcp://10.0.0.1:9092", Some(Variable::LeftAlone)),
            ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1", Some(Variable::LeftAlone)),
            ("KAFKA_ENV_HOME", "/root", Some(Variable::LeftAlone)),
            ("KAFKA_HEAP_OPTS", "-Xmx1g", Some(Variable::LeftAlone)),
            ("KAFKA_OPTS", "", Some(Variable::LeftAlone)),
            ("KAFKA_LOG4J_ROOT_LOGLEVEL", "INFO", Some(Variable::LeftAlone)),
            ("KAFKA_SERVER", "a:9092", Some(Variable::LeftAlone)),
            ("KAFKA_", "", None),
            ("PATH", "/bin", None),
            (
                "KAFKA_NODE_IDD",
                "1",
                Some(Variable::Unknown("node.idd".to_owned(), Some("KAFKA_NODE_ID".to_owned()))),
            ),
        ];
        for (name, value, wanted) in cases {
            assert_eq!(read_variable(name, value), wanted, "{name}");
        }
    }

    #[test]
    fn every_setting_can_be_set_by_a_variable() {
        for setting in crate::table::in_scope(Scope::Broker) {
            let name = variable_of(setting.name);
            assert_eq!(read_variable(&name, "1"), Some(Variable::Setting(setting.name.to_owned())));
        }
    }
}
