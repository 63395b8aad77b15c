"""librdkafka through confluent-kafka."""

import functools
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from confluent_kafka import (
    OFFSET_BEGINNING, TIMESTAMP_CREATE_TIME, Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions,
    IsolationLevel, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType)

from checks import (
    BOOTSTRAP, CLIENT, CODECS, check, compare, main, same, say, shortened, stop_asked, until, words, words_topic)

QUIET = {"bootstrap.servers": BOOTSTRAP, "log_level": 2}


def producer(**settings):
    return Producer({**QUIET, "linger.ms": 5, **{k.replace("_", "."): v for k, v in settings.items()}})


def consumer(group, **settings):
    return Consumer({
        **QUIET, "group.id": group, "group.protocol": "classic", "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
        "topic.metadata.refresh.interval.ms": 2000,
        **{k.replace("_", "."): v for k, v in settings.items()}})


@functools.cache
def admin():
    """The one admin client: its futures fail once it is collected."""
    return AdminClient(QUIET)


def send(topic, rows, **settings):
    """Produces (key, value, headers, milliseconds) rows and returns the delivered offsets; raises the first error."""
    sender, offsets, errors = producer(**settings), [], []

    def delivered(error, message):
        if error:
            errors.append(error)
        else:
            offsets.append(message.offset())

    for key, value, *more in rows:
        headers = more[0] if more else []
        stamp = more[1] if len(more) > 1 else 0
        sender.produce(topic, value, key, headers=headers or None, timestamp=stamp, on_delivery=delivered)
        sender.poll(0)
    left = sender.flush(60)
    same(left, 0, "undelivered")
    if errors:
        raise KafkaException(errors[0])
    return offsets


def take(reader, count, seconds=60):
    """Reads so many records."""
    found, end = [], time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < end, f"only {len(found)} of {count} records came within {seconds} s"
        message = reader.poll(0.2)
        if message is None:
            continue
        if message.error():
            if message.error().retriable() or message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise KafkaException(message.error())
        found.append(message)
    return found


def plain(message):
    return message.key(), message.value(), message.headers() or []


def read_from(topic, offset, count, partition=0):
    reader = consumer("unused-" + CLIENT)
    reader.assign([TopicPartition(topic, partition, offset)])
    try:
        return take(reader, count)
    finally:
        reader.close()


def write():
    for codec in CODECS:
        with check(f"write {codec}"):
            rows = words()
            offsets = send(words_topic(CLIENT, codec), rows, compression_type=codec, acks="all")
            same(offsets, list(range(len(rows))), "offsets")


def read(*writers):
    for writer in writers:
        with check(f"read what {writer} wrote"):
            for codec in CODECS:
                topic = words_topic(writer, codec)
                found = read_from(topic, OFFSET_BEGINNING, len(words()))
                try:
                    compare([plain(m) for m in found], words())
                except AssertionError as error:
                    raise AssertionError(f"{codec}: {error}") from None


def seek():
    topic, base = f"{CLIENT}-seek", 1_700_000_000_000
    new_topic(topic)
    for start in (0, 3):
        send(topic, [(None, str(n).encode(), [], base + n * 1000) for n in range(start, start + 3)])
    reader = consumer(f"{CLIENT}-seek")

    def at(stamp):
        found, = reader.offsets_for_times([TopicPartition(topic, 0, stamp)], timeout=30)
        assert not found.error, found.error
        return found.offset

    with check("offset by time"):
        for stamp, offset in ((0, 0), (base, 0), (base + 1, 1), (base + 2000, 2), (base + 2999, 3), (base + 5000, 5)):
            same(at(stamp), offset, f"offset for {stamp}")
        assert at(base + 5001) in (-1, 6), "after the last record"
    with check("read from a time"):
        first, = read_from(topic, at(base + 3500), 1)
        same((first.offset(), first.timestamp()), (4, (TIMESTAMP_CREATE_TIME, base + 4000)))
    with check("earliest and latest offset"):
        same(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=30), (0, 6))
    with check("auto.offset.reset latest"):
        late, joined = consumer(f"{CLIENT}-late", auto_offset_reset="latest"), []
        late.subscribe([topic], on_assign=lambda c, parts: joined.extend(parts))
        until("assignment", lambda: late.poll(0.1) or joined)
        # The position is looked up after the assignment; write until something arrives.
        got = until("a new record", lambda: (send(topic, [(None, b"new")]), late.poll(0.5))[1])
        same(got.value(), b"new")
        late.close()
    with check("offset out of range resets to earliest"):
        got, = read_from(topic, 1_000_000, 1)
        same(got.offset(), 0)
    reader.close()


