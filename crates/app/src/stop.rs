//! `kafka-server-stop`: which nodes run on this machine, and which of them are to stop.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};

use crate::args::{AppCommand, Args, ServerArgs, SettingsArgs};
use crate::by_name::{self, Ours};
use crate::server;

/// A node that runs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    process: i32,
    /// Its id, roles and directories, if its settings can be read.
    known: Option<KnownNode>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownNode {
    node_id: i32,
    roles: BTreeSet<String>,
    directories: Vec<PathBuf>,
}

impl Running {
    fn shown(&self) -> String {
        let Self { process, known } = self;
        match known {
            Some(KnownNode { node_id, directories, .. }) => {
                let dirs: Vec<String> =
                    directories.iter().map(|it| it.display().to_string()).collect();
                format!("node {node_id} (process {process}, data in {})", dirs.join(", "))
            }
            None => format!("a node whose settings cannot be read (process {process})"),
        }
    }
}

/// Which nodes are to stop.
#[derive(Debug, Default, PartialEq, Eq)]
struct NodeFilter {
    node_id: Option<i32>,
    roles: Option<BTreeSet<String>>,
    all: bool,
}

impl NodeFilter {
    /// `--node-id=1` or `--node-id 1`, `--process-role=broker`, `--all`.
    fn read(words: &[String]) -> std::result::Result<Self, String> {
        let mut wanted = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, mut value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            if matches!(name, "--node-id" | "--process-role") && value.is_none() {
                value = words.next().map(String::as_str);
            }
            let value = value.filter(|it| !it.is_empty());
            let missing = || format!("kafka-server-stop: {name} takes a value");
            match name {
                "--node-id" => {
                    let id = value.ok_or_else(missing)?;
                    let wrong = |_| format!("kafka-server-stop: --node-id {id} is not a number");
                    wanted.node_id = Some(id.trim().parse().map_err(wrong)?);
                }
                "--process-role" => {
                    wanted.roles = Some(role_set(value.ok_or_else(missing)?.split(',')))
                }
                "--all" => wanted.all = true,
                other => {
                    return Err(format!(
                        "kafka-server-stop: unknown option {other}; the options are --node-id=ID, --process-role=ROLES and --all"
                    ));
                }
            }
        }
        Ok(wanted)
    }

    /// Those of the nodes that are to stop.
    ///
    /// # Errors
    /// No running node matches, or more than one does without `--all`.
    fn choose(&self, running: Vec<Running>) -> std::result::Result<Vec<Running>, String> {
        if running.is_empty() {
            return Err("No kafka server to stop".to_owned());
        }
        let is_named = self.node_id.is_some() || self.roles.is_some();
        let matches = |node: &Running| match (&node.known, self.node_id, &self.roles) {
            // A node's id counts more than its roles, as in Apache's.
            (Some(known), Some(id), _) => known.node_id == id,
            (Some(known), None, Some(roles)) => known.roles == *roles,
            (None, None, None) | (Some(_), None, None) => true,
            (None, ..) => false,
        };
        let list = |all: &[Running]| {
            all.iter().fold(String::new(), |mut text, node| {
                let _ = write!(text, "\n  {}", node.shown());
                text
            })
        };
        let chosen: Vec<Running> = running.iter().filter(|it| matches(it)).cloned().collect();
        if chosen.is_empty() {
            return Err(format!(
                "No running kafka server matches the options; these run here:{}",
                list(&running)
            ));
        }
        let several = chosen.iter().any(|it| it.known.is_none() || it.known != chosen[0].known);
        if several && chosen.len() > 1 && !is_named && !self.all {
            return Err(format!(
                "{} kafka servers run here; name one with --node-id, or stop them with --all:{}",
                chosen.len(),
                list(&chosen)
            ));
        }
        Ok(chosen)
    }
}

fn role_set<'a>(all: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    all.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// Asks nodes of this machine that run this program to stop, by SIGTERM or the signal that is
/// named; says which.
///
/// # Errors
/// No node runs, several run and none is named, or the system refuses.
pub fn stop_nodes(words: &[String], signal: Option<&str>) -> Result<String> {
    let signal = signal_named(signal.filter(|it| !it.is_empty()).unwrap_or("TERM"))?;
    let wanted = NodeFilter::read(words).map_err(Error::other)?;
    let mut text = String::new();
    for node in wanted.choose(running_nodes()?).map_err(Error::other)? {
        let shown = node.shown();
        let sent = Pid::from_raw(node.process).map_or(Ok(()), |pid| kill_process(pid, signal));
        sent.map_err(|error| Error::other(format!("{shown} cannot be asked to stop: {error}")))?;
        let line = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{line}{shown} asked to stop");
    }
    Ok(text)
}

fn signal_named(signal: &str) -> Result<Signal> {
    Ok(match signal.strip_prefix("SIG").unwrap_or(signal) {
        "TERM" | "15" => Signal::TERM,
        "INT" | "2" => Signal::INT,
        "HUP" | "1" => Signal::HUP,
        "QUIT" | "3" => Signal::QUIT,
        "KILL" | "9" => Signal::KILL,
        other => {
            return Err(Error::other(format!(
                "SIGNAL={other} is not supported: use TERM, INT, HUP, QUIT or KILL"
            )));
        }
    })
}

