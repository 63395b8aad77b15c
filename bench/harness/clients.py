"""Loads by clients of the field: librdkafka's own measuring program, and the classes of Apache Kafka's Java client.

One process writes 1 KB records to one partition, then another reads them: MB/s by the client's own report, and the
server's CPU seconds a GB. What a client costs is on its own account, and on this machine's cores.
"""

import pathlib
import re
import statistics
import subprocess

from harness import peers
from harness.drive import MB, check
from kit import install, servers

RECORD_BYTES = 1000
# As Apache's scripts start their tools.
JVM = ["-Xmx512M", *peers.JVM[2:]]

# The program brings settings of its own; these are librdkafka's.
RDKAFKA_DEFAULT = {"produce": {"linger.ms": 5, "message.send.max.retries": 2147483647, "retry.backoff.ms": 100},
                   "consume": {"queued.min.messages": 100_000}}
RDKAFKA_TUNED = {"produce": {"linger.ms": 20, "batch.num.messages": 100_000, "queue.buffering.max.messages": 1_000_000},
                 "consume": {"queued.min.messages": 1_000_000, "queued.max.messages.kbytes": 262_144,
                             "fetch.message.max.bytes": 8 << 20, "fetch.min.bytes": 1 << 20}}
JAVA_TUNED = {"produce": {"linger.ms": 20, "batch.size": 512 << 10, "buffer.memory": 128 << 20},
              "consume": {"fetch.size": 8 << 20, "fetch.min.bytes": 1 << 20}}


def run(command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, f"{' '.join(map(str, command))} failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
    return result.stdout


def librdkafka(server, topic, what, count, settings):
    """MB/s."""
    mode = ["-P", "-s", RECORD_BYTES, "-a", -1] if what == "produce" else ["-C", "-o", "beginning"]
    words = [word for key, value in settings.items() for word in ("-X", f"{key}={value}")]
    out = run([install.librdkafka_performance(), *mode, "-t", topic, "-p", 0, "-b", server.bootstrap, "-c", count, *words])
    messages, ms = re.findall(r"% (\d+) messages .*\b(?:delivered|consumed)\b.* in (\d+)ms", out)[-1]
    assert int(messages) >= count, f"librdkafka: {messages} of {count} messages"
    return int(messages) * RECORD_BYTES / MB / (int(ms) / 1000)


def java(server, topic, what, count, settings):
    """MB/s."""
    log = pathlib.Path(servers.__file__).with_name("log4j2.properties")
    tool = ["java", *JVM, f"-Dlog4j2.configurationFile={log}", "-cp", f"{install.apache()}/*"]
    # The tool sets this one by itself, by an option.
    fetch_bytes = settings.get("fetch.size", 1 << 20)
    words = [f"{key}={value}" for key, value in settings.items() if key != "fetch.size"]
    if what == "produce":
        out = run([*tool, "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", count,
                   "--record-size", RECORD_BYTES, "--throughput", -1, "--producer-props", f"bootstrap.servers={server.bootstrap}", *words])
        return float(re.findall(r"([\d.]+) records/sec", out)[-1]) * RECORD_BYTES / MB
    config = server.folder / "consumer.properties"
    config.write_text("".join(f"{word}\n" for word in words))
    out = run([*tool, "org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", server.bootstrap, "--topic", topic,
               "--num-records", count, "--hide-header", "--timeout", 60_000, "--fetch-size", fetch_bytes, "--command-config", config])
    fields = [field.strip() for field in out.strip().splitlines()[-1].split(",")]
    assert int(fields[4]) >= count, f"Java: {out}"
    # Records a second while fetching: joining the group is not what is measured.
    return float(fields[9]) * RECORD_BYTES / MB


def through(client, settings, readings, gb=0.4):
    """Writes with a client, then reads so many times: figures of both."""

    def load(server, name, scale):
        server.topic(name, 1)
        count, found = int(gb * scale * 1e9 / RECORD_BYTES), {}
        for what, times in (("produce", 1), ("consume", readings)):
            cpu = server.cpu()
            found[what] = statistics.median(client(server, name, what, count, settings.get(what, {})) for _ in range(times))
            found[f"{what}_cpu"] = (server.cpu() - cpu) / (times * count * RECORD_BYTES / 1e9)
        check(server, name, 1, count)
        return found

    load.writes = True
    return load


def rows(row):
    """Two clients, each as it comes and tuned; the quick run has them tuned only, and once."""
    # librdkafka reads in a blink, and starts in none.
    kinds = [("rdkafka", "librdkafka", librdkafka, RDKAFKA_DEFAULT, RDKAFKA_TUNED, 3), ("java", "Java client", java, {}, JAVA_TUNED, 1)]
    all_rows = []
    for short, title, client, default, tuned, readings in kinds:
        for how, settings in (("tuned", tuned), ("default", default)):
            load = through(client, settings, readings)
            for what in ("produce", "consume"):
                all_rows.append(row(f"{short}-{what}-{how}", f"{title}, {what}, 1 KB, {how}", "MB/s", load, key=what, over_kafka=1.2, cpu=0.3,
                                    cpu_key=f"{what}_cpu", roof=False, long=how == "default", once="quick"))
    return all_rows
