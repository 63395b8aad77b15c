"""`cost`: how many system calls a produce of one batch takes, counted by strace on the running server."""

import collections
import re
import signal
import subprocess
import tempfile
import time

from kit import install, report, servers, wire

BATCHES = 500
ALLOWED = 4


def run(arguments):
    table = report.Report()
    install.program("strace", "strace")
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        server = servers.Ottla(folder, binary=arguments.binary)
        try:
            server.start()
            calls, threads = traced(server, folder)
            per = sum(calls.values()) / BATCHES
            table.add("server", "ottla", "ok" if per <= ALLOWED else "failed",
                      f"a produce takes {per:.2f} system calls ({', '.join(sorted(calls))})", f"{ALLOWED} are allowed")
            table.add("server", "ottla", "ok" if threads == 1 else "failed", "one thread does all of it", f"{threads} threads")
        finally:
            server.kill()
    return table.end()


def traced(server, folder):
    """The calls between the first and the last append, by name, and how many threads made the appends.

    Timers wake a thread now and then whatever is produced: only calls that stand between two appends in the same thread count,
    and of those the waits that found nothing to read do not.
    """
    out = f"{folder}/strace"
    with wire.Connection(server.port) as connection:
        wire.topic(connection, "cost")
        batch = wire.batch([(b"k", b"v" * 1000)])
        wire.produce(connection, "cost", 0, batch)
        tracer = subprocess.Popen(["strace", "-f", "-o", out, "-p", str(server.process.pid)], stderr=subprocess.DEVNULL)
        time.sleep(1)  # strace does not print when it is ready
        for _ in range(BATCHES):
            wire.produce(connection, "cost", 0, batch)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    with open(out, encoding="latin-1") as lines:
        rows = [match.groups() for match in (re.match(r"(\d+)\s+(\w+)\((.*)", line) for line in lines) if match]
    appenders = {thread for thread, name, _ in rows if name == "pwritev"}
    thread = next(iter(appenders))
    mine = [(name, rest) for who, name, rest in rows if who == thread]
    first = next(index for index, (name, _) in enumerate(mine) if name == "pwritev")
    last = max(index for index, (name, _) in enumerate(mine) if name == "pwritev")
    # An epoll_wait that reports the connection says EPOLLIN with its socket ready to write as well; a timer's does not.
    idle = ("epoll_wait", "write", "restart_syscall")
    counted = [name for name, rest in mine[first:last + 1] if name not in idle or "EPOLLIN|EPOLLOUT" in rest]
    return collections.Counter(counted), len(appenders)
