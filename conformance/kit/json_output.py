"""`conformance/run json`: what each command prints with `-o json`, held against its schema in docs/schemas."""

import json
import pathlib
import subprocess
import tempfile

from kit import install, report, servers, signals

SCHEMAS = servers.ROOT / "docs" / "schemas"
LINES = ("consume", "produce")

# Payloads that are easily mangled: the bytes, how they are encoded, and what stands in the line.
PAYLOADS = [
    (b'{"z":1,"a":12345678901234567890123,"z":2}', "json", '{"z":1,"a":12345678901234567890123,"z":2}'),
    (b'{"b": 1.10, "a": 1e400}', "json", '{"b": 1.10, "a": 1e400}'),
    (b'[1, 2.0, -0]', "json", "[1, 2.0, -0]"),
    (b"17", "text", '"17"'),
    (b"null", "text", '"null"'),
    (b"true", "text", '"true"'),
    (b"0xff", "text", '"0xff"'),
    (b'{"hex": "0xff"}', "json", '{"hex": "0xff"}'),
    (b"/wA=", "text", '"/wA="'),
    (b"\xff\x00", "base64", '"/wA="'),
    (b"\xed\xa0\x80", "base64", '"7aCA"'),
    ("Grüße \U0001f600".encode(), "text", '"Grüße \U0001f600"'),
    (b'say "hi"\ttab', "text", '"say \\"hi\\"\\ttab"'),
    (b'["\\ud800"]', "text", '"[\\"\\\\ud800\\"]"'),
    (b"{broken", "text", '"{broken"'),
    (b"", "text", '""'),
]


def outputs(cli, offline):
    """Each command with the name of its schema, in an order in which one makes what the next one shows."""
    lines = b"".join(payload + b"\n" for payload, _, _ in PAYLOADS)
    return [
        ("topics-create", ["topics", "create", "t", "-p", "2"], None),
        ("topics-alter", ["topics", "alter", "t", "-p", "3"], None),
        ("produce", ["produce", "t", "-p", "1", "-H", "name=value"], lines),
        ("produce", ["produce", "t", "-K", ":", "--null", "NULL"], b"key:NULL\nNULL:value\n"),
        ("consume", ["consume", "t", "--from-beginning", "-e"], None),
        ("consume", ["consume", "t", "--from-beginning", "-g", "g", "-n", "3"], None),
        ("topics-list", ["topics"], None),
        ("topics-list", ["topics", "list", "--all"], None),
        ("topics-describe", ["topics", "describe", "t"], None),
        ("groups-list", ["groups"], None),
        ("groups-describe", ["groups", "describe", "members"], None),
        ("groups-lag", ["groups", "lag", "g"], None),
        ("groups-reset", ["groups", "reset", "g", "--to", "earliest"], None),
        ("groups-reset", ["groups", "reset", "new", "--topic", "t", "--to", "latest", "--execute"], None),
        ("cluster", ["cluster"], None),
        ("txn-list", ["txn"], None),
        ("txn-abort", ["txn", "abort", "one"], None),
        ("bench", ["bench", "-n", "100", "--latencies", "5"], None),
        ("size", ["size", "--throughput", "50MB", "--consumers", "12"], None),
        ("config-get", ["config", "get", "topic", "t", "--all"], None),
        ("config-get", ["config", "get", "broker", "1", "--all"], None),
        ("config-set", ["config", "set", "topic", "t", "retention.ms=5000", "cleanup.policy=compact"], None),
        ("config-set", ["config", "set", "topic", "t", "retention.ms="], None),
        ("config-set", ["config", "set", "broker", "all", "log.retention.ms=5000"], None),
        ("config-set", ["config", "set", "broker", "all", "log.retention.ms="], None),
        ("doctor", ["doctor"], None),
        ("doctor", ["doctor", "--offline", str(offline)], None),
        ("version", ["version"], None),
        ("groups-delete", ["groups", "delete", "g", "new", "members"], None),
        ("topics-delete", ["topics", "delete", "t"], None),
    ]


