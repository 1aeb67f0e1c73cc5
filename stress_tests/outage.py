"""Errors that are the truth: something that the system needs has failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class Outage(Exception):
    """The system has said that its disk, its database or its cache does not work."""


@contextlib.contextmanager
def outages_of(target: Any) -> Iterator[None]:
    """Raise `Outage` for the errors by which a target says so."""
    try:
        yield
    except target.outages as error:
        raise Outage(str(error)) from error
