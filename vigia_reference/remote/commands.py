"""What is sent to Redis and how answers are read, the same for both kinds of client."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from vigia_reference.cache import Fence, literal_parts

LEASE_SECONDS = 30.0
"""How long a reader may take from its lease to its fill."""

FENCE_SECONDS = 60.0
"""How long a writer may take; after that its keys can be cached again, as if it had died."""


@dataclass(eq=False, slots=True)
class RemoteLease:
    """The right to fill `key`; without a token there is none."""

    key: str
    token: str | None


def new_token() -> str:
    """Return a text that nobody else makes."""
    return uuid.uuid4().hex


def lease_key(key: str) -> str:
    """Return where the lease of *key* is kept."""
    return f"vigia:lease:{key}"


def milliseconds(seconds: float) -> int:
    """Return a time to live as Redis takes it: whole milliseconds, one at least.

    >>> milliseconds(1.5), milliseconds(0.0001)
    (1500, 1)
    """
    return max(round(seconds * 1000), 1)


def to_text(value: Any) -> str:
    """Return *value* as it is stored; raises `TypeError` when JSON has no such value."""
    return json.dumps(value)


def from_text(stored: bytes | str | None) -> Any | None:
    """Return what was stored, or `None` when there is nothing."""
    return None if stored is None else json.loads(stored)


def as_text(answer: bytes | str | None) -> str | None:
    """Return an answer as text, whether or not the client decodes.

    >>> as_text(b"abc") == as_text("abc")
    True
    """
    return answer.decode() if isinstance(answer, bytes) else answer


def glob_of(pattern: str) -> str:
    r"""Return the pattern as Redis reads it, to which ``?`` and ``[`` would mean something.

    >>> print(glob_of(r"patient:A\*?:*"))
    patient:A\*\?:*
    """
    parts = [
        "".join(f"\\{letter}" if letter in r"\*?[]^-" else letter for letter in part)
        for part in literal_parts(pattern)
    ]
    return "*".join(parts)


def begin_arguments(fence_id: str, fence: Fence) -> list[str | int]:
    """Return the arguments of the script that puts a fence up."""
    parts = json.dumps([literal_parts(pattern) for pattern in fence.patterns])
    globs = [glob_of(pattern) for pattern in fence.patterns]
    return [fence_id, milliseconds(FENCE_SECONDS), parts, *globs]


def end_arguments(fence_id: str, fence: Fence) -> tuple[list[str], list[str | int]]:
    """Return keys and arguments of the script that takes it down."""
    globs = [glob_of(pattern) for pattern in fence.patterns]
    if fence.news is None:
        return [], [fence_id, 0, "", *globs]
    key, value, ttl = fence.news
    return [key], [fence_id, milliseconds(ttl), to_text(value), *globs]
