"""Whole tables of requests: for each API one that is right, and from it, by the schema, many that are not.

Each list is sent empty, null and with each entry twice; each text empty, null, unknown and too long; each number at its ends; each id unknown;
each version; a body that is cut, and one that is followed by stray bytes. The answers of two servers are then compared, null and empty apart.
"""

import copy
import difflib
import json
import pathlib
import re
import socket
import struct
import subprocess
import time

from kit import schemas, servers, wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCEPTED = pathlib.Path(__file__).with_name("tables.accepted")
ZERO_ID = bytes(16)
PATIENCE_SECONDS = 20
BUSY = (14, 15, 16, 51)  # the coordinator is not ready yet, or is busy with the transaction before


def error_names():
    """The names and the default texts of the error codes, from `crates/types`."""
    text = (ROOT / "crates/types/src/error_code.rs").read_text()
    rows = re.findall(r'^    (-?\d+) (\w+) (?:true|false) "((?:[^"\\]|\\.)*)"', text, re.M)
    return {int(code): name for code, name, _ in rows}, {words.replace('\\"', '"') for _, _, words in rows}


CODES, DEFAULT_TEXTS = error_names()
PASSING = [f'"{CODES[code]}"' for code in (14, 15, 16)]


def check_error_codes():
    """What differs between the error codes of `golden/` and those of the jar, if anything does."""
    command = [*servers.java("-Dfile.encoding=UTF-8"), str(pathlib.Path(__file__).with_name("PrintErrors.java"))]
    told = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout.splitlines()
    kept = (ROOT / "golden/error-codes.tsv").read_text().splitlines()
    return "\n".join(difflib.unified_diff(told, kept, "the jar", "golden/error-codes.tsv", lineterm="", n=0))


class Api:
    """The two messages of one API."""

    def __init__(self, request, response):
        self.name, self.key, self.request, self.response = request.api, request.key, request, response

    def body(self, version, values):
        """The bytes of a request; what is not given has the schema's default."""
        return schemas.write(self.request, version, full(self.request.fields, values, version))


def load():
    """Every API by its name, such as `CreateTopics`."""
    messages = schemas.load()
    apis = [Api(message, messages[key, "response"]) for (key, kind), message in messages.items() if kind == "request" and (key, "response") in messages]
    return {api.name: api for api in apis}


def full(fields, values, version):
    """The values of a request with defaults where none is given; tagged fields only where one is."""
    found = {}
    for field in fields:
        if version not in field.versions or field.tag is not None and field.name not in values:
            continue
        value = given(field, values, version)
        if field.is_array and value and field.fields:
            value = [full(field.fields, one, version) for one in value]
        elif field.fields and not field.is_array and value is not None:
            value = full(field.fields, value, version)
        found[field.name] = value
    return found


def given(field, values, version):
    """The value of a field; if a request does not name it, null where that may be, or else zero, empty or false."""
    for name in (field.name, field.name[0].upper() + field.name[1:]):
        if name in values:
            return values[name]
    kind = field.type
    if field.is_array:
        return []
    if version in field.null:
        return None
    if kind in ("string", "bytes", "records", "uuid", "bool"):
        return {"string": "", "uuid": ZERO_ID, "bool": False}.get(kind, b"")
    return {} if kind[0].isupper() else 0


APIS = load()


