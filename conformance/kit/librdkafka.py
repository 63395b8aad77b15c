"""`librdkafka`: its own test programs on groups, offsets, idempotence and transactions, on Ottla and on Apache Kafka 4.3.1.

A test counts against us only if it passes on Apache Kafka on the same machine and not on Ottla.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import time

from kit import install, servers

TESTS = """0018 0019 0022 0026 0029 0030 0031 0033 0034 0045 0050 0051 0056 0061 0069 0084 0089 0090 0091 0094 0099 0102 0103 0106
0107 0112 0113 0116 0118 0120 0122 0129 0130 0132 0137 0140""".split()
SECONDS = 240


def one(server, runner, test, protocol):
    """Runs one test; what became of it, and in how many seconds."""
    environment = {
        **os.environ, "TESTS": test, "TEST_KAFKA_VERSION": "4.1.0", "BROKERS": server.bootstrap,
        "TEST_CONSUMER_GROUP_PROTOCOL": protocol,
        "LD_LIBRARY_PATH": os.pathsep.join(str(runner.parents[1] / name) for name in ("src", "src-cpp"))}
    with tempfile.TemporaryDirectory(prefix="librdkafka-") as folder:
        (pathlib.Path(folder) / "test.conf").write_text(f"bootstrap.servers={server.bootstrap}\n")
        begun = time.monotonic()
        try:
            result = subprocess.run([str(runner), "-p1", "-Q"], cwd=folder, env={**environment, "RDKAFKA_TEST_CONF": f"{folder}/test.conf"},
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return "late", SECONDS
        told = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout.decode(errors="replace"))
        seconds = time.monotonic() - begun
        if re.search(rf"\|\s*{test}_\S+\s*\|\s*SKIPPED", told):
            return "skipped", seconds
        return ("ok" if result.returncode == 0 else "failed"), seconds


def run(arguments):
    runner = install.librdkafka_tests()
    chosen = arguments.only.split(",") if arguments.only else TESTS
    kinds = {"ottla": lambda folder: servers.Ottla(folder, binary=arguments.binary), "apache": servers.Apache}
    wanted = ["ottla", "apache"] if arguments.against == "both" else [arguments.against]
    found = {}
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            server = kinds[name](folder)
            # What librdkafka's own test cluster is set to.
            server.settings.update({"num.partitions": 4, "group.initial.rebalance.delay.ms": 0, "delete.topic.enable": "true"})
            server.start()
            try:
                for test in chosen:
                    found.setdefault(test, {})[name] = one(server, runner, test, arguments.protocol)
                    result, seconds = found[test][name]
                    print(f"{name:<8}{test:<6}{result:<9}{seconds:>6.1f} s", flush=True)
            finally:
                server.kill()
    print(f"\n{'test':<6}" + "".join(f"{name:>10}" for name in wanted))
    for test, both in found.items():
        print(f"{test:<6}" + "".join(f"{both[name][0]:>10}" for name in wanted))
    passes = {name: sum(both[name][0] == "ok" for both in found.values()) for name in wanted}
    print(f"{'passed':<6}" + "".join(f"{passes[name]:>10}" for name in wanted))
    worse = [test for test, both in found.items() if both.get("apache", ("ok",))[0] == "ok" and both.get("ottla", ("ok",))[0] not in ("ok",)]
    if worse:
        print("passed on Apache Kafka and not on Ottla: " + " ".join(worse))
    return 1 if worse and arguments.against == "both" else 0
