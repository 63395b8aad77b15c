//! What a node reads before it starts.

use super::*;

fn refused(file: &str) -> String {
    Settings::read(Some(file), &[]).unwrap_err().to_string()
}

#[test]
fn a_node_that_is_tried_out_needs_no_file() {
    let settings = Settings::read(None, &["num.partitions=3".to_owned()]).unwrap();
    assert_eq!(settings.node_id(), Ok(1));
    assert_eq!(settings.number("num.partitions"), 3);
    assert_eq!(settings.listeners().unwrap()[0].port, 9092);
    assert_eq!(settings.log_dirs(), [PathBuf::from("./ottla-data")]);
}

#[test]
fn all_that_is_wrong_is_named_with_its_line() {
    let file = "# a comment\nnode.id=1\nnum.partitions=none\n\nlog.dirs=\nlog.retention.ms=0\n";
    let why = refused(file);
    let lines: Vec<&str> = why.lines().collect();
    assert_eq!(lines.len(), 3, "{why}");
    for (start, end) in [
        ("the file:5: ", "log.dirs"),
        ("the file:3: ", "num.partitions"),
        ("the file:6: ", "log.retention.ms"),
    ] {
        assert!(lines.iter().any(|it| it.starts_with(start) && it.contains(end)), "{why}");
    }
}

#[test]
fn a_name_that_is_no_setting_is_a_warning_with_the_nearest() {
    let settings = Settings::read(Some("num.partitons=1\nnode.id=7"), &[]).unwrap();
    assert_eq!(
        settings.warnings,
        [
            "the file:1: unknown setting num.partitons, which has no effect; did you mean num.partitions?"
        ]
    );
}

#[test]
fn a_zookeeper_is_unknown_to_a_node_that_has_roles_without_one() {
    let warnings = |lines| Settings::read(Some(lines), &[]).unwrap().warnings.join(" ");
    let old = "node.id=1\nzookeeper.connect=a:2181";
    assert_eq!(warnings(old), "", "it stops the start, which says why");
    let new = "node.id=1\nzookeeper.connect=a:2181\nprocess.roles=broker,controller";
    assert!(warnings(new).contains("unknown setting zookeeper.connect"));
}

#[test]
fn the_environment_counts_more_than_the_file_and_less_than_overrides() {
    let environment = [
        ("KAFKA_NUM_PARTITIONS", "4"),
        ("KAFKA_DEFAULT_REPLICATION_FACTOR", "2"),
        ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
        ("KAFKA_NUM_PARTITONS", "9"),
        ("PATH", "/bin"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::from_sources(&Sources {
        file: Some("node.id=1\nnum.partitions=3\ndefault.replication.factor=1\n"),
        file_name: "a.properties",
        environment: &environment,
        overrides: &["num.partitions=5".to_owned()],
    })
    .unwrap();
    assert_eq!(settings.number("num.partitions"), 5);
    assert_eq!(settings.number("default.replication.factor"), 2);
    assert_eq!(settings.place("node.id"), "a.properties:1");
    assert_eq!(settings.place("default.replication.factor"), "KAFKA_DEFAULT_REPLICATION_FACTOR");
    assert_eq!(settings.place("num.partitions"), "--override");
    assert_eq!(settings.warnings.len(), 1);
    assert!(settings.warnings[0].ends_with("did you mean KAFKA_NUM_PARTITIONS?"));
}

#[test]
fn a_container_that_says_where_it_is_found_listens_there() {
    let name = "KAFKA_ADVERTISED_LISTENERS".to_owned();
    let environment = [(name, "PLAINTEXT://kafka.example:9094".to_owned())];
    let sources = Sources { environment: &environment, ..Sources::default() };
    let settings = Settings::from_sources(&sources).unwrap();
    let listeners = settings.listeners().unwrap();
    assert_eq!((listeners[0].host.as_str(), listeners[0].port), ("0.0.0.0", 9094));
    assert_eq!(settings.advertised().unwrap()[0].host, "kafka.example");
}

#[test]
fn listeners_follow_kafkas_rules() {
    // What stands in the file, and a part of the refusal; an empty one is accepted.
    let cases = [
        ("listeners=PLAINTEXT://:9092", ""),
        ("listeners=plaintext://:9092", ""),
        ("listeners=PLAINTEXT://[::1]:9092", ""),
        (
            "listeners=PLAINTEXT://127.0.0.1:9092,A://[::1]:9092\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,A:PLAINTEXT",
            "",
        ),
        ("listeners=PLAINTEXT://:9092,SSL://:9092", "different port"),
        ("listeners=PLAINTEXT://:9092,PLAINTEXT://:9093", "different name"),
        ("listeners=A://:9092", "No security protocol defined for listener A"),
        (
            "listeners=A://:9092\nlistener.security.protocol.map=A:TLS",
            "Invalid security protocol TLS",
        ),
        ("listeners=PLAINTEXT//:9092", "NAME://host:port"),
        ("listeners=PLAINTEXT://:99999", "NAME://host:port"),
        ("listeners=PLAINTEXT://:-1", "NAME://host:port"),
        ("listeners=PLAINTEXT://a b:9092", "NAME://host:port"),
        ("listeners=", "must not be empty"),
        ("listeners=PLAINTEXT://0.0.0.0:9092", "nonroutable"),
        ("listeners=PLAINTEXT://[::]:9092", "nonroutable"),
        ("listeners=PLAINTEXT://0.0.0.0:9092\nadvertised.listeners=PLAINTEXT://a:9092", ""),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "nonroutable"),
        ("advertised.listeners=SSL://a:9092", "does not appear in listeners"),
        (
            "process.roles=broker,controller\ncontroller.listener.names=C",
            "does not appear in listeners",
        ),
        (
            "process.roles=broker,controller\ncontroller.listener.names=PLAINTEXT",
            "none for clients",
        ),
        (
            "process.roles=broker,controller\nlisteners=PLAINTEXT://:9092,C://0.0.0.0:9093\ncontroller.listener.names=C",
            "",
        ),
        ("inter.broker.listener.name=C", "the listener between brokers is C"),
        ("security.inter.broker.protocol=SSL", "the listener between brokers is SSL"),
        ("broker.id=2", "node.id"),
        ("early.start.listeners=OTHER", "early.start.listeners names OTHER"),
        ("max.connections.per.ip.overrides=localhost:5", "names of hosts are not looked up"),
    ];
    for (text, wanted) in cases {
        let read = Settings::read(Some(&format!("node.id=1\n{text}\n")), &[]);
        let why = read.err().map_or_else(String::new, |why| why.to_string());
        assert!(why.is_empty() == wanted.is_empty() && why.contains(wanted), "{text}: {why}");
    }
}

#[test]
fn settings_of_one_listener_are_known() {
    assert_eq!(base_name("listener.name.internal.ssl.protocol"), "ssl.protocol");
    assert_eq!(base_name("listener.name.a.plain.sasl.jaas.config"), "sasl.jaas.config");
    assert_eq!(base_name("listener.name.a.nothing"), "listener.name.a.nothing");
}