class Player:
    """One connection to a server, opened again whenever the server has closed it."""

    def __init__(self, port):
        self.port, self.socket, self.names = port, None, {}
        rows = self.ask("ApiVersions", 0)["ApiKeys"]
        self.served = {it["ApiKey"]: range(it["MinVersion"], it["MaxVersion"] + 1) for it in rows}

    def call(self, word, name):
        """From now on an id stands in the answers under a name."""
        if word != ZERO_ID:
            self.names[word] = f"<{name}>"

    def exchange(self, raw):
        """Sends a frame; what comes back behind the length, or why nothing does."""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        try:
            self.socket.sendall(struct.pack(">i", len(raw)) + raw)
            size = struct.unpack(">i", self.exactly(4))[0]
            return self.exactly(size)
        except wire.Closed:
            why = "closed"
        except TimeoutError:
            why = f"no answer within {PATIENCE_SECONDS} s"
        except OSError:
            why = "closed"
        self.socket.close()
        self.socket = None
        return why

    def exactly(self, size):
        parts = bytearray()
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                raise wire.Closed()
            parts += part
        return bytes(parts)

    def raw(self, api, version, body):
        """The fields of the answer to a body, or why there are none."""
        told = self.exchange(head(api.key, version, tags=b"\0" if version in api.request.flexible else None) + body)
        if isinstance(told, str):
            return told
        told = told[4 + (version in api.response.flexible and api.name != "ApiVersions"):]
        try:
            return schemas.read(api.response, version, told)
        except (schemas.Truncated, struct.error):
            return f"an answer of {len(told)} bytes that is not one: {told[:16].hex()}"

    def ask(self, name, version, **values):
        api = APIS[name]
        told = self.raw(api, version, api.body(version, values))
        if isinstance(told, str):
            raise RuntimeError(f"{name} v{version}: {told}")
        return told

    def insist(self, name, code, version, **values):
        """Asks until the answer's code is not a passing one."""
        until = time.monotonic() + 30
        while True:
            told = self.ask(name, version, **values)
            if code(told) not in BUSY or time.monotonic() > until:
                return told
            time.sleep(0.01)

    def topic(self, name, partitions=1):
        """A topic whose partitions can be used."""
        told = self.ask("CreateTopics", 7, Topics=[dict(Name=name, NumPartitions=partitions, ReplicationFactor=1)], TimeoutMs=30000)
        topic = told["Topics"][0]
        if topic["ErrorCode"]:
            raise RuntimeError(f"{name} cannot be created: {topic}")
        self.call(topic["TopicId"], "id of " + name)
        asked = [dict(Name=name, Partitions=[dict(PartitionIndex=it, CurrentLeaderEpoch=-1, Timestamp=-1) for it in range(partitions)])]
        while any(it["ErrorCode"] for it in self.ask("ListOffsets", 5, ReplicaId=-1, Topics=asked)["Topics"][0]["Partitions"]):
            time.sleep(0.01)
        return topic["TopicId"]

    def group(self, group, topic):
        """A group with an offset, but without members."""
        self.insist("FindCoordinator", lambda it: it["ErrorCode"], 3, Key=group, KeyType=0)
        topics = [dict(Name=topic, Partitions=[dict(PartitionIndex=0, CommittedOffset=3, CommittedMetadata="m")])]
        values = dict(GroupId=group, GenerationIdOrMemberEpoch=-1, MemberId="", Topics=topics)
        self.insist("OffsetCommit", lambda it: it["Topics"][0]["Partitions"][0]["ErrorCode"], 8, **values)

    def transaction(self, name):
        """The producer of a transactional id."""
        self.insist("FindCoordinator", lambda it: it["ErrorCode"], 3, Key=name, KeyType=1)
        told = self.insist("InitProducerId", lambda it: it["ErrorCode"], 4, TransactionalId=name, TransactionTimeoutMs=60000, ProducerId=-1, ProducerEpoch=-1)
        self.names[str(told["ProducerId"])] = "<producer>"
        return told["ProducerId"], told["ProducerEpoch"]

    def neutral(self, name, value):
        """A value without what differs from run to run."""
        if name == "ThrottleTimeMs" or name.endswith(("Timestamp", "TimeMs")) and isinstance(value, int) and value > 10_000:
            return "<time>"
        if name in ("ErrorCode", "TopicConfigErrorCode", "PartitionErrorCode"):
            return CODES.get(value, value)
        if name in ("Port", "ClusterId", "FinalizedFeaturesEpoch", "TotalBytes", "UsableBytes", "HmacBytes"):
            return f"<{name}>" if value not in (-1, "", None) else value
        if name == "HeartbeatIntervalMs" and value > 0:
            return "<interval>"
        if name == "MemberId" and re.fullmatch(r"[\w-]{22}", value or ""):
            return "<member>"
        if name == "LogDir" and value:
            return "<folder>"
        if name in ("ErrorMessage", "Documentation") and value:
            return "<default text>" if value in DEFAULT_TEXTS else "<words>"
        if name == "ProducerId" and value > 0:
            return self.names.get(str(value), "<other producer>")
        if isinstance(value, bytes) and len(value) == 16:
            return "<zero id>" if value == ZERO_ID else self.names.get(value, "<other id>")
        if isinstance(value, str):
            return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>", value)
        if isinstance(value, bytes):
            return "0x" + value.hex()
        return value

    def lines(self, told, prefix):
        """An answer in neutral words, one line for each row; in which order the rows come means nothing."""
        if isinstance(told, str):
            return [told]
        return list(rows("", self.plain("", told, prefix))) if told else ["nothing"]

    def plain(self, name, value, prefix):
        if isinstance(value, dict):
            return {key: self.plain(key, one, prefix) for key, one in value.items()}
        if isinstance(value, list):
            mine = [self.plain(name, one, prefix) for one in value if not is_foreign(one, prefix)]
            return sorted(mine, key=lambda it: json.dumps(it, sort_keys=True))
        return self.neutral(name, value)


