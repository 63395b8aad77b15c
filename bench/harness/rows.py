"""What is measured: one function a row, which loads a running server and returns its figures.

Those that write much say so (`writes`): memory is written to before them.
"""

import time

from harness import clients, crowds, messages
from harness.drive import MB, check, report, start


class Row:
    """A row of the table: which load it is a figure of, in which unit, and what is wanted of it.

    The goals: `over_kafka`, `over_roofline`, `over_nats` and `over_rabbitmq` are Ottla's figure over that one's, `most` is
    Ottla's figure itself, `own` is another row and Ottla's figure over its own figure there, `cpu` Ottla's CPU over Apache's.

    `peers`: the names of the servers that it is measured at; without `roof`, not at the roofline.
    `alone`: the load gets a server of its own. `once`: it runs in the first round only; "quick": of a quick run.
    `long`: not in a quick run; `short`: only there.
    """

    def __init__(self, name, title, unit, load, *, key="value", over_kafka=None, over_roofline=None, over_nats=None,
                 over_rabbitmq=None, most=None, own=None, cpu=0.2, cpu_key="cpu", lower=False, roof=True, peers=None, long=False, short=False, alone=False, once=False):
        self.name, self.title, self.unit, self.load, self.key = name, title, unit, load, key
        self.goals = {"kafka": over_kafka, "roofline": over_roofline, "nats": over_nats, "rabbitmq": over_rabbitmq}
        self.most, self.own, self.cpu, self.cpu_key = most, own, cpu, cpu_key
        self.peers = peers or (("kafka", "roofline", "ottla") if roof else ("kafka", "ottla"))
        self.lower, self.long, self.short, self.alone, self.once = lower, long, short, alone, once