def result(futures):
    """The results of a dictionary of futures; an exception stands for itself."""
    found = {}
    for key, future in futures.items():
        try:
            found[key] = future.result(60)
        except KafkaException as error:
            found[key] = error.args[0].name()
    return found


def new_topic(name, partitions=1, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    same(result(admin().create_topics([NewTopic(name, partitions, 1, config=config)])), {name: None})
    until(f"topic {name}", lambda: len(led(name)) == partitions)


def led(name):
    return [p for p in admin().list_topics(name, 30).topics[name].partitions.values() if p.error is None and p.leader >= 0]


def config_of(topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return admin().describe_configs([resource])[resource].result(60)


def alter(topic, *changes):
    entries = [ConfigEntry(name, value, incremental_operation=operation) for name, value, operation in changes]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    return result(admin().incremental_alter_configs([resource]))[resource]


def admin_topics():
    topic = f"{CLIENT}-admin"
    with check("create: some valid, some not, each its own answer"):
        wanted = [NewTopic(topic, 2, 1), NewTopic("bad/name", 1, 1), NewTopic(f"{topic}-none", 0, 1),
                  NewTopic(f"{topic}-many", 1, 5), NewTopic(f"{topic}-cfg", 1, 1, config={"no.such.config": "1"}),
                  NewTopic(f"{topic}-val", 1, 1, config={"retention.ms": "soon"}), NewTopic(f"{topic}-two", 1, 1)]
        same(result(admin().create_topics(wanted)), {
            topic: None, "bad/name": "TOPIC_EXCEPTION", f"{topic}-none": "INVALID_PARTITIONS",
            f"{topic}-many": "INVALID_REPLICATION_FACTOR", f"{topic}-cfg": "INVALID_CONFIG",
            f"{topic}-val": "INVALID_CONFIG", f"{topic}-two": None})
    with check("create again: TOPIC_ALREADY_EXISTS"):
        same(result(admin().create_topics([NewTopic(topic, 2, 1)])), {topic: "TOPIC_ALREADY_EXISTS"})
    with check("validate only creates nothing"):
        same(result(admin().create_topics([NewTopic(f"{topic}-dry", 1, 1)], validate_only=True)), {f"{topic}-dry": None})
        assert f"{topic}-dry" not in admin().list_topics(timeout=30).topics
    with check("create with a replica assignment"):
        node = next(iter(admin().list_topics(timeout=30).brokers))
        name = f"{topic}-placed"
        same(result(admin().create_topics([NewTopic(name, 3, replica_assignment=[[node]] * 3)])), {name: None})
        until("3 partitions", lambda: len(led(name)) == 3)
    with check("describe topics"):
        found = result(admin().describe_topics(TopicCollection([topic, f"{topic}-absent"])))
        same(found[f"{topic}-absent"], "UNKNOWN_TOPIC_OR_PART")
        one = found[topic]
        same((one.name, one.is_internal, [p.id for p in one.partitions]), (topic, False, [0, 1]))
        same([[len(p.replicas), len(p.isr), p.leader is not None] for p in one.partitions], [[1, 1, True]] * 2)
        assert str(one.topic_id) not in ("", "AAAAAAAAAAAAAAAAAAAAAA"), "no topic id"
    with check("create partitions: one answer per topic"):
        same(result(admin().create_partitions([
            NewPartitions(topic, 4), NewPartitions(f"{topic}-two", 1), NewPartitions(f"{topic}-absent", 3)])), {
            topic: None, f"{topic}-two": "INVALID_PARTITIONS", f"{topic}-absent": "UNKNOWN_TOPIC_OR_PART"})
        until("4 partitions", lambda: len(led(topic)) == 4)
    with check("delete topics: one answer per topic"):
        same(result(admin().delete_topics([f"{topic}-two", f"{topic}-absent"])), {
            f"{topic}-two": None, f"{topic}-absent": "UNKNOWN_TOPIC_OR_PART"})
        until("the topic is gone", lambda: f"{topic}-two" not in admin().list_topics(timeout=30).topics)
    with check("a deleted topic may be created again, empty"):
        send(f"{topic}-again", [(None, b"old")])
        same(result(admin().delete_topics([f"{topic}-again"])), {f"{topic}-again": None})
        until("the topic is gone", lambda: f"{topic}-again" not in admin().list_topics(timeout=30).topics)
        new_topic(f"{topic}-again")
        same(send(f"{topic}-again", [(None, b"new")]), [0])


def admin_configs():
    topic = f"{CLIENT}-config"
    new_topic(topic, retention_ms="3600000")
    with check("describe a topic's configs: all, with their source"):
        found = config_of(topic)
        missing = TOPIC_CONFIGS - set(found)
        assert not missing, f"missing {sorted(missing)}"
        same((found["retention.ms"].value, found["retention.ms"].is_default), ("3600000", False), "retention.ms")
        same((found["cleanup.policy"].value, found["cleanup.policy"].is_default), ("delete", True), "cleanup.policy")
        defaults = {name: entry.value for name, entry in found.items() if entry.is_default}
        wrong = {name: (defaults.get(name), value) for name, value in TOPIC_DEFAULTS.items() if defaults.get(name) != value}
        assert not wrong, f"seen and wanted defaults: {wrong}"
    with check("describe the broker's configs"):
        node = next(iter(admin().list_topics(timeout=30).brokers))
        resource = ConfigResource(ResourceType.BROKER, str(node))
        found = admin().describe_configs([resource])[resource].result(60)
        assert len(found) > 150, f"only {len(found)} configs"
        same(found["auto.create.topics.enable"].value, "true")
        same((found["node.id"].value, found["node.id"].is_read_only), (str(node), True), "node.id")
    with check("incremental alter: set, append, subtract, delete"):
        same(alter(topic, ("cleanup.policy", "compact", AlterConfigOpType.APPEND)), None)
        until("append", lambda: config_of(topic)["cleanup.policy"].value == "delete,compact")
        same(alter(topic, ("cleanup.policy", "delete", AlterConfigOpType.SUBTRACT),
                   ("max.message.bytes", "5000", AlterConfigOpType.SET)), None)
        until("subtract", lambda: config_of(topic)["cleanup.policy"].value == "compact")
        same(config_of(topic)["max.message.bytes"].value, "5000")
        same(alter(topic, ("cleanup.policy", None, AlterConfigOpType.DELETE),
                   ("max.message.bytes", None, AlterConfigOpType.DELETE)), None)
        until("delete", lambda: config_of(topic)["cleanup.policy"].is_default)
        same(config_of(topic)["max.message.bytes"].value, "1048588")
    with check("incremental alter: a bad value is refused"):
        same(alter(topic, ("retention.ms", "soon", AlterConfigOpType.SET)), "INVALID_CONFIG")
        same(alter(topic, ("no.such.config", "1", AlterConfigOpType.SET)), "INVALID_CONFIG")
        same(alter(topic, ("retention.ms", "1", AlterConfigOpType.APPEND)), "INVALID_CONFIG")
        same(alter(f"{topic}-absent", ("retention.ms", "1", AlterConfigOpType.SET)), "UNKNOWN_TOPIC_OR_PART")
        same(config_of(topic)["retention.ms"].value, "3600000")
    with check("max.message.bytes takes effect at once: MESSAGE_TOO_LARGE"):
        same(alter(topic, ("max.message.bytes", "2000", AlterConfigOpType.SET)), None)
        until("refusal", lambda: refused(topic, b"x" * 3000) == "MSG_SIZE_TOO_LARGE", 20)
        same(refused(topic, b"x" * 1000), None)


def admin_records():
    topic = f"{CLIENT}-records"
    new_topic(topic)
    send(topic, [(None, str(n).encode(), [], 1_700_000_000_000 + (n * 7 % 10)) for n in range(10)], linger_ms=200)
    part = TopicPartition(topic, 0)
    with check("list offsets: earliest, latest, by time, max timestamp"):
        def listed(spec):
            found = admin().list_offsets({part: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)[part].result(60)
            return found.offset, found.timestamp

        same(listed(OffsetSpec.earliest())[0], 0, "earliest")
        same(listed(OffsetSpec.latest())[0], 10, "latest")
        same(listed(OffsetSpec.for_timestamp(1_700_000_000_009)), (7, 1_700_000_000_009), "by time")
        same(listed(OffsetSpec.max_timestamp()), (7, 1_700_000_000_009), "max timestamp")
    with check("delete records moves the log start"):
        found = result(admin().delete_records([TopicPartition(topic, 0, 4)]))
        same(found[part].low_watermark, 4)
        reader = consumer("unused")
        same(reader.get_watermark_offsets(part, timeout=30), (4, 10))
        reader.close()
        same(read_from(topic, OFFSET_BEGINNING, 1)[0].offset(), 4)
        same(result(admin().delete_records([TopicPartition(topic, 0, 11)])), {TopicPartition(topic, 0): "OFFSET_OUT_OF_RANGE"})
    with check("describe cluster"):
        found = admin().describe_cluster().result(60)
        same(len(found.nodes), 1, "nodes")
        same(f"{found.nodes[0].host}:{found.nodes[0].port}", BOOTSTRAP)
        assert found.controller is not None and found.cluster_id, found


def admin_groups():
    topic, group = f"{CLIENT}-groups", f"{CLIENT}-admin-group"
    new_topic(topic)
    send(topic, [(None, str(n).encode()) for n in range(5)])
    reader = consumer(group)
    reader.subscribe([topic])
    take(reader, 3)
    with check("commit with metadata comes back"):
        note = f"note {CLIENT} ü"
        reader.commit(offsets=[TopicPartition(topic, 0, 3, note)], asynchronous=False)
        back, = reader.committed([TopicPartition(topic, 0)], timeout=30)
        same((back.offset, back.metadata), (3, note))
        listed = result(admin().list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))[group]
        same([(p.topic, p.partition, p.offset, p.metadata) for p in listed.topic_partitions], [(topic, 0, 3, note)])
    with check("list and describe groups"):
        listed = admin().list_consumer_groups().result(60)
        mine, = [g for g in listed.valid if g.group_id == group]
        same((mine.state, mine.is_simple_consumer_group), (ConsumerGroupState.STABLE, False))
        found = result(admin().describe_consumer_groups([group]))[group]
        same((found.state, found.partition_assignor, len(found.members)), (ConsumerGroupState.STABLE, "range", 1))
        member = found.members[0]
        same([(p.topic, p.partition) for p in member.assignment.topic_partitions], [(topic, 0)])
        same((member.client_id, member.host.strip("/")), ("rdkafka", "127.0.0.1"))
    with check("delete groups: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, done"):
        same(result(admin().delete_consumer_groups([group])), {group: "NON_EMPTY_GROUP"})
        reader.close()
        until("empty", lambda: result(admin().describe_consumer_groups([group]))[group].state == ConsumerGroupState.EMPTY)
        changed = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 1)])
        result(admin().alter_consumer_group_offsets([changed]))
        reader = consumer(group)
        same(reader.committed([TopicPartition(topic, 0)], timeout=30)[0].offset, 1, "altered offset")
        reader.close()
        same(result(admin().delete_consumer_groups([group])), {group: None})
        same(result(admin().delete_consumer_groups([f"{group}-absent"])), {f"{group}-absent": "GROUP_ID_NOT_FOUND"})
        assert group not in [g.group_id for g in admin().list_consumer_groups().result(60).valid]


