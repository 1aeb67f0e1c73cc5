"""Redis clients of every kind under schedules: embedded and real server, loop and threads."""

import asyncio
import gc
import subprocess
import sys
from typing import Any

import pytest
import redis
import redis.asyncio

from desvelo import World, explore
from desvelo.errors import UnsupportedInWorld, WorldStuck
from desvelo.servers import EmbeddedRedis
from desvelo.servers import redis as real_redis
from desvelo.servers.testing import need_redis

SILENT: dict[str, Any] = {"protocol": 2, "driver_info": None}


@pytest.fixture(params=["embedded", "real"])
def place(request: pytest.FixtureRequest) -> str:
    if request.param == "real":
        need_redis()
    return str(request.param)


leaving_clients_open = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


class Counting:
    """Two clients count to two, in one command or in two."""

    def __init__(self, place: str, *, atomic: bool) -> None:
        self.atomic = atomic
        self.servers = [real_redis] if place == "real" else []
        self.embedded: EmbeddedRedis | None = None if self.servers else EmbeddedRedis()

    @property
    def port(self) -> int:
        return real_redis().port if self.embedded is None else 6379

    async def setup(self) -> Any:
        if self.embedded is not None:
            await self.embedded.start()
        return redis.asyncio.Redis(port=self.port, **SILENT)

    def operations(self, client: Any) -> dict[str, Any]:
        async def count() -> None:
            if self.atomic:
                await client.incr("n")
            else:
                await client.set("n", int(await client.get("n") or 0) + 1)

        return {"one": count, "other": count}

    async def check(self, client: Any) -> None:
        assert await client.get("n") == b"2"

    async def teardown(self, client: Any) -> None:
        await client.aclose()
        if self.embedded is not None:
            await self.embedded.stop()


class CountingInThreads(Counting):
    """The same with the synchronous client."""

    runtime = "threads"

    def setup(self) -> Any:
        if self.embedded is not None:
            self.embedded.start_for_threads()
        return redis.Redis(port=self.port, **SILENT)

    def operations(self, client: Any) -> dict[str, Any]:
        def count() -> None:
            if self.atomic:
                client.incr("n")
            else:
                client.set("n", int(client.get("n") or 0) + 1)

        return {"one": count, "other": count}

    def check(self, client: Any) -> None:
        assert client.get("n") == b"2"

    def teardown(self, client: Any) -> None:
        client.close()
        if self.embedded is not None:
            self.embedded.stop_for_threads()


@pytest.mark.parametrize("kind", [Counting, CountingInThreads])
def test_a_lost_update_is_found_and_told_the_same_each_time(
    kind: type[Counting], place: str
) -> None:
    finding, again = (
        explore(kind(place, atomic=False), max_executions=200, max_seconds=60) for _ in range(2)
    )
    assert finding is not None
    assert again is not None
    assert finding.kind == "race"
    assert (len(finding.operations), finding.deviations) == (2, 0)
    assert "GET n -> nothing" in finding.story()
    assert "SET n 1 -> OK" in finding.story()
    assert finding.digest == again.digest


@pytest.mark.parametrize("kind", [Counting, CountingInThreads])
def test_what_one_command_does_is_never_torn(kind: type[Counting], place: str) -> None:
    assert explore(kind(place, atomic=True), max_executions=25, max_seconds=60) is None


def test_who_waits_for_a_push_goes_on_when_it_comes(place: str) -> None:
    async def main() -> Any:
        embedded = EmbeddedRedis()
        if place == "embedded":
            await embedded.start()
        port = real_redis().port if place == "real" else 6379
        clients = [redis.asyncio.Redis(port=port, **SILENT) for _ in range(2)]
        waiting = asyncio.ensure_future(clients[0].blpop("queue"))
        await asyncio.sleep(1)
        await clients[1].rpush("queue", "x")
        found = await waiting
        for client in clients:
            await client.aclose()
        await embedded.stop()
        return found

    with World(servers=[real_redis] if place == "real" else []) as world:
        assert list(world.run(main())) == [b"queue", b"x"]


@leaving_clients_open
def test_waiting_for_a_push_that_never_comes_is_stuck_not_slow() -> None:
    port = need_redis().port

    async def main() -> None:
        await redis.asyncio.Redis(port=port, socket_timeout=None, **SILENT).blpop("queue")

    with World(servers=[real_redis]) as world, pytest.raises(WorldStuck):
        world.run(main())
    gc.collect()


@leaving_clients_open
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("BLPOP", "queue", "1"), "BLPOP with a time-out"),
        (("XREAD", "BLOCK", "5", "STREAMS", "s", "$"), "XREAD with a time-out"),
        (("SUBSCRIBE", "news"), "SUBSCRIBE: a real Redis server sends messages"),
        (("MONITOR",), "MONITOR: it changes what"),
        (("CLIENT", "REPLY", "OFF"), "'CLIENT REPLY': it changes what"),
    ],
)
def test_what_no_schedule_could_repeat_is_refused_with_its_name(
    words: tuple[str, ...], said: str
) -> None:
    port = need_redis().port

    async def main() -> None:
        await redis.asyncio.Redis(port=port, retry=None, **SILENT).execute_command(*words)

    with World(servers=[real_redis]) as world, pytest.raises(UnsupportedInWorld, match=said):
        world.run(main())
    gc.collect()


@leaving_clients_open
def test_nothing_of_one_execution_is_left_for_the_next() -> None:
    port = need_redis().port

    async def main() -> Any:
        client = redis.asyncio.Redis(port=port, protocol=3, driver_info=None)
        held = client.client()
        known = await held.exists("key")
        cached = await held.script_exists("e0e1f9fabfc9d4800c877a703b823ac0578ff8db")
        number = await held.client_id()
        await held.set("key", 1)
        await held.execute_command("SELECT", 3)
        await held.execute_command("MULTI")
        await client.eval("return 1", 0)
        return known, cached, number

    def once() -> Any:
        with World(servers=[real_redis]) as world:
            return world.run(main())

    first = once()
    assert first[:2] == (0, [False])
    assert once() == first
    gc.collect()


_TRACE = """
import redis.asyncio
from desvelo import World
from desvelo.servers import redis as real_redis

async def main():
    client = redis.asyncio.Redis(port=real_redis().port)
    async with client.pipeline() as pipe:
        await pipe.watch("n")
        pipe.multi()
        pipe.incr("n")
        await pipe.execute()
    script = client.register_script("return redis.call('INCR', KEYS[1])")
    await script(keys=["n"])
    other = redis.asyncio.Redis(port=real_redis().port)
    assert await client.client_id() < await other.client_id()
    # Whoever is given back first is taken first the next time.
    await other.aclose()
    await client.aclose()

for _ in range(3):
    with World(servers=[real_redis], trace=True) as world:
        world.run(main())
        print(world.trace.digest())
"""


def test_two_processes_see_the_same_events_with_a_real_server() -> None:
    need_redis()
    digests = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _TRACE],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin:/usr/sbin"},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.update(done.stdout.split())
    assert len(digests) == 1


@leaving_clients_open
def test_a_server_that_dies_is_named() -> None:
    from desvelo.errors import ServerGone
    from desvelo.servers.redis import _started

    need_redis()
    doomed = _started()

    async def main() -> None:
        client = redis.asyncio.Redis(port=doomed.port, retry=None, **SILENT)
        await client.set("k", 1)
        doomed.stop()
        await client.get("k")

    with World(servers=[doomed]) as world, pytest.raises(ServerGone, match="Redis"):
        world.run(main())
    gc.collect()
