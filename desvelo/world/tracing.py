"""Lines of the target's own code as rows of the trace: what ran, and what changed by it."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from desvelo.world.actors import ACTOR
from desvelo.world.jobs import short_repr
from desvelo.world.trace import Row
from desvelo.world.whereabouts import display_path, is_foreign, is_installed

if TYPE_CHECKING:
    from desvelo.world.world import World

_PLAIN = (int, float, str, bytes, bool, type(None), tuple, list, dict, set, frozenset)
MAX_ROWS = 20_000
"""Lines kept of one execution: a target that spins must not fill the memory."""


def is_own_code(filename: str) -> bool:
    """Tell whether a file is the user's own, the default of what a story shows lines of."""
    return not is_foreign(filename) and not is_installed(filename)


class LineTracer:
    """Adds a row for each line that the target executes, with the values that it changed."""

    def __init__(self, world: World, files: Callable[[str], bool] | None) -> None:
        self._world = world
        self._wanted = files or is_own_code
        self._seen: dict[int, tuple[int, dict[str, str]]] = {}
        self._before: Any = None
        self._count = 0

    def start(self) -> None:
        """Begin to listen."""
        self._before = sys.gettrace()
        sys.settrace(self._call)

    def stop(self) -> None:
        """Listen no longer."""
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_name.startswith("<") or not self._wanted(code.co_filename):
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        trace = self._world.trace
        if trace is None or self._count > MAX_ROWS:
            return None
        self._complete(frame)
        if event == "line":
            code = frame.f_code
            text = linecache.getline(code.co_filename, frame.f_lineno).strip()
            world = self._world
            self._count += 1
            trace.rows.append(Row(world.selector.polls, world.clock.now_ns, ACTOR.get().lane, "line", text,
                                  f"{display_path(code.co_filename)}:{frame.f_lineno}"))
            self._seen[id(frame)] = (len(trace.rows) - 1, _values(frame))
        return self._line

    def _complete(self, frame: FrameType) -> None:
        """Say on the row of the line before which values it changed."""
        trace = self._world.trace
        entry = self._seen.pop(id(frame), None)
        if entry is None or trace is None:
            return
        index, before = entry
        changes = [f"{name} = {value}" for name, value in _values(frame).items() if before.get(name) != value]
        if changes:
            row = trace.rows[index]
            trace.rows[index] = Row(row.poll, row.time_ns, row.lane, row.kind,
                                    f"{row.text}  ➜ {', '.join(changes)}", row.where, row.deviation)


def _values(frame: FrameType) -> dict[str, str]:
    return {
        name: short_repr(value, 40)
        for name, value in frame.f_locals.items()
        if isinstance(value, _PLAIN) and not name.startswith("__")
    }
