"""What a scenario or a machine leaves open on purpose: ``allow_leaks``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from desvelo.errors import UsageError
from desvelo.resources.kinds import NAMES

_ELSEWHERE = {"process", "loop", "blocked"}
"""Kinds that there are on the real system only."""
IN_WORLD = tuple(name for name in NAMES if name not in _ELSEWHERE)


def allowed_leaks(given: Any, whose: str) -> dict[str, str]:
    """Return the kinds that may be left open, with the reasons.

    Raises `UsageError` for a kind that there is not, and for one without a reason.

    >>> allowed_leaks({"task": "the heartbeat outlives teardown on purpose"}, "Shop")
    {'task': 'the heartbeat outlives teardown on purpose'}
    >>> allowed_leaks({"sesion": "shared by all"}, "Shop")
    Traceback (most recent call last):
    desvelo.errors.UsageError: Shop.allow_leaks: there is no kind 'sesion'; did you mean 'session'?
    """
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{whose}.allow_leaks is {given!r}; it is a dict from kind to reason, "
            'such as {"task": "the heartbeat outlives teardown on purpose"}'
        )
    for kind, reason in given.items():
        if kind not in IN_WORLD:
            near = difflib.get_close_matches(str(kind), IN_WORLD, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the kinds are {', '.join(IN_WORLD)}"
            raise UsageError(f"{whose}.allow_leaks: there is no kind {kind!r}; {hint}")
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(
                f"{whose}.allow_leaks: {kind!r} needs a reason, "
                "one sentence that says why it is left open"
            )
    return dict(given)
