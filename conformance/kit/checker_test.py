"""Good histories, in which `checker` finds nothing, and planted ones, in which it finds just what is planted.

`python3 -m unittest kit.checker_test` in `conformance/`; `conformance/run cluster` runs them first.
"""

import unittest

from kit import checker, history_clients
from kit.checker import Acknowledged, Assigned, Ended, Ending, Polled, Send


def written(process, partition, *rows, transaction=None):
    """Sends and acknowledgements of (value, offset); None: never acknowledged."""
    for value, offset in rows:
        yield Send(process, partition, value, transaction)
        if offset is not None:
            yield Acknowledged(process, partition, value, offset)


def read(process, partition, *rows, at=100):
    """A consumer that begins and polls (offset, value) rows."""
    yield Assigned(process, (partition,), at)
    for offset, value in rows:
        yield Polled(process, partition, offset, value, at)


def ended(process, transaction, outcome, at=50):
    yield Ending(process, transaction, at)
    yield Ended(process, transaction, outcome, at + 1)


class Good(unittest.TestCase):
    """Histories that a log may have."""

    def expect_clean(self, *parts, **options):
        self.assertEqual(checker.check([event for part in parts for event in part], **options), {})

    def test_all_read(self):
        self.expect_clean(written("p", 0, ("a", 0), ("b", 1)), read("c", 0, (0, "a"), (1, "b")))

    def test_an_unacknowledged_value_may_be_there_or_not(self):
        self.expect_clean(written("p", 0, ("a", None), ("b", None), ("c", 1)), read("c", 0, (0, "b"), (1, "c")))

    def test_a_new_assignment_may_begin_before(self):
        self.expect_clean(written("p", 0, ("a", 0), ("b", 1)), read("c", 0, (0, "a"), (1, "b")), read("c", 0, (0, "a"), (1, "b")))

    def test_markers_leave_gaps(self):
        self.expect_clean(written("p", 0, ("a", 0), ("b", 1), transaction="t"), ended("p", "t", checker.COMMITTED),
                          written("p", 0, ("c", 3)), read("c", 0, (0, "a"), (1, "b"), (3, "c")))

    def test_aborted_values_are_not_read(self):
        self.expect_clean(written("p", 0, ("a", 0), transaction="t"), ended("p", "t", checker.ABORTED), written("p", 0, ("b", 2)),
                          read("c", 0, (2, "b")))

    def test_an_unknown_transaction_may_be_there_as_a_whole(self):
        parts = [written("p", 0, ("a", 0), transaction="t"), written("p", 1, ("b", 0), transaction="t"),
                 ended("p", "t", checker.UNKNOWN)]
        self.expect_clean(*parts, read("c", 0, (0, "a")), read("d", 1, (0, "b")))

    def test_an_unknown_transaction_may_be_missing_as_a_whole(self):
        self.expect_clean(written("p", 0, ("a", 0), transaction="t"), ended("p", "t", checker.UNKNOWN), written("p", 0, ("z", 2)),
                          read("c", 0, (2, "z")))

    def test_a_tail_is_not_lost_before_the_end_was_read(self):
        self.expect_clean(written("p", 0, ("a", 0), ("b", 1)), read("c", 0, (0, "a")), is_read_to_end=False)

    def test_processes_interleave(self):
        self.expect_clean(written("p", 0, ("a", 1), ("b", 2)), written("q", 0, ("c", 0), ("d", 3)),
                          read("c", 0, (0, "c"), (1, "a"), (2, "b"), (3, "d")))


