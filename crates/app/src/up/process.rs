//! A node of `ottla up` as a process of its own.

use std::error::Error;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::layout::{ClusterLayout, NodeLayout, last_lines};

/// How many lines of its log are printed of a node that ended by itself.
const LOG_LINES: usize = 3;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodePhase {
    /// It was started, and does not serve yet.
    Starting,
    /// It serves clients.
    Serving,
    /// It was asked to stop, or killed, and has not ended yet.
    Ending(NodeEnd),
    /// There is no process.
    Ended(NodeEnd),
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEnd {
    /// It was asked to stop.
    Stopped,
    /// By SIGKILL.
    Killed,
    /// By itself, or by a signal of another process.
    Failed,
}

/// A node and its process.
#[derive(Debug)]
pub struct NodeProcess {
    /// Where it is.
    pub place: NodeLayout,
    /// What it does.
    pub phase: NodePhase,
    child: Option<Child>,
    settings: PathBuf,
    log: PathBuf,
    /// There while it serves.
    ready: PathBuf,
}

impl NodeProcess {
    /// The node, not started.
    pub fn of(layout: &ClusterLayout, place: &NodeLayout) -> Self {
        let file = |extension| layout.file_of(place.id, extension);
        Self {
            place: place.clone(),
            phase: NodePhase::Ended(NodeEnd::Stopped),
            child: None,
            settings: layout.settings_file(place.id),
            log: file("log"),
            ready: file("ready"),
        }
    }

    /// The id of its process; 0 if there is none.
    pub fn process_id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Is there a process?
    pub const fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(&mut self) -> Result<(), Box<dyn Error>> {
        // Of a node that was killed; it would seem to serve.
        match std::fs::remove_file(&self.ready) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("server").arg(&self.settings).arg("--ready-file").arg(&self.ready);
        // Meant for this process, if at all.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // A group of its own: Ctrl-C is for `ottla up`, which stops the nodes in its turn.
        self.child = Some(command.process_group(0).spawn()?);
        self.phase = NodePhase::Starting;
        Ok(())
    }

    /// Asks it to stop, or kills it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn end_by(&mut self, end: NodeEnd) -> std::io::Result<()> {
        let signal = if end == NodeEnd::Killed { Signal::KILL } else { Signal::TERM };
        let pid = i32::try_from(self.process_id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, signal)?;
            self.phase = NodePhase::Ending(end);
        }
        Ok(())
    }

    /// Looks what it does; a sentence if that has changed.
    ///
    /// # Errors
    /// The system does not say.
    pub fn look(&mut self) -> std::io::Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let process = child.id();
        if let Some(status) = child.try_wait()? {
            self.child = None;
            return Ok(Some(self.ended(process, status)));
        }
        if self.phase == NodePhase::Starting && self.ready.try_exists()? {
            self.phase = NodePhase::Serving;
            let NodeLayout { id, broker_port, .. } = self.place;
            return Ok(Some(format!(
                "node {id} serves on 127.0.0.1:{broker_port} (process {process})"
            )));
        }
        Ok(None)
    }

    fn ended(&mut self, process: u32, status: ExitStatus) -> String {
        let id = self.place.id;
        let end = match (self.phase, status.signal()) {
            (NodePhase::Ending(NodeEnd::Stopped), None) if status.success() => NodeEnd::Stopped,
            (_, Some(signal)) if signal == Signal::KILL.as_raw() => NodeEnd::Killed,
            // SIGTERM of another process.
            (NodePhase::Serving, None) if status.success() => NodeEnd::Stopped,
            _ => NodeEnd::Failed,
        };
        self.phase = NodePhase::Ended(end);
        let again = format!("`start {id}` starts it again");
        match end {
            NodeEnd::Stopped => format!("node {id} stopped cleanly; {again}"),
            NodeEnd::Killed => {
                format!("node {id} was killed (process {process}, SIGKILL); {again}")
            }
            NodeEnd::Failed => format!(
                "node {id} ended by itself ({status}); {again}; its log is {}{}",
                self.log.display(),
                last_lines(&self.log, LOG_LINES)
            ),
        }
    }

    /// What it does, for a list.
    pub fn shown(&self) -> String {
        let NodeLayout { id, broker_port, .. } = self.place;
        let what = match self.phase {
            NodePhase::Starting => "starting",
            NodePhase::Serving => "serving",
            NodePhase::Ending(_) => "stopping",
            NodePhase::Ended(NodeEnd::Stopped) => "stopped",
            NodePhase::Ended(NodeEnd::Killed) => "killed",
            NodePhase::Ended(NodeEnd::Failed) => "failed",
        };
        let process = match self.process_id() {
            0 => String::new(),
            process => format!("  process {process}"),
        };
        format!("  node {id}  127.0.0.1:{broker_port}  {what}{process}")
    }

    /// Where it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }
}
