"""A few Kafka requests by hand, with nothing but the standard library.

The runner needs them to wait for a server, to feed topics and to look at groups without trusting a client library;
the `wire` checks need them to say what no client library would say. Only versions before the flexible ones.
"""

import socket
import struct
import time

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH = 0, 1, 2, 3, 8, 9
FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP = 10, 11, 12, 13, 14
DESCRIBE_GROUPS, LIST_GROUPS, API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS = 15, 16, 18, 19, 20
DELETE_RECORDS, INIT_PRODUCER_ID, LEADER_EPOCH, CREATE_PARTITIONS = 21, 22, 23, 37
DELETE_GROUPS, OFFSET_DELETE = 42, 47
# What a coordinator is for.
GROUP, TRANSACTION = 0, 1


class Out:
    """Writes the primitive types of the protocol."""

    def __init__(self):
        self.bytes = bytearray()

    def put(self, form, *values):
        self.bytes += struct.pack(">" + form, *values)
        return self

    def text(self, value):
        if value is None:
            return self.put("h", -1)
        raw = value.encode()
        self.put("h", len(raw))
        self.bytes += raw
        return self

    def blob(self, value):
        if value is None:
            return self.put("i", -1)
        self.put("i", len(value))
        self.bytes += value
        return self

    def each(self, items, write):
        self.put("i", len(items))
        for item in items:
            write(self, item)
        return self


class In:
    """Reads the primitive types of the protocol."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.raw, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def skip(self, size):
        part = self.raw[self.at:self.at + size]
        self.at += size
        return part

    def text(self):
        size = self.take("h")
        return None if size < 0 else bytes(self.skip(size)).decode()

    def blob(self):
        size = self.take("i")
        return None if size < 0 else bytes(self.skip(size))

    def each(self, read):
        return [read(self) for _ in range(max(self.take("i"), 0))]


class Closed(Exception):
    """The server closed the connection."""


class Connection:
    """One connection; requests may be sent ahead of their answers."""

    def __init__(self, port, timeout=60, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.next_id = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, key, version, body=b""):
        frame = Out().put("hhi", key, version, self.next_id).text("wire").bytes + bytes(body)
        self.next_id += 1
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        return self.next_id - 1

    def exactly(self, size):
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self.socket.recv(size - len(parts))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Closed()
            parts += part
        return parts

    def answer(self):
        size = struct.unpack(">i", self.exactly(4))[0]
        reply = In(bytes(self.exactly(size)))
        return reply.take("i"), reply

    def ask(self, key, version, body=b""):
        if isinstance(body, Out):
            body = body.bytes
        sent = self.send(key, version, body)
        got, reply = self.answer()
        assert got == sent, f"correlation id {got}, sent {sent}"
        return reply


def api_versions(connection):
    """The advertised version range of each API."""
    reply = connection.ask(API_VERSIONS, 0)
    error = reply.take("h")
    assert error == 0, f"ApiVersions error {error}"
    return {key: (low, high) for key, low, high in reply.each(lambda r: r.take("hhh"))}


def await_ready(port, alive, seconds=90):
    """Waits until the server answers ApiVersions and knows a leader for itself; returns the seconds it took."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if not alive():
            raise RuntimeError("the server ended before it answered")
        try:
            with Connection(port, timeout=5) as connection:
                api_versions(connection)
                brokers = metadata(connection, [])["brokers"]
                if brokers:
                    return time.monotonic() - begin
        except (OSError, Closed, struct.error):
            pass
        # Seldom enough not to be felt, often enough that a fast start is measured and not the wait.
        time.sleep(min(0.02, 0.0005 + (time.monotonic() - begin) / 50))
    raise RuntimeError(f"no answer on port {port} within {seconds} s")


def metadata(connection, topics, create=False):
    """Metadata v4: brokers, controller and topics (None asks for all topics)."""
    out = Out()
    if topics is None:
        out.put("i", -1)
    else:
        out.each(topics, lambda o, t: o.text(t))
    reply = connection.ask(METADATA, 4, out.put("?", create))
    reply.take("i")
    brokers = reply.each(lambda r: (r.take("i"), r.text(), r.take("i"), r.text()))
    cluster, controller = reply.text(), reply.take("i")

    def partition(r):
        error, index, leader = r.take("hii")
        return index, error, leader, r.each(lambda x: x.take("i")), r.each(lambda x: x.take("i"))

    def topic(r):
        error, name, internal = r.take("h"), r.text(), r.take("?")
        return name, {"error": error, "internal": internal, "partitions": r.each(partition)}

    return {"brokers": brokers, "cluster": cluster, "controller": controller, "topics": dict(reply.each(topic))}


