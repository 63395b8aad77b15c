"""`crash`: kill -9 in the middle of a produce loop, again and again; what was acknowledged is there, once."""

import random
import subprocess
import tempfile
import threading

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


def run(arguments):
    table, dice = report.Report(), random.Random(7)
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        server = servers.Ottla(folder, binary=arguments.binary)
        try:
            seconds = [server.start()]
            with wire.Connection(server.port) as connection:
                wire.topic(connection, TOPIC)
            loop = Loop(server)
            for _ in range(arguments.times):
                enough, left = threading.Event(), [dice.randint(1, 60)]

                def acknowledged():
                    left[0] -= 1
                    if left[0] <= 0:
                        enough.set()

                writer = threading.Thread(target=loop.run, args=(acknowledged,))
                writer.start()
                enough.wait(60)
                server.kill()
                writer.join()
                seconds.append(server.start())
            found = read_all(server)
            lost = set(loop.acked) - set(found)
            table.add("server", "ottla", "failed" if lost else "ok",
                      f"{arguments.times} times kill -9: no acknowledged record of {len(loop.acked)} is missing", str(lost)[:200])
            twice = len(found) - len(set(found))
            table.add("server", "ottla", "failed" if twice else "ok", "no record of the idempotent producer is there twice", str(twice))
            ordered = sorted(seconds)
            table.add("server", "ottla", "ok",
                      f"start to first answer: median {ordered[len(ordered) // 2]:.3f} s, longest {ordered[-1]:.3f} s")
        except (RuntimeError, AssertionError) as error:
            table.add("server", "ottla", "failed", "runs", str(error))
        finally:
            server.kill()
    return table.end()


def read_all(server):
    """All values of the topic, as kcat tells them."""
    out = subprocess.run(
        ["kcat", "-b", server.bootstrap, "-C", "-t", TOPIC, "-o", "beginning", "-e", "-q"], capture_output=True, timeout=60, check=True)
    return out.stdout.split()
