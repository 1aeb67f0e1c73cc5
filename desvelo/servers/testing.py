"""Servers for pytest: a fixture, and a skip of one line where there is no server."""

from __future__ import annotations

import pytest

from desvelo.servers.launch import ServerUnavailable
from desvelo.servers.postgres import PostgresServer, postgres


def need_postgres() -> PostgresServer:
    """Return this process's PostgreSQL server, or skip the test and say how to get one."""
    try:
        return postgres()
    except ServerUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """This process's PostgreSQL server; the test is skipped where there is none."""
    return need_postgres()
