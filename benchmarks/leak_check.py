"""What a leak check costs a test on the real system, and whether it accuses clean code.

``python -m benchmarks leak_check [--tests 200] [--rounds 4]`` runs one file of tests with pytest,
in turns with and without ``--leak-check``, and prints the time of a test (setup, call and teardown)
both ways. ``--uses 100`` uses aiohttp, httpx, redis-py and the drivers of databases plainly, and
closes them properly, so many times each in a checked block; what is reported then is a false alarm,
and the exit status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles

import aiohttp
import httpx
from aiohttp import web

from desvelo import leak_check
from desvelo.resources.leak import ResourceLeak

BODIES = {
    "nothing": "def test_{name}_{n}():\n    pass\n",
    "asyncio": (
        "def test_{name}_{n}():\n"
        "    async def main():\n"
        "        await asyncio.gather(*(asyncio.sleep(0) for _ in range(10)))\n"
        "    asyncio.run(main())\n"
    ),
    "files": (
        "def test_{name}_{n}():\n"
        "    for _ in range(20):\n"
        '        with open(__file__, encoding="utf-8") as file:\n'
        "            file.readline()\n"
    ),
    "aiohttp": (
        "def test_{name}_{n}():\n"
        "    async def answer(request):\n"
        '        return web.Response(text="bread")\n'
        "    async def main():\n"
        "        app = web.Application()\n"
        '        app.router.add_get("/", answer)\n'
        "        runner = web.AppRunner(app)\n"
        "        await runner.setup()\n"
        '        await web.TCPSite(runner, "127.0.0.1", 0).start()\n'
        "        async with aiohttp.ClientSession() as session:\n"
        "            for _ in range(5):\n"
        '                url = f"http://127.0.0.1:{{runner.addresses[0][1]}}/"\n'
        "                async with session.get(url) as response:\n"
        "                    await response.text()\n"
        "        await runner.cleanup()\n"
        "    asyncio.run(main())\n"
    ),
}
TIMING = """
import json, os, time, pytest
TIMES = {}

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    began = time.perf_counter(), time.process_time()
    result = yield
    ended = time.perf_counter(), time.process_time()
    times = ended[0] - began[0], ended[1] - began[1]
    TIMES.setdefault(item.name.split("_")[1], []).append(times)
    return result

def pytest_unconfigure():
    with open(os.environ["TIMES"], "w") as file:
        json.dump(TIMES, file)
"""


def main() -> int:
    """Print both tables, or one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks leak_check", description=__doc__)
    parser.add_argument("--tests", type=int, default=200, help="of each sort, in each round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--uses", type=int, default=0, help="plain uses of each library")
    options = parser.parse_args()
    if options.uses:
        return false_alarms(options.uses)
    cost(options.tests, options.rounds)
    return 0


# cost


def cost(tests: int, rounds: int) -> None:
    """Run the file in turns, and compare the medians."""
    times: dict[bool, dict[str, list[tuple[float, float]]]] = {False: {}, True: {}}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "conftest.py").write_text(TIMING)
        (place / "pytest.ini").write_text("[pytest]\n")
        (place / "test_cost.py").write_text(
            "import asyncio\nimport aiohttp\nfrom aiohttp import web\n"
            + "".join(
                body.format(name=name, n=number)
                for number in range(tests)
                for name, body in BODIES.items()
            )
        )
        for turn in range(2 * rounds):
            on = turn % 2 == 1
            for name, found in run_tests(place, checked=on).items():
                times[on].setdefault(name, []).extend(found)
    print(f"a test with and without the leak check, {tests} x {rounds} tests each, milliseconds")
    print(
        f"{'test':10} {'':10} {'without':>8} {'with':>8} {'cost':>8} {'at the 95th percentile':>24}"
    )
    for name in BODIES:
        for index, clock in enumerate(("real time", "processor")):
            without = [both[index] for both in times[False][name]]
            checked = [both[index] for both in times[True][name]]
            late = quantiles(checked, n=20)[-1] - quantiles(without, n=20)[-1]
            print(
                f"{name:10} {clock:10} {median(without) * 1e3:8.2f} {median(checked) * 1e3:8.2f} "
                f"{(median(checked) - median(without)) * 1e3:8.2f} {late * 1e3:24.2f}"
            )


def run_tests(place: Path, *, checked: bool) -> dict[str, list[tuple[float, float]]]:
    """Run the file once in a process of its own."""
    times = place / "times.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(["--leak-check"] if checked else []), "test_cost.py"],
        cwd=place,
        env={**os.environ, "TIMES": str(times), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.stdout[-4000:] + done.stderr[-2000:])
    found: dict[str, list[tuple[float, float]]] = json.loads(times.read_text())
    return found


# false alarms


