"""`tools --nodes 3`: the command lines of `tools`, and some about replicas, each through another of three nodes.

Apache's tools and ours, at three nodes of Ottla and at three of Apache Kafka; Apache's tools at Apache's nodes are what all
others are compared with. Ours ask all three nodes of Ottla where a line only reads. Tools that take `--bootstrap-controller` are
called once more by it.
"""

import collections
import itertools
import json
import re
import signal
import sys
import tempfile
import time

from kit import cluster, install, report, tools

THREE = {1: cluster.COMBINED, 2: cluster.COMBINED, 3: cluster.COMBINED}
SETTINGS = {"group.initial.rebalance.delay.ms": "0"}
BROKER, CONTROLLER = "--bootstrap-server", "--bootstrap-controller"
CONTROLLER_TOOLS = {"kafka-metadata-quorum", "kafka-cluster", "kafka-features", "kafka-configs", "kafka-reassign-partitions"}
# Without --all, of these a controller is asked for lists only.
SELDOM = {"kafka-configs", "kafka-reassign-partitions"}
# Tools that write and read records: of these, only what prepares for others is played.
DATA_TOOLS = re.compile("console|perf-test|latency|verifiable")
GRACE_S = 3

# Lines about several nodes, in the notation of `tools.LINES`.
LINES = """
kafka-topics --create --topic three --partitions 3 --replication-factor 3
kafka-topics --create --topic wider --replication-factor 4 ?
kafka-topics --create --topic placed --replica-assignment 1:2:3,2:3:1,3:1:2
kafka-topics --create --topic pairs --replica-assignment 1:2,2:3 --config min.insync.replicas=2
kafka-topics --create --topic single --replica-assignment 3,1,2
kafka-topics --create --topic stranger --replica-assignment 1:7 ?
kafka-topics --create --topic twice --replica-assignment 1:1 ?
kafka-topics --create --topic uneven --replica-assignment 1:2,3 ?
kafka-topics --describe --topic three
kafka-topics --describe --topic placed
kafka-topics --describe --topic pairs,single
kafka-topics --describe --at-min-isr-partitions
kafka-topics --describe --under-min-isr-partitions
kafka-topics --alter --topic single --partitions 5 --replica-assignment 1,2,3,2,1
kafka-topics --describe --topic single
kafka-console-producer --topic single --reader-property parse.key=true --reader-property key.separator=: < k:a|k:b|k:c|
kafka-console-producer --topic placed --reader-property parse.key=true --reader-property key.separator=: < k:a|k:b|k:c|
kafka-console-consumer --topic placed --from-beginning --max-messages 3 --timeout-ms 20000 --group of-three
kafka-console-consumer --topic single --from-beginning --max-messages 3 --timeout-ms 20000 --group of-three
kafka-get-offsets --topic placed
kafka-get-offsets --topic single
kafka-consumer-groups --describe --group of-three
kafka-consumer-groups --describe --group of-three --state
kafka-consumer-groups --list --state
kafka-consumer-groups --describe --all-groups --members
kafka-consumer-groups --group of-three --reset-offsets --topic single --to-earliest --execute
kafka-log-dirs --describe --topic-list placed
kafka-log-dirs --describe --topic-list single
kafka-log-dirs --describe --broker-list 2,3 --topic-list single
kafka-log-dirs --describe --broker-list 2,9 --topic-list single
kafka-metadata-quorum describe --status
kafka-metadata-quorum describe --replication
kafka-features describe ?
kafka-cluster list-endpoints
kafka-cluster list-endpoints --include-fenced-brokers
kafka-configs --entity-type brokers --entity-name 2 --alter --add-config log.cleaner.threads=2
kafka-configs --entity-type brokers --entity-name 2 --describe
kafka-configs --entity-type brokers --entity-name 3 --describe
kafka-configs --entity-type brokers --entity-name 9 --describe ?
kafka-configs --entity-type brokers --entity-name 2 --alter --delete-config log.cleaner.threads
kafka-delete-records --offset-json-file SINGLE.json
kafka-get-offsets --topic single --time earliest
kafka-leader-election --election-type preferred --topic placed --partition 1
kafka-leader-election --election-type preferred --all-topic-partitions
kafka-leader-election --election-type unclean --topic single --partition 0
kafka-transactions find-hanging --broker-id 2
kafka-transactions describe-producers --topic single --partition 0 --broker-id 3
kafka-transactions describe-producers --topic single --partition 0 --broker-id 1
kafka-reassign-partitions --topics-to-move-json-file SINGLE_TOPIC.json --broker-list 1,2,3 --generate ?
kafka-reassign-partitions --reassignment-json-file PAIRS.json --execute
kafka-reassign-partitions --reassignment-json-file PAIRS.json --verify
kafka-reassign-partitions --list
kafka-reassign-partitions --reassignment-json-file SINGLE_MOVE.json --execute --throttle 10000000
kafka-reassign-partitions --reassignment-json-file SINGLE_MOVE.json --verify
kafka-topics --describe --topic pairs
kafka-console-consumer --topic single --from-beginning --max-messages 2 --timeout-ms 20000 --group after-the-move ?
kafka-topics --delete --topic placed
kafka-topics --delete --topic pairs
kafka-topics --delete --topic single
kafka-topics --list --exclude-internal
"""
FILES = {
    "PAIRS.json": tools.moves(tools.place("pairs", 0, [1, 3]), tools.place("pairs", 1, [3, 2])),
    "SINGLE.json": '{"partitions": [{"topic": "single", "partition": 0, "offset": 0}, {"topic": "single", "partition": 2, "offset": 0}]}',
    "SINGLE_TOPIC.json": '{"version":1,"topics":[{"topic":"single"}]}',
    "SINGLE_MOVE.json": tools.moves(tools.place("single", 0, [1]), tools.place("single", 1, [2])),
}
tools.FILES.update(FILES)