def refused(topic, value, key=None, **settings):
    """The name of the error that the delivery of one record gets, or None."""
    try:
        send(topic, [(key, value)], **settings)
        return None
    except KafkaException as error:
        return error.args[0].name()


def errors():
    with check("keyless record to a compacted topic: INVALID_RECORD"):
        topic = f"{CLIENT}-compacted"
        new_topic(topic, cleanup_policy="compact")
        same(refused(topic, b"v"), "INVALID_RECORD")
        same(refused(topic, b"v", key=b"k"), None)
    with check("record larger than max.message.bytes: MESSAGE_TOO_LARGE"):
        topic = f"{CLIENT}-large"
        new_topic(topic)
        same(refused(topic, b"x" * 1_100_000, message_max_bytes=3_000_000), "MSG_SIZE_TOO_LARGE")
        same(refused(topic, b"x" * 1_000_000, message_max_bytes=3_000_000), None)
        same(len(read_from(topic, 0, 1)[0].value()), 1_000_000)
    with check("unknown partition"):
        sender, seen = producer(), []
        sender.produce(f"{CLIENT}-large", b"v", partition=9, on_delivery=lambda e, m: seen.append(e and e.name()))
        sender.flush(30)
        same(seen, ["_UNKNOWN_PARTITION"])
    with check("unknown topic is an error for a consumer that may not create it"):
        reader = consumer(f"{CLIENT}-nowhere")
        reader.subscribe([f"{CLIENT}-nowhere"])
        event = until("an answer", lambda: reader.poll(0.5))
        same(event.error() and event.error().name(), "UNKNOWN_TOPIC_OR_PART")
        reader.close()
    with check("invalid topic name"):
        event = refused("no/slash", b"v")
        same(event, "TOPIC_EXCEPTION")


