"""Open loop: requests that arrive when they like, whether or not those before were answered.

A user who waits for an answer before asking again stays away while the server is slow, so that
the slow moments are hardly seen in what is measured (Gil Tene calls it coordinated omission).
Here each request has the moment at which it is to arrive, and its latency counts from that one,
also when every connection was still busy then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from time import perf_counter

from desvelo.measure.load.alarm import Alarm
from desvelo.measure.load.client import Client, Load
from desvelo.measure.load.http import TIME_OUT
from desvelo.measure.load.request import WebhookRequest
from desvelo.measure.load.window import Window

DRAINING = 5.0
"""Seconds for answers that are still owed when the last request has arrived."""
AT_ONCE = 64
"""After so many requests in a row, answers are looked at before the next."""


def evenly(rate: float, seconds: float) -> Iterator[float]:
    """Yield arrivals at equal distances, in seconds from the beginning.

    >>> list(evenly(4, 1))
    [0.0, 0.25, 0.5, 0.75]
    """
    return (number / rate for number in range(round(rate * seconds)))


def at_random(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Yield arrivals as those of many people who know nothing of each other: a Poisson process.

    >>> arrivals = list(at_random(1000, 1, seed=1))
    >>> 900 < len(arrivals) < 1100
    True
    """
    chance, at = Random(seed), 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        yield at


async def arrive(
    load: Load,
    requests: Iterator[WebhookRequest],
    offsets: Iterable[float],
    connections: int,
    ready: int = 1,
) -> Window:
    """Send requests as they arrive, over at most so many connections, ``ready`` at the beginning.

    Returns the time from the first moment until the last request had arrived. What has no answer
    some seconds later counts as a time-out.
    """
    async with load.on():
        clients = [load.client() for _ in range(connections)]
        for client in clients[:ready]:
            # One that cannot connect now tries again, and counts, when it has something to send.
            with contextlib.suppress(OSError):
                await client.connect()
        desk = _Desk(load, requests, iter(offsets), clients)
        try:
            return await desk.serve()
        finally:
            desk.alarm.close()


class _Desk:
    """Hands each request that arrives to a client that is free, or lets it wait for one."""

    def __init__(
        self,
        load: Load,
        requests: Iterator[WebhookRequest],
        offsets: Iterator[float],
        clients: list[Client],
    ) -> None:
        self.alarm = Alarm(self._wake)
        self._load = load
        self._requests = requests
        self._offsets = offsets
        self._begin = self._next = self._late = 0.0
        # The last to come back is the first to go: it has a connection.
        self._free = clients[::-1]
        self._clients = len(clients)
        self._waiting: deque[tuple[WebhookRequest, float]] = deque()
        self._all_arrived = asyncio.Event()
        self._all_back = asyncio.Event()

    async def serve(self) -> Window:
        self._begin = perf_counter() + 0.01
        if self._plan():
            self.alarm.set(self._next)
        await self._all_arrived.wait()
        window = Window(self._begin, perf_counter() - self._begin, self._late)
        self._check_all_back()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAINING):
                await self._all_back.wait()
        self._load.give_up(TIME_OUT)
        for request, moment in self._waiting:
            self._load.tally.note(request, moment, 0, b"", TIME_OUT, perf_counter())
        return window

    def _plan(self) -> bool:
        """Look up when the next request arrives; there may be none."""
        offset = next(self._offsets, None)
        if offset is None or self._load.over:
            self._all_arrived.set()
            return False
        self._next = self._begin + offset
        return True

    def _wake(self) -> None:
        for _ in range(AT_ONCE):
            now = perf_counter()
            if self._next > now:
                break
            request = next(self._requests, None)
            if request is None:
                self._all_arrived.set()
                return
            self._late = max(self._late, now - self._next)
            if self._free:
                self._send(self._free.pop(), request, self._next)
            else:
                self._waiting.append((request, self._next))
            if not self._plan():
                return
        self.alarm.set(self._next)

    def _send(self, client: Client, request: WebhookRequest, moment: float) -> None:
        client.send(request, moment, lambda: self._back(client))

    def _back(self, client: Client) -> None:
        if self._waiting and not self._load.over:
            self._send(client, *self._waiting.popleft())
        else:
            self._free.append(client)
            self._check_all_back()

    def _check_all_back(self) -> None:
        if len(self._free) == self._clients and self._all_arrived.is_set():
            self._all_back.set()
