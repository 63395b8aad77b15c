//! Roles, voters and controller listeners go together, as Kafka's rules have it.

use super::*;
use crate::unbuilt::unbuilt_settings;

const COMBINED: &str = "node.id=1\nprocess.roles=broker,controller\n\
     controller.listener.names=CONTROLLER\n\
     listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n";

fn started(text: &str) -> Settings {
    Settings::read(Some(text), &[]).unwrap_or_else(|why| panic!("{text}: {why}"))
}

/// What the settings are refused with; empty if they are accepted. 127.0.0.0/8 is this machine's.
fn refusal(text: &str) -> String {
    match Settings::read(Some(text), &[]) {
        Err(why) => why.to_string(),
        Ok(settings) => unbuilt_settings(&settings, &|host| host.starts_with("127.")).join("\n"),
    }
}

const BROKER: &str = "node.id=4\nprocess.roles=broker\nlisteners=PLAINTEXT://:9092\n";
const CONTROLLER: &str = "node.id=1\nprocess.roles=controller\nlisteners=C://127.0.0.1:9093\n";
const NAMES: &str = "controller.listener.names=C\n";
const VOTERS: &str = "controller.quorum.voters=1@a:9093,2@b:9093,3@c:9093\n";
const SERVERS: &str = "controller.quorum.bootstrap.servers=a:9093,b:9093\n";

/// Checks the lines of files against a part of the one refusal; an empty one is accepted.
fn check_refusals(cases: &[(&[&str], &str)]) {
    for (lines, wanted) in cases {
        let text = lines.concat();
        let why = refusal(&text);
        let is_one = why.lines().count() == usize::from(!wanted.is_empty());
        assert!(is_one && why.contains(wanted), "{text}: {why}");
    }
}

#[test]
fn roles_voters_and_listeners_go_together() {
    check_refusals(&[
        (&[CONTROLLER, NAMES, VOTERS], ""),
        (&[CONTROLLER, NAMES, SERVERS], ""),
        (&[CONTROLLER, NAMES, SERVERS, "controller.quorum.auto.join.enable=true\n"], ""),
        (&[CONTROLLER, NAMES, SERVERS, "advertised.listeners=C://a:9093\n"], ""),
        (&[CONTROLLER, NAMES], "process.roles=controller needs the controllers"),
        (
            &[CONTROLLER, NAMES, VOTERS, "node.id=4\n"],
            "does not name this node, which is a controller with node.id=4",
        ),
        (
            &[
                CONTROLLER,
                NAMES,
                SERVERS,
                "listeners=C://127.0.0.1:9093,PLAINTEXT://127.0.0.1:9092\n",
            ],
            "listeners has PLAINTEXT, which controller.listener.names does not have",
        ),
        (
            &[CONTROLLER, NAMES, SERVERS, "inter.broker.listener.name=C\n"],
            "controller.listener.names has C, which is the listener between brokers",
        ),
        (&[CONTROLLER, "controller.listener.names=C,D\n", SERVERS], "names D, which does not"),
        (&[COMBINED], ""),
        (&[COMBINED, VOTERS], ""),
        (&[COMBINED, SERVERS], ""),
        (
            &[COMBINED, VOTERS, "node.id=4\n"],
            "does not name this node, which is a controller with node.id=4",
        ),
        (&[COMBINED, "controller.quorum.voters=1@a:9093,1@b:9093\n"], "names node 1 twice"),
        (
            &["node.id=1\nprocess.roles=broker,controller\n", VOTERS],
            "controller.listener.names must name the controller's listener",
        ),
    ]);
}

#[test]
fn a_node_that_is_only_a_broker_has_no_controller_listener() {
    let of_c = "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,C:SSL\n";
    let of_a = "listeners=A://:9092\nlistener.security.protocol.map=A:PLAINTEXT,C:PLAINTEXT\n";
    check_refusals(&[
        (&[BROKER, NAMES, VOTERS], ""),
        (&[BROKER, NAMES, SERVERS], ""),
        (&[BROKER, NAMES], "process.roles=broker needs the controllers of its cluster"),
        (&[BROKER, VOTERS], "controller.listener.names must name the listener"),
        (
            &[BROKER, NAMES, VOTERS, "node.id=2\n"],
            "names this node, node.id=2, but process.roles has no controller",
        ),
        (
            &[BROKER, NAMES, SERVERS, "listeners=PLAINTEXT://:9092,C://:9093\n"],
            "listeners has C, which is the controllers' listener",
        ),
        (
            &[BROKER, NAMES, SERVERS, "listener.security.protocol.map=PLAINTEXT:PLAINTEXT\n"],
            "No security protocol defined for controller listener C",
        ),
        (
            &[BROKER, NAMES, SERVERS, "controller.quorum.auto.join.enable=true\n"],
            "no controller that could join",
        ),
        (&[BROKER, NAMES, SERVERS, "advertised.listeners=PLAINTEXT://a:9092,C://a:9093\n"], ""),
        (&[BROKER, NAMES, SERVERS, of_c], "the controllers' listener C asks for SSL"),
        (&[BROKER, NAMES, SERVERS, of_a], "the listener between brokers is PLAINTEXT"),
    ]);
}

