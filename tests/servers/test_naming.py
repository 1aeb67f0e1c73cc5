"""Servers that a scenario uses without naming them, and those that refuse in its setup."""

import pytest

from desvelo import explore
from desvelo.errors import TargetError
from desvelo.servers import postgres, redis
from desvelo.servers.postgres import Address, PostgresServer
from desvelo.servers.testing import need_postgres


@pytest.mark.parametrize(("kind", "server"), [("postgres", postgres), ("redis", redis)])
@pytest.mark.parametrize("runtime", ["asyncio", "threads"])
def test_a_server_that_the_scenario_does_not_name_is_told_before_it_starts(kind, server, runtime):
    class Forgotten:
        def setup(self):
            return server()

        def operations(self, found):
            return {"one": lambda: None}

    Forgotten.runtime = runtime
    with pytest.raises(TargetError) as caught:
        explore(Forgotten, max_executions=1)
    said = str(caught.value)
    assert "scenario 'Forgotten'" in said
    assert f"{kind}() at " in said
    assert f"servers = [{kind}]" in said
    assert "test_naming.py:" in said


def test_a_server_that_was_started_elsewhere_has_to_be_named_too():
    server = need_postgres()

    class Forgotten:
        def setup(self):
            return postgres()

        def operations(self, found):
            return {"one": lambda: None}

    with pytest.raises(TargetError, match=r"servers = \[postgres\]"):
        explore(Forgotten, max_executions=1)
    Forgotten.servers = [server]
    assert explore(Forgotten, max_executions=1) is None


def test_an_error_of_the_server_in_setup_names_the_scenario_and_the_line():
    need_postgres()

    class NoTable:
        servers = (postgres,)

        def setup(self):
            postgres().reset("no_such_table")

        def operations(self, state):
            return {"one": lambda: None}

    with pytest.raises(TargetError) as caught:
        explore(NoTable, max_executions=1)
    said = str(caught.value)
    assert said.startswith("scenario 'NoTable': setup() failed at ")
    assert "test_naming.py:" in said
    assert 'relation "no_such_table" does not exist' in said


@pytest.mark.parametrize(
    ("driver", "runtime"), [("asyncpg", "asyncio"), ("psycopg", "asyncio"), ("psycopg", "threads")]
)
def test_the_dsn_with_a_driver_in_it_is_a_url_for_sqlalchemy(driver, runtime):
    need_postgres()
    pytest.importorskip(driver)
    sqlalchemy = pytest.importorskip("sqlalchemy")
    extension = pytest.importorskip("sqlalchemy.ext.asyncio")
    question = sqlalchemy.text("SELECT 1")

    class Asking:
        servers = (postgres,)

        def setup(self):
            make = (
                sqlalchemy.create_engine if runtime == "threads" else extension.create_async_engine
            )
            return make(postgres().dsn.replace("postgresql://", f"postgresql+{driver}://"))

        def operations(self, engine):
            async def ask():
                async with engine.connect() as connection:
                    assert await connection.scalar(question) == 1

            def ask_in_a_thread():
                with engine.connect() as connection:
                    assert connection.scalar(question) == 1

            return {"one": ask_in_a_thread if runtime == "threads" else ask}

        def teardown(self, engine):
            return engine.dispose()

    Asking.runtime = runtime
    assert explore(Asking, max_executions=2) is None


def test_a_dsn_has_no_options_and_quotes_what_must_be():
    server = PostgresServer.__new__(PostgresServer)
    server.address = Address("::1", 5432, "a b", "p@ss/word", "the clinic")
    server.host, server.port = "::1", 5432
    server.user, server.password, server.database = "a b", "p@ss/word", "the clinic"
    assert server.dsn == "postgresql://a%20b:p%40ss%2Fword@[::1]:5432/the%20clinic"
