"""One schedule is one run: no real time, no real chance, no order that comes from addresses."""

import asyncio
import datetime  # noqa: ICN001 - as targets import it
import gc
import os
import random
import secrets
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from pathlib import Path

import pytest

from desvelo.world import World

ROOT = Path(__file__).parents[2]


def look():
    """Everything that a target could take for chance or time."""
    numbers = random.Random()
    system = random.SystemRandom()
    random.seed()
    return [
        time.time(),
        time.time_ns(),
        time.monotonic(),
        time.monotonic_ns(),
        time.perf_counter(),
        time.perf_counter_ns(),
        time.process_time(),
        time.process_time_ns(),
        time.thread_time(),
        time.clock_gettime(time.CLOCK_REALTIME),
        time.clock_gettime(time.CLOCK_MONOTONIC),
        time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        time.localtime()[:6],
        time.strftime("%Y-%m-%d"),
        datetime.datetime.now(tz=datetime.UTC),
        datetime.datetime.now(),  # noqa: DTZ005 - what targets write
        datetime.date.today(),  # noqa: DTZ011 - what targets write
        random.random(),
        random.sample(range(100), 5),
        numbers.random(),
        system.random(),
        system.choice(range(1000)),
        uuid.uuid1(),
        uuid.uuid4(),
        secrets.token_hex(),
        secrets.randbelow(10**9),
        secrets.choice(range(10**6)),
        os.urandom(8),
        tempfile.mktemp(),
    ]


def look_twice(seed):
    async def main():
        first = look()
        await asyncio.sleep(60)
        return first, look()

    with World(seed=seed) as world:
        return world.run(main())


def test_time_and_chance_are_the_same_in_every_world_of_one_seed():
    one = look_twice(1)
    time.sleep(0.002)
    other = look_twice(1)
    assert one == other


def test_chance_differs_between_seeds_and_time_does_not():
    one, _ = look_twice(1)
    other, _ = look_twice(2)
    assert [mine == theirs for mine, theirs in zip(one, other, strict=True)].count(False) == 12


def test_wall_and_monotonic_clocks_move_together():
    first, later = look_twice(1)
    for place in (0, 2, 4, 6, 9, 10):
        assert 60 <= later[place] - first[place] < 60.1, place
    assert first[12] == (2025, 1, 1, *first[12][3:])
    assert (later[14] - first[14]) // datetime.timedelta(seconds=1) == 60


def test_the_process_has_its_own_chance_back_after_a_world():
    random.seed(5)
    expected = [random.random() for _ in range(3)]
    random.seed(5)
    found = [random.random()]
    look_twice(1)
    found += [random.random(), random.random()]
    assert found == expected
    assert uuid.uuid4() != uuid.uuid4()
    assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 1


