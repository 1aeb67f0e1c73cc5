import gc
import warnings

import pytest

from desvelo.servers.testing import need_postgres


@pytest.fixture(autouse=True)
def _careless():
    """Let go of connections that a test has left open on purpose, without their complaints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture
def server():
    """A real PostgreSQL with three counters and nothing registered."""
    found = need_postgres()
    found.prepare(
        "CREATE TABLE counter (id int PRIMARY KEY, n int);"
        "CREATE TABLE registry (code text);"
        "CREATE TABLE unique_registry (code text UNIQUE)"
    )
    found.reset()
    found.run("INSERT INTO counter SELECT i, 0 FROM generate_series(1, 3) i")
    return found
