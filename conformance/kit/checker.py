"""Finds in the histories of clients what a log may never do, with the names that Jepsen's `tests.kafka` gives it.

A history is a list of events in the order of their times. Values are unique: a value is sent once, by one process.

- `lost-write`: an acknowledged value was never read, although the partition was read to behind its offset.
- `unseen`: an acknowledged value lies behind all that was read of its partition. After a read to the end it is lost, too.
- `duplicate`: one value at two offsets.
- `inconsistent-offsets`: two values at one offset.
- `nonmonotonic-send`: a process's values stand in a partition in another order than it sent them in.
- `nonmonotonic-poll`: a process polled an offset again, or an earlier one, of a partition that it had all the time.
- `poll-skip`: a process polled past values that others found there.
- `aborted-read`: a value was read whose transaction was aborted, or that nothing has sent (G1a).
- `precommitted-read`: a value was read before its transaction's commit was asked for.
- `torn-transaction`: some values of a transaction were read, others not.
"""

import collections
import dataclasses

# How many findings of one kind are told.
TOLD = 5
COMMITTED, ABORTED, UNKNOWN = "committed", "aborted", "unknown"


@dataclasses.dataclass
class Send:
    """A value was handed to a producer. `transaction` names the producer's transaction, None outside of any."""

    process: str
    partition: int
    value: str
    transaction: str | None = None
    at: int = 0


@dataclasses.dataclass
class Acknowledged:
    """The producer reported a value as written at an offset (-1: it did not say where)."""

    process: str
    partition: int
    value: str
    offset: int
    at: int = 0


@dataclasses.dataclass
class Ending:
    """A transaction's end was asked for."""

    process: str
    transaction: str
    at: int = 0


@dataclasses.dataclass
class Ended:
    """How a transaction ended: COMMITTED, ABORTED, or UNKNOWN if the producer could not tell."""

    process: str
    transaction: str
    outcome: str
    at: int = 0


@dataclasses.dataclass
class Assigned:
    """A consumer begins anew with these partitions: what it polls next may be anywhere."""

    process: str
    partitions: tuple
    at: int = 0


@dataclasses.dataclass
class Polled:
    """A consumer got a value."""

    process: str
    partition: int
    offset: int
    value: str
    at: int = 0