def run_one(cli, words, given):
    done = subprocess.run([cli.binary, *words, "-o", "json"], env=cli.around, input=given, capture_output=True, timeout=120, check=False)
    # A doctor's exit code is its worst finding.
    if done.returncode != 0 and words[0] != "doctor":
        raise signals.Failed(f"{words}: {done.returncode} {done.stderr.decode()}")
    return done.stdout.decode()


def payloads(text):
    """The first records are those of PAYLOADS, each as it was written."""
    lines = [line for line in text.split("\n") if '"partition":1,' in line and '"headers":[{' in line]
    signals.check(len(lines) == len(PAYLOADS), f"{len(lines)} lines for {len(PAYLOADS)} records")
    for (payload, encoding, shown), line in zip(PAYLOADS, lines):
        wanted = f'"value":{shown},"value_encoding":"{encoding}"'
        signals.check(wanted in line, f"{payload!r} is not {wanted} in {line}")


def validate(python, schema, documents):
    """A real validator of JSON Schema; what it finds wrong."""
    program = (
        "import json, sys, jsonschema\n"
        "schema = json.load(open(sys.argv[1]))\n"
        "jsonschema.Draft202012Validator.check_schema(schema)\n"
        "check = jsonschema.Draft202012Validator(schema)\n"
        "for document in json.load(sys.stdin):\n"
        "    for error in check.iter_errors(document):\n"
        "        print(error.json_path, error.message)\n")
    done = subprocess.run([str(python), "-c", program, str(schema)], input=json.dumps(documents), text=True, capture_output=True,
                          timeout=60, check=False)
    return done.stdout + done.stderr


def transaction(cli, server):
    """An id with an open transaction, made by a client of another author."""
    python = install.python("confluent")
    program = (
        "import sys, confluent_kafka\n"
        "p = confluent_kafka.Producer({'bootstrap.servers': sys.argv[1], 'transactional.id': 'one'})\n"
        "p.init_transactions(30); p.begin_transaction(); p.produce('t', b'x'); p.flush(30)\n")
    done = subprocess.run([str(python), "-c", program, server.bootstrap], capture_output=True, text=True, timeout=90, check=False)
    signals.check(done.returncode == 0, done.stderr)
    signals.check(len(cli.rows("txn")) == 1, "no transaction")


def run(arguments):
    table = report.Report()
    python, seen = install.python("jsonschema"), set()
    with tempfile.TemporaryDirectory(prefix="json-") as folder:
        folder = pathlib.Path(folder)
        server = servers.Ottla(folder / "node", binary=arguments.binary)
        server.start()
        cli = signals.Cli(server)
        version = server.version().split(" (")[0]
        for name, words, given in outputs(cli, server.data):
            what = " ".join(["ottla", *words])[:70].replace(str(folder), "")
            try:
                if words[:2] == ["groups", "describe"]:
                    member = cli.start(["consume", "t", "-g", words[2]])
                    signals.until(lambda words=words: cli.members(words[2]) == 1, "no member")  # noqa: B023
                if words[:2] == ["groups", "lag"]:
                    member.terminate()
                    signals.ended(member, 143)
                if words == ["txn"]:
                    transaction(cli, server)
                text = run_one(cli, words, given)
                documents = [json.loads(line) for line in text.splitlines()] if name in LINES else [json.loads(text)]
                signals.check(any(documents), "it printed nothing")
                if words[:2] == ["consume", "t"] and "-e" in words:
                    payloads(text)
                wrong = validate(python, SCHEMAS / f"{name}.json", documents)
                signals.check(not wrong, wrong)
                seen.add(name)
                table.add("ottla", version, "ok", what)
            except (signals.Failed, ValueError, subprocess.TimeoutExpired) as error:
                table.add("ottla", version, "failed", what, str(error))
        server.stop()
    left = {path.stem for path in SCHEMAS.glob("*.json")} - seen
    table.add("ottla", version, "failed" if left else "ok", "every schema was used", f"not used: {sorted(left)}")
    return table.end()