class Planted(unittest.TestCase):
    """Histories with one anomaly each."""

    def expect(self, name, *parts, also=(), **options):
        found = checker.check([event for part in parts for event in part], **options)
        self.assertEqual(sorted(found), sorted([name, *also]), found)
        self.assertIn(name, checker.told(found))

    def test_lost_write(self):
        self.expect("lost-write", written("p", 0, ("a", 0), ("b", 1), ("c", 2)), read("c", 0, (0, "a"), (2, "c")))

    def test_lost_write_without_an_offset(self):
        self.expect("lost-write", written("p", 0, ("a", -1), ("b", 0)), read("c", 0, (0, "b")))

    def test_lost_write_of_a_committed_transaction(self):
        self.expect("lost-write", written("p", 0, ("a", 0), transaction="t"), ended("p", "t", checker.COMMITTED),
                    written("p", 0, ("z", 2)), read("c", 0, (2, "z")))

    def test_unseen(self):
        self.expect("unseen", written("p", 0, ("a", 0), ("b", 1)), read("c", 0, (0, "a")))

    def test_unseen_where_nothing_is_read(self):
        self.expect("unseen", written("p", 0, ("a", 0)))

    def test_duplicate(self):
        self.expect("duplicate", written("p", 0, ("a", 0)), read("c", 0, (0, "a"), (1, "a")))

    def test_duplicate_of_what_was_not_acknowledged(self):
        self.expect("duplicate", written("p", 0, ("a", None)), read("c", 0, (0, "a"), (1, "a")))

    def test_duplicate_that_is_elsewhere_than_acknowledged(self):
        self.expect("duplicate", written("p", 0, ("a", 0)), read("c", 0, (1, "a")))

    def test_duplicate_in_another_partition(self):
        self.expect("duplicate", written("p", 0, ("a", 0)), read("c", 0, (0, "a")), read("d", 1, (0, "a")))

    def test_inconsistent_offsets_of_two_readers(self):
        self.expect("inconsistent-offsets", written("p", 0, ("a", None)), written("q", 0, ("b", None)), read("c", 0, (0, "a")),
                    read("d", 0, (0, "b")))

    def test_inconsistent_offsets_of_an_acknowledgement(self):
        self.expect("inconsistent-offsets", written("p", 0, ("a", 0)), written("q", 0, ("b", 0)), read("c", 0, (0, "a"), (1, "b")),
                    also=["duplicate"])

    def test_nonmonotonic_send(self):
        self.expect("nonmonotonic-send", written("p", 0, ("a", 1), ("b", 0)), read("c", 0, (0, "b"), (1, "a")))

    def test_nonmonotonic_send_that_only_reading_shows(self):
        self.expect("nonmonotonic-send", written("p", 0, ("a", -1), ("b", -1)), read("c", 0, (0, "b"), (1, "a")))

    def test_nonmonotonic_poll(self):
        self.expect("nonmonotonic-poll", written("p", 0, ("a", 0), ("b", 1)), read("c", 0, (0, "a"), (1, "b"), (0, "a")))

    def test_the_same_offset_polled_again(self):
        self.expect("nonmonotonic-poll", written("p", 0, ("a", 0)), read("c", 0, (0, "a"), (0, "a")))

    def test_poll_skip(self):
        self.expect("poll-skip", written("p", 0, ("a", 0), ("b", 1), ("c", 2)), read("c", 0, (0, "a"), (2, "c")), read("d", 0, (1, "b")))

    def test_aborted_read(self):
        self.expect("aborted-read", written("p", 0, ("a", 0), transaction="t"), ended("p", "t", checker.ABORTED), read("c", 0, (0, "a")))

    def test_a_value_that_was_never_sent(self):
        self.expect("aborted-read", written("p", 0, ("a", 0)), read("c", 0, (0, "a"), (1, "ghost")))

    def test_precommitted_read(self):
        self.expect("precommitted-read", written("p", 0, ("a", 0), transaction="t"), read("c", 0, (0, "a"), at=10),
                    ended("p", "t", checker.COMMITTED))

    def test_a_read_of_a_transaction_that_never_ended(self):
        self.expect("precommitted-read", written("p", 0, ("a", 0), transaction="t"), read("c", 0, (0, "a")))

    def test_torn_transaction(self):
        self.expect("torn-transaction", written("p", 0, ("a", 0), transaction="t"), written("p", 1, ("b", None), transaction="t"),
                    ended("p", "t", checker.UNKNOWN), read("c", 0, (0, "a")))

    def test_a_committed_transaction_without_a_part(self):
        self.expect("torn-transaction", written("p", 0, ("a", 0), transaction="t"), written("p", 1, ("b", 0), ("c", 2), transaction="t"),
                    ended("p", "t", checker.COMMITTED), read("c", 0, (0, "a")), read("d", 1, (2, "c")), also=["lost-write"])

    def test_many_findings_are_counted(self):
        lost = [(f"v{number}", number) for number in range(20)]
        found = checker.check([*written("p", 0, *lost, ("z", 20)), *read("c", 0, (20, "z"))])
        self.assertEqual(len(found["lost-write"]), 20)
        self.assertIn("20 lost-write", checker.told(found))


class Lines(unittest.TestCase):
    """The lines of client programs become events."""

    def history(self, *lines):
        history = history_clients.History()
        for line in lines:
            history.take("p", line + "\n")
        return history

    def test_a_transaction(self):
        history = self.history("send\t1\t0\ta\tt", "ack\t2\t0\ta\t7", "ending\t3\tt", "ended\t4\tt\tcommitted")
        self.assertEqual(history.events, [Send("p", 0, "a", "t", 1), Acknowledged("p", 0, "a", 7, 2), Ending("p", "t", 3),
                                          Ended("p", "t", checker.COMMITTED, 4)])
        self.assertEqual((history.counts(), history.errors), ((1, 1), []))
        self.assertEqual(history.check([(0, 7, "a")]), {})
        self.assertEqual(list(history.check([(0, 8, "a")])), ["duplicate"])

    def test_polls_and_assignments(self):
        history = self.history("assigned\t1\t0,2", "poll\t2\t2\t5\ta", "assigned\t3\t")
        self.assertEqual(history.events, [Assigned("p", (0, 2), 1), Polled("p", 2, 5, "a", 2), Assigned("p", (), 3)])

    def test_errors_and_what_is_not_understood(self):
        history = self.history("error\t1\t0\ta\ttoo late", "fatal\t2\tgone", "trouble\t3\tagain", "nonsense\t4\tx", "ack\t5\t0")
        self.assertEqual(len(history.errors), 4, history.errors)

    def test_pauses(self):
        second = 10 ** 9
        history = self.history(*(f"ack\t{at * second}\t0\tv{at}\t{at}" for at in (1, 2, 6, 7)), f"ack\t{4 * second}\t1\tw\t0")
        self.assertEqual(history.pause([0], 1.5, 7), 4)
        self.assertEqual(history.pause([1], 1.5, 7), 3)


if __name__ == "__main__":
    unittest.main()
