"""Two members in one consumer group, one of them killed: the same play for every client."""

import contextlib
import subprocess
import threading
import time

from kit import wire
from kit.clients import kill_group

PARTITIONS = 4


class Member:
    """A client program as a group member. It says `assigned`, `revoked` and `record`, one event per line."""

    def __init__(self, client, server, group, topic, instance="-"):
        self.process = client.popen(
            server, "member", [group, topic, instance], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.owned, self.assignments, self.records = frozenset(), 0, []
        self.changed = threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            kind, *fields = line.rstrip("\n").split("\t")
            with self.changed:
                if kind == "assigned":
                    self.owned = frozenset(int(p) for p in fields[0].split(",") if p)
                    self.assignments += 1
                elif kind == "revoked":
                    self.owned = frozenset()
                elif kind == "record":
                    self.records.append((int(fields[0]), int(fields[1])))
                self.changed.notify_all()

    def kill(self):
        kill_group(self.process)
        self.process.wait()

    def stop(self):
        """Lets the member leave the group; it has half a minute to do so."""
        try:
            self.process.stdin.close()
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the member did not end within 30 s") from None


def until(what, test, seen, seconds=60):
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, f"{what} not within {seconds} s; seen: {seen()}"
        time.sleep(0.02)


def until_owned(members, test, what, seconds=60):
    until(what, lambda: test([m.owned for m in members]),
          lambda: [sorted(m.owned) for m in members], seconds)


def shared(owned):
    return all(owned) and sum(map(len, owned)) == PARTITIONS and len(frozenset().union(*owned)) == PARTITIONS


def feed(connection, topic, first, count):
    """Writes `count` records to each partition; the offsets begin at `first`."""
    for partition in range(PARTITIONS):
        rows = [(b"k", b"%d" % n) for n in range(count)]
        error, base, *_ = wire.produce(connection, topic, partition, wire.batch(rows))
        assert (error, base) == (0, first), f"feeding {topic}-{partition}: error {error}, offset {base}"


def expected(first, count):
    return {(p, o) for p in range(PARTITIONS) for o in range(first, first + count)}


@contextlib.contextmanager
def row(add, name):
    """One line of the table; a failure ends the play."""
    try:
        yield
    except BaseException as error:
        add("failed", name, f"{type(error).__name__}: {error}")
        raise
    add("ok", name, "")


def play(client, server, add, name, acts):
    members = []

    def enter(group, topic, instance="-"):
        members.append(Member(client, server, group, topic, instance))
        return members[-1]

    topic = f"{client.name}-{name}"
    try:
        with wire.Connection(server.port) as connection:
            wire.topic(connection, topic, PARTITIONS)
            acts(connection, f"{client.name}-{name}", topic, enter, add)
    except (AssertionError, OSError, wire.Closed) as error:
        if not isinstance(error, AssertionError):
            add("failed", name, f"{type(error).__name__}: {error}")
    finally:
        for member in members:
            member.kill()


def dynamic(connection, group, topic, enter, add):
    """Members without instance ids."""
    with row(add, "group: one member has all partitions"):
        one = enter(group, topic)
        until_owned([one], shared, "all partitions owned")
    with row(add, "group: a second member gets its share"):
        two = enter(group, topic)
        until_owned([one, two], shared, "partitions shared")
    with row(add, "group: each record goes to one member"):
        feed(connection, topic, 0, 5)
        until("20 records", lambda: {*one.records, *two.records} == expected(0, 5),
              lambda: (one.records, two.records))
        same = [set(m.records) == {(p, o) for p in m.owned for o in range(5)} for m in (one, two)]
        assert same == [True, True], f"{one.records} for {one.owned}, {two.records} for {two.owned}"
    with row(add, "group: kill -9 of one, the other takes over"):
        # Auto-commit runs every 200 ms; what is committed must not come again to the survivor.
        until("commits", lambda: all(wire.committed(connection, group, topic, range(PARTITIONS))[0][p][0] == 5
                                     for p in range(PARTITIONS)),
              lambda: wire.committed(connection, group, topic, range(PARTITIONS)))
        two.kill()
        until_owned([one], shared, "all partitions owned")
        feed(connection, topic, 5, 5)
        until("20 more records", lambda: expected(5, 5) <= set(one.records), lambda: one.records)
        first = {(p, o) for p, o in one.records if o < 5}
        taken = sorted(set(two.records) & first)
        assert not taken, f"committed records came again: {taken}"
    with row(add, "group: a clean end commits and empties the group"):
        one.stop()
        until("state Empty", lambda: wire.describe_group(connection, group)["state"] == "Empty",
              lambda: wire.describe_group(connection, group))
        offsets, error = wire.committed(connection, group, topic, range(PARTITIONS))
        seen = error, {p: at[0] for p, at in offsets.items()}
        assert seen == (0, dict.fromkeys(range(PARTITIONS), 10)), f"committed: {seen}"


def static(connection, group, topic, enter, add):
    """Members with instance ids."""
    with row(add, "static members: a killed one returns to its partitions, no partition moves"):
        one = enter(group, topic, "one")
        until_owned([one], shared, "all partitions owned")
        two = enter(group, topic, "two")
        until_owned([one, two], shared, "partitions shared")
        before, changes = two.owned, one.assignments
        two.kill()
        again = enter(group, topic, "two")
        until_owned([one, again], shared, "partitions shared")
        assert again.owned == before, f"had {sorted(before)}, has {sorted(again.owned)}"
        assert one.assignments == changes, "the other member was rebalanced"
        found = wire.describe_group(connection, group)
        names = sorted(str(instance) for _, instance in found["members"])
        assert (found["state"], names) == ("Stable", ["one", "two"]), found
    with row(add, "static members: one that stays away loses its partitions"):
        again.kill()
        until_owned([one], shared, "all partitions owned")
        feed(connection, topic, 0, 5)
        until("20 records", lambda: set(one.records) == expected(0, 5), lambda: one.records)


def run(client, server, add):
    """Plays both for one client."""
    if "group" in client.phases:
        play(client, server, add, "group", dynamic)
    if "static" in client.phases:
        play(client, server, add, "static", static)
