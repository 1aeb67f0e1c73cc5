"""Small programs on one file: in the world under drawn schedules, and for real in an order."""

import functools
import sqlite3
import tempfile
from pathlib import Path

from desvelo.schedule.decisions import Recorder
from desvelo.schedule.policy import make_policy
from desvelo.schedule.scale import Scale
from desvelo.world import World

SCALE = Scale(polls=6, decisions=10, arrivals=2, threads=True)


@functools.cache
def template(journal):
    """Return the bytes of a file with a table of one row."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "template.db")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("CREATE TABLE risk (n INTEGER)")
        connection.execute("INSERT INTO risk VALUES (0)")
        connection.close()
        return path.read_bytes()


def fresh(folder, journal="DELETE"):
    """Make a table of one row in a new file and return its path."""
    path = Path(folder, "clinic.db")
    for end in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    path.write_bytes(template(journal))
    return str(path)


class Client:
    """One connection; "fetch" fetches what the query before it found."""

    def __init__(self, path, timeout=0.0):
        self.connection = sqlite3.connect(
            path, timeout=timeout, isolation_level=None, check_same_thread=False
        )
        self.connection.execute("PRAGMA synchronous = OFF")
        self.cursor = self.connection.cursor()

    def attempt(self, sql):
        """Run a statement and return what came of it."""
        try:
            if sql == "fetch":
                return self.cursor.fetchall()
            return self.cursor.execute(sql).rowcount
        except sqlite3.Error as error:
            return error.sqlite_errorname


def run(path, programs, policy=None, *, timeout=0.0, **options):
    """Run each program in a thread of its own; return the log of (who, sql, outcome) and seconds.

    Only statements are points at which others run, so the log is in the order in which they ran.
    """
    log = []
    recorder = None if policy is None else Recorder(policy)
    with World(recorder, runtime="threads", switch_files=lambda file: False, **options) as world:
        clients = world.within(lambda: {name: Client(path, timeout) for name in programs})

        def thread(name):
            client = clients[name]
            for sql in programs[name]:
                outcome = client.attempt(sql)
                log.append((name, sql, outcome))
            if client.connection.in_transaction:
                log.append((name, "ROLLBACK", client.attempt("ROLLBACK")))
            client.connection.close()

        world.deciding = True
        operations = [world.start(name, lambda name=name: thread(name)) for name in programs]
        world.finish(operations)
        assert [operation.error for operation in operations] == [None] * len(programs)
        return log, world.clock.now_ns / 1e9 - 1000


def replay_for_real(path, log):
    """Run the statements of a log in its order on real connections, in one real thread."""
    clients = {name: Client(path) for name in dict.fromkeys(name for name, _, _ in log)}
    outcomes = [(name, sql, clients[name].attempt(sql)) for name, sql, _ in log]
    for client in clients.values():
        client.connection.close()
    return outcomes


def policies(count, name="mix"):
    """Return that many policies, all different."""
    return [make_policy(name, seed, SCALE) for seed in range(count)]
