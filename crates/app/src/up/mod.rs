//! `ottla up`: several nodes on this machine, each a process, in one command.

mod layout;
mod process;

use std::error::Error;
use std::fmt::Display;
use std::io::{BufRead, Write};
use std::time::Duration;

use ottla_cli::Stop;
use ottla_clock::Clock;
use tokio::sync::{mpsc, watch};

use self::layout::ClusterLayout;
use self::process::{NodeEnd, NodePhase, NodeProcess};
use crate::args::UpArgs;
use crate::version::VERSION;

/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a clean stop of all nodes may take.
const STOP_TIME: Duration = Duration::from_secs(30);
/// How many lines of the standard input may wait.
const LINES_AHEAD: usize = 16;
/// The node id of no leader.
const NO_LEADER: i32 = -1;

/// A command on the standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeCommand {
    Kill(u16),
    Stop(u16),
    Start(u16),
    Status,
    Quit,
}

impl NodeCommand {
    /// Reads a line; `None` if it is empty.
    fn parse(line: &str) -> Result<Option<Self>, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number =
            |word: &str| word.parse().map_err(|_| format!("{word} is not the number of a node"));
        Ok(Some(match words[..] {
            [] => return Ok(None),
            ["kill", id] => Self::Kill(number(id)?),
            ["stop", id] => Self::Stop(number(id)?),
            ["start", id] => Self::Start(number(id)?),
            ["status"] => Self::Status,
            ["quit" | "exit"] => Self::Quit,
            _ => return Err("the commands are kill ID, stop ID, start ID, status, quit".to_owned()),
        }))
    }
}

/// Runs the nodes until SIGTERM, SIGINT, SIGHUP or `quit`, and stops them.
///
/// # Errors
/// The nodes cannot be formatted or started, or did not stop cleanly.
pub fn run_up(args: &UpArgs) -> Result<(), Box<dyn Error>> {
    let clock = Clock::real();
    let mut layout = ClusterLayout::open(args, &clock)?;
    layout.format(&clock)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the nodes start: a signal in between must not leave them behind.
        let stop = Stop::listen()?;
        let nodes = layout.nodes.iter().map(|place| NodeProcess::of(&layout, place)).collect();
        let mut cluster = RunningCluster { layout, nodes, clock, stop, has_served: false };
        let ran = cluster.run().await;
        let stopped = cluster.stop_all().await;
        ran.and(stopped)
    })
}

/// The nodes and what they are asked.
struct RunningCluster {
    layout: ClusterLayout,
    nodes: Vec<NodeProcess>,
    clock: Clock,
    stop: Stop,
    /// Have all nodes served at the same time?
    has_served: bool,
}

impl RunningCluster {
    async fn run(&mut self) -> Result<(), Box<dyn Error>> {
        self.print_start();
        for node in &mut self.nodes {
            node.start().map_err(|error| format!("node {}: {error}", node.place.id))?;
        }
        let mut lines = read_lines()?;
        let (leader, mut leaders) = watch::channel(NO_LEADER);
        tokio::spawn(ottla_cli::follow_quorum_leader(self.layout.bootstrap_servers(), leader));
        loop {
            tokio::select! {
                biased;
                signal = self.stop.asked() => {
                    print_event(format_args!("{}: stopping all nodes", signal.name()));
                    return Ok(());
                }
                Some(line) = lines.recv() => {
                    if !self.obey_line(&line) {
                        return Ok(());
                    }
                }
                Ok(()) = leaders.changed() => {
                    let leader = *leaders.borrow_and_update();
                    print_event(match leader {
                        NO_LEADER => "the metadata quorum has no leader".to_owned(),
                        id => format!("node {id} leads the metadata quorum"),
                    });
                }
                () = self.clock.sleep(LOOK) => {}
            }
            self.look()?;
        }
    }

