"""A real server that dies in mid-run: one clear sentence, and what was found is kept."""

import os
import signal
import sys

import asyncpg
import pytest

from desvelo import explore
from desvelo.errors import ServerGone
from desvelo.finding.finding import Finding
from desvelo.servers.testing import need_postgres
from desvelo.world import World


@pytest.fixture
def mortal():
    """A server of its own, which may be killed."""
    if not need_postgres().ours:
        pytest.skip("the server is not ours to kill")
    server = sys.modules["desvelo.servers.postgres"]._started()
    yield server
    server.stop()


def kill(server):
    os.kill(server.process, signal.SIGKILL)


def test_a_statement_under_way_ends_the_execution_with_one_sentence(mortal):
    async def operation():
        connection = await asyncpg.connect(mortal.dsn)
        kill(mortal)
        for _ in range(1000):
            await connection.execute("SELECT pg_sleep(0.01)")

    with (
        pytest.raises(ServerGone, match=r"PostgreSQL at \S+ .*") as caught,
        World(servers=[mortal]) as world,
    ):
        world.run(operation())
    assert "\n" not in str(caught.value)


def test_a_finding_is_kept_when_the_server_dies_while_it_is_made_smaller(mortal, tmp_path):
    class Registry:
        servers = (mortal,)
        executions = 0

        async def setup(self):
            type(self).executions += 1
            if self.executions == 4:
                kill(mortal)

        def operations(self, state):
            async def select():
                connection = await asyncpg.connect(mortal.dsn)
                await connection.execute("SELECT 1")
                await connection.close()

            return {"one": select, "two": select}

        async def check(self, state):
            raise AssertionError("never right")

    with pytest.raises(ServerGone):
        explore(Registry, max_seconds=20, seed=1, save=tmp_path)
    (file,) = tmp_path.glob("*.json")
    assert "never right" in str(Finding.load(file).error)
