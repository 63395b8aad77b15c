"""What is measured: one function a row, which loads a running server and returns its figures."""

import json
import socket
import subprocess
import time

from harness import peers

MB = 1_000_000


class Row:
    """A row of the table: which load it is a figure of, in which unit, and what is wanted of it."""

    def __init__(self, name, title, unit, load, *, key="value", cpu="cpu", k=None, r=None, n=None, q=None, lower=False, roof=True,
                 long=False, peers=None):
        self.name, self.title, self.unit, self.load, self.key, self.cpu = name, title, unit, load, key, cpu
        # The goals: Ottla's figure over that of each other.
        self.goals = {"K": k, "R": r, "N": n, "Q": q}
        self.lower, self.long = lower, long
        self.peers = peers or ("KRO" if roof else "KO")


def start(server, mode, topic, **options):
    words = [word for key, value in options.items() for word in ("--" + key.replace("_", "-"), str(value))]
    command = [str(peers.driver_path), mode, "--port", str(server.port), "--topic", topic, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def report(process):
    out, _ = process.communicate()
    assert process.returncode == 0, f"{' '.join(process.args)} failed"
    return json.loads(out)


def check(server, topic, partitions, wanted):
    """Every record that was acknowledged is there, once."""
    found = server.count(topic, partitions)
    assert found in (None, wanted), f"{server.label}: {found} records in {topic}, {wanted} were acknowledged"


def produce(connections, records, record_bytes, depth=5, seconds=3.0):
    """Writes as fast as it goes: MB/s (10^6 bytes of values), and CPU seconds a GB."""

    def load(server, name, scale):
        size = records * record_bytes
        # A first run tells how much is enough; it warms the server up, too.
        server.topic(name + "-warm", connections)
        count = max(depth * 4, 64 * MB // size // connections)
        warm = report(start(server, "produce", name + "-warm", connections=connections, records=records,
                            record_bytes=record_bytes, depth=depth, count=count))
        count = int(max(count, warm["mb_s"] * MB * seconds * scale / size / connections))
        server.topic(name, connections)
        cpu = server.cpu()
        found = report(start(server, "produce", name, connections=connections, records=records,
                             record_bytes=record_bytes, depth=depth, count=count))
        cpu = server.cpu() - cpu
        check(server, name, connections, count * records * connections)
        total = count * size * connections
        return {"value": total / found["seconds"] / MB, "cpu": cpu / (total / 1e9), "max_ms": found["us"]["max"] / 1000}

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


def sustained(server, name, scale):
    """16 GB as fast as it goes: MB/s, and the longest acknowledgement."""
    server.topic(name, 2)
    count = int(8000 * scale)
    found = report(start(server, "produce", name, connections=2, records=1000, record_bytes=1000, count=count))
    check(server, name, 2, count * 2000)
    return {"value": found["mb_s"], "longest": found["us"]["max"] / 1000}


def durable(server, name, scale):
    """Each record on the disk before it is acknowledged, 16 producers on one partition: records a second."""
    server.topic(name, 1, **{"flush.messages": "1"})
    count = int(150 * scale) if server.label.startswith("Apache") else int(600 * scale)
    found = report(start(server, "produce", name, connections=16, sharing=16, depth=1, count=count))
    check(server, name, 1, count * 16)
    return {"value": count * 16 / found["seconds"]}


def create(server, name, scale):
    """Creates 5,000 partitions by 5 requests: seconds."""
    begun = time.monotonic()
    for at in range(5):
        server.topic(f"{name}-{at}", 1000)
    return {"value": time.monotonic() - begun}


def restart(server, name, scale):
    """Stops cleanly and starts with all the partitions that are there: seconds to the first answer."""
    server.stop()
    return {"value": server.start()}


def idle(server, name, scale):
    """Does nothing for ten seconds: thousandths of a core."""
    time.sleep(3)
    cpu, seconds = server.cpu(), 10
    time.sleep(seconds)
    return {"value": (server.cpu() - cpu) / seconds * 1000}


def crowd(server, name, scale):
    """5,000 idle connections: how many times as long the p99 of an acknowledgement becomes."""
    alone = acknowledgement(server, name + "-alone", scale)["p99"]
    sockets = []
    try:
        for _ in range(5000):
            sockets.append(socket.create_connection(("127.0.0.1", server.port)))
        return {"value": acknowledgement(server, name, scale)["p99"] / alone}
    finally:
        for it in sockets:
            it.close()


ROWS = [
    Row("produce-16k", "produce, 1 connection, 16 KB batches of 100 B", "MB/s", produce(1, 160, 100), k=6, r=0.85),
    Row("produce-16k-8", "the same, 8 connections, 8 partitions", "MB/s", produce(8, 160, 100), k=4, r=0.85),
    Row("produce-64k", "64 KB batches of 100 B, 1 connection", "MB/s", produce(1, 640, 100), k=6, r=0.85),
    Row("produce-1m", "1 MB batches of 1 KB, 2 connections", "MB/s", produce(2, 1000, 1000), k=3, r=0.85),
    Row("both-64k", "produce and consume at once, 64 KB", "MB/s each way", both(640, 100), k=4.5, r=0.8),
    Row("fetch-1", "fetch hot, 1 MB, 1 connection", "MB/s", fetch_hot(1), k=2.5, r=0.9),
    Row("fetch-2", "fetch hot, 1 MB, 2 connections", "MB/s", fetch_hot(2), k=2.5, r=0.9),
    Row("small", "one record a request, 4 connections", "records/s", small, k=9, r=0.8),
    Row("ack-p50", "acknowledgement, depth 1, acks=all, p50", "us", acknowledgement, key="p50", k=0.8, lower=True),
    Row("ack-p99", "the same, p99", "us", acknowledgement, key="p99", k=0.5, lower=True),
    Row("ack-p999", "the same, p99.9", "us", acknowledgement, key="p999", k=0.25, lower=True),
    Row("tail-p50", "end to end, parked fetch, p50", "us", end_to_end, key="p50", k=0.4, lower=True),
    Row("tail-p99", "the same, p99", "us", end_to_end, key="p99", k=0.5, lower=True),
    Row("tail-p999", "the same, p99.9", "us", end_to_end, key="p999", k=0.5, lower=True),
    Row("beside-p99", "acknowledgement beside 400 MB/s, p99", "us", beside, key="p99", k=0.2, lower=True),
    Row("beside-p999", "the same, p99.9", "us", beside, key="p999", k=0.2, lower=True),
    Row("durable", "fsync before each acknowledgement, 16 producers", "records/s", durable, k=10, roof=False),
    Row("crowd", "p99 with 5,000 idle connections, over without", "times", crowd, lower=True, roof=False),
    Row("sustained", "sustained 16 GB, 1 MB batches, 2 connections", "MB/s", sustained, k=3, long=True),
    Row("longest", "the same, longest acknowledgement", "ms", sustained, key="longest", k=0.25, lower=True, long=True),
    Row("create", "create 5,000 partitions, 5 requests", "s", create, lower=True, roof=False),
    Row("idle", "idle CPU with them, thousandths of a core", "/1000", idle, lower=True, roof=False),
    Row("restart", "clean restart with them", "s", restart, lower=True, roof=False),
]


# Beside brokers of other protocols: harness/others.py has their contract.


def confirmed(server, name, connections=1, records=1, **options):
    """Messages with a confirmation for each request: what the driver says, how many messages, CPU seconds."""
    if records > 1:
        options["records"] = records
    cpu = server.cpu()
    found = report(start(server, server.mode, name, connections=connections, **options))
    return found, found["count"] * records, server.cpu() - cpu


def publish(record_bytes, seconds=3.0):
    """4 connections, each to a place of its own, 250 messages of each unconfirmed at most: messages a second."""

    def fast(server, name, scale, depth, records):
        options = {"connections": 4, "records": records, "record_bytes": record_bytes, "depth": depth}
        # A first run tells how much is enough; it warms the server up, too.
        server.topic(name + "-warm", 4)
        found, messages, _ = confirmed(server, name + "-warm", count=10_000 // records, **options)
        check(server, name + "-warm", 4, messages)
        count = int(max(10_000, messages / found["seconds"] * seconds * scale / 4)) // records
        server.topic(name, 4)
        found, messages, cpu = confirmed(server, name, count=count, **options)
        check(server, name, 4, messages)
        return messages / found["seconds"], cpu / messages * 1e6

    def load(server, name, scale):
        value, cpu = fast(server, name, scale, 250, 1)
        found = {"value": value, "cpu": cpu, "batch": value, "batch_cpu": cpu}
        if server.mode == "kafka":
            # Only Kafka's protocol has batches; the others are what they are.
            found["batch"], found["batch_cpu"] = fast(server, name + "-batch", scale, 10, 25)
        return found

    return load


def one_by_one(record_bytes, seconds=2.5):
    """One message after the other: microseconds until each is confirmed."""

    def load(server, name, scale):
        server.topic(name, 1)
        # A first run tells how much is enough: who is fast should not be measured for a moment only.
        found, before, _ = confirmed(server, name, record_bytes=record_bytes, count=2000)
        count = int(max(2000, before / found["seconds"] * seconds * scale))
        found, messages, cpu = confirmed(server, name, record_bytes=record_bytes, count=count)
        check(server, name, 1, before + messages)
        return latency(found, messages, cpu)

    return load


def beside_others():
    """Rows for Ottla, NATS JetStream and RabbitMQ; the goal is to be ahead of both."""
    ahead = {"peers": "NQO", "n": 1, "q": 1}
    for size, record_bytes in (("100", 100), ("1k", 1000)):
        title = f"publish with confirm, {record_bytes} B, 4 connections, 250 unconfirmed"
        load, slow = publish(record_bytes), one_by_one(record_bytes)
        yield Row(f"nats-{size}", title, "messages/s", load, **ahead)
        yield Row(f"nats-{size}-batch", "the same, Ottla 25 messages a request", "messages/s", load, key="batch", cpu="batch_cpu", **ahead)
        yield Row(f"nats-{size}-p50", f"one by one, {record_bytes} B, until confirmed, p50", "us", slow, key="p50", lower=True, **ahead)
        yield Row(f"nats-{size}-p99", "the same, p99", "us", slow, key="p99", lower=True, **ahead)


ROWS += beside_others()
