"""Telling a team's chat what became worse: one POST of the JSON that Slack's webhooks take.

Mattermost, Rocket.Chat and Discord (at its path ``/slack``) take the same.
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from desvelo.errors import UsageError
from desvelo.measure.plan import checked_url
from desvelo.measure.result import Run, Status

PATIENCE = 10.0
"""Seconds that the chat has to answer."""
_MOST_LINES = 10


def notification(run: Run) -> dict[str, Any]:
    """Return the message about a run: what failed, and what is worse than before.

    >>> run = Run("r1", "2026-01-01T00:00:00+00:00", "shop", "ci", Status.FAILED, "load: 12 lost")
    >>> notification(run)["text"]
    'desvelo: shop (ci) failed: load: 12 lost'
    """
    headline = f"desvelo: {run.target} ({run.profile}) {run.status}"
    if run.reason:
        headline += f": {run.reason}"
    lines = [
        *(f"{one.phase}: {one.reason}" for one in run.phases if one.status is Status.FAILED),
        *(one.sentence for one in run.comparisons if one.verdict == "worse"),
    ]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more"]
    return {"text": _plain(headline), "blocks": [_section(headline), *map(_section, lines)]}


def is_worth_telling(run: Run) -> bool:
    """Return whether a run failed, or has become worse."""
    return run.status is Status.FAILED or any(one.verdict == "worse" for one in run.comparisons)


def notify(run: Run, url: str, allowed_hosts: tuple[str, ...] = ()) -> None:
    """Post the message to a URL.

    Raises `UsageError` for a host that is neither this machine nor allowed by name, before
    anything is sent, and for an answer that is no success.
    """
    parts = urlsplit(checked_url(url, allowed_hosts, option="--notify"))
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    # Neither its path nor a name before an @ is told: they are secrets.
    host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    connection = make(parts.hostname or "", parts.port, timeout=PATIENCE)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            "POST",
            path,
            json.dumps(notification(run)).encode(),
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise UsageError(f"--notify: {host} cannot be told: {error}") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise UsageError(f"--notify: {host} answered {answer.status} {answer.reason}")


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "plain_text", "text": _plain(text)}}


def _plain(text: str) -> str:
    # Slack's limit of a section is 3,000 characters; & < > are its control characters (and
    # the only ones) in "text".
    return text[:2900].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
