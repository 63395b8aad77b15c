"""`quorum`: three nodes, and three controllers with three brokers, whose leader is killed, stopped and cut off under a load of new
topics; a wiped and a full disk; no majority; the metadata logs of all voters; what idle nodes need.

With `--against both` Apache Kafka goes through the same faults of the leader before, so that its times stand beside Ottla's.
"""

import contextlib
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
import time

from kit import cluster, metadata_log, quorum_load, quorum_steps, report, wire

THREE = {1: cluster.COMBINED, 2: cluster.COMBINED, 3: cluster.COMBINED}
SIX = {1: "controller", 2: "controller", 3: "controller", 4: "broker", 5: "broker", 6: "broker"}
# What Ottla's nodes may take; Apache's figures are only shown.
TOPIC_AFTER_KILL_S = 1.0
IDLE_CPU_PERCENT, IDLE_MB = 0.3, 14
SINGLE_START_S = 0.05
IDLE_SECONDS = 10
# The timeout of a request without a majority. A broker of Apache Kafka tries to forward a request for a minute.
DEADLINE_MS, HELD_BY_APACHE_MS = 10_000, 60_000
DISK_MB = 48
CLOCK_SECONDS = 6
# How many topics are made before the next fault.
TOPICS_BETWEEN = 20
# Three topics' settings of 30 KB each time fill a segment of the metadata log, and then some.
LITTLE_KEPT = {"metadata.log.segment.bytes": 8 << 20, "metadata.max.retention.bytes": 1 << 20,
               "metadata.log.max.record.bytes.between.snapshots": 1 << 20}
LONG_WRITES = 120
KILL, TERM = "kill -9 of the leader", "SIGTERM of the leader"


class Failed(Exception):
    """A row that did not hold."""


class Times:
    """Medians of some interruptions."""

    def __init__(self, name, found):
        self.name, self.found = name, found
        self.topic = statistics.median(one.topic for one in found)
        self.elected = statistics.median(one.elected for one in found)

    def figures(self):
        return f"{self.topic:.2f}, p90 {percentile([one.topic for one in self.found], 90):.2f}, elected {self.elected:.2f} s"

    def __str__(self):
        what = "longest pause of topics" if self.name == TERM else "next topic after"
        return f"{self.name}, {len(self.found)} times: {what} median {self.figures()}"