@contextlib.asynccontextmanager
async def a_shop() -> AsyncIterator[str]:
    """Run a server that answers, streams, and talks over a websocket."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"bread" * 1000)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"bread")
            await asyncio.sleep(0)
        return response

    async def talk(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(str(message.data))
        return websocket

    app = web.Application()
    app.router.add_get("/", answer)
    app.router.add_get("/stream", stream)
    app.router.add_get("/talk", talk)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def use_aiohttp() -> None:
    async with a_shop() as url, aiohttp.ClientSession() as session:
        for path in ("/", "/stream", "/"):
            async with session.get(url + path) as response:
                await response.read()
        await asyncio.gather(*(read(session, url) for _ in range(5)))
        async with session.ws_connect(url + "/talk") as websocket:
            await websocket.send_str("bread")
            await websocket.receive_str()


async def read(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url) as response:
        await response.read()


async def use_httpx() -> None:
    async with a_shop() as url:
        async with httpx.AsyncClient() as client:
            await asyncio.gather(*(client.get(url) for _ in range(5)))
            async with client.stream("GET", url + "/stream") as response:
                async for _ in response.aiter_bytes():
                    pass
        await asyncio.to_thread(use_httpx_in_a_thread, url)


def use_httpx_in_a_thread(url: str) -> None:
    with httpx.Client() as client:
        client.get(url)
        client.get(url)


async def use_streams() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"bread\n")
        await reader.readline()
        writer.close()
        await writer.wait_closed()


async def use_subprocess() -> None:
    process = await asyncio.create_subprocess_exec("true", stdout=asyncio.subprocess.PIPE)
    await process.communicate()


def redis_uses() -> dict[str, Callable[[], Awaitable[None]]]:
    """Return the uses of redis-py, or none where there is no server."""
    import redis
    import redis.asyncio

    from desvelo.servers import ServerUnavailable
    from desvelo.servers import redis as redis_server

    try:
        url = redis_server().url
    except ServerUnavailable as error:
        print(f"redis-py is left out: {error}")
        return {}

    async def use_redis() -> None:
        client = redis.asyncio.Redis.from_url(url)
        await asyncio.gather(*(client.incr("bread") for _ in range(5)))
        async with client.pipeline() as pipeline:
            await pipeline.set("a", 1).get("a").execute()
        async with client.pubsub() as channel:
            await channel.subscribe("news")
            await channel.get_message(timeout=0.01)
        await client.aclose()

    async def use_redis_in_a_thread() -> None:
        def use() -> None:
            with redis.Redis.from_url(url) as client:
                client.incr("bread")
                client.pipeline().set("a", 1).get("a").execute()

        await asyncio.to_thread(use)

    return {"redis-py, asyncio": use_redis, "redis-py": use_redis_in_a_thread}


def postgres_uses() -> dict[str, Callable[[], Awaitable[None]]]:
    """Return the uses of asyncpg and psycopg, or none where there is no server."""
    import asyncpg
    import psycopg
    import psycopg_pool

    from desvelo.servers import ServerUnavailable, postgres

    try:
        dsn = postgres().dsn
    except ServerUnavailable as error:
        print(f"asyncpg and psycopg are left out: {error}")
        return {}

    async def use_asyncpg() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.fetchval("SELECT 1")
        await connection.close()
        async with asyncpg.create_pool(dsn, min_size=1, max_size=3) as pool:
            await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(5)))

    async def use_psycopg() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            await connection.execute("SELECT 1")
        async with (
            psycopg_pool.AsyncConnectionPool(dsn, min_size=1, open=False) as pool,
            pool.connection() as borrowed,
        ):
            await borrowed.execute("SELECT 1")

        def in_a_thread() -> None:
            with psycopg.connect(dsn) as connection:
                connection.execute("SELECT 1")
            with (
                psycopg_pool.ConnectionPool(dsn, min_size=1, open=True) as pool,
                pool.connection() as connection,
            ):
                connection.execute("SELECT 1")

        await asyncio.to_thread(in_a_thread)

    return {"asyncpg": use_asyncpg, "psycopg": use_psycopg}


async def use_sqlite() -> None:
    import aiosqlite

    with tempfile.TemporaryDirectory() as folder:
        async with aiosqlite.connect(f"{folder}/shop.db") as connection:
            await connection.execute("CREATE TABLE shop (bread)")
            await connection.commit()


def false_alarms(uses: int) -> int:
    """Use each library so many times in a checked block; print what was reported."""
    plans = {
        "aiohttp": use_aiohttp,
        "httpx": use_httpx,
        **redis_uses(),
        **postgres_uses(),
        "aiosqlite": use_sqlite,
        "asyncio streams": use_streams,
        "asyncio subprocess": use_subprocess,
    }
    print(f"plain uses that are properly closed, {uses} each, with and without a running loop")
    print(f"{'library':20} {'blocks':>7} {'alarms':>7} {'seconds':>8}")
    total = 0
    for name, use in plans.items():
        began, alarms = time.perf_counter(), 0
        for _ in range(uses):
            alarms += asyncio.run(alarms_in_loop(use)) + alarms_around_loop(use)
        print(f"{name:20} {2 * uses:7} {alarms:7} {time.perf_counter() - began:8.1f}", flush=True)
        total += alarms
    return 1 if total else 0


async def alarms_in_loop(use: Callable[[], Awaitable[None]]) -> int:
    try:
        async with leak_check():
            await use()
    except ResourceLeak as error:
        print(error)
        return 1
    return 0


def alarms_around_loop(use: Callable[[], Awaitable[None]]) -> int:
    async def plan() -> None:
        await use()

    try:
        with leak_check():
            asyncio.run(plan())
    except ResourceLeak as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
