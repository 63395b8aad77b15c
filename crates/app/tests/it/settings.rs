//! Settings as a stranger gives them: a file, the environment, promises that cannot be kept.

use std::process::{Command, Output};

use crate::node::Home;

/// Runs `ottla server` with a file of these lines, and waits until it has ended.
fn server(home: &Home, lines: &str, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let file = home.path().join("server.properties");
    let text = format!("node.id=1\nlog.dirs={}\n{lines}\n", home.data().display());
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.arg("server").arg(&file).args(words).current_dir(home.path());
    command.env_clear().envs(variables.iter().copied()).output().unwrap()
}

fn errors(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_node_does_not_start_with_a_promise_that_it_cannot_keep() {
    let home = Home::new();
    let lines = "listeners=SASL_SSL://127.0.0.1:0\nauthorizer.class.name=a.B";
    let why = errors(&server(&home, lines, &[], &[]));
    for part in [
        "server.properties:3: listener SASL_SSL asks for SASL_SSL, but encryption and logins are not built yet",
        "server.properties:4: authorizer.class.name=a.B: permissions are not built yet",
    ] {
        assert!(why.contains(part), "{part} in {why}");
    }
    assert!(!home.data().exists(), "nothing was formatted");
}

#[test]
fn everything_that_is_wrong_in_a_file_is_named_at_once() {
    let home = Home::new();
    let lines = "listeners=PLAINTEXT://0.0.0.0:0\nnum.partitions=many\nlog.retention.ms=0";
    let why = errors(&server(&home, lines, &[], &[]));
    for part in ["server.properties:3: ", "server.properties:4: ", "server.properties:5: "] {
        assert!(why.contains(part), "{part} in {why}");
    }
}

#[test]
fn the_environment_gives_settings_if_it_is_asked() {
    let home = Home::new();
    let variables = [
        ("KAFKA_NUM_PARTITIONS", "7"),
        ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
        ("KAFKA_SERVICE_HOST", "10.0.0.1"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
        ("KAFKA_NUM_PARTITONS", "8"),
    ];
    let asked = server(&home, "", &["--env", "--print-config"], &variables);
    assert!(asked.status.success());
    let text = String::from_utf8(asked.stdout).unwrap();
    assert!(text.contains("\n# from the environment\n# KAFKA_NUM_PARTITIONS\nnum.partitions=7\n"));
    let warnings = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(warnings.lines().count(), 1, "{warnings}");
    assert!(warnings.contains("did you mean KAFKA_NUM_PARTITIONS?"), "{warnings}");
    let unasked = server(&home, "", &["--print-config"], &variables);
    let text = String::from_utf8(unasked.stdout).unwrap();
    assert!(text.contains("\nnum.partitions=1\n"), "{text}");
}

#[test]
fn a_node_that_listens_everywhere_advertises_the_machines_name() {
    let home = Home::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let dirs = format!("log.dirs={}", home.data().display());
    let listeners = "listeners=PLAINTEXT://:0";
    command.args(["server", "--format-if-empty", "--override", listeners, "--override", &dirs]);
    command.current_dir(home.path());
    let node = Home::start_with(command);
    let bootstrap = format!("127.0.0.1:{}", node.address.port());
    let mut ask = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let asked =
        ask.args(["cluster", "-o", "json", "--bootstrap-server", &bootstrap]).output().unwrap();
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let name = ottla_broker::canonical_host_name();
    assert!(text.contains(&name), "{name} in {text}");
    assert!(!text.contains("0.0.0.0"), "{text}");
    node.stop();
}

#[test]
fn the_doctor_and_explain_name_settings_without_effect() {
    let home = Home::new().with("num.io.threads=16").with("num.partitions=2");
    let node = home.start();
    let ottla = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        let output = command.args(words).current_dir(home.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let why = "Ottla runs one thread for each core";
    let found = ottla(&["doctor", "-o", "plain", "-b", &node.address.to_string()]);
    assert!(found.contains(&format!("num.io.threads=16 has no effect: {why}")), "{found}");
    assert!(!found.contains("num.partitions="), "{found}");
    node.stop();
    assert!(ottla(&["config", "explain", "num.io.threads"]).contains(why));
    assert!(ottla(&["config", "explain", "num.partitions"]).contains("here     obeyed"));
}
