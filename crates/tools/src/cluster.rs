//! kafka-cluster, kafka-broker-api-versions, and the names that have outlived what they were for.

use ottla_client::{BootstrapNodes, Brokers};
use ottla_clock::Clock;
use ottla_protocol::ApiKey;
use ottla_types::NodeId;

use crate::options::{BOOTSTRAP_CONTROLLER, Opt, Parsed, flag, last};
use crate::session::{ToolError, ToolSession, plain_error};
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[
    &Tool {
        name: "kafka-cluster",
        about: "cluster-id: show the cluster id; list-endpoints: show the addresses of brokers; \
                unregister: take out a broker that does not come back.",
        options: CLUSTER,
        run: run_cluster,
    },
    &Tool {
        name: "kafka-broker-api-versions",
        about: "Show which API versions each broker supports.",
        options: &[],
        run: run_api_versions,
    },
    &Tool {
        name: "kafka-random-uuid",
        about: "Print a new random id, for example for a cluster.",
        options: &[],
        run: run_random_uuid,
    },
    &Tool {
        name: "zookeeper-server-start",
        about: "There is no ZooKeeper any more; waits until it is stopped, so that old scripts run.",
        options: &[],
        run: run_zookeeper,
    },
    &Tool {
        name: "zookeeper-server-stop",
        about: "There is no ZooKeeper any more; nothing to stop.",
        options: &[],
        run: no_zookeeper,
    },
];

const CLUSTER: &[Opt] = &[
    last("config", "FILE", "The former name of --command-config."),
    last("id", "ID", "With unregister: the id of the broker."),
    BOOTSTRAP_CONTROLLER,
    flag("include-fenced-brokers", "With list-endpoints: also brokers that are fenced."),
];
fn run_cluster(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    match args.rest.first().map(String::as_str) {
        Some("cluster-id") => {
            let client = session.connect()?;
            let cluster = session.wait(client.describe_cluster(Brokers::Unfenced));
            writeln!(session.out, "Cluster ID: {}", cluster.map_err(plain_error)?.id)?;
            Ok(())
        }
        Some("list-endpoints") => list_endpoints(args, session),
        Some("unregister") => unregister_broker(args, session),
        _ => Err(ToolError::Usage(
            "too few arguments: cluster-id, list-endpoints or unregister".to_owned(),
        )),
    }
}

fn unregister_broker(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let broker: NodeId = args.required_number("id").map_err(ToolError::Usage)?;
    let client = session.connect()?;
    session.wait(client.unregister_broker(broker)).map_err(plain_error)?;
    writeln!(session.out, "Broker {broker} is no longer registered.")?;
    Ok(())
}

fn list_endpoints(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let client = session.connect()?;
    let nodes = client.options().bootstrap;
    let which = match (nodes, args.has("include-fenced-brokers")) {
        (_, false) => Brokers::Unfenced,
        (BootstrapNodes::Brokers, true) => Brokers::All,
        (BootstrapNodes::Controllers, true) => {
            let why =
                "--include-fenced-brokers needs --bootstrap-server: controllers have no fence";
            return Err(ToolError::Usage(why.to_owned()));
        }
    };
    let cluster = session.wait(client.describe_cluster(which)).map_err(plain_error)?;
    let host_width = cluster.brokers.iter().map(|it| it.host.len()).max().unwrap_or(0);
    let racks = cluster.brokers.iter().filter_map(|it| it.rack.as_ref());
    let rack_width = racks.map(String::len).max().unwrap_or(10);
    let row = |[id, host, port, rack, state, kind]: [&str; 6]| {
        let place = format!("{id:10} {host:host_width$} {port:10} {rack:rack_width$}");
        match nodes {
            BootstrapNodes::Brokers => format!("{place} {state:10} {kind:15}"),
            BootstrapNodes::Controllers => format!("{place} {kind:15}"),
        }
    };
    let head = row(["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"]);
    writeln!(session.out, "{head}")?;
    let kind = match nodes {
        BootstrapNodes::Brokers => "broker",
        BootstrapNodes::Controllers => "controller",
    };
    for it in &cluster.brokers {
        let state = if it.is_fenced { "fenced" } else { "unfenced" };
        let (id, port) = (it.id.to_string(), it.port.to_string());
        let rack = it.rack.as_deref().unwrap_or("null");
        writeln!(session.out, "{}", row([&id, &it.host, &port, rack, state, kind]))?;
    }
    Ok(())
}

fn run_api_versions(_: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let client = session.connect()?;
    let cluster = session.wait(client.describe_cluster(Brokers::Unfenced)).map_err(plain_error)?;
    for node in cluster.brokers {
        let found = session.wait(client.versions(node.id))?;
        let rack = node.rack.as_deref().unwrap_or("null");
        let (id, host, port) = (node.id, &node.host, node.port);
        writeln!(
            session.out,
            "{host}:{port} (id: {id} rack: {rack} isFenced: {}) -> (",
            node.is_fenced
        )?;
        let known = |key: &&ApiKey| found.contains_key(&key.code());
        let all: Vec<&ApiKey> = ApiKey::ALL.iter().filter(known).collect();
        for (key, at) in all.iter().zip(1..) {
            let Some(range) = found.get(&key.code()) else { continue };
            let (low, high) = (range.lowest, range.highest);
            let range = if low == high { low.to_string() } else { format!("{low} to {high}") };
            let usable = high.min(*key.versions().end());
            let end = if at == all.len() { "" } else { "," };
            writeln!(session.out, "\t{key:?}({}): {range} [usable: {usable}]{end}", key.code())?;
        }
        writeln!(session.out, ")")?;
    }
    Ok(())
}

fn run_random_uuid(_: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    writeln!(session.out, "{}", Clock::real().random_uuid())?;
    Ok(())
}

fn run_zookeeper(_: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    writeln!(
        session.out,
        "ZooKeeper is not needed: Ottla keeps the cluster's metadata itself. Start it with\n  kafka-server-start.sh config/server.properties\nThis waits until it is stopped."
    )?;
    session.out.flush()?;
    session.wait(async {
        let terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        let mut terminated = terminated?;
        tokio::select! {
            biased;
            done = tokio::signal::ctrl_c() => done,
            _ = terminated.recv() => Ok(()),
        }
    })?;
    Ok(())
}

fn no_zookeeper(_: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    writeln!(session.out, "ZooKeeper is not needed, and none was started by Ottla.")?;
    Ok(())
}
