//! The binary under other names: `kafka-topics.sh`, `kafka-server-start.sh`, and the like.

use ottla_tools::Tool;

/// The tool that a command line names, first or (`ottla kafka-topics`) second, and what follows.
pub fn find_tool(words: &[String]) -> Option<(&'static Tool, &[String])> {
    let at = |at: usize| {
        let is_storage = words.get(at)?.trim_end_matches(".sh").ends_with("kafka-storage");
        let action = words.get(at + 1).map(String::as_str);
        let other = match action.filter(|_| is_storage) {
            Some("random-uuid") => Some(("kafka-random-uuid", at + 2)),
            Some("info") => Some(("kafka-storage-info", at + 2)),
            Some("version-mapping" | "feature-dependencies") => Some(("kafka-features", at + 1)),
            _ => None,
        };
        if let Some((name, rest)) = other {
            return Some((ottla_tools::find_tool(name)?, words.get(rest..)?));
        }
        Some((ottla_tools::find_tool(words.get(at)?)?, words.get(at + 1..)?))
    };
    let by_class = |at: usize| {
        let runs = words.get(at)?.trim_end_matches(".sh").ends_with("kafka-run-class");
        let class = words.get(at + 1).filter(|_| runs)?.rsplit('.').next()?;
        let (_, name) = CLASSES.iter().find(|(it, _)| *it == class)?;
        Some((ottla_tools::find_tool(name)?, words.get(at + 2..)?))
    };
    at(0).or_else(|| at(1)).or_else(|| by_class(0)).or_else(|| by_class(1))
}

/// The classes that `kafka-run-class` is asked for, and the tools that they are.
const CLASSES: [(&str, &str); 25] = [
    ("TopicCommand", "kafka-topics"),
    ("ConsoleProducer", "kafka-console-producer"),
    ("ConsoleConsumer", "kafka-console-consumer"),
    ("ConsumerGroupCommand", "kafka-consumer-groups"),
    ("GroupsCommand", "kafka-groups"),
    ("ConfigCommand", "kafka-configs"),
    ("GetOffsetShell", "kafka-get-offsets"),
    ("DeleteRecordsCommand", "kafka-delete-records"),
    ("LogDirsCommand", "kafka-log-dirs"),
    ("ClusterTool", "kafka-cluster"),
    ("MetadataQuorumCommand", "kafka-metadata-quorum"),
    ("FeatureCommand", "kafka-features"),
    ("LeaderElectionCommand", "kafka-leader-election"),
    ("TransactionsCommand", "kafka-transactions"),
    ("ProducerPerformance", "kafka-producer-perf-test"),
    ("ConsumerPerformance", "kafka-consumer-perf-test"),
    ("EndToEndLatency", "kafka-e2e-latency"),
    ("VerifiableProducer", "kafka-verifiable-producer"),
    ("VerifiableConsumer", "kafka-verifiable-consumer"),
    ("ClientMetricsCommand", "kafka-client-metrics"),
    ("ReassignPartitionsCommand", "kafka-reassign-partitions"),
    ("AclCommand", "kafka-acls"),
    ("DelegationTokenCommand", "kafka-delegation-tokens"),
    ("BrokerApiVersionsCommand", "kafka-broker-api-versions"),
    ("QuorumPeerMain", "zookeeper-server-start"),
];

/// The options that may stand before the command, and whether a value follows in a word of its own.
const BEFORE: [(&str, bool); 6] = [
    ("-b", true),
    ("--bootstrap-server", true),
    ("--profile", true),
    ("-o", true),
    ("--output", true),
    ("--watch", false),
];

/// The same command line with the options that stand before the command at its end, where every
/// command that knows them takes them, and the others say that they do not.
///
/// `ottla help topics` is `ottla topics --help`.
pub fn command_first(mut words: Vec<String>) -> Vec<String> {
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".to_owned());
        return words;
    }
    let mut at = 1;
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        let has_value = |known: &str| {
            let rest = word.strip_prefix(known).unwrap_or_default();
            // -bHOST and --output=json
            !rest.is_empty() && (rest.starts_with('=') || !known.starts_with("--"))
        };
        let known = BEFORE.iter().find(|(known, _)| word == known || has_value(known));
        let Some((known, takes_value)) = known else { return words };
        at += 1 + usize::from(*takes_value && word == known);
    }
    if words.len() <= at {
        // No command follows.
        return words;
    }
    let moved: Vec<String> = words.drain(1..at).collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.splice(end..end, moved);
    words
}

/// What a command of Kafka's is, among ours.
#[derive(Debug, PartialEq, Eq)]
pub enum Ours {
    /// This command line.
    Now(Vec<String>),
    /// The same, in the background.
    Daemon(Vec<String>),
    /// Nodes of this machine are to stop, as these words say.
    Stop(Vec<String>),
}

