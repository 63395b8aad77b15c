"""`histories`: scripted client histories, played to Ottla and to Apache Kafka; the answers are compared field by field.

`crates/load` plays them over raw frames, and puts what differs from run to run (ids, times, wordings) in neutral words.
`docs/differences.md` says why the rest differs, one line for each in `histories.accepted`. `tables` asks each API wrongly in every way, too.
"""

import difflib
import os
import pathlib
import subprocess
import tempfile

from kit import report, servers, tables

ACCEPTED = pathlib.Path(__file__).with_name("histories.accepted")


def player():
    """The program that plays, built if it is not there."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", servers.ROOT / "target"))
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "ottla-load"], cwd=servers.ROOT, check=True)
    return target / "release" / "ottla-load"


def at_new_server(kind, arguments, ask):
    """What `ask` finds at the port of a server of this kind that has just been made."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        server = servers.Apache(folder) if kind == "apache" else servers.Ottla(folder, binary=arguments.binary)
        server.settings = {"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "0",
                           "group.consumer.assignment.interval.ms": "0"}
        try:
            server.start()
            return ask(server.port)
        finally:
            server.kill()


def play(port, only):
    """What the server answered: for each history its lines."""
    command = [str(player()), "histories", "--port", str(port), *(["--only", only] if only else [])]
    text = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    parts = [part.split("\n", 1) for part in text.split("\n# ") if part]
    return {name.removeprefix("# "): lines.splitlines() for name, lines in parts}


def accepted():
    """The accepted differences: history, title, what Apache answers, what Ottla answers."""
    lines = [line for line in ACCEPTED.read_text().splitlines() if line and not line.startswith("#")]
    return {tuple(field.strip() for field in line.split("|")) for line in lines}


def answers(lines):
    """Each answer with the title of its scene."""
    found, title = [], ""
    for line in lines:
        if line.startswith("## "):
            title = line[3:]
        elif line[:1].isupper() and line.endswith(" {"):
            found.append((title, line.removesuffix(" {"), []))
        elif found and line[:1] in " }":
            found[-1][2].append(line.strip())
    return found


def differences(apache, ottla):
    """What is not alike: the title of the scene, which answer of it, and the two runs of lines."""
    found, count = [], {}
    for (title, api, theirs), (_, _, ours) in zip(answers(apache), answers(ottla)):
        count[title, api] = count.get((title, api), 0) + 1
        matcher = difflib.SequenceMatcher(None, theirs, ours, autojunk=False)
        for kind, a, b, c, d in matcher.get_opcodes():
            if kind != "equal":
                found.append((title, f"{api} #{count[title, api]}", " ".join(theirs[a:b]), " ".join(ours[c:d])))
    return found


def run(arguments):
    table, known, seen = report.Report(), accepted(), set()
    told, tabled, served = {}, {}, None
    for kind in ("apache", "ottla"):
        told[kind] = at_new_server(kind, arguments, lambda port: play(port, arguments.only))
        # What the histories have left in lists is not what the tables ask about.
        tabled[kind], served = at_new_server(kind, arguments, lambda port: tables.play_all(port, arguments.only, served))
    for name, lines in told["apache"].items():
        found = differences(lines, told["ottla"][name])
        new = [it for it in found if (name, *it) not in known]
        seen |= {(name, *it) for it in found}
        count = len(answers(lines))
        alike = f"{name}: {count} answers alike" + (f", but for {len(found)} that are accepted" if found and not new else "")
        table.add("ottla", "raw", "failed" if new else "ok", alike if not new else name,
                  "\n".join(" | ".join((name, *it)) for it in new))
    if not arguments.only:
        for gone in sorted(known - seen):
            table.add("ottla", "raw", "failed", "an accepted difference is gone", " | ".join(gone))
    tables.compare(tabled["apache"], tabled["ottla"], table, arguments.only)
    wrong = tables.check_error_codes()
    table.add("ottla", "raw", "failed" if wrong else "ok", "error codes, names and texts are those of the jar", wrong)
    return table.end()
