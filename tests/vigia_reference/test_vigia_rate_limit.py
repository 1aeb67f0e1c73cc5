"""Fixed windows."""

import asyncio

import pytest

from vigia_reference.cache import Cache
from vigia_reference.rate_limit import RateLimiter, RateLimits


def test_the_limits_are_those_of_the_original() -> None:
    limits = RateLimits()
    assert (limits.of("/webhook"), limits.of("/health"), limits.of("/webhook/events")) == (
        60,
        120,
        30,
    )
    assert limits.window == 60
    assert limits.of("/patients") is None


@pytest.mark.asyncio
async def test_exactly_as_many_as_allowed_are_admitted_of_many_at_once() -> None:
    limiter = RateLimiter(RateLimits(webhook=5), Cache())
    answers = await asyncio.gather(*[limiter.admit("a", "/webhook") for _ in range(20)])
    assert sum(answer is not None and answer.admitted for answer in answers) == 5


@pytest.mark.asyncio
async def test_clients_and_paths_are_counted_apart() -> None:
    limiter = RateLimiter(RateLimits(webhook=1, health=1), Cache())
    for client, path in [("a", "/webhook"), ("b", "/webhook"), ("a", "/health")]:
        admission = await limiter.admit(client, path)
        assert admission is not None
        assert admission.admitted
    assert await limiter.admit("a", "/patients") is None


@pytest.mark.asyncio
async def test_a_new_window_opens_when_the_old_is_over() -> None:
    limiter = RateLimiter(RateLimits(webhook=1, window=0.02), Cache())
    first = await limiter.admit("a", "/webhook")
    second = await limiter.admit("a", "/webhook")
    await asyncio.sleep(0.03)
    third = await limiter.admit("a", "/webhook")
    assert first is not None
    assert second is not None
    assert third is not None
    assert [first.admitted, second.admitted, third.admitted] == [True, False, True]
    assert second.remaining == 0
