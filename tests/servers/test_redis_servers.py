"""Finding and starting a real Redis server, and the one in this process."""

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
import redis.asyncio

from desvelo import World
from desvelo.errors import UsageError
from desvelo.servers import EmbeddedRedis, RedisServer, ServerUnavailable
from desvelo.servers import redis as real_redis
from desvelo.servers.redis import address_of
from desvelo.servers.testing import need_redis


@pytest.fixture
def server() -> RedisServer:
    found = need_redis(ours=True)
    found.empty()
    return found


def test_there_is_one_server_for_each_process_and_clients_reach_it(server: RedisServer) -> None:
    assert real_redis() is server
    assert server.host == "127.0.0.1"
    with redis.Redis.from_url(server.url) as client:
        assert client.set("key", "value")
        assert client.config_get("save") == {"save": ""}
    assert server.run("GET", "key") == b"value"
    server.empty()
    assert server.run("GET", "key") is None


def test_a_server_ends_with_the_process_that_started_it(server: RedisServer) -> None:
    script = (
        "from desvelo.servers import redis; s = redis(); print(s._launched.folder); s.run('PING')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    folder = Path(done.stdout.strip())
    for _ in range(1000):
        if not folder.exists():
            break
        time.sleep(0.01)
    assert not folder.exists()


def test_where_there_is_no_server_one_line_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    module = sys.modules["desvelo.servers.redis"]
    monkeypatch.setattr(module._LOOKUP, "found", {})
    monkeypatch.setattr(module._LOOKUP, "failed", {})
    monkeypatch.delenv("DESVELO_REDIS_URL", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ServerUnavailable, match="apt-get install redis-server") as first:
        real_redis()
    assert "\n" not in str(first.value)
    with pytest.raises(ServerUnavailable):
        real_redis()


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("redis://cache.example.org:6379/0", UsageError, "DESVELO_ALLOW_HOST=cache.example.org"),
        ("http://127.0.0.1", UsageError, "redis://user:password@host:port/number"),
        ("redis://127.0.0.1:6379/first", UsageError, "no number"),
        ("redis://127.0.0.1:1/0", ServerUnavailable, "does not work: Redis at 127.0.0.1:1"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_one_sentence(
    url: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        real_redis(url)
    assert "\n" not in str(raised.value)


def test_a_named_server_is_used_and_its_data_left_alone(server: RedisServer) -> None:
    server.run("SET", "somebody's", 1)
    named = real_redis(server.url)
    assert not named.ours
    assert named.url == server.url
    with pytest.raises(UsageError, match="was not started here"):
        named.empty()
    assert server.run("GET", "somebody's") == b"1"


def test_a_url_with_a_password_is_read_and_not_shown() -> None:
    address = address_of("redis://ana:s%20cret@[::1]:7000/3")
    assert (address.host, address.port, address.user, address.database) == ("::1", 7000, "ana", 3)
    assert address.password == "s cret"
    assert "cret" not in repr(address)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.asyncio
async def test_the_embedded_server_speaks_as_a_real_one_does(protocol: int) -> None:
    async with EmbeddedRedis(port=0) as embedded:
        client = redis.asyncio.Redis(port=embedded.port, protocol=protocol)
        assert await client.set("text", "a b")
        assert await client.get("text") == b"a b"
        assert await client.hset("hash", mapping={"a": 1, "b": 2}) == 2
        assert await client.hgetall("hash") == {b"a": b"1", b"b": b"2"}
        await client.zadd("scores", {"x": 1.5})
        assert await client.zscore("scores", "x") == 1.5
        assert await client.eval("return {1, 'two', false}", 0) == [1, b"two", None]
        with pytest.raises(redis.ResponseError, match="not an integer"):
            await client.incr("text")
        async with client.pipeline(transaction=True) as pipe:
            pipe.incr("n").incr("n").get("missing")
            assert await pipe.execute() == [1, 2, None]
        await client.aclose()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.asyncio
async def test_subscribers_and_those_who_block_are_served(protocol: int) -> None:
    async with EmbeddedRedis(port=0) as embedded:
        client = redis.asyncio.Redis(port=embedded.port, protocol=protocol)
        waiting = asyncio.ensure_future(client.blpop("queue", timeout=0))
        timed = asyncio.ensure_future(client.blpop("never", timeout=0.01))
        async with client.pubsub() as heard:
            await heard.subscribe("news")
            assert (await heard.get_message(timeout=5))["type"] == "subscribe"
            await client.publish("news", "hello")
            assert (await heard.get_message(timeout=5))["data"] == b"hello"
        assert await timed is None
        await client.rpush("queue", "first", "second")
        assert list(await waiting) == [b"queue", b"first"]
        assert await client.lrange("queue", 0, -1) == [b"second"]
        await client.aclose()


def test_times_to_live_follow_the_virtual_clock() -> None:
    async def main() -> list[bytes | None]:
        async with EmbeddedRedis() as embedded:
            client = redis.asyncio.Redis(port=6379)
            await client.set("key", "value", ex=3600)
            found = []
            for _ in range(2):
                found.append(await client.get("key"))
                await asyncio.sleep(3601)
            found.append(embedded.run("GET", "key"))
            await client.aclose()
            return found

    with World() as world:
        assert world.run(main()) == [b"value", None, None]


def test_where_fakeredis_is_missing_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import desvelo.servers.embedded_redis as module

    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServerUnavailable, match="pip install"):
        asyncio.run(EmbeddedRedis(port=0).start())


def test_the_embedded_server_for_threads_needs_a_world() -> None:
    with pytest.raises(UsageError, match="in a simulated world only"):
        EmbeddedRedis(port=0).start_for_threads()
