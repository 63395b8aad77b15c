"""`conformance/run signals`: Ctrl-C, SIGTERM, SIGHUP and closed pipes, for the server and for commands."""

import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time

from kit import report, servers

# How long a command may take to end after a signal.
SOON = 3.0
CONSUMERS = {
    "ottla consume, classic": ["consume", "t", "-g", "{group}"],
    "ottla consume, KIP-848": ["consume", "t", "-g", "{group}", "-X", "group.protocol=consumer"],
    "kafka-console-consumer, classic": ["kafka-console-consumer", "--topic", "t", "--group", "{group}"],
    "kafka-console-consumer, KIP-848": [
        "kafka-console-consumer", "--topic", "t", "--group", "{group}", "--command-property", "group.protocol=consumer"],
    "kafka-consumer-perf-test": [
        "kafka-consumer-perf-test", "--topic", "t", "--group", "{group}", "--num-records", "1000000", "--timeout", "600000"],
    "kafka-verifiable-consumer, classic": ["kafka-verifiable-consumer", "--topic", "t", "--group-id", "{group}"],
    "kafka-verifiable-consumer, KIP-848": [
        "kafka-verifiable-consumer", "--topic", "t", "--group-id", "{group}", "--group-protocol", "consumer"],
}


class Failed(Exception):
    """A check that did not hold."""


def check(holds, text):
    if not holds:
        raise Failed(text)


class Cli:
    """The binary under test, and the node that it talks to."""

    def __init__(self, server):
        self.binary, self.bootstrap = str(server.binary), server.bootstrap
        self.around = {**os.environ, "KAFKA_SERVER": self.bootstrap, "XDG_CONFIG_HOME": "/nonexistent"}

    def start(self, words, **options):
        """Starts a command; the signals that a shell would let through are let through."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([self.binary, *words], env=self.around, text=True, preexec_fn=heard, **streams)

    def run(self, *words, **options):
        return subprocess.run([self.binary, *words], env=self.around, text=True, capture_output=True, timeout=60,
                              check=False, **options)

    def rows(self, *words):
        done = self.run(*words, "-o", "json")
        check(done.returncode == 0, f"{words}: {done.stderr}")
        return json.loads(done.stdout)

    def members(self, group):
        """How many members a group has; none if there is no such group."""
        done = self.run("groups", "describe", group, "-o", "json")
        return len(json.loads(done.stdout)) if done.returncode == 0 else 0


def heard():
    """Signals that the process around ignores would be ignored by the command, too."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(holds, text, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        check(time.monotonic() < deadline, f"after {seconds} s: {text}")
        time.sleep(0.02)