#[test]
fn a_controller_of_several_nodes_listens_on_loopback_unless_it_is_opened() {
    let voters = "controller.quorum.voters=1@127.0.0.1:9093,2@127.0.0.1:9193\n";
    let open = "ottla.inter.node.listeners=open\n";
    let everywhere = "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n";
    let cases = [
        (vec![COMBINED, voters], false),
        (vec![COMBINED, voters, everywhere], true),
        (vec![COMBINED, voters, "listeners=PLAINTEXT://:9092,CONTROLLER://10.0.0.1:9093\n"], true),
        (
            vec![COMBINED, voters, "listeners=PLAINTEXT://:9092,CONTROLLER://localhost:9093\n"],
            false,
        ),
        (vec![COMBINED, voters, everywhere, open], false),
        // A single voter does not bind its controller listener.
        (vec![COMBINED, everywhere], false),
        (vec![COMBINED, everywhere, "controller.quorum.voters=1@127.0.0.1:9093\n"], false),
    ];
    for (lines, is_refused) in cases {
        let text = lines.concat();
        let why = refusal(&text);
        assert_eq!(why.contains("ottla.inter.node.listeners=open"), is_refused, "{text}: {why}");
        assert_eq!(why.is_empty(), !is_refused, "{text}: {why}");
    }
    let may_open = |text: &str| started(&[COMBINED, text].concat()).may_open_inter_node();
    assert_eq!((may_open(""), may_open(open)), (false, true));
}

#[test]
fn voters_and_servers_are_read_as_they_stand() {
    let settings = started(&format!(
        "{COMBINED}controller.quorum.voters=1@a:9093, 2@[::1]:19093\n\
         controller.quorum.bootstrap.servers=b.example:9093,[::1]:9094\n"
    ));
    let peer = |id, host: &str, port| QuorumPeer { id, host: host.to_owned(), port };
    assert_eq!(settings.static_voters(), Ok(vec![peer(1, "a", 9093), peer(2, "::1", 19093)]));
    let server = |host: &str, port| BootstrapServer { host: host.to_owned(), port };
    let servers = vec![server("b.example", 9093), server("::1", 9094)];
    assert_eq!(settings.bootstrap_servers(), Ok(servers));
    assert_eq!(started(COMBINED).static_voters(), Ok(Vec::new()));
    let nowhere = started(&format!("{COMBINED}controller.quorum.voters=1@0.0.0.0:9093\n"));
    assert!(nowhere.static_voters().unwrap_err().to_string().contains("1@0.0.0.0:9093"));
}

#[test]
fn what_names_other_nodes_is_found() {
    // What the settings say of other nodes; an empty one is a node that is its own quorum.
    let cases = [
        ("", ""),
        ("controller.quorum.voters=1@localhost:9093\n", ""),
        ("controller.quorum.voters=1@localhost:9093,2@b:9093\n", "2@b:9093"),
        ("controller.quorum.bootstrap.servers=127.0.0.1:9093\n", ""),
        ("controller.quorum.bootstrap.servers=127.0.0.1:9093,192.0.2.1:9093\n", "192.0.2.1:9093"),
        (
            "process.roles=controller\nlisteners=CONTROLLER://:9093\n\
             controller.quorum.bootstrap.servers=127.0.0.1:9093\n",
            "process.roles=controller",
        ),
    ];
    for (text, wanted) in cases {
        let settings = started(&format!("{COMBINED}{text}"));
        let found = settings.other_nodes(&|host| host.starts_with("127.")).unwrap_or_default();
        assert!(found.is_empty() == wanted.is_empty() && found.contains(wanted), "{text}: {found}");
    }
}

#[test]
fn oneself_is_the_controllers_port_at_an_own_name_or_address() {
    let is_other = |text: &str| {
        let settings = started(&format!(
            "{COMBINED}advertised.listeners=PLAINTEXT://me.example:9092\n\
             controller.quorum.bootstrap.servers={text}\n"
        ));
        settings.other_nodes(&|host| host.starts_with("127.")).is_some()
    };
    let others =
        ["127.0.0.1:9093", "me.example:9093", "127.0.0.1:9094", "192.0.2.1:9093"].map(is_other);
    assert_eq!(others, [false, false, true, true]);
}

#[test]
fn a_heartbeat_that_is_too_rare_is_a_warning() {
    let warnings = |text: &str| started(&format!("{COMBINED}{text}")).warnings.join("\n");
    assert_eq!(warnings("broker.heartbeat.interval.ms=4500\n"), "");
    assert!(warnings("broker.heartbeat.interval.ms=4501\n").contains("(4501)"));
    assert!(warnings("broker.session.timeout.ms=3999\n").contains("(3999)"));
}
