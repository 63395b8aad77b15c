"""What the Python clients share: the words, how results are printed, and how a group member speaks.

A client program is called `PROGRAM PHASE ARGUMENTS...`, finds the server in $BOOTSTRAP and its own name in $CLIENT, and prints
one line per check: `ok`, `failed` or `skipped`, a tab, the check, a tab, what was seen.
"""

import contextlib
import json
import os
import pathlib
import sys
import threading
import time
import traceback

BOOTSTRAP = os.environ.get("BOOTSTRAP", "127.0.0.1:9092")
CLIENT = os.environ.get("CLIENT", "client")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

print_lock = threading.Lock()


def say(*fields):
    with print_lock:
        print("\t".join(str(field).replace("\t", " ").replace("\n", " | ") for field in fields), flush=True)


@contextlib.contextmanager
def check(name):
    """Prints `ok` when the block ends, `failed` with the reason when it raises."""
    try:
        yield
        say("ok", name, "")
    except Exception as error:  # whatever a client throws is this check's answer
        frames = traceback.extract_tb(error.__traceback__)
        mine = [frame for frame in frames if frame.filename == sys.argv[0]] or list(frames)
        say("failed", name, f"{type(error).__name__}: {error} (line {mine[-1].lineno})")


def same(seen, wanted, what=""):
    assert seen == wanted, f"{what} is {shortened(seen)}, should be {shortened(wanted)}"


def shortened(value):
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "..."


def words():
    """The records that each client writes, as (key, value, [(name, value)...]) in bytes or None."""
    rows = json.loads(pathlib.Path(__file__).with_name("words.json").read_text())

    def raw(value):
        return None if value is None else value.encode()

    return [(raw(row["key"]),
             raw(row["value"] and row["value"] * row.get("repeat", 1)),
             [(name, raw(value)) for name, value in row["headers"]]) for row in rows]


def compare(seen, wanted):
    """Fails with the first record that differs."""
    for index, (one, other) in enumerate(zip(seen, wanted)):
        assert one == other, f"record {index} is {shortened(one)}, should be {shortened(other)}"
    same(len(seen), len(wanted), "number of records")


def words_topic(writer, codec):
    return f"words-{writer}-{codec}"


def until(what, test, seconds=60):
    """Waits for something that comes by itself, at most so many seconds."""
    end = time.monotonic() + seconds
    while not (found := test()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return found


def stop_asked():
    """An event that is set when the runner closes our standard input."""
    event = threading.Event()

    def watch():
        sys.stdin.read()
        event.set()

    threading.Thread(target=watch, daemon=True).start()
    return event


def main(phases):
    """Runs the phase named by the first argument with the others."""
    phase = phases.get(sys.argv[1])
    if phase is None:
        say("skipped", sys.argv[1], "this client has no such phase")
    else:
        phase(*sys.argv[2:])
