"""librdkafka through confluent-kafka, writing its history. See `events.py`."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from events import ABORTED_EACH, TRANSACTION, Pace, main, tell

COMMITTED, ABORTED = "committed", "aborted"
QUIET = {"bootstrap.servers": os.environ["BOOTSTRAP"], "log_level": 0, "reconnect.backoff.max.ms": 1000,
         "topic.metadata.refresh.interval.ms": 5000}


def delivered(partition, value):
    def done(error, message):
        if error:
            tell("error", partition, value, error)
        else:
            tell("ack", partition, value, message.offset())

    return done


def send(sender, topic, partition, value, transaction="-"):
    tell("send", partition, value, transaction)
    while True:
        try:
            sender.produce(topic, value, partition=partition, on_delivery=delivered(partition, value))
            return
        except BufferError:
            sender.poll(0.1)


def produce(topic, partitions, name, rate):
    sender, pace, number = Producer({**QUIET, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
                                     "delivery.timeout.ms": 120_000}), Pace(rate), 0
    while pace.wait():
        send(sender, topic, number % int(partitions), f"{name}-{number}")
        sender.poll(0)
        number += 1
    sender.flush(130)


def transact(topic, partitions, name, rate):
    sender, pace, count = None, Pace(float(rate) / TRANSACTION), 0
    while pace.wait():
        if sender is None:
            sender = Producer({**QUIET, "transactional.id": name, "linger.ms": 2, "transaction.timeout.ms": 30_000})
            # A coordinator that is lost while a transaction is rolled back may take a while.
            sender.init_transactions(120)
        sender = one_transaction(sender, topic, int(partitions), name, count)
        count += 1


def one_transaction(sender, topic, partitions, name, count):
    """Runs one transaction; the producer for the next, None if there must be a new one."""
    transaction = f"{name}-t{count}"
    try:
        sender.begin_transaction()
        for number in range(count * TRANSACTION, (count + 1) * TRANSACTION):
            send(sender, topic, number % partitions, f"{name}-{number}", transaction)
        if count % ABORTED_EACH == ABORTED_EACH - 1:
            sender.flush(60)
            return finish(sender, transaction, ABORTED)
        return finish(sender, transaction, COMMITTED)
    except KafkaException as error:
        tell("trouble", transaction, error)
        if error.args[0].txn_requires_abort():
            return finish(sender, transaction, ABORTED)
        return unknown(transaction)


def unknown(transaction):
    tell("ending", transaction)
    tell("ended", transaction, "unknown")


def finish(sender, transaction, outcome):
    """Commits or aborts, again and again where it may; the producer for the next transaction, None if there must be a new one."""
    tell("ending", transaction)
    while True:
        try:
            (sender.commit_transaction if outcome == COMMITTED else sender.abort_transaction)(60)
            tell("ended", transaction, outcome)
            return sender
        except KafkaException as error:
            tell("trouble", transaction, error)
            if error.args[0].retriable():
                continue
            if outcome == ABORTED or not error.args[0].txn_requires_abort():
                tell("ended", transaction, "unknown")
                return None
            outcome = ABORTED


def consume(topic, group, protocol, isolation):
    settings = {**QUIET, "group.id": group, "group.protocol": protocol, "auto.offset.reset": "earliest", "isolation.level": isolation,
                "auto.commit.interval.ms": 500, "fetch.wait.max.ms": 100}
    if protocol == "classic":
        settings.update({"session.timeout.ms": 10_000, "heartbeat.interval.ms": 1000})
    reader, pace = Consumer(settings), Pace(1)
    assigned = lambda _, parts: tell("assigned", ",".join(str(part.partition) for part in parts))
    reader.subscribe([topic], on_assign=assigned, on_revoke=lambda *_: tell("assigned", ""))
    while not pace.ended.is_set():
        message = reader.poll(0.2)
        if message is None:
            continue
        if message.error():
            tell("trouble" if message.error().retriable() or message.error().code() == KafkaError._ALL_BROKERS_DOWN else "fatal",
                 group, message.error())
            continue
        tell("poll", message.partition(), message.offset(), message.value().decode())
    reader.close()


main({"produce": produce, "transact": transact, "consume": consume})
