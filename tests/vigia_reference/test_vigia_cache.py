"""The cache, and what keeps it true while others write."""

import asyncio

import pytest

from vigia_reference import cache as cache_module
from vigia_reference.cache import Cache, exactly, pattern_of


@pytest.mark.asyncio
async def test_a_value_is_there_until_its_time_is_over() -> None:
    cache = Cache()
    await cache.set("key", "value", ttl=0.02)
    assert await cache.get("key") == "value"
    await asyncio.sleep(0.03)
    assert await cache.get("key") is None


@pytest.mark.asyncio
async def test_deleting_tells_how_many_entries_went() -> None:
    cache = Cache()
    await cache.set("patient:A:profile", 1)
    await cache.set("patient:A:plan", 2)
    await cache.set("patient:AB:profile", 3)
    assert await cache.delete_pattern("patient:A:*") == 2
    assert await cache.delete("patient:AB:profile") == 1
    assert await cache.delete("patient:AB:profile") == 0


@pytest.mark.parametrize("code", ["A*", "*", "A\\", "[A]", "A?", "A.\n", "A:*"])
@pytest.mark.asyncio
async def test_a_code_in_a_pattern_stands_only_for_itself(code: str) -> None:
    cache = Cache()
    await cache.set(f"patient:{code}:profile", 1)
    await cache.set("patient:AAA:profile", 2)
    assert await cache.delete_pattern(pattern_of("patient", code)) == 1
    assert await cache.get("patient:AAA:profile") == 2


@pytest.mark.asyncio
async def test_a_fill_stores_unless_the_key_was_invalidated_meanwhile() -> None:
    cache = Cache()
    lease = await cache.lease("key")
    assert await cache.fill(lease, "read before")
    late = await cache.lease("key")
    await cache.delete("key")
    assert not await cache.fill(late, "read before")
    assert await cache.get("key") is None


@pytest.mark.asyncio
async def test_a_released_lease_fills_nothing() -> None:
    cache = Cache()
    lease = await cache.lease("key")
    await cache.release(lease)
    assert not await cache.fill(lease, "value")


@pytest.mark.asyncio
async def test_nothing_is_cached_under_a_key_that_is_being_written() -> None:
    cache = Cache()
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


@pytest.mark.asyncio
async def test_two_writers_at_once_leave_the_key_to_the_next_reader() -> None:
    cache = Cache()
    async with cache.writing("a", "shared") as first:
        first.publish("key", 1)
        async with cache.writing("shared") as second:
            second.publish("key", 2)
    assert await cache.get("key") is None


@pytest.mark.asyncio
async def test_a_writer_that_fails_publishes_nothing() -> None:
    cache = Cache()

    async def write_and_fail() -> None:
        async with cache.writing("key") as fence:
            fence.publish("key", "new")
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_fail()
    assert await cache.get("key") is None


@pytest.mark.asyncio
async def test_a_counter_starts_afresh_when_its_time_is_over() -> None:
    cache = Cache()
    assert (await cache.increment("n", 0.02))[0] == 1
    count, left = await cache.increment("n", 0.02)
    assert count == 2
    assert 0 < left <= 0.02
    await asyncio.sleep(0.03)
    assert (await cache.increment("n", 0.02))[0] == 1


@pytest.mark.asyncio
async def test_a_full_cache_gives_up_its_oldest_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_ENTRIES", 3)
    cache = Cache()
    for number in range(5):
        await cache.set(f"key-{number}", number)
    assert [await cache.get(f"key-{number}") for number in range(5)] == [None, None, 2, 3, 4]
