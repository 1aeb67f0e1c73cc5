"""A callback that holds the loop for too long is caught in the line that takes the time."""

import asyncio
import time

import pytest

from desvelo import leak_check
from desvelo.errors import UsageError
from desvelo.resources.leak import ResourceLeak


def count_coins():
    until = time.perf_counter() + 0.3
    while time.perf_counter() < until:  # counting here
        pass


async def pay():
    count_coins()


def test_the_line_that_holds_the_loop_is_named():
    async def main():
        await pay()

    with pytest.raises(ResourceLeak) as caught, leak_check(blocked=0.1):
        asyncio.run(main())
    [leak] = caught.value.leaks
    assert leak.kind == "blocked"
    assert "held the event loop for 0." in leak.what
    assert [name for _, _, name in leak.made_at][:3] == ["count_coins", "pay", "main"]
    assert all(file == __file__ for file, _, _ in leak.made_at)


def test_a_loop_that_only_waits_is_not_accused():
    async def main():
        await asyncio.sleep(0.2)
        await asyncio.to_thread(time.sleep, 0.2)

    with leak_check(blocked=0.1):
        asyncio.run(main())


def test_the_watch_is_off_unless_asked_for():
    run = asyncio.Handle._run
    with leak_check():
        assert asyncio.Handle._run is run
    with leak_check(blocked=1):
        assert asyncio.Handle._run is not run
    assert asyncio.Handle._run is run


@pytest.mark.parametrize("bound", [0, -1, float("nan")])
def test_a_bound_has_to_be_a_time(bound):
    with pytest.raises(UsageError, match="give seconds, more than 0"):
        leak_check(blocked=bound)
