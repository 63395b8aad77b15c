//! What operators do with a quorum: upgrade it, add and remove voters, through brokers and through
//! controllers.

use crate::node::{Home, Node};
use crate::quorum::{CLUSTER, Trio, newest_leader, ottla};

/// What a tool prints, and whether it has done it.
struct ToolOutput {
    text: String,
    is_done: bool,
}

fn run_tool(home: &Home, words: &[&str], way: &[&str]) -> ToolOutput {
    let out = ottla(home, &[words, way].concat());
    let text = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    ToolOutput { text, is_done: out.status.success() }
}

/// A controller beside the three, formatted to find their quorum.
fn start_fourth(trio: &Trio) -> (Home, Node) {
    let home = Home::new();
    let controllers: Vec<&str> =
        trio.voters.split(',').map(|voter| voter.split_once('@').unwrap().1).collect();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lines = format!(
        "process.roles=broker,controller\nnode.id=4\nlog.dirs=data\n\
         listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers={}\n",
        controllers.join(",")
    );
    std::fs::write(home.path().join("server.properties"), lines).unwrap();
    let words =
        ["format", "server.properties", "--cluster-id", CLUSTER, "--no-initial-controllers"];
    let out = ottla(&home, &words);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["server", "server.properties"]).current_dir(home.path());
    let node = Home::start_with(command);
    (home, node)
}

/// The directory id of a node's metadata directory.
fn directory_id(home: &Home) -> String {
    let text = std::fs::read_to_string(home.data().join("meta.properties")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("directory.id="));
    line.expect("formatted").to_owned()
}

#[test]
fn a_static_quorum_is_upgraded_then_grows_and_shrinks() {
    let trio = Trio::formatted();
    let nodes = trio.start_all();
    // A node that does not lead: what it is asked goes to the one that does.
    let asked = (newest_leader(&nodes[0]) + 1) % 3;
    let broker = nodes[asked].address.to_string();
    let controller = trio.voters.split(',').nth(asked).unwrap().split_once('@').unwrap().1;
    let (by_broker, by_controller) =
        (["--bootstrap-server", &broker], ["--bootstrap-controller", controller]);
    let (home, node) = start_fourth(&trio);
    let quorum = |words: &[&str], way: &[&str]| {
        run_tool(&home, &[&["kafka-metadata-quorum"], words].concat(), way)
    };
    let features =
        |words: &[&str]| run_tool(&home, &[&["kafka-features"], words].concat(), &by_controller);
    let add = ["--command-config", "server.properties", "add-controller"];
    let refused = quorum(&add, &by_controller);
    assert!(!refused.is_done, "{}", refused.text);
    assert!(refused.text.contains("kraft.version feature is 0"), "{}", refused.text);

    let upgrade = ["upgrade", "--feature", "kraft.version=1"];
    let checked = features(&[&upgrade[..], &["--dry-run"]].concat());
    assert_eq!(checked.text, "kraft.version can be upgraded to 1.\n");
    assert_eq!(kraft_level(&features(&["describe"]).text), "0");
    let done = features(&upgrade);
    assert_eq!(done.text, "kraft.version was upgraded to 1.\n");
    assert_eq!(kraft_level(&features(&["describe"]).text), "1");
    assert!(features(&upgrade).is_done, "it is what was asked for");
    let down = features(&["downgrade", "--feature", "kraft.version=0"]);
    assert!(down.text.contains("Can't downgrade the version of this feature."), "{}", down.text);

    let id = directory_id(&home);
    let dry = quorum(&[&add[..], &["--dry-run"]].concat(), &by_broker);
    let said = format!("DRY RUN of adding controller 4 with directory id {id} and endpoints: ");
    assert!(dry.text.starts_with(&said), "{}", dry.text);
    let added = quorum(&add, &by_broker);
    let said = format!("Added controller 4 with directory id {id} and endpoints: CONTROLLER://");
    assert!(added.is_done && added.text.starts_with(&said), "{}", added.text);
    let again = quorum(&add, &by_broker);
    assert!(again.text.contains("is a voter already"), "{}", again.text);

    // The leader removes itself, and another one answers from then on.
    let gone = newest_leader(&nodes[asked]);
    let (number, gone_id) = ((gone + 1).to_string(), directory_id(&trio.homes[gone]));
    let remove = ["remove-controller", "-i", &number, "-d", &gone_id];
    let dry = quorum(&[&remove[..], &["--dry-run"]].concat(), &by_controller);
    let named = format!(" KRaft controller {number} with directory id {gone_id}\n");
    assert_eq!(dry.text, format!("DRY RUN of removing {named}"));
    assert_eq!(quorum(&remove, &by_controller).text, format!("Removed {named}"));
    let status = quorum(&["describe", "--status"], &by_controller).text;
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap();
    assert_eq!(line("CurrentVoters:").matches("\"directoryId\"").count(), 3, "{status}");
    assert!(!line("CurrentVoters:").contains(&gone_id), "{status}");
    assert!(line("CurrentObservers:").contains(&gone_id), "{status}");
    let again = quorum(&remove, &by_controller);
    assert!(again.text.contains("Cannot remove voter"), "{}", again.text);
    let listed = run_tool(&home, &["kafka-cluster", "list-endpoints"], &by_controller);
    assert_eq!(listed.text.matches("controller").count(), 4, "{}", listed.text);
    assert!(!listed.text.contains("STATE"), "controllers have none: {}", listed.text);
    let fenced = ["kafka-cluster", "list-endpoints", "--include-fenced-brokers"];
    let refused = run_tool(&home, &fenced, &by_controller);
    assert!(refused.text.contains("needs --bootstrap-server"), "{}", refused.text);

    let logs: String = nodes.into_iter().chain([node]).map(Node::stop).collect();
    for event in ["voter added to the metadata quorum", "voter removed from the metadata quorum"] {
        assert_eq!(logs.matches(event).count(), 1, "{event}");
    }
    let changed: Vec<&str> =
        logs.lines().filter(|line| line.contains("feature level changed")).collect();
    assert!(matches!(changed[..], [line] if line.contains("kraft.version")), "{changed:?}");
}