/// The nodes of this machine that run this program.
fn running_nodes() -> Result<Vec<Running>> {
    let own = std::env::current_exe()?.canonicalize()?;
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let process: Option<i32> = path.file_name().and_then(|it| it.to_str()?.parse().ok());
        let Some(process) = process else { continue };
        // Of another user's process, or of one that has just ended, nothing can be read.
        let Ok(program) = std::fs::read_link(path.join("exe")) else { continue };
        // A program that was replaced while the node ran is still this one.
        let program = program.display().to_string();
        if Path::new(program.trim_end_matches(" (deleted)")) != own {
            continue;
        }
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let words: Vec<String> = line.split_terminator('\0').map(str::to_owned).collect();
        if let Some(server) = node_of(&words) {
            let folder = std::fs::read_link(path.join("cwd")).unwrap_or_default();
            all.push(Running { process, known: known_settings(&server, &folder) });
        }
    }
    all.sort_by_key(|it| it.process);
    Ok(all)
}

/// How a process was started that is a node.
fn node_of(words: &[String]) -> Option<ServerArgs> {
    if words.len() <= 1
        && by_name::own_command(words).is_none()
        && by_name::find_tool(words).is_none()
    {
        return Some(ServerArgs::default());
    }
    let words = match by_name::own_command(words) {
        None if by_name::find_tool(words).is_none() => words.to_vec(),
        Some(Ok(Ours::Now(words))) => words,
        _ => return None,
    };
    match Args::try_parse_from(words).ok()?.command {
        None => Some(ServerArgs::default()),
        Some(AppCommand::Server(server)) => Some(server),
        Some(_) => None,
    }
}

/// What the settings of a node say that was started in a folder.
fn known_settings(server: &ServerArgs, folder: &Path) -> Option<KnownNode> {
    let given = server.all_settings();
    let file = given.file.as_ref().map(|it| folder.join(it));
    // What it took from its environment is not known here.
    let given = SettingsArgs { file, env: false, ..given };
    let settings = server::read_settings(&given).ok()?;
    Some(KnownNode {
        node_id: settings.node_id().ok()?,
        roles: role_set(settings.roles().iter().map(String::as_str)),
        directories: settings.log_dirs().iter().map(|it| folder.join(it)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn node(process: i32, node_id: i32, role: &str, directory: &str) -> Running {
        let known = KnownNode {
            node_id,
            roles: role_set(role.split(',')),
            directories: vec![PathBuf::from(directory)],
        };
        Running { process, known: Some(known) }
    }

    #[test]
    fn what_is_named_is_stopped_and_nothing_else() {
        let all = || {
            vec![
                node(10, 1, "broker,controller", "/a"),
                node(11, 2, "broker,controller", "/b"),
                node(12, 3, "broker", "/c"),
                Running { process: 13, known: None },
            ]
        };
        for (line, right) in [
            ("--node-id=2", Ok(vec![11])),
            ("--node-id 3", Ok(vec![12])),
            ("--node-id=7", Err("No running kafka server matches")),
            ("--process-role=broker", Ok(vec![12])),
            ("--process-role=controller,broker", Ok(vec![10, 11])),
            ("--process-role=controller", Err("No running kafka server matches")),
            ("--node-id=1 --process-role=broker", Ok(vec![10])),
            ("", Err("4 kafka servers run here")),
            ("--all", Ok(vec![10, 11, 12, 13])),
        ] {
            let chosen = NodeFilter::read(&words(line)).unwrap().choose(all());
            match (chosen, right) {
                (Ok(chosen), Ok(right)) => {
                    let chosen: Vec<i32> = chosen.iter().map(|it| it.process).collect();
                    assert_eq!(chosen, right, "{line}");
                }
                (Err(why), Err(right)) => assert!(why.contains(right), "{line}: {why}"),
                (chosen, right) => panic!("{line}: {chosen:?}, {right:?} is due"),
            }
        }
        let none = NodeFilter::default().choose(Vec::new()).unwrap_err();
        assert_eq!(none, "No kafka server to stop");
        let one = NodeFilter::default().choose(vec![Running { process: 13, known: None }]);
        assert_eq!(one.map(|it| it.len()), Ok(1), "the only one needs no name");
        for line in ["--node-id", "--node-id=x", "--process-role=", "--other", "now"] {
            assert!(NodeFilter::read(&words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn a_node_is_told_from_other_commands() {
        for (line, right) in [
            ("/opt/ottla", true),
            ("/opt/ottla server", true),
            ("/opt/ottla server a.properties --override node.id=3", true),
            ("/opt/ottla kafka-server-start a.properties", true),
            ("bin/kafka-server-start.sh a.properties", true),
            ("/opt/ottla kafka-server-stop", false),
            ("/opt/ottla topics list", false),
            ("/opt/ottla kafka-topics --list", false),
            ("kafka-topics.sh", false),
        ] {
            assert_eq!(node_of(&words(line)).is_some(), right, "{line}");
        }
        let server =
            node_of(&words("ottla server --override node.id=3 --override log.dirs=d")).unwrap();
        let known = known_settings(&server, Path::new("/here")).unwrap();
        assert_eq!((known.node_id, known.directories), (3, vec![PathBuf::from("/here/d")]));
    }
}
