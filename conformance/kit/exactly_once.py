"""`exactly-once`: Apache's TransactionalMessageCopier copies a topic, while clients and the node are killed at random; with
`--nodes 3`, one of three nodes at a time.

What is read with read_committed from the output must be what stands in the input: each record once.
"""

import collections
import random
import subprocess
import tempfile
import time

from kit import cluster, replica_logs, replication, report, servers, wire

IN, OUT, PARTITIONS = "eos-in", "eos-out", 2


def tool(name, *arguments):
    command = [*servers.java("-Xmx128m"), "org.apache.kafka.tools." + name, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def copier(server, number):
    return tool("TransactionalMessageCopier", "--broker-list", server.bootstrap, "--input-topic", IN, "--output-topic", OUT,
                "--input-partition", 0, "--consumer-group", "eos", "--transaction-size", 50, "--transaction-timeout", 10_000,
                "--transactional-id", f"copier-{number}", "--enable-random-aborts", "--group-mode")


def producer(server):
    # Values are numbers from 0 on each time; a prefix distinguishes the runs.
    producer.runs += 1
    return tool("VerifiableProducer", "--bootstrap-server", server.bootstrap, "--topic", IN, "--throughput", 400, "--acks", "-1",
                "--value-prefix", producer.runs)


producer.runs = 0


def values(server, topic):
    """All committed values of a topic."""
    command = ["kcat", "-b", server.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed"]
    return subprocess.run(command, capture_output=True, timeout=300, check=True).stdout.split()


class Nodes:
    """Three nodes that look like one server: `kill` kills one of them, `start` starts it again and waits for all replicas."""

    def __init__(self, kind, folder, dice):
        shape = dict.fromkeys((1, 2, 3), cluster.COMBINED)
        self.nodes, self.dice = cluster.Cluster(kind, folder, shape, settings=replication.REPLICATED), dice

    @property
    def bootstrap(self):
        return ",".join(member.bootstrap for member in self.nodes.brokers)

    def start(self):
        dead = [member for member in self.nodes.members.values() if not member.alive()]
        if len(dead) < len(self.nodes.members):
            for member in dead:
                member.launch()
            replica_logs.await_full(self.nodes, [IN, OUT])
            return
        self.nodes.format()
        self.nodes.start()
        with self.nodes.brokers[0].connect(40) as connection:
            made = wire.create_topics(connection, {topic: (PARTITIONS, 3, {}, {"min.insync.replicas": "2"}) for topic in (IN, OUT)})
        if any(made.values()):
            raise RuntimeError(f"creating the topics: error codes {made}")
        replica_logs.await_full(self.nodes, [IN, OUT])

    def kill(self):
        self.dice.choice(list(self.nodes.members.values())).kill()

    def remove(self):
        self.nodes.remove()


class Alone:
    """One server of the same manner."""

    def __init__(self, server):
        self.server, self.is_made = server, False

    @property
    def bootstrap(self):
        return self.server.bootstrap

    def start(self):
        self.server.start()
        if not self.is_made:
            with wire.Connection(self.server.port) as connection:
                for topic in (IN, OUT):
                    wire.topic(connection, topic, partitions=PARTITIONS)
            self.is_made = True

    def kill(self):
        self.server.kill()

    remove = kill


def made(arguments, folder, dice):
    """The server, or the three, that `arguments` name."""
    is_ottla = arguments.against == "ottla"
    if arguments.nodes > 1:
        return Nodes(cluster.OttlaKind(arguments.binary) if is_ottla else cluster.ApacheKind(), folder, dice)
    return Alone(servers.Ottla(folder, binary=arguments.binary) if is_ottla else servers.Apache(folder))


def run(arguments):
    table, dice = report.Report(), random.Random(arguments.seed)
    kills = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as folder:
        server = made(arguments, folder, dice)
        running = {}
        try:
            server.start()
            start = {"producer": lambda: producer(server), "copier 0": lambda: copier(server, 0), "copier 1": lambda: copier(server, 1)}
            running.update({name: make() for name, make in start.items()})
            until = time.monotonic() + arguments.minutes * 60
            while time.monotonic() < until:
                time.sleep(dice.uniform(3, 9))
                victim = dice.choice(["node", "node", *start])
                kills[victim] += 1
                if victim == "node":
                    server.kill()
                    time.sleep(dice.uniform(0, 1))
                    server.start()
                else:
                    running[victim].kill()
                    running[victim].wait()
                # A client that gave up because of a kill begins again, too.
                for name, make in start.items():
                    if running[name].poll() is not None:
                        running[name] = make()
            running["producer"].kill()
            source = collections.Counter(values(server, IN))
            copied = settle(server, running, start, sum(source.values()))
            lost, more = source - copied, copied - source
            told = ", ".join(f"{count} of {name}" for name, count in sorted(kills.items()))
            count = sum(source.values())
            table.add("server", arguments.against, "failed" if lost or not count else "ok",
                      f"{count} records copied through kills ({told}): 0 lost", f"{sum(lost.values())} lost: {list(lost)[:5]}")
            table.add("server", arguments.against, "failed" if more else "ok", "0 doubled", f"{sum(more.values())} doubled: {list(more)[:5]}")
        except (RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            table.add("server", arguments.against, "failed", "runs", str(error))
        finally:
            for process in running.values():
                process.kill()
            server.remove()
    return table.end()


def settle(server, running, start, wanted, seconds=120):
    """Waits until nothing more is copied; what was copied then."""
    until, copied = time.monotonic() + seconds, collections.Counter()
    while sum(copied.values()) < wanted and time.monotonic() < until:
        for name in ("copier 0", "copier 1"):
            if running[name].poll() is not None:
                running[name] = start[name]()
        time.sleep(2)
        copied = collections.Counter(values(server, OUT))
    return copied
