"""Clusters of several nodes, of Ottla or of Apache Kafka 4.3.1, with the same properties files; their quorum as DescribeQuorum
tells it."""

import base64
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid

from kit import install, schemas, servers, wire

INCREMENTAL_ALTER_CONFIGS, DESCRIBE_QUORUM = 44, 55
TOPIC, SET = 2, 0
METADATA_FOLDER = "__cluster_metadata-0"
MESSAGES = schemas.load()
COMBINED = "broker,controller"
SETTINGS = {
    **servers.SETTINGS,
    "auto.create.topics.enable": "false",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    # Three JVMs of 256 MB have no room for cleaners of 128 MB.
    "log.cleaner.dedupe.buffer.size": "10485760",
}


class OttlaKind:
    """Starts and formats nodes of Ottla."""

    name = "ottla"

    def __init__(self, binary=None):
        self.binary = str(pathlib.Path(binary or servers.Ottla.build()).resolve())

    def server(self, config):
        return [self.binary, "server", str(config)]

    def storage(self, *words):
        return [self.binary, "kafka-storage", *words]

    def settings(self, network):
        # APIs between nodes are served on listeners of other interfaces only if that is opened.
        return {} if isinstance(network, Loopback) else {"ottla.inter.node.listeners": "open"}


class ApacheKind:
    """Starts and formats nodes of Apache Kafka."""

    name = "apache"

    def server(self, config):
        return [*servers.java("-Xmx256m", "-Xms64m"), "kafka.Kafka", str(config)]

    def storage(self, *words):
        return [*servers.java("-Xmx128m"), "kafka.tools.StorageTool", *words]

    def settings(self, network):
        return {}


class Loopback:
    """All nodes on 127.0.0.1; ports from below the range that outgoing connections use.

    A node that is dead leaves its port free: others that reconnect to it may get that very port as their own, and connect to
    themselves.
    """

    dice = random.Random()
    given = set()

    def host(self, _number):
        return "127.0.0.1"

    def port(self, _role):
        while True:
            port = self.dice.randint(20000, 31999)
            if port in self.given:
                continue
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            self.given.add(port)
            return port

    def inside(self, _number, command):
        return command

    def close(self):
        pass


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Namespaces:
    """Each node in a network namespace of its own, on a bridge; a second bridge is where a node goes whose links are cut.

    Clients run outside and reach a node that is cut, the other nodes do not: their packets are lost without an answer.
    """

    NET = "198.18.77"
    MAC = "02:6f:71:00:00:01"
    # No interface has this one.
    NOWHERE = "02:6f:71:ff:ff:ff"

    def __init__(self, numbers):
        self.mark, self.numbers = f"oq{os.getpid() % 100000}", list(numbers)
        self.bridges = [f"{self.mark}b0", f"{self.mark}b1"]
        try:
            self.make()
        except (RuntimeError, OSError) as error:
            self.close()
            raise RuntimeError(f"no network namespaces: {error}") from None

    def make(self):
        for bridge in self.bridges:
            # One address of hardware: nodes that move need not ask for it again.
            run("ip", "link", "add", "name", bridge, "address", self.MAC, "type", "bridge")
            run("ip", "link", "set", bridge, "up")
        run("ip", "address", "add", f"{self.NET}.254/24", "dev", self.bridges[0])
        for number in self.numbers:
            space, ours, theirs = self.space(number), f"{self.mark}v{number}", f"{self.mark}p{number}"
            run("ip", "netns", "add", space)
            run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs)
            run("ip", "link", "set", theirs, "netns", space)
            run("ip", "link", "set", ours, "master", self.bridges[0], "up")
            inside = ["ip", "-n", space]
            run(*inside, "link", "set", "lo", "up")
            run(*inside, "address", "add", f"{self.host(number)}/24", "dev", theirs)
            run(*inside, "link", "set", theirs, "up")

    def space(self, number):
        return f"{self.mark}n{number}"

    def host(self, number):
        return f"{self.NET}.{number}"

    def port(self, role):
        return 9093 if role == "controller" else 9092

    def inside(self, number, command):
        return ["ip", "netns", "exec", self.space(number), *command]

    def cut(self, number):
        run("ip", "link", "set", f"{self.mark}v{number}", "master", self.bridges[1])
        run("ip", "route", "add", f"{self.host(number)}/32", "dev", self.bridges[1], "src", f"{self.NET}.254")

    def heal(self, number):
        run("ip", "route", "del", f"{self.host(number)}/32", "dev", self.bridges[1])
        run("ip", "link", "set", f"{self.mark}v{number}", "master", self.bridges[0])

    def mute(self, number):
        """What a node sends to the others is lost; what they send to it arrives."""
        for other in self.others(number):
            run("ip", "-n", self.space(number), "neigh", "replace", self.host(other), "lladdr", self.NOWHERE,
                "dev", f"{self.mark}p{number}", "nud", "permanent")

    def unmute(self, number):
        for other in self.others(number):
            run("ip", "-n", self.space(number), "neigh", "del", self.host(other), "dev", f"{self.mark}p{number}")

    def others(self, number):
        return [other for other in self.numbers if other != number]

    def close(self):
        for number in self.numbers:
            subprocess.run(["ip", "link", "del", f"{self.mark}v{number}"], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "del", self.space(number)], capture_output=True, check=False)
        for bridge in self.bridges:
            subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


