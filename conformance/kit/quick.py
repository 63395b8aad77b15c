"""`quick`: every client does its checks on a running server, which is restarted twice."""

import concurrent.futures
import tempfile

from kit import adopt, clients, groups, report, servers, wire


def choose(only):
    """The clients to run; `only` is a name or names with commas."""
    if not only:
        return clients.ALL
    names = only.split(",")
    unknown = set(names) - {client.name for client in clients.ALL}
    if unknown:
        raise SystemExit(f"no such client: {', '.join(unknown)}; there are {', '.join(c.name for c in clients.ALL)}")
    return [client for client in clients.ALL if client.name in names]


class Quick:
    """One run: the server, the clients that could be installed, and the table."""

    def __init__(self, server, chosen):
        self.server, self.table = server, report.Report()
        self.chosen, self.versions = [], {}
        self.pool = concurrent.futures.ThreadPoolExecutor(4)
        self.all = chosen

    def each(self, act, those, width=2):
        """Calls `act(client)` for all, `width` at a time."""
        with concurrent.futures.ThreadPoolExecutor(width) as pool:
            for future in [pool.submit(act, client) for client in those]:
                future.result()

    def install(self, client):
        try:
            client.command()
            self.versions[client.name] = client.version()
        except Exception as error:  # one client that cannot be installed must not hide the others
            self.table.add(client.name, "?", "failed", "install", str(error))

    def add(self, client):
        return lambda *row: self.table.add(client.name, self.versions[client.name], *row)

    def phase(self, phase, *arguments):
        """A step in which every client that can runs `phase`."""
        def act(client):
            if phase not in client.phases:
                return
            for result in client.run(self.server, phase, *[a(client) if callable(a) else a for a in arguments]):
                self.add(client)(*result)

        self.each(act, self.chosen)

    def able(self, phase):
        return [client for client in self.chosen if phase in client.phases]

    def prepare_resume(self):
        """A topic of 12 records for each client, to be read in four visits."""
        with wire.Connection(self.server.port) as connection:
            for client in self.able("resume"):
                name = f"{client.name}-resume"
                wire.topic(connection, name)
                rows = wire.batch([(b"k", b"%d" % n) for n in range(12)])
                assert wire.produce(connection, name, 0, rows)[:2] == (0, 0)

    def resume(self, first, count, note):
        self.phase("resume", lambda c: f"{c.name}-resume", lambda c: f"{c.name}-resume", first, count, note)

    def restart(self, name, end):
        """Ends the server with `end` and starts it again."""
        code = end()
        seconds = self.server.start()
        self.table.add("server", "", "ok", f"{name}: answers again after {seconds:.2f} s", "")
        return code

    def run(self):
        self.each(self.install, self.all)
        self.chosen = [client for client in self.all if client.name in self.versions]
        seconds = self.server.start()
        self.table.add("server", "", "ok", f"{self.server.version()} answers after {seconds:.2f} s", "")
        self.phase("write")
        writers = [client.name for client in self.able("write")]
        self.phase("read", *writers)
        self.prepare_resume()
        self.resume(0, 5, "of a new group")
        self.resume(5, 3, "after a restart of the client")
        self.phase("rest")
        self.each(lambda client: groups.run(client, self.server, self.add(client)), self.chosen)
        code = self.restart("clean restart", self.server.stop)
        good = code == 0 or self.server.name == "apache"  # a JVM ends with 143 after SIGTERM
        self.table.add("server", "", "ok" if good else "failed", "SIGTERM ends it with exit code 0", f"exit code {code}")
        self.resume(8, 2, "after a clean restart of the server")
        self.restart("kill -9", self.server.kill)
        self.resume(10, 2, "after kill -9 of the server")
        self.phase("read", *writers)
        self.server.stop()
        if self.server.name == "ottla":
            count, bad = adopt.dump(self.server.data)
            good = count > 10 and not bad
            self.table.add("server", "", "ok" if good else "failed",
                           f"Apache's DumpLogSegments reads the {count} files without a complaint", "; ".join(bad)[:600])


def run(arguments):
    chosen = choose(arguments.only)
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        if arguments.against == "apache":
            server = servers.Apache(folder)
        else:
            server = servers.Ottla(folder, binary=arguments.binary)
        quick = Quick(server, chosen)
        try:
            quick.run()
        except RuntimeError as error:  # a server that does not start ends the run, with what is known so far
            quick.table.add("server", "", "failed", "runs", str(error))
        finally:
            server.kill()
        return quick.table.end()
