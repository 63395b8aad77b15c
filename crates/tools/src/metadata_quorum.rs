//! kafka-metadata-quorum: the state of the controllers, and which of them vote.

use ottla_client::{Brokers, QuorumDescription, QuorumReplica, VoterEndpoint};
use ottla_clock::Clock;
use ottla_types::{NodeId, Uuid, join_host_port};

use crate::options::{BOOTSTRAP_CONTROLLER, Opt, Parsed, flag, last};
use crate::session::{ToolError, ToolSession, plain_error, read_properties, tool_failed};
use crate::table::tabbed;
use crate::tool::Tool;

pub const TOOLS: &[&Tool] = &[&Tool {
    name: "kafka-metadata-quorum",
    about: "describe --status or --replication: the state of the controllers; add-controller: make the controller of --command-config a voter; remove-controller: take a voter out.",
    options: OPTIONS,
    run: run_metadata_quorum,
}];

const OPTIONS: &[Opt] = &[
    BOOTSTRAP_CONTROLLER,
    flag("status", "With describe: print a summary of the quorum."),
    flag("replication", "With describe: print each replica of the quorum."),
    flag("human-readable", "With --replication: print times as ages."),
    last("controller-id", "ID", "With remove-controller: the voter (also -i)."),
    last("controller-directory-id", "ID", "With remove-controller: its directory id (also -d)."),
    last("i", "ID", "The short form of --controller-id."),
    last("d", "ID", "The short form of --controller-directory-id."),
    flag("dry-run", "With add-controller or remove-controller: print what would be done."),
];

fn run_metadata_quorum(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    match args.rest.first().map(String::as_str) {
        Some("describe") => describe_quorum(args, session),
        Some("add-controller") => add_controller(args, session),
        Some("remove-controller") => remove_controller(args, session),
        Some(other) => Err(ToolError::Usage(format!(
            "invalid choice: '{other}' (choose from 'describe', 'add-controller', 'remove-controller')"
        ))),
        None => {
            let usage = "too few arguments: describe, add-controller or remove-controller";
            Err(ToolError::Usage(usage.to_owned()))
        }
    }
}

fn describe_quorum(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let (status, replication) = (args.has("status"), args.has("replication"));
    if status == replication {
        let which = if status { "Only one" } else { "One" };
        let are = if status { "should" } else { "must" };
        return Err(tool_failed(format!(
            "{which} of --status or --replication {are} be specified with describe sub-command"
        )));
    }
    if status && args.has("human-readable") {
        return Err(tool_failed(
            "The option --human-readable is only supported along with --replication",
        ));
    }
    let client = session.connect()?;
    let found = session.wait(client.describe_quorum()).map_err(plain_error)?;
    if replication {
        return print_replication(args, session, &found);
    }
    let cluster = session.wait(client.describe_cluster(Brokers::Unfenced)).map_err(plain_error)?;
    let leader = found.voters.iter().find(|it| it.id == found.leader);
    let leader = leader.cloned().unwrap_or_default();
    // The first of those that are equally far behind, as Apache's tool has it.
    let slowest = found.voters.iter().min_by_key(|it| it.log_end).unwrap_or(&leader);
    let lag_ms = match (leader.last_caught_up, slowest.last_caught_up) {
        _ if slowest.id == leader.id => 0,
        (leads, behind) if leads >= 0 && behind >= 0 => leads - behind,
        _ => -1,
    };
    let out = &mut session.out;
    writeln!(out, "ClusterId:              {}", cluster.id)?;
    writeln!(out, "LeaderId:               {}", found.leader)?;
    writeln!(out, "LeaderEpoch:            {}", found.leader_epoch)?;
    writeln!(out, "HighWatermark:          {}", found.high_watermark)?;
    writeln!(out, "MaxFollowerLag:         {}", leader.log_end - slowest.log_end)?;
    writeln!(out, "MaxFollowerLagTimeMs:   {lag_ms}")?;
    writeln!(out, "CurrentVoters:          {}", replica_list(&found.voters))?;
    writeln!(out, "CurrentObservers:       {}", replica_list(&found.observers))?;
    Ok(())
}

