"""`differential`: random requests of every API and version, to a genuine Apache Kafka and to Ottla; answers are compared field
by field: error codes, what is there, null or empty. A seed gives the same requests each time.

Wordings, ids and times are not compared. Accepted differences stand in `differential.accepted`, each with its reason in
`docs/differences.md`: a line is `Api.field | what Apache answers | what Ottla answers`, each a regular expression.
"""

import collections
import json
import pathlib
import re
import socket
import tempfile
import time

from kit import report, requests, schemas, servers, wire

ACCEPTED = pathlib.Path(__file__).with_name("differential.accepted")
# What would stop the connection or the node, needs a login, or is for other nodes.
LEFT_OUT = {17, 18, 36, *range(52, 55), 56, 58, 59, 62, 63, 64, 67, 70, 73, *range(76, 95), 38, 39, 40, 41}
# What differs from server to server and from run to run.
OWN = {"ThrottleTimeMs", "Leader", "ClusterId", "Host", "Port", "ControllerId", "LogDir", "MemberId", "ProducerId", "UsableBytes", "TotalBytes",
       "PartitionSize", "Size", "SessionId", "Rack", "LogAppendTimeMs", "LastCaughtUpTimestamp", "LastTimestamp", "LastFetchTimestamp",
       "ClientInstanceId", "SubscriptionId", "TransactionStartTimeMs", "ReplicaDirectoryId", "Endpoints", "Listeners"}
REQUESTS_A_ROUND = 60
UNKNOWN_SERVER_ERROR = -1


