"""Client programs that write their history (`clients/events.py`), started at a cluster; all their events as one history."""

import collections
import dataclasses
import datetime
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from typing import Callable

from kit import checker, install

PRODUCE, TRANSACT, CONSUME = "produce", "transact", "consume"
# How long a client may need to finish after its end was asked for: a delivery may take two minutes.
END_S = 150
READ_COMMITTED = "read_committed"


@dataclasses.dataclass
class Program:
    """How a client program is started, and what it can do."""

    name: str
    command: Callable[[], list]
    phases: frozenset = frozenset({PRODUCE, TRANSACT, CONSUME})
    protocols: frozenset = frozenset({"classic", "consumer"})
    # Whether its producer sends each value under one sequence number, so that a broker can drop what it has already.
    is_idempotent: bool = True


def java_command():
    jars = install.apache()
    made = install.classes("java-history", jars, [install.CLIENTS / "java/History.java"])
    log4j = install.HOME / "kit/log4j2.properties"
    return ["java", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={log4j}", "-Dlevel=off",
            "-cp", f"{made}:{jars}/*", "History"]


def python_command(name, folder):
    return lambda: [install.python(name), install.CLIENTS / folder / "history.py"]


def go_command(name):
    return lambda: [install.go(name)]


def node_command():
    os.environ["PACKAGES"] = str(install.node())
    return ["node", install.CLIENTS / "kafkajs/history.js"]


CLASSIC = frozenset({"classic"})
PROGRAMS = {it.name: it for it in [
    Program("librdkafka", python_command("confluent", "confluent")),
    Program("java", java_command),
    Program("franz-go", go_command("franz_history"), protocols=CLASSIC),
    Program("sarama", go_command("sarama"), frozenset({PRODUCE, CONSUME}), CLASSIC),
    Program("kafka-python", python_command("kafka-python", "kafka_python"), frozenset({PRODUCE, CONSUME}), CLASSIC),
    Program("kafkajs", node_command, frozenset({PRODUCE, CONSUME}), CLASSIC, is_idempotent=False),
]}


class History:
    """The events of all clients; with `log`, a file keeps them as they came, by the wall clock as the nodes' logs have it."""

    def __init__(self, log=None):
        self.lock, self.log = threading.Condition(), log
        self.events, self.errors, self.troubles = [], [], collections.Counter()
        # Partition to the times of its acknowledgements; process to the times of its polls. In seconds, of CLOCK_MONOTONIC.
        self.acknowledged, self.polled = {}, {}

    def take(self, process, line):
        """One line of a client."""
        kind, at, *fields = line.rstrip("\n").split("\t")
        at = int(at)
        with self.lock:
            if self.log is not None:
                when = datetime.datetime.fromtimestamp((time.time_ns() - time.monotonic_ns() + at) / 1e9, datetime.timezone.utc)
                self.log.write("\t".join([when.isoformat(timespec="milliseconds"), process, kind, *fields]) + "\n")
            event = self.event(process, kind, at, fields)
            if event is not None:
                self.events.append(event)
            self.lock.notify_all()

    def event(self, process, kind, at, fields):
        match kind, fields:
            case "send", [partition, value, transaction]:
                return checker.Send(process, int(partition), value, None if transaction == "-" else transaction, at)
            case "ack", [partition, value, offset]:
                self.acknowledged.setdefault(int(partition), []).append(at / 1e9)
                return checker.Acknowledged(process, int(partition), value, int(offset), at)
            case "ending", [transaction]:
                return checker.Ending(process, transaction, at)
            case "ended", [transaction, outcome]:
                return checker.Ended(process, transaction, outcome, at)
            case "assigned", [*parts]:
                return checker.Assigned(process, tuple(int(part) for part in "".join(parts).split(",") if part), at)
            case "poll", [partition, offset, value]:
                self.polled.setdefault(process, []).append(at / 1e9)
                return checker.Polled(process, int(partition), int(offset), value, at)
            case "error", [*_, text] if TRANSACT in process:
                # Its transaction is aborted, or torn: the checker says which.
                self.troubles[process, text] += 1
            case ("error" | "fatal"), _:
                self.errors.append(f"{process}: {kind} {' '.join(fields)}")
            case "trouble", [*_, text]:
                # What a client gets over by itself.
                self.troubles[process, text] += 1
            case _:
                self.errors.append(f"{process}: {kind} {fields}")
        return None

    def counts(self):
        """How many values were acknowledged, and how many transactions were committed."""
        with self.lock:
            return (sum(isinstance(event, checker.Acknowledged) for event in self.events),
                    sum(isinstance(event, checker.Ended) and event.outcome == checker.COMMITTED for event in self.events))

    def await_acknowledged(self, partitions, since, seconds, alive=lambda: None):
        """Waits until each of these partitions has an acknowledgement from after `since`; the time of the last such first one."""
        end = time.monotonic() + seconds
        with self.lock:
            while True:
                firsts = [next((at for at in reversed(self.acknowledged.get(partition, [])) if at > since), None) for partition in partitions]
                if None not in firsts:
                    return max(min(at for at in self.acknowledged[partition] if at > since) for partition in partitions)
                alive()
                if time.monotonic() > end:
                    missing = [partition for partition, first in zip(partitions, firsts) if first is None]
                    raise RuntimeError(f"no acknowledgement of partitions {missing} within {seconds} s")
                self.lock.wait(0.2)

    def pause(self, partitions, since, end):
        """The longest time without an acknowledgement of one of these partitions, in seconds."""
        with self.lock:
            rows = [sorted([since, end, *(at for at in self.acknowledged.get(partition, []) if since < at < end)]) for partition in partitions]
        return max(later - earlier for row in rows for earlier, later in zip(row, row[1:]))

    def await_polled(self, process, since, seconds):
        """Waits until a consumer polls something after `since`; how long after."""
        end = time.monotonic() + seconds
        with self.lock:
            while True:
                at = self.polled.get(process, [])
                if at and at[-1] > since:
                    return min(one for one in at if one > since) - since
                if time.monotonic() > end:
                    raise RuntimeError(f"consumer {process} polled nothing within {seconds} s")
                self.lock.wait(0.2)

    def await_committed(self, processes, since, seconds):
        """Waits until each of these producers has committed a transaction that it began after `since`; which was the last to."""
        end, later, missing = time.monotonic() + seconds, since * 1e9, set()
        with self.lock:
            while True:
                begun = {event.transaction for event in self.events if isinstance(event, checker.Send) and event.at > later}
                done = {event.process for event in self.events
                        if isinstance(event, checker.Ended) and event.outcome == checker.COMMITTED and event.transaction in begun}
                if done >= set(processes):
                    return ", ".join(sorted(missing))
                missing = set(processes) - done
                if time.monotonic() > end:
                    raise RuntimeError(f"no transaction of {sorted(missing)} was committed within {seconds} s")
                self.lock.wait(0.5)

    def unacknowledged(self, read):
        """(process, how many of its values were read without ever being acknowledged): allowed, but worth a look."""
        with self.lock:
            sent = {event.value: event.process for event in self.events if isinstance(event, checker.Send)}
            for event in self.events:
                if isinstance(event, checker.Acknowledged):
                    sent.pop(event.value, None)
        return sorted(collections.Counter(sent[value] for _, _, value in read if value in sent).items())

    def check(self, read):
        """What the checker finds, with the rows (partition, offset, value) of a last read to the end."""
        with self.lock:
            events = sorted(self.events, key=lambda event: event.at)
        now = time.monotonic_ns()
        events.append(checker.Assigned("the last reader", tuple(sorted({row[0] for row in read})), now))
        events += [checker.Polled("the last reader", *row, now) for row in read]
        return checker.check(events)


