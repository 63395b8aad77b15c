"""`patterns`: what RE2/J itself says of each pattern of the coordinator's table, and whether the table says the same.

Members subscribe to topics by patterns of RE2/J, which Ottla reads by rules of its own. The table is a test of the
coordinator's crate (`crates/coordinator/tests/it/patterns.txt`); this asks the library beside Apache Kafka's jars.
`UPDATE=1` writes its answers into the table, after patterns were added to it.
"""

import os
import subprocess
import tempfile

from kit import install, report, servers

TABLE = servers.ROOT / "crates/coordinator/tests/it/patterns.txt"
PROGRAM = servers.ROOT / "conformance/kit/Patterns.java"


def read_table():
    """The table's legend and its rows."""
    lines = TABLE.read_text().splitlines(keepends=True)
    legend = [line for line in lines if line.startswith("# ")]
    return "".join(legend), "".join(lines[len(legend):])


def answers(rows):
    """The rows as RE2/J writes them."""
    library = next(install.apache().glob("re2j-*.jar"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(rows)
        file.flush()
        return answers_of(library, file.name)


def answers_of(library, path):
    command = ["java", "-Xss4m", "-cp", str(library), str(PROGRAM), path]
    environment = {**os.environ, "JDK_JAVA_OPTIONS": "-Dfile.encoding=UTF-8"}
    told = subprocess.run(command, capture_output=True, timeout=300, check=True, env=environment)
    return told.stdout.decode()


def run(arguments):
    table = report.Report()
    legend, rows = read_table()
    genuine = answers(rows)
    if os.environ.get("UPDATE", "0") not in ("", "0"):
        TABLE.write_text(legend + genuine)
        rows = genuine
    lines = list(zip(genuine.splitlines(), rows.splitlines()))
    wrong = [f"{ours.split(chr(9))[0]}\n  RE2/J: {theirs}\n  table: {ours}" for theirs, ours in lines if theirs != ours]
    if genuine.count("\n") != rows.count("\n"):
        wrong.append("the table has another number of lines")
    table.add("re2j", "patterns", "failed" if wrong else "ok", f"{len(lines) - 1} patterns are answered as in the table", "\n".join(wrong))
    return table.end()