def is_foreign(row, prefix):
    """Does a row of a listing belong to another request's names?"""
    if not isinstance(row, dict):
        return False
    text = " ".join(str(it) for it in row.values() if isinstance(it, str))
    return text.startswith("__") or any(it != prefix for it in re.findall(r"(\w+-\d+-\d+)-[tugx]\b", text)) or "warm" in text


def rows(path, value):
    """Each struct's plain fields as one line, its lists of structs behind it."""
    plain, deep = {}, []
    for key, one in value.items():
        if isinstance(one, dict):
            deep.append((f"{path}{key}", one))
        elif isinstance(one, list) and one and isinstance(one[0], dict):
            deep += [(f"{path}{key}", it) for it in one]
        else:
            plain[key] = one
    text = " ".join(f"{key}={json.dumps(one, ensure_ascii=False)}" for key, one in plain.items())
    yield f"{path}: {text}" if path else text
    for key, one in deep:
        yield from rows(key + " ", one)


ENDS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}


def ways(fields, values, version, path=""):
    """Every way in which a request goes wrong in one place: what is done there, and the request."""
    for field in fields:
        if version not in field.versions:
            continue
        here, value = path + field.name, given(field, values, version)

        def put(new, field=field):
            changed = dict(values)
            changed[field.name] = new
            return changed

        nullable = version in field.null
        if nullable and value is not None:
            yield f"{here} null", put(None)
        if field.is_array:
            if value:
                yield f"{here} empty", put([])
                yield f"{here} twice", put([copy.deepcopy(it) for it in value for _ in range(2)])
                yield f"{here} again", put(copy.deepcopy(value) * 2)
                if field.fields:
                    for what, one in ways(field.fields, value[0], version, here + "."):
                        yield what, put([one, *copy.deepcopy(value[1:])])
                else:
                    for what, one in odd(field, value[0]):
                        yield f"{here}[0] {what}", put([one, *value[1:]])
            elif nullable:
                yield f"{here} empty", put([])
        elif field.fields:
            for what, one in ways(field.fields, value or {}, version, here + "."):
                yield what, put(one)
        else:
            for what, one in odd(field, value):
                yield f"{here} {what}", put(one)


def odd(field, value):
    """Odd values for one field."""
    kind = field.type.removeprefix("[]")
    if kind == "bool":
        yield ("false" if value else "true"), not value
    elif kind in ENDS:
        ends = ENDS[kind]
        numbers = {"-1": -1, "-2": -2, "0": 0, "1": 1, "2": 2, "9": 9, "greatest": 2 ** ends - 1, "least": -2 ** ends}
        yield from numbers.items()
    elif kind == "float64":
        yield from (("nan", float("nan")), ("-1", -1.0), ("0", 0.0), ("half", 0.5), ("infinite", float("inf")))
    elif kind == "uuid":
        yield "zero", ZERO_ID
        yield "one", bytes(15) + b"\1"
        yield "unknown", bytes(15) + b"\7"
    elif kind == "string":
        yield from (("empty", ""), ("unknown", "absent"), ("long", "x" * 260), ("odd", "a b/\u00e9"), ("blank", " "), ("dot", "."))
    elif kind in ("bytes", "records"):
        yield from (("empty", b""), ("garbage", b"\x7f\xff\x00garbage"))



class Names:
    """The names of one request's topics, groups and ids; each request gets its own."""

    def __init__(self, prefix):
        self.p, self.t, self.u, self.g, self.x = prefix, prefix + "-t", prefix + "-u", prefix + "-g", prefix + "-x"
        self.ids, self.producer = {}, (-1, -1)


def two_topics(play, n):
    n.ids = {n.t: play.topic(n.t, 2), n.u: play.topic(n.u)}


def grouped(play, n):
    two_topics(play, n)
    play.group(n.g, n.t)


def transactional(play, n):
    grouped(play, n)
    n.producer = play.transaction(n.x)


def nothing(_play, _n):
    pass


def by(n, version, since, topic):
    """A topic by name, or by id from a version on."""
    return dict(TopicId=n.ids[topic]) if version >= since else dict(Name=topic)