class Member(servers.Server):
    """One node of a cluster. Its metadata log has a folder of its own, beside that of the partitions."""

    def __init__(self, cluster, number, roles):
        self.name, self.cluster, self.number, self.roles = f"{cluster.kind.name}-{number}", cluster, number, roles
        folder = cluster.folder / f"node-{number}"
        super().__init__(folder, folder / "data")
        self.host = cluster.network.host(number)
        self.port = cluster.network.port("broker") if self.is_broker else None
        self.controller_port = cluster.network.port("controller") if self.is_controller else None
        self.metadata, self.config = self.folder / "metadata", self.folder / "server.properties"
        self.directory, self.mounted = directory_id(), []

    @property
    def is_broker(self):
        return "broker" in self.roles

    @property
    def is_controller(self):
        return "controller" in self.roles

    @property
    def bootstrap(self):
        return f"{self.host}:{self.port}"

    @property
    def controller(self):
        return f"{self.host}:{self.controller_port}"

    def write_config(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        listeners = [f"PLAINTEXT://{self.bootstrap}"] * self.is_broker + [f"CONTROLLER://{self.controller}"] * self.is_controller
        settings = {
            **SETTINGS, **self.cluster.settings, "process.roles": self.roles, "node.id": self.number,
            "listeners": ",".join(listeners), "log.dirs": self.data, "metadata.log.dir": self.metadata,
        }
        self.config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def format(self, *more):
        command = self.cluster.kind.storage("format", "--cluster-id", self.cluster.id, "--config", str(self.config), *more)
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name}: format {' '.join(more)}: exit {done.returncode}: {(done.stdout + done.stderr)[-600:]}")

    def launch(self):
        """Starts the process, without waiting for an answer."""
        command = self.cluster.network.inside(self.number, self.cluster.kind.server(self.config))
        around = dict(os.environ)
        if self.cluster.has_clocks:
            self.set_clock(0)
            around.update(LD_PRELOAD=str(install.clock()), CLOCK_OFFSET=str(self.folder / "clock"))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=around)

    def check_alive(self):
        if not self.alive():
            raise RuntimeError(f"{self.name} ended with exit code {self.process.returncode}\n{self.tail()}")

    def set_clock(self, seconds):
        """Sets the wall clock of a node off, whether it runs or not."""
        path = self.folder / "clock"
        if not path.exists():
            path.write_bytes(bytes(8))
        with open(path, "r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def wiped(self):
        """Kills the node and takes its folders away; puts them back and starts it if what follows fails."""
        self.kill()
        folders = [self.metadata, self.data]
        for folder in folders:
            folder.rename(f"{folder}.lost")
        try:
            yield
        except BaseException:
            self.kill()
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
                pathlib.Path(f"{folder}.lost").rename(folder)
            self.launch()
            raise

    def mount_small(self, megabytes, folder=None):
        """Moves a folder (the metadata log's, unless another is named) of a node that does not run to a small tmpfs; whether that
        may be done here."""
        folder = folder or self.metadata
        aside = pathlib.Path(f"{folder}.aside")
        folder.rename(aside)
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        is_mounted = os.geteuid() == 0 and subprocess.run(words, capture_output=True, check=False).returncode == 0
        if is_mounted:
            self.mounted.append(folder)
            # Index files have their full size, and little in them.
            run("cp", "--archive", "--sparse=always", f"{aside}/.", str(folder))
        else:
            folder.rmdir()
            aside.rename(folder)
        return is_mounted

    def kill(self):
        """kill -9, of a stopped process too."""
        if self.alive():
            self.resume()
        super().kill()

    def remove(self):
        """Ends the process for good."""
        self.kill()
        for folder in self.mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)

    def connect(self, timeout=5.0):
        """A connection to the broker's listener."""
        return wire.Connection(self.port, timeout=timeout, host=self.host)

    def topics(self, timeout=20.0):
        """The names of all topics and the ids of all brokers, as this node's metadata has them."""
        with self.connect(timeout) as connection:
            found = wire.metadata(connection, None)
        return set(found["topics"]), sorted(number for number, *_ in found["brokers"])

    def resident_mb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def cpu_seconds(self):
        """What each thread of the process has used."""
        threads = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return {thread.name: int((thread / "schedstat").read_text().split()[0]) / 1e9 for thread in threads}


