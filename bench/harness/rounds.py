"""What all runs do in their rounds: the order of servers, one load, and the facts that stand beside the figures."""

import os
import platform
import struct
import subprocess
import sys
import time

from harness.machine import touch_memory
from kit import wire  # conformance's kit

FAILURES = (AssertionError, OSError, RuntimeError, ValueError, struct.error, wire.Closed, subprocess.SubprocessError)


class Failures(list):
    """What went wrong, in words; each is told at once."""

    def add(self, what, error):
        self.append(f"{what}: {str(error)[:1500]!r}")
        print(self[-1], file=sys.stderr, flush=True)

    def exit(self):
        if self:
            sys.exit("failed:\n" + "\n".join(self))


def in_turn(kinds, number):
    """The servers in the order of a round: back in each second one."""
    return kinds if number % 2 == 0 else reversed(kinds)


def measure(server, load, name, scale, found, failures):
    """Adds the figures of one load to `found`; the others must not be lost if it fails."""
    if getattr(load, "writes", False):
        touch_memory(scale)
    begun = time.monotonic()
    try:
        figures = load(server, name, scale)
    except FAILURES as error:
        failures.add(f"{server.label}, {name}", error)
    else:
        found[load] = {**figures, "took": time.monotonic() - begun}


def facts(rounds, words):
    """The machine, the day and the command that gives the figures."""
    return {"machine": platform.platform(), "cores": os.cpu_count(), "rounds": rounds, "when": time.strftime("%Y-%m-%d"),
            "command": " ".join(["bench/run", *words])}
