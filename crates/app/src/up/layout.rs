//! Where the nodes of `ottla up` have their data, settings and ports, and how they are formatted.
//!
//! The folder keeps it all: ports, cluster id and directory ids are chosen once, because the
//! metadata quorum knows its voters by them.

use std::error::Error;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use ottla_broker::{Broker, ChosenVoters, FormatRequest, FormattedDirs, ReleaseChoice};
use ottla_clock::Clock;

use crate::args::{SettingsArgs, UpArgs};
use crate::server;

/// The port of the first broker, unless another is asked for or it is taken.
const FIRST_PORT: u16 = 9092;
/// The file of the folder that says what was chosen.
const CHOSEN: &str = "up.properties";

/// A cluster whose nodes run on this machine.
#[derive(Debug)]
pub struct ClusterLayout {
    /// The folder, from the root.
    pub folder: PathBuf,
    /// Was it made by this start?
    pub is_new: bool,
    /// Its nodes, by their ids from 1 on.
    pub nodes: Vec<NodeLayout>,
    cluster_id: String,
    /// Has every node been formatted once?
    is_formatted: bool,
}

/// Where one of the nodes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLayout {
    /// `node.id`
    pub id: u16,
    /// Where clients reach its broker.
    pub broker_port: u16,
    controller_port: u16,
    directory_id: String,
}

impl ClusterLayout {
    /// What the folder says; a new one is made as the options ask.
    ///
    /// # Errors
    /// The folder is of other nodes than are asked for, the ports are taken, or the disk fails.
    pub fn open(args: &UpArgs, clock: &Clock) -> Result<Self, Box<dyn Error>> {
        let given = args.data.clone();
        let given = given.unwrap_or_else(|| PathBuf::from(format!("./ottla-up-{}", args.nodes)));
        let folder = std::path::absolute(&given)?;
        let at = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(&folder).map_err(at)?;
        let file = folder.join(CHOSEN);
        if file.try_exists().map_err(at)? {
            let text = std::fs::read_to_string(&file).map_err(at)?;
            let layout = Self::parse(&text, folder)
                .map_err(|why| format!("{}: {why}; remove the folder", file.display()))?;
            layout.check_asked(args)?;
            return Ok(layout);
        }
        let ports = choose_ports(args)?;
        let count = usize::from(args.nodes);
        let node = |(id, at): (u16, usize)| NodeLayout {
            id,
            broker_port: ports[at],
            controller_port: ports[count + at],
            directory_id: clock.random_uuid().to_string(),
        };
        let nodes = (1..).zip(0..count).map(node).collect();
        let cluster_id = clock.random_uuid().to_string();
        let layout = Self { folder, is_new: true, nodes, cluster_id, is_formatted: false };
        layout.save()?;
        Ok(layout)
    }

    fn parse(text: &str, folder: PathBuf) -> Result<Self, String> {
        let mut layout = Self {
            folder,
            is_new: false,
            nodes: Vec::new(),
            cluster_id: String::new(),
            is_formatted: false,
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let wrong = || format!("line {line:?} cannot be read");
            let (name, value) = line.split_once('=').ok_or_else(wrong)?;
            match name {
                "cluster.id" => value.clone_into(&mut layout.cluster_id),
                "formatted" => layout.is_formatted = value == "true",
                _ => {
                    let id = name.strip_prefix("node.").and_then(|id| id.parse().ok());
                    let mut parts = value.splitn(3, ',');
                    let mut next = || parts.next();
                    let node = id.and_then(|id| {
                        Some(NodeLayout {
                            id,
                            broker_port: next()?.parse().ok()?,
                            controller_port: next()?.parse().ok()?,
                            directory_id: next()?.to_owned(),
                        })
                    });
                    layout.nodes.push(node.ok_or_else(wrong)?);
                }
            }
        }
        match layout.nodes.is_empty() || layout.cluster_id.is_empty() {
            true => Err("it names no nodes or no cluster".to_owned()),
            false => Ok(layout),
        }
    }

