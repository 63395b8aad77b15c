"""Messages with a confirmation for each, beside brokers of other protocols: others.py has their contract."""

from harness.drive import check, report, start


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
        # A first run shows how many messages are enough; it warms the server up, too.
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
        # A first run shows how many messages are enough: a fast server should not be measured for a moment only.
        found, before, _ = confirmed(server, name, record_bytes=record_bytes, count=2000)
        count = int(max(2000, before / found["seconds"] * seconds * scale))
        found, messages, cpu = confirmed(server, name, record_bytes=record_bytes, count=count)
        check(server, name, 1, before + messages)
        return {**{key: found["us"][key] for key in ("p50", "p99")}, "cpu": cpu / messages * 1e6}

    return load


def rows(Row):
    """Rows for Ottla, NATS JetStream and RabbitMQ; the goal is to be ahead of both."""
    ahead = {"peers": ("nats", "rabbitmq", "ottla"), "over_nats": 1, "over_rabbitmq": 1}
    for size, record_bytes in (("100", 100), ("1k", 1000)):
        title = f"publish with confirm, {record_bytes} B, 4 connections, 250 unconfirmed"
        load, slow = publish(record_bytes), one_by_one(record_bytes)
        yield Row(f"nats-{size}", title, "messages/s", load, **ahead)
        yield Row(f"nats-{size}-batch", "the same, Ottla 25 messages a request", "messages/s", load, key="batch", cpu_key="batch_cpu", **ahead)
        yield Row(f"nats-{size}-p50", f"one by one, {record_bytes} B, until confirmed, p50", "us", slow, key="p50", lower=True, **ahead)
        yield Row(f"nats-{size}-p99", "the same, p99", "us", slow, key="p99", lower=True, **ahead)
