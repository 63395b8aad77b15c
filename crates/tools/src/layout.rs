//! A folder like that of an Apache Kafka distribution: `bin/`, `config/`.

use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The names that the binary itself answers to, beside the tools of this crate.
const OTHERS: [&str; 5] =
    ["kafka-server-start", "kafka-server-stop", "kafka-storage", "kafka-dump-log", "ottla"];

const SERVER_PROPERTIES: &str = "\
# A node by itself: broker and controller. Every setting of Apache Kafka is understood here;
# `ottla server` without a file does the same with its data in ./ottla-data.
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=localhost:9093
advertised.listeners=PLAINTEXT://localhost:9092
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
";

/// Lays `bin/` with a link to `binary` under every name, with and without `.sh`, and `config/`.
/// Files that are there stay, links are laid anew.
///
/// # Errors
/// The folder cannot be written.
pub fn install(folder: &Path, binary: &Path) -> io::Result<usize> {
    let (bin, config) = (folder.join("bin"), folder.join("config"));
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(config.join("kraft"))?;
    let names = crate::all().into_iter().map(|tool| tool.name).chain(OTHERS);
    let mut count = 0;
    for name in names {
        let more = (name != "ottla").then(|| format!("{name}.sh"));
        for name in [Some(name.to_owned()), more].into_iter().flatten() {
            let link = bin.join(name);
            match std::fs::symlink_metadata(&link) {
                Ok(known) if known.is_symlink() => std::fs::remove_file(&link)?,
                Ok(_) => continue,
                Err(_) => {}
            }
            symlink(binary, link)?;
            count += 1;
        }
    }
    for name in ["server.properties", "kraft/server.properties", "broker.properties"] {
        let file = config.join(name);
        if !file.exists() {
            std::fs::write(file, SERVER_PROPERTIES)?;
        }
    }
    let zookeeper = config.join("zookeeper.properties");
    if !zookeeper.exists() {
        std::fs::write(zookeeper, "# There is no ZooKeeper any more; nothing here is read.\n")?;
    }
    Ok(count)
}
