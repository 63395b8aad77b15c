//! A node of our own binary on a free port, in a directory of its own.

use ottla_locks::Mutex;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use tempfile::TempDir;

/// A running node. Dropping it kills it.
pub struct Node {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// A folder for a node's data and the settings it is started with.
pub struct Home {
    /// Removed with the home that made it.
    _folder: Option<TempDir>,
    path: PathBuf,
    overrides: Vec<String>,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { path: folder.path().to_owned(), _folder: Some(folder), overrides: Vec::new() }
    }

    /// The folder of another home, with settings of its own.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), _folder: None, overrides: Vec::new() }
    }

    pub fn with(mut self, setting: &str) -> Self {
        self.overrides.push(setting.to_owned());
        self
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings beside those that every node of a test has.
    pub fn overrides(&self) -> &[String] {
        &self.overrides
    }

    /// The command that starts the node, not yet run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command
            .args(["server", "--format-if-empty"])
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", self.data().display())])
            .args(["--override", "group.initial.rebalance.delay.ms=0"])
            .current_dir(&self.path);
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
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the node starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let log = Arc::<Mutex<String>>::default();
        let keep = |log: &Mutex<String>, line: &str| {
            let mut log = log.lock();
            log.push_str(line);
            log.push('\n');
        };
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("the node did not come up\n{}", log.lock());
            };
            keep(&log, &line);
            if let Some(address) = started(&line) {
                break address;
            }
        };
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| keep(&kept, &line));
        });
        Node { child, address, log, reader: Some(reader) }
    }
}

/// The address of the first listener, if this line of the log says that the node serves.
fn started(line: &str) -> Option<SocketAddr> {
    line.contains("node started").then_some(())?;
    let (_, rest) = line.split_once("listeners")?;
    let (_, rest) = rest.split_once("://")?;
    rest.split([',', ' ', '"']).next()?.parse().ok()
}

impl Node {
    /// What the node has logged up to now.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

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

    /// SIGTERM, and wait until it is gone; the whole log.
    pub fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(told.success());
        let status = self.child.wait().expect("gone");
        assert!(status.success(), "a clean stop exits with 0: {status}");
        self.reader.take().expect("one stop").join().expect("no panic");
        self.log()
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