/// Starts a command line in the background, with its output in `logs/kafkaServer.out`.
///
/// # Errors
/// The system refuses.
pub fn start_daemon(words: &[String]) -> std::io::Result<u32> {
    use std::os::unix::process::CommandExt;
    std::fs::create_dir_all("logs")?;
    let log = std::fs::File::create("logs/kafkaServer.out")?;
    let child = std::process::Command::new(std::env::current_exe()?)
        .args(words.iter().skip(1))
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    Ok(child.id())
}

/// Kafka's commands that are commands of our own.
const OURS: [&str; 4] =
    ["kafka-server-start", "kafka-server-stop", "kafka-dump-log", "kafka-storage"];

/// One of Kafka's commands that is a command of our own.
///
/// # Errors
/// What is wrong with the command line.
pub fn own_command(words: &[String]) -> Option<Result<Ours, String>> {
    let name = |at: usize| {
        let name = words.get(at)?.rsplit('/').next()?;
        Some(name.strip_suffix(".sh").unwrap_or(name))
    };
    let is_kafkas = |it: &str| it.starts_with("kafka-") || ottla_tools::not_built(it).is_some();
    let at = (0..2).find(|at| name(*at).is_some_and(is_kafkas))?;
    let rest: Vec<&str> = words[at + 1..].iter().map(String::as_str).collect();
    match name(at)? {
        "kafka-server-start" if rest.contains(&"-daemon") => {
            Some(Ok(Ours::Daemon(server_words(&rest))))
        }
        "kafka-server-start" => Some(Ok(Ours::Now(server_words(&rest)))),
        "kafka-server-stop" => {
            Some(Ok(Ours::Stop(rest.iter().map(|it| (*it).to_owned()).collect())))
        }
        "kafka-dump-log" => Some(Ok(Ours::Now(ottla_words("dump", &rest)))),
        "kafka-storage" => Some(format_words(&rest).map(Ours::Now)),
        "kafka-run-class" => {
            let class = rest.first().copied().unwrap_or("CLASS");
            Some(Err(format!(
                "kafka-run-class {class}: Ottla has no JVM, and no tool of that class"
            )))
        }
        other => {
            let unknown = || {
                let near = ottla_tools::nearest_tool(other, &OURS);
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                format!("unknown command {other}{hint}")
            };
            Some(Err(ottla_tools::not_built(other).unwrap_or_else(unknown)))
        }
    }
}

fn ottla_words(command: &str, rest: &[&str]) -> Vec<String> {
    ["ottla", command].iter().chain(rest).map(|it| (*it).to_owned()).collect()
}

/// `kafka-server-start [-daemon] FILE [--override NAME=VALUE]`
fn server_words(rest: &[&str]) -> Vec<String> {
    let known = |it: &&&str| !matches!(**it, "-daemon" | "-name" | "-loggc");
    ottla_words("server", &rest.iter().filter(known).copied().collect::<Vec<_>>())
}

