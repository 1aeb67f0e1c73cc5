"""A patient registered twice in PostgreSQL: two transactions look, and both insert.

The server is a real one, found on the machine or started for the occasion; both clients are
plain asyncpg. On an idle machine the second client comes when the first has long committed.

    desvelo explore examples/postgres_duplicate.py
"""

import asyncio

import asyncpg
from desvelo.servers import postgres

servers = [postgres]


async def setup():
    server = postgres()
    server.prepare("CREATE TABLE IF NOT EXISTS patient (id serial PRIMARY KEY, code text NOT NULL)")
    server.reset("patient")
    return server


def operations(server):
    async def register(after):
        await asyncio.sleep(after)
        connection = await asyncpg.connect(server.dsn)
        try:
            async with connection.transaction():
                known = await connection.fetchval("SELECT id FROM patient WHERE code = $1", "P-1")
                if known is None:
                    await connection.execute("INSERT INTO patient (code) VALUES ($1)", "P-1")
        finally:
            await connection.close()

    return {"first": lambda: register(0), "second": lambda: register(0.02)}


async def check(server):
    connection = await asyncpg.connect(server.dsn)
    try:
        count = await connection.fetchval("SELECT count(*) FROM patient")
    finally:
        await connection.close()
    assert count == 1, f"registered {count} times"