def idempotent():
    for codec in ("none", "lz4"):
        with check(f"idempotent producer, {codec}"):
            topic = f"{CLIENT}-idempotent-{codec}"
            new_topic(topic)
            rows = [(str(n).encode(), b"v%d" % n) for n in range(3000)]
            offsets = send(topic, rows, enable_idempotence=True, compression_type=codec, batch_num_messages=50)
            same(offsets, list(range(3000)), "offsets")
            same([(m.key(), m.value()) for m in read_from(topic, 0, 3000)], rows, "records")
    with check("acks 0 and 1"):
        topic = f"{CLIENT}-acks"
        new_topic(topic)
        send(topic, [(None, b"zero")], acks="0")
        send(topic, [(None, b"one")], acks="1")
        same(sorted(m.value() for m in read_from(topic, 0, 2)), [b"one", b"zero"])
    with check("log append time"):
        topic, before = f"{CLIENT}-appendtime", int(time.time() * 1000)
        new_topic(topic, message_timestamp_type="LogAppendTime")
        send(topic, [(None, b"v", [], 1000)])
        kind, stamp = read_from(topic, 0, 1)[0].timestamp()
        assert kind == 2 and before - 1000 <= stamp <= before + 120_000, (kind, stamp)


def resume(group, topic, first, count, note):
    with check(f"continues at the committed offset {note}"):
        first, count = int(first), int(count)
        reader = consumer(group)
        reader.subscribe([topic])
        found = [m.offset() for m in take(reader, count)]
        same(found, list(range(first, first + count)), "offsets")
        reader.commit(offsets=[TopicPartition(topic, 0, first + count)], asynchronous=False)
        same(reader.committed([TopicPartition(topic, 0)], timeout=30)[0].offset, first + count, "committed")
        reader.close()


