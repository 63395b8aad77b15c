"""The replicas of partitions: who leads and who is in sync, as brokers tell it; their log files, compared byte by byte; what
Apache's own tools read in them."""

import dataclasses
import re
import struct
import subprocess

from kit import cluster, log_files, servers, wire

# Where fields stand in a batch.
ATTRIBUTES, PRODUCER, FIRST_RECORD = 21, 43, 61
CONTROL = 0x20


@dataclasses.dataclass
class Partition:
    """What a broker's metadata says of a partition."""

    index: int
    error: int
    leader: int
    replicas: list
    isr: list


def partitions(member, topic):
    """The partitions of a topic, as one broker has them; empty if it does not know the topic."""
    with member.connect() as connection:
        found = wire.metadata(connection, [topic])["topics"].get(topic, {"partitions": []})
    return [Partition(index, error, leader, replicas, isr) for index, error, leader, replicas, isr in sorted(found["partitions"])]


def living(nodes):
    return [member for member in nodes.brokers if member.alive()]


def await_partitions(nodes, topic, holds, text, seconds=60, among=None):
    """Waits until `holds(partition)` is true of each partition at each living broker; the partitions."""

    def is_so():
        rows = [partitions(member, topic) for member in (among or living(nodes))]
        return all(found and all(holds(part) for part in found) for found in rows) and rows[0]

    return cluster.until(is_so, f"{topic}: {text}", seconds, nodes, pause=0.05)


def await_full(nodes, topics, seconds=120):
    """Waits until all replicas of these topics are in sync, and each partition has a leader. All nodes must be there for that."""

    def is_full(part):
        for member in nodes.members.values():
            member.check_alive()
        return part.leader >= 0 and set(part.isr) == set(part.replicas)

    for topic in topics:
        await_partitions(nodes, topic, is_full, "all replicas are in sync", seconds)


def leader(nodes, topic, index=0):
    """The member that leads a partition, waited for."""
    found = await_partitions(nodes, topic, lambda part: part.leader >= 0 and nodes.members[part.leader].alive(), "has a leader")
    return nodes.members[found[index].leader]


def batches(folder):
    """First offset to (last offset, bytes) of each whole batch in a partition's segments."""
    return {base: (last, raw) for base, last, raw in log_files.batches(folder)}


def records(raw):
    """(offset, key, value) of each record of one batch that is not compressed."""
    base, = struct.unpack_from(">q", raw, 0)
    reader = wire.In(raw)
    reader.at = FIRST_RECORD

    def number():
        value, shift = 0, 0
        while True:
            byte = reader.take("B")
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)

    def part():
        size = number()
        return None if size < 0 else bytes(reader.skip(size))

    while reader.at < len(raw):
        size = number()
        end = reader.at + size
        reader.take("b")
        number()
        yield base + number(), part(), part()
        reader.at = end


def latest(member, topic, index):
    """Key to its last (offset, value) in one replica's log."""
    return {key: (offset, value) for _, raw in batches(member.data / f"{topic}-{index}").values() for offset, key, value in records(raw)}


def size(member, topic, index):
    """The bytes of all segments of a replica."""
    return sum(segment.stat().st_size for segment in (member.data / f"{topic}-{index}").glob("*.log"))


@dataclasses.dataclass(frozen=True)
class Written:
    """Where a producer's count stood: its id, epoch, and the sequence number of one record."""

    producer: int
    epoch: int
    sequence: int


def written(member, topic, index, offset):
    """What a record at an offset was sent as; None if no batch has it."""
    for base, (last, raw) in batches(member.data / f"{topic}-{index}").items():
        if base <= offset <= last:
            producer, epoch, sequence = struct.unpack_from(">qhi", raw, PRODUCER)
            return Written(producer, epoch, sequence + offset - base)
    return None


def check_sequences(member, topic, index):
    """How many batches of idempotent producers a log has, and where their sequences do not follow each other: a gap is lost, a
    repetition doubled."""
    due, wrong, count, former = {}, [], 0, {}
    for base, (last, raw) in batches(member.data / f"{topic}-{index}").items():
        attributes, = struct.unpack_from(">h", raw, ATTRIBUTES)
        producer, epoch, sequence = struct.unpack_from(">qhi", raw, PRODUCER)
        if producer < 0:
            continue
        before = former.get(producer)
        former[producer] = f"{'a marker' if attributes & CONTROL else 'records'} of epoch {epoch} at {base}"
        if attributes & CONTROL:
            continue
        count += 1
        wanted = due.get((producer, epoch), 0)
        if sequence != wanted:
            wrong.append(f"{topic}-{index}, offset {base}: producer {producer}, epoch {epoch}, sequence {sequence} where {wanted} was due, "
                         f"after {before}")
        due[producer, epoch] = sequence + last - base + 1
    return count, wrong


