"""Three nodes with 5,000 partitions of three replicas each."""

import time

from harness.trios import NUMBERS
from kit import cluster, wire

TOPICS, PARTITIONS = 5, 1000
IDLE_S = 10
# Apache maps indexes of 10 MB for each replica otherwise; so it is measured at its best, as bench/run does.
CONFIGS = {"segment.index.bytes": "65536"}


def shown(member, names):
    """(leader, number of replicas, number in sync) of each partition of these topics, as one broker has them."""
    with member.connect(60) as connection:
        topics = wire.metadata(connection, names)["topics"]
    return [(leader, len(replicas), len(isr)) for topic in topics.values() for _, _, leader, replicas, isr in topic["partitions"]]


def await_all(trio, names, among, holds, text, seconds=600):
    """Waits until `holds(leader, replicas, in_sync)` is true of all partitions at these members; the seconds it took."""
    begun, left = time.monotonic(), {}

    def is_so():
        for member in among:
            member.check_alive()
            found = shown(member, names)
            left[member.number] = [row for row in found if not holds(*row)]
            if left[member.number] or len(found) != TOPICS * PARTITIONS:
                return False
        return True

    try:
        cluster.until(is_so, text, seconds, trio.nodes, pause=0.05)
    except RuntimeError as error:
        some = ", ".join(f"node {number}: {len(rows)} partitions not, such as {rows[0]}" for number, rows in left.items() if rows)
        raise RuntimeError(f"{some}: {error}") from None
    return time.monotonic() - begun


def many(trio, name, _scale):
    """Creates the partitions by 5 requests: seconds until all replicas are in sync; does nothing: percent of a core of all three;
    kills a broker: seconds until all its partitions have other leaders, and from its start until all are in sync again; restarts
    one cleanly: seconds from its start until all are in sync."""
    is_full = lambda leader, replicas, in_sync: leader >= 0 and in_sync == replicas == len(NUMBERS)
    names, begun = [f"{name}-{at}" for at in range(TOPICS)], time.monotonic()
    for topic in names:
        with trio.members[0].connect(300) as connection:
            code = wire.create_topics(connection, {topic: (PARTITIONS, len(NUMBERS), {}, CONFIGS)}, timeout_ms=240_000)[topic]
        assert code == 0, f"{trio.label}: creating {topic}: error code {code}"
    await_all(trio, names, trio.members, is_full, "all replicas of 5,000 partitions are in sync")
    found = {"create": time.monotonic() - begun}
    # What the creation has left to do is not idleness.
    time.sleep(6)
    cpu = trio.cpu()
    time.sleep(IDLE_S)
    found["idle"] = (trio.cpu() - cpu) / IDLE_S * 100
    found["memory"] = trio.resident() / 1e6
    await_all(trio, names, trio.members, is_full, "all replicas are still in sync")
    victim = next(member for member in trio.members if trio.nodes.leader()[0] is not member)
    others = [member for member in trio.members if member is not victim]
    victim.kill()
    moved = lambda leader, *_: leader in {member.number for member in others}
    found["moves"] = await_all(trio, names, others, moved, "the partitions of a killed broker have other leaders")
    victim.launch()
    found["back"] = await_all(trio, names, trio.members, is_full, "all are in sync after a kill")
    victim.stop()
    victim.launch()
    found["restart"] = await_all(trio, names, trio.members, is_full, "all are in sync after a restart")
    return found
