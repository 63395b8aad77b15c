//! Where does a node's time go?

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ottla_xtask::tree;

type ProfileResult<T = ()> = Result<T, Box<dyn Error>>;

/// A load: its name, what it is, on how many partitions, and the words of `ottla-load`.
struct ProfileLoad(&'static str, &'static str, u8, &'static str);

/// More requests than any load gets to in a minute.
const ENDLESS: &str = "10000000";

const LOADS: [ProfileLoad; 7] = [
    ProfileLoad("produce-16k", "16 KB batches, 1 connection", 1, "produce --records 160"),
    ProfileLoad("produce-64k", "64 KB batches, 1 connection", 1, "produce --records 640"),
    ProfileLoad(
        "produce-1m",
        "1 MB batches, 2 connections",
        2,
        "produce --connections 2 --records 1000 --record-bytes 1000",
    ),
    ProfileLoad("small", "one record a request, 4 connections", 4, "produce --connections 4"),
    ProfileLoad("ack", "one record after the other", 1, "produce --depth 1"),
    ProfileLoad("tail", "a record at a time, read along", 1, "tail --rate 500"),
    ProfileLoad("fetch", "what is in the cache, 1 MB at a time", 1, "fetch --seconds 3600"),
];

/// What records where the time goes: its program, and what it is called with.
enum Recorder {
    Perf,
    Samply,
    Callgrind,
}

/// The loads, a line each.
pub fn list_loads() -> String {
    let mut all = "Loads:\n".to_owned();
    for ProfileLoad(name, what, ..) in LOADS {
        // Writing to a text does not fail.
        let _ = writeln!(all, "  {name:<13} {what}");
    }
    all
}

/// Loads a node for some seconds, and shows where its time went.
pub fn run_profile(name: &str, seconds: &str) -> ProfileResult {
    let load = LOADS.iter().find(|it| it.0 == name);
    let load = load.ok_or_else(|| format!("there is no load {name}\n{}", list_loads()))?;
    seconds.parse::<u32>().map_err(|_| format!("{seconds} is no number of seconds"))?;
    let recorder = find_recorder()?;
    let built = Command::new("cargo")
        .args(["build", "--release", "--locked", "-p", "ottla-app", "-p", "ottla-load"])
        .current_dir(tree::tree_root())
        .status()?;
    if !built.success() {
        return Err("the build failed".into());
    }
    let target = tree::tree_root().join("target");
    let (bin, out) = (target.join("release"), target.join("profile"));
    let data = out.join("data");
    // What the last run has left.
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&out)?;
    let mut node = start_node(&recorder, &bin, &out)?;
    let done = load_while_recorded(load, seconds, &recorder, &node, &bin);
    // It may be gone already; either way no process is left.
    let _ = stop_node(node.0.id());
    let _ = node.0.wait();
    fs::remove_dir_all(&data)?;
    done?;
    show_profile(&recorder, &out)
}

fn is_installed(program: &str) -> bool {
    let told = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    told.is_ok_and(|it| it.success())
}

fn find_recorder() -> ProfileResult<Recorder> {
    match ["perf", "samply", "valgrind"].map(is_installed) {
        [true, ..] => Ok(Recorder::Perf),
        [_, true, _] => Ok(Recorder::Samply),
        [.., true] => Ok(Recorder::Callgrind),
        _ => Err("neither perf nor samply nor valgrind is installed".into()),
    }
}

/// A node, and where it listens.
struct ProfiledNode(Child, String);

fn start_node(recorder: &Recorder, bin: &Path, out: &Path) -> ProfileResult<ProfiledNode> {
    let server = bin.join("ottla");
    let mut command = match recorder {
        // This one cannot be attached to a process that runs.
        Recorder::Callgrind => {
            let mut command = Command::new("valgrind");
            let kept = out.join("callgrind.out");
            command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", kept.display()));
            command.arg(server);
            command
        }
        Recorder::Perf | Recorder::Samply => Command::new(server),
    };
    let dirs = format!("log.dirs={}", out.join("data").display());
    command.args(["server", "--format-if-empty"]);
    command.args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"]);
    command.args(["--override", &dirs]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
    while let Some(line) = lines.next().transpose()? {
        let address = line.split_once("listeners=PLAINTEXT://").map(|(_, rest)| rest);
        if let Some(address) = address.and_then(|rest| rest.split([' ', ',']).next()) {
            let address = address.to_owned();
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(ProfiledNode(child, address));
        }
    }
    Err("the node did not start".into())
}

fn stop_node(process: u32) -> ProfileResult {
    Command::new("kill").args(["-TERM", &process.to_string()]).status()?;
    Ok(())
}

/// Loads the node as long as it is recorded.
fn load_while_recorded(
    load: &ProfileLoad,
    seconds: &str,
    recorder: &Recorder,
    node: &ProfiledNode,
    bin: &Path,
) -> ProfileResult {
    let ProfileLoad(_, _, partitions, words) = load;
    let ProfiledNode(child, address) = node;
    let partitions = partitions.to_string();
    let made = Command::new(bin.join("ottla"))
        .args(["topics", "create", "load", "--partitions", &partitions, "-b", address])
        .stdout(Stdio::null())
        .status()?;
    if !made.success() {
        return Err("the topic was not created".into());
    }
    let port = address.rsplit(':').next().unwrap_or_default();
    let driver = |words: &str| {
        let mut command = Command::new(bin.join("ottla-load"));
        command.args(words.split(' ')).args(["--port", port, "--topic", "load"]);
        command.stdout(Stdio::null());
        command
    };
    if words.starts_with("fetch") {
        driver("produce --records 1000 --record-bytes 1000 --count 100").status()?;
    }
    let mut driver = driver(words);
    if !words.starts_with("fetch") {
        driver.args(["--count", ENDLESS]);
    }
    let mut driver = driver.spawn()?;
    let process = child.id().to_string();
    let recorded = match recorder {
        Recorder::Perf => Command::new("perf")
            .args(["record", "--quiet", "-g", "-F", "999", "-o", &profile_path("perf.data")])
            .args(["-p", &process, "--", "sleep", seconds])
            .status(),
        Recorder::Samply => Command::new("samply")
            .args(["record", "--save-only", "-o", &profile_path("samply.json"), "-p", &process])
            .args(["--duration", seconds])
            .status(),
        Recorder::Callgrind => Command::new("sleep").arg(seconds).status(),
    };
    driver.kill()?;
    driver.wait()?;
    if recorded?.success() { Ok(()) } else { Err("nothing could be recorded".into()) }
}

fn profile_path(name: &str) -> String {
    let path: PathBuf = tree::tree_root().join("target/profile").join(name);
    path.display().to_string()
}

/// The functions that take most.
fn show_profile(recorder: &Recorder, out: &Path) -> ProfileResult {
    let mut command = match recorder {
        Recorder::Perf => {
            let mut command = Command::new("perf");
            command.args(["report", "--stdio", "--no-children", "-g", "none"]);
            command.args(["--percent-limit", "0.8", "-i", &profile_path("perf.data")]);
            command
        }
        Recorder::Samply => {
            println!("samply load {}", profile_path("samply.json"));
            return Ok(());
        }
        Recorder::Callgrind => {
            let mut command = Command::new("callgrind_annotate");
            command.args(["--threshold=80", &profile_path("callgrind.out")]);
            command
        }
    };
    let told = command.stderr(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&told.stdout);
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        println!("{line}");
    }
    println!("\n{} has all of it.", out.canonicalize()?.display());
    Ok(())
}
