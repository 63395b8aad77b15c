"""Random requests for `differential`: every API that both servers serve, every version, values that are likely to matter.

Names come from a small pool, so that requests meet what earlier ones made; a topic id is a token that each server's own id
stands in for when the request is sent. Everything follows from the seed.
"""

import random

from kit import wire

PRODUCE, CREATE_TOPICS, DELETE_TOPICS = 0, 19, 20
CONFIG_APIS, UPDATE_FEATURES = (19, 32, 33, 44), 57


class TopicId(str):
    """Stands for the id that each server gave to the topic of this name; `zero` and `unknown` are no topic's."""


# What a number is drawn from, by the end of the field's name; the first that fits counts.
NUMBERS = [
    (("SessionTimeoutMs",), (6000, 6000, 30000, 1)), (("TimeoutMs", "timeoutMs"), (1000, 2000)), (("MaxWaitMs",), (0, 50)),
    (("MaxBytes",), (1 << 20, 1 << 20, 0, 1, -1)), (("PartitionIndex", "Partition", "Index"), (0, 0, 0, 1, 2, 5, -1)),
    (("Partitions", "PartitionIndexes"), (0, 0, 1, 2, 5, -1)), (("Count", "NumPartitions"), (1, 2, 3, 4, 0, -1, -2)),
    (("ReplicationFactor",), (1, 1, -1, 0, 2)), (("BrokerIds", "Replicas"), (1, 1, 1, 2, -1)),
    (("ProducerId",), (-1, 0, 1, 5, 1000)), (("Epoch", "GenerationId"), (-1, 0, 0, 1, 100)), (("Offset",), (0, 0, 1, 5, -1, -2, 100)),
    (("Timestamp",), (-1, -2, -3, -4, -5, 0, -7)), (("BrokerId", "ReplicaId"), (-1, -1, 1, 2, -2)),
    (("ResourceType", "ResourceTypeFilter"), (0, 1, 2, 2, 3, 4, 8, 16, 32, 99)), (("ConfigOperation",), (0, 0, 1, 2, 3, 9)),
]
OTHER_NUMBERS = (0, 0, 1, 1, 2, 3, -1)
SETTINGS = ("retention.ms", "cleanup.policy", "max.message.bytes", "no.such.setting", "log.cleaner.threads", "min.insync.replicas",
            "", "segment.bytes", "consumer.session.timeout.ms", "metrics", "interval.ms", "log.retention.ms")
VALUES = ("1", "100000", "compact", "delete", "x", "", "compact,delete", " 5 ", "-1", "org.apache", "60000")


class Requests:
    """Draws requests; `tag` makes the names of one run its own."""

    def __init__(self, seed, messages):
        self.random, self.messages = random.Random(seed), messages
        self.tag = f"d{seed}"
        self.topics = [f"{self.tag}-topic-{index}" for index in range(4)]
        self.groups = [f"{self.tag}-group-{index}" for index in range(3)]
        self.transactions = [f"{self.tag}-txn-{index}" for index in range(2)]

    def draw(self, key, version):
        """The fields of one request."""
        message = self.messages[key, "request"]
        self.key, self.version, self.flexible = key, version, version in message.flexible
        values = self.fields(message.fields)
        if key == PRODUCE and values["Acks"] == 0:
            values["Acks"] = self.random.choice((-1, 1, 2))
        return values

    def fields(self, fields):
        values = {}
        for field in fields:
            is_tagged = field.tag is not None and self.flexible
            if self.version in field.versions and not (is_tagged and self.random.random() < 0.7):
                values[field.name] = self.value(field)
        return values

    def value(self, field):
        chance, choose, kind = self.random.random(), self.random.choice, field.type
        if self.version in field.null and chance < 0.2:
            return None
        if field.is_array:
            values = [self.value(field.element) for _ in range(choose((0, 1, 1, 1, 2, 2, 3)))]
            # The same thing twice in one request.
            values = values + values[:1] if self.random.random() < 0.2 else values
            return self.one_each(values) if field.name == "Transactions" else values
        if kind[0].isupper():
            return self.fields(field.fields)
        if kind == "bool":
            return chance < 0.5
        if kind == "float64":
            return choose((0.0, 1.0, -1.0, 1.5, 1e9))
        if kind == "uuid":
            return TopicId(choose((*self.topics, "zero", "unknown")))
        if kind == "string":
            return self.text(field.name)
        if kind == "records":
            whole = wire.batch([(b"key", b"value")] * choose((1, 2)))
            return choose((whole, whole, whole, b"", whole[:-2]))
        if kind == "bytes":
            return choose((b"", b"\x00\x01", b"abc"))
        for ends, numbers in NUMBERS:
            if field.name.endswith(ends):
                return self.bounded(kind, choose(numbers))
        return self.bounded(kind, choose(OTHER_NUMBERS))

    @staticmethod
    def one_each(transactions):
        """What Apache Kafka answers to one transactional id twice is mixed up (docs/differences.md)."""
        return list({it["TransactionalId"]: it for it in transactions}.values())

    @staticmethod
    def bounded(kind, number):
        return max(number, 0) if kind.startswith("uint") else number

    def text(self, name):
        choose = self.random.choice
        if "Topic" in name or (name == "Name" and self.key not in (*CONFIG_APIS, UPDATE_FEATURES)) or (name == "Name" and self.is_topic_name()):
            return choose((*self.topics, *self.topics, "", "two words", ".", "__consumer_offsets", "x" * 250))
        if "Group" in name:
            return choose((*self.groups, ""))
        if "Transactional" in name:
            return choose((*self.transactions, ""))
        if name == "ResourceName":
            return choose((*self.topics, *self.groups, "1", "2", "", "subscription"))
        if name in ("Name", "ConfigurationKeys", "ConfigurationKey"):
            return choose(SETTINGS)
        if name == "Value":
            return choose(VALUES)
        if name == "EntityType":
            return choose(("user", "client-id", "ip", "planet", ""))
        if name in ("Key", "CoordinatorKeys"):
            return choose((*self.groups, *self.transactions, "", "producer_byte_rate", "connection_creation_rate"))
        if name == "ProtocolType":
            return choose(("consumer", "", "connect"))
        if name in ("Feature", "FeatureUpdates"):
            return choose(("group.version", "metadata.version", "kraft.version", "transaction.version", "no.such.feature", ""))
        if name == "Principal":
            return choose(("User:alice", "alice", ""))
        return choose(("", "a", "b", "range"))

    def is_topic_name(self):
        """CreateTopics has topics and settings, both called by `Name`."""
        return self.key == CREATE_TOPICS and self.random.random() < 0.5
