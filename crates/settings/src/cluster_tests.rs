//! What a list of nodes means, and what follows from it.

use super::*;

#[test]
fn a_list_names_each_node_by_its_place_or_its_id() {
    // The text, and how the list is shown; an error is shown by a part.
    let cases = [
        ("a:9092,b:9092,c:9092", Ok("1@a:9092,2@b:9092,3@c:9092")),
        (" A:9092 , b:9092:9093,", Ok("1@a:9092,2@b:9092")),
        ("3@c:1,1@a:1", Ok("1@a:1,3@c:1")),
        ("0@a:1", Ok("0@a:1")),
        ("a:9092:19092,[::1]:9092:7", Ok("1@a:9092:19092,2@[::1]:9092:7")),
        ("[::1]:9092", Ok("1@[::1]:9092")),
        ("a:9092,a:9094", Ok("1@a:9092,2@a:9094")),
        ("", Err("1 to 9 nodes, not 0")),
        ("a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1,j:1", Err("1 to 9 nodes, not 10")),
        ("a", Err("must be host:port")),
        ("a:b:c", Err("must be host:port")),
        ("::1:9092", Err("must be host:port")),
        (":9092", Err("name the host")),
        ("0.0.0.0:9092", Err("name the host")),
        ("a:0", Err("port 0")),
        ("a:65535", Err("must be host:port")),
        ("a:65535:1", Ok("1@a:65535:1")),
        ("a:9092:9092", Err("share port 9092")),
        ("1@a:1,b:1", Err("either each node has an id")),
        ("a:1,2@b:1", Err("either each node has an id")),
        ("1@a:1,1@b:1", Err("node 1 stands there twice")),
        ("-1@a:1", Err("must be id@host:port")),
        ("a:9092,a:9093", Err("nodes 1 and 2 share a:9093")),
    ];
    for (text, wanted) in cases {
        match (ClusterList::parse(text), wanted) {
            (Ok(list), Ok(shown)) => {
                assert_eq!(list.to_string(), shown, "{text}");
                assert_eq!(ClusterList::parse(shown), Ok(list), "{text}");
            }
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (list, _) => panic!("{text}: {list:?}"),
        }
    }
}

fn read(file: Option<&str>, overrides: &[&str]) -> Result<Settings, SettingError> {
    let overrides: Vec<String> = overrides.iter().map(|it| (*it).to_owned()).collect();
    Settings::read(file, &overrides)
}

#[test]
fn roles_listeners_and_controllers_follow_from_the_list() {
    let file = "node.id=2\nlog.dirs=/data\nottla.cluster=a.example:9092,b.example:9092:19093\n";
    let settings = read(Some(file), &[]).unwrap();
    let text = |name| settings.text(name).unwrap_or_default();
    assert_eq!(text("process.roles"), "broker,controller");
    assert_eq!(text("listeners"), "PLAINTEXT://:9092,CONTROLLER://:19093");
    assert_eq!(
        text("advertised.listeners"),
        "PLAINTEXT://b.example:9092,CONTROLLER://b.example:19093"
    );
    assert_eq!(text("controller.quorum.bootstrap.servers"), "a.example:9093,b.example:19093");
    assert_eq!(settings.place("listeners"), "ottla.cluster");
    // On one machine, without a file: only that machine is listened to.
    let list = "ottla.cluster=127.0.0.1:9092,127.0.0.1:9094,127.0.0.1:9096";
    let settings = read(None, &["node.id=3", list]).unwrap();
    let listeners = settings.text("listeners");
    assert_eq!(listeners, Some("PLAINTEXT://127.0.0.1:9096,CONTROLLER://127.0.0.1:9097"));
    assert!(settings.has_default_directory());
    // A node that is tried out alone has one replica; three nodes have three.
    let factors = ["offsets.topic.replication.factor", "transaction.state.log.replication.factor"];
    assert_eq!(factors.map(|name| settings.number(name)), [3, 3]);
    assert_eq!(settings.number("transaction.state.log.min.isr"), 2);
}

#[test]
fn what_is_given_counts_more_than_what_follows() {
    let file = "node.id=1\nlog.dirs=/data\nottla.cluster=a:9092,b:9092\n\
         listeners=CLIENTS://10.0.0.1:9092,C://10.0.0.1:9093\ncontroller.listener.names=C\n\
         listener.security.protocol.map=CLIENTS:PLAINTEXT,C:PLAINTEXT\n\
         inter.broker.listener.name=CLIENTS\n";
    let settings = read(Some(file), &[]).unwrap();
    assert_eq!(settings.text("listeners"), Some("CLIENTS://10.0.0.1:9092,C://10.0.0.1:9093"));
    assert_eq!(settings.text("advertised.listeners"), None);
    assert_eq!(settings.text("controller.quorum.bootstrap.servers"), Some("a:9093,b:9093"));
}

#[test]
fn a_list_that_contradicts_the_settings_is_refused() {
    let list = "ottla.cluster=a:9092,b:9092";
    // More settings, and a part of what is said.
    let cases: [(&[&str], &str); 6] = [
        (&[], "needs node.id, which of its nodes this one is: --node 1"),
        (&["node.id=3"], "node.id=3 is not among the nodes of ottla.cluster=1@a:9092,2@b:9092"),
        (
            &["node.id=1", "controller.quorum.voters=1@a:9093"],
            "only one of controller.quorum.voters and ottla.cluster",
        ),
        (&["node.id=1", "process.roles=controller"], "every node of ottla.cluster is broker and"),
        (
            &[
                "node.id=1",
                "controller.listener.names=C",
                "listeners=PLAINTEXT://a:9092,C://a:9999",
            ],
            "no listener of C has port 9093",
        ),
        (&["node.id=1", "ottla.cluster=a"], "--override: ottla.cluster=a: a must be host:port"),
    ];
    for (more, part) in cases {
        let why = read(None, &[&[list], more].concat()).unwrap_err().to_string();
        assert!(why.contains(part), "{more:?}: {why}");
    }
}