class Suite:
    """All rows of one kind of server."""

    def __init__(self, table, kind, arguments, beside=None):
        self.table, self.kind, self.arguments, self.beside = table, kind, arguments, beside
        # Fault to its times.
        self.times = {}

    @property
    def is_ottla(self):
        return self.kind.name == "ottla"

    def wants(self, name):
        return not self.arguments.only or any(word in name for word in self.arguments.only.split(","))

    def row(self, where, good, check, note=""):
        self.table.add(self.kind.name, where, "ok" if good else "failed", check, "" if good else str(note)[:4000])

    @contextlib.contextmanager
    def rows(self, where, check):
        """What breaks off within becomes a failed row."""
        try:
            yield
        except Exception as error:  # pylint: disable=broad-except
            # A server's odd answer ends this row, not the run.
            self.row(where, False, check, f"{type(error).__name__}: {error}")

    @contextlib.contextmanager
    def cluster(self, where, shape, network=None, **options):
        """A started cluster, with the rows that each must pass at its start and at its end."""
        with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as folder:
            nodes = cluster.Cluster(self.kind, folder, shape, network, **options)
            try:
                nodes.format()
                seconds = nodes.start()
                self.row(where, True, f"{len(shape)} nodes are a cluster {seconds:.2f} s after their start")
                yield nodes
                doubled = nodes.doubled()
                self.row(where, not doubled, f"one leader in each of {len(nodes.leaders)} epochs", doubled)
                self.save(nodes)
            except BaseException:
                self.save(nodes)
                raise
            finally:
                nodes.remove()

    def save(self, nodes):
        """Keeps the nodes' logs where `--logs` says."""
        if self.arguments.logs:
            for member in nodes.members.values():
                folder = pathlib.Path(self.arguments.logs)
                folder.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError):
                    shutil.copy(member.log, folder / f"{nodes.folder.name}-{member.log.name}")

    # What any cluster must do.

    def check_topics(self, where, nodes):
        """A topic made through any broker is seen through each."""
        with self.rows(where, "a topic made through any broker is seen through each"):
            names = set()
            for member in nodes.brokers:
                name = f"through-{member.number}"
                with member.connect(timeout=40) as connection:
                    code = wire.create_topics(connection, {name: (1, 1, {}, {})})[name]
                if code:
                    raise Failed(f"{name}: error code {code}")
                names.add(name)
            cluster.until(lambda: all(names <= member.topics()[0] for member in nodes.brokers), "all topics are seen", 20, nodes)
            quorum_steps.produce_to_each(nodes, sorted(names))
            self.row(where, True, "a topic made through any broker is seen and served through each")

    def check_lost(self, where, nodes, load):
        """Each acknowledged topic is known to every broker."""
        names = load.names()
        with self.rows(where, "no acknowledged topic is lost"):
            cluster.until(lambda: nodes.quorum() is not None, "a controller leads", 60, nodes)
            quorum_steps.await_all_caught_up(nodes, names)
            lost = {member.number: sorted(names - member.topics()[0])[:5] for member in nodes.brokers}
            lost = {number: some for number, some in lost.items() if some}
            self.row(where, not lost, f"none of {len(names)} acknowledged topics is lost, through any broker", lost)
        self.row(where, not load.errors, "each refusal of a topic was a retriable error", load.errors[:5])

    def check_logs(self, where, nodes, names):
        """The voters' metadata logs, and what Apache's tools read in them and from the leader."""
        with self.rows(where, "the metadata logs of all voters are equal below the high watermark"):
            high = nodes.leader()[1].high_watermark
            reached = lambda: all(end >= high for end in nodes.quorum().ends().values())
            cluster.until(reached, f"all logs reach offset {high}", 30, nodes)
            size, note = metadata_log.compare(list(nodes.members.values()), high)
            self.row(where, not note, f"the metadata logs of {len(nodes.members)} nodes are equal: {size:,} bytes, to offset {high}", note)
        strange = [f"{member.name}: {path.name}" for member in nodes.members.values() for path in member.metadata.iterdir()
                   if path.is_dir() and path.name != cluster.METADATA_FOLDER]
        self.row(where, not strange, "metadata.log.dir has the metadata log and no partitions", strange[:5])
        with self.rows(where, "kafka-dump-log reads a metadata log"):
            member = nodes.controllers[-1]
            found, bad = metadata_log.dump_topics(member)
            missing = names - found
            self.row(where, not bad and not missing, f"Apache's kafka-dump-log finds all {len(names)} topics in a metadata log",
                     f"{bad[:3]}, missing {sorted(missing)[:5]}")
        with self.rows(where, "kafka-metadata-quorum describe"):
            quorum = nodes.leader()[1]
            ways = [("--bootstrap-server", nodes.brokers[0].bootstrap), ("--bootstrap-controller", nodes.controllers[-1].controller)]
            for way in ways:
                wrong = metadata_log.check_status(metadata_log.quorum_tool(*way, "describe", "--status"), quorum)
                wrong += metadata_log.check_replication(metadata_log.quorum_tool(*way, "describe", "--replication"), quorum)
                self.row(where, not wrong, f"Apache's kafka-metadata-quorum describe is right, by {way[0]}", wrong)

    # Faults of the leader.

    def interruptions(self, where, nodes, load, name, rounds, inflict, mend):
        """Inflicts one kind of fault on the leader again and again, and mends it each time; rows of times."""
        found, back = [], []
        with self.rows(where, name):
            for _ in range(rounds):
                load.await_more(TOPICS_BETWEEN)
                victim, quorum = nodes.leader()
                once = lambda: inflict(victim)  # noqa: B023
                try:
                    found.append(quorum_load.interrupt(load, victim, quorum.epoch, once, is_graceful=name == TERM))
                finally:
                    mend(victim)
                back.append(quorum_load.await_caught_up(nodes, victim, load.names()))
        if len(found) == rounds == len(back):
            self.row(where, True, f"{name}, {rounds} times: the node comes back and catches up, median {statistics.median(back):.2f} s")
        if found:
            self.judge(where, name, found)

    def judge(self, where, name, found):
        """The row of how long topics could not be made, beside Apache's."""
        self.times[name] = times = Times(name, found)
        theirs = self.beside.times.get(name) if self.beside else None
        limits = {}
        if self.is_ottla and name == KILL:
            limits = {"topic": TOPIC_AFTER_KILL_S}
        elif self.is_ottla and theirs:
            # A broker of Apache Kafka waits half a minute for a controller that is silent, which is no measure for the election.
            limits = {"topic": theirs.topic} if name == TERM else {"topic": theirs.topic, "elected": theirs.elected * 1.5}
        slow = [f"{what}: {limit:.2f} s are allowed" for what, limit in limits.items() if getattr(times, what) > limit]
        check = f"{times}" + (f"; Apache {theirs.figures()}" if theirs else "")
        self.row(where, not slow, check, f"{slow}, topics {[round(one.topic, 2) for one in found]}")

    def kills(self, where, nodes, load, rounds):
        self.interruptions(where, nodes, load, KILL, rounds, lambda it: it.kill(), lambda it: it.launch())

    def terms(self, where, nodes, load, rounds):
        def mend(victim):
            victim.process.wait(60)
            victim.launch()

        self.interruptions(where, nodes, load, TERM, rounds, lambda it: it.process.terminate(), mend)

    def stops(self, where, nodes, load, rounds):
        def mend(victim):
            victim.resume()
            cluster.until(lambda: quorum_load.follows(victim), f"{victim.name} leads no longer after SIGCONT", 20, nodes)

        self.interruptions(where, nodes, load, "SIGSTOP of the leader", rounds, lambda it: it.pause(), mend)

    def cuts(self, where, nodes, load, rounds):
        def mend(victim):
            # It cannot be reached by the others, and steps down by itself.
            cluster.until(lambda: quorum_load.follows(victim), f"{victim.name} leads no longer when it is cut off", 20, nodes)
            nodes.network.heal(victim.number)

        self.interruptions(where, nodes, load, "cut links of the leader", rounds, lambda it: nodes.network.cut(it.number), mend)

    # Disks.

    def wiped(self, where, nodes, load):
        """A follower loses its disk: it comes back as an observer, and is made a voter again."""
        check = "a follower with a wiped disk comes back"
        member, old = quorum_steps.follower(nodes)
        with self.rows(where, check), member.wiped():
            member.format("--no-initial-controllers")
            member.launch()
            is_observer = lambda: member.check_alive() or nodes.leader()[1].observers.get(member.number)
            cluster.until(is_observer, f"{member.name} is an observer", 60, nodes)
            seconds = quorum_load.await_caught_up(nodes, member, load.names())
            new = nodes.leader()[1].observers[member.number][0]
            self.row(where, new != old, f"{check} as an observer, and catches up in {seconds:.2f} s", f"the directory id is still {old}")
            by = ("--bootstrap-controller", nodes.leader()[0].controller)
            metadata_log.quorum_tool(*by, "remove-controller", "--controller-id", member.number, "--controller-directory-id", old)
            metadata_log.quorum_tool(*by, "--command-config", member.config, "add-controller")
            is_voter = lambda: nodes.leader()[1].voters.get(member.number, ("",))[0] == new
            cluster.until(is_voter, f"{member.name} is a voter again", 20, nodes)
            self.row(where, True, "Apache's kafka-metadata-quorum takes the lost voter out and the new one in")

    def full(self, where, nodes, load):
        """The disk with one voter's metadata is full for a while, when it follows and when it leads."""
        check = "a full disk of one voter"
        member, _ = quorum_steps.follower(nodes)
        member.kill()
        is_small = member.mount_small(DISK_MB)
        member.launch()
        if not is_small:
            self.table.add(self.kind.name, where, "skipped", f"{check}: no tmpfs can be mounted here")
            return
        for role in ("a follower", "the leader"):
            with self.rows(where, f"{check}, {role}"):
                quorum_load.await_caught_up(nodes, member, load.names())
                if role == "the leader":
                    quorum_steps.make_leader(nodes, member, load)
                elif nodes.leader()[0] is member:
                    quorum_steps.restart(nodes, member, load)
                seconds, is_new_start = self.fill_disk(nodes, load, member)
                again = "with room again" + (" and a new start" if is_new_start else "")
                self.row(where, True, f"{check}, {role}: topics go on being made; {again} it catches up in {seconds:.2f} s")

    def fill_disk(self, nodes, load, member):
        """Seconds until the voter caught up when there was room again, and whether it had to be started for that."""
        others = {it.number for it in nodes.brokers if it is not member}
        filler = quorum_steps.fill(member.metadata)
        try:
            load.await_made(time.monotonic(), others, 60)
            # What room the log's last page has is used up by then.
            load.await_more(100)
        finally:
            filler.unlink()
        if member.alive():
            with contextlib.suppress(RuntimeError):
                return quorum_load.await_caught_up(nodes, member, load.names(), 20), False
            # It has given up but not ended: an operator starts it again.
            member.kill()
        member.launch()
        return quorum_load.await_caught_up(nodes, member, load.names()), True

    def snapshot(self, where, nodes, load):
        """The start of the metadata log is removed; a wiped voter begins with a snapshot of the leader."""
        with self.rows(where, "a wiped voter takes a snapshot from the leader"):
            topics = [f"through-{member.number}" for member in nodes.brokers]
            # Topic settings that are rewritten again and again: much log, and a small snapshot.
            for turn in range(LONG_WRITES):
                with nodes.brokers[turn % 3].connect(40) as connection:
                    cluster.set_topic_configs(connection, topics, "leader.replication.throttled.replicas", quorum_steps.long_value(turn))
            has_lost_start = lambda member: metadata_log.log_start(member) > 0 < metadata_log.snapshots(member)[-1]
            cluster.until(lambda: all(has_lost_start(member) for member in nodes.members.values()),
                          "each node removes the start of its metadata log", 150, nodes)
            member, _ = quorum_steps.follower(nodes)
            with member.wiped():
                member.format()
                member.launch()
                seconds = quorum_load.await_caught_up(nodes, member, load.names())
            first, taken = min(base for base, _, _ in metadata_log.batches(member)), metadata_log.snapshots(member)
            self.row(where, first in taken and first > 0,
                     f"a wiped voter takes a snapshot from the leader, its log begins at offset {first}; caught up in {seconds:.2f} s",
                     f"snapshots {taken}, log begins at {first}")
            high = nodes.leader()[1].high_watermark
            cluster.until(lambda: all(end >= high for end in nodes.quorum().ends().values()), f"all logs reach offset {high}", 30, nodes)
            size, note = metadata_log.compare(list(nodes.members.values()), high)
            self.row(where, not note, f"what the metadata logs share is equal: {size:,} bytes", note)

    def clock(self, where, nodes, load):
        """The wall clocks of the leader and then of a follower are set back by an hour.

        Apache Kafka measures how long a batch may linger by the wall clock: if one is open when the clock of the leader goes back,
        nothing is committed for an hour.
        """
        if not self.is_ottla:
            self.table.add(self.kind.name, where, "skipped", "the clock set back: Apache Kafka may stop committing")
            return
        for role in ("the leader", "a follower"):
            with self.rows(where, f"the clock of {role} set back"):
                leader, quorum = nodes.leader()
                member = leader if role == "the leader" else quorum_steps.follower(nodes)[0]
                since = time.monotonic()
                member.set_clock(-3600)
                time.sleep(CLOCK_SECONDS)
                end = load.await_made(since + CLOCK_SECONDS, {it.number for it in nodes.brokers}, 60)
                pause, after = load.pause(since, end), nodes.leader()[1]
                if role == "the leader" and metadata_log.latest_time(member) > time.time() - 3000:
                    raise Failed("the records of the leader have the right time: its clock was not set")
                self.row(where, pause <= 1 and after.epoch == quorum.epoch,
                         f"the clock of {role} an hour back for {CLOCK_SECONDS} s: no election, longest pause of topics {pause:.2f} s",
                         f"epoch {after.epoch} after {quorum.epoch}; a pause of 1 s is allowed")
                # Forward again is another fault.
                quorum_steps.restart(nodes, member, load)

    # No majority.

    def no_majority(self, where, nodes):
        """Two of three are killed: nothing can be made, all that is there can be read and written."""
        with self.rows(where, "without a majority"):
            member, _ = nodes.leader()
            lost = [it for it in nodes.members.values() if it is not member]
            with member.connect(40) as connection:
                code = wire.create_topics(connection, {"live": (-1, -1, {0: [member.number]}, {})})["live"]
                if code:
                    raise Failed(f"live: error code {code}")
                wire.await_topic(connection, "live")
                for it in lost:
                    it.kill()
                self.refused(where, member)
                begin = time.monotonic()
                code, *_ = wire.produce(connection, "live", 0, wire.batch([(b"k", b"v")]))
                names = set(wire.metadata(connection, None)["topics"])
                seconds = time.monotonic() - begin
                raw = wire.fetch(connection, "live", 0, 0)[3]
            self.row(where, code == 0 and "live" in names and raw and seconds < 2,
                     f"without a majority: metadata, produce and fetch of a live partition go on ({seconds * 1000:.0f} ms)",
                     f"produce: error code {code}; {len(names)} topics; {len(raw)} bytes fetched; {seconds:.2f} s")
            begin = time.monotonic()
            lost[0].launch()
            quorum_steps.create_within(member, "with-a-majority-again", 60)
            self.row(where, True, f"when one comes back, topics are made again, {time.monotonic() - begin:.2f} s after its start")
            lost[1].launch()
            quorum_steps.await_all_caught_up(nodes, {"with-a-majority-again"})

    def refused(self, where, member):
        allowed = DEADLINE_MS if self.is_ottla else HELD_BY_APACHE_MS
        begin = time.monotonic()
        with member.connect(allowed / 1000 + 20) as connection:
            code = wire.create_topics(connection, {"refused": (1, 1, {}, {})}, timeout_ms=DEADLINE_MS)["refused"]
        seconds = time.monotonic() - begin
        self.row(where, code in quorum_load.RETRIABLE and seconds <= allowed / 1000 + 2,
                 f"without a majority a new topic is refused after {seconds:.1f} s: {quorum_load.RETRIABLE.get(code, code)}",
                 f"error code {code} after {seconds:.1f} s; a retriable one within {allowed / 1000} s was due")

    # What nodes need that do nothing.

    def idle(self, where, members):
        """CPU and memory of nodes without clients."""
        before = [member.cpu_seconds() for member in members]
        time.sleep(IDLE_SECONDS)
        # Threads that ended meanwhile are not counted.
        used = [sum(now - start.get(thread, 0) for thread, now in member.cpu_seconds().items()) / IDLE_SECONDS * 100
                for member, start in zip(members, before)]
        memory = [member.resident_mb() for member in members]
        good = not self.is_ottla or (max(used) <= IDLE_CPU_PERCENT and max(memory) <= IDLE_MB)
        shown = lambda values, form: ", ".join(format(value, form) for value in values)
        self.row(where, good, f"idle: {shown(used, '.2f')} % of a core, {shown(memory, '.1f')} MB",
                 f"{IDLE_CPU_PERCENT} % and {IDLE_MB} MB are allowed")

    def single(self):
        """Start, memory and idle CPU of a node that is alone."""
        where, starts, turns = "1 alone", [], 5 if self.is_ottla else 2
        with self.rows(where, "a node alone"), tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            for turn in range(turns):
                nodes = cluster.Cluster(self.kind, pathlib.Path(folder) / str(turn), {1: cluster.COMBINED})
                member = nodes.members[1]
                try:
                    member.write_config()
                    member.format("--standalone")
                    begin = time.monotonic()
                    member.launch()
                    wire.await_ready(member.port, member.alive)
                    starts.append(time.monotonic() - begin)
                    if turn == turns - 1:
                        time.sleep(2)
                        self.idle(where, [member])
                finally:
                    nodes.remove()
            median = statistics.median(starts)
            self.row(where, not self.is_ottla or median <= SINGLE_START_S, f"start to the first answer: median {median:.3f} s",
                     f"{SINGLE_START_S} s are allowed: {[round(one, 3) for one in starts]}")

    # The clusters.

    def combined(self, is_short):
        """Three nodes with both roles, from --initial-controllers."""
        where = "3 combined"
        names = ("kill", "term", "stop", "wiped", "full", "majority", "logs", "idle")
        if not any(self.wants(name) for name in names):
            return
        with self.rows(where, "three combined nodes"), self.cluster(where, THREE) as nodes:
            if self.wants("idle"):
                time.sleep(3)
                self.idle(where, list(nodes.members.values()))
            self.check_topics(where, nodes)
            load = quorum_load.Load(nodes)
            with load:
                if self.wants("kill"):
                    self.kills(where, nodes, load, min(self.arguments.kills, 4) if is_short else self.arguments.kills)
                if self.wants("term"):
                    self.terms(where, nodes, load, 2 if is_short else self.arguments.faults)
                if self.wants("stop"):
                    self.stops(where, nodes, load, 1 if is_short else self.arguments.faults)
                if not is_short and self.wants("wiped"):
                    self.wiped(where, nodes, load)
                if not is_short and self.wants("full"):
                    self.full(where, nodes, load)
            self.check_lost(where, nodes, load)
            if not is_short and self.wants("logs"):
                self.check_logs(where, nodes, load.names())
            if not is_short and self.wants("majority"):
                self.no_majority(where, nodes)
                self.check_lost(where, nodes, load)

    def static(self):
        """Three nodes with both roles, from controller.quorum.voters; their clocks can be set, and they keep little of the log."""
        where = "3 static"
        if not any(self.wants(name) for name in ("static", "clock", "snapshot")):
            return
        options = {"is_static": True, "has_clocks": self.wants("clock"), "settings": LITTLE_KEPT}
        with self.rows(where, "three nodes of controller.quorum.voters"), self.cluster(where, THREE, **options) as nodes:
            self.check_topics(where, nodes)
            load = quorum_load.Load(nodes)
            with load:
                if self.wants("static"):
                    self.kills(where, nodes, load, 1)
                if self.wants("clock"):
                    self.clock(where, nodes, load)
            self.check_lost(where, nodes, load)
            self.check_logs(where, nodes, load.names())
            if self.wants("snapshot"):
                self.snapshot(where, nodes, load)
                self.check_lost(where, nodes, load)

    def apart(self):
        """Three controllers and three brokers."""
        where = "3 + 3"
        if not self.wants("apart"):
            return
        with self.rows(where, "three controllers and three brokers"), self.cluster(where, SIX) as nodes:
            self.check_topics(where, nodes)
            load = quorum_load.Load(nodes)
            with load:
                self.kills(where, nodes, load, self.arguments.faults)
            self.check_lost(where, nodes, load)
            self.check_logs(where, nodes, load.names())

    @contextlib.contextmanager
    def namespaces(self, where, check):
        """Network namespaces for three nodes; none, and a skipped row, where they cannot be made."""
        try:
            network = cluster.Namespaces(THREE)
        except (RuntimeError, OSError) as error:
            self.table.add(self.kind.name, where, "skipped", f"{check}: {error}")
            yield None
            return
        try:
            yield network
        finally:
            network.close()

    def cut(self, is_short):
        """Three nodes in network namespaces, whose leader is cut off."""
        where = "3 namespaces"
        if not self.wants("cut"):
            return
        with self.namespaces(where, "cut links of the leader") as network:
            if network is None:
                return
            with self.rows(where, "three nodes in network namespaces"), self.cluster(where, THREE, network) as nodes:
                load = quorum_load.Load(nodes)
                with load:
                    self.cuts(where, nodes, load, 2 if is_short else self.arguments.faults)
                self.check_lost(where, nodes, load)
                if not is_short:
                    self.check_logs(where, nodes, load.names())

    def all(self, is_short):
        if self.wants("single"):
            self.single()
        self.combined(is_short)
        if not is_short:
            self.static()
            self.apart()
        self.cut(is_short)


def percentile(values, part):
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * part // 100) - 1)]


def run_suite(suite, table, arguments):
    """All rows of one kind of server, or a short run of Apache's before all of Ottla's; the exit code."""
    # Ended from outside, it still takes its nodes, namespaces and mounts away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kinds = {"ottla": lambda: cluster.OttlaKind(arguments.binary), "apache": cluster.ApacheKind}
    if arguments.against == "both":
        beside = suite(table, cluster.ApacheKind(), arguments)
        beside.all(is_short=True)
        suite(table, kinds["ottla"](), arguments, beside).all(is_short=False)
    else:
        suite(table, kinds[arguments.against](), arguments).all(is_short=False)
    return table.end()


def run(arguments):
    return run_suite(Suite, report.Report(), arguments)