NEUTRAL = [
    # Which nodes a topic of the common lines is placed on is left to chance.
    (r"^(\tTopic: (?!placed|pairs|single).*)$", lambda found: re.sub(r"(Leader|Replicas|Isr): [\d,]+", r"\1: <nodes>", found[1])),
    (r'("topic":"perf","partition":\d+,"replicas":)\[\d\]', r"\1[<node>]"),
    (r"^(LeaderId|LeaderEpoch|HighWatermark|MaxFollowerLag\w*): +[\d-]+", r"\1: <figure>"),
    (r'"directoryId": "[^"]+"', '"directoryId": <id>'),
    (r"^\d\s+[\w-]{22}\s+\d+\s+\d+\s+\S+\s+\S+", "<node and figures>"),
    # Of a partition without records, a position is committed only if the consumer was told its end in time.
    (r"^of-three  \S+  \d+  0  0  0  .*\n?", ""),
    # A group that Apache's kafka-e2e-latency leaves behind, ours does not.
    (r"^(\S+ 'test-group-|test-group-).*\n?", ""),
    (r"Epoch: \d+$", "Epoch: <number>"),
    (r"(?<=ClusterId: ) +\S+", "<id>"),
    (r"(COORDINATOR.*\n)?^(\S+ +<broker>) +\(\d\)", r"\1\2 (<node>)"),
    # Of a group, the coordinator is any node.
    (r"<broker> +\(\d\)", "<broker> (<node>)"),
]

# What the kept answers depend on.
NEUTRAL_SOURCE = [pattern for pattern, _ in [*tools.NEUTRAL, *NEUTRAL]]


class Nodes:
    """What a line of `tools` sees of a cluster: the address that is next, and the data folder of the first node."""

    def __init__(self, nodes):
        self.members, self.turn = list(nodes.members.values()), 0
        self.data = self.members[0].data

    @property
    def next(self):
        return self.members[self.turn % len(self.members)]

    @property
    def bootstrap(self):
        return self.next.bootstrap

    @property
    def controller(self):
        return self.next.controller


def neutral(told):
    """Lines of an output without what differs between two clusters of one shape."""
    text = "\n".join(told)
    for pattern, word in NEUTRAL:
        text = re.sub(pattern, word, text, flags=re.M)
    # Of each group there is a headline.
    headlines = {line for line in text.split("\n") if line.startswith("GROUP ")}
    return [*sorted(headlines), *sorted(in_order(line) for line in text.split("\n") if line and line not in headlines)]


def in_order(line):
    """The brokers and partitions of kafka-log-dirs in a fixed order; the sizes of what is not empty left out."""
    if not line.startswith('{"'):
        return line
    try:
        found = json.loads(line)
    except ValueError:
        return line
    for broker in found.get("brokers", []):
        for folder in broker.get("logDirs", []):
            folder["partitions"].sort(key=lambda it: it["partition"])
            for part in folder["partitions"]:
                part["size"] = part["size"] and "<some>"
        broker.get("logDirs", []).sort(key=lambda it: it["logDir"])
    if "brokers" in found:
        found["brokers"].sort(key=lambda it: it["broker"])
    return json.dumps(found, sort_keys=True)


def action(line):
    """Which tool a line calls, and to do what."""
    name, *rest = line.partition(" < ")[0].split()
    verbs = {"create", "alter", "delete", "list", "describe", "reset-offsets", "delete-offsets", "execute", "verify", "generate", "cancel",
             "remove", "validate-regex"}
    entity = next((after for word, after in itertools.pairwise(rest) if word == "--entity-type"), "")
    # Settings of other things go the way of these.
    entity = entity if entity in ("topics", "brokers", "users") else ""
    return name, *sorted(word for word in rest if word.strip("-") in verbs), *[word for word in rest[:1] if word[0] != "-"], entity


