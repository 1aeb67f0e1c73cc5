"""Memory that is kept with every repetition is found at its line; what comes to rest is not."""

import asyncio
import collections
import functools
import gc
import json
import mmap
import re
import sys
import tracemalloc

import pytest

from desvelo.errors import UsageError
from desvelo.oracle.memory import measure_growth, measure_growth_in_loop

LEAK = 1000 - sys.getsizeof(b"")


def test_a_leak_of_one_kilobyte_is_found_in_200_repetitions_at_its_line():
    kept = []

    def request():
        scratch = [bytes(1000) for _ in range(len(kept) % 7)]
        kept.append(bytes(LEAK))  # here
        return scratch

    growth = measure_growth(request)
    [site] = growth.leaks
    assert (site.file, site.line) == (__file__, request.__code__.co_firstlineno + 2)
    assert site.interval[0] <= site.bytes_per_repetition <= site.interval[1]
    assert 1000 <= site.bytes_per_repetition < 1100
    assert "1 line keeps memory with every one of 200 repetitions" in growth.text()
    assert "kept.append(bytes(LEAK))  # here" in growth.text()


def test_a_leak_in_a_library_is_traced_back_to_the_users_line():
    kept = []

    def request():
        kept.append(json.loads('{"bread": [1.5, 2.5, 3.5, "a name that is not short"]}'))

    growth = measure_growth(request, 100)
    assert any(
        site.file.endswith("decoder.py")
        and (__file__, request.__code__.co_firstlineno + 1) in site.called_from
        for site in growth.leaks
    ), growth.text()


def cache_that_fills():
    cache = {}
    return lambda: cache.setdefault(len(cache) if len(cache) < 100 else 0, bytes(1000))


def lru_cache():
    price = functools.lru_cache(maxsize=64)(lambda number: bytes(2000))
    numbers = iter(range(10_000))
    return lambda: price(next(numbers))


def ring():
    last = collections.deque(maxlen=80)
    return lambda: last.append(bytes(1000))


def buffer_that_wraps(size=70):
    log = []

    def call():
        if len(log) >= size:
            log.clear()
        log.append(bytes(1000))

    return call


def free_list():
    free = []

    def call():
        taken = [free.pop() if free else bytearray(1000) for _ in range(5)]
        free.extend(taken)

    return call


def cycles():
    def call():
        one = {"bytes": bytes(1000)}
        one["self"] = one

    return call


@pytest.mark.parametrize(
    "make", [cache_that_fills, lru_cache, ring, buffer_that_wraps, free_list, cycles]
)
def test_what_fills_and_stops_wraps_or_is_collected_is_not_accused(make):
    growth = measure_growth(make(), 150)
    assert growth.leaks == (), growth.text()
    assert not growth.outside_python


def test_a_leak_after_a_long_warm_up_is_found_and_the_warm_up_is_cut_off():
    fill, kept = cache_that_fills(), []

    def request():
        fill()
        kept.append(bytes(LEAK))

    [site] = measure_growth(request).leaks
    assert site.line == request.__code__.co_firstlineno + 2


def test_an_async_call_is_repeated_in_one_loop():
    kept, loops = [], set()

    async def request():
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0)
        kept.append(bytes(LEAK))

    assert len(measure_growth(request, 60).leaks) == 1
    assert len(loops) == 1


def test_inside_of_a_loop_there_is_a_call_to_await():
    kept = []

    async def request():
        kept.append(bytes(LEAK))

    async def main():
        with pytest.raises(UsageError, match="await measure_growth_in_loop"):
            measure_growth(request, 60)
        return await measure_growth_in_loop(request, 60)

    assert len(asyncio.run(main()).leaks) == 1


def test_memory_that_c_keeps_is_seen_in_the_process():
    taken = []

    def request():
        # Straight from the system: what malloc gives may have been used before.
        taken.append(mmap.mmap(-1, 64 * 1024))
        taken[-1].write(b"1" * (64 * 1024))

    growth = measure_growth(request)
    for memory in taken:
        memory.close()
    assert growth.outside_python
    assert "a library in C keeps memory" in growth.text()


def test_what_tracing_costs_for_many_small_objects_is_not_laid_to_a_library_in_c():
    kept = []
    growth = measure_growth(lambda: kept.extend(type("X", (), {})() for _ in range(3)), 100)
    assert growth.leaks
    assert not growth.outside_python, growth.text()


def test_tracing_and_the_collector_are_left_as_they_were():
    gc.unfreeze()
    measure_growth(lambda: None, 20)
    assert not tracemalloc.is_tracing()
    assert gc.get_freeze_count() == 0
    with pytest.raises(KeyError):
        measure_growth({}.popitem, 20)
    assert not tracemalloc.is_tracing()
    assert gc.get_freeze_count() == 0


def test_what_cannot_be_measured_is_refused():
    for call, options, sentence in (
        (lambda: None, {"repetitions": 5}, "12 are needed to tell a trend"),
        (lambda: None, {"repetitions": "x"}, "repetitions='x'): give a whole number"),
        (lambda: None, {"confidence": 95}, "give a number between 0 and 1"),
        (lambda: None, {"confidence": "high"}, "give a number between 0 and 1"),
        (3, {}, "measure_growth(3): give a function"),
    ):
        with pytest.raises(UsageError, match=re.escape(sentence)):
            measure_growth(call, **options)
