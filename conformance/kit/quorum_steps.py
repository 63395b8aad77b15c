"""What rows of `quorum` do to a cluster on the way: restart nodes until one leads, fill a disk, produce to every leader."""

import collections
import contextlib

from kit import cluster, quorum_load, wire


def await_all_caught_up(nodes, names):
    for member in nodes.members.values():
        quorum_load.await_caught_up(nodes, member, names)


def produce_to_each(nodes, names):
    """A record to each topic, at the broker that leads it."""
    by_number = collections.defaultdict(list)
    with nodes.brokers[0].connect() as connection:
        found = wire.metadata(connection, names)["topics"]
    for name, topic in found.items():
        by_number[topic["partitions"][0][2]].append(name)
    for number, some in by_number.items():
        with nodes.members[number].connect(40) as connection:
            for name in some:
                wire.await_topic(connection, name)
                code, *_ = wire.produce(connection, name, 0, wire.batch([(b"k", b"v")]))
                if code:
                    raise RuntimeError(f"produce to {name} at node {number}: error code {code}")


def create_within(member, name, seconds):
    """Asks one broker until the topic is there."""

    def created():
        with member.connect(40) as connection:
            return wire.create_topics(connection, {name: (1, 1, {}, {})})[name] in (quorum_load.NONE, quorum_load.TOPIC_EXISTS)

    cluster.until(created, f"topic {name} is made", seconds)


def follower(nodes):
    """A voter that does not lead, and its directory id."""
    leader, quorum = nodes.leader()
    member = next(it for it in nodes.controllers if it is not leader)
    return member, quorum.voters[member.number][0]


def long_value(turn):
    """A list of replicas of 30 KB, another each time."""
    return ",".join(f"{turn}:{replica}" for replica in range(4000, 4000 + 30000 // len(f"{turn}:4000,")))


def restart(nodes, member, load):
    member.stop()
    cluster.until(lambda: nodes.quorum(), "another controller leads", 30, nodes)
    member.launch()
    quorum_load.await_caught_up(nodes, member, load.names())


def make_leader(nodes, member, load):
    """Restarts whoever leads until it is this member."""
    for _ in range(8):
        leader, _ = nodes.leader()
        if leader is member:
            return
        restart(nodes, leader, load)
    raise RuntimeError(f"{member.name} did not become the leader after 8 restarts of others")


def fill(folder):
    """Writes until the disk is full; the file."""
    path = folder / "filler"
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    return path
