"""A producer that writes one record after the other to one partition, and how long it goes without an acknowledgement.

It asks again after errors that Kafka calls retriable, and looks for the leader at the other nodes first when a connection broke or
a request was silent for a second: what is measured is the cluster and not a client's patience.
"""

import struct
import threading
import time

from kit import cluster, wire

NONE = 0
RETRIABLE = {3, 5, 6, 7, 13, 19, 20, 56}
GONE = (OSError, wire.Closed, struct.error)
PAUSE_S, RETRY_S, REQUEST_S = 0.005, 0.01, 1.0


class SteadyProducer(threading.Thread):
    """Writes with acks=all until it is closed."""

    def __init__(self, nodes, topic, index):
        super().__init__(daemon=True)
        self.nodes, self.topic, self.index = nodes, topic, index
        self.ended, self.changed = threading.Event(), threading.Condition()
        self.acknowledged, self.refused = [], None
        self.connection, self.leader = None, None

    def __enter__(self):
        self.start()
        self.await_more(20, 30)
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def run(self):
        body = wire.batch([(None, b"x" * 100)])
        try:
            while not self.ended.is_set() and self.refused is None:
                self.ended.wait(PAUSE_S if self.write(body) else RETRY_S)
        finally:
            self.hang_up()

    def write(self, body):
        """Whether a record was acknowledged."""
        try:
            if self.connection is None:
                self.connect()
                if self.connection is None:
                    return False
            code, *_ = wire.produce(self.connection, self.topic, self.index, body)
        except GONE:
            self.hang_up()
            return False
        if code != NONE:
            self.hang_up()
            if code not in RETRIABLE:
                self.refused = code
            return False
        with self.changed:
            self.acknowledged.append(time.monotonic())
            self.changed.notify_all()
        return True

    def connect(self):
        """Connects to the leader that a node knows; the former leader is asked last."""
        members = sorted(self.nodes.members.values(), key=lambda member: member.number == self.leader)
        for member in members:
            try:
                with member.connect(REQUEST_S) as connection:
                    found = wire.metadata(connection, [self.topic])["topics"][self.topic]["partitions"]
                leader = next(row[2] for row in found if row[0] == self.index)
                if leader in self.nodes.members:
                    self.connection = self.nodes.members[leader].connect(REQUEST_S)
                    self.leader = leader
                    return
            except (*GONE, KeyError, StopIteration):
                continue

    def hang_up(self):
        if self.connection is not None:
            self.connection.socket.close()
            self.connection = None

    def await_more(self, count, seconds):
        goal = len(self.acknowledged) + count
        is_enough = lambda: self.refused is not None or len(self.acknowledged) >= goal
        cluster.until(is_enough, f"{count} more acknowledgements", seconds, self.nodes)
        assert self.refused is None, f"a record to {self.topic}-{self.index} was refused with error code {self.refused}"

    def gap(self, inflict, seconds=90, after_s=1.0):
        """Inflicts a fault, waits for the first record that is acknowledged later and `after_s` more; the longest time without an
        acknowledgement, in seconds."""
        since = time.monotonic()
        inflict()
        # What was on its way when the fault came is of before.
        cluster.until(lambda: self.acknowledged[-1] > since + 0.05, "a record is acknowledged after the fault", seconds, self.nodes)
        time.sleep(after_s)
        self.await_more(1, seconds)
        with self.changed:
            before = [at for at in self.acknowledged if at <= since][-1:]
            times = before + [at for at in self.acknowledged if at > since]
        return max(later - earlier for earlier, later in zip(times, times[1:]))