def produce(connections, records, record_bytes, depth=5, seconds=3.0, compression="none"):
    """Writes as fast as it goes: MB/s (10^6 bytes of values, before compression), and CPU seconds a GB."""

    def load(server, name, scale):
        size = records * record_bytes
        # A first run shows how many messages are enough; it warms the server up, too.
        server.topic(name + "-warm", connections)
        count = max(depth * 4, 64 * MB // size // connections)
        warm = report(start(server, "produce", name + "-warm", connections=connections, records=records,
                            record_bytes=record_bytes, depth=depth, count=count, compression=compression))
        # The driver counts bytes as they are sent.
        a_second = count * connections / warm["seconds"]
        count = int(max(count, a_second * seconds * scale / connections))
        server.topic(name, connections)
        cpu = server.cpu()
        found = report(start(server, "produce", name, connections=connections, records=records,
                             record_bytes=record_bytes, depth=depth, count=count, compression=compression))
        cpu = server.cpu() - cpu
        check(server, name, connections, count * records * connections)
        total = count * size * connections
        return {"value": total / found["seconds"] / MB, "cpu": cpu / (total / 1e9), "max_ms": found["us"]["max"] / 1000}

    load.writes = True
    return load


def both(records, record_bytes, seconds=3.0):
    """Writes as fast as it goes, and reads along: MB/s each way."""

    def load(server, name, scale):
        size = records * record_bytes
        server.topic(name + "-warm", 1)
        warm = report(start(server, "produce", name + "-warm", records=records, record_bytes=record_bytes, count=1000))
        count = int(max(1000, warm["mb_s"] * MB * seconds * scale / size * 0.6))
        server.topic(name, 1)
        cpu, begun = server.cpu(), time.monotonic()
        reader = start(server, "fetch", name, records=count * records)
        writer = start(server, "produce", name, records=records, record_bytes=record_bytes, count=count)
        report(writer)
        report(reader)
        took = time.monotonic() - begun
        cpu = server.cpu() - cpu
        check(server, name, 1, count * records)
        return {"value": count * size / took / MB, "cpu": cpu / (2 * count * size / 1e9)}

    load.writes = True
    return load


def fetch_hot(connections, seconds=3):
    """Reads what is in the cache, over and over, 1 MB at a time."""

    def load(server, name, scale):
        server.topic(name, connections)
        report(start(server, "produce", name, connections=connections, records=1000, record_bytes=1000, count=100))
        cpu = server.cpu()
        found = report(start(server, "fetch", name, connections=connections, seconds=max(1, round(seconds * scale))))
        cpu = server.cpu() - cpu
        return {"value": found["mb_s"], "cpu": cpu / (found["bytes"] / 1e9)}

    return load


def small(server, name, scale):
    """One record a request, 4 connections, 5 in flight: records a second."""
    count = int(20_000 * scale) if server.label.startswith("Apache") else int(150_000 * scale)
    server.topic(name, 4)
    cpu = server.cpu()
    found = report(start(server, "produce", name, connections=4, depth=5, count=count))
    cpu = server.cpu() - cpu
    check(server, name, 4, count * 4)
    return {"value": count * 4 / found["seconds"], "cpu": cpu / (count * 4) * 1e6}


def latency(found, count, cpu=None):
    return {**{key: found["us"][key] for key in ("p50", "p99", "p999")},
            **({"cpu": cpu / count * 1e6} if cpu is not None else {})}


def acknowledgement(server, name, scale):
    """One record after the other, acks=all: microseconds until each is acknowledged."""
    server.topic(name, 1)
    count = int(15_000 * scale)
    report(start(server, "produce", name, depth=1, count=count // 3))
    cpu = server.cpu()
    found = report(start(server, "produce", name, depth=1, count=count))
    cpu = server.cpu() - cpu
    check(server, name, 1, count + count // 3)
    return latency(found, count, cpu)


def end_to_end(server, name, scale):
    """A record at a time, read along by a fetch that waits: microseconds from when it was due until it is read."""
    server.topic(name, 1)
    report(start(server, "tail", name, rate=500, count=300))
    return latency(report(start(server, "tail", name, rate=500, count=int(1500 * scale))), 1)


def beside(server, name, scale):
    """As `acknowledgement`, 500 a second, beside 400 MB/s of other writes."""
    server.topic(name, 1)
    server.topic(name + "-other", 2)
    count = int(2000 * scale)
    other = start(server, "produce", name + "-other", connections=2, records=1000, record_bytes=1000, rate=200,
                  count=int(count / 500 * 230))
    report(start(server, "produce", name, depth=1, rate=500, count=100))
    found = report(start(server, "produce", name, depth=1, rate=500, count=count))
    report(other)
    return latency(found, 1)


beside.writes = True


def compressed_beside(server, name, scale):
    """As `beside`, but beside 60 MB/s of 1 MB batches: the p99 with zstd over that without compression."""
    found = {}
    for codec in ("none", "zstd"):
        topic = f"{name}-{codec}"
        server.topic(topic, 1)
        server.topic(topic + "-other", 2)
        count = int(2000 * scale)
        other = start(server, "produce", topic + "-other", connections=2, records=1000, record_bytes=1000, rate=30,
                      count=int(count / 500 * 36), compression=codec)
        report(start(server, "produce", topic, depth=1, rate=500, count=100))
        found[codec] = report(start(server, "produce", topic, depth=1, rate=500, count=count))["us"]["p99"]
        report(other)
    return {"value": found["zstd"] / found["none"], **found}


compressed_beside.writes = True


def sustained(server, name, scale):
    """16 GB as fast as it goes: MB/s, and the longest acknowledgement."""
    server.topic(name, 2)
    count = 8000
    found = report(start(server, "produce", name, connections=2, records=1000, record_bytes=1000, count=count))
    check(server, name, 2, count * 2000)
    return {"value": found["mb_s"], "longest": found["us"]["max"] / 1000}


sustained.writes = True


def durable(server, name, scale):
    """Each record on the disk before it is acknowledged, 16 producers on one partition: records a second."""
    server.topic(name, 1, **{"flush.messages": "1"})
    count = int(150 * scale) if server.label.startswith("Apache") else int(600 * scale)
    found = report(start(server, "produce", name, connections=16, sharing=16, depth=1, count=count))
    check(server, name, 1, count * 16)
    return {"value": count * 16 / found["seconds"]}


ROWS = [
    Row("produce-16k", "produce, 1 connection, 16 KB batches of 100 B", "MB/s", produce(1, 160, 100), over_kafka=6, over_roofline=0.85),
    Row("produce-16k-8", "the same, 8 connections, 8 partitions", "MB/s", produce(8, 160, 100), over_kafka=4, over_roofline=0.85),
    Row("produce-64k", "64 KB batches of 100 B, 1 connection", "MB/s", produce(1, 640, 100), over_kafka=6, over_roofline=0.85),
    Row("produce-1m", "1 MB batches of 1 KB, 2 connections", "MB/s", produce(2, 1000, 1000), over_kafka=3, over_roofline=0.85),
    Row("both-64k", "produce and consume at once, 64 KB", "MB/s each way", both(640, 100), over_kafka=4.5, over_roofline=0.8),
    Row("fetch-1", "fetch hot, 1 MB, 1 connection", "MB/s", fetch_hot(1), over_kafka=2.5, over_roofline=0.9),
    Row("fetch-2", "fetch hot, 1 MB, 2 connections", "MB/s", fetch_hot(2), over_kafka=2.5, over_roofline=0.9),
    Row("small", "one record a request, 4 connections", "records/s", small, over_kafka=9, over_roofline=0.8),
    Row("ack-p50", "acknowledgement, depth 1, acks=all, p50", "us", acknowledgement, key="p50", over_kafka=0.8, lower=True),
    Row("ack-p99", "the same, p99", "us", acknowledgement, key="p99", over_kafka=0.5, lower=True),
    Row("ack-p999", "the same, p99.9", "us", acknowledgement, key="p999", over_kafka=0.25, lower=True),
    Row("tail-p50", "end to end, parked fetch, p50", "us", end_to_end, key="p50", over_kafka=0.4, lower=True),
    Row("tail-p99", "the same, p99", "us", end_to_end, key="p99", over_kafka=0.5, lower=True),
    Row("tail-p999", "the same, p99.9", "us", end_to_end, key="p999", over_kafka=0.5, lower=True),
    Row("beside-p99", "acknowledgement beside 400 MB/s, p99", "us", beside, key="p99", over_kafka=0.2, lower=True),
    Row("beside-p999", "the same, p99.9", "us", beside, key="p999", over_kafka=0.2, lower=True),
    *(Row(f"produce-{codec}", f"produce, 1 connection, 64 KB batches of 100 B of text, {codec}", "MB/s",
          produce(1, 640, 100, compression=codec), over_kafka=2, roof=False) for codec in ("gzip", "snappy", "lz4", "zstd")),
    Row("produce-zstd-1m", "1 MB batches of 1 KB of text, zstd, 2 connections", "MB/s", produce(2, 1000, 1000, compression="zstd"),
        over_kafka=2, roof=False),
    Row("beside-zstd", "p99 beside 60 MB/s of 1 MB zstd batches, over beside plain ones", "times", compressed_beside, most=1.2,
        lower=True, roof=False),
    Row("durable", "fsync before each acknowledgement, 16 producers", "records/s", durable, over_kafka=10),
    Row("crowd", "p99 of 100 connections with 5,000 idle ones, over without", "times", crowds.idle_beside, most=1.2, lower=True, roof=False),
    Row("consumers", "1,000 consumers on one topic, hot", "MB/s", crowds.consumers, over_kafka=3),
    Row("sustained", "sustained 16 GB, 1 MB batches, 2 connections", "MB/s", sustained, over_kafka=3, long=True, once=True),
    Row("longest", "the same, longest acknowledgement", "ms", sustained, key="longest", over_kafka=0.25, lower=True, long=True, once=True),
    Row("create", "create 5,000 partitions, 5 requests", "s", crowds.many, key="create", most=1, lower=True, roof=False, alone=True),
    Row("idle", "idle CPU with them", "thousandths of a core", crowds.many, key="idle", most=1, lower=True, roof=False, alone=True),
    Row("restart", "clean restart with them", "s", crowds.many, key="restart", most=0.15, lower=True, roof=False, alone=True),
    Row("turn-1k", "1,000 partitions in turn, 16 KB batches, 1 connection", "MB/s", crowds.in_turn(1_000), own=("produce-16k", 0.85),
        alone=True, short=True, once=True),
    Row("turn-10k", "10,000 partitions in turn, 16 KB batches, 1 connection", "MB/s", crowds.in_turn(10_000), own=("produce-16k", 0.85),
        alone=True, long=True),
    *clients.rows(Row),
    *crowds.recovery_rows(Row),
    *messages.rows(Row),
]
