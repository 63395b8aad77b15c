"""`logs`: a node's life, and which events its log in JSON has: each once, with its fields."""

import collections
import json
import os
import socket
import subprocess
import tempfile

from kit import report, servers, wire

# Message, how often it is due, the fields that it must have, and the values that some of them must have.
EVENTS = [
    ("node starting", 2, ["version", "commit", "kafka"], {}),
    ("node started", 2, ["version", "commit", "kafka", "cluster_id", "node_id", "roles", "listeners", "log_dirs", "formatted",
                         "clean_stop_before", "partitions", "recovery_ms", "start_ms"], {"node_id": 1}),
    ("topic created", 1, ["topic_id", "partitions", "replication_factor"], {"topic": "orders", "partitions": 2}),
    ("topic partitions added", 1, ["topic_id"], {"topic": "orders", "from": 2, "to": 3}),
    ("topic deleted", 1, ["topic_id"], {"topic": "orders"}),
    ("setting changed", 1, ["client"], {"resource_type": "topic", "resource": "orders", "setting": "retention.ms",
                                        "from": "(default)", "to": "60000", "principal": "User:ANONYMOUS"}),
    ("setting changed", 1, ["client"], {"resource_type": "topic", "setting": "retention.ms", "from": "60000", "to": "(default)"}),
    ("setting changed", 1, ["client"], {"resource_type": "broker", "setting": "max.connections.per.ip"}),
    ("setting changed", 1, ["client"], {"resource_type": "broker-logger", "setting": "ottla_net", "from": "INFO", "to": "WARN"}),
    ("group rebalance started", 1, ["generation", "members", "reason"], {"group": "classic"}),
    ("group rebalance finished", 1, ["generation", "members", "reason"], {"group": "classic"}),
    ("group rebalance finished", 1, ["generation", "reason"], {"group": "classic", "members": 0}),
    ("group rebalance started", 1, ["generation", "members", "reason"], {"group": "consumer"}),
    ("group rebalance finished", 1, ["generation", "members", "reason"], {"group": "consumer", "members": 1}),
    ("group rebalance finished", 1, ["generation", "reason"], {"group": "consumer", "members": 0}),
    ("quota changed", 1, ["client"], {"entity": "user=alice", "quota": "producer_byte_rate", "from": "(none)", "to": "1024",
                                      "principal": "User:ANONYMOUS"}),
    ("feature level changed", 1, ["client", "principal"], {"feature": "transaction.version", "from": 2, "to": 1}),
    ("feature level changed", 1, ["client", "principal"], {"feature": "transaction.version", "from": 1, "to": 2}),
    ("quota changed", 1, ["client"], {"entity": "user=alice", "quota": "producer_byte_rate", "from": "1024", "to": "(none)"}),
    ("SCRAM credential stored", 1, ["client", "principal"], {"user": "alice", "mechanism": "SCRAM-SHA-256"}),
    ("SCRAM credential deleted", 1, ["client", "principal"], {"user": "alice", "mechanism": "SCRAM-SHA-256"}),
    ("connections refused (max.connections, max.connections.per.ip)", 1, ["client", "count", "connections"], {}),
    ("stray folder set aside: the metadata has no such partition", 1, ["folder", "renamed_to"], {"partition": "nothing-0"}),
    ("partition cannot be opened; it is offline", 1, ["error"], {"partition": "kept-0"}),
    ("node stopping", 2, ["signal"], {"signal": "SIGTERM"}),
    ("node stopped cleanly", 2, ["stop_ms"], {}),
]
# Warnings and errors that are planted; a node without trouble logs no others.
PLANTED = {"connections refused (max.connections, max.connections.per.ip)", "partition cannot be opened; it is offline",
           "stray folder set aside: the metadata has no such partition"}

SECRET = "hunter2"


def run(arguments):
    table = report.Report()
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        server = Logging(folder, binary=arguments.binary)
        try:
            live(server)
            server.stop()
            plant(server.data)
            server.start()
            wire.await_ready(server.port, server.alive)
            server.stop()
        finally:
            server.kill()
        check(table, server.log.read_text())
    return table.end()