def member(group, topic, instance="-", *_):
    settings = {} if instance == "-" else {"group_instance_id": instance}
    reader, stop = consumer(group, enable_auto_commit=True, auto_commit_interval_ms=200, **settings), stop_asked()
    reader.subscribe(
        [topic],
        on_assign=lambda c, parts: say("assigned", ",".join(str(p.partition) for p in parts)),
        on_revoke=lambda c, parts: say("revoked", ",".join(str(p.partition) for p in parts)),
        on_lost=lambda c, parts: say("revoked", ",".join(str(p.partition) for p in parts)))
    while not stop.is_set():
        message = reader.poll(0.1)
        if message is not None and not message.error():
            say("record", message.partition(), message.offset())
    reader.close()


def transactions(*_):
    topic = f"{CLIENT}-txn"
    with check("transactions: committed records are read, aborted ones are not, offsets go with them"):
        new_topic(topic, partitions=2)
        new_topic(f"{topic}-in")
        send(f"{topic}-in", [(b"k", b"%d" % n) for n in range(4)])
        reader = consumer(f"{topic}-copier")
        reader.subscribe([f"{topic}-in"])
        sender = producer(transactional_id=topic)
        sender.init_transactions(60)
        for round, commits in enumerate((True, False, True)):
            sender.begin_transaction()
            for n in range(6):
                sender.produce(topic, b"%d-%d" % (round, n), partition=n % 2)
            sender.flush(30)
            if commits:
                take(reader, 1)
                sender.send_offsets_to_transaction(
                    reader.position(reader.assignment()), reader.consumer_group_metadata(), 60)
                sender.commit_transaction(60)
            else:
                sender.abort_transaction(60)
        seen = consumer(f"{topic}-seen", isolation_level="read_committed")
        seen.subscribe([topic])
        found = sorted(message.value() for message in take(seen, 12))
        same(found, sorted(b"%d-%d" % (round, n) for round in (0, 2) for n in range(6)))
        dirty = consumer(f"{topic}-dirty", isolation_level="read_uncommitted")
        dirty.subscribe([topic])
        take(dirty, 18)
        same([place.offset for place in reader.committed(reader.assignment(), 30)], [2])
        for one in (reader, seen, dirty):
            one.close()
    with check("transactions: a second producer of the same name fences the first"):
        first, second = producer(transactional_id=f"{topic}-fence"), producer(transactional_id=f"{topic}-fence")
        first.init_transactions(60)
        first.begin_transaction()
        first.produce(topic, b"never", partition=0)
        first.flush(30)
        second.init_transactions(60)
        second.begin_transaction()
        second.produce(topic, b"second", partition=0)
        second.commit_transaction(60)
        try:
            first.commit_transaction(60)
            raise AssertionError("the first producer has committed")
        except KafkaException as error:
            assert error.args[0].fatal(), error