def places(n, **more):
    return [dict(PartitionIndex=it, **more) for it in (0, 1)]


def commit_topics(n, version):
    return [{**by(n, version, 10, n.t), "Partitions": places(n, CommittedOffset=5, CommittedLeaderEpoch=-1, CommittedMetadata="m")}]


def offset_fetch(n, version):
    topics = [{**by(n, version, 10, n.t), "PartitionIndexes": [0, 1]}]
    if version < 8:
        return dict(GroupId=n.g, Topics=topics)
    return dict(Groups=[dict(GroupId=n.g, MemberId=None, MemberEpoch=-1, Topics=topics), dict(GroupId=n.g + "2", MemberEpoch=-1, Topics=topics)])


def add_partitions(n, version):
    pid, epoch = n.producer
    topics = [dict(Name=n.t, Partitions=[0, 1])]
    if version < 4:
        return dict(V3AndBelowTransactionalId=n.x, V3AndBelowProducerId=pid, V3AndBelowProducerEpoch=epoch, V3AndBelowTopics=topics)
    return dict(Transactions=[dict(TransactionalId=n.x, ProducerId=pid, ProducerEpoch=epoch, VerifyOnly=False, Topics=topics)])


def delete_topics(n, version):
    if version < 6:
        return dict(TopicNames=[n.t, n.u], TimeoutMs=5000)
    return dict(Topics=[dict(Name=n.t), dict(Name=None, TopicId=n.ids[n.u])], TimeoutMs=5000)


def find_coordinator(n, version):
    return dict(Key=n.g, KeyType=0) if version < 4 else dict(CoordinatorKeys=[n.g, n.g + "2"], KeyType=0)


def join(n, version):
    meta = bytes.fromhex("0001000000010001740000000000000000")
    protocols = [dict(Name="range", Metadata=meta), dict(Name="roundrobin", Metadata=meta)]
    return dict(GroupId=n.g + "j", SessionTimeoutMs=10000, RebalanceTimeoutMs=10000, MemberId="", ProtocolType="consumer", Protocols=protocols)


BOTH = [dict(EntityType="user", EntityName="u"), dict(EntityType="client-id", EntityName=None)]

