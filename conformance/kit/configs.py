"""`configs`: all settings x a table of odd values, judged by Apache Kafka and by Ottla.

Apache's verdict comes from its own configuration objects, built by one Java program (`clients/configs/Judge.java`); Ottla's from
`ottla config judge` (what a node would start with) and, for what changes while it runs, from a node over the wire. Compared are:
the facts of every setting (type, default, rule, how it changes), for each value whether it is accepted and with which code, and the
value as it is shown afterwards. `configs.accepted` has the differences that are meant, each with its reason.
"""

import collections
import fnmatch
import json
import pathlib
import re
import subprocess
import tempfile

from kit import install, report, servers, wire

ACCEPTED = pathlib.Path(__file__).with_name("configs.accepted")
TABLE = servers.ROOT / "crates/settings/src/table.txt"
JUDGE = install.CLIENTS / "configs/Judge.java"
ALTER, DESCRIBE = 44, 32
TOPIC, BROKER, METRICS, GROUP = 2, 4, 16, 32

ODD = """|| |  5 |007|+7|-0|-1|-2|-3|0|1|2|3|4|5|9|10|16|17|100|1000|44999|45001|1048576|1e3|0x10|1_000|1.0|0.5|.5|1.5|1d|NaN|nan|Infinity|inf|-Infinity|
1E-5|12345678.5|32767|32768|-32769|2147483647|2147483648|-2147483649|9223372036854775807|9223372036854775808|true|TRUE| False |yes|on|null|
a|a b|a,b|a,a| a , b |a,,b|,|a,|*|*,*|compact|COMPACT|compact,delete|delete,delete|compact,|zstd|ZSTD|zstd |uncompressed|producer|CreateTime|createtime|
logappendtime|LogAppendTime| LogAppendTime |all|none|required|latest|earliest|EARLIEST|by_duration:PT1H|by_duration:PT1H-30M|by_duration:-PT1H|by_duration:PT|by_duration:P1DT2H3M4.5S|
by_duration:1h|read_committed|READ_COMMITTED|0:1|0:1, 1:1|1|1.5|0:|:1|0:1:2|bidirectional|UPGRADE|upgrade|downgrades|simple|uniform|range,uniform|
classic|classic,consumer|consumer|PLAINTEXT|plaintext|SASL_SSL|SSL|DEFAULT|PLAINTEXT://:9092|PLAINTEXT://0.0.0.0:9092|PLAINTEXT://a:9092,CONTROLLER://a:9093|
1@localhost:9093|1@localhost|a@localhost:9093|localhost:9093|localhost|[::1]:9093|127.0.0.1:5|127.0.0.1:x|client_id=a|client_id=a,client_software_name=b|client_id=|client_id==|
client_id=(|colour=red| client_id = a |broker|controller|broker,controller|/tmp/judged|ES256|es256""".replace("\n", "").split("|")

# Nodes of one role.
BROKER_ONLY = {"process.roles": "broker", "listeners": "PLAINTEXT://127.0.0.1:9092", "controller.quorum.bootstrap.servers": "a:9093,b:9093"}
CONTROLLER_ONLY = {"process.roles": "controller", "listeners": "CONTROLLER://127.0.0.1:9093", "controller.quorum.bootstrap.servers": "a:9093,b:9093"}