def modern_groups(*_):
    topic, group = f"{CLIENT}-modern", f"{CLIENT}-modern"
    with check("group.protocol=consumer: two members share, one leaves, offsets go on"):
        new_topic(topic, partitions=6)
        send(topic, [(b"%d" % n, b"%d" % n) for n in range(120)])
        one, two = modern(group), modern(group)
        one.subscribe([topic])
        take(one, 120)
        one.commit(asynchronous=False)
        two.subscribe([topic])
        shares = lambda: [sorted(p.partition for p in each.assignment()) for each in (one, two)]
        until("both have three", lambda: (one.poll(0.05), two.poll(0.05), [len(it) for it in shares()] == [3, 3])[2])
        same(sorted(sum(shares(), [])), list(range(6)))
        told = result(admin().describe_consumer_groups([group]))[group]
        same((told.state.name, len(told.members), told.partition_assignor), ("STABLE", 2, "uniform"))
        two.close()
        until("one has all", lambda: (one.poll(0.05), len(one.assignment()) == 6)[1])
        send(topic, [(b"more", b"more")])
        same([message.value() for message in take(one, 1)], [b"more"])
        one.close()
    with check("group.protocol=consumer: a pattern that the coordinator resolves"):
        reader = Consumer({**QUIET, "group.id": f"{group}-regex", "group.protocol": "consumer", "auto.offset.reset": "earliest"})
        reader.subscribe([f"^{topic}.*"])
        take(reader, 121)
        new_topic(f"{topic}-later")
        send(f"{topic}-later", [(b"k", b"later")])
        same([message.value() for message in take(reader, 1)], [b"later"])
        reader.close()


