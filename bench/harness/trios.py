"""Three nodes with both roles, of Ottla or of Apache Kafka 4.3.1, or the three processes of a roofline, one cluster at a time:
their start, topics with three replicas, and what the three processes use together."""

import pathlib
import re
import subprocess
import sys
import time

from harness import peers
from harness.drive import report, start

sys.path.insert(0, str(peers.ROOT / "conformance"))

from kit import cluster, install, quorum, replica_logs, servers, wire  # noqa: E402  (conformance's kit)

ELECT_LEADERS, FIND_COORDINATOR = 43, 10
NONE, ELECTION_NOT_NEEDED = 0, 84
PREFERRED = 0
NUMBERS = tuple(quorum.THREE)
SETTINGS = {
    "offsets.topic.replication.factor": "3",
    # One partition each: one node coordinates all groups, and the driver need not look for others.
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}


class MeasuredApache(cluster.ApacheKind):
    """Apache Kafka with the memory and the collector of its own start script."""

    def server(self, config):
        log = pathlib.Path(servers.__file__).with_name("log4j2.properties")
        return ["java", *peers.JVM, f"-Dlog4j2.configurationFile={log}", "-cp", f"{install.apache()}/*", "kafka.Kafka", str(config)]


class Three:
    """Three processes that are measured: `members` have a number, a port and a process."""

    def cpu(self):
        """Seconds of a core that the three processes have used."""
        return sum(time.clock_gettime(~member.process.pid << 3 | 2) for member in self.members)

    def drive(self, mode, name, **options):
        """What the driver reports of one connection to the first node, which leads partition 0."""
        return report(start(self.members[0], mode, name, **options))

    def drive_three(self, name, **options):
        """One connection to each node, all at once: what each reports. Topic `name-N` is led by node N."""
        running = [start(member, "produce", f"{name}-{member.number}", **options) for member in self.members]
        return [report(process) for process in running]


class Relay(servers.Server):
    """One process of the roofline: it writes what its own clients send, and what the other two relay to it."""

    name = "relay"

    def __init__(self, number, folder):
        super().__init__(folder)
        self.number, self.replica_port = number, servers.free_port()

    def launch(self, program, peer_ports):
        self.data.mkdir(parents=True)
        command = [program, self.data, self.port, self.replica_port, *peer_ports]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline() == "ready\n", "the roofline did not start"

    def resident_mb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


class Relays(Three):
    """Three writers that relay the same bytes over sockets: no brokers, but the limit."""

    label = "roofline"

    def __init__(self, folder):
        self.members = [Relay(number, folder / f"relay-{number}") for number in NUMBERS]

    def start(self):
        source = pathlib.Path(__file__).with_name("relay.c")

        def make(folder):
            install.program("cc", "gcc")
            install.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", folder / "relay", source], folder)

        program = install.once("relay", source.read_text(), make) / "relay"
        for member in self.members:
            member.launch(program, [other.replica_port for other in self.members if other is not member])
        return 0.0

    def end(self):
        for member in self.members:
            member.kill()

    def topic(self, name, leaders=NUMBERS):
        pass

    def check(self, name, wanted):
        assert all(member.alive() for member in self.members), "a process of the roofline ended"


class Trio(Three):
    """A cluster of three nodes that is measured; `folder` is where the nodes' folders go."""

    def __init__(self, label, kind, folder):
        self.label, self.kind = label, kind
        self.nodes = cluster.Cluster(kind, folder, quorum.THREE, settings=SETTINGS)

    def start(self):
        """Formats three nodes and starts them; the seconds from the start until each knows all three, and a controller leads."""
        self.nodes.format()
        return self.nodes.start()

    def end(self):
        self.nodes.remove()

    @property
    def members(self):
        return list(self.nodes.members.values())

    def resident(self):
        """Bytes of resident memory of the three."""
        return sum(member.resident_mb() for member in self.members) * (1 << 20)

    def topic(self, name, leaders=NUMBERS):
        """Makes a topic of three replicas: partition i is led by the i-th of these nodes. Waits until all replicas are in sync."""
        placed = {index: [first, *(other for other in NUMBERS if other != first)] for index, first in enumerate(leaders)}
        with self.members[0].connect(120) as connection:
            code = wire.create_topics(connection, {name: (-1, -1, placed, {"min.insync.replicas": "2"})})[name]
        assert code == NONE, f"{self.label}: creating {name}: error code {code}"
        replica_logs.await_full(self.nodes, [name])
        # The metadata may be ahead of the log: a partition serves when it can tell its end.
        cluster.until(lambda: all(error == NONE for error, _ in self.ends(name)), f"{name} serves", 30, self.nodes)

    def ends(self, name):
        """Each partition's (error code, high watermark), by its leader."""
        found = []
        for part in replica_logs.partitions(self.members[0], name):
            with self.nodes.members[part.leader].connect(60) as connection:
                found += wire.ends(connection, name, [part.index])
        return found

    def check(self, name, wanted):
        """Every record that was acknowledged is there, once, and all replicas have it."""
        replica_logs.await_full(self.nodes, [name])
        ends = self.ends(name)
        assert all(error == NONE for error, _ in ends), f"{self.label}: {name}: {ends}"
        found = sum(end for _, end in ends)
        assert found == wanted, f"{self.label}: {found} records in {name}, {wanted} were acknowledged"

    def elect_preferred(self, name):
        """Makes the first replica of each partition its leader again."""
        def elected():
            indexes = [part.index for part in replica_logs.partitions(self.members[0], name)]
            with self.members[0].connect(30) as connection:
                answer = cluster.ask(connection, ELECT_LEADERS, 2, {
                    "ElectionType": PREFERRED, "TopicPartitions": [{"Topic": name, "Partitions": indexes}], "TimeoutMs": 10_000})
            codes = {row["ErrorCode"] for found in answer["ReplicaElectionResults"] for row in found["PartitionResult"]}
            return answer["ErrorCode"] == NONE and codes <= {NONE, ELECTION_NOT_NEEDED}

        cluster.until(elected, f"the preferred leaders of {name} lead", 60, self.nodes, pause=0.2)
        leads = lambda part: part.leader == part.replicas[0]
        replica_logs.await_partitions(self.nodes, name, leads, "the first replica leads")

    def coordinator(self, key, kind=wire.GROUP):
        """The member that coordinates a group or a transactional id, waited for."""
        def found():
            with self.members[0].connect(30) as connection:
                reply = connection.ask(FIND_COORDINATOR, 1, wire.Out().text(key).put("b", kind))
            reply.take("i")
            code, _, number = reply.take("h"), reply.text(), reply.take("i")
            return code == NONE and self.nodes.members[number]

        return cluster.until(found, f"the coordinator of {key} is known", 60, self.nodes, pause=0.1)
