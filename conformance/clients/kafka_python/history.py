"""kafka-python, writing its history. See `events.py`."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from events import Pace, main, tell

SERVERS = {"bootstrap_servers": os.environ["BOOTSTRAP"].split(","), "reconnect_backoff_max_ms": 1000, "metadata_max_age_ms": 5000}


def produce(topic, partitions, name, rate):
    sender, pace, number = KafkaProducer(**SERVERS, enable_idempotence=True, acks="all", linger_ms=5, delivery_timeout_ms=120_000), Pace(rate), 0
    while pace.wait():
        partition, value = number % int(partitions), f"{name}-{number}"
        tell("send", partition, value, "-")
        future = sender.send(topic, value.encode(), partition=partition)
        future.add_callback(lambda told, p=partition, v=value: tell("ack", p, v, told.offset))
        future.add_errback(lambda error, p=partition, v=value: tell("error", p, v, repr(error)))
        number += 1
    sender.flush(130)
    sender.close(5)


class Listener(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        tell("assigned", ",".join(str(part.partition) for part in assigned))

    def on_partitions_revoked(self, revoked):
        tell("assigned", "")


def consume(topic, group, _protocol, isolation):
    reader, pace = KafkaConsumer(**SERVERS, group_id=group, auto_offset_reset="earliest", isolation_level=isolation, auto_commit_interval_ms=500,
                                 session_timeout_ms=10_000, heartbeat_interval_ms=1000, fetch_max_wait_ms=100), Pace(1)
    reader.subscribe([topic], listener=Listener())
    while not pace.ended.is_set():
        try:
            for rows in reader.poll(timeout_ms=200).values():
                for row in rows:
                    tell("poll", row.partition, row.offset, row.value.decode())
        except KafkaError as error:
            tell("trouble" if error.retriable else "fatal", group, repr(error))
    reader.close()


main({"produce": produce, "consume": consume})
