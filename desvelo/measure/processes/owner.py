"""Who has a port."""

from __future__ import annotations

import importlib
import os


def owner_of(port: int, besides: int = 0) -> str:
    """Return name and number of the process that listens on a port, and is not ``besides``.

    Nor one of the group that ``besides`` leads.

    Empty when nobody does, or when it cannot be told: without psutil, or for another user's.

    >>> owner_of(1)
    ''
    """
    try:
        psutil = importlib.import_module("psutil")
        for connection in psutil.net_connections("inet"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            ours = connection.pid is None or (besides and os.getpgid(connection.pid) == besides)
            if listens and not ours:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except Exception:  # psutil's own errors have no common base outside of it
        return ""
    return ""