    /// Prints what has changed.
    ///
    /// # Errors
    /// A node ended before all of them had served.
    fn look(&mut self) -> Result<(), Box<dyn Error>> {
        let before = self.running();
        for node in &mut self.nodes {
            if let Some(event) = node.look()? {
                print_event(&event);
            }
            if !self.has_served && node.phase == NodePhase::Ended(NodeEnd::Failed) {
                let (id, log) = (node.place.id, node.log().display());
                return Err(format!("node {id} could not start; its log is {log}").into());
            }
        }
        if !self.has_served && self.nodes.iter().all(|it| it.phase == NodePhase::Serving) {
            self.has_served = true;
            let servers = self.layout.bootstrap_servers();
            print_event(format_args!("all nodes serve; bootstrap servers {servers}"));
        }
        let (running, majority) = (self.running(), self.layout.majority());
        if running < majority && majority <= before {
            let count = self.nodes.len();
            print_event(format_args!(
                "{running} of {count} nodes run, and elections need {majority}: no partition gets a new leader, and no topic can be created, until another one is started"
            ));
        }
        Ok(())
    }

    fn running(&self) -> usize {
        self.nodes.iter().filter(|it| it.is_running()).count()
    }

    /// Does what a line says; are the nodes to go on?
    fn obey_line(&mut self, line: &str) -> bool {
        let done = NodeCommand::parse(line).and_then(|command| match command {
            Some(NodeCommand::Kill(id)) => self.end_node(id, NodeEnd::Killed),
            Some(NodeCommand::Stop(id)) => self.end_node(id, NodeEnd::Stopped),
            Some(NodeCommand::Start(id)) => self.start_node(id),
            Some(NodeCommand::Status) => {
                self.nodes.iter().for_each(|node| print_line(node.shown()));
                Ok(true)
            }
            Some(NodeCommand::Quit) => Ok(false),
            None => Ok(true),
        });
        done.unwrap_or_else(|why| {
            print_line(why);
            true
        })
    }

    fn node(&mut self, id: u16) -> Result<&mut NodeProcess, String> {
        let count = self.nodes.len();
        let found = self.nodes.iter_mut().find(|it| it.place.id == id);
        found.ok_or_else(|| format!("there is no node {id}: the nodes are 1 to {count}"))
    }

    fn end_node(&mut self, id: u16, end: NodeEnd) -> Result<bool, String> {
        let node = self.node(id)?;
        if !node.is_running() {
            return Err(format!("node {id} does not run; `start {id}` starts it"));
        }
        node.end_by(end).map_err(|error| format!("node {id}: {error}"))?;
        Ok(true)
    }

    fn start_node(&mut self, id: u16) -> Result<bool, String> {
        let node = self.node(id)?;
        if node.is_running() {
            return Err(format!("node {id} runs already (process {})", node.process_id()));
        }
        node.start().map_err(|error| format!("node {id}: {error}"))?;
        print_event(format_args!("node {id} starts (process {})", node.process_id()));
        Ok(true)
    }

    /// Stops all nodes at once, by SIGKILL those that take too long; a second signal does that at
    /// once.
    ///
    /// # Errors
    /// A node had to be killed.
    async fn stop_all(&mut self) -> Result<(), Box<dyn Error>> {
        self.end_running(NodeEnd::Stopped)?;
        let deadline = self.clock.monotonic() + STOP_TIME;
        let mut late: Vec<u16> = Vec::new();
        while self.running() > 0 {
            let is_over = tokio::select! {
                biased;
                _ = self.stop.asked() => true,
                () = self.clock.sleep(LOOK) => self.clock.monotonic() >= deadline,
            };
            if is_over && late.is_empty() {
                late = self.end_running(NodeEnd::Killed)?;
            }
            for node in &mut self.nodes {
                node.look()?;
            }
        }
        match late.is_empty() {
            true => {
                print_event(format_args!(
                    "all nodes have stopped; their data is in {}",
                    self.layout.folder.display()
                ));
                Ok(())
            }
            false => {
                let ids: Vec<String> = late.iter().map(u16::to_string).collect();
                Err(format!("killed before they had stopped: node {}", ids.join(", ")).into())
            }
        }
    }

