"""What every cache promises: in memory, on fakeredis, and on a real Redis server."""

import asyncio
from typing import Any

import pytest

from tests.vigia_reference.remote.caches import KINDS, REMOTE, Awaited, cache_of
from vigia_reference.cache import exactly, pattern_of
from vigia_reference.rate_limit import RateLimiter, RateLimits
from vigia_reference.remote import CacheUnavailable, RedisCache, blocking, commands
from vigia_reference.remote import cache as remote_cache

every_kind = pytest.mark.parametrize("kind", KINDS)
every_remote = pytest.mark.parametrize("kind", REMOTE)


@every_kind
@pytest.mark.asyncio
async def test_a_value_is_found_as_it_was_stored(kind: str) -> None:
    async with cache_of(kind) as (cache, _):
        record = {
            "patient_code": "Ñandú 1",
            "stage": 2,
            "confidence": 0.85,
            "bbox": [1, 2],
            "n": None,
        }
        await cache.set("patient:A:profile", record, ttl=60)
        assert await cache.get("patient:A:profile") == record
        assert await cache.get("patient:B:profile") is None


@every_kind
@pytest.mark.asyncio
async def test_a_value_goes_when_its_time_is_over(kind: str) -> None:
    async with cache_of(kind) as (cache, _):
        await cache.set("key", "value", ttl=0.001)
        await asyncio.sleep(0.02)
        assert await cache.get("key") is None


@every_kind
@pytest.mark.asyncio
async def test_invalidating_tells_how_many_entries_went(kind: str) -> None:
    async with cache_of(kind) as (cache, _):
        for number, key in enumerate(("patient:A:profile", "patient:A:plan", "patient:AB:profile")):
            await cache.set(key, number)
        assert await cache.delete_pattern("patient:A:*") == 2
        assert await cache.delete_pattern("patient:A:*") == 0
        assert await cache.delete("patient:AB:profile") == 1
        assert await cache.delete("patient:AB:profile") == 0


@every_kind
@pytest.mark.parametrize("code", ["A*", "*", "A\\", "[A]", "A?", "A^-", "A.\n", "A:*", "\0", "Ω"])
@pytest.mark.asyncio
async def test_a_code_in_a_pattern_stands_only_for_itself(kind: str, code: str) -> None:
    async with cache_of(kind) as (cache, _):
        await cache.set(f"patient:{code}:profile", 1)
        await cache.set("patient:AAA:profile", 2)
        covered = pattern_of("patient", code)
        async with cache.writing(covered):
            other = await cache.lease("patient:AAA:profile")
            mine = await cache.lease(f"patient:{code}:profile")
            assert await cache.get(f"patient:{code}:profile") is None
        assert await cache.fill(other, 3)
        assert not await cache.fill(mine, 3)
        await cache.set(f"patient:{code}:profile", 1)
        assert await cache.delete_pattern(covered) == 1
        assert await cache.get("patient:AAA:profile") == 3


@every_kind
@pytest.mark.parametrize("pattern", ["a*c*e", "*bcd*", "abcde", "a*", "*e", "*"])
@pytest.mark.asyncio
async def test_a_star_stands_for_any_text(kind: str, pattern: str) -> None:
    async with cache_of(kind) as (cache, _), cache.writing(pattern):
        assert not await cache.fill(await cache.lease("abcde"), "covered")
        assert await cache.fill(await cache.lease("abde.x"), "not") is (pattern not in {"a*", "*"})


@every_kind
@pytest.mark.parametrize("what", ["set", "delete", "delete_pattern", "writing", "nothing"])
@pytest.mark.asyncio
async def test_a_fill_never_overwrites_what_is_newer(kind: str, what: str) -> None:
    async with cache_of(kind) as (cache, _):
        lease = await cache.lease("patient:A:profile")
        if what == "set":
            await cache.set("patient:A:profile", "newer")
        elif what == "delete":
            await cache.delete("patient:A:profile")
        elif what == "delete_pattern":
            await cache.delete_pattern("patient:A:*")
        elif what == "writing":
            async with cache.writing("patient:A:*") as fence:
                fence.publish("patient:A:profile", "newer")
        filled = await cache.fill(lease, "older")
        found = await cache.get("patient:A:profile")
        expected = {"set": "newer", "writing": "newer", "nothing": "older"}.get(what)
        assert (filled, found) == (what == "nothing", expected)


@every_kind
@pytest.mark.asyncio
async def test_a_released_lease_fills_nothing(kind: str) -> None:
    async with cache_of(kind) as (cache, _):
        lease = await cache.lease("key")
        await cache.release(lease)
        assert not await cache.fill(lease, "value")


@every_kind
@pytest.mark.asyncio
async def test_nothing_is_cached_under_a_key_that_is_being_written(kind: str) -> None:
    async with cache_of(kind) as (cache, _):
        await cache.set("key", "old")
        early = await cache.lease("key")
        async with cache.writing(exactly("key")) as fence:
            assert await cache.get("key") is None
            during = await cache.lease("key")
            assert not await cache.fill(early, "old")
            assert not await cache.fill(during, "old")
            fence.publish("key", "new")
            assert await cache.get("key") is None
        assert not await cache.fill(during, "old")
        assert await cache.get("key") == "new"


@every_kind
@pytest.mark.asyncio
async def test_two_writers_at_once_leave_the_key_to_the_next_reader(kind: str) -> None:
    async with cache_of(kind) as (cache, _):
        async with cache.writing("a", "shared") as first:
            first.publish("key", 1)
            async with cache.writing("shared") as second:
                second.publish("key", 2)
        assert await cache.get("key") is None
        assert await cache.fill(await cache.lease("key"), 3)


