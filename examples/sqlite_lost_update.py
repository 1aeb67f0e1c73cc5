"""Two nurses raise a patient's risk at the same time, and one of the two notes is lost.

Each reads the risk, thinks, and writes it back. The module sqlite3 begins a transaction at the
UPDATE and not before: the SELECT stands outside of it, so nothing keeps the other one away. On a
real machine the two would have to meet within a few microseconds. `BEGIN IMMEDIATE` before the
SELECT is the cure, or `SET risk = risk + 1`.

    desvelo explore examples/sqlite_lost_update.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

runtime = "threads"


def setup():
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name, "clinic.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE patients (code TEXT PRIMARY KEY, risk INTEGER)")
        connection.execute("INSERT INTO patients VALUES ('P-1', 2)")
    return folder, path


def raise_risk(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        found = connection.execute("SELECT risk FROM patients WHERE code = 'P-1'")
        risk = found.fetchone()[0]
        connection.execute("UPDATE patients SET risk = ? WHERE code = 'P-1'", (risk + 1,))


def operations(state):
    _, path = state
    return {"day": lambda: raise_risk(path), "night": lambda: raise_risk(path)}


def check(state):
    _, path = state
    with closing(sqlite3.connect(path)) as connection:
        risk = connection.execute("SELECT risk FROM patients").fetchone()[0]
    assert risk == 4, f"raised twice from 2, and it is {risk}"


def teardown(state):
    folder, _ = state
    folder.cleanup()
