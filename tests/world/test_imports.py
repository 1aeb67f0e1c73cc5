"""Libraries that a scenario imports inside the world are under control at once."""

import subprocess
import sys

from desvelo.servers.testing import need_postgres
from desvelo.world import World
from desvelo.world.imports import WATCHED, ImportWatch

LATE = """
from desvelo.servers import postgres

runtime = "threads"
servers = [postgres]

def setup():
    import psycopg
    return psycopg.connect(postgres().dsn, autocommit=True)

def operations(connection):
    def ask():
        assert connection.execute("SELECT 1").fetchone() == (1,)
    return {"ask": ask}

def teardown(connection):
    connection.close()
"""


def test_a_driver_that_is_first_imported_in_setup_is_under_control(tmp_path):
    need_postgres()
    (tmp_path / "late.py").write_text(LATE)
    command = [sys.executable, "-m", "desvelo", "explore", "late.py", "--max-executions", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_watched_package_keeps_its_own_loader(tmp_path, monkeypatch):
    name = next(iter(sorted(WATCHED)))
    (tmp_path / f"{name}.py").write_text("HERE = __loader__\n")
    monkeypatch.syspath_prepend(tmp_path)
    for known in [one for one in sys.modules if one.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, known)
    told = []
    watch = ImportWatch(lambda: told.append(name in sys.modules))
    watch.start()
    try:
        module = __import__(name)
    finally:
        watch.stop()
        sys.modules.pop(name, None)
    assert told == [True]
    assert module.HERE is module.__loader__ is module.__spec__.loader
    assert type(module.__loader__).__name__ == "SourceFileLoader"


def test_nothing_watches_outside_the_world():
    before = list(sys.meta_path)
    with World():
        assert len(sys.meta_path) == len(before) + 1
    assert sys.meta_path == before
