"""What commands share: exit statuses, which stream is for whom, which hosts are allowed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

NOTHING, FOUND, USAGE, NOT_RUN = 0, 1, 2, 3
INTERRUPTED = 130
"""What a shell reports for a program that Ctrl-C has ended."""


def say(text: str) -> None:
    """Tell the user something that is no result."""
    print(f"desvelo: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """Send what the target prints to standard error: standard output is for the results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def allowed_host(where: str, allowed: Sequence[str]) -> str | None:
    """Return the host of a DSN when ``--allow-host`` names it.

    >>> allowed_host("postgresql://db.test/history", ["chat.test", "db.test"])
    'db.test'
    """
    try:
        host = urlsplit(where).hostname
    except ValueError:
        return None
    return host if host in allowed else None