class Side:
    """One server as the comparison sees it."""

    def __init__(self, server, messages):
        self.server, self.messages, self.ids = server, messages, {}
        self.connection = wire.Connection(server.port, timeout=20)
        self.served = wire.api_versions(self.connection)

    def ask(self, key, version, values):
        """The answer's fields in neutral words; how the connection ended, if it did."""
        request, response = self.messages[key, "request"], self.messages[key, "response"]
        body = schemas.write(request, version, self.own(values))
        try:
            reply = self.connection.ask(key, version, (b"\x00" if version in request.flexible else b"") + body)
        except (wire.Closed, ConnectionError, socket.timeout) as error:
            self.connection.socket.close()
            self.connection = wire.Connection(self.server.port, timeout=20)
            return {"connection": "waits" if isinstance(error, socket.timeout) else "closed"}
        return schemas.read(response, version, reply.raw[reply.at + (version in response.flexible):])

    def own(self, value):
        """The values with this server's topic ids."""
        if isinstance(value, requests.TopicId):
            return bytes(16) if value == "zero" else self.ids.get(str(value), b"\x77" * 16)
        if isinstance(value, dict):
            return {name: self.own(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.own(part) for part in value]
        return value

    def learn(self):
        """Asks for the topics' ids."""
        values = {"Topics": None, "AllowAutoTopicCreation": False, "IncludeTopicAuthorizedOperations": False}
        for topic in self.ask(wire.METADATA, 12, values)["Topics"]:
            self.ids[topic["Name"]] = topic["TopicId"]

    def neutral(self, value, name=""):
        if isinstance(value, dict):
            return {key: self.neutral(part, key) for key, part in value.items() if key not in OWN}
        if isinstance(value, list):
            return sorted((self.neutral(part) for part in value), key=repr)
        if isinstance(value, bytes) and len(value) == 16:
            names = [topic for topic, topic_id in self.ids.items() if topic_id == value]
            return f"id of {names[0]}" if names else "zero id" if not any(value) else "an id"
        if isinstance(value, str) and value and ("Message" in name or name == "Documentation"):
            return "(text)"
        return value


def differences(theirs, ours, path):
    """(path, what Apache has, what Ottla has), where they are not alike."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        codes = theirs.get("ErrorCode"), ours.get("ErrorCode")
        if codes[0] == UNKNOWN_SERVER_ERROR != codes[1]:
            # Fields beside an error code have no meaning.
            yield f"{path}.ErrorCode", str(codes[0]), str(codes[1])
            return
        for name in sorted({*theirs, *ours}):
            if name in theirs and name in ours:
                yield from differences(theirs[name], ours[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}", str(theirs.get(name, "absent")), str(ours.get(name, "absent"))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for one, other in zip(theirs, ours):
            yield from differences(one, other, path)
    elif isinstance(theirs, list) and isinstance(ours, list):
        yield path, f"{len(theirs)} rows {theirs}", f"{len(ours)} rows {ours}"
    elif theirs != ours:
        yield path, str(theirs), str(ours)


class Comparison:
    """Plays rounds of requests to both sides and counts what differs."""

    def __init__(self, apache, ottla, accepted):
        self.sides, self.accepted = (apache, ottla), accepted
        self.asked, self.known, self.kinds, self.examples = 0, 0, collections.Counter(), {}

    def play(self, seed, apis):
        messages = self.sides[0].messages
        draws = requests.Requests(seed, messages)
        for side in self.sides:
            for count, topic in enumerate(draws.topics[:3], 1):
                wire.topic(side.connection, topic, count)
            side.learn()
        served = [side.served for side in self.sides]
        keys = sorted(key for key in served[0].keys() & served[1].keys() - LEFT_OUT if not apis or key in apis)
        for number in range(REQUESTS_A_ROUND):
            key = draws.random.choice(keys)
            low, high = max(side[key][0] for side in served), min(side[key][1] for side in served)
            version = max(draws.random.randint(low, high), 3 if key == requests.PRODUCE else 0)
            values = draws.draw(key, version)
            answers = [side.ask(key, version, values) for side in self.sides]
            if key in (requests.CREATE_TOPICS, requests.DELETE_TOPICS):
                for side in self.sides:
                    side.learn()
            theirs, ours = (side.neutral(answer) for side, answer in zip(self.sides, answers))
            if "connection" in (*theirs, *ours):
                theirs, ours = ({"connection": answer.get("connection", "answered")} for answer in (theirs, ours))
            self.asked += 1
            for path, one, other in differences(theirs, ours, messages[key, "request"].api):
                self.note(path, one, other, (seed, number, version, values))

    def note(self, path, theirs, ours, example):
        if any(all(re.fullmatch(part, text, re.S) for part, text in zip(line, (path, theirs, ours))) for line in self.accepted):
            self.known += 1
            return
        plain = re.compile(r"d\d+-")
        kind = (path, plain.sub("", theirs)[:100], plain.sub("", ours)[:100])
        self.kinds[kind] += 1
        self.examples.setdefault(kind, example)


def accepted():
    lines = [line for line in ACCEPTED.read_text().splitlines() if line and not line.startswith("#")]
    return [[part.strip() for part in line.split(" | ")] for line in lines]


def shown(example):
    seed, number, version, values = example
    text = json.dumps(values, default=lambda value: value.hex())
    return f"seed {seed}, request {number}, version {version}: {text[:600]}"


def run(arguments):
    table, messages = report.Report(), schemas.load()
    apis = {int(key) for key in arguments.apis.split(",")} if arguments.apis else None
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        root = pathlib.Path(folder)
        nodes = [servers.Apache(root / "apache"), servers.Ottla(root / "ottla", binary=arguments.binary)]
        try:
            for node in nodes:
                node.settings = {"auto.create.topics.enable": "false"}
                node.start()
                with wire.Connection(node.port) as connection:
                    for kind in (wire.GROUP, wire.TRANSACTION):
                        wire.find_coordinator(connection, "warm", kind)
                    wire.await_producer_id(connection)
            comparison = Comparison(*(Side(node, messages) for node in nodes), accepted())
            end, seed = time.monotonic() + arguments.seconds, arguments.seed
            while time.monotonic() < end and (arguments.rounds is None or seed < arguments.seed + arguments.rounds):
                comparison.play(seed, apis)
                seed += 1
        finally:
            for node in nodes:
                node.kill()
    for kind, count in comparison.kinds.most_common():
        path, theirs, ours = kind
        table.add("ottla", "raw", "failed", f"{path}, {count} times",
                  f"apache {theirs}\nottla  {ours}\n{shown(comparison.examples[kind])}")
    what = f"{comparison.asked} requests, seeds {arguments.seed} to {seed - 1}, answered alike"
    table.add("ottla", "raw", "failed" if comparison.kinds else "ok",
              what + (f", but for {comparison.known} fields whose difference is accepted" if comparison.known else ""))
    return table.end()