def compare(nodes, topic):
    """How many bytes the replicas of a topic share below the high watermarks, and the first difference of each partition."""
    size, notes = 0, []
    for part in partitions(living(nodes)[0], topic):
        with nodes.members[part.leader].connect() as connection:
            (error, high), = wire.ends(connection, topic, [part.index])
        if error:
            notes.append(f"{topic}-{part.index}: error {error} for its end")
            continue
        logs = {number: batches(nodes.members[number].data / f"{topic}-{part.index}") for number in part.replicas}
        below = {number: {base: row for base, row in log.items() if row[0] < high} for number, log in logs.items()}
        first = below[part.leader]
        ends = {number: max((last for last, _ in log.values()), default=-1) + 1 for number, log in below.items()}
        if set(ends.values()) != {high}:
            notes.append(f"{topic}-{part.index}: the logs end at {ends}, the high watermark is {high}")
        for number, log in below.items():
            different = sorted(base for base in {*first, *log} if first.get(base) != log.get(base))
            if different:
                base = different[0]
                notes.append(f"{topic}-{part.index}: nodes {part.leader} and {number} differ at offset {base} ({len(different)} batches): "
                             f"{log_files.shown(first.get(base))}, {log_files.shown(log.get(base))}")
        size += sum(len(raw) for _, raw in first.values())
    return size, notes


def jvm(name, *words, seconds=90, folder=None):
    """Runs one of Apache's own tools; what it printed."""
    command = [*servers.java("-Xmx128m"), name, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{name} {' '.join(map(str, words))}: exit {done.returncode}: {(done.stdout + done.stderr).strip()[-800:]}")
    return done.stdout


def topics_tool(*words):
    return jvm("org.apache.kafka.tools.TopicCommand", *words)


DESCRIBED = re.compile(r"\tTopic: (\S+)\tPartition: (\d+)\tLeader: (\S+)\tReplicas: ([\d,]+)\tIsr: ([\d,]*)")


def described(text):
    """Partition to (leader, replicas, in-sync replicas) in what `kafka-topics --describe` printed."""
    numbers = lambda words: [int(word) for word in words.split(",") if word]
    return {int(index): (leader, numbers(replicas), numbers(isr)) for _, index, leader, replicas, isr in DESCRIBED.findall(text)}


DUMPED = re.compile(r"^\| offset: (\d+) .*? payload: (.*)$", re.M)


def payloads(text):
    """(offset, payload) of each record that kafka-dump-log printed."""
    return [(int(offset), payload) for offset, payload in DUMPED.findall(text)]


def dump(member, topic, index, command=None):
    """`kafka-dump-log --print-data-log` of a partition's first segment, in its folder: what it printed, and its complaints."""
    folder = member.data / f"{topic}-{index}"
    words = ["--print-data-log", "--files", "00000000000000000000.log"]
    command = [*(command or [*servers.java("-Xmx192m"), "org.apache.kafka.tools.DumpLogSegments"]), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    bad = [line for line in (done.stdout + done.stderr).splitlines() if re.search(r"Exception|Could not|mismatch|not a valid|isvalid: false", line)]
    if done.returncode:
        bad.append(f"exit {done.returncode}: {(done.stdout + done.stderr)[-300:]}")
    return done.stdout, [f"node {member.number}, {topic}-{index}: {line}" for line in bad]


LAG = re.compile(r"max lag is (-?\d+)")


def jvm_with_input(name, text, *words):
    """Runs one of Apache's own tools with a text on its standard input."""
    command = [*servers.java("-Xmx128m"), name, *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=90, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} {' '.join(words)}: exit {done.returncode}: {(done.stdout + done.stderr).strip()[-500:]}")


def jvm_until(name, seconds, pattern, *words):
    """Runs one of Apache's own tools that does not end by itself, until it has printed this; what it printed."""
    command = ["timeout", str(seconds), *servers.java("-Xmx128m"), name, *words]
    text = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        for line in running.stdout:
            text += line
            if pattern.search(line):
                running.terminate()
                break
    return text


def await_same_ends(nodes, topic, seconds=60):
    """Waits until the log files of all replicas end at the leader's end, which no longer moves."""

    def is_so():
        for part in partitions(living(nodes)[0], topic):
            with nodes.members[part.leader].connect() as connection:
                (_, high), = wire.ends(connection, topic, [part.index])
            for number in part.replicas:
                last = max((last for last, _ in batches(nodes.members[number].data / f"{topic}-{part.index}").values()), default=-1)
                if last + 1 != high:
                    return False
        return True

    cluster.until(is_so, f"the replicas of {topic} end where the high watermark is", seconds, nodes, pause=0.2)