def create_topics(connection, topics, validate_only=False, timeout_ms=30000):
    """CreateTopics v2; `topics` is name -> (partitions, replication, assignment, configs). Gives name -> error code."""

    def write(out, item):
        name, (partitions, replication, assignment, configs) = item
        out.text(name).put("ih", partitions, replication)
        out.each(list(assignment.items()), lambda o, a: o.put("i", a[0]).each(a[1], lambda p, n: p.put("i", n)))
        out.each(list(configs.items()), lambda o, c: o.text(c[0]).text(c[1]))

    body = Out().each(list(topics.items()), write).put("i?", timeout_ms, validate_only)
    reply = connection.ask(CREATE_TOPICS, 2, body)
    reply.take("i")
    return {name: error for name, error, _ in reply.each(lambda r: (r.text(), r.take("h"), r.text()))}


def raise_partitions(connection, name, count):
    """CreatePartitions v0; gives the error code."""
    body = Out().each([name], lambda o, it: o.text(it).put("ii", count, -1)).put("i?", 30000, False)
    reply = connection.ask(CREATE_PARTITIONS, 0, body)
    reply.take("i")
    (_, error, _), = reply.each(lambda r: (r.text(), r.take("h"), r.text()))
    return error


def topic(connection, name, partitions=1, **configs):
    """Creates one topic and waits until each partition has a leader."""
    settings = {key.replace("_", "."): value for key, value in configs.items()}
    # A controller takes 10,000 records in one batch, and the topic itself is one.
    error = create_topics(connection, {name: (min(partitions, 5000), 1, {}, settings)})[name]
    assert error == 0, f"creating {name}: error {error}"
    if partitions > 5000:
        await_topic(connection, name, 5000, seconds=130)
        error = raise_partitions(connection, name, partitions)
        assert error == 0, f"raising the partitions of {name}: error {error}"
    await_topic(connection, name, partitions, seconds=30 + partitions / 50)


