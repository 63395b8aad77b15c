"""kafka-python."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from checks import BOOTSTRAP, CLIENT, CODECS, check, compare, main, same, say, stop_asked, words, words_topic


def consumer(**settings):
    return KafkaConsumer(
        bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest", enable_auto_commit=False,
        session_timeout_ms=6000, heartbeat_interval_ms=500, metadata_max_age_ms=2000, **settings)


def take(reader, count, seconds=60):
    """Reads so many records."""
    found, end = [], time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < end, f"only {len(found)} of {count} records came within {seconds} s"
        for rows in reader.poll(timeout_ms=200, max_records=count - len(found)).values():
            found.extend(rows)
    return found


def plain(row):
    return row.key, row.value, [(name, value) for name, value in row.headers]


def read_from(topic, count):
    reader = consumer()
    place = TopicPartition(topic, 0)
    reader.assign([place])
    reader.seek_to_beginning(place)
    try:
        return take(reader, count)
    finally:
        reader.close()


def read(*writers):
    for writer in writers:
        with check(f"read what {writer} wrote"):
            for codec in CODECS:
                found = read_from(words_topic(writer, codec), len(words()))
                try:
                    compare([plain(row) for row in found], words())
                except AssertionError as error:
                    raise AssertionError(f"{codec}: {error}") from None


def rest():
    topic = f"{CLIENT}-rest"
    # It refuses to write a record with neither key nor value, and a header without a value.
    rows = [row for row in words() if row[:2] != (None, None) and all(value is not None for _, value in row[2])]
    for codec in CODECS:
        with check(f"write and read {codec}"):
            sender = KafkaProducer(
                bootstrap_servers=BOOTSTRAP, acks="all", compression_type=None if codec == "none" else codec, linger_ms=5)
            sent = [sender.send(f"{topic}-{codec}", key=key, value=value, headers=headers) for key, value, headers in rows]
            sender.flush(60)
            same([one.get(30).offset for one in sent], list(range(len(rows))), "offsets")
            sender.close()
            compare([plain(row) for row in read_from(f"{topic}-{codec}", len(rows))], rows)
    with check("offset by time, earliest and latest offset"):
        sender = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")
        for n in range(4):
            sender.send(topic, value=b"%d" % n, timestamp_ms=1_000_000 + n * 1000).get(30)
        sender.close()
        reader, place = consumer(), TopicPartition(topic, 0)
        found = reader.offsets_for_times({place: 1_001_500})[place]
        same((found.offset, found.timestamp), (2, 1_002_000))
        same((reader.beginning_offsets([place])[place], reader.end_offsets([place])[place]), (0, 4))
        reader.close()
    with check("idempotent producer"):
        sender = KafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True, acks="all")
        sent = [sender.send(f"{topic}-idem", value=b"%d" % n) for n in range(200)]
        sender.flush(60)
        same([one.get(30).offset for one in sent], list(range(200)), "offsets")
        sender.close()

    with check("transactions: committed records are read, aborted ones are not"):
        sender = KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=f"{topic}-txn", acks="all")
        sender.init_transactions()
        for round, commits in enumerate((True, False, True)):
            sender.begin_transaction()
            for n in range(3):
                sender.send(f"{topic}-txn", value=b"%d-%d" % (round, n)).get(30)
            if commits:
                sender.commit_transaction()
            else:
                sender.abort_transaction()
        sender.close()
        reader = consumer(isolation_level="read_committed")
        place = TopicPartition(f"{topic}-txn", 0)
        reader.assign([place])
        reader.seek(place, 0)
        same([row.value for row in take(reader, 6)], [b"%d-%d" % (round, n) for round in (0, 2) for n in range(3)])
        reader.close()


def resume(group, topic, first, count, note):
    with check(f"continues at the committed offset {note}"):
        first, count = int(first), int(count)
        reader, place = consumer(group_id=group), TopicPartition(topic, 0)
        reader.subscribe([topic])
        same([row.offset for row in take(reader, count)], list(range(first, first + count)), "offsets")
        reader.commit({place: OffsetAndMetadata(first + count, "", -1)})
        same(reader.committed(place), first + count, "committed")
        reader.close()


class Told(ConsumerRebalanceListener):
    """Says what happens to the member."""

    def on_partitions_assigned(self, assigned):
        say("assigned", ",".join(str(place.partition) for place in assigned))

    def on_partitions_revoked(self, revoked):
        say("revoked", ",".join(str(place.partition) for place in revoked))


def member(group, topic, *_):
    reader = KafkaConsumer(
        bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest", group_id=group, auto_commit_interval_ms=200,
        session_timeout_ms=6000, heartbeat_interval_ms=500, metadata_max_age_ms=2000)
    reader.subscribe([topic], listener=Told())
    stop = stop_asked()
    while not stop.is_set():
        for rows in reader.poll(timeout_ms=100).values():
            for row in rows:
                say("record", row.partition, row.offset)
    reader.close()


if __name__ == "__main__":
    main({"read": read, "rest": rest, "resume": resume, "member": member})
