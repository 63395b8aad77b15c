"""`adopt`: a data directory goes from one server to the other and back; Apache's tool reads every file of ours."""

import json
import pathlib
import re
import subprocess
import tempfile
import time

from kit import clients, report, servers, wire

COMPLAINTS = re.compile(r"Exception|Found timestamp mismatch|Index position|not a valid|Could not|mismatch", re.IGNORECASE)
DECODERS = {"__cluster_metadata": "--cluster-metadata-decoder", "__consumer_offsets": "--offsets-decoder",
            "__transaction_state": "--transaction-log-decoder"}


def dump(data):
    """Runs DumpLogSegments over every file of a data directory; returns how many it read and what it complained about."""
    endings = (".log", ".index", ".timeindex", ".snapshot", ".checkpoint")
    by_decoder = {}
    for folder in sorted(path for path in pathlib.Path(data).iterdir() if path.is_dir()):
        files = [file for file in folder.iterdir() if file.suffix in endings and file.stat().st_size > 0]
        decoder = tuple(flag for start, flag in DECODERS.items() if folder.name.startswith(start))
        by_decoder.setdefault(decoder, []).extend(files)
    count, bad = 0, []
    for decoder, files in by_decoder.items():
        command = [*servers.java(), "org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", "--print-data-log", *decoder,
                   "--files", ",".join(map(str, files))]
        result = subprocess.run(command, capture_output=True, timeout=120, check=False)
        told = (result.stdout + result.stderr).decode(errors="replace")
        found = [line for line in told.splitlines() if COMPLAINTS.search(line) and "payload" not in line]
        if result.returncode != 0 or found:
            bad.append(" | ".join(found[:3]) or told[-300:])
        count += len(files)
    return count, bad


def content(server, topics):
    """Every record of the topics, as kcat prints it."""
    rows = []
    for topic in topics:
        command = ["kcat", "-b", server.bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"]
        out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        for line in out.splitlines():
            row = json.loads(line)
            rows.append({key: row.get(key) for key in ("topic", "partition", "offset", "ts", "key", "payload", "headers")})
    return rows


def squeeze(server, seconds=60):
    """Fills a compacted topic and waits until the server's cleaner has been there; how many records were written, how many
    are left, and whether the last value of each key is among them."""
    wanted, written = {}, 0
    with wire.Connection(server.port) as connection:
        wire.topic(connection, "squeezed", cleanup_policy="compact", segment_bytes="1048576",
                   min_cleanable_dirty_ratio="0.01")
        for turn in range(40):
            records = [(b"key-%d" % (n % 20), b"%d-%d-" % (turn, n) + bytes(3000).replace(b"\0", b"x")) for n in range(33)]
            if turn == 5:
                records.append((b"gone", None))
            error, *_ = wire.produce(connection, "squeezed", 0, wire.batch(records))
            assert error == 0, f"error code {error}"
            wanted.update((key.decode(), value and value.decode()) for key, value in records)
            written += len(records)
    end = time.monotonic() + seconds
    while True:
        rows = content(server, ["squeezed"])
        # A quarter at most is in the last segment, where no cleaner goes.
        if len(rows) < written * 2 / 5 or time.monotonic() > end:
            break
        time.sleep(0.5)
    found = {row["key"]: row["payload"] for row in rows}
    return written, len(rows), found == wanted


class Adopt:
    """One way: `first` begins a directory, `second` takes it over, `first` takes it back."""

    def __init__(self, table, folder, first, second):
        self.table = table
        self.first, self.second = first(folder), second(folder, data=pathlib.Path(folder) / "data")
        self.way = f"{self.first.name} to {self.second.name}"
        self.kcat = next(client for client in clients.ALL if client.name == "kcat")
        self.confluent = next(client for client in clients.ALL if client.name == "confluent")

    def add(self, good, check, note=""):
        self.table.add("server", self.way, "ok" if good else "failed", check, note)

    def phase(self, server, phase, *arguments, client=None):
        client = client or self.kcat
        for result, check, note in client.run(server, phase, *arguments):
            self.table.add(client.name, server.name, result, check, note)

    def state(self, server, topics):
        return content(server, topics), self.committed(server)

    def committed(self, server, seconds=30):
        """The group's offset; a coordinator that is still loading has no answer yet."""
        end = time.monotonic() + seconds
        while True:
            with wire.Connection(server.port) as connection:
                try:
                    return wire.committed(connection, "adopted", "adopted", [0])
                except ValueError:
                    if time.monotonic() > end:
                        raise RuntimeError("the group's offset cannot be read") from None
            time.sleep(0.1)

    def run(self):
        topics = [f"words-kcat-{codec}" for codec in ("none", "gzip", "snappy", "lz4", "zstd")] + ["adopted"]
        self.first.start()
        self.phase(self.first, "write")
        with wire.Connection(self.first.port) as connection:
            wire.topic(connection, "adopted")
            wire.produce(connection, "adopted", 0, wire.batch([(b"k", b"%d" % n) for n in range(12)]))
        self.phase(self.first, "resume", "adopted", "adopted", 0, 5, "of a new group")
        self.phase(self.first, "begin", "adopted-txn", client=self.confluent)
        written, left, right = squeeze(self.first)
        self.add(right and left < written * 2 / 5, f"{self.first.name} compacts: {left} of {written} records are left")
        topics += ["squeezed", "adopted-txn"]
        before = self.state(self.first, topics)
        self.first.stop()
        if self.first.name == "ottla":
            count, bad = dump(self.first.data)
            self.add(count > 10 and not bad, f"DumpLogSegments reads {count} files without a complaint", "; ".join(bad[:3]))
        self.take_over(self.second, topics, before)
        self.phase(self.second, "resume", "adopted", "adopted", 5, 3, "on the other server")
        self.phase(self.second, "go-on", "adopted-txn", 1, client=self.confluent)
        before = self.state(self.second, topics)
        self.second.stop()
        self.take_over(self.first, topics, before)
        self.phase(self.first, "resume", "adopted", "adopted", 8, 4, "back on the first")
        self.phase(self.first, "go-on", "adopted-txn", 2, client=self.confluent)
        self.first.stop()

    def take_over(self, server, topics, before):
        seconds = server.start()
        after = self.state(server, topics)
        self.add(after == before, f"{server.name} serves the same records and offsets ({seconds:.2f} s to start)",
                 "" if after == before else f"{str(after)[:300]} instead of {str(before)[:300]}")


def run(arguments):
    table = report.Report()
    ottla = lambda folder, data=None: servers.Ottla(folder, data, binary=arguments.binary)
    for first, second in ((ottla, servers.Apache), (servers.Apache, ottla)):
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            adopt = Adopt(table, folder, first, second)
            try:
                adopt.run()
            except (RuntimeError, subprocess.SubprocessError) as error:
                table.add("server", adopt.way, "failed", "runs", str(error))
            finally:
                adopt.first.kill()
                adopt.second.kill()
    return table.end()
