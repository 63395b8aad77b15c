"""`crash`: kill -9 in the middle of a produce loop, again and again; what was acknowledged is there, once."""

import random
import subprocess
import tempfile
import threading
import time

from kit import report, servers, wire

TOPIC = "crash"


class Loop:
    """An idempotent producer that goes on after each crash with the batch that was not acknowledged."""

    def __init__(self, server):
        self.server, self.sequence, self.acked = server, 0, []
        self.identity = None

    def run(self, acknowledged):
        """Writes until the server is gone; calls `acknowledged` after each answer."""
        try:
            with wire.Connection(self.server.port) as connection:
                if self.identity is None:
                    self.identity = wire.init_producer_id(connection)[-2:]
                while True:
                    value = b"%d" % self.sequence
                    rows = wire.batch([(b"k", value)], producer=(*self.identity, self.sequence))
                    code, _, *_ = wire.produce(connection, TOPIC, 0, rows)
                    assert code in (0, 46), f"error {code}"  # 46: it is there already
                    self.acked.append(value)
                    self.sequence += 1
                    acknowledged()
        except (OSError, wire.Closed):
            return


class Churn:
    """Keeps the cleaner and the retention of two more topics busy, so that they are killed in the middle of it."""

    def __init__(self, server):
        self.server, self.turn = server, 0
        self.acked = {}  # the last acknowledged turn of each key
        self.kept = 0  # how many batches of the other topic were acknowledged

    @staticmethod
    def topics(connection):
        small = {"segment_bytes": "1048576", "file_delete_delay_ms": "100"}
        wire.topic(connection, "squeezed", cleanup_policy="compact", min_cleanable_dirty_ratio="0.01", **small)
        wire.topic(connection, "bounded", retention_bytes="3000000", **small)

    def run(self):
        """Writes until the server is gone."""
        try:
            with wire.Connection(self.server.port) as connection:
                while True:
                    self.turn += 1
                    keys = [b"key-%d" % (n % 20) for n in range(33)]
                    rows = wire.batch([(key, b"%d " % self.turn + b"x" * 2000) for key in keys])
                    code, *_ = wire.produce(connection, "squeezed", 0, rows)
                    assert code == 0, f"error {code}"
                    self.acked.update((key.decode(), self.turn) for key in keys)
                    code, *_ = wire.produce(connection, "bounded", 0, rows)
                    assert code == 0, f"error {code}"
                    self.kept += 1
        except (OSError, wire.Closed):
            return

    def verdicts(self):
        """Whether the last value of each key is there, compacted; and whether the bounded topic is whole from its start."""
        rows = [line.split(b" ", 2) for line in kcat(self.server, "squeezed", "%k %s\n")]
        found = {key.decode(): int(turn) for key, turn, _ in rows}
        behind = {key: turn for key, turn in self.acked.items() if found.get(key, -1) < turn}
        squeezed = len(rows) < self.turn * 33 / 2
        with wire.Connection(self.server.port) as connection:
            start = wire.list_offsets(connection, "bounded", 0, -2)[2]
            end = wire.list_offsets(connection, "bounded", 0, -1)[2]
        offsets = [int(line) for line in kcat(self.server, "bounded", "%o\n")]
        whole = offsets == list(range(start, end)) and end >= self.kept * 33
        yield not behind and squeezed, f"compacted: the last of each key is there, {len(rows)} of {self.turn * 33} records", behind
        yield whole and start > 0, f"bounded: whole from {start} to {end}, older segments are gone", offsets[:3]


def kcat(server, topic, form):
    command = ["kcat", "-b", server.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", form]
    return subprocess.run(command, capture_output=True, timeout=60, check=True).stdout.splitlines()


def run(arguments):
    table, dice = report.Report(), random.Random(7)
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        server = servers.Ottla(folder, binary=arguments.binary)
        server.settings["log.retention.check.interval.ms"] = "300"
        try:
            seconds = [server.start()]
            with wire.Connection(server.port) as connection:
                wire.topic(connection, TOPIC)
                Churn.topics(connection)
            loop, churn = Loop(server), Churn(server)
            for _ in range(arguments.times):
                enough, left = threading.Event(), [dice.randint(1, 60)]

                def acknowledged():
                    left[0] -= 1
                    if left[0] <= 0:
                        enough.set()

                writer = threading.Thread(target=loop.run, args=(acknowledged,))
                beside = threading.Thread(target=churn.run)
                writer.start()
                beside.start()
                enough.wait(60)
                time.sleep(dice.random())
                server.kill()
                writer.join()
                beside.join()
                seconds.append(server.start())
            found = read_all(server)
            lost = set(loop.acked) - set(found)
            table.add("server", "ottla", "failed" if lost else "ok",
                      f"{arguments.times} times kill -9: no acknowledged record of {len(loop.acked)} is missing", str(lost)[:200])
            twice = len(found) - len(set(found))
            table.add("server", "ottla", "failed" if twice else "ok", "no record of the idempotent producer is there twice", str(twice))
            for good, check, note in churn.verdicts():
                table.add("server", "ottla", "ok" if good else "failed", check, "" if good else str(note)[:200])
            ordered = sorted(seconds)
            table.add("server", "ottla", "ok",
                      f"start to first answer: median {ordered[len(ordered) // 2]:.3f} s, longest {ordered[-1]:.3f} s")
        except (RuntimeError, AssertionError) as error:
            table.add("server", "ottla", "failed", "runs", str(error))
        finally:
            server.kill()
    return table.end()


def read_all(server):
    """All values of the topic, as kcat prints them."""
    out = subprocess.run(
        ["kcat", "-b", server.bootstrap, "-C", "-t", TOPIC, "-o", "beginning", "-e", "-q"], capture_output=True, timeout=60, check=True)
    return out.stdout.split()