# Each API: what has to be there before, and the request that is right. Reading ones share what has to be there.
BASES = {
    "Metadata": (two_topics, lambda n, v: dict(Topics=[dict(Name=n.t), dict(Name=n.u)], AllowAutoTopicCreation=False)),
    "CreateTopics": (nothing, lambda n, v: dict(Topics=[
        dict(Name=n.t, NumPartitions=2, ReplicationFactor=1, Configs=[dict(Name="retention.ms", Value="99999")]),
        dict(Name=n.u, NumPartitions=-1, ReplicationFactor=-1, Assignments=[dict(PartitionIndex=0, BrokerIds=[1])])], TimeoutMs=5000)),
    "DeleteTopics": (two_topics, delete_topics),
    "CreatePartitions": (two_topics, lambda n, v: dict(Topics=[
        dict(Name=n.t, Count=3, Assignments=None), dict(Name=n.u, Count=2, Assignments=[dict(BrokerIds=[1])])], TimeoutMs=5000)),
    "DeleteRecords": (two_topics, lambda n, v: dict(Topics=[dict(Name=n.t, Partitions=places(n, Offset=0)), dict(Name=n.u, Partitions=[dict(PartitionIndex=0, Offset=-1)])], TimeoutMs=5000)),
    "AlterConfigs": (two_topics, lambda n, v: dict(Resources=[
        dict(ResourceType=2, ResourceName=n.t, Configs=[dict(Name="retention.ms", Value="99999"), dict(Name="segment.bytes", Value="2000000")]),
        dict(ResourceType=2, ResourceName=n.u, Configs=[dict(Name="retention.ms", Value="99998")])])),
    "IncrementalAlterConfigs": (two_topics, lambda n, v: dict(Resources=[
        dict(ResourceType=2, ResourceName=n.t, Configs=[dict(Name="retention.ms", ConfigOperation=0, Value="99999"), dict(Name="cleanup.policy", ConfigOperation=2, Value="compact")]),
        dict(ResourceType=2, ResourceName=n.u, Configs=[dict(Name="retention.ms", ConfigOperation=1, Value=None)])])),
    "DescribeConfigs": (two_topics, lambda n, v: dict(Resources=[
        dict(ResourceType=2, ResourceName=n.t, ConfigurationKeys=["retention.ms", "cleanup.policy"]),
        dict(ResourceType=4, ResourceName="1", ConfigurationKeys=["log.retention.ms"])], IncludeSynonyms=True)),
    "DeleteGroups": (grouped, lambda n, v: dict(GroupsNames=[n.g])),
    "DescribeGroups": (grouped, lambda n, v: dict(Groups=[n.g])),
    "ConsumerGroupDescribe": (grouped, lambda n, v: dict(GroupIds=[n.g, n.g + "2"])),
    "ListGroups": (nothing, lambda n, v: dict(StatesFilter=["Dead"], TypesFilter=["classic"])),
    "OffsetCommit": (grouped, lambda n, v: dict(GroupId=n.g, GenerationIdOrMemberEpoch=-1, MemberId="", RetentionTimeMs=-1, Topics=commit_topics(n, v))),
    "OffsetFetch": (grouped, offset_fetch),
    "OffsetDelete": (grouped, lambda n, v: dict(GroupId=n.g, Topics=[dict(Name=n.t, Partitions=places(n)), dict(Name=n.u, Partitions=[dict(PartitionIndex=0)])])),
    "ListOffsets": (two_topics, lambda n, v: dict(ReplicaId=-1, Topics=[dict(Name=n.t, Partitions=places(n, CurrentLeaderEpoch=-1, Timestamp=-1, MaxNumOffsets=1))])),
    "OffsetForLeaderEpoch": (two_topics, lambda n, v: dict(ReplicaId=-1 if v > 2 else -2, Topics=[dict(Topic=n.t, Partitions=[dict(Partition=it, CurrentLeaderEpoch=-1, LeaderEpoch=0) for it in (0, 1)])])),
    "AddPartitionsToTxn": (transactional, add_partitions),
    "AddOffsetsToTxn": (transactional, lambda n, v: dict(TransactionalId=n.x, ProducerId=n.producer[0], ProducerEpoch=n.producer[1], GroupId=n.g)),
    "EndTxn": (transactional, lambda n, v: dict(TransactionalId=n.x, ProducerId=n.producer[0], ProducerEpoch=n.producer[1], Committed=True)),
    "InitProducerId": (nothing, lambda n, v: dict(TransactionalId=None, TransactionTimeoutMs=60000, ProducerId=-1, ProducerEpoch=-1)),
    "WriteTxnMarkers": (two_topics, lambda n, v: dict(Markers=[dict(ProducerId=7777, ProducerEpoch=3, TransactionResult=True, CoordinatorEpoch=0, Topics=[dict(Name=n.t, PartitionIndexes=[0, 1])])])),
    "DescribeTransactions": (transactional, lambda n, v: dict(TransactionalIds=[n.x, n.x + "2"])),
    "ListTransactions": (nothing, lambda n, v: dict(StateFilters=["Ongoing"], ProducerIdFilters=[987654321])),
    "DescribeProducers": (two_topics, lambda n, v: dict(Topics=[dict(Name=n.t, PartitionIndexes=[0, 1])])),
    "AlterClientQuotas": (nothing, lambda n, v: dict(Entries=[
        dict(Entity=[dict(EntityType="user", EntityName=n.p)], Ops=[dict(Key="producer_byte_rate", Value=1e6, Remove=False), dict(Key="request_percentage", Value=50.0, Remove=False)]),
        dict(Entity=BOTH, Ops=[dict(Key="consumer_byte_rate", Value=1e6, Remove=True)])])),
    "DescribeClientQuotas": (nothing, lambda n, v: dict(Components=[dict(EntityType="user", MatchType=0, Match="absent"), dict(EntityType="client-id", MatchType=2, Match=None)])),
    "AlterUserScramCredentials": (nothing, lambda n, v: dict(
        Deletions=[dict(Name=n.p + "-gone", Mechanism=1)],
        Upsertions=[dict(Name=n.p, Mechanism=1, Iterations=4096, Salt=b"salt", SaltedPassword=b"password"), dict(Name=n.p + "-2", Mechanism=2, Iterations=4096, Salt=b"salt", SaltedPassword=b"password")])),
    "DescribeUserScramCredentials": (nothing, lambda n, v: dict(Users=[dict(Name="absent"), dict(Name="absent2")])),
    "UpdateFeatures": (nothing, lambda n, v: dict(TimeoutMs=5000, FeatureUpdates=[dict(Feature="metadata.version", MaxVersionLevel=30, UpgradeType=1), dict(Feature="group.version", MaxVersionLevel=1, UpgradeType=1)], ValidateOnly=True)),
    "ElectLeaders": (two_topics, lambda n, v: dict(ElectionType=0, TopicPartitions=[dict(Topic=n.t, Partitions=[0, 1]), dict(Topic=n.u, Partitions=[0])], TimeoutMs=5000)),
    "AlterPartitionReassignments": (two_topics, lambda n, v: dict(TimeoutMs=5000, AllowReplicationFactorChange=True, Topics=[dict(Name=n.t, Partitions=[dict(PartitionIndex=0, Replicas=[1]), dict(PartitionIndex=1, Replicas=None)])])),
    "ListPartitionReassignments": (two_topics, lambda n, v: dict(TimeoutMs=5000, Topics=[dict(Name=n.t, PartitionIndexes=[0, 1])])),
    "AlterReplicaLogDirs": (two_topics, lambda n, v: dict(Dirs=[dict(Path="/absent", Topics=[dict(Name=n.t, Partitions=[0, 1])])])),
    "DescribeLogDirs": (two_topics, lambda n, v: dict(Topics=[dict(Topic=n.t, Partitions=[0, 1]), dict(Topic=n.u, Partitions=[0])])),
    "DescribeTopicPartitions": (two_topics, lambda n, v: dict(Topics=[dict(Name=n.t), dict(Name=n.u)], ResponsePartitionLimit=10, Cursor=None)),
    "FindCoordinator": (grouped, find_coordinator),
    "TxnOffsetCommit": (transactional, lambda n, v: dict(TransactionalId=n.x, GroupId=n.g, ProducerId=n.producer[0], ProducerEpoch=n.producer[1], GenerationId=-1, MemberId="", GroupInstanceId=None,
                        Topics=[dict(Name=n.t, Partitions=places(n, CommittedOffset=1, CommittedLeaderEpoch=-1, CommittedMetadata="m"))])),
    "CreateAcls": (nothing, lambda n, v: dict(Creations=[dict(ResourceType=2, ResourceName=n.t, ResourcePatternType=3, Principal="User:a", Host="*", Operation=3, PermissionType=3)])),
    "DeleteAcls": (nothing, lambda n, v: dict(Filters=[dict(ResourceTypeFilter=2, ResourceNameFilter=n.t, PatternTypeFilter=3, PrincipalFilter="User:a", HostFilter="*", Operation=3, PermissionType=3)])),
    "DescribeAcls": (nothing, lambda n, v: dict(ResourceTypeFilter=2, ResourceNameFilter=n.t, PatternTypeFilter=3, PrincipalFilter="User:a", HostFilter="*", Operation=3, PermissionType=3)),
    "ApiVersions": (nothing, lambda n, v: dict(ClientSoftwareName="name", ClientSoftwareVersion="1.0", ClusterId=None, NodeId=-1)),
    "DescribeCluster": (nothing, lambda n, v: dict(EndpointType=1, IncludeClusterAuthorizedOperations=True)),
    "DescribeQuorum": (nothing, lambda n, v: dict(Topics=[dict(TopicName="__cluster_metadata", Partitions=[dict(PartitionIndex=0)])])),
    "ListConfigResources": (nothing, lambda n, v: dict(ResourceTypes=[4])),
    "CreateDelegationToken": (nothing, lambda n, v: dict(OwnerPrincipalType=None, OwnerPrincipalName=None, Renewers=[dict(PrincipalType="User", PrincipalName="a")], MaxLifetimeMs=-1)),
    "RenewDelegationToken": (nothing, lambda n, v: dict(Hmac=b"hmac", RenewPeriodMs=1000)),
    "ExpireDelegationToken": (nothing, lambda n, v: dict(Hmac=b"hmac", ExpiryTimePeriodMs=1000)),
    "DescribeDelegationToken": (nothing, lambda n, v: dict(Owners=[dict(PrincipalType="User", PrincipalName="a")])),
    "JoinGroup": (nothing, join),
    "SyncGroup": (grouped, lambda n, v: dict(GroupId=n.g, GenerationId=1, MemberId="m", ProtocolType="consumer", ProtocolName="range", Assignments=[dict(MemberId="m", Assignment=b"a")])),
    "Heartbeat": (grouped, lambda n, v: dict(GroupId=n.g, GenerationId=1, MemberId="m")),
    "LeaveGroup": (grouped, lambda n, v: dict(GroupId=n.g, MemberId="m") if v < 3 else dict(GroupId=n.g, Members=[dict(MemberId="m"), dict(MemberId="m2", GroupInstanceId="i")])),
    "ConsumerGroupHeartbeat": (grouped, lambda n, v: dict(GroupId=n.g + "c", MemberId="tQ8c4pLHRqqkMNVBVfuDaA", MemberEpoch=0, RebalanceTimeoutMs=60000, SubscribedTopicNames=[n.t], TopicPartitions=[])),
}
# These change nothing: all their requests ask about the same topics and groups.
READING = {"Metadata", "DescribeConfigs", "DescribeGroups", "ConsumerGroupDescribe", "OffsetFetch", "ListOffsets", "OffsetForLeaderEpoch", "DescribeProducers",
           "ElectLeaders", "AlterPartitionReassignments", "ListPartitionReassignments", "AlterReplicaLogDirs", "DescribeLogDirs",
           "DescribeTopicPartitions", "FindCoordinator", "SyncGroup", "Heartbeat", "LeaveGroup", "DescribeTransactions"}


