"""Three nodes of Ottla beside three of Apache Kafka 4.3.1, on this machine and in one run: three replicas,
acks=all; and beside the least that three writers must do, which relay the same bytes over sockets (relay.c).

    bench/run replication                     two rounds of all rows but the long ones: a quarter of an hour
    bench/run replication --rows ack,kill     only the rows whose names begin so
    bench/run replication --rounds 5          more rounds; each starts its clusters anew
    bench/run replication --full              5,000 partitions with three replicas, too: half an hour more
    bench/run replication --list              the rows

One cluster runs at a time; rounds go forth and back through them. Each node leads one of three partitions, and the others
follow; `min.insync.replicas` is 2. The load is raw frames (crates/load), one connection to each leader. After each load all
replicas are in sync, and the offsets say that every record that was acknowledged is there, once. CPU and memory are those of the
three processes together. Printed are medians, with the smallest and the largest behind them.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

from harness import coordinators, crowded_trios, peers, show, trios  # trios finds conformance's kit
from harness import rounds
from harness.drive import MB
from harness.machine import emptied
from harness.rows import Row, latency
from harness.steady import SteadyProducer

from kit import cluster, quorum_load, replica_logs  # conformance's kit, found by trios

KINDS = ["kafka", "roofline", "ottla"]
# How often in each round.
KILLS, STOPS, CONTROLLER_KILLS = 3, 1, 2
MANY = {"long": True, "alone": True, "once": True}


def produce(records, record_bytes, seconds=3.0, depth=5):
    """Three connections, one to each leader: MB/s (10^6 bytes of values) of all, and CPU seconds a GB of the three nodes."""

    def load(trio, name, scale):
        size = records * record_bytes
        options = {"records": records, "record_bytes": record_bytes, "depth": depth}
        for member in trio.members:
            trio.topic(f"{name}-warm-{member.number}", [member.number])
            trio.topic(f"{name}-{member.number}", [member.number])
        # A first run shows how many batches are enough; it warms the servers up, too.
        count = max(depth * 4, 4 * MB // size)
        warm = trio.drive_three(f"{name}-warm", count=count, **options)
        a_second = count / max(found["seconds"] for found in warm)
        count = int(max(count, a_second * seconds * scale))
        cpu = trio.cpu()
        found = trio.drive_three(name, count=count, **options)
        cpu = trio.cpu() - cpu
        for member in trio.members:
            trio.check(f"{name}-{member.number}", count * records)
        total = 3 * count * size
        return {"value": total / max(it["seconds"] for it in found) / MB, "cpu": cpu / (total / 1e9)}

    load.writes = True
    return load


def acknowledgement(trio, name, scale):
    """One record after the other: microseconds until each is acknowledged, and of CPU a record."""
    trio.topic(name, [1])
    count = int(5000 * scale)
    trio.drive("produce", name, depth=1, count=count // 3)
    cpu = trio.cpu()
    found = trio.drive("produce", name, depth=1, count=count)
    cpu = trio.cpu() - cpu
    trio.check(name, count + count // 3)
    return latency(found, count, cpu)


def end_to_end(trio, name, scale):
    """A record at a time, read along by a fetch that waits: microseconds from when it was due until it is read."""
    trio.topic(name, [1])
    trio.drive("tail", name, rate=200, count=200)
    return latency(trio.drive("tail", name, rate=200, count=int(1500 * scale)), 1)


def gaps(trio, name, victims, inflict, mend):
    """How long a steady producer is not acknowledged when the leader of its partition has a fault, in seconds: for each of
    `victims`, functions that say whether a member is one."""
    trio.topic(name)
    found = []
    for fits in victims:
        trio.elect_preferred(name)
        member = next(member for member in trio.members if fits(member))
        with SteadyProducer(trio.nodes, name, member.number - 1) as producer:
            try:
                found.append(producer.gap(lambda: inflict(member)))  # noqa: B023  (used before the next turn)
            finally:
                mend(member)
        replica_logs.await_full(trio.nodes, [name])
    return found


def faults(where_quorum_leads, count, inflict, mend):
    """Faults of a partition's leader that leads the quorum, too, or does not: what a member does to itself, and what ends it."""

    def load(trio, name, _scale):
        fits = lambda member: (trio.nodes.leader()[0] is member) == where_quorum_leads
        return {"value": gaps(trio, name, [fits] * count, inflict, mend)}

    return load


def kill(where_quorum_leads):
    return faults(where_quorum_leads, KILLS, lambda it: it.kill(), lambda it: it.launch())


def stop(where_quorum_leads):
    return faults(where_quorum_leads, STOPS, lambda it: it.pause(), lambda it: it.resume())