    /// Is the folder that of the nodes that are asked for?
    fn check_asked(&self, args: &UpArgs) -> Result<(), String> {
        let (there, asked) = (self.nodes.len(), usize::from(args.nodes));
        let folder = self.folder.display();
        let other = "name another folder with --data DIR, or remove this one with its data";
        if there != asked {
            return Err(format!(
                "{folder} has a cluster of {there} nodes, not of {asked}; {other}"
            ));
        }
        let port = self.nodes[0].broker_port;
        match args.port {
            Some(asked) if asked != 0 && asked != port => Err(format!(
                "the cluster in {folder} was made with port {port}, not with {asked}, and its controllers know each other by their ports: leave out --port; {other}"
            )),
            _ => Ok(()),
        }
    }

    fn save(&self) -> std::io::Result<()> {
        let mut text = "# What `ottla up` has chosen; settings are in node-ID.properties.\n\
             # node.ID=broker port,controller port,directory id\n"
            .to_owned();
        let _ = writeln!(text, "cluster.id={}", self.cluster_id);
        for NodeLayout { id, broker_port, controller_port, directory_id } in &self.nodes {
            let _ = writeln!(text, "node.{id}={broker_port},{controller_port},{directory_id}");
        }
        let _ = writeln!(text, "formatted={}", self.is_formatted);
        // The file is whole or the old one: half of it would take the cluster's ids along.
        let aside = self.folder.join("up.properties.new");
        std::fs::write(&aside, text)?;
        std::fs::rename(&aside, self.folder.join(CHOSEN))
    }

    /// Writes the settings that are not there, and formats the directories that are empty.
    ///
    /// # Errors
    /// A directory belongs to another cluster, settings cannot be, or the disk fails.
    pub fn format(&mut self, clock: &Clock) -> Result<(), Box<dyn Error>> {
        for node in &self.nodes {
            let file = self.settings_file(node.id);
            if !file.try_exists()? {
                std::fs::write(&file, self.settings_text(node))?;
            }
            let given = SettingsArgs { file: Some(file), ..SettingsArgs::default() };
            let settings = server::read_settings(&given)?;
            // A node whose directory is gone had a vote, and may have given it: its new directory
            // is another replica, which follows the quorum.
            let voters = match self.is_formatted {
                true => ChosenVoters::NoneYet,
                false => ChosenVoters::Initial(self.initial_controllers()),
            };
            let request = FormatRequest {
                cluster_id: Some(self.cluster_id.clone()),
                formatted: FormattedDirs::Keep,
                voters,
                features: Vec::new(),
                release: ReleaseChoice::default(),
                credentials: Vec::new(),
            };
            Broker::format(&settings, request, clock)
                .map_err(|error| format!("node {}: {error}", node.id))?;
        }
        self.is_formatted = true;
        Ok(self.save()?)
    }

    /// Where the settings of a node are.
    pub fn settings_file(&self, id: u16) -> PathBuf {
        self.file_of(id, "properties")
    }

    /// A file of a node beside its directory.
    pub fn file_of(&self, id: u16, extension: &str) -> PathBuf {
        self.folder.join(format!("node-{id}.{extension}"))
    }

    /// `host:port`, separated by commas.
    pub fn bootstrap_servers(&self) -> String {
        let all: Vec<String> =
            self.nodes.iter().map(|it| format!("127.0.0.1:{}", it.broker_port)).collect();
        all.join(",")
    }