    /// Stops or kills those that run; which.
    fn end_running(&mut self, end: NodeEnd) -> std::io::Result<Vec<u16>> {
        let mut ids = Vec::new();
        for node in self.nodes.iter_mut().filter(|it| it.is_running()) {
            node.end_by(end)?;
            ids.push(node.place.id);
        }
        Ok(ids)
    }

    /// What a newcomer wants to know first.
    fn print_start(&self) {
        let layout = &self.layout;
        let count = layout.nodes.len();
        let first = layout.nodes[0].broker_port;
        let server = match first {
            9092 => String::new(),
            port => format!(" -b 127.0.0.1:{port}"),
        };
        let new = if layout.is_new { " (new)" } else { "" };
        print_line(format_args!("Ottla {VERSION}: {count} nodes, each broker and controller\n"));
        print_line(format_args!("  bootstrap servers  {}", layout.bootstrap_servers()));
        print_line(format_args!("  data and logs      {}{new}", layout.folder.display()));
        print_line("\nTry, in another terminal:");
        print_line(format_args!("  ottla demo trucks{server}"));
        print_line(format_args!("  ottla topics create orders --partitions 3{server}"));
        print_line(format_args!("  ottla cluster{server} --watch"));
        print_line(
            "\nType here: kill 2 (as kill -9), stop 2, start 2, status, quit. Ctrl-C stops all.",
        );
        if count > 1 {
            print_line(self.survival());
        }
        print_line("");
    }

    /// What the loss of nodes means.
    fn survival(&self) -> String {
        let (count, majority) = (self.layout.nodes.len(), self.layout.majority());
        let (factor, min) = (self.layout.replication_factor(), self.layout.min_in_sync());
        let survives = match count - majority {
            0 => "The loss of one node".to_owned(),
            1 => "One node may be lost; the loss of a second one".to_owned(),
            lost => format!("{lost} nodes may be lost; the loss of another one"),
        };
        format!(
            "Topics have {factor} replicas, of which {min} must have a record that is written with acks=all.\n{survives} stops elections: each node is a controller, too, and {majority} of {count} must run."
        )
    }
}

/// The lines of the standard input, read by a thread of their own.
fn read_lines() -> std::io::Result<mpsc::Receiver<String>> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    let read = move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        for line in lines {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("lines".to_owned()).spawn(read)?;
    Ok(lines)
}

/// Prints something that has happened, with its time of day in UTC.
fn print_event(text: impl Display) {
    let seconds = Clock::real().wall_ms() / 1000 % 86_400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    print_line(format_args!("{hours:02}:{minutes:02}:{:02}  {text}", seconds % 60));
}

/// Prints a line. The nodes go on, whether or not the screen can show it.
fn print_line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_says_what_is_wrong() {
        for (line, right) in [
            ("kill 2", Ok(Some(NodeCommand::Kill(2)))),
            ("  stop   1 ", Ok(Some(NodeCommand::Stop(1)))),
            ("start 3", Ok(Some(NodeCommand::Start(3)))),
            ("status", Ok(Some(NodeCommand::Status))),
            ("exit", Ok(Some(NodeCommand::Quit))),
            ("", Ok(None)),
            ("kill", Err("the commands are")),
            ("kill two", Err("two is not the number of a node")),
            ("kill -9 2", Err("the commands are")),
        ] {
            match (NodeCommand::parse(line), right) {
                (Ok(found), Ok(right)) => assert_eq!(found, right, "{line}"),
                (Err(found), Err(right)) => assert!(found.contains(right), "{line}: {found}"),
                (found, right) => panic!("{line}: {found:?}, {right:?} is due"),
            }
        }
    }
}