@every_kind
@pytest.mark.asyncio
async def test_a_writer_that_fails_publishes_nothing_and_is_out_of_the_way(kind: str) -> None:
    async with cache_of(kind) as (cache, _):

        async def write_and_fail() -> None:
            async with cache.writing("key") as fence:
                fence.publish("key", "new")
                raise LookupError

        with pytest.raises(LookupError):
            await write_and_fail()
        assert await cache.get("key") is None
        assert await cache.fill(await cache.lease("key"), "read")


@every_kind
@pytest.mark.asyncio
async def test_a_counter_starts_afresh_when_its_time_is_over(kind: str) -> None:
    async with cache_of(kind) as (cache, _):
        assert (await cache.increment("n", 60))[0] == 1
        count, left = await cache.increment("n", 3600)
        assert count == 2
        assert 0 < left <= 60
        await cache.increment("m", 0.001)
        await asyncio.sleep(0.02)
        assert (await cache.increment("m", 60))[0] == 1


@every_kind
@pytest.mark.asyncio
async def test_exactly_as_many_as_allowed_are_admitted_of_many_at_once(kind: str) -> None:
    async with cache_of(kind) as (cache, _):
        limits = RateLimits(webhook=5)
        limiter: Any = (
            cache.limiter(limits) if isinstance(cache, Awaited) else RateLimiter(limits, cache)
        )
        answers = await asyncio.gather(*[limiter.admit("a", "/webhook") for _ in range(12)])
        assert sum(answer.admitted for answer in answers) == 5
        other = await limiter.admit("b", "/webhook")
        assert (other.admitted, other.remaining, await limiter.admit("a", "/patients")) == (
            True,
            4,
            None,
        )


@every_remote
@pytest.mark.asyncio
async def test_whoever_invalidates_between_watching_and_filling_is_noticed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cache_of(kind) as (cache, other):

        def invalidated_meanwhile(value: Any) -> str:
            other.delete(commands.lease_key("key"))
            return commands.to_text(value)

        for module in (remote_cache, blocking):
            monkeypatch.setattr(module, "to_text", invalidated_meanwhile)
        assert not await cache.fill(await cache.lease("key"), "value")
        assert await cache.get("key") is None


@every_remote
@pytest.mark.asyncio
async def test_scripts_that_the_server_forgot_are_loaded_again(kind: str) -> None:
    async with cache_of(kind) as (cache, other):
        assert await cache.fill(await cache.lease("key"), 1)
        other.script_flush()
        assert await cache.delete_pattern("k*") == 1


@every_remote
@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.asyncio
async def test_the_client_may_decode_or_not(kind: str, decoded: bool) -> None:
    async with cache_of(kind, decode_responses=decoded) as (cache, _):
        assert await cache.fill(await cache.lease("key"), {"a": 1})
        assert await cache.get("key") == {"a": 1}


@every_remote
@pytest.mark.asyncio
async def test_the_keys_and_times_are_those_of_the_service(kind: str) -> None:
    async with cache_of(kind) as (cache, other):
        await cache.set("detection:latest:A", {"stage": 2}, 3600)
        await cache.increment("rate_limit:192.0.2.7:/webhook", 60)
        assert 3500 < other.ttl("detection:latest:A") <= 3600
        assert 50 < other.ttl("rate_limit:192.0.2.7:/webhook") <= 60
        assert other.get("rate_limit:192.0.2.7:/webhook") == b"1"


@every_remote
@pytest.mark.asyncio
async def test_a_writer_that_dies_does_not_keep_its_keys_out_for_ever(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "FENCE_SECONDS", 0.001)
    async with cache_of(kind) as (cache, other):
        async with cache.writing("key") as fence:
            fence.publish("key", "new")
            await asyncio.sleep(0.02)
            assert await cache.fill(await cache.lease("key"), "old")
        # It was only slow: what has been filled meanwhile may be older than what it wrote.
        assert await cache.get("key") is None
        assert not other.exists("vigia:fences")


@every_remote
@pytest.mark.asyncio
async def test_a_lease_and_a_fence_leave_nothing_behind_for_ever(kind: str) -> None:
    async with cache_of(kind) as (cache, other):
        async with cache.writing("key"):
            await cache.lease("other")
            timed = [key for key in other.keys("vigia:*") if key != b"vigia:fences"]
            assert len(timed) == 2
            assert all(other.ttl(key) > 0 for key in timed)
        assert not other.exists("vigia:fences")


@pytest.mark.asyncio
async def test_a_server_that_does_not_answer_is_told_in_one_error() -> None:
    cache = RedisCache.connect("redis://127.0.0.1:1/0", retry=None)
    with pytest.raises(CacheUnavailable, match="does not answer"):
        await cache.get("key")
    await cache.close()
    other = blocking.BlockingRedisCache.connect("redis://127.0.0.1:1/0", retry=None)
    with pytest.raises(CacheUnavailable, match="does not answer"):
        other.increment("n", 1)
    other.close()


@pytest.mark.parametrize("kind", ["embedded server", "real server, asyncio"])
@pytest.mark.asyncio
async def test_threads_and_the_loop_share_one_cache(kind: str) -> None:
    async with cache_of(kind) as (cache, other):
        threads = blocking.BlockingRedisCache(other)
        await cache.set("key", 1)
        assert threads.get("key") == 1
        lease = await cache.lease("key")
        with threads.writing("k*"):
            pass
        assert not await cache.fill(lease, 1)
