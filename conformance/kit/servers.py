"""The two servers: Ottla, and a genuine Apache Kafka 4.3.1. Both start on a free loopback port in a given folder."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

from kit import install, wire

ROOT = pathlib.Path(__file__).resolve().parents[2]

SETTINGS = {
    "auto.create.topics.enable": "true",
    "num.partitions": "1",
    "default.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "100",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.backoff.ms": "500",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server process with its data folder; `start`, `stop`, `kill` as often as one likes, always on one port."""

    def __init__(self, folder, data=None):
        self.folder = pathlib.Path(folder)
        self.data = pathlib.Path(data) if data else self.folder / "data"
        self.port, self.process = free_port(), None
        self.settings = {}  # what a run wants beside SETTINGS
        self.log = self.folder / f"{self.name}.log"

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Starts the process and waits for its first answer; returns the seconds from start to answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        begin = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wire.await_ready(self.port, self.alive, seconds=120)
        except RuntimeError as error:
            self.kill()
            raise RuntimeError(f"{self.name}: {error}\n{self.tail()}") from None
        return time.monotonic() - begin

    def stop(self):
        """Asks the process to end and waits until it has; returns its exit code."""
        if not self.alive():
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} did not end within 120 s after SIGTERM\n{self.tail()}") from None

    def kill(self):
        """kill -9."""
        if self.alive():
            self.process.kill()
            self.process.wait()

    def tail(self, lines=25):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"


class Ottla(Server):
    name = "ottla"

    def __init__(self, folder, data=None, binary=None):
        super().__init__(folder, data)
        self.binary = binary

    @staticmethod
    def build():
        """The path of the release binary, built if it is not there."""
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        binary = target / "release" / "ottla"
        if not binary.exists():
            print("building ottla with cargo build --release ...", flush=True)
            subprocess.run(["cargo", "build", "--release", "--bin", "ottla"], cwd=ROOT, check=True)
        return binary

    def prepare(self):
        self.binary = self.binary or self.build()

    def command(self):
        settings = {
            **SETTINGS, "listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "log.dirs": self.data, **self.settings}
        overrides = [word for key, value in settings.items() for word in ("--override", f"{key}={value}")]
        return [str(self.binary), "server", "--format-if-empty", *overrides]

    def version(self):
        out = subprocess.run([str(self.binary), "--version"], capture_output=True, text=True, check=False)
        return out.stdout.strip() or "?"


class Apache(Server):
    name = "apache"

    def __init__(self, folder, data=None):
        super().__init__(folder, data)
        self.controller_port = free_port()
        self.config = self.folder / "server.properties"

    def prepare(self):
        install.apache()
        properties = self.data / "meta.properties"
        node = "1"
        if properties.exists():
            node = re.search(r"^node\.id=(\d+)", properties.read_text(), re.M).group(1)
        settings = {
            **SETTINGS,
            "process.roles": "broker,controller",
            "node.id": node,
            "log.dirs": self.data,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            **self.settings,
        }
        self.config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if not properties.exists():
            subprocess.run(
                [*java(), "kafka.tools.StorageTool", "format", "--standalone", "-t", "Y29uZm9ybWFuY2UtdGVzdA",
                 "-c", str(self.config)], check=True, capture_output=True, cwd=self.folder)

    def command(self):
        return [*java("-Xmx512m", "-Xms256m"), "kafka.Kafka", str(self.config)]

    def version(self):
        return "Apache Kafka " + install.KAFKA


def java(*flags, jars=None):
    """The start of a command line that runs a class of Apache Kafka 4.3.1, or of other jars."""
    config = pathlib.Path(__file__).with_name("log4j2.properties")
    return ["java", *flags, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={config}",
            "-cp", f"{jars or install.apache()}/*"]