class Logging(servers.Ottla):
    """A node that logs in JSON."""

    def command(self):
        return [*super().command(), "--log-format", "json"]

    def tool(self, *words):
        done = subprocess.run([str(self.binary), *words, "--bootstrap-server", self.bootstrap], capture_output=True, text=True,
                              timeout=60, check=False, env={**os.environ, "HOME": str(self.folder)})
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")


def live(server):
    """What a node sees in its life."""
    server.settings["auto.create.topics.enable"] = "false"
    server.start()
    configs = lambda kind, name, *words: server.tool("kafka-configs", "--alter", "--entity-type", kind, "--entity-name", name, *words)
    server.tool("kafka-topics", "--create", "--topic", "orders", "--partitions", "2")
    server.tool("kafka-topics", "--create", "--topic", "kept")
    server.tool("kafka-topics", "--alter", "--topic", "orders", "--partitions", "3")
    configs("topics", "orders", "--add-config", "retention.ms=60000")
    configs("topics", "orders", "--delete-config", "retention.ms")
    server.tool("kafka-features", "downgrade", "--feature", "transaction.version=1")
    server.tool("kafka-features", "upgrade", "--feature", "transaction.version=2")
    configs("broker-loggers", "1", "--add-config", "ottla_net=WARN")
    configs("users", "alice", "--add-config", "producer_byte_rate=1024")
    configs("users", "alice", "--delete-config", "producer_byte_rate")
    configs("users", "alice", "--add-config", f"SCRAM-SHA-256=[password={SECRET}]")
    configs("users", "alice", "--delete-config", "SCRAM-SHA-256")
    with wire.Connection(server.port) as connection:
        wire.produce(connection, "kept", 0, wire.batch([(b"k", b"v")]))
    for group, more in (("classic", []), ("consumer", ["--consumer-property", "group.protocol=consumer"])):
        server.tool("kafka-console-consumer", "--topic", "kept", "--from-beginning", "--max-messages", "1", "--group", group, *more)
    server.tool("kafka-topics", "--delete", "--topic", "orders")
    # The tool's connection has gone when it ends; one more than one is refused.
    configs("brokers", "1", "--add-config", "max.connections.per.ip=1")
    with socket.create_connection(("127.0.0.1", server.port), 10) as held:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", server.port), 10) as refused:
                refused.settimeout(10)
                if not refused.recv(1):
                    break


def plant(data):
    """What a start must log."""
    (data / "nothing-0").mkdir()
    (data / "kept-0" / "partition.metadata").write_text("nothing")


def check(table, text):
    events, broken = [], []
    for line in text.splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            broken.append(line)
    table.add("log", "ottla", "failed" if broken else "ok", f"each of {len(events)} lines is an object", str(broken[:3]))
    bare = [event for event in events if not all(event.get(name) for name in ("timestamp", "level", "message", "target"))]
    table.add("log", "ottla", "failed" if bare else "ok", "each has timestamp, level, message, target", str(bare[:3]))
    local = [event["timestamp"] for event in events if not event["timestamp"].endswith("Z")]
    table.add("log", "ottla", "failed" if local else "ok", "each time has its zone", str(local[:3]))
    table.add("log", "ottla", "failed" if SECRET in text else "ok", "no password is in it")
    for message, due, fields, values in EVENTS:
        found = [event for event in events
                 if event["message"] == message and all(event.get(name) == value for name, value in values.items())]
        lacking = [name for name in fields for event in found if event.get(name) in (None, "")]
        shown = f"{message} {' '.join(f'{name}={value}' for name, value in values.items())}"
        # A group may rebalance once more when its member leaves; connections are refused in the second life, too.
        may_repeat = message.startswith(("group", "connections"))
        good = (len(found) >= due if may_repeat else len(found) == due) and not lacking
        table.add("log", "ottla", "ok" if good else "failed", shown[:74], f"{len(found)} times for {due}, without {lacking}")
    loud = collections.Counter(event["message"] for event in events if event["level"] in ("WARN", "ERROR"))
    loud = {message: count for message, count in loud.items() if message not in PLANTED}
    table.add("log", "ottla", "failed" if loud else "ok", "no warnings but those that were planted", str(loud))
