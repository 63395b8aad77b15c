"""Loads of many: partitions taken in turn, consumers of one topic, idle connections, and a long log after kill -9."""

import pathlib
import shutil
import socket
import statistics
import time

from harness import peers
from harness.drive import MB, check, report, start
from kit import wire

RECOVERY_PARTITIONS = 8


def in_turn(partitions, seconds=3.0):
    """Writes batches of 16 KB, each to the next partition: MB/s, and CPU seconds a GB. Each has two batches before.

    Apache maps two indexes of 10 MB for each partition, and ext4 with large folios takes 40 ms to zero the first page that is
    touched: minutes for all partitions. With small indexes it is measured at its best.
    """

    def load(server, name, scale):
        server.topic(name, partitions, **{"segment.index.bytes": "65536"})
        options = {"records": 160, "record_bytes": 100, "depth": 5, "partitions": partitions}
        first = report(start(server, "produce", name, count=2 * partitions, **options))
        count = int(max(partitions / 2, first["mb_s"] * MB * seconds * scale / 16_000))
        cpu = server.cpu()
        found = report(start(server, "produce", name, count=count, **options))
        cpu = server.cpu() - cpu
        check(server, name, partitions, (2 * partitions + count) * 160)
        total = count * 16_000
        return {"value": total / found["seconds"] / MB, "cpu": cpu / (total / 1e9)}

    load.writes = True
    return load


def many(server, name, scale):
    """Creates 5,000 partitions by 5 requests: seconds; does nothing: thousandths of a core; restarts cleanly: seconds."""
    begun = time.monotonic()
    for at in range(5):
        server.topic(f"{name}-{at}", 1000)
    create = time.monotonic() - begun
    # What the creation has left to do is not idleness.
    time.sleep(6)
    cpu, seconds = server.cpu(), 10 * scale
    time.sleep(seconds)
    idle = (server.cpu() - cpu) / seconds * 1000
    server.stop()
    return {"create": create, "idle": idle, "restart": server.start()}


def consumers(server, name, scale):
    """1,000 connections that read the same 100 MB over and over, 1 MB at a time: MB/s of all, CPU seconds a GB."""
    server.topic(name, 1)
    report(start(server, "produce", name, records=1000, record_bytes=1000, count=100))
    cpu = server.cpu()
    found = report(start(server, "fetch", name, connections=1000, sharing=1000, seconds=max(2, round(4 * scale))))
    cpu = server.cpu() - cpu
    return {"value": found["mb_s"], "cpu": cpu / (found["bytes"] / 1e9)}


def idle_beside(server, name, scale):
    """5,000 idle connections: how many times as long the p99 of 100 others becomes, which write 20 records a second each.

    Without, with, with, without: what the machine does meanwhile is felt by both.
    """
    server.topic(name, 10)

    def p99(seconds):
        found = report(start(server, "produce", name, connections=100, sharing=10, depth=1, rate=20, count=int(20 * seconds)))
        return found["us"]["p99"]

    p99(1)
    seconds, sockets = max(1, 3 * scale), []
    without, beside = [p99(seconds)], []
    try:
        for at in range(5000):
            sockets.append(socket.create_connection(("127.0.0.1", server.port)))
            # More than a server has taken in make its system drop them, and be asked again a second later.
            if at % 20 == 0:
                time.sleep(0.01)
        beside += [p99(seconds), p99(seconds)]
    finally:
        for it in sockets:
            it.close()
    time.sleep(0.5)  # the server hangs up 5,000 times
    without.append(p99(seconds))
    return {"value": statistics.mean(beside) / statistics.mean(without)}


def recovery(gb):
    """Kills the server with so many GB of log: seconds until the first answer, and until each partition takes a record."""

    def load(server, name, scale):
        # Two connections take the partitions in turn: all get as many batches if each gets an even number.
        each = int(gb * 1000 / RECOVERY_PARTITIONS) // 2 * 2
        server.topic(name, RECOVERY_PARTITIONS)
        report(start(server, "produce", name, connections=2, partitions=RECOVERY_PARTITIONS, records=1000, record_bytes=1000,
                     count=each * RECOVERY_PARTITIONS // 2))
        server.kill()
        begun = time.monotonic()
        first = server.start()
        with wire.Connection(server.port, timeout=600) as connection:
            for partition in range(RECOVERY_PARTITIONS):
                error, base, *_ = wire.produce(connection, name, partition, wire.batch([(None, b"x")]))
                assert (error, base) == (0, each * 1000), f"{server.label}: error {error}, offset {base}, due {each * 1000}"
        return {"value": time.monotonic() - begun, "first": first}

    load.writes = True
    return load


def recovery_rows(row):
    """A log of 40 GB, or what there is room for: the title has the size."""
    gb = min(40, int(shutil.disk_usage(pathlib.Path(peers.ROOT)).free / 1e9 * 0.6))
    load, options = recovery(gb), {"lower": True, "roof": False, "long": True, "alone": True, "once": True}
    return [
        row("recovery", f"kill -9 with {gb} GB of log, after a pause in writing, until each partition takes a record", "s", load, most=0.3, **options),
        row("recovery-first", "the same, until the first answer", "s", load, key="first", most=0.3, **options),
    ]