def ended(process, code, seconds=SOON):
    """Waits for the end of a process; its output."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed(f"still running {seconds} s after the signal") from None
    check(process.returncode == code, f"exit code {process.returncode} where {code} was due: {err}")
    check("cannot be read" not in err and "panicked" not in err, err)
    return out, err


def whenever(cli, words, times):
    """Ctrl-C at any moment: the exit code is 130, and no member stays."""
    dice = random.Random(1)
    for number in range(times):
        group = f"g{number}-{abs(hash(tuple(words))) % 10000}"
        process = cli.start([word.format(group=group) for word in words])
        time.sleep(dice.uniform(0, 0.5))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        # Before the program listens, the system itself ends it: shells call that 130, too.
        check(process.returncode in (130, -signal.SIGINT), f"exit code {process.returncode}: {out}{err}")
        check(process.returncode != 130 or "rror" not in err, err)
        check("cannot be read" not in err, err)
        check(cli.members(group) == 0, f"a ghost in {group} after {number} rounds")


def while_reading(cli, words):
    """Ctrl-C in the middle of fetching; what was printed is committed."""
    group = f"reading-{len(words)}-{words[0]}"
    words = [word.format(group=group) for word in words]
    begin = ["--from-beginning"]
    process = cli.start([*words, *begin])
    check(process.stdout.readline() == "a\n", "no record came")
    until(lambda: cli.members(group) == 1, "no member")
    process.send_signal(signal.SIGINT)
    ended(process, 130)
    check(cli.members(group) == 0, "a ghost")
    lag = cli.rows("groups", "lag", group)
    check(sum(row["lag_records"] for row in lag) == 0, f"not committed: {lag}")


def while_joining(cli):
    """Ctrl-C while the group waits for another member, which hangs."""
    first = cli.start(["consume", "t", "-g", "joining"])
    until(lambda: cli.members("joining") == 1, "no member")
    until(lambda: state(cli, "joining") == "Stable", "never stable")
    first.send_signal(signal.SIGSTOP)
    second = cli.start(["consume", "t", "-g", "joining"])
    until(lambda: cli.members("joining") == 2, "the second never asked to join")
    second.send_signal(signal.SIGINT)
    try:
        ended(second, 130)
        check(cli.members("joining") == 1, "a ghost")
    finally:
        first.kill()
        first.communicate()


def state(cli, group):
    found = [row["state"] for row in cli.rows("groups") if row["group"] == group]
    return found[0] if found else None


def other_signals(cli):
    for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        group = f"other-{code}"
        process = cli.start(["consume", "t", "-g", group])
        until(lambda: cli.members(group) == 1, "no member")  # noqa: B023
        process.send_signal(number)
        ended(process, code)
        check(cli.members(group) == 0, "a ghost")


def bench(cli):
    """A measurement that is stopped takes its topic with it."""
    left = lambda: [row["topic"] for row in cli.rows("topics") if row["topic"].startswith("ottla-bench-")]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        process = cli.start(["bench", "-n", "1000000000"])
        until(left, "no topic")
        process.send_signal(number)
        ended(process, code)
        check(not left(), f"left over: {left()}")
    done = cli.run("bench", "-n", "10", "-s", "3000000")
    check(done.returncode == 1 and not left(), f"after an error: {done.stderr} {left()}")


def producer(cli):
    """What was read before Ctrl-C is written, also while no line comes."""
    read, write = os.pipe()
    process = cli.start(["produce", "p", "--create"], stdin=read)
    os.close(read)
    os.write(write, b"one\ntwo\n")
    until(lambda: any(row["topic"] == "p" for row in cli.rows("topics")), "no topic")
    # The lines lie in a pipe until the command takes them; then it waits for more.
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    ended(process, 130)
    os.close(write)
    done = cli.run("consume", "p", "--from-beginning", "-e")
    check(done.stdout == "one\ntwo\n", f"written: {done.stdout!r}")


def closed_pipes(cli):
    """A reader that has read enough, as `head` does: silent, 0 or 141. A closed standard error: the same exit code."""
    commands = [
        ["topics"], ["topics", "describe", "t"], ["groups"], ["cluster"], ["txn"], ["doctor"], ["version"], ["--version"],
        ["--help"], ["help", "topics"], ["config", "reference"], ["config", "explain", "retention.ms"],
        ["config", "get", "topic", "t", "--all"], ["completions", "bash"], ["size", "--throughput", "1MB"],
        ["server", "--print-config"], ["consume", "t", "--from-beginning"],
        ["consume", "t", "--from-beginning", "-g", "pipe"], ["produce", "t", "-o", "json"],
        ["bench", "-n", "10", "--latencies", "1"], ["kafka-topics", "--list"],
        ["kafka-configs", "--describe", "--all", "--entity-type", "topics", "--entity-name", "t"],
        ["kafka-console-consumer", "--topic", "t", "--from-beginning", "--timeout-ms", "3000"],
        ["kafka-broker-api-versions"], ["kafka-consumer-groups", "--list"], ["kafka-get-offsets", "--topic", "t"],
    ]
    for words in commands:
        read, write = os.pipe()
        os.close(read)
        process = cli.start(words, stdout=write, stdin=subprocess.PIPE)
        os.close(write)
        try:
            _, err = process.communicate("x\n", timeout=30)
        except BrokenPipeError:
            err = process.stderr.read()
            process.wait(30)
        quiet = not [line for line in err.splitlines() if not line.startswith(("Note:", "Processed a total"))]
        check(process.returncode in (0, 141, -signal.SIGPIPE) and quiet, f"{words}: {process.returncode} {err}")
    check(cli.members("pipe") == 0, "a ghost after a closed pipe")
    for words in (["topics", "describe", "nothing"], ["topics", "--nothing"], ["kafka-topics", "--nothing"],
                  ["groups", "describe", "nothing"], ["topics", "-b", "127.0.0.1:1"]):
        usual = cli.run(*words).returncode
        read, write = os.pipe()
        os.close(read)
        process = cli.start(words, stderr=write, stdout=write)
        os.close(write)
        process.wait(30)
        check(process.returncode == usual, f"{words}: {process.returncode} without a standard error, else {usual}")


def server_signals(folder, binary):
    for number, signals in enumerate(([signal.SIGHUP], [signal.SIGINT], [signal.SIGTERM, signal.SIGTERM],
                                      [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])):
        server = servers.Ottla(folder / f"stop{number}", binary=binary)
        server.start()
        for each in signals:
            server.process.send_signal(each)
        code = server.process.wait(30)
        check(code == 0, f"{signals}: exit code {code}\n{server.tail()}")
        check((server.data / ".kafka_cleanshutdown").exists(), f"{signals}: not a clean stop")


def nohup(folder, binary):
    """Started to survive a hangup, the node does."""
    server = servers.Ottla(folder / "nohup", binary=binary)
    own = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server.start()
    finally:
        signal.signal(signal.SIGHUP, own)
    server.process.send_signal(signal.SIGHUP)
    cli = Cli(server)
    check(cli.run("topics").returncode == 0, "it is gone")
    check(server.stop() == 0, "no clean stop")


def screen(folder, binary):
    """A node whose output is closed serves on."""
    server = servers.Ottla(folder / "screen", binary=binary)
    server.folder.mkdir(parents=True)
    read, write = os.pipe()
    os.close(read)
    server.process = subprocess.Popen(server.command(), cwd=server.folder, stdin=subprocess.DEVNULL, stdout=write, stderr=write)
    os.close(write)
    servers.wire.await_ready(server.port, server.alive, seconds=30)
    cli = Cli(server)
    check(cli.run("topics", "create", "t").returncode == 0, "no topic")
    check(server.stop() == 0, f"exit code {server.process.returncode}")


def run(arguments):
    table = report.Report()
    with tempfile.TemporaryDirectory(prefix="signals-") as folder:
        folder = pathlib.Path(folder)
        server = servers.Ottla(folder / "node", binary=arguments.binary)
        server.settings = {"group.initial.rebalance.delay.ms": "0"}
        server.start()
        cli, version = Cli(server), server.version().split(" (")[0]
        cli.run("topics", "create", "t")
        cli.run("produce", "t", input="a\n")
        checks = [(f"Ctrl-C whenever it comes: {name}", lambda words=words: whenever(cli, words, arguments.times))
                  for name, words in CONSUMERS.items()]
        checks += [(f"Ctrl-C while reading: {name}", lambda words=words: while_reading(cli, words))
                   for name, words in CONSUMERS.items() if "consume" in words or "kafka-console-consumer" in words]
        checks += [
            ("Ctrl-C while the group waits for another member", lambda: while_joining(cli)),
            ("SIGTERM and SIGHUP end a consumer, which leaves its group", lambda: other_signals(cli)),
            ("bench removes its topic, however it ends", lambda: bench(cli)),
            ("produce writes what it has read before Ctrl-C", lambda: producer(cli)),
            ("closed pipes are silent", lambda: closed_pipes(cli)),
            ("SIGHUP, SIGINT, SIGTERM, and several of them, stop the server cleanly",
             lambda: server_signals(folder, server.binary)),
            ("nohup keeps the server from ending with its terminal", lambda: nohup(folder, server.binary)),
            ("a server whose output is closed serves on", lambda: screen(folder, server.binary)),
        ]
        for name, each in checks:
            if arguments.only and arguments.only not in name:
                continue
            try:
                each()
                table.add("ottla", version, "ok", name)
            except (Failed, subprocess.TimeoutExpired, RuntimeError, OSError) as error:
                table.add("ottla", version, "failed", name, str(error))
        server.kill()
    return table.end()
