//! A node of our own binary on a free port, in a directory of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running node. Dropping it kills it.
pub struct Node {
    child: Child,
    pub address: SocketAddr,
    pub screen: String,
}

/// A folder for a node's data and the settings it is started with.
pub struct Home {
    folder: TempDir,
    overrides: Vec<String>,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, overrides: Vec::new() }
    }

    pub fn with(mut self, setting: &str) -> Self {
        self.overrides.push(setting.to_owned());
        self
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command that starts the node, not yet run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command
            .arg("server")
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", self.data().display())])
            .args(["--override", "group.initial.rebalance.delay.ms=0"])
            .current_dir(self.folder.path());
        for setting in &self.overrides {
            command.args(["--override", setting]);
        }
        command
    }

    pub fn start(&self) -> Node {
        Self::start_with(self.command())
    }

    /// Starts a node by a command of the test's own.
    pub fn start_with(mut command: Command) -> Node {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the node starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut screen = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                let mut log = String::new();
                let _ = child.stderr.take().expect("piped").read_to_string(&mut log);
                panic!("the node did not come up\n{screen}\n{log}");
            };
            screen.push_str(&line);
            screen.push('\n');
            if let Some(address) = line.split_whitespace().find_map(|word| word.parse().ok()) {
                break address;
            }
        };
        // Nobody reads on: the pipes must not fill up and stop the node.
        std::thread::spawn(move || lines.for_each(drop));
        let mut log = child.stderr.take().expect("piped");
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Node { child, address, screen }
    }
}

impl Node {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the node accepts");
        stream.set_nodelay(true).expect("an option");
        stream
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// SIGTERM, and wait until it is gone.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(told.success());
        let status = self.child.wait().expect("gone");
        assert!(status.success(), "a clean stop exits with 0: {status}");
    }

    /// Waits until it is gone.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("gone")
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = std::fs::read_to_string(path).expect("statm");
        let pages: u64 = text.split(' ').nth(1).expect("resident").parse().expect("a number");
        pages * 4096
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
