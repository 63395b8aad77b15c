"""Brokers of other protocols, as Debian has them: NATS with JetStream, and RabbitMQ.

What has happened when a message is confirmed, in the way that each is loaded here:

- NATS JetStream, a stream of one replica in files: it was written to the file by a call of its own, and not flushed; files
  are flushed every `sync_interval`, two minutes by default.
- RabbitMQ, a classic queue in version 2, persistent messages: the batch it is in was written to the file, and not flushed.
  Version 1, its default, flushes the disk before it confirms, and so do quorum queues.

That is Kafka's contract, records in the page cache. strace shows it: a thousand messages one after the other are a thousand
writes and no fsync; `ottla-load rabbit --queue classic` or `quorum` has a thousand of these, too.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

from harness import peers
from kit import install, servers

# Debian puts servers where only root looks for programs.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
# Debian's way to keep a package from starting its service: a program that says no, by 101.
POLICY = pathlib.Path("/usr/sbin/policy-rc.d")


def service(name):
    """Installs the package of a server if it is not there; its service is not started, now or later."""
    if shutil.which(name, path=PATH):
        return
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    ours = not POLICY.exists()
    if ours:
        install.run([*as_root, "sh", "-c", f"printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}"], install.HOME)
    try:
        install.debian(name)
    finally:
        if ours:
            install.run([*as_root, "rm", "-f", POLICY], install.HOME)
    if pathlib.Path("/run/systemd/system").exists():
        install.run([*as_root, "systemctl", "disable", name], install.HOME)


class Other(peers.Measured, servers.Server):
    """A server that is loaded by a mode of the driver of its own, which makes its places for messages, too."""

    def prepare(self):
        self.data.mkdir(parents=True, exist_ok=True)

    def environment(self):
        return {**os.environ, "PATH": PATH}

    def start(self):
        """Starts the process and waits until it greets a client; returns the seconds that took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        begin = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        while not self.greets():
            if not self.alive() or time.monotonic() - begin > 120:
                self.kill()
                raise RuntimeError(f"{self.name} does not start\n{self.tail()}")
            time.sleep(0.02)
        return time.monotonic() - begin

    def topic(self, name, partitions=1, **configs):
        pass

    def count(self, name, partitions=1):
        """How many messages there are, as the server says."""
        command = [str(peers.driver_path), self.mode, "--port", str(self.port), "--topic", name, "--connections", str(partitions), "--ask"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["messages"]

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as stream:
                stream.sendall(self.hello)
                return stream.recv(len(self.greeting)) == self.greeting
        except OSError:
            return False


class Nats(Other):
    name, label, mode, package = "nats", "NATS JetStream", "nats", "nats-server"
    hello, greeting = b"", b"INFO "

    def command(self):
        return ["nats-server", "--addr", "127.0.0.1", "--port", str(self.port), "--jetstream", "--store_dir", str(self.data)]


class Rabbit(Other):
    name, label, mode, package = "rabbit", "RabbitMQ", "rabbit", "rabbitmq-server"
    hello, greeting = b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"

    def __init__(self, folder, data=None):
        super().__init__(folder, data)
        self.epmd, self.epmd_port = None, servers.free_port()

    def environment(self):
        folder = self.folder
        return {
            "PATH": PATH, "HOME": str(folder), "LANG": "C.UTF-8",
            # As a service manager starts it: the process is Erlang's own, with no shell above it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"), "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data), "RABBITMQ_LOG_BASE": str(folder / "log"), "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(servers.free_port()),
            "ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def prepare(self):
        super().prepare()
        # Erlang's register of nodes would be started by the server and outlive it: this one is ours.
        if self.epmd is None:
            self.epmd = subprocess.Popen(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"], cwd=self.folder,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def command(self):
        # The one in /usr/sbin wants to be root, or the user of the service.
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def kill(self):
        super().kill()
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait()
            self.epmd = None


PEERS = {"nats": Nats, "rabbitmq": Rabbit}


def at_hand():
    """The names of those that are installed or can be; of the others it says that they are left out."""
    found = []
    for kind, peer in PEERS.items():
        try:
            service(peer.package)
            found.append(kind)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            print(f"left out, {peer.package} cannot be installed: {str(error).splitlines()[-1]}", file=sys.stderr, flush=True)
    return found
