"""What the Python clients that write histories share: one line an event, with the time of CLOCK_MONOTONIC in nanoseconds.

A program is called `PROGRAM produce TOPIC PARTITIONS NAME RATE`, `PROGRAM transact TOPIC PARTITIONS NAME RATE` or
`PROGRAM consume TOPIC GROUP PROTOCOL ISOLATION`, finds the cluster in $BOOTSTRAP, and goes on until its standard input is closed.
Value number n of a producer is `NAME-n` and goes to partition n % PARTITIONS; a transaction has TRANSACTION values, and every
fifth one is aborted.
"""

import sys
import threading
import time

TRANSACTION, ABORTED_EACH = 8, 5
print_lock = threading.Lock()


def tell(kind, *fields):
    line = "\t".join([kind, str(time.monotonic_ns()), *(str(field).replace("\t", " ").replace("\n", " ") for field in fields)])
    with print_lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class Pace:
    """Lets `rate` records a second pass until the end is asked for."""

    def __init__(self, rate):
        self.step, self.next, self.ended = 1 / float(rate), time.monotonic(), threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        sys.stdin.read()
        self.ended.set()

    def wait(self):
        """Whether one more record may go."""
        self.next = max(self.next + self.step, time.monotonic() - 1)
        return not self.ended.wait(max(0, self.next - time.monotonic()))


def main(phases):
    phase, *arguments = sys.argv[1:]
    phases[phase](*arguments)