def calls(arguments):
    """(how often it was there before, line, way, whether its answer is compared), in order. What is not compared prepares for what
    comes after."""
    known, told, times = set(), [], collections.Counter()

    def add(line, way, counts):
        told.append((times[line, way], line, way, counts))
        times[line, way] += 1

    common = [line for line in tools.lines("ottla") if line.split()[0] not in tools.OFFLINE and "-mapping" not in line and "-dependencies" not in line]
    own = [line for line in LINES.split("\n") if line]
    for line in [*common, *own]:
        counts = line in own or not (line.endswith(" ?") or DATA_TOOLS.search(line) or action(line) in known)
        known |= {action(line)} if counts else set()
        if arguments.all or arguments.only:
            counts = arguments.all or arguments.only in line
        if not counts and (line.endswith(" ?") or tools.READS.search(line)):
            continue
        add(line, BROKER, counts)
        name = line.split()[0]
        is_seldom = name in SELDOM and not (line in own and re.search("--list|--entity-name 2", line)) and not arguments.all
        if counts and name in CONTROLLER_TOOLS and not is_seldom:
            add(line, CONTROLLER, True)
    return told


def ask(kind, server, folder, binary, call, model, until):
    """One answer. What only reads has until then to become what the model is: a change reaches all nodes a little later."""
    _, line, way, _ = call
    while True:
        line, code, told, whole = tools.one_line(kind, server, folder, binary, line, way)
        told = neutral(told)
        if not model or (code, told) == model or time.monotonic() >= until:
            return code, told, whole
        time.sleep(0.2)


def play(pair, arguments, binary, models):
    """Yields each compared call with its (node, answer) pairs: one, or one of each node for what our tools only read at Ottla."""
    kind, where = pair
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as folder:
        server_kind = cluster.OttlaKind(binary) if where == "ottla" else cluster.ApacheKind()
        nodes = cluster.Cluster(server_kind, folder, THREE, settings=SETTINGS)
        try:
            nodes.format()
            nodes.start()
            server = Nodes(nodes)
            tools.write_files(server, folder)
            for call in calls(arguments):
                _, line, way, counts = call
                server.turn += 1
                if not counts:
                    tools.one_line("ottla", server, folder, binary, line, way)
                    continue
                only_reads = tools.READS.search(line) is not None
                # Ours is asked before replicas had the time to move that a JVM needs to start.
                waits = only_reads or "--verify" in line
                until = time.monotonic() + (GRACE_S if waits else 0)
                found = []
                for turn in range(len(server.members) if only_reads and pair == ("ottla", "ottla") else 1):
                    server.turn += turn > 0
                    found.append((server.next.number, ask(kind, server, folder, binary, call, models.get(call), until)))
                yield call, found
        finally:
            nodes.remove()


def genuine(arguments, binary):
    """A call to Apache's exit code and output at Apache's nodes; kept, as it takes minutes and does not change."""
    wanted = calls(arguments)
    recipe = [wanted, NEUTRAL_SOURCE, tools.FILES, sorted(tools.CLASSES.items()), install.KAFKA]

    def make(folder):
        found = [[call, answers[0][1][:2]] for call, answers in play(("apache", "apache"), arguments, binary, {})]
        (folder / "answers.json").write_text(json.dumps(found))

    name = "tools-nodes" + ("-all" if arguments.all else "") + (f"-{re.sub('[^a-z0-9]+', '-', arguments.only.lower())}" if arguments.only else "")
    kept = json.loads((install.once(name, recipe, make) / "answers.json").read_text())
    return {tuple(call): (code, told) for call, (code, told) in kept}


def run(arguments):
    # Ended from outside, it still takes its nodes away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    table, binary = report.Report(), cluster.OttlaKind(arguments.binary).binary
    models = genuine(arguments, binary)
    for pair in (("ottla", "ottla"), ("apache", "ottla"), ("ottla", "apache")):
        if pair == ("ottla", "apache") and not arguments.all:
            continue
        for call, found in play(pair, arguments, binary, models):
            compare(table, pair, call, models[call], found)
    return table.end()


def compare(table, pair, call, model, found):
    """The row of one call, with the nodes whose answer differs."""
    _, line, way, _ = call
    notes = []
    for node, (code, told, whole) in found:
        if (code, told) != model:
            shown = lambda code, told: f"exit {code}: " + " / ".join(told)
            notes.append(f"node {node}:\n    {shown(*model)}\n    {shown(code, told)}\n    ({whole[-300:]!r})")
    nodes = ",".join(str(node) for node, _ in found)
    name = line[:66] + (" (controller)" if way == CONTROLLER else "")
    table.add(f"{pair[0]}'s tool", f"{pair[1]}, {nodes}", "failed" if notes else "ok", name, "\n    ".join(notes)[:3000])
