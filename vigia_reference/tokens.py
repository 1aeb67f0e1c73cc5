"""Tokens: keys with an end, so that the API key itself is sent seldom.

Which clock says that a token has ended?  Both, and the first that says so is believed.  A token
carries the moment of UTC at which it ends, and that is a promise: after it nothing passes, also
when the wall clock was set forward, or the machine slept and the monotonic clock with it.  And it
has a lifetime, measured by the monotonic clock: a wall clock that is set back does not prolong it.
Local time takes no part, so summer time neither prolongs nor ends anything.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MAX_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Token:
    """What is told to whoever asked for a token; `lifetime` is in seconds."""

    text: str
    expires_at: datetime
    lifetime: float


@dataclass(frozen=True, slots=True)
class _Issued:
    expires_at: datetime
    deadline: float


class Tokens:
    """Issues tokens that live for *lifetime* seconds, and knows which are alive.

    They are kept in memory: after a restart there are none, and clients ask for new ones.

    >>> tokens = Tokens(lifetime=60)
    >>> tokens.is_alive(tokens.issue().text), tokens.is_alive("invented")
    (True, False)
    """

    def __init__(self, lifetime: float) -> None:
        self._lifetime = lifetime
        self._issued: dict[str, _Issued] = {}

    def issue(self) -> Token:
        """A fresh token.  The oldest is forgotten where there are too many."""
        for text in [text for text in self._issued if not self.is_alive(text)]:
            del self._issued[text]
        while len(self._issued) >= MAX_TOKENS:
            del self._issued[next(iter(self._issued))]
        expires_at = self._wall() + timedelta(seconds=self._lifetime)
        token = Token(secrets.token_urlsafe(24), expires_at, self._lifetime)
        self._issued[token.text] = _Issued(expires_at, time.monotonic() + self._lifetime)
        return token

    def is_alive(self, text: str) -> bool:
        """Whether *text* is a token that has not ended by either clock."""
        issued = self._issued.get(text)
        return issued is not None and not self._has_ended(issued)

    def _has_ended(self, issued: _Issued) -> bool:
        return self._wall() >= issued.expires_at or time.monotonic() >= issued.deadline

    @staticmethod
    def _wall() -> datetime:
        return datetime.now(UTC)
