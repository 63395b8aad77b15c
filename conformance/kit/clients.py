"""The client programs: how each is installed, called, and what it can be asked."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from typing import Callable

from kit import install


@dataclasses.dataclass
class Client:
    """`command` installs the client and gives the start of its command line; `version` is asked afterwards."""

    name: str
    version: Callable[[], str]
    command: Callable[[], list]
    phases: frozenset = frozenset({"write", "read", "rest", "resume", "group", "static"})

    def environment(self, server):
        return {**os.environ, "BOOTSTRAP": server.bootstrap, "CLIENT": self.name}

    def popen(self, server, phase, arguments, **pipes):
        """Starts the program in a process group of its own, so that it can be killed with all it started."""
        return subprocess.Popen(
            [*map(str, self.command()), phase, *map(str, arguments)], env=self.environment(server),
            start_new_session=True, text=True, stdout=subprocess.PIPE, **pipes)

    def run(self, server, phase, *arguments, seconds=240):
        """Runs one phase to its end; yields (result, check, note)."""
        process = self.popen(server, phase, arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=seconds)
            late = None
        except subprocess.TimeoutExpired:
            kill_group(process)
            out, err = process.communicate()
            late = f"no end within {seconds} s"
        told = [line.split("\t", 2) for line in out.splitlines()]
        yield from (row for row in told if len(row) == 3 and row[0] in ("ok", "failed", "skipped"))
        if late or process.returncode != 0:
            noise = " | ".join(err.strip().splitlines()[-6:])
            yield "failed", phase, f"{late or f'exit code {process.returncode}'}: {noise[-600:]}"


def kill_group(process):
    """kill -9 for a client and for what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def python(name, folder, package):
    return Client(
        name,
        lambda: next(p for p in install.PYTHON[name] if p.startswith(package)).split("==")[1],
        lambda: [install.python(name), install.CLIENTS / folder / "client.py"])


def kcat_version():
    out = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
    return re.search(r"Version (\S+)", out)[1]


def kcat_command():
    install.kcat()
    return [sys.executable, install.CLIENTS / "kcat/client.py"]


def tools_command():
    os.environ["JARS"] = str(install.apache())
    return [sys.executable, install.CLIENTS / "tools/client.py"]


def old_java_command():
    jars = install.old_java()
    made = install.classes("java27-classes", jars, [install.CLIENTS / "java27/Peter.java"])
    return ["java", "-Xmx256m", "-cp", f"{made}:{jars}/*", "Peter"]


def node_command():
    os.environ["PACKAGES"] = str(install.node())
    return ["node", install.CLIENTS / "kafkajs/client.js"]


def go_command():
    os.environ["CLIENTS"] = str(install.CLIENTS)
    return [install.go("franz")]


ALL = [
    Client("kcat", kcat_version, kcat_command),
    python("confluent", "confluent", "confluent-kafka"),
    dataclasses.replace(
        python("kafka-python", "kafka_python", "kafka-python"), phases=frozenset({"read", "rest", "resume", "group"})),
    Client("kafkajs", lambda: "2.2.4", node_command, frozenset({"rest", "resume"})),
    Client("franz-go", lambda: "1.20.0", go_command),
    Client("java-tools", lambda: install.KAFKA, tools_command, frozenset({"rest"})),
    Client("java-2.7.0", lambda: install.OLD_KAFKA, old_java_command, frozenset({"rest"})),
]
