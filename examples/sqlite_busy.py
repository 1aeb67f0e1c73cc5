"""A transaction that reads first and writes later is refused at once, whatever its time-out.

Both import a list of patients: begin, look whether the code is known, insert. A transaction that
has read may not wait for the lock to write, for the other might wait for it in turn: SQLite says
"database is locked" without waiting any of the 30 seconds. The program takes that for a full
queue and gives up. `BEGIN IMMEDIATE` is the cure.

    desvelo explore examples/sqlite_busy.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

runtime = "threads"


def setup():
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name, "clinic.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE patients (code TEXT)")
    return folder, path


def register(path, code):
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        known = connection.execute("SELECT 1 FROM patients WHERE code = ?", (code,)).fetchone()
        if known is None:
            connection.execute("INSERT INTO patients VALUES (?)", (code,))
        connection.execute("COMMIT")


def operations(state):
    _, path = state
    return {"first": lambda: register(path, "P-1"), "second": lambda: register(path, "P-2")}


def teardown(state):
    folder, _ = state
    folder.cleanup()