PROGRAMS = {
    "two servers and pools that are closed at once": """
        import aiohttp
        from aiohttp import web

        async def main(world):
            async def slow(request):
                await asyncio.sleep(0.2)
                return web.json_response({"n": (await request.json())["n"]})

            servers, ports = [], []
            for _ in range(2):
                app = web.Application()
                app.router.add_post("/", slow)
                runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
                await runner.setup()
                site = web.TCPSite(runner, "localhost", 8000 + len(servers))
                await site.start()
                servers.append(runner)
            world.deciding = True
            sessions = [aiohttp.ClientSession() for _ in range(2)]

            async def ask(number):
                url = f"http://localhost:{8000 + number % 2}/"
                async with sessions[number // 8].post(url, json={"n": number}) as answer:
                    return await answer.json()

            asking = [asyncio.create_task(ask(number)) for number in range(16)]
            await asyncio.wait(asking[:3])
            await asyncio.sleep(0.05)
            for session in sessions:
                await session.close()
            await asyncio.gather(*asking, return_exceptions=True)
            for runner in servers:
                await runner.cleanup()
    """,
    "sets of writers, queues, locks and websockets": """
        import aiohttp
        from aiohttp import web

        async def main(world):
            writers, queues, sockets, locks = set(), set(), set(), set()

            async def chat(reader, writer):
                writers.add(writer)
                await reader.read(1)

            async def shout(request):
                socket = web.WebSocketResponse()
                await socket.prepare(request)
                sockets.add(socket)
                async for message in socket:
                    for other in sockets:
                        await other.send_str(message.data)
                return socket

            server = await asyncio.start_server(chat, "127.0.0.1", 4000)
            app = web.Application()
            app.router.add_get("/", shout)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 4001).start()
            world.deciding = True
            streams = [await asyncio.open_connection("127.0.0.1", 4000) for _ in range(9)]
            await asyncio.sleep(0.1)
            for number, writer in enumerate(writers):
                writer.write(b"hello" * number)
            order = []

            async def listen(number):
                queue, lock = asyncio.Queue(), asyncio.Lock()
                queues.add(queue)
                locks.add(lock)
                order.append((number, await queue.get()))

            listening = [asyncio.create_task(listen(number)) for number in range(9)]
            await asyncio.sleep(0.1)
            for number, queue in enumerate(queues):
                queue.put_nowait(number)
            async with aiohttp.ClientSession() as session:
                ends = [await session.ws_connect("http://127.0.0.1:4001/") for _ in range(9)]
                await ends[0].send_str("to everybody")
                await asyncio.sleep(0.1)
                world.note("order", "world", str(order))
                await asyncio.gather(*(end.close() for end in set(ends)))
            for _, writer in set(streams):
                writer.close()
            server.close()
            await runner.cleanup()
    """,
    "uvicorn that is shut down with connections open": """
        import httpx, uvicorn
        from fastapi import FastAPI

        async def main(world):
            app = FastAPI()

            @app.get("/{number}")
            async def get(number: int):
                await asyncio.sleep(0.1)
                return {"number": number}

            server = uvicorn.Server(uvicorn.Config(app, port=8000, log_config=None, loop="none"))
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            world.deciding = True
            async with httpx.AsyncClient() as client:
                urls = [f"http://127.0.0.1:8000/{number}" for number in range(8)]
                answers = await asyncio.gather(*(client.get(url) for url in urls))
                assert [answer.json()["number"] for answer in answers] == list(range(8))
                server.should_exit = True
                await serving
    """,
}

FRAME = """
import asyncio, hashlib, sys
junk = [object() for _ in range(hash("x") % 5000)]  # other addresses in every process
from desvelo.schedule.decisions import Recorder
from desvelo.schedule.policy import make_policy
from desvelo.world import World
{program}
def digest(seed):
    junk = [bytearray(hash(str(seed)) % 300) for _ in range(hash("y") % 3000)]
    with World(Recorder(make_policy("random_walk", seed, 300)), trace=True) as world:
        world.run(main(world))
        return world.trace.digest() + str(world.selector.polls)
print([digest(seed) for seed in (1, 2, 1)])
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_trace_is_the_same_in_fresh_processes_with_other_hash_seeds(name, tmp_path):
    file = tmp_path / "program.py"
    file.write_text(FRAME.format(program=textwrap.dedent(PROGRAMS[name])))
    running = [
        subprocess.Popen(
            [sys.executable, file],
            env=os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(5)
    ]
    outputs = [process.communicate() for process in running]
    assert [error for _, error in outputs] == [""] * 5
    digests = {output for output, _ in outputs}
    assert len(digests) == 1, digests
    first, _, again = eval(digests.pop())
    assert first == again


def test_no_finalizer_runs_when_the_collector_likes():
    class Speaking:
        def __init__(self):
            self.itself = self

        def __del__(self):
            said.append("good-bye")

    def use():
        Speaking()
        return [[] for _ in range(20_000)]

    said = []
    gc.collect()
    assert gc.isenabled()
    with World() as world:
        world.call(use)
        assert said == []
    assert gc.isenabled()
    gc.collect()
    assert said == ["good-bye"]
