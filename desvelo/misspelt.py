"""A declaration under a name that is nearly right, which would be passed over without a word."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

_NEAR = 0.85
_OWN_WORDS = {"leak"}
"""What users call things of their own."""


def misspelt(source: Any, known: Mapping[str, Callable[[Any], bool]]) -> str:
    """Say in half a sentence which name of an object is nearly a known one, or return nothing.

    A name counts only when its value would do for the known one: others are the user's own.

    >>> class Shop:
    ...     cancelable = True
    ...     run_time = 3.5
    >>> misspelt(Shop, {"cancellable": lambda v: v is True, "runtime": lambda v: v == "threads"})
    "there is no attribute 'cancelable'; did you mean 'cancellable'?"
    """
    for name, value in _names(source).items():
        if name in known or name in _OWN_WORDS:
            continue
        near = difflib.get_close_matches(name, known, 1, _NEAR)
        if near and known[near[0]](value):
            return f"there is no attribute {name!r}; did you mean {near[0]!r}?"
    return ""


def _names(source: Any) -> dict[str, Any]:
    classes = source.__mro__ if isinstance(source, type) else type(source).__mro__
    found: dict[str, Any] = {}
    for one in reversed(classes):
        found |= vars(one)
    return found | getattr(source, "__dict__", {})