def await_topic(connection, name, partitions=1, seconds=30):
    """Waits until the metadata shows the topic with that many led partitions."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        found = metadata(connection, [name])["topics"][name]
        led = [p for p in found["partitions"] if p[1] == 0 and p[2] >= 0]
        if found["error"] == 0 and len(led) == partitions:
            # The metadata may be ahead of the log: a partition serves when it can tell its end.
            if all(error == 0 for error, _ in ends(connection, name, range(partitions))):
                return
        # Asking for thousands of partitions costs a server something, too.
        time.sleep(min(1, 0.005 + (time.monotonic() - begin) / 10))
    raise AssertionError(f"topic {name} did not appear with {partitions} partitions: {str(found)[:500]}")


def crc32c(raw):
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    return table


CRC_TABLE = _crc_table()


def varint(number):
    zigzag, out = (number << 1) ^ (number >> 63), bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def batch(records, producer=(-1, -1, -1), base_time=None, codec=0, attributes=0):
    """An uncompressed v2 record batch of (key, value) pairs, or (key, value, milliseconds) triples."""
    if base_time is None:
        base_time = int(time.time() * 1000)
    body, latest = bytearray(), base_time
    for index, (key, value, *when) in enumerate(records):
        stamp = when[0] if when else base_time
        latest = max(latest, stamp)
        one = b"\0" + varint(stamp - base_time) + varint(index)
        for part in (key, value):
            one += varint(-1) if part is None else varint(len(part)) + part
        one += varint(0)
        body += varint(len(one)) + one
    tail = struct.pack(">hiqqqhii", attributes | codec, len(records) - 1, base_time, latest, *producer, len(records))
    tail += bytes(body)
    return struct.pack(">qiibI", 0, 9 + len(tail), -1, 2, crc32c(tail)) + tail


def produce(connection, topic_name, partition, records, acks=-1, version=7):
    """Produce of one raw batch; gives (error code, base offset, append time, log start), or None for acks=0."""
    body = Out().text(None).put("hi", acks, 30000)
    body.each([0], lambda o, _: o.text(topic_name).each([0], lambda p, _: p.put("i", partition).blob(records)))
    if acks == 0:
        connection.send(PRODUCE, version, body.bytes)
        return None
    reply = connection.ask(PRODUCE, version, body)
    (_, [(_, error, base, appended, start)]), = reply.each(lambda r: (r.text(), r.each(lambda p: p.take("ihqqq"))))
    return error, base, appended, start


def fetch_body(parts, max_wait=0, min_bytes=1, session=(0, -1), forgotten=(), isolation=0):
    """Fetch v7; `parts` is a list of (topic, partition, offset)."""
    body = Out().put("iiiib", -1, max_wait, min_bytes, 50 << 20, isolation).put("ii", *session)
    body.each(parts, lambda o, p: o.text(p[0]).each([0], lambda q, _: q.put("iqqi", p[1], p[2], -1, 1 << 20)))
    body.each(forgotten, lambda o, p: o.text(p[0]).each([p[1]], lambda q, n: q.put("i", n)))
    return body.bytes


def fetched(reply):
    """Reads a Fetch v7 answer: error, session id, and (topic, partition) -> (error, watermark, log start, records)."""
    reply.take("i")
    error, session = reply.take("hi")
    found = {}

    def part(r, name):
        index, code, high, _stable, start = r.take("ihqqq")
        r.each(lambda a: a.take("qq"))
        found[name, index] = (code, high, start, r.blob() or b"")

    reply.each(lambda r: (lambda name: r.each(lambda p: part(p, name)))(r.text()))
    return error, session, found


def fetch(connection, topic_name, partition, offset, **options):
    """Fetch of one partition without a session; gives (error, watermark, log start, raw records)."""
    reply = connection.ask(FETCH, 7, fetch_body([(topic_name, partition, offset)], **options))
    error, _, found = fetched(reply)
    assert error == 0, f"fetch error {error}"
    return found[topic_name, partition]


def batches(raw):
    """The headers of the record batches in `raw`: base offset, codec, producer id, record count."""
    at, found = 0, []
    while at + 61 <= len(raw):
        base, size = struct.unpack_from(">qi", raw, at)
        attributes, last = struct.unpack_from(">hi", raw, at + 21)
        producer, = struct.unpack_from(">q", raw, at + 43)
        found.append({"base": base, "codec": attributes & 7, "producer": producer, "count": last + 1})
        at += 12 + size
    return found


def list_offsets(connection, topic_name, partition, stamp, version=2):
    """ListOffsets v2; gives (error, timestamp, offset)."""
    body = Out().put("ib", -1, 0).each([0], lambda o, _: o.text(topic_name).each(
        [0], lambda p, _: p.put("iq", partition, stamp)))
    reply = connection.ask(LIST_OFFSETS, version, body)
    reply.take("i")
    (_, [(_, error, when, offset)]), = reply.each(lambda r: (r.text(), r.each(lambda p: p.take("ihqq"))))
    return error, when, offset


def ends(connection, topic_name, partitions):
    """Asks ListOffsets v2 for all these partitions at once; gives each one's (error, log end), in their order."""
    wanted = list(partitions)
    body = Out().put("ib", -1, 0).each([0], lambda o, _: o.text(topic_name).each(
        wanted, lambda p, index: p.put("iq", index, -1)))
    reply = connection.ask(LIST_OFFSETS, 2, body)
    reply.take("i")
    (_, found), = reply.each(lambda r: (r.text(), r.each(lambda p: p.take("ihqq"))))
    found = {index: (error, offset) for index, error, _, offset in found}
    return [found[index] for index in wanted]


def find_coordinator(connection, key, kind=GROUP):
    """FindCoordinator v1, asked again while the coordinator's topic is made; gives the error code."""
    end = time.monotonic() + 60
    while True:
        _, error = connection.ask(FIND_COORDINATOR, 1, Out().text(key).put("b", kind)).take("ih")
        if error not in (14, 15, 16) or time.monotonic() > end:
            return error
        time.sleep(0.05)