def directory_id():
    """A directory id as `kafka-storage random-uuid` prints it."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


@dataclasses.dataclass
class Quorum:
    """What a leader answers to DescribeQuorum. Voters and observers: node id to (directory id, log end)."""

    leader: int
    epoch: int
    high_watermark: int
    voters: dict
    observers: dict

    def ends(self):
        """The log end of each node; a wiped voter is an observer, too, with another directory."""
        rows = [*self.voters.items(), *self.observers.items()]
        return {number: max(end for other, (_, end) in rows if other == number) for number, _ in rows}


def ask(connection, key, version, values):
    """One request, written and its answer read after the schema files."""
    request, response = MESSAGES[key, "request"], MESSAGES[key, "response"]
    flexible = b"\x00" if version in request.flexible else b""
    reply = connection.ask(key, version, flexible + schemas.write(request, version, values))
    return schemas.read(response, version, reply.raw[reply.at + (version in response.flexible):])


def describe_quorum(connection):
    """DescribeQuorum v2; None if this node does not lead."""
    topics = [{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 0}]}]
    answer = ask(connection, DESCRIBE_QUORUM, 2, {"Topics": topics})
    if answer["ErrorCode"] or not answer["Topics"]:
        return None
    part = answer["Topics"][0]["Partitions"][0]
    if part["ErrorCode"]:
        return None
    shown = lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")
    replicas = lambda rows: {row["ReplicaId"]: (shown(row["ReplicaDirectoryId"]), row["LogEndOffset"]) for row in rows}
    return Quorum(part["LeaderId"], part["LeaderEpoch"], part["HighWatermark"], replicas(part["CurrentVoters"]),
                  replicas(part["Observers"]))


def set_topic_configs(connection, topics, name, value):
    """IncrementalAlterConfigs v1: one setting of several topics."""
    resources = [{"ResourceType": TOPIC, "ResourceName": topic, "Configs": [{"Name": name, "ConfigOperation": SET, "Value": value}]}
                 for topic in topics]
    answer = ask(connection, INCREMENTAL_ALTER_CONFIGS, 1, {"Resources": resources, "ValidateOnly": False})
    wrong = [(row["ResourceName"], row["ErrorCode"], row["ErrorMessage"]) for row in answer["Responses"] if row["ErrorCode"]]
    assert not wrong, f"setting {name}: {wrong[:3]}"


class Cluster:
    """Nodes that make one cluster; `shape` is node id to roles, `settings` what a run wants beside SETTINGS.

    Only with `has_clocks` can a node's clock be set.
    """

    def __init__(self, kind, folder, shape, network=None, is_static=False, has_clocks=False, settings=None):
        self.kind, self.folder, self.network = kind, pathlib.Path(folder), network or Loopback()
        self.id, self.is_static, self.has_clocks, self.leaders = directory_id(), is_static, has_clocks, {}
        self.members = {}
        for number, roles in shape.items():
            self.members[number] = Member(self, number, roles)
        if is_static:
            voters = ",".join(f"{member.number}@{member.controller}" for member in self.controllers)
            self.settings = {"controller.quorum.voters": voters}
        else:
            servers_of = ",".join(member.controller for member in self.controllers)
            self.settings = {"controller.quorum.bootstrap.servers": servers_of}
        self.settings.update({**self.kind.settings(self.network), **(settings or {})})

    @property
    def brokers(self):
        return [member for member in self.members.values() if member.is_broker]

    @property
    def controllers(self):
        return [member for member in self.members.values() if member.is_controller]

    def format(self):
        initial = ",".join(f"{it.number}@{it.controller}:{it.directory}" for it in self.controllers)
        install.apache()
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(self.format_one, member, initial) for member in self.members.values()]:
                done.result()

    def format_one(self, member, initial):
        member.write_config()
        member.format(*(["--initial-controllers", initial] if member.is_controller and not self.is_static else []))

    def launch(self):
        for member in self.members.values():
            member.launch()

    def start(self, seconds=240):
        """Starts all nodes; the seconds until each broker's metadata has all brokers."""
        begin = time.monotonic()
        self.launch()
        wanted = sorted(member.number for member in self.brokers)

        def are_there():
            for member in self.members.values():
                member.check_alive()
            return all(member.topics()[1] == wanted for member in self.brokers)

        until(are_there, "each broker's metadata has all brokers", seconds, self)
        until(lambda: self.quorum() is not None, "a controller leads", seconds, self)
        return time.monotonic() - begin

    def remove(self):
        for member in self.members.values():
            member.remove()

    def quorum(self, among=None, timeout=2.0):
        """The quorum as the leader with the highest epoch has it, None without a leader; remembers who led in which epoch."""
        found = None
        for member in self.controllers if among is None else among:
            if not member.alive():
                continue
            try:
                with wire.Connection(member.controller_port, timeout=timeout, host=member.host) as connection:
                    answer = describe_quorum(connection)
            except (OSError, wire.Closed, schemas.Truncated):
                continue
            if answer is not None:
                self.leaders.setdefault(answer.epoch, set()).add(answer.leader)
                if found is None or found.epoch < answer.epoch:
                    found = answer
        return found

    def leader(self, seconds=30):
        """The controller that leads, waited for, and its quorum."""
        quorum = until(lambda: self.quorum(), "a controller leads", seconds, self)
        return self.members[quorum.leader], quorum

    def doubled(self):
        """Epochs in which more than one controller led."""
        return {epoch: leaders for epoch, leaders in self.leaders.items() if len(leaders) > 1}

    def tails(self):
        return "\n".join(f"--- {member.name}{'' if member.alive() else ' (ended)'}\n{member.tail(8)}" for member in self.members.values())


def until(holds, text, seconds, cluster=None, pause=0.02):
    """Waits until `holds()` is true, gives what it gave; a failure has the ends of the nodes' logs."""
    end, trouble = time.monotonic() + seconds, None
    while True:
        try:
            found = holds()
            if found:
                return found
        except (OSError, wire.Closed) as error:
            trouble = error
        if time.monotonic() > end:
            more = f" (last error: {trouble})" if trouble else ""
            raise RuntimeError(f"not within {seconds} s: {text}{more}" + (f"\n{cluster.tails()}" if cluster else ""))
        time.sleep(pause)