    /// How many of the nodes are a majority.
    pub const fn majority(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    /// How many replicas a partition has.
    pub fn replication_factor(&self) -> usize {
        self.nodes.len().min(3)
    }

    /// How many of them have a record when it is acknowledged.
    pub fn min_in_sync(&self) -> usize {
        if self.nodes.len() < 3 { 1 } else { 2 }
    }

    fn initial_controllers(&self) -> String {
        let voter = |node: &NodeLayout| {
            let NodeLayout { id, controller_port, directory_id, .. } = node;
            format!("{id}@127.0.0.1:{controller_port}:{directory_id}")
        };
        self.nodes.iter().map(voter).collect::<Vec<_>>().join(",")
    }

    fn settings_text(&self, node: &NodeLayout) -> String {
        let NodeLayout { id, broker_port, controller_port, .. } = node;
        let controllers: Vec<String> =
            self.nodes.iter().map(|it| format!("127.0.0.1:{}", it.controller_port)).collect();
        let (factor, min) = (self.replication_factor(), self.min_in_sync());
        let directory = self.folder.join(format!("node-{id}"));
        let controller = format!("CONTROLLER://127.0.0.1:{controller_port}");
        format!(
            "# Made by `ottla up`, which leaves changes as they are.\n\
             process.roles=broker,controller\n\
             node.id={id}\n\
             log.dirs={directory}\n\
             listeners=PLAINTEXT://127.0.0.1:{broker_port},{controller}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers={controllers}\n\
             default.replication.factor={factor}\n\
             min.insync.replicas={min}\n\
             offsets.topic.replication.factor={factor}\n\
             transaction.state.log.replication.factor={factor}\n\
             transaction.state.log.min.isr={min}\n\
             group.initial.rebalance.delay.ms=0\n",
            directory = directory.display().to_string().replace('\\', "\\\\"),
            controllers = controllers.join(","),
        )
    }
}

/// The ports of the brokers, and then of the controllers.
///
/// # Errors
/// One that was asked for is taken.
fn choose_ports(args: &UpArgs) -> Result<Vec<u16>, String> {
    let count = args.nodes * 2;
    match args.port {
        Some(0) => free_ports(count),
        Some(first) => ports_from(first, count),
        None => ports_from(FIRST_PORT, count).or_else(|_| free_ports(count)),
    }
}

/// Ports in a row, if all of them are free.
fn ports_from(first: u16, count: u16) -> Result<Vec<u16>, String> {
    let last = first.checked_add(count - 1).ok_or_else(|| {
        format!("--port {first}: {count} ports in a row are needed, and there are none above 65535")
    })?;
    for port in first..=last {
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
            format!("--port {first}: ports {first} to {last} are needed, and {port} cannot be used: {error}")
        })?;
    }
    Ok((first..=last).collect())
}

/// Ports that the system chooses.
fn free_ports(count: u16) -> Result<Vec<u16>, String> {
    let wrong = |error: std::io::Error| format!("no free port on 127.0.0.1: {error}");
    // Held together until all are known, so that no two are the same.
    let held: Result<Vec<TcpListener>, _> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    let held = held.map_err(wrong)?;
    held.iter().map(|it| it.local_addr().map(|at| at.port()).map_err(wrong)).collect()
}

/// The last lines of a log, for an error.
pub fn last_lines(file: &Path, count: usize) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..].iter().map(|line| format!("\n    {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(nodes: u16, port: Option<u16>, folder: &Path) -> UpArgs {
        UpArgs { nodes, data: Some(folder.to_owned()), port }
    }

    #[test]
    fn a_folder_keeps_its_ports_and_ids() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::real();
        let mut made = ClusterLayout::open(&asked(3, Some(0), folder.path()), &clock).unwrap();
        made.format(&clock).unwrap();
        assert!(made.is_new && folder.path().join("node-3/meta.properties").exists());
        let mut again = ClusterLayout::open(&asked(3, None, folder.path()), &clock).unwrap();
        assert_eq!((&again.nodes, &again.cluster_id), (&made.nodes, &made.cluster_id));
        assert!(!again.is_new && again.is_formatted);
        again.format(&clock).unwrap();
        for (nodes, port, why) in [(5, None, "of 3 nodes, not of 5"), (3, Some(1), "not with 1")] {
            let refused = ClusterLayout::open(&asked(nodes, port, folder.path()), &clock);
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
        std::fs::write(folder.path().join(CHOSEN), "node.1=x\n").unwrap();
        let refused = ClusterLayout::open(&asked(3, None, folder.path()), &clock);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("line \"node.1=x\" cannot be read"), "{refused}");
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let refused = ClusterLayout::open(&asked(1, Some(port), folder.path()), &Clock::real());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(&format!("{port} cannot be used")), "{refused}");
        assert!(ports_from(65_533, 6).unwrap_err().contains("above 65535"));
    }

    #[test]
    fn a_record_is_on_two_nodes_where_there_are_three() {
        let folder = tempfile::tempdir().unwrap();
        for (count, factor, min, majority) in
            [(1, 1, 1, 1), (2, 2, 1, 2), (3, 3, 2, 2), (5, 3, 2, 3)]
        {
            let folder = folder.path().join(count.to_string());
            let made =
                ClusterLayout::open(&asked(count, Some(0), &folder), &Clock::real()).unwrap();
            let found = (made.replication_factor(), made.min_in_sync(), made.majority());
            assert_eq!(found, (factor, min, majority), "{count} nodes");
            let text = made.settings_text(&made.nodes[0]);
            assert!(text.contains(&format!("\nmin.insync.replicas={min}\n")), "{text}");
        }
    }
}
