"""`patterns`: what RE2/J itself says of each pattern of the coordinator's table, and whether the table says the same.

Members subscribe to topics by patterns of RE2/J, which Ottla reads by rules of its own. The table is a test of the
coordinator's crate (`crates/coordinator/tests/it/patterns.txt`); this asks the library beside Apache Kafka's jars.
`--write` writes its answers into the table, after patterns were added to it.
"""

import os
import subprocess

from kit import install, report, servers

TABLE = servers.ROOT / "crates/coordinator/tests/it/patterns.txt"
PROGRAM = servers.ROOT / "conformance/kit/Patterns.java"


def answers():
    """The table as RE2/J writes it."""
    library = next(install.apache().glob("re2j-*.jar"))
    command = ["java", "-Xss4m", "-cp", str(library), str(PROGRAM), str(TABLE)]
    environment = {**os.environ, "JDK_JAVA_OPTIONS": "-Dfile.encoding=UTF-8"}
    told = subprocess.run(command, capture_output=True, timeout=300, check=True, env=environment)
    return told.stdout.decode()


def run(arguments):
    table = report.Report()
    genuine = answers()
    if arguments.write:
        TABLE.write_text(genuine)
    lines = list(zip(genuine.splitlines(), TABLE.read_text().splitlines()))
    wrong = [f"{ours.split(chr(9))[0]}\n  RE2/J: {theirs}\n  table: {ours}" for theirs, ours in lines if theirs != ours]
    if genuine.count("\n") != TABLE.read_text().count("\n"):
        wrong.append("the table has another number of lines")
    table.add("re2j", "patterns", "failed" if wrong else "ok", f"{len(lines) - 1} patterns are answered as in the table", "\n".join(wrong))
    return table.end()