fn replica_list(all: &[QuorumReplica]) -> String {
    let one = |replica: &QuorumReplica| {
        let mut parts = vec![format!("\"id\": {}", replica.id)];
        if replica.directory != Uuid::ZERO {
            parts.push(format!("\"directoryId\": \"{}\"", replica.directory));
        }
        let endpoints = replica.endpoints.iter().map(|it| format!("\"{it}\""));
        let endpoints: Vec<String> = endpoints.collect();
        if !endpoints.is_empty() {
            parts.push(format!("\"endpoints\": [{}]", endpoints.join(", ")));
        }
        format!("{{{}}}", parts.join(", "))
    };
    format!("[{}]", all.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn print_replication(
    args: &Parsed,
    session: &mut ToolSession<'_>,
    found: &QuorumDescription,
) -> Result<(), ToolError> {
    let now = Clock::real().wall_ms();
    let head = [
        "NodeId",
        "DirectoryId",
        "LogEndOffset",
        "Lag",
        "LastFetchTimestamp",
        "LastCaughtUpTimestamp",
        "Status",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let all = found.voters.iter().map(|it| (it, "Follower"));
    let mut all: Vec<_> = all.chain(found.observers.iter().map(|it| (it, "Observer"))).collect();
    all.sort_by_key(|(it, _)| it.id != found.leader);
    let end = all.first().map_or(0, |(it, _)| it.log_end);
    for (it, status) in all {
        let status = if it.id == found.leader { "Leader" } else { status };
        let time = |at: i64| match at {
            at if at < 0 => "-1".to_owned(),
            at if args.has("human-readable") => format!("{} ms ago", now - at),
            at => at.to_string(),
        };
        rows.push(vec![
            it.id.to_string(),
            it.directory.to_string(),
            it.log_end.to_string(),
            (end - it.log_end).to_string(),
            time(it.last_fetch),
            time(it.last_caught_up),
            status.to_owned(),
        ]);
    }
    write!(session.out, "{}", tabbed(&rows))?;
    Ok(())
}

/// A controller as its configuration and its metadata directory describe it.
#[derive(Debug, PartialEq, Eq)]
struct ControllerToAdd {
    id: NodeId,
    directory: Uuid,
    endpoints: Vec<VoterEndpoint>,
}

fn add_controller(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    if !args.has("command-config") {
        return Err(tool_failed(
            "You must supply the configuration file of the controller you are adding when using add-controller.",
        ));
    }
    let setting = |name: &str| session.settings.get(name).map(String::as_str);
    let added = ControllerToAdd {
        id: controller_id(setting)?,
        directory: metadata_directory_id(&metadata_directory(setting)?)?,
        endpoints: controller_endpoints(setting)?,
    };
    let is_dry = args.has("dry-run");
    if !is_dry {
        let client = session.connect()?;
        let asked = client.add_raft_voter(added.id, added.directory, &added.endpoints);
        session.wait(asked).map_err(plain_error)?;
    }
    let endpoint = |added: &VoterEndpoint| {
        let VoterEndpoint { name, host, port } = added;
        format!("{name}://{}", join_host_port(host, port))
    };
    let endpoints = added.endpoints.iter().map(endpoint).collect::<Vec<_>>().join(", ");
    let did = if is_dry { "DRY RUN of adding" } else { "Added" };
    let ControllerToAdd { id, directory, .. } = added;
    writeln!(
        session.out,
        "{did} controller {id} with directory id {directory} and endpoints: {endpoints}"
    )?;
    Ok(())
}

fn remove_controller(args: &Parsed, session: &mut ToolSession<'_>) -> Result<(), ToolError> {
    let one_of = |long: &'static str, short: &'static str| {
        let given = if args.has(long) { long } else { short };
        args.required(given)
            .map(|_| given)
            .map_err(|_| ToolError::Usage(format!("argument --{long}/-{short} is required")))
    };
    let id = one_of("controller-id", "i")?;
    let directory = one_of("controller-directory-id", "d")?;
    let id: NodeId = args.required_number(id).map_err(ToolError::Usage)?;
    if id < 0 {
        return Err(tool_failed(format!("Invalid negative --controller-id: {id}")));
    }
    let directory = args.required(directory).map_err(ToolError::Usage)?;
    let directory: Uuid = directory.parse().map_err(|_| {
        tool_failed(format!(
            "Failed to parse --controller-directory-id: {directory} is not a directory id, as describe --status shows them"
        ))
    })?;
    let is_dry = args.has("dry-run");
    if !is_dry {
        let client = session.connect()?;
        session.wait(client.remove_raft_voter(id, directory)).map_err(plain_error)?;
    }
    // Apache's tool prints two blanks.
    let did = if is_dry { "DRY RUN of removing " } else { "Removed " };
    writeln!(session.out, "{did} KRaft controller {id} with directory id {directory}")?;
    Ok(())
}

const QUESTION: &str = "Is this a valid controller configuration file?";

fn controller_id<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<NodeId, ToolError> {
    let id = setting("node.id").ok_or_else(|| {
        tool_failed(format!("node.id not found in configuration file. {QUESTION}"))
    })?;
    let id: NodeId = id.trim().parse().map_err(|_| {
        tool_failed(format!(
            "node.id is {id:?} in configuration file, which is no number. {QUESTION}"
        ))
    })?;
    if id < 0 {
        return Err(tool_failed(format!("node.id was negative in configuration file. {QUESTION}")));
    }
    if !setting("process.roles").is_some_and(|roles| roles.contains("controller")) {
        return Err(tool_failed(format!(
            "process.roles did not contain 'controller' in configuration file. {QUESTION}"
        )));
    }
    Ok(id)
}

fn metadata_directory<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<String, ToolError> {
    let first = |dirs: &'a str| dirs.split(',').next().unwrap_or_default();
    let found = setting("metadata.log.dir").or_else(|| setting("log.dirs").map(first));
    found.map(|dir| dir.trim().to_owned()).ok_or_else(|| {
        tool_failed(format!("Neither metadata.log.dir nor log.dirs were found. {QUESTION}"))
    })
}

fn metadata_directory_id(directory: &str) -> Result<Uuid, ToolError> {
    let file = format!("{directory}/meta.properties");
    let found = read_properties(&file).map_err(|error| {
        tool_failed(format!(
            "Unable to read meta.properties from {directory}: {error}. Is this the machine of the controller, and was its directory formatted (--no-initial-controllers)?"
        ))
    })?;
    let id = found
        .get("directory.id")
        .ok_or_else(|| tool_failed(format!("No directory id found in {directory}")))?;
    id.parse().map_err(|_| tool_failed(format!("{file}: directory.id={id} is not an id")))
}

/// Where the controller says that it listens: each of its listeners' advertised address.
fn controller_endpoints<'a>(
    setting: impl Fn(&str) -> Option<&'a str>,
) -> Result<Vec<VoterEndpoint>, ToolError> {
    let names = setting("controller.listener.names").ok_or_else(|| {
        tool_failed(format!("controller.listener.names was not found. {QUESTION}"))
    })?;
    let mut known = Vec::new();
    // The advertised address of a listener counts more than where it binds.
    for list in ["advertised.listeners", "listeners"] {
        for word in setting(list).unwrap_or_default().split(',').filter(|it| !it.trim().is_empty())
        {
            known.push(parse_endpoint(word.trim()).ok_or_else(|| {
                tool_failed(format!("{list}: {word} is not of the form NAME://HOST:PORT"))
            })?);
        }
    }
    let mut all = Vec::new();
    for name in names.split(',').map(|name| name.trim().to_uppercase()) {
        let found = known.iter().find(|it| it.name == name).cloned().ok_or_else(|| {
            tool_failed(format!("Cannot find information about controller listener name: {name}"))
        })?;
        if matches!(&*found.host, "0.0.0.0" | "::") {
            return Err(tool_failed(format!(
                "listener {name} has the address {}, which other controllers cannot connect to: set advertised.listeners to a host that they reach",
                found.host
            )));
        }
        all.push(found);
    }
    Ok(all)
}

/// `NAME://HOST:PORT`; without a host it is `localhost`, as in Apache's tool.
fn parse_endpoint(word: &str) -> Option<VoterEndpoint> {
    let (name, address) = word.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let host = if host.is_empty() { "localhost" } else { host };
    Some(VoterEndpoint {
        name: name.to_uppercase(),
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_settings(lines: &[(&'static str, &'static str)]) -> Result<Vec<String>, String> {
        let setting = |name: &str| {
            let mut known = lines.iter().filter(|(known, _)| *known == name);
            known.next().map(|(_, value)| *value)
        };
        let read_all = || -> Result<Vec<String>, ToolError> {
            let endpoints = controller_endpoints(setting)?;
            let mut all = vec![controller_id(setting)?.to_string(), metadata_directory(setting)?];
            all.extend(endpoints.iter().map(|it| format!("{} {} {}", it.name, it.host, it.port)));
            Ok(all)
        };
        read_all().map_err(|error| error.to_string())
    }

    #[test]
    fn a_controllers_file_says_its_id_directory_and_listeners() {
        let id = ("node.id", "3");
        let roles = ("process.roles", "broker,controller");
        let names = ("controller.listener.names", "CONTROLLER");
        let dirs = ("log.dirs", "/a,/b");
        let bound = ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093");
        let advertised = ("advertised.listeners", "CONTROLLER://[::1]:9193");
        let all = [id, roles, names, dirs, bound];
        assert_eq!(read_settings(&all).unwrap(), ["3", "/a", "CONTROLLER localhost 9093"]);
        let elsewhere = ("metadata.log.dir", "/m");
        let more = [&all[..], &[advertised, elsewhere]].concat();
        assert_eq!(read_settings(&more).unwrap(), ["3", "/m", "CONTROLLER ::1 9193"]);
        for (lines, wanted) in [
            (&all[1..], "node.id not found"),
            (&[("node.id", "-1"), roles, names, dirs, bound], "node.id was negative"),
            (&[id, ("process.roles", "broker"), names, dirs, bound], "did not contain"),
            (&[id, roles, dirs, bound], "controller.listener.names was not found"),
            (&[id, roles, names, bound], "Neither metadata.log.dir nor log.dirs"),
            (&[id, roles, names, dirs], "Cannot find information about"),
            (
                &[id, roles, names, dirs, ("listeners", "CONTROLLER://0.0.0.0:1")],
                "set advertised.listeners",
            ),
            (&[id, roles, names, dirs, ("listeners", "CONTROLLER")], "not of the form"),
        ] {
            let why = read_settings(lines).unwrap_err();
            assert!(why.contains(wanted), "{why}");
        }
    }
}
