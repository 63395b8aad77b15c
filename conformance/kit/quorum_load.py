"""Clients that create topics through every broker of a cluster, again and again, and what they saw; how long a fault of the
leader keeps them waiting."""

import dataclasses
import struct
import threading
import time

from kit import cluster, schemas, wire

NONE, TOPIC_EXISTS = 0, 36
# What a client asks again after: errors that Kafka calls retriable.
RETRIABLE = {
    5: "LEADER_NOT_AVAILABLE", 6: "NOT_LEADER_OR_FOLLOWER", 7: "REQUEST_TIMED_OUT", 13: "NETWORK_EXCEPTION", 41: "NOT_CONTROLLER",
    56: "KAFKA_STORAGE_ERROR", 77: "STALE_BROKER_EPOCH", 89: "THROTTLING_QUOTA_EXCEEDED",
}
GONE = (OSError, wire.Closed, struct.error)
# Between two topics of one client. Faster would only make a million partitions.
PAUSE = 0.1


@dataclasses.dataclass
class Made:
    """A topic that is known to be there: when its last request was sent and answered, and through which node; `is_new` if that
    request made it."""

    sent: float
    answered: float
    name: str
    through: int
    is_new: bool


class Creator(threading.Thread):
    """A client of one broker that creates topics, and retries as clients do."""

    def __init__(self, load, member, name, is_probe=False):
        super().__init__(daemon=True)
        self.load, self.member, self.prefix, self.is_probe = load, member, name, is_probe
        self.ended, self.connection, self.count = threading.Event(), None, 0

    def run(self):
        while not self.ended.is_set():
            self.create(f"{self.prefix}-{self.count}")
            self.count += 1
            if self.is_probe:
                break
            self.ended.wait(PAUSE)
        self.close()

    def close(self):
        if self.connection is not None:
            self.connection.socket.close()
            self.connection = None

    def create(self, name):
        """Asks until the topic is acknowledged, or the load ends."""
        while not self.ended.is_set():
            sent = time.monotonic()
            try:
                if self.connection is None:
                    self.connection = self.member.connect(timeout=40)
                code = wire.create_topics(self.connection, {name: (1, 1, {}, {})})[name]
            except GONE:
                self.close()
                self.ended.wait(0.02)
                continue
            # Each name has one client. A broker that forwards a request again after its controller was lost finds the topic there.
            if code in (NONE, TOPIC_EXISTS):
                self.load.add(Made(sent, time.monotonic(), name, self.member.number, code == NONE))
                return
            if code not in RETRIABLE:
                self.load.failed(f"{name} through node {self.member.number}: error code {code}")
                return
            self.ended.wait(0.02)


class Load:
    """A creator at each broker."""

    def __init__(self, nodes):
        self.cluster, self.made, self.errors = nodes, [], []
        self.changed, self.creators, self.turns = threading.Condition(), [], 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.turns += 1
        self.creators = [Creator(self, member, f"load-{self.turns}-{member.number}") for member in self.cluster.brokers]
        for creator in self.creators:
            creator.start()

    def stop(self, seconds=45):
        for creator in self.creators:
            creator.ended.set()
        for creator in self.creators:
            creator.join(seconds)
        self.creators = []

    def add(self, made):
        with self.changed:
            self.made.append(made)
            self.changed.notify_all()

    def failed(self, error):
        with self.changed:
            self.errors.append(error)

    def names(self):
        with self.changed:
            return {made.name for made in self.made}

    def await_more(self, count, seconds=60):
        """Waits until so many more topics were answered."""
        goal = len(self.names()) + count
        cluster.until(lambda: len(self.names()) >= goal, f"{count} more topics", seconds, self.cluster)

    def pause(self, since, end):
        """The longest time without an answered topic from `since` to `end`."""
        with self.changed:
            times = sorted([since, end, *(made.answered for made in self.made if since < made.answered < end)])
        return max(later - earlier for earlier, later in zip(times, times[1:]))

    def await_made(self, since, through, seconds):
        """When the first topic was answered that was asked for, and made, after `since` through one of these nodes."""
        fits = lambda made: made.is_new and made.sent >= since and made.through in through
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                found = [made.answered for made in self.made if fits(made)]
                if found:
                    return min(found)
                if time.monotonic() > end:
                    raise RuntimeError(f"no topic within {seconds} s through any of nodes {sorted(through)}\n{self.cluster.tails()}")
                self.changed.wait(0.5)


@dataclasses.dataclass
class Interruption:
    """Seconds from a fault of the leader until another controller leads, and how long no topic was made."""

    elected: float
    topic: float


class Watcher(threading.Thread):
    """Asks controllers until one leads in a later epoch."""

    def __init__(self, nodes, among, epoch):
        super().__init__(daemon=True)
        self.nodes, self.among, self.epoch = nodes, among, epoch
        self.ended, self.found = threading.Event(), None

    def run(self):
        while not self.ended.is_set():
            found = self.nodes.quorum(self.among, timeout=0.5)
            if found is not None and found.epoch > self.epoch:
                self.found = time.monotonic()
                return
            self.ended.wait(0.03)


def interrupt(load, victim, epoch, inflict, is_graceful=False, seconds=60):
    """Inflicts a fault on the leader `victim` and measures how long topics cannot be made.

    A leader that stops of itself goes on for a while: then the longest pause until its successor has made a topic counts.
    """
    through = {member.number for member in load.cluster.brokers if member is not victim}
    watcher = Watcher(load.cluster, [member for member in load.cluster.controllers if member is not victim], epoch)
    load.turns += 1
    # Clients that were idle before: those of the load may wait for an answer to a request of before.
    probes = [Creator(load, member, f"probe-{load.turns}-{member.number}", is_probe=True)
              for member in load.cluster.brokers if member.number in through]
    since = time.monotonic()
    inflict()
    for thread in (watcher, *probes):
        thread.start()
    try:
        if is_graceful:
            watcher.join(seconds)
        end = load.await_made(watcher.found or since, through, seconds)
        watcher.join(seconds)
    finally:
        for thread in (watcher, *probes):
            thread.ended.set()
    if watcher.found is None:
        raise RuntimeError(f"no controller of {[it.number for it in watcher.among]} says that it leads after epoch {epoch}")
    return Interruption(watcher.found - since, load.pause(since, end) if is_graceful else end - since)


def await_caught_up(nodes, member, names, seconds=90):
    """Waits until a node has all these topics in its metadata, and its log all that is committed now; the seconds it took."""
    begin = time.monotonic()
    goal = nodes.leader(seconds)[1].high_watermark

    def is_there():
        member.check_alive()
        quorum = nodes.quorum()
        if quorum is None or quorum.ends().get(member.number, -1) < goal:
            return False
        return not member.is_broker or names <= member.topics()[0]

    cluster.until(is_there, f"{member.name} catches up to offset {goal}", seconds, nodes)
    return time.monotonic() - begin


def follows(member):
    """Whether this controller answers, and does not lead."""
    try:
        with wire.Connection(member.controller_port, timeout=1, host=member.host) as connection:
            return cluster.describe_quorum(connection) is None
    except (OSError, wire.Closed, schemas.Truncated):
        return False
