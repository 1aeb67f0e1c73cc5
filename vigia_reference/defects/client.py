"""Defects of the webhook client."""

# ruff: noqa: D102 - what a method is for is told where it is correct

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from vigia_reference.client import Sendable, WebhookClient, WebhookResponse
from vigia_reference.defects.catalogue import Defect


class RetryDeliversTwice(WebhookClient):
    """Draws the webhook's id where the request is made, so each attempt is another webhook."""

    async def _attempt(
        self, session: aiohttp.ClientSession, message: Mapping[str, Any]
    ) -> tuple[WebhookResponse, bool]:
        return await super()._attempt(session, {**message, "webhook_id": str(uuid.uuid4())})


class SessionCreatedTwice(WebhookClient):
    """Looks the host up before it opens the session, so two callers open one each."""

    _only: aiohttp.ClientSession | None = None

    async def _session(self) -> aiohttp.ClientSession | None:
        if self._only is None:
            url = URL(self._url)
            await asyncio.get_running_loop().getaddrinfo(url.host, url.port)
            self._only = self._new_session()
        return self._only

    async def close(self) -> None:
        if self._only is not None:
            await self._only.close()


class ClientUnusableAfterLoopEnded(WebhookClient):
    """Keeps the session of the loop in which it was used first."""

    _only: aiohttp.ClientSession | None = None

    async def _session(self) -> aiohttp.ClientSession | None:
        if self._only is None:
            self._only = await super()._session()
        return self._only


class BatchSendLosesAnError(WebhookClient):
    """Stops looking at the first failure, and counts what is still under way as sent."""

    async def send_batch_async(self, events: Sequence[Sendable]) -> list[WebhookResponse]:
        sending = [asyncio.ensure_future(self._send_or_raise(event)) for event in events]
        try:
            return await asyncio.gather(*sending)
        except _NotDelivered:
            return [self._outcome(task) for task in sending]

    async def _send_or_raise(self, event: Sendable) -> WebhookResponse:
        response = await self.send_async(event)
        if not response.success:
            raise _NotDelivered(response)
        return response

    @staticmethod
    def _outcome(task: asyncio.Task[WebhookResponse]) -> WebhookResponse:
        if not task.done():
            return WebhookResponse(True, 202, "Under way")
        error = task.exception()
        return error.response if isinstance(error, _NotDelivered) else task.result()


class _NotDelivered(Exception):
    def __init__(self, response: WebhookResponse) -> None:
        super().__init__(response.message)
        self.response = response


CLIENT_DEFECTS = (
    Defect(
        name="retry-delivers-twice",
        kind="retry",
        where="WebhookClient.send_async",
        breaks="An event whose first answer is lost is stored twice.",
        operations=1,
        deviations=1,
        parts=lambda parts: replace(parts, client=RetryDeliversTwice),
    ),
    Defect(
        name="session-created-twice",
        kind="leak",
        where="WebhookClient.send_async",
        breaks="Two first sends at once open two sessions, and one is never closed.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, client=SessionCreatedTwice),
    ),
    Defect(
        name="client-unusable-after-loop-ended",
        kind="error",
        where="WebhookClient.send_async",
        breaks="A client that was used in one asyncio.run fails in the next.",
        operations=2,
        deviations=0,
        parts=lambda parts: replace(parts, client=ClientUnusableAfterLoopEnded),
    ),
    Defect(
        name="batch-send-loses-an-error",
        kind="race",
        where="WebhookClient.send_batch_async",
        breaks="When one event of a batch fails, others that fail later are reported as sent.",
        operations=1,
        deviations=1,
        parts=lambda parts: replace(parts, client=BatchSendLosesAnError),
    ),
)