def controller_kills(trio, name, _scale):
    """kill -9 of the quorum's leader: seconds until the next one has made a topic."""
    found = []
    with quorum_load.Load(trio.nodes) as load:
        for _ in range(CONTROLLER_KILLS):
            load.await_more(6)
            victim, state = trio.nodes.leader()
            try:
                found.append(quorum_load.interrupt(load, victim, state.epoch, victim.kill).topic)
            finally:
                victim.launch()
            quorum_load.await_caught_up(trio.nodes, victim, load.names())
        assert not load.errors, f"{trio.label}: {load.errors[:3]}"
    return {"value": found}


def started(trio, name, scale):
    """Filled by the run itself: the seconds of the start, and memory."""
    raise NotImplementedError


def row(name, title, unit, load, **options):
    return Row(name, title, unit, load, **{"roof": False, **options})


ROWS = [
    row("start", "start of three formatted nodes until all know each other", "s", started, key="start", most=1, lower=True),
    row("memory-idle", "memory of the three, idle", "MB", started, key="idle", most=45, lower=True),
    row("16k", "16 KB batches of 100 B, 3 connections, depth 5", "MB/s", produce(160, 100), over_kafka=15, over_roofline=0.7, cpu=0.03,
        roof=True),
    row("64k", "64 KB batches of 100 B", "MB/s", produce(640, 100), over_kafka=10, over_roofline=0.7, cpu=0.05, roof=True),
    row("1m", "1 MB batches of 1 KB", "MB/s", produce(1000, 1000), over_kafka=4, over_roofline=0.8, cpu=0.15, roof=True),
    row("ack-p50", "one after the other, acknowledgement, p50", "us", acknowledgement, key="p50", over_kafka=0.4, lower=True, roof=True),
    row("ack-p99", "the same, p99", "us", acknowledgement, key="p99", over_kafka=0.2, lower=True, roof=True),
    row("ack-p999", "the same, p99.9", "us", acknowledgement, key="p999", over_kafka=0.15, lower=True, roof=True),
    row("tail-p50", "end to end, p50", "us", end_to_end, key="p50", over_kafka=0.4, lower=True),
    row("tail-p99", "the same, p99", "us", end_to_end, key="p99", over_kafka=0.2, lower=True),
    row("tail-p999", "the same, p99.9", "us", end_to_end, key="p999", over_kafka=0.15, lower=True),
    row("commit", "offset commit, p50", "us", coordinators.commits, over_kafka=0.5, lower=True),
    row("endtxn", "EndTxn, p50", "us", coordinators.transactions, key="end", over_kafka=0.5, lower=True),
    row("transaction", "a transaction of one record, p50", "us", coordinators.transactions, key="whole", lower=True),
    row("memory-loaded", "memory of the three, after the loads", "MB", started, key="loaded", most=120, lower=True),
    row("kill", "kill -9 of a leader: longest gap of a steady producer", "s", kill(False), most=0.5, lower=True),
    row("kill-controller", "the same, where it led the quorum", "s", kill(True), most=1.5, lower=True),
    row("stop", "SIGSTOP of a leader: longest gap of a steady producer", "s", stop(False), over_kafka=1, lower=True),
    row("stop-controller", "the same, where it led the quorum", "s", stop(True), over_kafka=1, lower=True),
    row("controller", "kill -9 of the quorum's leader until the next one has made a topic", "s", controller_kills, most=1, lower=True),
    row("many-create", "5,000 partitions, 3 replicas: created and in sync", "s", crowded_trios.many, key="create", lower=True, **MANY),
    row("many-idle", "idle CPU of the three with them", "% of a core", crowded_trios.many, key="idle", most=1.5, lower=True, **MANY),
    row("many-memory", "memory of the three with them", "MB", crowded_trios.many, key="memory", lower=True, **MANY),
    row("many-moves", "kill -9: until all partitions of the broker have other leaders", "s", crowded_trios.many, key="moves",
        over_kafka=0.1, lower=True, **MANY),
    row("many-back", "its start after that until all are in sync", "s", crowded_trios.many, key="back", over_kafka=0.1, lower=True, **MANY),
    row("many-restart", "its start after a clean end until all are in sync", "s", crowded_trios.many, key="restart", over_kafka=0.1,
        lower=True, **MANY),
]
FAULTS = {row.load for row in ROWS if row.name.startswith(("kill", "stop", "controller"))}


class Table(show.Table):
    """The rows of this run alone; where a round has several figures of a row, all count."""

    @staticmethod
    def every():
        return []

    @staticmethod
    def values(rounds, load, key):
        found = [it[load][key] for it in rounds if load in it and key in it[load]]
        return [value for figure in found for value in (figure if isinstance(figure, list) else [figure])]


