"""The servers that are compared, each on a port and in a folder of its own, one at a time."""

import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "conformance"))

from kit import install, servers, wire  # noqa: E402  (conformance's kit)

# What bin/kafka-server-start.sh starts Apache Kafka with.
JVM = ["-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
       "-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true"]


def driver():
    """The path of the raw wire driver, built if it is not there."""
    subprocess.run(["cargo", "build", "-q", "--release", "-p", "ottla-load"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "ottla-load"


class Measured:
    """What every peer lets one look at."""

    # The driver's mode for messages with a confirmation for each.
    mode = "kafka"

    def cpu(self):
        """Seconds of a core that the process has used, to the nanosecond: Linux has a clock for each process."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def resident(self):
        """Bytes of resident memory."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        return 0

    def topic(self, name, partitions=1, **configs):
        with wire.Connection(self.port, timeout=120) as connection:
            wire.topic(connection, name, partitions=partitions, **configs)

    def count(self, name, partitions=1):
        """How many records there are, by the offsets."""
        with wire.Connection(self.port, timeout=120) as connection:
            found = wire.ends(connection, name, range(partitions))
        assert all(error == 0 for error, _ in found), f"{self.label}: {str(found)[:500]}"
        return sum(end for _, end in found)


class Ottla(Measured, servers.Ottla):
    label = "Ottla"


class Apache(Measured, servers.Apache):
    label = "Apache Kafka 4.3.1"

    def command(self):
        config = pathlib.Path(servers.__file__).with_name("log4j2.properties")
        return ["java", *JVM, f"-Dlog4j2.configurationFile={config}", "-cp", f"{install.apache()}/*", "kafka.Kafka", str(self.config)]


class Roofline(Measured, servers.Server):
    """The least that a log broker must do: no broker, but the limit."""

    name, label = "roofline", "roofline"

    def prepare(self):
        pass

    def command(self):
        return [str(driver()), "roofline", "--port", str(self.port), "--dir", str(self.data)]

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline() == "ready\n", "the roofline did not start"
        return 0.0

    def topic(self, name, partitions=1, **configs):
        if "flush.messages" in configs:
            (self.data / f"{name}.flush").touch()

    def count(self, name, partitions=1):
        return None


PEERS = {"kafka": Apache, "roofline": Roofline, "ottla": Ottla}