def migration(*_):
    """A group goes from the classic protocol to the new one and back, member by member, while it reads."""
    for strategy in ("range", "cooperative-sticky"):
        topic = group = f"{CLIENT}-migration-{strategy}"
        with check(f"a group of {strategy} members goes to group.protocol=consumer and back without a pause"):
            new_topic(topic, partitions=6)
            old = lambda: consumer(group, partition_assignment_strategy=strategy)
            members, sent, seen = [old(), old()], 0, []
            for one in members:
                one.subscribe([topic])

            def turn():
                for one in members:
                    message = one.poll(0.02)
                    if message is not None and message.error() is None:
                        seen.append(message.value())
                        one.commit(message, asynchronous=False)

            def settled():
                turn()
                shares = [{p.partition for p in one.assignment()} for one in members]
                return sorted(sum(map(list, shares), [])) == list(range(6)) and all(shares)

            def some_more():
                nonlocal sent
                send(topic, [(b"%d" % n, b"%d" % n) for n in range(sent, sent + 30)])
                sent += 30
                until("all has been read", lambda: (turn(), len(set(seen)) >= sent)[1])

            def kind():
                listed = admin().list_consumer_groups().result()
                return next(it.type.name for it in listed.valid if it.group_id == group)

            until("two classic members share", settled)
            some_more()
            same(kind(), "CLASSIC")
            for _ in range(2):
                members.append(modern(group))
                members[-1].subscribe([topic])
                until("three share", settled)
                some_more()
                same(kind(), "CONSUMER")
                members.pop(0).close()
                until("two share", settled)
            told = result(admin().describe_consumer_groups([group]))[group]
            same((told.state.name, len(told.members)), ("STABLE", 2))
            for _ in range(2):
                members.append(old())
                members[-1].subscribe([topic])
                until("three share again", settled)
                some_more()
                members.pop(0).close()
                until("two share again", settled)
            until("it is a classic group again", lambda: (turn(), kind() == "CLASSIC")[1])
            some_more()
            same(sorted(seen, key=int), [b"%d" % n for n in range(sent)])
            for one in members:
                one.close()


def modern(group):
    return Consumer({
        **QUIET, "group.id": group, "group.protocol": "consumer", "auto.offset.reset": "earliest", "enable.auto.commit": False})


def begin(topic, *_):
    """Leaves a server with a transaction that is committed, offsets in it, and one that is open."""
    with check("a transaction is committed with a group's offsets, another is left open"):
        new_topic(topic)
        new_topic(f"{topic}-in")
        send(f"{topic}-in", [(b"k", b"%d" % n) for n in range(9)])
        sender = producer(transactional_id=topic, transaction_timeout_ms=900000)
        sender.init_transactions(60)
        one_more(sender, topic, 0)
        leave_open(sender, topic)


def go_on(topic, round, *_):
    """On the other server: what was open is aborted, what was committed stands, and it goes on."""
    round = int(round)
    with check("transactions and offsets go on where the other server left them, what was open is aborted"):
        same(seen(topic, round), [b"%d" % n for n in range(round)])
        sender = producer(transactional_id=topic, transaction_timeout_ms=900000)
        sender.init_transactions(60)
        one_more(sender, topic, round)
        same(seen(topic, round + 1), [b"%d" % n for n in range(round + 1)])
        leave_open(sender, topic)


