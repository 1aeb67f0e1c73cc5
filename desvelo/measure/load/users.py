"""Closed loop: users who each wait for an answer before they send again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter

from desvelo.measure.load.client import Client, Load
from desvelo.measure.load.request import WebhookRequest
from desvelo.measure.load.window import Window


async def send_all(
    load: Load, requests: Iterator[WebhookRequest], users: int, seconds: float | None = None
) -> Window:
    """Let so many users send what there is, for at most so long.

    Returns the time from the first request until the last answer or, with ``seconds``, until
    nothing more was sent.
    """
    ended = asyncio.get_running_loop().create_future()
    async with load.on():
        begin = perf_counter()
        until = begin + seconds if seconds is not None else None
        crowd = _Crowd(load, requests, until, ended)
        for _ in range(users):
            crowd.again(load.client())
        await ended
    end = perf_counter()
    last = max(load.tally.ends, default=end)
    return Window(begin, (last if until is None else min(until, end)) - begin)


class _Crowd:
    """Users that share a supply of requests; the last to find nothing ends the load."""

    def __init__(
        self,
        load: Load,
        requests: Iterator[WebhookRequest],
        until: float | None,
        ended: asyncio.Future[None],
    ) -> None:
        self._load = load
        self._requests = requests
        self._until = until
        self._ended = ended
        self._busy = 0

    def again(self, client: Client, busy: int = 0) -> None:
        """Let a client send its next request, if there is one and time for it."""
        self._busy -= busy
        now = perf_counter()
        request = None
        if not self._load.over and (self._until is None or now < self._until):
            request = next(self._requests, None)
        if request is not None:
            self._busy += 1
            client.send(request, now, lambda: self.again(client, 1))
        elif not self._busy and not self._ended.done():
            self._ended.set_result(None)
