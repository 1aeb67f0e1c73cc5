"""A webhook client that sends tokens, and its API key only to get one."""

import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from vigia_reference.client import WebhookClient

_UNAUTHORIZED = 401
_TOKENS_TRIED = 3


@dataclass(frozen=True, slots=True)
class _Held:
    text: str
    until: float


class TokenClient(WebhookClient):
    """Sends events with a token that it gets from *token_url*; other options as `WebhookClient`.

    How long a token lasts is measured by the monotonic clock, from before it was asked for: the
    clocks on the wall here and at the server need not agree.  A server that has another opinion
    answers 401, and is asked for a new token at once.
    """

    def __init__(self, webhook_url: str, token_url: str, **options: Any) -> None:
        super().__init__(webhook_url, **options)
        self._token_url = token_url
        self._held: _Held | None = None

    async def _post(self, session: aiohttp.ClientSession, text: str) -> tuple[int, str, bytes]:
        answer = (_UNAUTHORIZED, "", b"")
        for _ in range(_TOKENS_TRIED):
            held = self._held
            if held is None or time.monotonic() >= held.until:
                asked = time.monotonic()
                answer = await self._request(session, self._token_url, "", {})
                if answer[0] != 200:
                    break
                self._held = held = _read_token(answer[2], asked)
            headers = {"Authorization": f"Bearer {held.text}"}
            answer = await self._request(session, self._url, text, headers)
            if answer[0] != _UNAUTHORIZED:
                break
            # Another event may have got a new one meanwhile.
            if self._held is held:
                self._held = None
        return answer


def _read_token(body: bytes, asked: float) -> _Held:
    try:
        document = json.loads(body)
        return _Held(str(document["token"]), asked + float(document["expires_in"]))
    except (ValueError, LookupError, TypeError) as error:
        raise aiohttp.ClientPayloadError(f"No token in the answer: {error!r}") from error
