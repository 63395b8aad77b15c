"""Loads of the coordinators of groups and transactions, whose logs have three replicas, too."""

import statistics
import time

from harness import trios
from kit import wire

ADD_PARTITIONS_TO_TXN, END_TXN = 24, 26
NONE, CONCURRENT_TRANSACTIONS = 0, 51
# The coordinator is not known, or loads.
NOT_YET = {14, 15, 16}
TRANSACTIONAL = 0x10
# As clients wait before they ask again.
RETRY_S = 0.002


def commits(trio, name, scale):
    """An offset commit after the other: microseconds, p50."""
    trio.topic(name, [1])
    member = trio.coordinator("group-0")
    options = {"groups": int(1500 * scale), "partitions": 1}
    trios.report(trios.start(member, "commit", name, **options))
    return {"value": trios.report(trios.start(member, "commit", name, **options))["us"]["p50"]}


def asked(request, read, again):
    """Sends a request until its answer's error code is none of `again`; the answer's other fields."""
    end = time.monotonic() + 60
    while True:
        code, found = read(request())
        if code == NONE:
            return found
        assert code in again and time.monotonic() < end, f"error code {code}"
        time.sleep(RETRY_S)


def transactions(trio, name, scale):
    """A transaction of one record after the other: microseconds, p50, of EndTxn alone, and from its beginning to its end."""
    trio.topic(name, [1])
    count, key = int(200 * scale), f"{name}-tx"
    ends, wholes = [], []
    with trio.coordinator(key, wire.TRANSACTION).connect(60) as coordinator, trio.members[0].connect(60) as leader:
        initial = wire.Out().text(key).put("i", 60_000)
        not_yet = NOT_YET | {CONCURRENT_TRANSACTIONS}
        producer, epoch = asked(lambda: coordinator.ask(wire.INIT_PRODUCER_ID, 1, initial), initialised, not_yet)
        adds = wire.Out().text(key).put("qh", producer, epoch)
        adds.each([name], lambda out, topic: out.text(topic).each([0], lambda part, index: part.put("i", index)))
        commit = wire.Out().text(key).put("qh?", producer, epoch, True)
        for sequence in range(count):
            begun = time.monotonic()
            # The former transaction's markers may be on their way.
            asked(lambda: coordinator.ask(ADD_PARTITIONS_TO_TXN, 1, adds), added, not_yet)
            batch = wire.batch([(None, b"x" * 100)], producer=(producer, epoch, sequence), attributes=TRANSACTIONAL)
            asked(lambda: leader.ask(wire.PRODUCE, 7, produced(key, name, batch)), written, {CONCURRENT_TRANSACTIONS})  # noqa: B023
            ending = time.monotonic()
            asked(lambda: coordinator.ask(END_TXN, 1, commit), ended, NOT_YET)
            now = time.monotonic()
            ends.append(now - ending)
            wholes.append(now - begun)
    # A record and a marker each.
    trio.check(name, 2 * count)
    return {"end": statistics.median(ends) * 1e6, "whole": statistics.median(wholes) * 1e6}


def initialised(reply):
    _, code, producer, epoch = reply.take("ihqh")
    return code, (producer, epoch)


def ended(reply):
    _, code = reply.take("ih")
    return code, None


def added(reply):
    reply.take("i")
    (_, [(_, code)]), = reply.each(lambda it: (it.text(), it.each(lambda part: part.take("ih"))))
    return code, None


def produced(key, topic, batch):
    body = wire.Out().text(key).put("hi", -1, 30_000)
    return body.each([topic], lambda out, it: out.text(it).each([0], lambda part, index: part.put("i", index).blob(batch)))


def written(reply):
    (_, [(_, code, *_)]), = reply.each(lambda it: (it.text(), it.each(lambda part: part.take("ihqqq"))))
    return code, None
