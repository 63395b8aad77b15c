//! A folder like that of an Apache Kafka distribution: `bin/`, `config/`.

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The names that the binary itself answers to, beside the tools of this crate.
const OTHERS: [&str; 5] = [
    "kafka-server-start",
    "kafka-server-stop",
    "kafka-storage",
    "kafka-dump-log",
    "kafka-run-class",
];

/// Apache's commands that are not built here, and why, or what there is instead.
const NOT_BUILT: [(&str, &str); 18] = [
    ("kafka-share-groups", SHARE),
    ("kafka-console-share-consumer", SHARE),
    ("kafka-share-consumer-perf-test", SHARE),
    ("kafka-verifiable-share-consumer", SHARE),
    ("kafka-streams-groups", "groups of Kafka Streams (KIP-1071) are not served"),
    (
        "kafka-streams-application-reset",
        "kafka-consumer-groups --reset-offsets and kafka-topics --delete do the parts of it",
    ),
    ("kafka-metadata-shell", "ottla dump shows the metadata log and its snapshots"),
    ("kafka-replica-verification", "one node has no replicas to compare"),
    ("kafka-jmx", "there is no JVM, so there is no JMX"),
    ("connect-distributed", CONNECT),
    ("connect-standalone", CONNECT),
    ("connect-mirror-maker", CONNECT),
    ("connect-plugin-path", CONNECT),
    ("trogdor", "Apache's Trogdor works against an Ottla node; ottla bench measures one"),
    ("zookeeper-shell", "Kafka needs no ZooKeeper since 4.0"),
    ("zookeeper-security-migration", "Kafka needs no ZooKeeper since 4.0"),
    ("kafka-mirror-maker", "it was removed in Kafka 4.0; Apache's Connect has MirrorMaker 2"),
    ("kafka-preferred-replica-election", "kafka-leader-election does that since Kafka 2.4"),
];
const SHARE: &str = "share groups (KIP-932) are not served";
const CONNECT: &str = "Apache's Kafka Connect works against an Ottla node";

/// The files of `config/`.
const FILES: &[(&str, &str)] = &[
    ("broker.properties", include_str!("../config/broker.properties")),
    ("connect-console-sink.properties", include_str!("../config/connect-console-sink.properties")),
    (
        "connect-console-source.properties",
        include_str!("../config/connect-console-source.properties"),
    ),
    ("connect-distributed.properties", include_str!("../config/connect-distributed.properties")),
    ("connect-file-sink.properties", include_str!("../config/connect-file-sink.properties")),
    ("connect-file-source.properties", include_str!("../config/connect-file-source.properties")),
    ("connect-log4j2.yaml", include_str!("../config/connect-log4j2.yaml")),
    ("connect-mirror-maker.properties", include_str!("../config/connect-mirror-maker.properties")),
    ("connect-standalone.properties", include_str!("../config/connect-standalone.properties")),
    ("consumer.properties", include_str!("../config/consumer.properties")),
    ("controller.properties", include_str!("../config/controller.properties")),
    ("log4j2.yaml", include_str!("../config/log4j2.yaml")),
    ("producer.properties", include_str!("../config/producer.properties")),
    ("server.properties", include_str!("../config/server.properties")),
    ("tools-log4j2.yaml", include_str!("../config/tools-log4j2.yaml")),
    ("trogdor.conf", include_str!("../config/trogdor.conf")),
    ("zookeeper.properties", include_str!("../config/zookeeper.properties")),
    ("kraft/broker.properties", include_str!("../config/broker.properties")),
    ("kraft/controller.properties", include_str!("../config/controller.properties")),
    ("kraft/server.properties", include_str!("../config/server.properties")),
];

/// What to say of one of Apache's commands that is not built here; with or without `.sh`, and with
/// the folder before it.
#[must_use]
pub fn not_built(name: &str) -> Option<String> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.strip_suffix(".sh").unwrap_or(name);
    let (name, why) = NOT_BUILT.iter().find(|(it, _)| *it == name)?;
    Some(format!("{name} is not built into Ottla: {why}"))
}

/// A small script that runs the binary beside it under a name. It may be called through links, from
/// any folder, and by `sh`.
fn wrapper_script(name: &str) -> String {
    format!("{MARK}\nbin=$(readlink -f -- \"$0\") && exec \"${{bin%/*}}/ottla\" {name} \"$@\"\n")
}

/// How a script of ours begins.
const MARK: &str = "#!/bin/sh\n# Made by ottla install-tools, which makes it anew.";
const EXECUTABLE: u32 = 0o755;

/// Lays `bin/` with a link to `binary` and a script under every name, with and without `.sh`, and
/// `config/`. Files that are there stay; links and scripts of ours are replaced. How many scripts
/// there are.
///
/// # Errors
/// The folder cannot be written.
pub fn install_layout(folder: &Path, binary: &Path) -> io::Result<usize> {
    let (bin, config) = (folder.join("bin"), folder.join("config"));
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(config.join("kraft"))?;
    let link = bin.join("ottla");
    if is_ours(&link)? {
        symlink(binary, &link)?;
    }
    let tools = crate::all_tools().into_iter().map(|tool| tool.name);
    let names = tools.chain(OTHERS).chain(NOT_BUILT.map(|(name, _)| name));
    let mut count = 0;
    for name in names {
        for file in [name.to_owned(), format!("{name}.sh")] {
            let path = bin.join(file);
            if is_ours(&path)? {
                std::fs::write(&path, wrapper_script(name))?;
                std::fs::set_permissions(&path, PermissionsExt::from_mode(EXECUTABLE))?;
                count += 1;
            }
        }
    }
    for (name, text) in FILES {
        let file = config.join(name);
        if !file.exists() {
            std::fs::write(file, text)?;
        }
    }
    Ok(count)
}

/// May the path be written? It is free, or has a link or a script of ours, which is removed.
fn is_ours(path: &Path) -> io::Result<bool> {
    let Ok(known) = std::fs::symlink_metadata(path) else { return Ok(true) };
    let is_script = || std::fs::read(path).is_ok_and(|it| it.starts_with(MARK.as_bytes()));
    if known.is_symlink() || known.is_file() && known.len() < 1024 && is_script() {
        std::fs::remove_file(path)?;
        return Ok(true);
    }
    Ok(false)
}