def play_api(play, name, versions):
    """Everything that is asked of one API in these versions: what was asked, and the lines of the answer."""
    api, found = APIS[name], []
    prepare, build = BASES[name]
    shared = Names(f"{name}-0-0")
    if name in READING:
        prepare(play, shared)
    probe = Names("probe-0-0")
    probe.ids = {probe.t: ZERO_ID, probe.u: ZERO_ID}

    def asked(what, number, version, change=lambda it: it, cut=lambda it: it):
        n = shared
        if name not in READING:
            n = Names(f"{name}-{version}-{number}")
            prepare(play, n)
        body = cut(api.body(version, change(build(n, version))))
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            lines = play.lines(play.raw(api, version, body), n.p)
            if not any(code in line for line in lines for code in PASSING) or time.monotonic() > until:
                break
            time.sleep(0.01)
        found.append((f"v{version} {what}", lines))

    newest = versions[-1]
    for version in versions:
        asked("right", 0, version)
        titles = [what for what, _ in ways(api.request.fields, build(probe, version), version)]
        for number, title in enumerate(titles, 1):
            # What older versions take differs in what comes twice, and in what is not there.
            is_wanted = version == newest or title.endswith((" twice", " empty", " null"))
            # Whether a few milliseconds are enough is chance.
            is_race = re.search(r"imeoutMs [129]$", title)
            if is_wanted and not is_race and not title.startswith(UNANSWERED.get(name, "-")):
                asked(title, number, version, lambda it, v=version, t=title: dict(ways(api.request.fields, it, v)).get(t, it))
    for number, (what, cut) in enumerate(CUTS, 1000):
        asked(what, number, newest, cut=cut)
    return found


