//! kafka-client-metrics: which metrics clients push (KIP-714).

use ottla_client::{ChangeMode, Client, ConfigKind, ConfigResource};
use ottla_clock::Clock;

use crate::options::{Opt, Parsed, flag, value, values};
use crate::session::{ToolError, ToolSession};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-client-metrics",
    about: "Show and change which metrics clients push to the cluster.",
    options: OPTIONS,
    run: run_client_metrics,
}];

const OPTIONS: &[Opt] = &[
    flag("list", "List the metrics subscriptions."),
    flag("describe", "Describe metrics subscriptions."),
    flag("alter", "Create or change a metrics subscription."),
    flag("delete", "Delete a metrics subscription."),
    value("name", "NAME", "The name of the subscription."),
    flag("generate-name", "With --alter: generate the name."),
    values("metrics", "PREFIX,...", "The metrics, by prefixes of their names."),
    value("interval", "MS", "The interval between two pushes; empty for the default."),
    values(
        "match",
        "WHAT=REGEX,...",
        "Which clients: client_id, client_instance_id, client_software_name, client_software_version, client_source_address, client_source_port.",
    ),
];

const ACTIONS: [&str; 4] = ["alter", "delete", "describe", "list"];
/// An option, and the setting that it is.
const SETTINGS: [(&str, &str); 3] =
    [("interval", "interval.ms"), ("match", "match"), ("metrics", "metrics")];

fn run_client_metrics(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let Some(action) = args.only(&ACTIONS) else {
        let why =
            "Command must include exactly one action: --alter, --delete, --describe or --list.";
        return Err(ToolError::Usage(why.to_owned()));
    };
    let name = match (action, args.one("name"), args.has("generate-name")) {
        ("alter", None, true) => Some(Clock::real().random_uuid().to_string()),
        ("alter", None, false) | ("alter", Some(_), true) => {
            let why = "One of --name or --generate-name must be specified with --alter.";
            return Err(ToolError::Usage(why.to_owned()));
        }
        ("delete", None, _) => {
            let why = "A client metrics resource name must be specified with --delete.";
            return Err(ToolError::Usage(why.to_owned()));
        }
        (_, name, _) => name.map(str::to_owned),
    };
    let is_none = SETTINGS.iter().all(|(option, _)| !args.has(option));
    if action == "alter" && is_none {
        let why = "One of --metrics, --interval or --match must be specified with --alter.";
        return Err(ToolError::Usage(why.to_owned()));
    }
    let client = session.connect()?;
    match (action, name) {
        ("alter", Some(name)) => {
            let change = |(option, setting): (&str, &str)| {
                let value = args.one(option)?;
                Some((setting.to_owned(), Some(value.to_owned()).filter(|it| !it.is_empty())))
            };
            let all = SETTINGS.into_iter().filter_map(change).collect();
            session.wait(client.set_configs(
                subscription_resource(&name),
                all,
                ChangeMode::Change,
            ))?;
            writeln!(session.out, "Altered client metrics config for {name}.")?;
        }
        ("delete", Some(name)) => {
            let own = std::slice::from_ref(&name);
            let known = session.wait(client.configs(ConfigKind::ClientMetrics, own))?;
            let own = known.into_values().flatten().filter(|it| !it.is_default());
            let gone = own.map(|it| (it.name, None)).collect();
            session.wait(client.set_configs(
                subscription_resource(&name),
                gone,
                ChangeMode::Change,
            ))?;
            writeln!(session.out, "Deleted client metrics config for {name}.")?;
        }
        ("describe", name) => describe_subscriptions(session, &client, name)?,
        _ => {
            let all = session.wait(client.config_names(ConfigKind::ClientMetrics))?;
            writeln!(session.out, "{}", all.join("\n"))?;
        }
    }
    Ok(())
}

/// The settings of a subscription.
const fn subscription_resource(name: &str) -> ConfigResource<'_> {
    ConfigResource { kind: ConfigKind::ClientMetrics, name }
}

fn describe_subscriptions(
    session: &mut ToolSession<'_>,
    client: &Client,
    name: Option<String>,
) -> Result<(), ToolError> {
    let known = session.wait(client.config_names(ConfigKind::ClientMetrics))?;
    let names = match name {
        None => known,
        Some(name) if known.contains(&name) => vec![name],
        Some(name) => {
            let why = "doesn't exist and doesn't have dynamic config.";
            writeln!(session.out, "The client metric resource {name} {why}")?;
            return Ok(());
        }
    };
    for (name, entries) in session.wait(client.configs(ConfigKind::ClientMetrics, &names))? {
        writeln!(session.out, "Client metrics configs for {name} are:")?;
        for it in entries {
            writeln!(session.out, "  {}={}", it.name, it.value.unwrap_or_default())?;
        }
    }
    Ok(())
}
