"""Two threads add to one row of a table, each by what it has read."""

import shutil
import sqlite3
import tempfile
from pathlib import Path

runtime = "threads"


def setup():
    path = Path(tempfile.mkdtemp()) / "accounts.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, n INTEGER)")
        database.execute("INSERT INTO account VALUES (1, 0)")
    database.close()
    return path


def operations(path):
    def add(amount):
        database = sqlite3.connect(path, isolation_level=None)
        try:
            (n,) = database.execute("SELECT n FROM account WHERE id = 1").fetchone()
            database.execute("UPDATE account SET n = ? WHERE id = 1", (n + amount,))
        finally:
            database.close()

    return {"one": lambda: add(1), "ten": lambda: add(10)}


def check(path):
    database = sqlite3.connect(path)
    (n,) = database.execute("SELECT n FROM account").fetchone()
    database.close()
    assert n == 11, n


def teardown(path):
    shutil.rmtree(path.parent)
