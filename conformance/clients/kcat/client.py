"""kcat: a driver that calls it and reads its JSON."""

import json
import pathlib
import re
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from checks import (
    BOOTSTRAP, CLIENT, CODECS, check, compare, main, same, say, stop_asked, words, words_topic)

GROUP = ["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500", "-X", "auto.offset.reset=earliest",
         "-X", "topic.metadata.refresh.interval.ms=2000"]


def kcat(*arguments, stdin=b""):
    result = subprocess.run(
        ["kcat", "-b", BOOTSTRAP, *map(str, arguments)], input=stdin, capture_output=True, timeout=90, check=False)
    assert result.returncode == 0, f"exit {result.returncode}: {result.stderr.decode()}"
    return result.stdout.decode()


def send(topic, key, value, headers, *options):
    """One record by one call; kcat's only way to a null is an empty field with -Z."""
    nulls = key is None or value is None
    assert not nulls or b"" not in (key, value), "kcat cannot write null and empty in one record"
    flags = ["-Z"] if nulls else []
    for name, inner in headers:
        flags += ["-H", name if inner is None else f"{name}={inner.decode()}"]
    line = (key or b"") + b"=>" + (value or b"") + b"\n"
    kcat("-P", "-t", topic, "-p", 0, "-K", "=>", *flags, *options, stdin=line)


def rows(output):
    return [json.loads(line) for line in output.splitlines()]


def raw(text):
    return None if text is None else text.encode()


def plain(row):
    flat = row.get("headers") or []
    headers = [(name, raw(value)) for name, value in zip(flat[::2], flat[1::2])]
    return raw(row["key"]), raw(row["payload"]), headers


def write():
    for codec in CODECS:
        with check(f"write {codec}"):
            for key, value, headers in words():
                send(words_topic(CLIENT, codec), key, value, headers, "-z", codec)


def read(*writers):
    for writer in writers:
        with check(f"read what {writer} wrote"):
            for codec in CODECS:
                out = kcat("-C", "-t", words_topic(writer, codec), "-o", "beginning", "-e", "-q", "-J")
                try:
                    compare([plain(row) for row in rows(out)], words())
                except AssertionError as error:
                    raise AssertionError(f"{codec}: {error}") from None


def rest():
    topic = f"{CLIENT}-rest"
    with check("writing creates the topic"):
        for n in range(4):
            send(topic, b"k", b"%d" % n, [])
        out = json.loads(kcat("-L", "-J", "-t", topic))
        found, = out["topics"]
        same((found["topic"], [p["partition"] for p in found["partitions"]]), (topic, [0]))
        same([b["name"] for b in out["brokers"]], [BOOTSTRAP])
    with check("query an offset by time"):
        stamps = [row["ts"] for row in rows(kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"))]
        out = kcat("-Q", "-t", f"{topic}:0:{stamps[2]}")
        same(out.split(), [topic, "[0]", "offset", str(stamps.index(stamps[2]))])
    with check("read from an offset, from the tail, between times"):
        def payloads(*where):
            return [row["payload"] for row in rows(kcat("-C", "-t", topic, *where, "-e", "-q", "-J"))]

        same(payloads("-o", 2), ["2", "3"])
        same(payloads("-o", -1), ["3"])
        same(payloads("-o", "s@0"), ["0", "1", "2", "3"])
    with check("idempotent producer"):
        kcat("-P", "-t", f"{topic}-idem", "-X", "enable.idempotence=true", stdin=b"".join(b"%d\n" % n for n in range(500)))
        out = kcat("-C", "-t", f"{topic}-idem", "-o", "beginning", "-e", "-q")
        same(out.split(), [str(n) for n in range(500)])


def resume(group, topic, first, count, note):
    with check(f"continues at the committed offset {note}"):
        out = kcat("-G", group, *GROUP, "-q", "-c", count, "-f", "%o\n", topic)
        same([int(line) for line in out.split()], list(range(int(first), int(first) + int(count))), "offsets")


def member(group, topic, instance="-", *_):
    more = [] if instance == "-" else ["-X", f"group.instance.id={instance}"]
    process = subprocess.Popen(
        ["kcat", "-b", BOOTSTRAP, "-u", "-X", "auto.commit.interval.ms=200", "-G", group, *GROUP, *more,
         "-f", "record %p %o\n", topic],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stop = stop_asked()
    threading.Thread(target=lambda: (stop.wait(), process.terminate()), daemon=True).start()
    for line in process.stdout:
        if line.startswith("record "):
            say(*line.split())
        change = re.search(r"\): (assigned|revoked): (.*)", line)
        if change:
            say(change[1], ",".join(re.findall(r"\[(\d+)\]", change[2])))
    process.wait()


if __name__ == "__main__":
    main({"write": write, "read": read, "rest": rest, "resume": resume, "member": member})