class Run:
    """All rounds of all clusters, what they showed and what went wrong."""

    def __init__(self, kinds, chosen, binary, work, scale=1.0):
        self.kinds, self.chosen, self.binary, self.work, self.scale = kinds, chosen, binary, work, scale
        self.found, self.failures = {kind: [] for kind in KINDS}, rounds.Failures()

    def trio(self, kind, folder):
        if kind == "roofline":
            return trios.Relays(folder)
        made = trios.MeasuredApache() if kind == "kafka" else cluster.OttlaKind(self.binary)
        return trios.Trio(show.NAMES[kind], made, folder)

    def round(self, number):
        """Goes through the clusters, back in each second round; rows that want one alone get it after the others."""
        for kind in rounds.in_turn(self.kinds, number):
            due = [row for row in self.chosen if kind in row.peers and not (row.once and number)]
            found = self.one(kind, number, [row for row in due if not row.alone])
            for load in dict.fromkeys(row.load for row in due if row.alone):
                alone = self.one(kind, number, [row for row in due if row.load is load])
                found.update({load: alone[load]} if load in alone else {})
            self.found[kind].append(found)
            yield show.NAMES[kind]

    def one(self, kind, number, due):
        """What one cluster shows of these rows: figures by load."""
        if not due:
            return {}
        os.sync()
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.work))
        trio, found = self.trio(kind, folder), {started: {}}
        try:
            found[started]["start"] = trio.start()
            if kind == "roofline":
                del found[started]
            else:
                time.sleep(3)
                found[started]["idle"] = trio.resident() / MB
            loads = list(dict.fromkeys(row.load for row in due if row.load is not started))
            for load in [it for it in loads if it not in FAULTS]:
                rounds.measure(trio, load, f"load-{number}-{len(found)}", self.scale, found, self.failures)
            if started in found and all(member.alive() for member in trio.members):
                found[started]["loaded"] = trio.resident() / MB
            for load in [it for it in loads if it in FAULTS]:
                rounds.measure(trio, load, f"fault-{number}-{len(found)}", self.scale, found, self.failures)
        except rounds.FAILURES as error:
            self.failures.add(f"{trio.label}, start", error)
        finally:
            trio.end()
            emptied(folder)
        return found


def write(page, table, machine):
    """Puts the table between the marks of the page."""
    head, mark, rest = page.read_text().partition("<!-- replicas -->\n")
    _, end, tail = rest.partition("<!-- end of replicas -->\n")
    assert mark and end, f"{page} has no place for the table"
    told = (f"`{machine['command']}` on {machine['when']}: {machine['machine']}, {machine['cores']} cores, {machine['rounds']} rounds. "
            "Medians, and in brackets the smallest and the largest. CPU: seconds a GB, or microseconds a record where the unit is "
            "microseconds.\n\n")
    page.write_text(f"{head}{mark}{told}{table.markdown()}\n{end}{tail}")


def main(words):
    parser = argparse.ArgumentParser(prog="bench/run replication", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help="only those whose names begin so, with commas between")
    parser.add_argument("--rounds", type=int, default=2, help="how many rounds (2)")
    parser.add_argument("--full", action="store_true", help="the long rows, too")
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    parser.add_argument("--write", action="store_true", help="write the table of docs/performance.md")
    parser.add_argument("--clusters", default=",".join(KINDS), help="only these, with commas between")
    parser.add_argument("--binary", help="the ottla binary to run, else target/release/ottla")
    parser.add_argument("--driver", type=pathlib.Path, help="the ottla-load binary to load with, else target/release/ottla-load")
    arguments = parser.parse_args(words)
    if arguments.list:
        for row in ROWS:
            print(f"{row.name:<18}{row.title} ({row.unit})")
        return
    # Ended from outside, it still takes its nodes away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = arguments.rows.split(",") if arguments.rows else [""]
    chosen = [row for row in ROWS if row.name.startswith(tuple(wanted)) and (arguments.full or not row.long)]
    if not chosen:
        sys.exit("no row is called so; bench/run replication --list names them")
    kinds = [kind for kind in KINDS if kind in arguments.clusters.split(",")]
    peers.driver_path = arguments.driver or peers.driver()
    (peers.ROOT / "target").mkdir(exist_ok=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=peers.ROOT / "target", ignore_cleanup_errors=True) as work:
        run = Run(kinds, chosen, arguments.binary or peers.Ottla.build(), work)
        for number in range(arguments.rounds):
            for label in run.round(number):
                print(f"round {number + 1} of {arguments.rounds}, {label}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    table = Table.of_rounds(chosen, run.found, [kind for kind in KINDS if kind != "ottla"])
    print(table.text())
    options = (["--rows", arguments.rows] if arguments.rows else []) + ["--full"] * arguments.full
    machine = rounds.facts(arguments.rounds, ["replication", *options])
    path = peers.ROOT / "target" / "bench-replication.json"
    path.write_text(json.dumps({**machine, "rows": table.json()}, indent=1))
    print(f"\n{path} has every figure; took {time.monotonic() - begun:.0f} s")
    if arguments.write:
        write(peers.ROOT / "docs" / "performance.md", table, machine)
    run.failures.exit()
