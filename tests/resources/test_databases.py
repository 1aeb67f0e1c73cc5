"""Connections and pools of asyncpg and psycopg, on a real server; what redis-py leaves open."""

import asyncio

import pytest

from desvelo import leak_check
from desvelo.servers.testing import need_postgres, need_redis

asyncpg = pytest.importorskip("asyncpg")
psycopg = pytest.importorskip("psycopg")
psycopg_pool = pytest.importorskip("psycopg_pool")

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def dsn():
    return need_postgres().dsn


@pytest.fixture(scope="module")
def redis_url():
    return need_redis().url


async def connection_of_asyncpg(dsn):
    connection = await asyncpg.connect(dsn)
    return connection, connection.close


async def pool_of_asyncpg(dsn):
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    await pool.fetchval("SELECT 1")
    return pool, pool.close


async def connection_of_psycopg(dsn):
    connection = await psycopg.AsyncConnection.connect(dsn)
    return connection, connection.close


async def pool_of_psycopg(dsn):
    pool = psycopg_pool.AsyncConnectionPool(dsn, min_size=1, open=False)
    await pool.open(wait=True)
    return pool, pool.close


CASES = [
    (connection_of_asyncpg, "connection"),
    (pool_of_asyncpg, "pool"),
    (connection_of_psycopg, "connection"),
    (pool_of_psycopg, "pool"),
]


@pytest.mark.parametrize(("open_one", "kind"), CASES)
def test_a_connection_or_a_pool_is_reported_once_with_its_line(dsn, open_one, kind):
    async def main():
        check = leak_check()
        check.begin()
        kept, close = await open_one(dsn)
        found = await check.end_in_loop()
        assert kept is not None
        await close()
        return found

    [leak] = asyncio.run(main())
    assert leak.kind == kind
    assert f"in {open_one.__name__}, called from " in leak.made


@pytest.mark.parametrize(("open_one", "kind"), CASES)
def test_what_is_closed_is_not_reported(dsn, open_one, kind):
    async def main():
        async with leak_check():
            kept, close = await open_one(dsn)
            await close()
        return kept

    asyncio.run(main())


def test_a_synchronous_connection_and_pool_of_psycopg(dsn):
    check = leak_check()
    check.begin()
    connection = psycopg.connect(dsn)
    pool = psycopg_pool.ConnectionPool(dsn, min_size=1, open=True)
    pool.wait()
    assert [leak.kind for leak in check.end()] == ["connection", "pool"]
    connection.close()
    pool.close()
    with leak_check(), psycopg.connect(dsn) as connection:
        connection.execute("SELECT 1")


def test_redis(redis_url):
    from redis.asyncio import Redis

    async def main():
        async with leak_check():
            client = Redis.from_url(redis_url)
            await asyncio.gather(*(client.ping() for _ in range(3)))
            await client.aclose()
        check = leak_check()
        check.begin()
        left = Redis.from_url(redis_url)
        await left.ping()
        found = await check.end_in_loop()
        await left.aclose()
        return found

    [leak] = asyncio.run(main())
    assert leak.kind == "client"
    assert "in main" in leak.made
