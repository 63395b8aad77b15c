"""Starting the raw driver, reading its report, and checking that nothing was lost."""

import json
import subprocess

from harness import peers

MB = 1_000_000


def start(server, mode, topic, **options):
    words = [word for key, value in options.items() for word in ("--" + key.replace("_", "-"), str(value))]
    command = [str(peers.driver_path), mode, "--port", str(server.port), "--topic", topic, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def report(process):
    out, _ = process.communicate()
    assert process.returncode == 0, f"{' '.join(process.args)} failed"
    return json.loads(out)


def check(server, topic, partitions, wanted):
    """Every record that was acknowledged is there, once."""
    found = server.count(topic, partitions)
    assert found in (None, wanted), f"{server.label}: {found} records in {topic}, {wanted} were acknowledged"
