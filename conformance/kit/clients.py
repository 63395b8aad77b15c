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


ALL = [
    Client("kcat", kcat_version, kcat_command),
    python("confluent", "confluent", "confluent-kafka"),
]
