"""Locks that a process takes once: around what it imports, or finds out and then remembers.

Whether such a lock is taken depends on what ran in the process before, so it can be no switch
point: the first of two equal executions would have one more.
"""

from __future__ import annotations

import asyncio.events
import logging
import tempfile
from types import CodeType

_REMEMBERED = frozenset(
    {
        # Each logger keeps which of its levels are on.
        (logging.__file__, "_acquireLock"),
        (logging.__file__, "isEnabledFor"),
        (tempfile.__file__, "_gettempdir"),
        (tempfile.__file__, "_get_candidate_names"),
        (asyncio.events.__file__, "_init_event_loop_policy"),
    }
)
"""Files and functions that take the lock only while nothing is remembered."""


def happens_once(code: CodeType) -> bool:
    """Tell whether this code takes its lock only the first time in a process.

    >>> happens_once(logging.Logger.isEnabledFor.__code__)
    True
    """
    file = code.co_filename
    return file.startswith("<frozen") or (file, code.co_name) in _REMEMBERED
