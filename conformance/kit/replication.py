"""`cluster`: three brokers whose partitions have replicas. What the topics' descriptions show while a broker is down; what is
acknowledged is read back when leaders are killed, stopped, restarted and cut off, and when replicas lose their disk; in-sync
replicas too few; the replicas' logs, byte by byte; groups and transactions when the broker of their coordinator is lost.

The clients' histories are judged by `checker`. Every row holds for Apache Kafka 4.3.1, too: `--against apache`, or `both`.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

from kit import checker, checker_test, cluster, history_clients, quorum, quorum_steps, replica_logs, report, wire

NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND = 19, 20
NONE = 0
# What a client asks again after.
RETRIABLE = {3, 5, 6, 7, 14, 15, 16, 19, 20}
REPLICATED = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    # A follower that makes no progress leaves the in-sync set soon enough for a test.
    "replica.lag.time.max.ms": "10000",
}
# A version that replicates nothing has internal topics of one replica.
FORMER = {"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1"}
FIVE = dict.fromkeys(range(1, 6), cluster.COMBINED)
PARTITIONS = 3
DISK_MB = 48
# What is written of 4 MB is left at most: the last segment is not cleaned.
COMPACTED_BYTES = 2 << 20
LOAD, MONEY = "load", "money"
# Records a second of each client.
RATE = 60
# Longer than a broker's session (9 s).
STOPPED_S = 14
# A group's clients go on within this time: a session of a broker, an election, and a rebalance.
GROUP_S = 60
VERBATIM = "--create --topic chat-test --partitions 3 --replication-factor 3"
WORDS = "kwfarm, chat, minisr, compact, survivors, wiped, full, five, kill, stop, rolling, coordinator, transactions, cut, upgrade"


def led_by(nodes, topic, member):
    """The partitions of a topic that this member leads."""
    others = [it for it in replica_logs.living(nodes)]
    return [part.index for part in replica_logs.partitions(others[0], topic) if part.leader == member.number]


def coordinator(nodes, key, kind=wire.GROUP):
    """The member that coordinates a group or a transactional id, waited for."""

    def found():
        with replica_logs.living(nodes)[0].connect() as connection:
            reply = connection.ask(wire.FIND_COORDINATOR, 1, wire.Out().text(key).put("b", kind))
        reply.take("i")
        code, _, number = reply.take("h"), reply.text(), reply.take("i")
        return code == NONE and nodes.members[number].alive() and nodes.members[number]

    return cluster.until(found, f"the coordinator of {key} is known", 60, nodes, pause=0.1)


def produce(nodes, topic, index, value, timeout=40.0):
    """One record with acks=all at the leader of a partition; the error code."""
    with replica_logs.leader(nodes, topic, index).connect(timeout) as connection:
        code, *_ = wire.produce(connection, topic, index, wire.batch([(b"k", value)]))
    return code


def produce_until(nodes, topic, index, value, seconds=60):
    """Writes until it is acknowledged: leaders move meanwhile."""
    cluster.until(lambda: produce(nodes, topic, index, value) == NONE, f"a record to {topic}-{index}", seconds, nodes, pause=0.1)


class Suite(quorum.Suite):
    """All rows of one kind of server."""

    def topic(self, nodes, name, partitions, replication, assignment=None, **configs):
        """Makes a topic and waits until all its replicas are in sync."""
        settings = {key.replace("_", "."): str(value) for key, value in configs.items()}
        placed = {index: list(replicas) for index, replicas in enumerate(assignment or [])}
        counts = (-1, -1) if placed else (partitions, replication)
        with nodes.brokers[0].connect(40) as connection:
            code = wire.create_topics(connection, {name: (*counts, placed, settings)})[name]
        if code:
            raise quorum.Failed(f"creating {name} with {replication} replicas: error code {code}")
        replica_logs.await_full(nodes, [name])

    def check_described(self, where, nodes, topic, due, text):
        """Apache's kafka-topics (and ours) print of each partition the replicas and in-sync replicas that are due."""
        member = replica_logs.living(nodes)[0]
        words = ["--bootstrap-server", member.bootstrap, "--describe", "--topic", topic]
        printed = {"Apache's kafka-topics": replica_logs.topics_tool(*words)}
        if self.is_ottla:
            done = subprocess.run([self.kind.binary, "kafka-topics", *words], capture_output=True, text=True, timeout=60, check=False)
            printed["ours"] = done.stdout + done.stderr
        wrong = []
        for name, out in printed.items():
            rows = replica_logs.described(out)
            for index, (replicas, isr) in due.items():
                leader, shown, in_sync = rows.get(index, ("none", [], []))
                if shown != replicas or sorted(in_sync) != sorted(isr) or int(leader if leader.isdigit() else -1) not in isr:
                    wrong.append(f"{name}, partition {index}: leader {leader}, replicas {shown}, isr {in_sync}; due {replicas}, {isr}\n{out}")
        self.row(where, not wrong, text, wrong)

    # The notes' scenarios.

    def kwfarm(self, where, nodes):
        """Topic kwfarm, 2 partitions, 2 replicas on brokers 1 to 3; broker 2 goes down and comes back."""
        for topic, assignment in (("kwfarm", None), ("kwfarm-placed", [(1, 2), (2, 3)])):
            with self.rows(where, f"{topic}: broker 2 goes down and comes back"):
                if assignment:
                    self.topic(nodes, topic, 2, 2, assignment)
                else:
                    replica_logs.topics_tool("--bootstrap-server", nodes.brokers[0].bootstrap, "--create", "--topic", topic,
                                             "--partitions", "2", "--replication-factor", "2")
                    replica_logs.await_full(nodes, [topic])
                before = {part.index: part.replicas for part in replica_logs.partitions(nodes.brokers[0], topic)}
                for way in ("stopped", "killed"):
                    self.down_and_back(where, nodes, topic, before, way)

    def down_and_back(self, where, nodes, topic, before, way):
        full = {index: (replicas, replicas) for index, replicas in before.items()}
        self.check_described(where, nodes, topic, full, f"{topic}: `Isr` is `Replicas` {list(before.values())}")
        for index in before:
            produce_until(nodes, topic, index, b"before")
        member, begin = nodes.members[2], time.monotonic()
        if way == "stopped":
            member.stop()
        else:
            member.kill()
        lacks = lambda part: 2 not in part.isr and part.leader not in (2, -1)
        replica_logs.await_partitions(nodes, topic, lacks, "broker 2 is neither leader nor in sync")
        seconds = time.monotonic() - begin
        left = {index: (replicas, [it for it in replicas if it != 2]) for index, replicas in before.items()}
        self.check_described(where, nodes, topic, left,
                             f"{topic}: broker 2 {way}, `Isr` is {[isr for _, isr in left.values()]}, after {seconds:.2f} s")
        for index in before:
            produce_until(nodes, topic, index, b"without broker 2")
        begin = time.monotonic()
        member.launch()
        replica_logs.await_full(nodes, [topic])
        seconds = time.monotonic() - begin
        self.check_described(where, nodes, topic, full, f"{topic}: broker 2 is back, `Isr` is full, after {seconds:.2f} s")
        self.check_replicas(where, nodes, [topic])

    def chat(self, where, nodes):
        """The notes' commands, word by word."""
        with self.rows(where, "kafka-topics --create --topic chat-test with three replicas"):
            address = nodes.brokers[0].bootstrap
            if self.is_ottla:
                self.by_zookeeper(where, nodes)
            out = replica_logs.topics_tool("--bootstrap-server", address, *VERBATIM.split())
            self.row(where, "Created topic chat-test" in out, f"kafka-topics --bootstrap-server {VERBATIM}", out)
            replica_logs.await_full(nodes, ["chat-test"])
            rows = replica_logs.described(replica_logs.topics_tool("--bootstrap-server", address, "--describe", "--topic", "chat-test"))
            good = len(rows) == 3 and all(sorted(replicas) == sorted(isr) == [1, 2, 3] for _, replicas, isr in rows.values())
            leaders = sorted(leader for leader, _, _ in rows.values())
            self.row(where, good and leaders == ["1", "2", "3"], "--describe: three replicas in sync, each broker leads one", rows)
            messages = "".join(f"message {number}\n" for number in range(30))
            by = ["--bootstrap-server", address, "--topic", "chat-test", "--command-property", "batch.size=200"]
            replica_logs.jvm_with_input("org.apache.kafka.tools.ConsoleProducer", messages, *by)
            replica_logs.await_same_ends(nodes, "chat-test")
            self.dumps(where, nodes, "chat-test", {f"message {number}" for number in range(30)})

    def by_zookeeper(self, where, nodes):
        """Our kafka-topics asks the broker of $KAFKA_SERVER where old notes name ZooKeeper."""
        command = [self.kind.binary, "kafka-topics", "--zookeeper", "zk1:2181", *VERBATIM.split()]
        around = {**os.environ, "KAFKA_SERVER": nodes.brokers[0].bootstrap}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=around)
        self.row(where, done.returncode == 0 and "Created topic chat-test" in done.stdout, f"kafka-topics --zookeeper zk1:2181 {VERBATIM}",
                 done.stdout + done.stderr)
        replica_logs.await_full(nodes, ["chat-test"])
        replica_logs.topics_tool("--bootstrap-server", nodes.brokers[0].bootstrap, "--delete", "--topic", "chat-test")
        gone = lambda: not any(replica_logs.partitions(member, "chat-test") for member in nodes.brokers)
        cluster.until(gone, "chat-test is deleted", 30, nodes, pause=0.1)

    def dumps(self, where, nodes, topic, values):
        """kafka-dump-log in the partition folders of each broker prints the same messages, and all of them."""
        tools = {"Apache's": None}
        if self.is_ottla:
            tools["our"] = [self.kind.binary, "kafka-dump-log"]
        for name, command in tools.items():
            wrong, found = [], set()
            for part in replica_logs.partitions(nodes.brokers[0], topic):
                rows = {}
                for number in part.replicas:
                    out, bad = replica_logs.dump(nodes.members[number], topic, part.index, command)
                    rows[number], wrong = replica_logs.payloads(out), wrong + bad
                if len({tuple(row) for row in rows.values()}) != 1:
                    wrong.append(f"{topic}-{part.index}: {({number: len(row) for number, row in rows.items()})} records")
                found |= {payload for _, payload in rows[part.replicas[0]]}
            wrong += [f"found {sorted(found ^ values)[:5]} too many or too few"] if found != values else []
            self.row(where, not wrong, f"{name} kafka-dump-log --print-data-log at each broker: the same {len(found)} messages", wrong[:3])

    def check_replicas(self, where, nodes, topics):
        """The replicas of these topics are equal byte by byte."""
        with self.rows(where, f"the replicas of {topics} are equal"):
            for topic in topics:
                replica_logs.await_same_ends(nodes, topic)
            found = [replica_logs.compare(nodes, topic) for topic in topics]
            wrong = [note for _, notes in found for note in notes]
            self.row(where, not wrong, f"the replicas of {', '.join(topics)} are equal: {sum(size for size, _ in found):,} bytes", wrong[:4])

    def check_dumps(self, where, nodes, topics):
        """Apache's kafka-dump-log reads each replica without a complaint."""
        bad = [note for topic in topics for part in replica_logs.partitions(nodes.brokers[0], topic) for number in part.replicas
               for note in replica_logs.dump(nodes.members[number], topic, part.index)[1]]
        self.row(where, not bad, f"Apache's kafka-dump-log reads all replicas of {', '.join(topics)}", bad[:4])

    def verify_replicas(self, where, nodes, topic):
        """Apache's kafka-replica-verification finds no lag."""
        words = ["--broker-list", ",".join(member.bootstrap for member in nodes.brokers), "--topics-include", topic,
                 "--report-interval-ms", "1000"]
        out = replica_logs.jvm_until("org.apache.kafka.tools.ReplicaVerificationTool", 60, replica_logs.LAG, *words)
        lags = replica_logs.LAG.findall(out)
        self.row(where, bool(lags) and set(lags) == {"0"}, f"Apache's kafka-replica-verification finds a lag of 0 in {topic}", out[-800:])

    # In-sync replicas too few.

    def minisr(self, where, nodes):
        """Three replicas of which three must be in sync: without one, writes are refused and reads go on."""
        with self.rows(where, "min.insync.replicas=3 with a broker down"):
            topic = "all-three"
            self.topic(nodes, topic, 1, 3, [(1, 2, 3)], min_insync_replicas=3)
            produce_until(nodes, topic, 0, b"first")
            nodes.members[3].stop()
            replica_logs.await_partitions(nodes, topic, lambda part: 3 not in part.isr, "broker 3 is not in sync")
            codes = [produce(nodes, topic, 0, b"refused") for _ in range(3)]
            self.row(where, set(codes) <= {NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND},
                     "min.insync.replicas=3, one of three down: NOT_ENOUGH_REPLICAS", codes)
            with replica_logs.leader(nodes, topic).connect() as connection:
                code, high, _, raw = wire.fetch(connection, topic, 0, 0)
                body = wire.batch([(b"k", b"one")])
                one, *_ = wire.produce(connection, topic, 0, body, acks=1)
            self.row(where, code == NONE and raw, f"reads go on, to {high}", f"error code {code}, {len(raw)} bytes")
            self.row(where, one == NONE, "a write with acks=1 is accepted", f"error code {one}")
            begin = time.monotonic()
            nodes.members[3].launch()
            produce_until(nodes, topic, 0, b"again", 90)
            self.row(where, True, f"when it is back, writes are accepted again, {time.monotonic() - begin:.2f} s after its start")
            replica_logs.await_full(nodes, [topic])
            self.check_replicas(where, nodes, [topic])

    def compacted(self, where, nodes):
        """A compacted topic whose follower was away: replicas are cleaned at different times, and have the same values."""
        with self.rows(where, "the replicas of a compacted topic"):
            topic = "compacted"
            self.topic(nodes, topic, 1, 3, [(1, 2, 3)], cleanup_policy="compact", segment_bytes=1 << 20, min_cleanable_dirty_ratio="0.01")
            for turn in range(80):
                rows = [(b"key %d" % (number % 40), b"%d of turn %d, " % (number, turn) + b"x" * 1000) for number in range(50)]
                with replica_logs.leader(nodes, topic).connect() as connection:
                    code, *_ = wire.produce(connection, topic, 0, wire.batch(rows))
                if code:
                    raise quorum.Failed(f"a batch to {topic}: error code {code}")
                if turn == 20:
                    nodes.members[3].kill()
                    replica_logs.await_partitions(nodes, topic, lambda part: 3 not in part.isr, "broker 3 is not in sync")
                if turn == 60:
                    nodes.members[3].launch()
            replica_logs.await_full(nodes, [topic])
            replica_logs.await_same_ends(nodes, topic)
            sizes = lambda: {member.number: replica_logs.size(member, topic, 0) for member in nodes.brokers}
            cluster.until(lambda: max(sizes().values()) < COMPACTED_BYTES, f"each replica of {topic} is cleaned", 60, nodes, pause=0.5)
            found = [replica_logs.latest(member, topic, 0) for member in nodes.brokers]
            good = found[0] == found[1] == found[2] and len(found[0]) == 40
            self.row(where, good, f"the replicas of a compacted topic ({', '.join(f'{size:,}' for size in sizes().values())} bytes of 4 MB) "
                     "have the same values", [len(one) for one in found])

    # Clients under faults.

    def judge_history(self, where, nodes, clients, topic):
        """Ends the clients and judges what they have seen."""
        complaints = clients.end()
        self.row(where, not complaints, f"{topic}: no client met an error that it did not get over", complaints[:6])
        with self.rows(where, f"{topic}: what was acknowledged is read back"):
            read = clients.read()
            found = clients.history.check(read)
            resent = self.take_resent(nodes, topic, found)
            acknowledged, transactions = clients.history.counts()
            more = (f" in {transactions} transactions" if transactions else "") + (f", {resent} sent twice by clients" if resent else "")
            more += "".join(f", {count} of {name} read that it was not told of" for name, count in clients.history.unacknowledged(read))
            self.row(where, not found and acknowledged, f"{topic}: {acknowledged} acknowledged{more}, {len(read)} read: the history is clean",
                     f"{checker.told(found) or 'nothing was acknowledged'}; {clients.history.troubles.most_common(8)}")
        with self.rows(where, f"{topic}: the sequences of all producers"):
            rows = [replica_logs.check_sequences(replica_logs.leader(nodes, topic, index), topic, index) for index in range(PARTITIONS)]
            wrong = [note for _, notes in rows for note in notes]
            self.row(where, not wrong, f"{topic}: the sequences of all producers follow each other in {sum(count for count, _ in rows)} batches",
                     f"{wrong[:5]}; {clients.history.troubles.most_common(8)}")

    def take_resent(self, nodes, topic, found):
        """Takes out of the duplicates, and counts, what a client itself sent twice: KafkaJS, which is not idempotent, and librdkafka, under
        two sequence numbers, when a leader is lost (confluentinc/librdkafka issue 4953). The same sequence twice remains."""
        count, left = 0, []
        for note in found.pop("duplicate", []):
            places = [(int(index), int(offset)) for index, offset in re.findall(r"\((\d+), (\d+)\)", note)]
            sent = {replica_logs.written(replica_logs.leader(nodes, topic, index), topic, index, offset) for index, offset in places}
            program = history_clients.PROGRAMS[note.partition(" ")[0].rpartition("-")[0].removesuffix("-tx")]
            if not program.is_idempotent or program.name == "librdkafka" and len(sent) == len(places) and None not in sent:
                count += 1
            else:
                left.append(f"{note}, {sorted(map(str, sent))}")
        if left:
            found["duplicate"] = left
        return count

    def revive(self, where, nodes):
        """A node that ended by itself is a failed row, and is started again for what comes after."""
        for member in nodes.members.values():
            if not member.alive():
                self.row(where, False, f"{member.name} goes on", f"exit code {member.process.returncode}: {member.tail(3)}")
                member.launch()

    def fault(self, where, nodes, clients, name, rounds, victim_of, inflict, mend):
        """Inflicts a fault on a broker again and again, mends it each time; how long its partitions took no record."""
        # Pauses where the broker led the quorum, and where it did not.
        pauses, back = {True: [], False: []}, []
        self.revive(where, nodes)
        with self.rows(where, name):
            for turn in range(rounds):
                replica_logs.await_full(nodes, [clients.topic])
                clients.await_more()
                victim = victim_of(turn)
                led = led_by(nodes, clients.topic, victim) or list(range(clients.partitions))
                leads_quorum = nodes.leader()[0] is victim
                since = time.monotonic()
                try:
                    inflict(victim)
                    end = clients.history.await_acknowledged(led, time.monotonic() + 0.2, 90, clients.check_alive)
                finally:
                    begin = time.monotonic()
                    mend(victim)
                pauses[leads_quorum].append(clients.history.pause(led, since, end))
                replica_logs.await_full(nodes, [clients.topic])
                back.append(time.monotonic() - begin)
        if len(back) == rounds:
            self.row(where, True, f"{name}, {rounds} times: no record for {history_clients.shown(pauses[False])}; "
                     f"where it led the quorum, {history_clients.shown(pauses[True])}")
            self.row(where, True, f"{name}: all replicas are in sync again after {history_clients.shown(back)}")
            self.times[name] = pauses

    def kills(self, where, nodes, clients, rounds):
        victim_of = lambda turn: replica_logs.leader(nodes, clients.topic, turn % clients.partitions)
        self.fault(where, nodes, clients, "kill -9 of a leader", rounds, victim_of, lambda it: it.kill(), lambda it: it.launch())

    def stops(self, where, nodes, clients, rounds):
        began = {}

        def inflict(victim):
            began[victim.number] = time.monotonic()
            victim.pause()

        def mend(victim):
            time.sleep(max(0, began[victim.number] + STOPPED_S - time.monotonic()))
            victim.resume()

        victim_of = lambda turn: replica_logs.leader(nodes, clients.topic, turn % clients.partitions)
        self.fault(where, nodes, clients, "SIGSTOP of a leader", rounds, victim_of, inflict, mend)

    def rolling(self, where, nodes, clients):
        """Each broker is stopped by SIGTERM and started again, one after the other."""
        order = list(nodes.members.values())
        self.fault(where, nodes, clients, "controlled restart of a broker", len(order), lambda turn: order[turn], lambda it: it.stop(),
                   lambda it: it.launch())

    def wiped(self, where, nodes, clients):
        """A follower loses its disk and starts with an empty one."""
        with self.rows(where, "a follower with a wiped disk"):
            replica_logs.await_full(nodes, [clients.topic])
            leader = replica_logs.leader(nodes, clients.topic)
            member = next(it for it in nodes.brokers if it is not leader)
            begin = time.monotonic()
            with member.wiped():
                member.format()
                member.launch()
                replica_logs.await_full(nodes, [clients.topic])
            clients.await_more()
            self.row(where, True, f"a follower with a wiped disk is in sync again after {time.monotonic() - begin:.2f} s")

    def full(self, where, nodes, clients):
        """The disk of a follower is full for a while: it leaves the in-sync set, and comes back when there is room."""
        check = "a full disk of a follower"
        with self.rows(where, check):
            replica_logs.await_full(nodes, [clients.topic])
            leader = replica_logs.leader(nodes, clients.topic)
            member = next(it for it in nodes.brokers if it is not leader)
            member.kill()
            is_small = member.mount_small(DISK_MB, member.data)
            member.launch()
            if not is_small:
                self.table.add(self.kind.name, where, "skipped", f"{check}: no tmpfs can be mounted here")
                return
            replica_logs.await_full(nodes, [clients.topic])
            filler = quorum_steps.fill(member.data)
            try:
                lacks = lambda part: member.number not in part.isr and part.leader not in (member.number, -1)
                others = [it for it in replica_logs.living(nodes) if it is not member]
                replica_logs.await_partitions(nodes, clients.topic, lacks, "the follower with a full disk is not in sync", 90, others)
                clients.await_more(90)
            finally:
                filler.unlink()
            begin, has_ended = time.monotonic(), not member.alive()
            # An operator starts it again: a directory that failed stays offline until then.
            member.stop()
            member.launch()
            replica_logs.await_full(nodes, [clients.topic])
            self.row(where, True, f"{check}: it {'ends' if has_ended else 'leaves the in-sync set'}; with room again and a new start "
                     f"in sync after {time.monotonic() - begin:.2f} s")

    def coordinators(self, where, nodes, clients, group, consumers, rounds):
        """The broker that coordinates a group, then the one of a transactional id, is killed; offsets stay, consumers go on."""
        offsets = {0: 11, 1: 12, 2: 13}
        self.revive(where, nodes)
        with self.rows(where, "committed offsets when the broker of the coordinator is killed"):
            for turn in range(rounds):
                name = f"kept-{turn}"
                member = coordinator(nodes, name)
                with member.connect(40) as connection:
                    cluster.until(lambda: set(wire.commit(connection, name, -1, "", LOAD, offsets).values()) == {NONE},  # noqa: B023
                                  f"offsets of {name} are committed", 30, nodes)
                since = time.monotonic()
                with self.killed(nodes, member):
                    with coordinator(nodes, name).connect(40) as connection:
                        read = lambda: wire.committed(connection, name, LOAD, offsets)  # noqa: B023
                        cluster.until(lambda: read()[1] not in RETRIABLE, f"the coordinator of {name} has loaded", 60, nodes, pause=0.1)
                        found, code = read()
                    seconds, found = time.monotonic() - since, {index: row[0] for index, row in found.items()}
                    self.row(where, (found, code) == (offsets, NONE),
                             f"committed offsets are there {seconds:.2f} s after their coordinator was killed", f"{found}, {code}")
        with self.rows(where, "the broker that coordinates a group is killed"):
            member, since = coordinator(nodes, group), time.monotonic()
            with self.killed(nodes, member):
                end = clients.await_more(90)
                pauses = [clients.history.await_polled(process, end, GROUP_S) for process in consumers]
            self.row(where, True, f"the broker that coordinates a group is killed: consumers go on, "
                     f"{end - since:.2f} s to the next records, then {max(pauses):.2f} s")

    def transactions(self, where, nodes, clients, rounds):
        """The brokers that coordinate transactional ids are killed while transactions go on."""
        self.revive(where, nodes)
        with self.rows(where, "the broker that coordinates a transactional id is killed"):
            pauses, last = [], []
            for turn in range(rounds):
                names = [client.process.removesuffix("-" + history_clients.TRANSACT) for client in clients.all
                         if history_clients.TRANSACT in client.process]
                member, since = coordinator(nodes, f"{names[turn % len(names)]}-tx", wire.TRANSACTION), time.monotonic()
                with self.killed(nodes, member):
                    last.append(clients.history.await_committed([f"{name}-{history_clients.TRANSACT}" for name in names], since, GROUP_S))
                    pauses.append(time.monotonic() - since)
                    clients.check_alive()
            self.row(where, True, f"the broker that coordinates a transactional id is killed, {rounds} times: all producers commit again "
                     f"within {history_clients.shown(pauses)} (last: {', '.join(last)})")

    @contextlib.contextmanager
    def killed(self, nodes, member):
        """kill -9; in the end the broker is started again, and all replicas are in sync."""
        member.kill()
        try:
            yield
        finally:
            member.launch()
            replica_logs.await_full(nodes, [LOAD, MONEY, "__consumer_offsets"])

    # The clusters.

    def described(self):
        """What is described, and what is refused."""
        where = "3 combined"
        if not any(self.wants(name) for name in ("kwfarm", "chat", "minisr", "compact")):
            return
        with self.rows(where, "three combined nodes"), self.cluster(where, quorum.THREE, settings=REPLICATED) as nodes:
            if self.wants("chat"):
                self.chat(where, nodes)
            if self.wants("kwfarm"):
                self.kwfarm(where, nodes)
            if self.wants("minisr"):
                self.minisr(where, nodes)
            if self.wants("compact"):
                self.compacted(where, nodes)

    def loaded(self, is_short):
        """Three combined nodes under clients of all kinds."""
        where = "3 under load"
        if not any(self.wants(name) for name in ("kill", "stop", "rolling", "coordinator", "transactions")):
            return
        with self.rows(where, "three nodes under load"), self.cluster(where, quorum.THREE, settings=REPLICATED) as nodes:
            for topic in (LOAD, MONEY):
                self.topic(nodes, topic, PARTITIONS, 3, min_insync_replicas=2)
            with self.clients(nodes, LOAD) as load, self.clients(nodes, MONEY) as money:
                consumers = self.start_clients(where, load, money)
                if self.wants("kill"):
                    self.kills(where, nodes, load, min(self.arguments.kills, 2) if is_short else self.arguments.kills)
                if self.wants("stop"):
                    self.stops(where, nodes, load, 1 if is_short else self.arguments.faults)
                if self.wants("rolling"):
                    self.rolling(where, nodes, load)
                if self.wants("coordinator"):
                    self.coordinators(where, nodes, load, "classic-group", consumers, 1 if is_short else self.arguments.faults)
                if money.all:
                    self.transactions(where, nodes, money, 1 if is_short else self.arguments.faults)
                self.judge_history(where, nodes, load, LOAD)
                if money.all:
                    self.judge_history(where, nodes, money, MONEY)
            self.revive(where, nodes)
            replica_logs.await_full(nodes, [LOAD, MONEY])
            self.check_replicas(where, nodes, [LOAD, MONEY])
            self.check_dumps(where, nodes, [LOAD])
            self.verify_replicas(where, nodes, LOAD)

    def start_clients(self, where, load, money):
        """Producers of all libraries, consumers of both protocols, and transactions; the consumers' names."""
        for name in history_clients.PROGRAMS:
            load.produce(name, RATE)
        consumers = [load.consume("librdkafka", "classic-group"), load.consume("java", "new-group", "consumer")]
        load.await_more(90)
        if self.wants("transactions"):
            with self.rows(where, "transactions on three brokers"):
                for name, program in history_clients.PROGRAMS.items():
                    if history_clients.TRANSACT in program.phases:
                        money.transact(name, RATE)
                money.consume("librdkafka", "money-group")
                try:
                    money.await_more(40)
                except RuntimeError:
                    money.kill()
                    raise
        return consumers

    @contextlib.contextmanager
    def clients(self, nodes, topic):
        with contextlib.ExitStack() as stack:
            log = None
            if self.arguments.logs:
                folder = pathlib.Path(self.arguments.logs)
                folder.mkdir(parents=True, exist_ok=True)
                log = stack.enter_context(open(folder / f"{nodes.folder.name}-clients-{topic}.log", "w"))
            yield stack.enter_context(history_clients.Clients(nodes, topic, PARTITIONS, log))

    def apart(self):
        """Three controllers and three brokers: two brokers are lost one after the other; a disk is lost."""
        where = "3 + 3"
        if not any(self.wants(name) for name in ("survivors", "wiped", "full")):
            return
        with self.rows(where, "three controllers and three brokers"), self.cluster(where, quorum.SIX, settings=REPLICATED) as nodes:
            self.topic(nodes, LOAD, PARTITIONS, 3, min_insync_replicas=1)
            with self.clients(nodes, LOAD) as load:
                for name in history_clients.PROGRAMS:
                    load.produce(name, RATE)
                load.await_more(90)
                if self.wants("wiped"):
                    self.wiped(where, nodes, load)
                if self.wants("full"):
                    self.full(where, nodes, load)
                if self.wants("survivors"):
                    self.survivors(where, nodes, load)
                self.judge_history(where, nodes, load, LOAD)
            for member in nodes.brokers:
                if not member.alive():
                    member.launch()
            replica_logs.await_full(nodes, [LOAD])
            self.check_replicas(where, nodes, [LOAD])

    def survivors(self, where, nodes, clients):
        """Two of three replicas are killed one after the other; the third has all that was acknowledged."""
        with self.rows(where, "two brokers are killed one after the other"):
            replica_logs.await_full(nodes, [clients.topic])
            for count in (1, 2):
                clients.await_more()
                victim = replica_logs.leader(nodes, clients.topic)
                since = time.monotonic()
                victim.kill()
                left = {member.number for member in replica_logs.living(nodes)}
                remains = lambda part: set(part.isr) == left & set(part.replicas) and part.leader in left  # noqa: B023
                replica_logs.await_partitions(nodes, clients.topic, remains, "the replicas that are left are in sync")
                end = clients.await_more(90)
                pause = clients.history.pause(range(clients.partitions), since, end)
                self.row(where, True, f"{count} of {len(nodes.brokers)} brokers killed: records go on being acknowledged, "
                         f"no record for {pause:.2f} s")

    def five(self):
        """Five combined nodes, of which two are lost one after the other: a majority is left, and a replica of each partition."""
        where = "5 combined"
        if not self.wants("five"):
            return
        with self.rows(where, "five nodes"), self.cluster(where, FIVE, settings=REPLICATED) as nodes:
            self.topic(nodes, LOAD, PARTITIONS, 3, [(1, 2, 3), (2, 3, 4), (5, 1, 2)], min_insync_replicas=1)
            with self.clients(nodes, LOAD) as load:
                for name in history_clients.PROGRAMS:
                    load.produce(name, RATE)
                load.await_more(90)
                self.survivors(where, nodes, load)
                self.judge_history(where, nodes, load, LOAD)
            for member in nodes.brokers:
                if not member.alive():
                    member.launch()
            replica_logs.await_full(nodes, [LOAD])
            self.check_replicas(where, nodes, [LOAD])

    def cut(self, is_short):
        """Three nodes in network namespaces; the links of a leader are cut."""
        where = "3 namespaces"
        if not self.wants("cut"):
            return
        try:
            network = cluster.Namespaces(quorum.THREE)
        except (RuntimeError, OSError) as error:
            self.table.add(self.kind.name, where, "skipped", f"cut links of a leader: {error}")
            return
        try:
            with self.rows(where, "three nodes in namespaces"), self.cluster(where, quorum.THREE, network, settings=REPLICATED) as nodes:
                self.topic(nodes, LOAD, PARTITIONS, 3, min_insync_replicas=2)
                with self.clients(nodes, LOAD) as load:
                    for name in history_clients.PROGRAMS:
                        load.produce(name, RATE)
                    load.consume("librdkafka", "classic-group")
                    load.await_more(90)
                    victim_of = lambda turn: replica_logs.leader(nodes, LOAD, turn % PARTITIONS)
                    rounds = 1 if is_short else self.arguments.faults
                    self.fault(where, nodes, load, "cut links of a leader", rounds, victim_of,
                               lambda it: network.cut(it.number), lambda it: network.heal(it.number))
                    # It hears the others, who do not hear it.
                    self.fault(where, nodes, load, "links of a leader cut one way", rounds, victim_of,
                               lambda it: network.mute(it.number), lambda it: network.unmute(it.number))
                    self.judge_history(where, nodes, load, LOAD)
                self.check_replicas(where, nodes, [LOAD])
        finally:
            network.close()

    def upgrade(self):
        """Three nodes of a former version, which replicates nothing, are restarted one after the other as nodes of this one."""
        where = "3 upgraded"
        if not self.is_ottla or not self.arguments.former or not self.wants("upgrade"):
            return
        binary, self.kind.binary = self.kind.binary, self.arguments.former
        try:
            with self.rows(where, "a rolling upgrade"), self.cluster(where, quorum.THREE, settings=REPLICATED | FORMER) as nodes:
                self.topic(nodes, LOAD, PARTITIONS, 1)
                with self.clients(nodes, LOAD) as load:
                    for name in history_clients.PROGRAMS:
                        load.produce(name, RATE)
                    load.consume("librdkafka", "classic-group")
                    load.await_more(90)
                    self.kind.binary = binary
                    self.rolling(where, nodes, load)
                    self.judge_history(where, nodes, load, LOAD)
                self.topic(nodes, MONEY, PARTITIONS, 3)
                produce_until(nodes, MONEY, 0, b"after the upgrade")
                self.row(where, True, "a topic with three replicas is made after the upgrade")
        finally:
            self.kind.binary = binary

    def all(self, is_short):
        self.described()
        self.apart()
        self.loaded(is_short)
        if not is_short:
            self.five()
        self.cut(is_short)
        self.upgrade()


def check_checker(table):
    """The checker itself: clean where it must be, and each planted anomaly is found."""
    tests = unittest.defaultTestLoader.loadTestsFromModule(checker_test)
    result = unittest.TestResult()
    tests.run(result)
    bad = [f"{test}: {text.splitlines()[-1]}" for test, text in [*result.failures, *result.errors]]
    table.add("checker", "", "failed" if bad else "ok", f"planted and good histories: {result.testsRun} judged right", bad[:3])


def run(arguments):
    # Ended from outside, it still takes its nodes, namespaces and mounts away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    table = report.Report()
    check_checker(table)
    kinds = {"ottla": lambda: cluster.OttlaKind(arguments.binary), "apache": cluster.ApacheKind}
    if arguments.against == "both":
        beside = Suite(table, cluster.ApacheKind(), arguments)
        beside.all(is_short=True)
        Suite(table, kinds["ottla"](), arguments, beside).all(is_short=False)
    else:
        Suite(table, kinds[arguments.against](), arguments).all(is_short=False)
    return table.end()
