"""The metadata log in the folders of several voters: equal bytes below the high watermark; what Apache's own tools read there."""

import re
import struct
import subprocess

from kit import cluster, log_files, servers

TOPIC_RECORD = re.compile(r'"type":"TOPIC_RECORD","version":\d+,"data":\{"name":"([^"]+)"')
LATEST_TIME = 35


def folder(member):
    return member.metadata / cluster.METADATA_FOLDER


def batches(member):
    """(first offset, last offset, bytes) of each whole batch in a node's metadata log."""
    return log_files.batches(folder(member))


def snapshots(member):
    """The end offsets of a node's snapshots."""
    return sorted(int(path.name[:20]) for path in folder(member).glob("*.checkpoint"))


def log_start(member):
    """The first offset of a node's oldest segment."""
    return min((int(path.stem) for path in log_files.segments(folder(member))), default=-1)


def latest_time(member):
    """The time of a node's last batch, in seconds."""
    *_, (_, _, raw) = batches(member)
    return struct.unpack_from(">q", raw, LATEST_TIME)[0] / 1000


def compare(members, high_watermark):
    """How many bytes below the high watermark the logs of all members share, and the first difference, if there is one."""
    logs = {member.number: {base: (last, raw) for base, last, raw in batches(member) if last < high_watermark} for member in members}
    if not all(logs.values()):
        return 0, f"no batches below {high_watermark} at {[number for number, log in logs.items() if not log]}"
    start = max(min(log) for log in logs.values())
    first, log = next(iter(logs.items()))
    end = max(last for last, _ in log.values()) + 1
    if end != high_watermark:
        return 0, f"the batches of node {first} end at {end}, not at the high watermark {high_watermark}"
    shared = {base: row for base, row in log.items() if base >= start}
    for number, other in logs.items():
        rows = {base: row for base, row in other.items() if base >= start}
        for base in sorted({*shared, *rows}):
            if shared.get(base) != rows.get(base):
                both = f"{log_files.shown(shared.get(base))}, {log_files.shown(rows.get(base))}"
                return 0, f"nodes {first} and {number} differ at offset {base}: {both}"
    return sum(len(raw) for _, raw in shared.values()), ""


def dump_topics(member):
    """The topics that Apache's DumpLogSegments finds in a node's metadata log, and its complaints."""
    command = [*servers.java("-Xmx256m"), "org.apache.kafka.tools.DumpLogSegments", "--cluster-metadata-decoder", "--deep-iteration",
               "--files", ",".join(map(str, log_files.segments(folder(member))))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    bad = [line for line in (done.stdout + done.stderr).splitlines() if re.search(r"Exception|Could not|mismatch|not a valid", line)]
    if done.returncode:
        bad.append(f"exit {done.returncode}: {done.stderr[-300:]}")
    return set(TOPIC_RECORD.findall(done.stdout)), bad


def quorum_tool(*words):
    """Runs Apache's own kafka-metadata-quorum; what it printed."""
    command = [*servers.java("-Xmx128m"), "org.apache.kafka.tools.MetadataQuorumCommand", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    if done.returncode:
        raise RuntimeError(f"kafka-metadata-quorum {' '.join(map(str, words))}: exit {done.returncode}: "
                           f"{(done.stdout + done.stderr).strip()[:500]}")
    return done.stdout


def check_status(text, quorum):
    """What `describe --status` says otherwise than the leader itself."""
    rows = dict(re.findall(r"^(\w+):\s+(.*)$", text, re.M))
    found = {
        "LeaderId": (rows.get("LeaderId"), str(quorum.leader)),
        "LeaderEpoch": (rows.get("LeaderEpoch"), str(quorum.epoch)),
        "CurrentVoters": (sorted(re.findall(r'"id": (\d+)', rows.get("CurrentVoters", ""))), sorted(map(str, quorum.voters))),
        "CurrentObservers": (sorted(re.findall(r'"id": (\d+)', rows.get("CurrentObservers", ""))), sorted(map(str, quorum.observers))),
    }
    wrong = [f"{name} {got} where {due} was due" for name, (got, due) in found.items() if got != due]
    if int(rows.get("HighWatermark", -1)) < quorum.high_watermark:
        wrong.append(f"HighWatermark {rows.get('HighWatermark')} below {quorum.high_watermark}")
    if not 0 <= int(rows.get("MaxFollowerLag", -1)) <= 1000:
        wrong.append(f"MaxFollowerLag {rows.get('MaxFollowerLag')}")
    return wrong


def check_replication(text, quorum):
    """What `describe --replication` says otherwise than the leader itself."""
    found = {int(line.split()[0]): line.split() for line in text.splitlines()[1:] if line.strip()}
    due = {number: "Leader" if number == quorum.leader else "Follower" for number in quorum.voters}
    due.update({number: "Observer" for number in quorum.observers})
    wrong = [f"node {number}: {found.get(number)} where {status} was due" for number, status in due.items()
             if number not in found or found[number][-1] != status or int(found[number][2]) < quorum.ends()[number]]
    return wrong + [f"node {number} is in no quorum" for number in found if number not in due]