class Client:
    """A client program that runs; its lines go to a history."""

    def __init__(self, program, bootstrap, history, process, *words):
        self.process, self.history = process, history
        command = [str(word) for word in [*program.command(), *words]]
        # No pipe: one that nobody reads would fill up.
        self.complaints = tempfile.TemporaryFile()  # pylint: disable=consider-using-with
        self.running = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True, start_new_session=True,
            env={**os.environ, "BOOTSTRAP": bootstrap, "CLIENTS": str(install.CLIENTS)})
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.running.stdout:
            self.history.take(self.process, line)

    def check_alive(self):
        if self.running.poll() is not None:
            raise RuntimeError(f"client {self.process} ended with exit code {self.running.returncode}: {self.tail()}")

    def tail(self):
        size = self.complaints.seek(0, os.SEEK_END)
        self.complaints.seek(max(0, size - 1500))
        return self.complaints.read().decode(errors="replace")

    def end(self):
        """Asks the client to finish what it has begun; the complaint if it does not, or not well."""
        note = ""
        try:
            self.running.stdin.close()
            if self.running.wait(END_S):
                note = f"client {self.process} ended with exit code {self.running.returncode}: {self.tail()}"
        except (subprocess.TimeoutExpired, OSError) as error:
            note = f"client {self.process} did not end: {error} {self.tail()}"
        self.kill()
        self.thread.join(10)
        return note

    def kill(self):
        try:
            os.killpg(self.running.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.running.wait()


class Clients:
    """Clients of one topic, and their history."""

    def __init__(self, nodes, topic, partitions, log=None):
        self.topic, self.partitions, self.history, self.all = topic, partitions, History(log), []
        self.bootstrap = ",".join(member.bootstrap for member in nodes.brokers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """Ends all clients as they are, and forgets them."""
        for client in self.all:
            client.kill()
        self.all = []

    def start(self, name, phase, *words, mark=""):
        program = PROGRAMS[name]
        process = f"{name}-{phase}{mark}"
        self.all.append(Client(program, self.bootstrap, self.history, process, phase, self.topic, *words))
        return process

    def produce(self, name, rate, mark=""):
        return self.start(name, PRODUCE, self.partitions, f"{name}{mark}", rate, mark=mark)

    def transact(self, name, rate):
        return self.start(name, TRANSACT, self.partitions, f"{name}-tx", rate)

    def consume(self, name, group, protocol="classic"):
        return self.start(name, CONSUME, group, protocol, READ_COMMITTED, mark=f"-{protocol}")

    def check_alive(self):
        for client in self.all:
            client.check_alive()

    def await_more(self, seconds=60):
        """Waits until each partition has an acknowledgement from after now."""
        return self.history.await_acknowledged(range(self.partitions), time.monotonic(), seconds, self.check_alive)

    def end(self):
        """Lets all clients finish, producers first; their complaints."""
        ordered = sorted(self.all, key=lambda client: CONSUME in client.process)
        return [note for note in [client.end() for client in ordered] if note] + self.history.errors

    def read(self):
        """(partition, offset, value) of all that read_committed shows of the topic, by kcat."""
        command = [install.kcat(), "-b", self.bootstrap, "-C", "-t", self.topic, "-o", "beginning", "-e", "-q", "-f", "%p\t%o\t%s\n",
                   "-X", f"isolation.level={READ_COMMITTED}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            raise RuntimeError(f"kcat: exit {done.returncode}: {done.stderr[-500:]}")
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        return sorted((int(partition), int(offset), value) for partition, offset, value in rows)


def shown(seconds):
    """Figures of some pauses."""
    return f"median {statistics.median(seconds):.2f}, most {max(seconds):.2f} s" if seconds else "none"
