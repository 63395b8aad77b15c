"""Puts each client into `conformance/.cache`, from its own registry, once."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

HOME = pathlib.Path(__file__).resolve().parents[1]
CACHE = HOME / ".cache"
CLIENTS = HOME / "clients"

KAFKA = "4.3.1"
LOG4J = "2.25.4"
OLD_KAFKA = "2.7.0"
FORMER_KAFKA = "3.9.1"
RDKAFKA_SYS = "4.10.0+2.12.1"
PYTHON = {
    "confluent": ["confluent-kafka==2.16.1"],
    "kafka-python": ["kafka-python==3.0.12", "python-snappy==0.7.3", "lz4==4.4.4", "zstandard==0.25.0", "crc32c==2.7.1"],
    "jsonschema": ["jsonschema==4.26.0"],
    "aiokafka": ["aiokafka==0.14.0", "cramjam==2.11.0"],
}
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>conformance</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{}</dependencies></project>
"""

locks, guard = {}, threading.Lock()


def once(name, recipe, make):
    """Runs `make(folder)` unless the folder was already filled by the same recipe; returns the folder."""
    with guard:
        lock = locks.setdefault(name, threading.Lock())
    with lock:
        folder, mark = CACHE / name, CACHE / name / ".made"
        wanted = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
        if mark.exists() and mark.read_text() == wanted:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        mark.write_text(wanted)
        return folder


def run(command, folder):
    """Runs an installing command, quiet unless it fails."""
    result = subprocess.run(
        [str(word) for word in command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, timeout=900, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{result.stdout[-3000:]}")
    return result.stdout


def debian(*packages):
    """apt-get install, for what a bare machine lacks."""
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    install = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
               "--no-install-recommends", *packages]
    try:
        run(install, HOME)
    except RuntimeError:
        run([*as_root, "apt-get", "update"], HOME)
        run(install, HOME)


apt_lock = threading.Lock()


def program(name, package):
    """Makes sure that a program is on the PATH."""
    with apt_lock:
        if shutil.which(name) is None:
            debian(package)


def jars(name, artifacts):
    """A folder with the jars of these Maven artifacts and of all they need at run time."""
    rows = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *artifact.split(":")) for artifact in artifacts)

    def make(folder):
        program("mvn", "maven")
        (folder / "pom.xml").write_text(POM.format(rows))
        run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime",
             f"-DoutputDirectory={folder}"], folder)

    return once(name, artifacts, make)


def apache():
    """The jars of the genuine server and its tools."""
    kafka = [f"org.apache.kafka:{name}:{KAFKA}" for name in ("kafka_2.13", "kafka-tools", "kafka-shell")]
    log4j = [f"org.apache.logging.log4j:log4j-{name}:{LOG4J}" for name in ("api", "core", "slf4j-impl", "1.2-api")]
    return jars("apache", kafka + log4j)


def former_tools():
    """The jars of Apache's tools of the last release with ZooKeeper, which many still have."""
    return jars("apache-tools-" + FORMER_KAFKA, [f"org.apache.kafka:{name}:{FORMER_KAFKA}" for name in ("kafka_2.13", "kafka-tools")])


def old_java():
    """The jars of the old Java client."""
    return jars("java-" + OLD_KAFKA, [f"org.apache.kafka:kafka-clients:{OLD_KAFKA}", "org.slf4j:slf4j-nop:1.7.36"])


def classes(name, jar_folder, sources):
    """Java sources of ours, compiled against a folder of jars."""
    texts = [source.read_text() for source in sources]

    def make(folder):
        program("javac", "default-jdk-headless")
        run(["javac", "-nowarn", "-cp", f"{jar_folder}/*", "-d", folder, *sources], folder)

    return once(name, texts, make)


def clock():
    """The library that sets a process's wall clock off."""
    source = HOME / "kit" / "clock.c"

    def make(folder):
        program("cc", "gcc")
        run(["cc", "-O1", "-shared", "-fPIC", "-o", folder / "clock.so", source], folder)

    return once("clock", source.read_text(), make) / "clock.so"


def python(name):
    """The interpreter of a virtual environment with the wanted packages."""

    def make(folder):
        try:
            run([sys.executable, "-m", "venv", folder], folder)
        except RuntimeError:
            debian("python3-venv")
            run([sys.executable, "-m", "venv", "--clear", folder], folder)
        run([folder / "bin/python", "-m", "pip", "install", "-q", *PYTHON[name]], folder)

    return once("python-" + name, PYTHON[name], make) / "bin/python"


def node():
    """The folder in which the Node client and its packages lie."""
    source = CLIENTS / "kafkajs"
    recipe = [(source / name).read_text() for name in ("package.json", "package-lock.json")]

    def make(folder):
        program("npm", "npm")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    return once("kafkajs", recipe, make)


def go(name):
    """A compiled Go client."""
    source = CLIENTS / name
    recipe = [path.read_text() for path in sorted(source.iterdir())]

    def make(folder):
        program("go", "golang-go")
        run(["go", "build", "-o", folder / "client", "."], source)

    return once(name, recipe, make) / "client"


def kcat():
    """kcat of the distribution."""
    program("kcat", "kcat")
    return "kcat"


def librdkafka_tests():
    """librdkafka's test programs, built from the sources that the crate rdkafka-sys ships; the path of their runner."""

    def make(folder):
        archive = folder / "crate.tgz"
        url = f"https://static.crates.io/crates/rdkafka-sys/rdkafka-sys-{RDKAFKA_SYS}.crate"
        run(["curl", "-sSfL", "-o", archive, url], folder)
        run(["tar", "xzf", archive, "--strip-components=1"], folder)
        source = folder / "librdkafka"
        run(["./configure", "--disable-ssl", "--disable-gssapi", "--disable-curl", "--disable-zstd"], source)
        # The tests are meant for three brokers; here is one, so that topics get one replica.
        test = source / "tests" / "test.c"
        one = test.read_text().replace("partition_cnt, replication_factor,\n", "partition_cnt, 1,\n")
        assert one != test.read_text(), "librdkafka's tests create topics elsewhere now"
        test.write_text(one)
        run(["make", "-j2", "libs"], source)
        run(["make", "-j2", "build"], source / "tests")

    return once("librdkafka", RDKAFKA_SYS, make) / "librdkafka" / "tests" / "test-runner"


def librdkafka_performance():
    """librdkafka's own program that measures, from the same sources; its path."""
    examples = librdkafka_tests().parents[1] / "examples"
    program = examples / "rdkafka_performance"
    if not program.exists():
        run(["make", program.name], examples)
    return program