/// `kafka-storage format -t ID -c FILE`, with the options of Apache Kafka's tool.
fn format_words(rest: &[&str]) -> Result<Vec<String>, String> {
    let (Some(action), rest) = (rest.first(), rest.iter().skip(1)) else {
        return Err(
            "too few arguments: format, info, version-mapping, feature-dependencies or random-uuid"
                .to_owned(),
        );
    };
    if *action != "format" {
        return Err(format!(
            "unknown command kafka-storage {action}; use format, info, version-mapping, feature-dependencies, random-uuid"
        ));
    }
    let wrong = |why: String| Err(format!("kafka-storage format: {why}"));
    let mut words = ottla_words("format", &["--as-kafka-storage"]);
    let (mut has_config, mut has_cluster) = (false, false);
    // --name=value is two words.
    let split = |word: &&str| match word.split_once('=').filter(|(name, _)| name.starts_with("--"))
    {
        Some((name, value)) => vec![name.to_owned(), value.to_owned()],
        None => vec![(*word).to_owned()],
    };
    let mut rest = rest.flat_map(split);
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or(format!("kafka-storage format: {word} needs a value"));
        match word.as_str() {
            "-t" | "--cluster-id" => {
                has_cluster = true;
                words.extend(["--cluster-id".to_owned(), value()?]);
            }
            "-c" | "--config" => {
                has_config = true;
                words.push(value()?);
            }
            "-I" | "--initial-controllers" => {
                words.extend(["--initial-controllers".to_owned(), value()?]);
            }
            "--ignore-formatted" | "-g" => words.push("--ignore-formatted".to_owned()),
            "--standalone" | "-s" => words.push("--standalone".to_owned()),
            "--no-initial-controllers" | "-N" => words.push("--no-initial-controllers".to_owned()),
            "--release-version" | "-r" => {
                words.extend(["--release-version".to_owned(), value()?]);
            }
            "--feature" | "-f" => words.extend(["--feature".to_owned(), value()?]),
            "--add-scram" | "-S" => words.extend(["--add-scram".to_owned(), value()?]),
            other => return wrong(format!("unknown option {other}")),
        }
    }
    const VOTERS: [&str; 3] = ["--standalone", "--initial-controllers", "--no-initial-controllers"];
    let mut chosen = words.iter().filter(|word| VOTERS.contains(&word.as_str()));
    if let (Some(first), Some(second)) = (chosen.next(), chosen.next()) {
        return wrong(format!("argument {second}: not allowed with argument {first}"));
    }
    if !has_cluster || !has_config {
        let missing = if has_config { "--cluster-id/-t" } else { "--config/-c" };
        return wrong(format!("argument {missing} is required"));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_may_stand_before_the_command() {
        let moved = |line: &str| command_first(words(line)).join(" ");
        assert_eq!(moved("ottla -b a:1 topics list"), "ottla topics list -b a:1");
        assert_eq!(moved("ottla -ojson -ba:1 topics"), "ottla topics -ojson -ba:1");
        assert_eq!(
            moved("ottla --watch --output=json config get topic t"),
            "ottla config get topic t --watch --output=json"
        );
        assert_eq!(moved("ottla -b a:1 produce -- -t"), "ottla produce -b a:1 -- -t");
        assert_eq!(moved("ottla help config set"), "ottla config set --help");
        assert_eq!(moved("ottla help"), "ottla --help");
        for same in
            ["ottla topics -b a:1", "ottla --help", "ottla -x topics", "ottla -b a:1", "ottla"]
        {
            assert_eq!(moved(same), same);
        }
    }

    #[test]
    fn kafkas_names_lead_to_our_commands() {
        let told = |line: &str| match own_command(&words(line)).unwrap().unwrap() {
            Ours::Now(words) => words.join(" "),
            other => format!("{other:?}"),
        };
        assert_eq!(told("bin/kafka-server-start.sh a.properties"), "ottla server a.properties");
        let daemon = own_command(&words("kafka-server-start.sh -daemon f")).unwrap().unwrap();
        assert_eq!(daemon, Ours::Daemon(words("ottla server f")));
        assert_eq!(told("kafka-server-stop --node-id=2"), "Stop([\"--node-id=2\"])");
        assert_eq!(told("ottla kafka-dump-log --files x"), "ottla dump --files x");
        let format = "kafka-storage.sh format --standalone -t ID -c f";
        assert_eq!(told(format), "ottla format --as-kafka-storage --standalone --cluster-id ID f");
        let format = "kafka-storage format --cluster-id=ID -c f -g -I 1@a:2:x -f a=1";
        assert_eq!(
            told(format),
            "ottla format --as-kafka-storage --cluster-id ID f --ignore-formatted --initial-controllers 1@a:2:x --feature a=1"
        );
        for (line, wanted) in [
            ("kafka-storage format -c f", "--cluster-id/-t is required"),
            ("kafka-storage format -t ID", "--config/-c is required"),
            ("kafka-storage format -c", "-c needs a value"),
            ("kafka-storage format -t ID -c f -s -N", "not allowed with argument --standalone"),
        ] {
            let why = own_command(&words(line)).unwrap().unwrap_err();
            assert!(why.contains(wanted), "{line}: {why}");
        }
        assert!(own_command(&words("kafka-nothing")).unwrap().is_err());
        let why = own_command(&words("ottla kafka-topcs --list")).unwrap().unwrap_err();
        assert!(why.ends_with("did you mean kafka-topics?"), "{why}");
        assert!(own_command(&words("ottla topics list")).is_none());
        let line = words("/opt/bin/kafka-topics.sh --list");
        let (found, rest) = find_tool(&line).unwrap();
        assert_eq!((found.name, rest), ("kafka-topics", &line[1..]));
        assert_eq!(find_tool(&words("ottla kafka-topics")).unwrap().0.name, "kafka-topics");
        let line = words("bin/kafka-run-class.sh kafka.tools.GetOffsetShell --topic t");
        let (found, rest) = find_tool(&line).unwrap();
        assert_eq!((found.name, rest), ("kafka-get-offsets", &line[2..]));
        let why = |line: &str| own_command(&words(line)).unwrap().unwrap_err();
        assert!(why("kafka-run-class kafka.Other").contains("kafka.Other"));
        assert!(why("bin/connect-standalone.sh a b").contains("not built"));
        assert!(why("ottla kafka-share-groups --list").contains("KIP-932"));
        assert!(find_tool(&words("ottla server")).is_none());
    }
}
