"""Servers for pytest: a fixture, and a skip of one line where there is no server."""

from __future__ import annotations

import pytest

from desvelo.servers.launch import ServerUnavailable
from desvelo.servers.postgres import PostgresServer, postgres
from desvelo.servers.redis import RedisServer, redis


def need_postgres() -> PostgresServer:
    """Return this process's PostgreSQL server, or skip the test and say how to get one."""
    try:
        return postgres()
    except ServerUnavailable as error:
        pytest.skip(str(error))


def need_redis(*, ours: bool = False) -> RedisServer:
    """Return this process's Redis server, or skip the test and say how to get one.

    With ``ours`` it has to be one that was started here, which may be emptied.
    """
    try:
        server = redis()
    except ServerUnavailable as error:
        pytest.skip(str(error))
    if ours and not server.ours:
        pytest.skip("DESVELO_REDIS_URL names a server that is not ours to empty")
    return server


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """This process's PostgreSQL server; the test is skipped where there is none."""
    return need_postgres()