# What Apache Kafka 4.3.1 never answers: it waits for a part of the answer that does not come.
UNANSWERED = {
    "AlterConfigs": ("Resources twice", "Resources again"),
    "WriteTxnMarkers": ("Markers.Topics twice", "Markers.Topics again", "Markers.Topics.PartitionIndexes"),
    "AddPartitionsToTxn": ("Transactions empty",),
    "JoinGroup": ("Protocols twice", "Protocols again"),
}


CUTS = [
    ("one byte short", lambda it: it[:-1]),
    ("half of it", lambda it: it[:len(it) // 2]),
    ("without a body", lambda it: b""),
    ("a stray byte", lambda it: it + b"\0"),
    ("stray bytes", lambda it: it + b"stray bytes"),
]


def head(key, version, client=b"tables", tags=None, correlation=7):
    """The head of a request, of version 1, or of 2 with these tags."""
    name = struct.pack(">h", -1 if client is None else len(client)) + (client or b"")
    return struct.pack(">hhi", key, version, correlation) + name + (b"" if tags is None else tags)


ASKED = APIS["ApiVersions"].body(3, dict(ClientSoftwareName="name", ClientSoftwareVersion="1.0"))
# Frames as bytes: heads that are odd, APIs that are not for clients, versions that there are not.
FRAMES = {
    "an API that does not exist": head(4711, 0) + bytes(8),
    "an API key below zero": head(-1, 0) + bytes(8),
    "an API of controllers": head(52, 0, tags=b"\0") + bytes(8),
    "a version that does not exist yet": head(3, 99, tags=b"\0") + bytes(8),
    "a version below zero": head(3, -1) + bytes(8),
    "the least version": head(3, -32768) + bytes(8),
    "a version of ApiVersions that does not exist yet": head(18, 99, tags=b"\0") + ASKED,
    "the greatest version of ApiVersions": head(18, 32767, tags=b"\0"),
    "a version of ApiVersions below zero": head(18, -1),
    "ApiVersions without a client id": head(18, 0, client=None),
    "ApiVersions with an empty client id": head(18, 0, client=b""),
    "ApiVersions and stray bytes": head(18, 0) + b"stray",
    "ApiVersions with a tag that is not known": head(18, 3, tags=b"\1\x63\2ab") + ASKED,
    "ApiVersions with a tag that is cut": head(18, 3, tags=b"\1\x63\x7fab"),
    "ApiVersions with a client id that is not text": head(18, 0, client=b"\xff\xfe"),
    "a client id that is longer than the frame": struct.pack(">hhih", 18, 0, 7, 99) + b"short",
    "a client id of a length below -1": struct.pack(">hhih", 18, 0, 7, -5),
    "a head that is cut": struct.pack(">hh", 18, 0),
    "one byte": b"\0",
    "no bytes": b"",
    "a list that is longer than the frame": head(3, 4) + struct.pack(">i", 1_000_000),
    "a list of a length below -1": head(3, 4) + struct.pack(">i", -5) + b"\0",
    "a text of a length below -1": head(3, 4) + struct.pack(">ih", 1, -5) + b"\0",
    "a text that is null where that may not be": head(3, 4) + struct.pack(">ih", 1, -1) + b"\0",
    "a truth value of 2": head(3, 4) + struct.pack(">ib", 0, 2),
}


def play_frames(play):
    """What each odd frame gets: correlation id and error code, or a closed connection."""
    found = []
    for what, raw in FRAMES.items():
        told = play.exchange(raw)
        found.append((what, [told if isinstance(told, str) else f"an answer: {told[:6].hex()}"]))
    return found


def is_wanted(title, only):
    """Does a table have one of the words, which stand with commas between?"""
    return not only or any(word in title for word in only.split(","))


def play_all(port, only, within=None):
    """All tables whose name has the word, each with its answers; and which versions the server has of which API."""
    play = Player(port)
    for kind, key in enumerate(("g", "x")):
        play.insist("FindCoordinator", lambda it: it["ErrorCode"], 3, Key=f"warm-{key}", KeyType=kind)
    play.transaction("warm-x")
    play.topic("warm-t")
    play.group("warm-g", "warm-t")
    found = {}
    if is_wanted("table of heads", only):
        found["table of heads"] = play_frames(play)
    for name in BASES:
        title, key = f"table of {name}", APIS[name].key
        theirs = within.get(key, ()) if within else range(64)
        versions = [it for it in range(64) if it in play.served.get(key, ()) and it in theirs and it in APIS[name].request.versions]
        if versions and is_wanted(title, only):
            found[title] = play_api(play, name, versions)
    return found, play.served


def alike(theirs, ours):
    """Are two answers alike? Texts of our own stand where Apache's are no default texts."""
    return theirs == [it.replace('"<default text>"', '"<words>"') if it != other else it for it, other in zip(ours, theirs)] and len(theirs) == len(ours)


def accepted():
    """The accepted differences: a table, and a regular expression for what was asked."""
    lines = [line for line in ACCEPTED.read_text().splitlines() if line and not line.startswith("#")]
    return [tuple(field.strip() for field in line.split("|", 1)) for line in lines]


def compare(apache, ottla, table, only):
    """Adds one row for each table to the report."""
    known, used = accepted(), set()
    for name, theirs in apache.items():
        ours, new, count = dict(ottla.get(name, ())), [], 0
        for what, lines in theirs:
            other = ours.get(what, ["was not asked"])
            if alike(lines, other):
                continue
            known_as = [it for it in known if it[0] == name.removeprefix("table of ") and re.fullmatch(it[1], what)]
            used.update(known_as)
            count += bool(known_as)
            if not known_as:
                new.append("\n".join((what, "  apache " + " || ".join(lines), "  ottla  " + " || ".join(other))))
        text = f"{name}: {len(theirs)} answers alike" + (f", but for {count} that are accepted" if count else "")
        table.add("ottla", "raw", "failed" if new else "ok", name if new else text, "\n".join(new))
    if not only:
        for gone in sorted(set(known) - used):
            table.add("ottla", "raw", "failed", "an accepted difference is no longer needed", " | ".join(gone))