/// Waits until the cluster describes a node so; all of its rows.
fn until_state(asked: &Node, number: usize, state: &str) -> Vec<serde_json::Value> {
    // Each look takes some ten milliseconds.
    for _ in 0..2000 {
        let address = asked.address.to_string();
        let out = ottla(&Home::new(), &["cluster", "-o", "json", "-b", &address]);
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&out.stdout).unwrap();
        let row = rows.iter().find(|row| row["node"] == number).unwrap();
        if row["state"].as_str().unwrap().starts_with(state) {
            return rows;
        }
    }
    panic!("node {number} never was {state:?}");
}

#[test]
fn what_a_cluster_of_three_is_and_lacks_can_be_seen() {
    let trio = Trio::formatted();
    for home in &trio.homes {
        let file = home.path().join("server.properties");
        let lines = std::fs::read_to_string(&file).unwrap();
        let more = "broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=200\n";
        std::fs::write(&file, lines + more).unwrap();
    }
    let mut nodes = trio.start_all().map(Some);
    let leads = newest_leader(nodes[0].as_ref().unwrap());
    let rows = until_state(nodes[0].as_ref().unwrap(), leads + 1, "ok");
    let of = |rows: &[serde_json::Value], name: &str| -> Vec<serde_json::Value> {
        rows.iter().map(|row| row[name].clone()).collect()
    };
    assert_eq!(of(&rows, "node"), [1, 2, 3]);
    assert_eq!(of(&rows, "roles"), ["broker,controller"; 3]);
    assert_eq!(rows[leads]["quorum"], "leader");
    assert_eq!(of(&rows, "quorum").iter().filter(|it| **it == "voter").count(), 2, "{rows:?}");
    let doctor = |node: &Node| {
        let out =
            ottla(&trio.homes[0], &["doctor", "-o", "plain", "-b", &node.address.to_string()]);
        String::from_utf8(out.stdout).unwrap()
    };
    let found = doctor(nodes[leads].as_ref().unwrap());
    assert!(
        found.contains("ok\tmetadata quorum\t3 voters, all heard of; 1 may be lost"),
        "{found}"
    );
    assert!(found.contains("note\tmetadata quorum\tvoters 1, 2, 3 run on one host"), "{found}");
    assert!(found.contains("ok\treleases\t"), "{found}");

    let lost = (leads + 1) % 3;
    nodes[lost].take().unwrap().kill();
    let asked = nodes[leads].as_ref().unwrap();
    let rows = until_state(asked, lost + 1, "fenced: it has not fetched the metadata for");
    assert_eq!(rows[lost]["quorum"], "voter");
    let found = doctor(asked);
    let number = lost + 1;
    let voters =
        format!("error\tmetadata quorum\t2 of 3 voters are heard of, not {number}; 0 more");
    assert!(found.contains(&voters), "{found}");
    assert!(found.contains(&format!("error\tbroker {number}\tis fenced: it has not")), "{found}");
    let listener = format!("warning\tcontroller {number}\tits listener CONTROLLER://");
    assert!(found.contains(&listener), "{found}");

    let log = nodes[leads].take().unwrap().stop();
    let event = |words: &str| log.lines().find(|line| line.contains(words)).unwrap_or_default();
    let why = "its session of 2000 ms has expired: its last heartbeat came";
    assert!(event(&format!("broker fenced broker={number} ")).contains(why), "{log}");
    assert!(event("broker unfenced broker=").contains("has applied the metadata up to"), "{log}");
}

/// The level of `kraft.version`, as `kafka-features describe` prints it.
fn kraft_level(described: &str) -> &str {
    let line = described.lines().find(|line| line.contains("kraft.version")).unwrap();
    let (_, level) = line.split_once("FinalizedVersionLevel:").unwrap();
    level.split_whitespace().next().unwrap()
}