def describe_group(connection, group):
    """DescribeGroups v4; gives error, state, protocol type, protocol, and the members' (id, instance)."""
    reply = connection.ask(DESCRIBE_GROUPS, 4, Out().each([group], lambda o, g: o.text(g)).put("?", False))
    reply.take("i")

    def one(r):
        error, _name, state, kind, protocol = r.take("h"), r.text(), r.text(), r.text(), r.text()
        members = r.each(lambda m: (m.text(), m.text(), m.text(), m.text(), m.blob(), m.blob())[:2])
        r.take("i")
        return {"error": error, "state": state, "kind": kind, "protocol": protocol, "members": members}

    return reply.each(one)[0]


def committed(connection, group, topic_name, partitions):
    """OffsetFetch v3; gives partition -> (offset, metadata, error), and the error of the group."""
    body = Out().text(group).each([0], lambda o, _: o.text(topic_name).each(
        list(partitions), lambda p, n: p.put("i", n)))
    reply = connection.ask(OFFSET_FETCH, 3, body)
    reply.take("i")
    # With an error of the whole group there may be no topic.
    topics = reply.each(lambda r: (r.text(), r.each(lambda p: (p.take("iq"), p.text(), p.take("h")))))
    found = topics[0][1] if topics else []
    return {at[0]: (at[1], note, error) for at, note, error in found}, reply.take("h")


def commit(connection, group, generation, member, topic_name, offsets, note=""):
    """OffsetCommit v2 of partition -> offset; gives partition -> error code."""
    body = Out().text(group).put("i", generation).text(member).put("q", -1).each(
        [0], lambda o, _: o.text(topic_name).each(
            list(offsets.items()), lambda p, item: p.put("iq", *item).text(note)))
    reply = connection.ask(OFFSET_COMMIT, 2, body)
    (_, found), = reply.each(lambda r: (r.text(), r.each(lambda p: p.take("ih"))))
    return dict(found)


def join_body(group, member, protocols, session=10000, rebalance=10000, kind="consumer"):
    """JoinGroup v4 body; `protocols` is a list of names."""
    body = Out().text(group).put("ii", session, rebalance).text(member).text(kind)
    return body.each(protocols, lambda o, p: o.text(p).blob(b"\0\0\0\0\0\0\0\0\0\0")).bytes


def joined(reply):
    """Reads a JoinGroup v4 answer."""
    reply.take("i")
    error, generation = reply.take("hi")
    protocol, leader, member = reply.text(), reply.text(), reply.text()
    members = reply.each(lambda r: (r.text(), r.blob())[0])
    return {"error": error, "generation": generation, "protocol": protocol, "leader": leader,
            "member": member, "members": members}


def join(connection, group, member="", protocols=("range",), **options):
    """JoinGroup v4."""
    return joined(connection.ask(JOIN_GROUP, 4, join_body(group, member, list(protocols), **options)))


def sync(connection, group, generation, member, assignments=()):
    """SyncGroup v1; gives (error, assignment)."""
    body = Out().text(group).put("i", generation).text(member).each(
        list(assignments), lambda o, a: o.text(a[0]).blob(a[1]))
    reply = connection.ask(SYNC_GROUP, 1, body)
    reply.take("i")
    return reply.take("h"), reply.blob()


def heartbeat(connection, group, generation, member):
    """Heartbeat v1; gives the error code."""
    reply = connection.ask(HEARTBEAT, 1, Out().text(group).put("i", generation).text(member))
    reply.take("i")
    return reply.take("h")


def leave(connection, group, member):
    """LeaveGroup v1; gives the error code."""
    reply = connection.ask(LEAVE_GROUP, 1, Out().text(group).text(member))
    reply.take("i")
    return reply.take("h")


def init_producer_id(connection):
    """InitProducerId v1 without a transactional id; gives (error, producer id, epoch)."""
    reply = connection.ask(INIT_PRODUCER_ID, 1, Out().text(None).put("i", 60000))
    reply.take("i")
    return reply.take("hqh")


def await_producer_id(connection):
    """Asks for producer ids until the server has some; the first ones come from the controller."""
    end = time.monotonic() + 60
    while init_producer_id(connection)[0] != 0:
        assert time.monotonic() < end, "no producer id within 60 s"
        time.sleep(0.05)