# Settings that only say something together: scope, and what is given.
TOGETHER = [
    ("topic", {"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}),
    ("topic", {"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "5"}),
    ("topic", {"remote.storage.enable": "true", "cleanup.policy": "compact"}),
    ("topic", {"remote.log.delete.on.disable": "true"}),
    ("group", {"consumer.session.timeout.ms": "45000", "consumer.heartbeat.interval.ms": "15000"}),
    ("group", {"consumer.session.timeout.ms": "60000", "consumer.heartbeat.interval.ms": "15001"}),
    ("group", {"share.session.timeout.ms": "60000", "share.heartbeat.interval.ms": "15000"}),
    ("group", {"streams.session.timeout.ms": "60000", "streams.heartbeat.interval.ms": "60000"}),
    ("brokers", {"log.retention.ms": "5", "log.local.retention.ms": "6"}),
    ("brokers", {"log.retention.ms": "5", "log.local.retention.ms": "5"}),
    ("brokers", {"log.retention.bytes": "5", "log.local.retention.bytes": "-1"}),
    ("brokers", {"max.connections.per.ip": "0", "max.connections.per.ip.overrides": "127.0.0.1:5"}),
    ("brokers", {"log.cleaner.threads": "2", "log.cleaner.dedupe.buffer.size": "2097152"}),
    ("brokers", {"log.cleaner.threads": "2", "log.cleaner.dedupe.buffer.size": "2097154"}),
    ("start", {"node.id": "1", "broker.id": "2"}),
    ("start", {"log.roll.hours": "1", "log.roll.ms": "0"}),
    ("start", {"log.retention.ms": "1", "log.retention.hours": "0"}),
    ("start", {"log.retention.hours": "0"}),
    ("start", {"log.retention.minutes": "0", "log.retention.ms": "-1"}),
    ("start", {"replica.fetch.wait.max.ms": "30001"}),
    ("start", {"replica.fetch.wait.max.ms": "30001", "replica.lag.time.max.ms": "40000"}),
    ("start", {"replica.fetch.wait.max.ms": "30001", "replica.lag.time.max.ms": "40000", "replica.socket.timeout.ms": "40000"}),
    ("start", {"queued.max.request.bytes": "5", "socket.request.max.bytes": "6"}),
    ("start", {"queued.max.request.bytes": "6", "socket.request.max.bytes": "6"}),
    ("start", {"max.connections.per.ip": "0"}),
    ("start", {"max.connections.per.ip": "0", "max.connections.per.ip.overrides": "127.0.0.1:5,127.0.0.2:6"}),
    ("start", {"connection.failed.authentication.delay.ms": "5", "connections.max.idle.ms": "5"}),
    ("start", {"connection.failed.authentication.delay.ms": "5", "connections.max.idle.ms": "-1"}),
    ("start", {"group.consumer.min.session.timeout.ms": "46000"}),
    ("start", {"group.consumer.max.session.timeout.ms": "44000"}),
    ("start", {"group.consumer.session.timeout.ms": "50000", "group.consumer.max.session.timeout.ms": "50000"}),
    ("start", {"group.consumer.heartbeat.interval.ms": "15000", "group.consumer.min.session.timeout.ms": "1", "group.consumer.session.timeout.ms": "15000"}),
    ("start", {"group.share.delivery.count.limit": "10", "group.share.max.delivery.count.limit": "9"}),
    ("start", {"group.share.max.size": "1000", "group.share.max.share.sessions": "999"}),
    ("start", {"group.streams.num.standby.replicas": "3"}),
    ("start", {"group.streams.num.standby.replicas": "3", "group.streams.max.standby.replicas": "3"}),
    ("start", {"cordoned.log.dirs": "*"}),
    ("start", {"cordoned.log.dirs": "/tmp/judged"}),
    ("start", {"cordoned.log.dirs": "/elsewhere"}),
    ("start", {"listeners": "PLAINTEXT://:9092,CONTROLLER://:9092"}),
    ("start", {"listeners": "PLAINTEXT://:9092,CONTROLLER://:9093,PLAINTEXT://:9094"}),
    ("start", {"listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://[::1]:9092", "controller.quorum.bootstrap.servers": "[::1]:9092"}),
    ("start", {"listeners": "PLAINTEXT://:9092,CONTROLLER://:9093", "advertised.listeners": "PLAINTEXT://0.0.0.0:9092"}),
    ("start", {"listeners": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://0.0.0.0:9093", "advertised.listeners": "PLAINTEXT://a:9092"}),
    ("start", {"listeners": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://0.0.0.0:9093", "advertised.listeners": "PLAINTEXT://a:9092,CONTROLLER://0.0.0.0:9093"}),
    ("start", {"listeners": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093"}),
    ("start", {"listeners": "PLAINTEXT://:9092,CONTROLLER://0.0.0.0:9093"}),
    ("start", {"advertised.listeners": "OTHER://a:9092"}),
    ("start", {"listeners": "PLAINTEXT://:9092,OTHER://:9094,CONTROLLER://:9093"}),
    ("start", {"listeners": "PLAINTEXT://:9092,OTHER://:9094,CONTROLLER://:9093", "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"}),
    ("start", {"listeners": "PLAINTEXT://:9092,OTHER://:9094,CONTROLLER://:9093", "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OTHER:PLAINTEXT"}),
    ("start", {"listeners": "plaintext://:9092,controller://:9093"}),
    ("start", {"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:plaintext"}),
    ("start", {"listener.security.protocol.map": "PLAINTEXT:TLS,CONTROLLER:PLAINTEXT"}),
    ("start", {"controller.listener.names": "OTHER"}),
    ("start", {"controller.listener.names": "PLAINTEXT,CONTROLLER"}),
    ("start", {"inter.broker.listener.name": "PLAINTEXT"}),
    ("start", {"inter.broker.listener.name": "CONTROLLER"}),
    ("start", {"inter.broker.listener.name": "OTHER"}),
    ("start", {"inter.broker.listener.name": "PLAINTEXT", "security.inter.broker.protocol": "PLAINTEXT"}),
    ("start", {"controller.quorum.voters": "1@localhost:9093"}),
    ("start", {"controller.quorum.voters": "1@127.0.0.1:9093", "controller.quorum.bootstrap.servers": ""}),
    # A node of several, with both roles.
    ("start", {"controller.quorum.voters": "1@a:9093,2@b:9093,3@c:9093"}),
    ("start", {"controller.quorum.voters": "2@b:9093,3@c:9093"}),
    ("start", {"controller.quorum.bootstrap.servers": "a:9093,b:9093,c:9093"}),
    ("start", {"controller.quorum.auto.join.enable": "true"}),
    ("start", {"controller.quorum.bootstrap.servers": "a:9093,b:9093", "inter.broker.listener.name": "CONTROLLER"}),
    ("start", {"controller.quorum.bootstrap.servers": "a:9093,b:9093", "listeners": "OTHER://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
               "listener.security.protocol.map": "OTHER:PLAINTEXT,CONTROLLER:PLAINTEXT"}),
    # Only a broker.
    ("start", {**BROKER_ONLY}),
    ("start", {**BROKER_ONLY, "controller.quorum.bootstrap.servers": "", "controller.quorum.voters": "2@b:9093,3@c:9093"}),
    ("start", {**BROKER_ONLY, "controller.quorum.bootstrap.servers": ""}),
    ("start", {**BROKER_ONLY, "controller.quorum.voters": "1@a:9093,2@b:9093"}),
    ("start", {**BROKER_ONLY, "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"}),
    ("start", {**BROKER_ONLY, "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT"}),
    ("start", {**BROKER_ONLY, "controller.quorum.auto.join.enable": "true"}),
    ("start", {**BROKER_ONLY, "controller.listener.names": "CONTROLLER,SECOND"}),
    ("start", {**BROKER_ONLY, "advertised.listeners": "PLAINTEXT://a:9092,CONTROLLER://a:9093"}),
    ("start", {**BROKER_ONLY, "advertised.listeners": "CONTROLLER://a:9093"}),
    ("start", {**BROKER_ONLY, "advertised.listeners": "PLAINTEXT://a:9092,OTHER://a:9093"}),
    ("start", {**BROKER_ONLY, "listeners": "OTHER://127.0.0.1:9092", "listener.security.protocol.map": "OTHER:PLAINTEXT,CONTROLLER:PLAINTEXT"}),
    ("start", {**BROKER_ONLY, "listeners": "OTHER://127.0.0.1:9092", "inter.broker.listener.name": "OTHER",
               "listener.security.protocol.map": "OTHER:PLAINTEXT,CONTROLLER:PLAINTEXT"}),
    # Only a controller.
    ("start", {**CONTROLLER_ONLY}),
    ("start", {**CONTROLLER_ONLY, "controller.quorum.bootstrap.servers": "", "controller.quorum.voters": "1@a:9093,2@b:9093"}),
    ("start", {**CONTROLLER_ONLY, "controller.quorum.bootstrap.servers": ""}),
    ("start", {**CONTROLLER_ONLY, "controller.quorum.voters": "2@b:9093"}),
    ("start", {**CONTROLLER_ONLY, "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"}),
    ("start", {**CONTROLLER_ONLY, "listeners": "PLAINTEXT://127.0.0.1:9092"}),
    ("start", {**CONTROLLER_ONLY, "controller.listener.names": "CONTROLLER,SECOND"}),
    ("start", {**CONTROLLER_ONLY, "inter.broker.listener.name": "CONTROLLER"}),
    ("start", {**CONTROLLER_ONLY, "inter.broker.listener.name": "PLAINTEXT"}),
    ("start", {**CONTROLLER_ONLY, "controller.quorum.auto.join.enable": "true"}),
    ("start", {**CONTROLLER_ONLY, "advertised.listeners": "CONTROLLER://a:9093"}),
    ("start", {**CONTROLLER_ONLY, "advertised.listeners": "PLAINTEXT://a:9092"}),
    ("start", {**CONTROLLER_ONLY, "advertised.listeners": "CONTROLLER://0.0.0.0:9093"}),
]


def allowed_as_in_table(text):
    """Apache's words for a rule, in those of our table."""
    inside = re.search(r"\[(.*)\]", text)
    if text.startswith("Range"):
        low, high = re.match(r"Range \[(.*),?\.\.\.,?(.*)\]", text).groups()
        return f"{low.rstrip(',')}..{high.lstrip(',')}"
    if text.startswith("ValidList"):
        of = f" in {inside[1].replace(', ', ',')}" if inside else ""
        return "list" + (" nonempty" if text.endswith("nonempty") else "") + of
    words = {"NonEmptyString": "nonempty", "LambdaValidator": "-1|1..9", "ThrottledReplicaListValidator": "throttled",
             "Validator": "offset-reset", "ControllerQuorumVotersValidator": "voters",
             "ControllerQuorumBootstrapServersValidator": "servers", "NonNullValidator": "-", "-": "-"}
    name = text.split(" ")[0]
    if name in words:
        return words[name]
    how = {"ValidString": "in", "CaseInsensitiveValidString": "anycase"}[name]
    return f"{how} {inside[1].replace(', ', ',')}"


def table():
    """Our table: (scope, name) -> its columns."""
    rows = [line.split(" | ") for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    names = ["scope", "name", "type", "default", "allowed", "importance", "changes"]
    return {(row[0], row[1]): dict(zip(names, row)) for row in rows}


class Apache:
    """Apache's configuration objects, behind one process of ours."""

    def __init__(self):
        jars = install.apache()
        classes = install.classes("configs-judge", jars, [JUDGE])
        self.command = [word if not word.endswith("/*") else f"{classes}:{word}" for word in servers.java("-Xmx512m", "-Dlevel=off")]

    def ask(self, questions):
        text = "".join(json.dumps(one) + "\n" for one in questions)
        out = subprocess.run([*self.command, "Judge"], input=text, capture_output=True, text=True, timeout=900, check=False)
        answers = [json.loads(line) for line in out.stdout.splitlines()]
        if len(answers) != len(questions):
            raise RuntimeError(f"{len(answers)} of {len(questions)} answers\n{out.stderr[-2000:]}")
        return answers


class Ottla:
    """A node of ours and `ottla config judge`."""

    KINDS = {"topic": (TOPIC, "odd"), "broker": (BROKER, "1"), "brokers": (BROKER, ""), "group": (GROUP, "odd"), "metrics": (METRICS, "odd")}

    def __init__(self, binary, node):
        self.binary, self.node = binary, node

    def started(self, questions):
        text = "".join(json.dumps(one) + "\n" for one in questions)
        out = subprocess.run([self.binary, "config", "judge"], input=text, capture_output=True, text=True, timeout=300, check=True)
        return [json.loads(line) for line in out.stdout.splitlines()]

    @staticmethod
    def alter(connection, kind, name, operations, validate):
        """IncrementalAlterConfigs v0; the code and the message."""
        body = wire.Out().each([0], lambda o, _: o.put("b", kind).text(name).each(
            operations, lambda c, it: c.text(it[0]).put("b", it[1]).text(it[2])))
        reply = connection.ask(ALTER, 0, body.put("?", validate))
        reply.take("i")
        (code, why), = reply.each(lambda r: (r.take("h"), r.text(), r.take("b"), r.text())[:2])
        return code, why

    @staticmethod
    def shown(connection, kind, name, keys):
        """DescribeConfigs v1 without synonyms: name -> value."""
        describe = "1" if kind == BROKER else name
        body = wire.Out().each([0], lambda o, _: o.put("b", kind).text(describe).each(keys, lambda c, key: c.text(key)))
        reply = connection.ask(DESCRIBE, 1, body.put("?", False))
        reply.take("i")

        def resource(r):
            r.take("h"), r.text(), r.take("b"), r.text()
            return r.each(lambda c: (c.text(), c.text(), c.take("?bb"), c.each(lambda s: (s.text(), s.text(), s.take("b")))))
        (rows,) = reply.each(resource)
        return {name: value for name, value, *_ in rows}

    def changed(self, connection, scope, given):
        """What a change of these comes to, and what is shown while it lasts."""
        kind, name = self.KINDS[scope]
        code, why = self.alter(connection, kind, name, [(key, 0, value) for key, value in given.items()], True)
        if code != 0:
            return {"code": code, "why": why}
        self.alter(connection, kind, name, [(key, 0, value) for key, value in given.items()], False)
        shown = self.shown(connection, kind, name, list(given))
        self.alter(connection, kind, name, [(key, 1, None) for key in given], False)
        return {"code": 0, "shown": shown}


def questions(facts):
    """Every setting with every odd value, in the scopes where it can be set."""
    for fact in facts:
        scope, name = fact["scope"], fact["name"]
        own = [text for text in (fact.get("default"), (fact.get("default") or "").upper(), (fact.get("default") or "") + ",") if text]
        numbers = [int(number) for number in re.findall(r"-?\d+", fact["allowed"])] if fact["allowed"].startswith("Range") else []
        own += [str(number + step) for number in numbers for step in (-1, 0, 1)]
        values = list(dict.fromkeys(ODD + own))
        dynamic_only = name.endswith(("throttled.rate", "io.max.bytes.per.second")) and scope == "broker" and name.startswith(("leader", "follower", "replica.alter"))
        scopes = {"broker": ["start"]}.get(scope, [scope])
        if dynamic_only:
            scopes = []
        if scope == "broker" and (fact["changes"] != "read-only" or dynamic_only):
            scopes = [*scopes, "broker", "brokers"]
        for place in scopes:
            for value in values:
                yield place, {name: value}
        if scope == "broker" and fact["changes"] == "read-only":
            yield "brokers", {name: fact.get("default") or "1"}
    yield from TOGETHER


def accepted():
    """Scope, name, value (each a pattern), Apache's answer, Ottla's answer, the reason."""
    lines = [line for line in ACCEPTED.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return [[field.strip() for field in line.split(" | ")] for line in lines]


def compare_facts(results, described, rows, known, used):
    """Types, defaults, rules and kinds of change of all settings."""
    wrong = []
    for fact in described:
        row = rows.get((fact["scope"], fact["name"]))
        default = fact.get("default")
        facts = {"type": fact["type"], "default": "-" if default is None else default or '""', "allowed": allowed_as_in_table(fact["allowed"])}
        if fact["scope"] == "broker" and not fact.get("required"):
            facts["changes"] = {"read-only": "static", "per-broker": "broker", "cluster-wide": "cluster"}[fact["changes"]]
        ours = {key: row[key] for key in facts} if row else {}
        for key, value in facts.items():
            if ours.get(key) != value and not is_known(known, used, "fact", fact["name"], key, value, ours.get(key)):
                wrong.append(f"{fact['scope']} {fact['name']}: {key} is {ours.get(key)}, Apache has {value}")
    # Apache has none of Ottla's own.
    rows = {key: row for key, row in rows.items() if not key[1].startswith("ottla.")}
    extra = set(rows) - {(fact["scope"], fact["name"]) for fact in described}
    wrong += [f"{scope} {name}: Apache has no such setting" for scope, name in sorted(extra)]
    results.add("ottla", "", "failed" if wrong else "ok", f"facts of {len(described)} settings", "\n    ".join(wrong[:40]))


def is_known(known, used, *fields):
    for at, row in enumerate(known):
        pairs = list(zip(row[:5], map(str, fields)))
        if all(fnmatch.fnmatchcase(value, pattern) for pattern, value in pairs):
            used.add(at)
            return True
    return False


def run(arguments):
    results = report.Report()
    known, used = accepted(), set()
    apache = Apache()
    described = apache.ask([{"scope": "describe"}])[0]["settings"]
    compare_facts(results, described, table(), known, used)
    asked = list(questions(described))
    theirs = apache.ask([{"scope": scope, "given": given} for scope, given in asked])
    with tempfile.TemporaryDirectory() as folder:
        node = servers.Ottla(folder, binary=arguments.binary and pathlib.Path(arguments.binary).resolve())
        # As Apache's objects have them.
        node.settings = {"group.min.session.timeout.ms": "6000", "log.cleaner.backoff.ms": "15000", "group.initial.rebalance.delay.ms": "3000"}
        node.start()
        try:
            ours = judged(node, asked)
        finally:
            node.stop()
    counts, wrong = collections.Counter(), collections.defaultdict(lambda: collections.defaultdict(list))
    for (scope, given), they, we in zip(asked, theirs, ours):
        counts[scope] += 1
        answers = [answer_of(it, scope) for it in (they, we)]
        name, value = " & ".join(given), " & ".join(given.values())
        # Refused is refused, for whatever reason.
        is_same = answers[0] == answers[1] or answers == ["refused", "not built"]
        if not is_same and not is_known(known, used, scope, name, value, *answers):
            kinds = tuple("shown" if it.startswith("shown") else it for it in answers)
            wrong[scope][name, kinds].append(f"{value!r}: Apache {answers[0]}, Ottla {answers[1]}; {they.get('why')} / {we.get('why')}")
    for scope, count in counts.items():
        # One line for each setting and kind of difference: how often, and the first.
        lines = [f"{name} {len(all)} x {all[0]}" for (name, _), all in wrong[scope].items()]
        note = "\n    ".join([f"{sum(map(len, wrong[scope].values()))} differ", *lines])
        results.add("ottla", "", "failed" if wrong[scope] else "ok", f"{count} values in the scope {scope}", note)
    idle = [known[at] for at in range(len(known)) if at not in used]
    results.add("ottla", "", "failed" if idle else "ok", f"{len(known)} accepted differences are there", str(idle))
    return results.end()


def answer_of(it, scope):
    """The code, or the values as shown; a code of a start is only that it does not."""
    if it["code"] != 0:
        return "not built" if it.get("built") is False else "refused" if scope == "start" else f"code {it['code']}"
    return ("shown " + " & ".join(it["shown"][name] or "" for name in sorted(it["shown"]))).strip()


def judged(node, asked):
    """Ottla's answers, in the order of the questions."""
    ottla = Ottla(node.binary, node)
    base = {"process.roles": "broker,controller", "node.id": "1", "controller.listener.names": "CONTROLLER",
            "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
            "controller.quorum.bootstrap.servers": "127.0.0.1:9093", "log.dirs": "/tmp/judged"}
    starts = iter(ottla.started([{**base, **given} for scope, given in asked if scope == "start"]))
    answers = []
    with wire.Connection(node.port) as connection:
        wire.topic(connection, "odd")
        for scope, given in asked:
            if scope != "start":
                answers.append(ottla.changed(connection, scope, given))
                continue
            one = next(starts)
            code = 0 if one["values"] and one["built"] else 40
            shown = {name: one["shown"][name] for name in given} if one["values"] else {}
            answers.append({"code": code, "why": one["why"], "shown": shown, "built": one.get("built")})
    return answers