class Checker:
    """Judges one history. `is_read_to_end`: some process read each partition to its end after the last send."""

    def __init__(self, events, is_read_to_end=True):
        self.events, self.is_read_to_end = list(events), is_read_to_end
        self.sends, self.acknowledged, self.outcomes, self.asked = {}, {}, {}, {}
        # Partition to offset to the values that someone saw there; partition to the offsets that were polled.
        self.seen = collections.defaultdict(lambda: collections.defaultdict(set))
        self.polled_at, self.first_poll = collections.defaultdict(set), {}
        self.ends = collections.defaultdict(lambda: -1)
        self.found = collections.defaultdict(list)
        for event in self.events:
            self.take(event)

    def take(self, event):
        """Notes one event in the tables."""
        match event:
            case Send():
                assert event.value not in self.sends, f"the history sends {event.value} twice"
                self.sends[event.value] = event
            case Acknowledged():
                self.acknowledged[event.value] = event
                if event.offset >= 0:
                    self.seen[event.partition][event.offset].add(event.value)
            case Ending():
                self.asked[event.transaction] = event.at
            case Ended():
                self.outcomes[event.transaction] = event.outcome
            case Polled():
                self.seen[event.partition][event.offset].add(event.value)
                self.polled_at[event.value].add((event.partition, event.offset))
                self.first_poll.setdefault(event.value, event)
                self.ends[event.partition] = max(self.ends[event.partition], event.offset)

    def outcome(self, value):
        """COMMITTED, ABORTED or UNKNOWN of the transaction of a value; outside of any, it is as if committed."""
        transaction = self.sends[value].transaction
        return COMMITTED if transaction is None else self.outcomes.get(transaction, UNKNOWN)

    def check(self):
        """Name to findings; empty if the history is one of a log."""
        self.check_lost()
        self.check_offsets()
        self.check_sends()
        self.check_polls()
        self.check_transactions()
        return {name: notes for name, notes in sorted(self.found.items()) if notes}

    def report(self, name, note):
        self.found[name].append(note)

    def check_lost(self):
        for value, event in self.acknowledged.items():
            if value in self.polled_at or self.outcome(value) != COMMITTED:
                continue
            where = f"{value} of {event.process}, acknowledged at {event.partition}:{event.offset}"
            if event.offset <= self.ends[event.partition]:
                self.report("lost-write", where)
            elif self.is_read_to_end:
                self.report("unseen", f"{where}, read to {self.ends[event.partition]}")

    def check_offsets(self):
        for value, places in self.polled_at.items():
            told = self.acknowledged.get(value)
            if told is not None and told.offset >= 0:
                places = places | {(told.partition, told.offset)}
            if len(places) > 1:
                self.report("duplicate", f"{value} at {sorted(places)}")
        for partition, offsets in self.seen.items():
            for offset, values in offsets.items():
                if len(values) > 1:
                    self.report("inconsistent-offsets", f"{partition}:{offset} holds {sorted(values)}")

    def check_sends(self):
        """The offsets of a process's values, in the order of its sends, must rise in each partition."""
        last = {}
        for value, send in self.sends.items():
            places = {offset for partition, offset in self.polled_at.get(value, ()) if partition == send.partition}
            told = self.acknowledged.get(value)
            places |= {told.offset} if told is not None and told.offset >= 0 else set()
            if not places:
                continue
            key, offset = (send.process, send.partition), min(places)
            former, other = last.get(key, (-1, None))
            if offset < former:
                self.report("nonmonotonic-send", f"{send.process} sent {other} before {value}: {send.partition}:{former} and {offset}")
            last[key] = max((former, other), (offset, value))

    def check_polls(self):
        # What is there for read_committed, by offset.
        there = {partition: sorted(offset for offset, values in offsets.items() if any(self.is_visible(value) for value in values))
                 for partition, offsets in self.seen.items()}
        index = {partition: {offset: at for at, offset in enumerate(offsets)} for partition, offsets in there.items()}
        at = {}
        for event in self.events:
            match event:
                case Assigned():
                    for key in [key for key in at if key[0] == event.process]:
                        del at[key]
                case Polled():
                    key = event.process, event.partition
                    former = at.get(key)
                    if former is not None and event.offset <= former:
                        self.report("nonmonotonic-poll", f"{event.process} polled {event.partition}:{event.offset} after {former}")
                    elif former is not None:
                        places = index[event.partition]
                        if former in places and event.offset in places and places[event.offset] > places[former] + 1:
                            missed = there[event.partition][places[former] + 1]
                            self.report("poll-skip", f"{event.process} polled {event.partition}:{event.offset} after {former}, without {missed}")
                    at[key] = event.offset

    def is_visible(self, value):
        return value in self.polled_at and value in self.sends and self.outcome(value) != ABORTED

    def check_transactions(self):
        parts = collections.defaultdict(list)
        for value, send in self.sends.items():
            if send.transaction is not None:
                parts[send.transaction].append(value)
        for value, event in self.first_poll.items():
            if value not in self.sends:
                self.report("aborted-read", f"{value} at {event.partition}:{event.offset} was never sent")
                continue
            transaction = self.sends[value].transaction
            if transaction is None:
                continue
            if self.outcome(value) == ABORTED:
                self.report("aborted-read", f"{value} at {event.partition}:{event.offset}, of the aborted {transaction}")
            asked = self.asked.get(transaction)
            if asked is None or event.at < asked:
                self.report("precommitted-read", f"{value} at {event.partition}:{event.offset}, before the end of {transaction}")
        for transaction, values in parts.items():
            read = [value for value in values if value in self.polled_at]
            # What is acknowledged and missing of a committed transaction is a lost write already.
            if read and len(read) < len(values) and self.is_read_to_end and self.outcomes.get(transaction) != ABORTED:
                missing = sorted(set(values) - set(read))
                self.report("torn-transaction", f"{transaction}: {len(read)} of {len(values)} values read, not {missing[:3]}")


def check(events, is_read_to_end=True):
    """Name of an anomaly to what was found; empty for a good history."""
    return Checker(events, is_read_to_end).check()


def told(found):
    """Findings as one line, the first few of each name."""
    return "; ".join(f"{len(notes)} {name}: {notes[:TOLD]}" for name, notes in found.items())
