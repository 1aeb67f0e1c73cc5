"""What stands in for the locks and queues of the standard library while a world may be entered."""

from __future__ import annotations

import _thread
import functools
import queue
import threading
import time
from typing import Any

from desvelo.world.threads.locks import Lock, RLock
from desvelo.world.threads.simple_queue import SimpleQueue

_real_simple_queue = queue.SimpleQueue


def attributes() -> list[tuple[Any, str, Any, Any]]:
    """Return what is replaced: (owner, name, real, stand-in).

    A real one that is given is followed to whoever else holds it.
    """
    module: Any = threading
    found: list[tuple[Any, str, Any, Any]] = [
        (threading, "Lock", threading.Lock, Lock),
        (threading, "RLock", threading.RLock, RLock),
        (threading, "_allocate_lock", module._allocate_lock, Lock),
        (queue, "SimpleQueue", _real_simple_queue, SimpleQueue),
    ]
    if hasattr(functools, "RLock"):
        found.append((functools, "RLock", _thread.RLock, RLock))
    for owner, name in ((queue, "time"), (threading, "_time")):
        # They took the clock along when they were loaded.
        found.append((owner, name, None, time.monotonic))
    return found