def one_more(sender, topic, round):
    reader = modern(f"{topic}-group")
    reader.subscribe([f"{topic}-in"])
    same([message.value() for message in take(reader, 1)], [b"%d" % round])
    sender.begin_transaction()
    sender.produce(topic, b"%d" % round)
    place = TopicPartition(f"{topic}-in", 0, round + 1)
    sender.send_offsets_to_transaction([place], reader.consumer_group_metadata(), 60)
    sender.commit_transaction(60)
    same(reader.committed([place], 30)[0].offset, round + 1)
    reader.close()


def leave_open(sender, topic):
    sender.begin_transaction()
    sender.produce(topic, b"never")
    same(sender.flush(30), 0)


def seen(topic, count):
    reader = consumer(f"{topic}-reader", isolation_level="read_committed")
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found = [message.value() for message in take(reader, count)]
    more = reader.poll(1)
    same(more and more.value(), None, "beyond what is committed")
    reader.close()
    return found


def slow(*_):
    with check("a member that does not poll in time leaves, and only once"):
        topic, group = f"{CLIENT}-slow", f"{CLIENT}-slow"
        new_topic(topic, partitions=2)
        lazy = consumer(group, max_poll_interval_ms=6000)
        eager, changes = consumer(group), []
        lazy.subscribe([topic])
        until("lazy member assigned", lambda: lazy.poll(0.1) or len(lazy.assignment()) == 2)
        eager.subscribe([topic], on_assign=lambda c, parts: changes.append(len(parts)))
        until("both assigned", lambda: (lazy.poll(0.05), eager.poll(0.05), len(eager.assignment()) == 1)[2])
        until("all partitions moved", lambda: (eager.poll(0.2), len(eager.assignment()) == 2)[1], 40)
        seen = list(changes)
        end = time.monotonic() + 3
        until("three quiet seconds", lambda: (eager.poll(0.1), time.monotonic() > end)[1])
        same(changes, seen, "assignments")
        event = until("the lazy member's answer", lambda: lazy.poll(0.1))
        same(event.error() and event.error().name(), "_MAX_POLL_EXCEEDED")
        eager.close()
        lazy.close()


def everything():
    for phase in (seek, admin_topics, admin_configs, admin_records, admin_groups, errors, idempotent, transactions, modern_groups, migration, slow):
        try:
            phase()
        except Exception as error:  # a phase that cannot even begin is one failed check
            say("failed", phase.__name__.replace("_", " "), f"{type(error).__name__}: {shortened(error)}")


TOPIC_DEFAULTS = {
    "segment.bytes": "1073741824", "retention.bytes": "-1", "max.message.bytes": "1048588", "flush.ms": "9223372036854775807",
    "index.interval.bytes": "4096", "segment.index.bytes": "10485760", "delete.retention.ms": "86400000",
    "min.cleanable.dirty.ratio": "0.5", "compression.type": "producer", "message.timestamp.type": "CreateTime",
    "unclean.leader.election.enable": "false", "preallocate": "false", "segment.ms": "604800000",
    "file.delete.delay.ms": "60000", "min.compaction.lag.ms": "0", "message.timestamp.after.max.ms": "3600000"}
TOPIC_CONFIGS = set(TOPIC_DEFAULTS) | {
    "cleanup.policy", "retention.ms", "min.insync.replicas", "segment.jitter.ms", "flush.messages", "max.compaction.lag.ms",
    "compression.gzip.level", "compression.lz4.level", "compression.zstd.level", "message.timestamp.before.max.ms",
    "leader.replication.throttled.replicas", "follower.replication.throttled.replicas", "remote.storage.enable",
    "local.retention.ms", "local.retention.bytes", "remote.log.copy.disable", "remote.log.delete.on.disable"}

if __name__ == "__main__":
    main({"begin": begin, "go-on": go_on, "write": write, "read": read, "rest": everything, "resume": resume, "member": member})
